//! The rules: who comes to be a user, what proves what, which password opens the door.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::password::{Hasher, Password};
use super::password_rule::PasswordRule;
use super::{
    AccessLevel, BillingAddress, BlockCause, DisplayName, EmailAddress, EntityType, Login, LoginName, State, User,
    UserId, email, store,
};
use crate::clock::Clock;
use crate::config;
use crate::db::{self, Pool};
use crate::error::{Code, Error, Problem, Result};
use crate::events::Draft;
use crate::mail::{Letter, Mail};
use crate::random::Random;
use crate::secret::PlainSecret;
use crate::tokens::Tokens;
use crate::verification::{Purpose, Verification};

/// Characters of an activation password.
const ACTIVATION_PASSWORD_LENGTH: usize = 16;

/// Life of an activation password.
const ACTIVATION_LIFETIME: TimeDelta = TimeDelta::days(7);

/// How often the owner of an address is told that somebody tried to sign up with it.
const TAKEN_NOTICE_PAUSE: TimeDelta = TimeDelta::days(1);

/// The users.
#[derive(Clone)]
pub struct Users {
    pool: Pool,
    hasher: Hasher,
    rule: PasswordRule,
    max_failed_logins: i32,
    verification: Verification,
    mail: Mail,
    tokens: Tokens,
    clock: Clock,
    random: Random,
}

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

/// Where a request came from, for the mail that tells of it.
pub struct Origin(pub Option<String>);

/// A user to be made by an administrator.
pub struct NewUser {
    /// How the user will be called.
    pub name: NewName,
    /// Rights.
    pub level: AccessLevel,
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
    /// The users of this database.
    #[expect(clippy::too_many_arguments, reason = "called once, where every part has its name")]
    pub fn new(
        pool: Pool,
        hasher: Hasher,
        config: &config::Password,
        verification: Verification,
        mail: Mail,
        tokens: Tokens,
        clock: Clock,
        random: Random,
    ) -> Self {
        Self {
            pool,
            hasher,
            rule: PasswordRule { min_entropy: config.min_entropy },
            max_failed_logins: config.max_failed_logins,
            verification,
            mail,
            tokens,
            clock,
            random,
        }
    }

