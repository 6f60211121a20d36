//! How somebody comes to be a user: by signing up, or by an administrator.

use chrono::TimeDelta;
use sqlx::PgConnection;

use super::{Users, weak};
use crate::clock::minute;
use crate::db;
use crate::error::{Code, Result};
use crate::events::Draft;
use crate::mail::Letter;
use crate::origin::Origin;
use crate::pace::evenly;
use crate::users::password::Password;
use crate::users::{AccessLevel, BillingAddress, DisplayName, EmailAddress, EntityType, LoginName, User, UserId};
use crate::users::{email, store};

/// Characters of an activation password.
const ACTIVATION_PASSWORD_LENGTH: usize = 16;

/// Life of an activation password.
pub(super) const ACTIVATION_LIFETIME: TimeDelta = TimeDelta::days(7);

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
    pub async fn create(&self, new: NewUser) -> Result<(User, Option<Password>)> {
        let (email, name) = match new.name {
            NewName::Email(email) => (Some(email), None),
            NewName::Name(name) => (None, Some(name)),
        };
        let now = self.clock.now();
        let (password, activation) = match new.password {
            Some(password) => {
                let known = email.as_ref().map(EmailAddress::local_part);
                self.rule
                    .judge(&password, known.into_iter().chain(name.as_ref().map(LoginName::as_str)))
                    .map_err(|reason| weak("password", reason))?;
                (password, None)
            }
            None => {
                let password = self.activation_password();
                (password.clone(), Some(password))
            }
        };
        let password_hash = self.hasher.hash(&password).await?;
        let user = User {
            email: email.as_ref().map(|email| email.given().to_owned()),
            email_canonical: email.as_ref().map(|email| email.canonical().to_owned()),
            email_held: email.is_some(),
            login_name: name.map(|name| name.as_str().to_owned()),
            activation_expires_at: activation.is_some().then(|| now + ACTIVATION_LIFETIME),
            activated_at: activation.is_none().then_some(now),
            access_level: new.level,
            read_only: new.read_only,
            ..User::new(UserId(self.random.uuid_v4()), password_hash, now)
        };
        let mut tx = self.pool.begin().await?;
        let inserted = store::insert(&mut tx, &user).await;
        db::on_constraint(
            inserted,
            &[("users_email_key", Code::EmailTaken), ("users_login_name_key", Code::NameTaken)],
        )?;
        self.ask_for_proof(&mut tx, &user).await?;
        tx.commit().await?;
        self.mail.wake();
        Ok((user, activation))
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
