//! Which password opens the door, and how it is replaced.

use chrono::TimeDelta;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Users, weak};
use crate::clock::minute;
use crate::db::Tx;
use crate::error::{Code, Error, Problem, Result};
use crate::events::Draft;
use crate::log_ins::Seen;
use crate::mail::Letter;
use crate::origin::Origin;
use crate::ratelimit::{Account, Network, Standing};
use crate::users::password::{Password, PasswordHash};
use crate::users::{BlockCause, Login, State, User, UserId, email, store};
use crate::verification::Purpose;

/// How long a network is known to an account after a log-in from there.
const FRIENDSHIP: TimeDelta = TimeDelta::days(30);

/// Who came with a right password.
pub enum Entrant {
    /// With a real one.
    Member(User),
    /// With an activation password, which opens nothing but the way to a real one.
    Newcomer(User),
}

impl Users {
    /// Who it is that logs in with this password, through whichever door. It must be a real one.
    ///
    /// # Errors
    /// Those of [`Users::let_in`]; `ActivationRequired` for an activation password.
    pub async fn check_password(
        &self,
        login: &Login,
        password: &Password,
        origin: &Origin,
        draft: &Draft,
    ) -> Result<User> {
        match self.let_in(login, password, origin, draft).await? {
            Entrant::Member(user) => Ok(user),
            Entrant::Newcomer(_) => Err(Code::ActivationRequired.into()),
        }
    }

    /// Who it is that comes with this password, be it a real one or an activation password.
    ///
    /// A wrong name, a wrong password and the right password of an unproved e-mail are one refusal after one hash;
    /// what state a user is in is told only to the bearer of the right password (docs/security.md row 2).
    ///
    /// # Errors
    /// `InvalidCredentials`, `UserBlocked`, `TooManyRequests`, `Overloaded`.
    pub async fn let_in(&self, login: &Login, password: &Password, origin: &Origin, draft: &Draft) -> Result<Entrant> {
        let now = self.clock.now();
        let is_activation = |user: &User| user.activation_expires_at.is_some_and(|end| end > now);
        // A block and an activation password are told to the bearer of the right password; all else that waits is a 401.
        let opens =
            |user: &User| !user.is_dead(now) && (is_activation(user) || user.state() != State::WaitingForActivation);
        let mut user = self.verify_password(login, password, origin, draft, opens).await?;
        if user.email.is_none() {
            // A burst of guesses is judged in parallel; the one that comes after the block must not profit from having
            // been read before it. Only the block is news: the token version stays the one that the password was
            // checked against, or a password that was changed meanwhile would open the door once more.
            user.block_cause = self.find(user.id).await?.ok_or(Code::InvalidCredentials)?.block_cause;
        }
        if user.state() == State::Blocked {
            return Err(Code::UserBlocked.into());
        }
        if is_activation(&user) {
            return Ok(Entrant::Newcomer(user));
        }
        self.welcome(&user, password, origin).await?;
        Ok(Entrant::Member(user))
    }

    /// The user whom `login` names, if the password is right and `opens` something at this door.
    ///
    /// One hash, whoever is named and whether or not there is such a user. Every other outcome is the same refusal and
    /// counts as a failure, whatever the reason: what did not count would tell that a password is right.
    async fn verify_password(
        &self,
        login: &Login,
        password: &Password,
        origin: &Origin,
        draft: &Draft,
        opens: impl Fn(&User) -> bool,
    ) -> Result<User> {
        let user = self.find_by_login(&mut *self.pool.acquire().await?, login).await?;
        if let Some(user) = &user {
            draft.concerns(user.id);
        }
        if password.is_too_long() {
            return Err(Code::InvalidCredentials.into());
        }
        let account = account(login, user.as_ref(), origin);
        self.admit(account, user.as_ref(), origin).await?;
        let is_right = self.hasher.verify(password, user.as_ref().map(|user| &user.password_hash)).await?;
        let is_open = is_right && user.as_ref().is_some_and(opens);
        if !is_open {
            // Before anything that may fail: a guess that a lame database left uncounted would be a free one.
            self.throttle.note_failure(account, Network::of_client(origin));
        }
        if !is_right {
            match &user {
                Some(user) if user.email.is_none() => self.count_failure(user).await?,
                // Counting takes a commit; without one here, the time would tell which login names exist.
                _ if matches!(login, Login::Name(_)) => store::mark_nothing(&mut *self.pool.acquire().await?).await?,
                _ => {}
            }
        }
        user.filter(|_| is_open).ok_or_else(|| Code::InvalidCredentials.into())
    }

