//! The rules: who comes to be a user, what proves what, which password opens the door.

mod account;
mod email_change;
mod management;
mod notices;
mod passwords;
mod proof;
mod reset;
mod sign_up;

use sqlx::PgConnection;

use super::password::{Hasher, Password};
use super::password_rule::PasswordRule;
use super::{Login, User, UserId, email, store};
use crate::clock::Clock;
use crate::config;
use crate::db::Pool;
use crate::error::{Code, Error, Problem, Result};
use crate::events::{Draft, Events};
use crate::log_ins::LogIns;
use crate::mail::Mail;
use crate::random::Random;
use crate::ratelimit::Throttle;
use crate::secret::PlainSecret;
use crate::tokens::Tokens;
use crate::verification::{Claim, Purpose, Verification};

pub use management::{By, PasswordUpdate, UserChange};
pub use passwords::Entrant;
pub use sign_up::{NewName, NewUser, SignUp};

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
    events: Events,
    log_ins: LogIns,
    throttle: Throttle,
    clock: Clock,
    random: Random,
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
        events: Events,
        log_ins: LogIns,
        throttle: Throttle,
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
            events,
            log_ins,
            throttle,
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

    /// The user with this id.
    pub async fn find(&self, id: UserId) -> Result<Option<User>> {
        Ok(store::find(&mut *self.pool.acquire().await?, id).await?)
    }

    /// The user whom an administrator names, unless a sign-up that died and is not swept yet.
    ///
    /// An e-mail that nobody holds names the one sign-up that claims it. Of several none is meant more than another: a stranger's
    /// would be given the rights that somebody else was to have.
    ///
    /// # Errors
    /// `SeveralSignUps`.
    pub async fn find_named(&self, login: &Login) -> Result<Option<User>> {
        let mut connection = self.pool.acquire().await?;
        let now = self.clock.now();
        let Login::Email(email) = login else {
            return Ok(self.find_by_login(&mut connection, login).await?.filter(|user| !user.is_dead(now)));
        };
        if let Some(holder) = store::find_holder(&mut connection, email.canonical()).await? {
            return Ok(Some(holder));
        }
        let mut claimants =
            store::list_claimants(&mut connection, email.canonical(), now - User::UNPROVED_LIFETIME).await?;
        match claimants.len() {
            0 | 1 => Ok(claimants.pop()),
            _ => Err(Code::SeveralSignUps.into()),
        }
    }

    /// The user as it is now, whom nobody changes until the transaction ends; not one who died. For who lets somebody in.
    pub async fn find_for_update(&self, tx: &mut PgConnection, id: UserId) -> Result<Option<User>> {
        let now = self.clock.now();
        Ok(store::find_for_update(tx, id).await?.filter(|user| !user.is_dead(now)))
    }

    /// Deletes sign-ups that nobody proved in time. Returns how many, `at_most` a call.
    pub async fn sweep(&self, at_most: i64) -> Result<u64> {
        let before = self.clock.now() - User::UNPROVED_LIFETIME;
        let mut tx = self.pool.begin().await?;
        let dead = store::delete_unproved(&mut tx, before, at_most).await?;
        self.events.forget(&mut tx, &dead).await?;
        tx.commit().await?;
        Ok(dead.len() as u64)
    }

    /// Whom the token of a mail and the path name together, and what the token claims. Whose event it is is noted, also when
    /// the token is no good.
    ///
    /// # Errors
    /// `InvalidToken` when they name nobody, or not the same.
    async fn find_claimant(
        &self,
        connection: &mut PgConnection,
        login: &Login,
        token: &PlainSecret,
        purposes: &[Purpose],
        draft: &Draft,
    ) -> Result<(User, Option<Claim>)> {
        let claim = self.verification.find(connection, token, purposes).await?;
        let user = match &claim {
            Some(claim) => store::find(connection, claim.user).await?,
            None => self.find_by_login(connection, login).await?,
        };
        let user = user.filter(|user| is_named_by(user, login)).ok_or(Code::InvalidToken)?;
        draft.concerns(user.id);
        Ok((user, claim))
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

/// Refuses an e-mail that another user holds. Asked before the constraint is: a violated one would be written to the log of
/// Postgres, address and all.
async fn refuse_taken_email(connection: &mut PgConnection, id: UserId, canonical: &str) -> Result<()> {
    match store::find_holder(connection, canonical).await? {
        Some(holder) if holder.id != id => Err(Code::EmailTaken.into()),
        _ => Ok(()),
    }
}

/// The same of a login name.
async fn refuse_taken_name(connection: &mut PgConnection, id: UserId, name: &str) -> Result<()> {
    match store::find_by_login_name(connection, name).await? {
        Some(other) if other.id != id => Err(Code::NameTaken.into()),
        _ => Ok(()),
    }
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