    /// Judges a new password by the rule, for a door that has other problems to report with it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge(&self, password: &Password, email: Option<&str>, display_name: Option<&str>) -> Result<(), String> {
        self.rule.judge(password, email.map(email::local_part).into_iter().chain(display_name))
    }

    // ── coming to be ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Signs a person up. A taken e-mail is answered with a user of the same shape that is stored nowhere, after the
    /// same work; its owner gets a mail (decisions.md section 2).
    pub async fn register(&self, sign_up: SignUp, origin: Origin, draft: &Draft) -> Result<User> {
        self.judge(&sign_up.password, Some(sign_up.email.given()), Some(sign_up.display_name.as_str()))
            .map_err(|reason| weak("password", reason))?;
        let password_hash = self.hasher.hash(&sign_up.password).await?;

        let now = self.clock.now();
        let user = User {
            id: UserId(self.random.uuid_v4()),
            email: Some(sign_up.email.given().to_owned()),
            email_canonical: Some(sign_up.email.canonical().to_owned()),
            email_held: false,
            email_verified_at: None,
            login_name: None,
            display_name: Some(sign_up.display_name.as_str().to_owned()),
            entity_type: sign_up.entity_type,
            billing_address: sign_up.billing_address,
            password_hash,
            activation_expires_at: None,
            activated_at: Some(now),
            block_cause: None,
            failed_login_attempts: 0,
            access_level: AccessLevel::Authorized,
            read_only: false,
            token_version: 0,
            created_at: now,
            updated_at: now,
        };

        let mut tx = self.pool.begin().await?;
        match store::find_holder(&mut tx, sign_up.email.canonical()).await? {
            None => {
                store::insert(&mut tx, &user).await?;
                self.ask_for_proof(&mut tx, &user, &origin).await?;
                draft.concerns(user.id);
            }
            Some(owner) => {
                self.tell_owner(&mut tx, owner.id, &origin).await?;
                draft.concerns(owner.id);
            }
        }
        tx.commit().await?;
        Ok(user)
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
                let password = Password::from(self.random.readable_password(ACTIVATION_PASSWORD_LENGTH));
                (password.clone(), Some(password))
            }
        };
        let user = User {
            id: UserId(self.random.uuid_v4()),
            email: email.as_ref().map(|email| email.given().to_owned()),
            email_canonical: email.as_ref().map(|email| email.canonical().to_owned()),
            email_held: email.is_some(),
            email_verified_at: None,
            login_name: name.map(|name| name.as_str().to_owned()),
            display_name: None,
            entity_type: EntityType::Individual,
            billing_address: None,
            password_hash: self.hasher.hash(&password).await?,
            activation_expires_at: activation.is_some().then(|| now + ACTIVATION_LIFETIME),
            activated_at: activation.is_none().then_some(now),
            block_cause: None,
            failed_login_attempts: 0,
            access_level: new.level,
            read_only: false,
            token_version: 0,
            created_at: now,
            updated_at: now,
        };
        let mut tx = self.pool.begin().await?;
        let inserted = store::insert(&mut tx, &user).await;
        db::on_constraint(
            inserted,
            &[("users_email_key", Code::EmailTaken), ("users_login_name_key", Code::NameTaken)],
        )?;
        self.ask_for_proof(&mut tx, &user, &Origin(None)).await?;
        tx.commit().await?;
        Ok((user, activation))
    }

    // ── proving an e-mail ─────────────────────────────────────────────────────────────────────────────────────────

    /// Proves the e-mail of the user whom `login` names by the token of a mail. The first who proves an address keeps
    /// it, and its other claimants die. Again with the used token answers the same.
    pub async fn verify_email(&self, login: &Login, token: &PlainSecret, draft: &Draft) -> Result<User> {
        let refused = || Error::from(Code::InvalidToken);
        let mut tx = self.pool.begin().await?;
        let claim = self.verification.find(&mut tx, token, Purpose::EmailVerification).await?;
        let user = match &claim {
            Some(claim) => store::find(&mut tx, claim.user).await?,
            None => self.find_by_login(&mut tx, login).await?,
        };
        let now = self.clock.now();
        let user = user.filter(|user| !user.is_dead(now) && is_named_by(user, login)).ok_or_else(refused)?;
        draft.concerns(user.id);
        let claim = claim.ok_or_else(refused)?;
        if claim.is_used {
            return Ok(user);
        }

        let canonical = user.email_canonical.clone().ok_or_else(refused)?;
        store::lock_email(&mut tx, &canonical).await?;
        if !self.verification.consume(&mut tx, token, user.id, Purpose::EmailVerification).await? {
            // Somebody was faster: with this very token, or by proving the same address for another sign-up.
            let claim = self.verification.find(&mut tx, token, Purpose::EmailVerification).await?;
            return match claim {
                Some(_) => store::find(&mut tx, user.id).await?.ok_or_else(refused),
                None => Err(refused()),
            };
        }
        self.prove(&mut tx, user.id, &canonical).await.map_err(|error| match error {
            Error::Refused(Code::EmailTaken) => refused(),
            error => error,
        })?;
        let user = store::find(&mut tx, user.id).await?.ok_or_else(refused)?;
        tx.commit().await?;
        Ok(user)
    }

    /// Takes an operator's word for the e-mail of a user.
    pub async fn verify_by_operator(&self, id: UserId) -> Result<User> {
        let mut tx = self.pool.begin().await?;
        let user = store::find(&mut tx, id).await?.ok_or(Code::NotFound)?;
        if !user.is_email_proved()
            && let Some(canonical) = &user.email_canonical
        {
            store::lock_email(&mut tx, canonical).await?;
            self.prove(&mut tx, id, canonical).await?;
        }
        let user = store::find(&mut tx, id).await?.ok_or(Code::NotFound)?;
        tx.commit().await?;
        Ok(user)
    }

    async fn prove(&self, tx: &mut PgConnection, id: UserId, canonical: &str) -> Result<()> {
        let proved = store::mark_email_verified(tx, id, self.clock.now()).await;
        db::on_constraint(proved, &[("users_email_key", Code::EmailTaken)])?;
        Ok(store::delete_other_claimants(tx, id, canonical).await?)
    }

    /// Sends a fresh verification mail to the user whom `login` names, if there is one who can use it. Says nothing
    /// about that.
    pub async fn resend_proof(&self, login: &Login, origin: &Origin, draft: &Draft) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        let Some(user) = self.find_by_login(&mut tx, login).await? else { return Ok(()) };
        draft.concerns(user.id);
        if !user.is_email_proved() && user.block_cause.is_none() && !user.is_dead(self.clock.now()) {
            self.ask_for_proof(&mut tx, &user, origin).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Queues the mail that asks for the proof of an e-mail; nothing to do for a user without one.
    async fn ask_for_proof(&self, tx: &mut PgConnection, user: &User, origin: &Origin) -> Result<()> {
        let (Some(given), Some(canonical)) = (&user.email, &user.email_canonical) else { return Ok(()) };
        let dies_at = user.dies_at();
        let token = self.verification.issue(tx, user.id, Purpose::EmailVerification, dies_at).await?;
        let end = self.clock.now() + Verification::LIFETIME;
        let letter = Letter::Verification {
            user_id: user.id.to_string(),
            token: token.expose().to_owned(),
            signed_up_at: minute(user.created_at),
            signed_up_from: origin.0.clone(),
            expires_at: minute(dies_at.map_or(end, |death| death.min(end))),
        };
        self.mail.queue(tx, user.id, &email::mailbox(given, canonical), &letter).await
    }

    async fn tell_owner(&self, tx: &mut PgConnection, owner: UserId, origin: &Origin) -> Result<()> {
        let letter = Letter::AddressTaken { signed_up_at: minute(self.clock.now()), signed_up_from: origin.0.clone() };
        // The lock makes "at most one a day" true for strangers who try at the same moment, too.
        let Some(owner) = store::find_for_update(tx, owner).await? else { return Ok(()) };
        let (Some(given), Some(canonical)) = (&owner.email, &owner.email_canonical) else { return Ok(()) };
        if self.mail.was_sent_within(tx, owner.id, &letter, TAKEN_NOTICE_PAUSE).await? {
            return Ok(());
        }
        self.mail.queue(tx, owner.id, &email::mailbox(given, canonical), &letter).await
    }

    // ── passwords ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Who it is that logs in with this password, through whichever door.
    ///
    /// A wrong name, a wrong password and the right password of an unproved e-mail are one refusal after one hash;
    /// what state a user is in is told only to the bearer of the right password (threats.md 2).
    pub async fn check_password(&self, login: &Login, password: &Password, draft: &Draft) -> Result<User> {
        let (user, is_right) = self.verify_password(login, password, draft).await?;
        let now = self.clock.now();
        let Some(user) = user.filter(|user| is_right && !user.is_dead(now)) else {
            return Err(Code::InvalidCredentials.into());
        };
        match (user.state(), user.activation_expires_at) {
            (State::Blocked, _) => Err(Code::UserBlocked.into()),
            (_, Some(end)) if end > now => Err(Code::ActivationRequired.into()),
            (State::WaitingForActivation, _) => Err(Code::InvalidCredentials.into()),
            (State::Active, _) => {
                self.welcome(&user, password).await?;
                Ok(user)
            }
        }
    }

    /// One hash, whoever is named and whether or not there is such a user; a wrong one is counted.
    async fn verify_password(&self, login: &Login, password: &Password, draft: &Draft) -> Result<(Option<User>, bool)> {
        let user = self.find_by_login(&mut *self.pool.acquire().await?, login).await?;
        if let Some(user) = &user {
            draft.concerns(user.id);
        }
        if password.is_too_long() {
            return Ok((user, false));
        }
        let is_right = self.hasher.verify(password, user.as_ref().map(|user| &user.password_hash)).await?;
        if let Some(user) = user.as_ref().filter(|user| !is_right && user.email.is_none()) {
            self.count_failure(user.id).await?;
        }
        Ok((user, is_right))
    }

    /// An account without an e-mail blocks itself after too many wrong passwords, unless it is the last administrator:
    /// strangers must not be able to lock everybody out.
    async fn count_failure(&self, id: UserId) -> Result<()> {
        let failures = store::mark_failed_login(&mut *self.pool.acquire().await?, id).await?;
        if failures <= self.max_failed_logins {
            return Ok(());
        }
        let mut tx = self.pool.begin().await?;
        store::lock_admins(&mut tx).await?;
        if let Some(user) = store::find_for_update(&mut tx, id).await?
            && self.refuse_last_admin(&mut tx, &user).await.is_ok()
        {
            store::mark_blocked(&mut tx, id, BlockCause::Failures, self.clock.now()).await?;
        }
        Ok(tx.commit().await?)
    }

    /// After a right password: forget the wrong ones, and bring an old hash up to date.
    async fn welcome(&self, user: &User, password: &Password) -> Result<()> {
        if user.failed_login_attempts != 0 {
            store::mark_successful_login(&mut *self.pool.acquire().await?, user.id).await?;
        }
        if self.hasher.is_outdated(&user.password_hash) {
            let new = self.hasher.hash(password).await?;
            let mut connection = self.pool.acquire().await?;
            store::update_hash(&mut connection, user.id, &user.password_hash, &new).await?;
        }
        Ok(())
    }

    /// Exchanges an activation password for a real one.
    pub async fn activate(&self, login: &Login, activation: &Password, new: &Password, draft: &Draft) -> Result<User> {
        let (user, is_right) = self.verify_password(login, activation, draft).await?;
        let now = self.clock.now();
        let is_open = |user: &User| user.activation_expires_at.is_some_and(|end| end > now);
        let Some(user) = user.filter(|user| is_right && is_open(user)) else {
            return Err(Code::InvalidCredentials.into());
        };
        if user.state() == State::Blocked {
            return Err(Code::UserBlocked.into());
        }
        self.judge_new(&user, activation, new)?;
        self.set_password(&user, new, None).await?.ok_or_else(|| Code::InvalidCredentials.into())
    }

    /// Changes the password of a user who knows the old one. Every other account token dies; `keep` lives.
    pub async fn change_password(&self, user: &User, keep: Uuid, old: &Password, new: &Password) -> Result<User> {
        let wrong = || Error::invalid(Code::InvalidPassword, Problem::new("oldPassword", "is wrong"));
        if old.is_too_long() || !self.hasher.verify(old, Some(&user.password_hash)).await? {
            return Err(wrong());
        }
        self.judge_new(user, old, new)?;
        // Somebody who changed it meanwhile has made `old` wrong.
        self.set_password(user, new, Some(keep)).await?.ok_or_else(wrong)
    }

    fn judge_new(&self, user: &User, old: &Password, new: &Password) -> Result<()> {
        if new.expose() == old.expose() {
            return Err(weak("newPassword", "it is the old password".into()));
        }
        let known = user.email.as_deref().map(email::local_part);
        let known = known.into_iter().chain(user.display_name.as_deref()).chain(user.login_name.as_deref());
        self.rule.judge(new, known).map_err(|reason| weak("newPassword", reason))
    }

    /// `None` when the password of the row is not the one that was checked any more.
    async fn set_password(&self, user: &User, new: &Password, keep: Option<Uuid>) -> Result<Option<User>> {
        let hash = self.hasher.hash(new).await?;
        let mut tx = self.pool.begin().await?;
        let now = self.clock.now();
        let Some(version) = store::update_password(&mut tx, user.id, &user.password_hash, &hash, now).await? else {
            return Ok(None);
        };
        self.tokens.revoke_others(&mut tx, user.id, keep, version).await?;
        let user = store::find(&mut tx, user.id).await?;
        tx.commit().await?;
        Ok(user)
    }

    // ── finding and ruling ────────────────────────────────────────────────────────────────────────────────────────

    /// The user with this id.
    pub async fn find(&self, id: UserId) -> Result<Option<User>> {
        Ok(store::find(&mut *self.pool.acquire().await?, id).await?)
    }

    /// The user whom an operator names.
    pub async fn find_named(&self, login: &Login) -> Result<Option<User>> {
        self.find_by_login(&mut *self.pool.acquire().await?, login).await
    }

    /// A page of all users, oldest first.
    pub async fn list(&self, after: Option<&User>, at_most: i64) -> Result<Vec<User>> {
        let after = after.map(|user| (user.created_at, user.id));
        Ok(store::list(&mut *self.pool.acquire().await?, after, at_most).await?)
    }

    /// Makes everybody who changes this user wait until the transaction ends; for rooms that count a user's things.
    pub async fn lock(&self, connection: &mut PgConnection, id: UserId) -> Result<()> {
        store::find_for_update(connection, id).await?.map(drop).ok_or_else(|| Code::Unauthorized.into())
    }

    /// Gives or takes rights; the last active administrator keeps them.
    pub async fn set_level(&self, id: UserId, level: AccessLevel, read_only: bool) -> Result<User> {
        let mut tx = self.pool.begin().await?;
        store::lock_admins(&mut tx).await?;
        let user = store::find_for_update(&mut tx, id).await?.ok_or(Code::NotFound)?;
        if level != AccessLevel::Admin || read_only {
            self.refuse_last_admin(&mut tx, &user).await?;
        }
        store::update_level(&mut tx, id, level, read_only, self.clock.now()).await?;
        let user = store::find(&mut tx, id).await?.ok_or(Code::NotFound)?;
        tx.commit().await?;
        Ok(user)
    }

    /// To be asked under [`store::lock_admins`] before an administrator is taken away.
    async fn refuse_last_admin(&self, tx: &mut PgConnection, user: &User) -> Result<()> {
        let is_active_admin = user.is_admin() && !user.read_only && user.state() == State::Active;
        if is_active_admin && !store::find_other_active_admin(tx, user.id).await? {
            return Err(Code::LastAdmin.into());
        }
        Ok(())
    }

    /// Deletes sign-ups that nobody proved in time. Returns how many, `at_most` a call.
    pub async fn sweep(&self, at_most: i64) -> Result<u64> {
        let before = self.clock.now() - User::UNPROVED_LIFETIME;
        Ok(store::delete_unproved(&mut *self.pool.acquire().await?, before, at_most).await?)
    }

    async fn find_by_login(&self, connection: &mut PgConnection, login: &Login) -> Result<Option<User>> {
        Ok(match login {
            Login::Id(id) => store::find(connection, *id).await?,
            Login::Email(email) => store::find_by_email(connection, email.canonical()).await?,
            Login::Name(name) => store::find_by_login_name(connection, name.as_str()).await?,
            Login::Nobody => None,
        })
    }
}

fn weak(field: &str, reason: String) -> Error {
    Error::invalid(Code::WeakPassword, Problem::new(field, reason))
}

/// Whether `login`, from the path of a request, means this user.
fn is_named_by(user: &User, login: &Login) -> bool {
    match login {
        Login::Id(id) => *id == user.id,
        Login::Email(email) => user.email_canonical.as_deref() == Some(email.canonical()),
        Login::Name(name) => user.login_name.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(name.as_str())),
        Login::Nobody => false,
    }
}

/// An instant as a mail shows it.
fn minute(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M UTC").to_string()
}