    /// Refuses who failed too often, before a hash is computed. While an account is being guessed at, those who logged in
    /// to it from this network before are not held up by the others.
    async fn admit(&self, account: Account, user: Option<&User>, origin: &Origin) -> Result<()> {
        if self.throttle.ask(account, Network::of_client(origin))? == Standing::Quiet {
            return Ok(());
        }
        // Also looked up for a user who does not exist, or the time would tell.
        let id = user.map_or(UserId(Uuid::nil()), |user| user.id);
        let since = self.clock.now() - FRIENDSHIP;
        if self.log_ins.has_been_here(id, Network::of_client(origin), since).await? {
            return Ok(());
        }
        self.throttle.ask_as_stranger(account, Network::of_client(origin))
    }

    /// An account without an e-mail blocks itself after too many wrong passwords, unless it is the last administrator:
    /// strangers must not be able to lock everybody out.
    async fn count_failure(&self, user: &User) -> Result<()> {
        let version = user.token_version;
        let failures = store::mark_failed_login(&mut *self.pool.acquire().await?, user.id, version).await?;
        if failures <= self.max_failed_logins {
            return Ok(());
        }
        let mut tx = self.pool.begin().await?;
        store::lock_admins(&mut tx).await?;
        // As the user is now: the hash may have waited for long, and meanwhile there may have been a Reset, or an administrator
        // been made of the user.
        let now = store::find_for_update(&mut tx, user.id).await?.filter(|now| now.token_version == version);
        let counts = |now: &User| now.email.is_none() && now.failed_login_attempts > self.max_failed_logins;
        let Some(now) = now.filter(|now| now.block_cause.is_none() && counts(now)) else { return Ok(()) };
        // Also one who has not been activated yet: there may be nobody else to make another.
        if !now.is_admin() || store::find_other_active_admin(&mut tx, user.id).await? {
            store::mark_blocked(&mut tx, user.id, BlockCause::Failures, self.clock.now()).await?;
        }
        Ok(tx.commit_aside().await?)
    }

    /// After a right password: note where it was typed, forget the wrong ones, and bring an old hash up to date.
    async fn welcome(&self, user: &User, password: &Password, origin: &Origin) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        let is_told = self.note_log_in(&mut tx, user, origin).await?;
        tx.commit_aside().await?;
        if is_told {
            self.mail.wake();
        }
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

    /// Notes from where somebody logged in, by whatever proof, and tells the user if that is news; whether a mail was queued.
    pub async fn note_log_in(&self, tx: &mut PgConnection, user: &User, origin: &Origin) -> Result<bool> {
        let seen = self.log_ins.note(tx, user.id, origin).await?;
        let (at, from, agent) = (minute(self.clock.now()), origin.from(), origin.agent.clone());
        let letter = Letter::NewLogIn { at, from, agent };
        Ok(seen == Seen::New && self.notify(tx, user, &letter).await?)
    }

    /// Exchanges an activation password for a real one. To guess one is to guess a password.
    pub async fn activate(
        &self,
        login: &Login,
        activation: &Password,
        new: &Password,
        origin: &Origin,
        draft: &Draft,
    ) -> Result<User> {
        let now = self.clock.now();
        let is_open = |user: &User| user.activation_expires_at.is_some_and(|end| end > now);
        let user = self.verify_password(login, activation, origin, draft, is_open).await?;
        if user.state() == State::Blocked {
            return Err(Code::UserBlocked.into());
        }
        self.judge_new(&user, activation, new)?;
        let hash = self.hasher.hash(new).await?;
        let changed = self.set_password(self.pool.begin().await?, &user, &hash, None, None).await?;
        changed.ok_or_else(|| Code::InvalidCredentials.into())
    }

    /// Changes the password of a user who knows the old one. Every other token dies; `keep` lives. The owner is told.
    pub async fn change_password(
        &self,
        user: &User,
        keep: Uuid,
        old: &Password,
        new: &Password,
        origin: &Origin,
    ) -> Result<User> {
        let hash = self.prepare_password(user, old, new).await?;
        self.commit_password(self.pool.begin().await?, user, &hash, Some(keep), origin).await
    }

    /// The hash of a new password for a user who knows the old one, which may be an activation password that is not over.
    pub(super) async fn prepare_password(&self, user: &User, old: &Password, new: &Password) -> Result<PasswordHash> {
        self.confirm_password(user, "oldPassword", old).await?;
        if user.activation_expires_at.is_some_and(|end| end <= self.clock.now()) {
            return Err(wrong_password("oldPassword"));
        }
        self.judge_new(user, old, new)?;
        self.hasher.hash(new).await
    }

