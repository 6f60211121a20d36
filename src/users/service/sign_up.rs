//! How somebody comes to be a user: by signing up, or by an administrator.

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::PgConnection;

use super::management::{By, Needs};
use super::{Users, refuse_taken_email, refuse_taken_name, weak};
use crate::clock::minute;
use crate::db;
use crate::error::{Code, Error, Result};
use crate::events::Draft;
use crate::mail::Letter;
use crate::origin::Origin;
use crate::pace::evenly;
use crate::users::password::Password;
use crate::users::{AccessLevel, BillingAddress, DisplayName, EmailAddress, EntityType, LoginName, User, UserId};
use crate::users::{email, store};
use crate::verification::Purpose;

/// Characters of an activation password.
const ACTIVATION_PASSWORD_LENGTH: usize = 16;

/// Life of an activation password.
pub(super) const ACTIVATION_LIFETIME: TimeDelta = TimeDelta::days(7);

/// Characters of a password that nobody reads.
const UNREAD_LENGTH: usize = 32;

/// After how long an address that got enough invitations may be tried again: the shorter period of the caps of mails.
const ENOUGH_INVITATIONS: Duration = Duration::from_hours(1);

/// What a person gives to sign up.
pub struct SignUp {
    /// The address to prove.
    pub email: EmailAddress,
    /// The name to show.
    pub display_name: DisplayName,
    /// The password.
    pub password: Password,
    /// A person or a company.
    pub entity_type: EntityType,
    /// Where bills go.
    pub billing_address: Option<BillingAddress>,
}

/// A user to be made by an administrator.
pub struct NewUser {
    /// How the user will be called.
    pub name: NewName,
    /// Rights.
    pub level: AccessLevel,
    /// Whether only reading is allowed.
    pub read_only: bool,
    /// `None`: an activation password is made.
    pub password: Option<Password>,
}

/// A user made by an administrator has an e-mail or a login name.
pub enum NewName {
    /// An e-mail, held at once, to be proved by mail.
    Email(EmailAddress),
    /// A login name.
    Name(LoginName),
}

impl Users {
    /// Signs a person up. A taken e-mail is answered with a user of the same shape that is stored nowhere, after the
    /// same work; its owner gets a mail (decisions.md section 2).
    pub async fn register(&self, sign_up: SignUp, origin: Origin, draft: &Draft) -> Result<User> {
        self.judge(&sign_up.password, Some(sign_up.email.given()), Some(sign_up.display_name.as_str()))
            .map_err(|reason| weak("password", reason))?;
        let password_hash = self.hasher.hash(&sign_up.password).await?;

        let user = User {
            email: Some(sign_up.email.given().to_owned()),
            email_canonical: Some(sign_up.email.canonical().to_owned()),
            signed_up_from: origin.address,
            display_name: Some(sign_up.display_name.as_str().to_owned()),
            entity_type: sign_up.entity_type,
            billing_address: sign_up.billing_address,
            ..User::new(UserId(self.random.uuid_v4()), password_hash, self.clock.now())
        };

        evenly(self.store_sign_up(&user, &sign_up.email, &origin, draft)).await?;
        Ok(user)
    }