    /// Sets a password that was prepared, and ends the transaction.
    pub(super) async fn commit_password(
        &self,
        tx: Tx,
        user: &User,
        hash: &PasswordHash,
        keep: Option<Uuid>,
        origin: &Origin,
    ) -> Result<User> {
        let at = minute(self.clock.now());
        let notice = Letter::PasswordChanged { at, from: origin.from(), is_reset: false };
        let changed = self.set_password(tx, user, hash, keep, Some(&notice)).await?;
        // Somebody who changed it meanwhile has made `old` wrong.
        changed.ok_or_else(|| wrong_password("oldPassword"))
    }

    /// Asks a user who carries a live token for the password once more, before something that a stolen token must not do.
    /// Nor must it become a place to guess passwords: wrong ones have a budget, which failed log-ins never use up.
    ///
    /// # Errors
    /// `InvalidPassword`, which names `field`; `TooManyRequests`.
    pub(super) async fn confirm_password(&self, user: &User, field: &str, password: &Password) -> Result<()> {
        let account = Account::of(&user.id.to_string());
        let confirmation = self.throttle.begin_confirmation(account).await?;
        if !password.is_too_long() && self.hasher.verify(password, Some(&user.password_hash)).await? {
            return Ok(());
        }
        confirmation.fail();
        Err(wrong_password(field))
    }

    /// Voids what older mails could do. A new password ends what a thief began with the old one: another password, and
    /// another e-mail, which would be the way to another password. It also ends an invitation to choose the first one.
    pub(super) async fn void_mails(&self, tx: &mut PgConnection, user: UserId) -> Result<()> {
        for purpose in [Purpose::PasswordReset, Purpose::EmailChange, Purpose::Invitation] {
            self.verification.withdraw(tx, user, purpose).await?;
        }
        Ok(())
    }

    fn judge_new(&self, user: &User, old: &Password, new: &Password) -> Result<()> {
        if new.expose() == old.expose() {
            return Err(weak("newPassword", "it is the old password".into()));
        }
        self.judge_about(user, new)
    }

    /// Judges a new password of this user by the rule.
    pub(super) fn judge_about(&self, user: &User, new: &Password) -> Result<()> {
        let known = user.email.as_deref().map(email::local_part);
        let known = known.into_iter().chain(user.display_name.as_deref()).chain(user.login_name.as_deref());
        self.rule.judge(new, known).map_err(|reason| weak("newPassword", reason))
    }

    /// `None` when the password is not the one that was checked any more.
    async fn set_password(
        &self,
        mut tx: Tx,
        user: &User,
        hash: &PasswordHash,
        keep: Option<Uuid>,
        notice: Option<&Letter>,
    ) -> Result<Option<User>> {
        let now = self.clock.now();
        let Some(version) = store::update_password(&mut tx, user.id, user.token_version, hash, now).await? else {
            return Ok(None);
        };
        self.tokens.revoke_others(&mut tx, user.id, keep, version).await?;
        self.void_mails(&mut tx, user.id).await?;
        if let Some(notice) = notice {
            self.notify(&mut tx, user, notice).await?;
        }
        let user = store::find(&mut tx, user.id).await?;
        tx.commit().await?;
        self.mail.wake();
        Ok(user)
    }
}

fn wrong_password(field: &str) -> Error {
    Error::invalid(Code::InvalidPassword, Problem::new(field, "is wrong"))
}

/// What failures are counted against: a user by whichever name, and a name that is nobody's by itself.
///
/// A sign-up that nobody proved is still counted by what was typed. Counted by its id, the failures on an address would
/// be forgotten by signing up with it, but only if nobody holds it: a stranger could ask who has an account.
fn account(login: &Login, user: Option<&User>, origin: &Origin) -> Account {
    let settled = user.filter(|user| user.email.is_none() || user.email_held);
    match (settled, login) {
        (Some(user), _) => Account::of(&user.id.to_string()),
        (None, Login::Id(id)) => Account::of(&id.to_string()),
        (None, Login::Email(email)) => Account::of(email.canonical()),
        (None, Login::Name(name)) => Account::of(&name.as_str().to_ascii_lowercase()),
        // Not even a name: what a client mistypes must not hold up the others who do.
        (None, Login::Nobody) => Account::of(&format!("nobody at {}", Network::of_client(origin).as_inet())),
    }
}