    async fn store_sign_up(&self, user: &User, email: &EmailAddress, origin: &Origin, draft: &Draft) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        // A proof of this address that is under way decides first, and this sign-up sees what it decided.
        store::lock_email(&mut tx, email.canonical()).await?;
        match store::find_holder(&mut tx, email.canonical()).await? {
            None => {
                store::insert(&mut tx, user).await?;
                if !self.ask_for_proof(&mut tx, user).await? {
                    // Nobody could ever prove it: it is stored nowhere, and the answer is the same.
                    tx.rollback().await?;
                    return Ok(());
                }
                draft.concerns(user.id);
            }
            Some(owner) => {
                self.tell_owner(&mut tx, owner.id, origin).await?;
                draft.concerns(owner.id);
            }
        }
        tx.commit().await?;
        self.mail.wake();
        Ok(())
    }

    /// Makes a user for an administrator; answers the activation password when none was given.
    ///
    /// # Errors
    /// `EmailTaken`, `NameTaken`, `WeakPassword`.
    pub async fn create(&self, new: NewUser, by: By) -> Result<(User, Option<Password>)> {
        let (password, activation) = match &new.password {
            Some(password) => (password.clone(), None),
            None => {
                let password = self.activation_password();
                (password.clone(), Some(password))
            }
        };
        let now = self.clock.now();
        let user = User {
            activation_expires_at: activation.is_some().then(|| now + ACTIVATION_LIFETIME),
            activated_at: activation.is_none().then_some(now),
            ..self.outline(new, &password).await?
        };
        let mut tx = self.pool.begin().await?;
        self.insert(&mut tx, &user, by).await?;
        self.ask_for_proof(&mut tx, &user).await?;
        tx.commit().await?;
        self.mail.wake();
        Ok((user, activation))
    }

    /// Makes a user for an administrator who has nothing to hand over: whoever reads the mail of the address gets an invitation
    /// to choose the first password. A user with a name only, or with a password, is made as [`Users::create`] does it.
    ///
    /// # Errors
    /// Those of [`Users::create`], and `TooManyRequests` when the address got enough invitations.
    pub async fn invite(&self, new: NewUser, by: By) -> Result<(User, Option<Password>)> {
        let (NewName::Email(email), None) = (&new.name, &new.password) else { return self.create(new, by).await };
        let mailbox = email::mailbox(email.given(), email.canonical());
        // Nobody knows it: the mail stands for the first password.
        let password = Password::from(self.random.readable_password(UNREAD_LENGTH));
        let user = User { activated_at: None, ..self.outline(new, &password).await? };
        let mut tx = self.pool.begin().await?;
        self.insert(&mut tx, &user, by).await?;
        let issued = self.verification.issue(&mut tx, user.id, Purpose::Invitation, None).await?;
        let letter = Letter::Invitation {
            user_id: user.id.to_string(),
            token: issued.token.expose().to_owned(),
            invited_at: minute(user.created_at),
            expires_at: minute(issued.expires_at),
        };
        if !self.mail.queue(&mut tx, Some(user.id), &mailbox, &letter).await? {
            // Without its mail nobody could ever use the account.
            return Err(Error::Busy { code: Code::TooManyRequests, retry_after: ENOUGH_INVITATIONS });
        }
        tx.commit().await?;
        self.mail.wake();
        Ok((user, None))
    }

    /// The user that an administrator wants, not yet stored.
    async fn outline(&self, new: NewUser, password: &Password) -> Result<User> {
        let (email, name) = match new.name {
            NewName::Email(email) => (Some(email), None),
            NewName::Name(name) => (None, Some(name)),
        };
        if new.password.is_some() {
            let known = email.as_ref().map(EmailAddress::local_part);
            self.rule
                .judge(password, known.into_iter().chain(name.as_ref().map(LoginName::as_str)))
                .map_err(|reason| weak("password", reason))?;
        }
        let password_hash = self.hasher.hash(password).await?;
        Ok(User {
            email: email.as_ref().map(|email| email.given().to_owned()),
            email_canonical: email.as_ref().map(|email| email.canonical().to_owned()),
            email_held: email.is_some(),
            login_name: name.map(|name| name.as_str().to_owned()),
            access_level: new.level,
            read_only: new.read_only,
            ..User::new(UserId(self.random.uuid_v4()), password_hash, self.clock.now())
        })
    }

    /// Stores a user made by an administrator, who still is one, unless the name is somebody else's.
    async fn insert(&self, tx: &mut PgConnection, user: &User, by: By) -> Result<()> {
        if by != By::Operator {
            store::lock_admins(tx).await?;
            self.vouch(tx, by, Needs::Rights).await?;
        }
        if let Some(canonical) = &user.email_canonical {
            store::lock_email(tx, canonical).await?;
            refuse_taken_email(tx, user.id, canonical).await?;
        }
        if let Some(name) = &user.login_name {
            refuse_taken_name(tx, user.id, name).await?;
        }
        let inserted = store::insert(tx, user).await;
        db::on_constraint(inserted, &[("users_email_key", Code::EmailTaken), ("users_login_name_key", Code::NameTaken)])
    }

    /// A password that opens nothing but the way to a real one, for [`ACTIVATION_LIFETIME`].
    pub(super) fn activation_password(&self) -> Password {
        Password::from(self.random.readable_password(ACTIVATION_PASSWORD_LENGTH))
    }

    /// Tells the owner of an address that somebody else tried to use it; at most once a day, by the caps on such mails.
    pub(super) async fn tell_owner(&self, tx: &mut PgConnection, owner: UserId, origin: &Origin) -> Result<()> {
        let letter = Letter::AddressTaken { signed_up_at: minute(self.clock.now()), signed_up_from: origin.from() };
        let Some(owner) = store::find_staying(tx, owner).await? else { return Ok(()) };
        let (Some(given), Some(canonical)) = (&owner.email, &owner.email_canonical) else { return Ok(()) };
        self.mail.queue(tx, Some(owner.id), &email::mailbox(given, canonical), &letter).await.map(drop)
    }
}
