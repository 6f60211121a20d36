//! What administrators do to users, through whichever door. Whether the caller is one is for the door to ask.

use sqlx::PgConnection;
use uuid::Uuid;

use super::sign_up::ACTIVATION_LIFETIME;
use super::{Users, refuse_taken_name};
use crate::clock::minute;
use crate::db::{self, Tx};
use crate::error::{Code, Error, Problem, Result};
use crate::mail::Letter;
use crate::origin::Origin;
use crate::users::password::Password;
use crate::users::{AccessLevel, BlockCause, Found, LoginName, Place, Search, State, User, UserId, Way, store};

/// What an administrator changes about a user; what is `None` stays. A value that the user has already is no change.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// The login name.
    pub name: Option<LoginName>,
    /// Rights.
    pub level: Option<AccessLevel>,
    /// Whether only reading is allowed.
    pub read_only: Option<bool>,
    /// [`State::Blocked`] blocks, [`State::Active`] lifts a block from a user who is active without it.
    pub state: Option<State>,
    /// Wrong passwords since the last right one; see [`UserChange::failures`].
    pub failed_login_attempts: Option<i32>,
}

impl UserChange {
    /// Reads a number of wrong passwords: 0 to 1,000,000, far from where the count would overflow.
    ///
    /// # Errors
    /// What is wrong, in words for the person who sent it.
    pub fn failures(count: i64) -> Result<i32, String> {
        let count = i32::try_from(count).ok().filter(|count| (0..=1_000_000).contains(count));
        count.ok_or_else(|| "must be a number from 0 to 1000000".into())
    }

    /// What it takes to make this change of a user: all but the own name is a matter of rights.
    fn needs(&self, id: UserId, by: By) -> Needs {
        let Self { name: _, level, read_only, state, failed_login_attempts } = self;
        let is_about_rights =
            level.is_some() || read_only.is_some() || state.is_some() || failed_login_attempts.is_some();
        if by.is(id) && !is_about_rights { Needs::Oneself } else { Needs::Rights }
    }

    /// The user as this change would have him.
    ///
    /// # Errors
    /// `InvalidState` for a state to which only the user can go.
    fn apply(&self, user: &User) -> Result<User> {
        let mut after = user.clone();
        if let Some(name) = &self.name {
            after.login_name = Some(name.as_str().to_owned());
        }
        after.access_level = self.level.unwrap_or(user.access_level);
        after.read_only = self.read_only.unwrap_or(user.read_only);
        if let Some(state) = self.state.filter(|state| *state != user.state()) {
            match state {
                State::Blocked => after.block_cause = Some(BlockCause::Admin),
                State::Active => (after.block_cause, after.failed_login_attempts) = (None, 0),
                State::WaitingForActivation => {}
            }
            if after.state() != state {
                return Err(Code::InvalidState.into());
            }
        }
        // Clients send back what they were shown: that is no wish to keep the failures of which a block consisted.
        if let Some(failures) = self.failed_login_attempts.filter(|failures| *failures != user.failed_login_attempts) {
            let refused = |reason| Error::invalid_fields(vec![Problem::new("failedLoginAttempts", reason)]);
            after.failed_login_attempts = Self::failures(failures.into()).map_err(refused)?;
        }
        Ok(after)
    }
}

/// What a caller must be for what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// An administrator who may do more than read.
    Rights,
    /// The user whom it is done to.
    Oneself,
}

/// A new password for a user who knows the old one.
pub struct PasswordUpdate {
    /// The old one, or an activation password.
    pub current: Password,
    /// The new one.
    pub new: Password,
    /// The token that lives on.
    pub keep: Option<Uuid>,
}

/// On whose word something is done. Who has lost the right to it since a door asked, or whose token has ended, is refused:
/// `TokenInvalid`, `UserBlocked`, `Forbidden`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The command line, the way back when nobody can log in any more.
    Operator,
    /// Somebody whose rights a door has found good, as long as the token is.
    Caller {
        /// Who.
        id: UserId,
        /// The `jti` of the token that the caller has shown.
        token: Uuid,
    },
}

impl By {
    /// Whether it is on the word of this user.
    fn is(self, id: UserId) -> bool {
        matches!(self, Self::Caller { id: caller, .. } if caller == id)
    }
}

impl Users {
    /// A page of the users who pass, `at_most` on it.
    pub async fn page(&self, search: &Search, way: Way, at_most: i64) -> Result<Found> {
        let mut connection = self.pool.acquire().await?;
        // One more than is shown tells whether the way goes on.
        let mut users = match way {
            Way::After(place) => store::list_after(&mut connection, search, place, at_most + 1).await?,
            Way::Before(place) => store::list_before(&mut connection, search, place, at_most + 1).await?,
        };
        let shown = usize::try_from(at_most).unwrap_or(0);
        let goes_on = users.len() > shown;
        users.truncate(shown);
        Ok(match way {
            Way::After(place) => Found {
                older: users.first().filter(|_| place != Place::BEGINNING).map(Place::from),
                newer: users.last().filter(|_| goes_on).map(Place::from),
                users,
            },
            Way::Before(_) => {
                users.reverse();
                Found {
                    older: users.first().filter(|_| goes_on).map(Place::from),
                    newer: users.last().map(Place::from),
                    users,
                }
            }
        })
    }

    /// Whether there is any administrator with full rights, in whatever state.
    pub async fn has_full_admin(&self) -> Result<bool> {
        Ok(store::find_any_full_admin(&mut *self.pool.acquire().await?).await?)
    }

    /// Changes what is an administrator's to change.
    ///
    /// # Errors
    /// `NotFound`, `NameTaken`, `InvalidState`, `LastAdmin`, `ValidationFailed`; and those of [`By`].
    pub async fn change(&self, id: UserId, change: &UserChange, by: By) -> Result<User> {
        self.alter(id, by, change.needs(id, by), |user| change.apply(user)).await
    }

    /// Blocks a user as an administrator does: what the user's tokens and keys open ends at once. Again it changes nothing, and
    /// a block by failures becomes one by an administrator.
    ///
    /// # Errors
    /// `NotFound`, `LastAdmin`; and those of [`By`].
    pub async fn block(&self, id: UserId, by: By) -> Result<User> {
        let blocked = |user: &User| Ok(User { block_cause: Some(BlockCause::Admin), ..user.clone() });
        self.alter(id, by, Needs::Rights, blocked).await
    }

    async fn alter(
        &self,
        id: UserId,
        by: By,
        needs: Needs,
        change: impl FnOnce(&User) -> Result<User>,
    ) -> Result<User> {
        let (mut tx, before) = self.begin(id, by, needs).await?;
        let after = self.alter_in(&mut tx, before, change).await?;
        tx.commit().await?;
        Ok(after)
    }

    async fn alter_in(
        &self,
        tx: &mut PgConnection,
        before: User,
        change: impl FnOnce(&User) -> Result<User>,
    ) -> Result<User> {
        let after = change(&before)?;
        let said = |user: &User| {
            let User { login_name, access_level, read_only, block_cause, failed_login_attempts, .. } = user;
            (login_name.clone(), *access_level, *read_only, *block_cause, *failed_login_attempts)
        };
        if said(&after) == said(&before) {
            return Ok(before);
        }
        if !after.is_active_admin() {
            self.refuse_last_admin(tx, &before).await?;
        }
        if let Some(name) = after.login_name.as_deref().filter(|name| before.login_name.as_deref() != Some(name)) {
            refuse_taken_name(tx, before.id, name).await?;
        }
        let after = User { updated_at: self.clock.now(), ..after };
        let updated = store::update_account(tx, &after).await;
        db::on_constraint(updated, &[("users_login_name_key", Code::NameTaken)])?;
        // With the version that it has now.
        store::find(tx, before.id).await?.ok_or_else(|| Code::NotFound.into())
    }

    /// Changes a user and, with the old one, the password: both or nothing. The user is as its caller has read it.
    ///
    /// # Errors
    /// Those of [`Users::change`] and [`Users::change_password`].
    pub async fn store(
        &self,
        user: &User,
        change: &UserChange,
        password: Option<&PasswordUpdate>,
        by: By,
        origin: &Origin,
    ) -> Result<()> {
        let Some(update) = password else { return self.change(user.id, change, by).await.map(drop) };
        // The new password is judged beside the new name.
        let name = change.name.as_ref().map(|name| name.as_str().to_owned());
        let named = User { login_name: name.or_else(|| user.login_name.clone()), ..user.clone() };
        let password_hash = self.prepare_password(&named, &update.current, &update.new).await?;
        let (mut tx, before) = self.begin(user.id, by, change.needs(user.id, by)).await?;
        self.alter_in(&mut tx, before, |user| change.apply(user)).await?;
        self.commit_password(tx, user, &password_hash, update.keep, origin).await.map(drop)
    }

    /// Takes the account out of every hand that has it: an activation password, good for 7 days, takes the place of whatever
    /// opened it, account tokens and older mails are void, a block is lifted. Rights, client keys, enabled addresses and the e-mail stay.
    ///
    /// # Errors
    /// `NotFound`; `LastAdmin`, but not for the operator; and those of [`By`].
    pub async fn reset(&self, id: UserId, by: By) -> Result<(User, Password)> {
        self.find(id).await?.ok_or(Code::NotFound)?;
        let activation = self.activation_password();
        let hash = self.hasher.hash(&activation).await?;
        let (mut tx, before) = self.begin(id, by, Needs::Rights).await?;
        if by != By::Operator {
            self.refuse_last_admin(&mut tx, &before).await?;
        }
        let now = self.clock.now();
        let version = store::update_activation(&mut tx, id, &hash, now + ACTIVATION_LIFETIME, now).await?;
        self.tokens.revoke_others(&mut tx, id, None, version).await?;
        self.void_mails(&mut tx, id).await?;
        let user = store::find(&mut tx, id).await?.ok_or(Code::NotFound)?;
        tx.commit().await?;
        Ok((user, activation))
    }

    /// Deletes a user as [`Users::delete`] does, without asking the user.
    ///
    /// # Errors
    /// `NotFound`, `LastAdmin`; and those of [`By`].
    pub async fn remove(&self, id: UserId, by: By, origin: &Origin) -> Result<()> {
        let (tx, user) = self.begin(id, by, Needs::Rights).await?;
        let letter = Letter::AccountDeleted { at: minute(self.clock.now()), from: origin.from(), by_admin: true };
        self.erase(tx, &user, &letter).await
    }

    /// A transaction in which nobody else changes this user, nor, where rights are needed, takes an administrator away.
    async fn begin(&self, id: UserId, by: By, needs: Needs) -> Result<(Tx, User)> {
        let mut tx = self.pool.begin().await?;
        let user = self.lock(&mut tx, id, by, needs).await?;
        Ok((tx, user))
    }

    /// Makes everybody who changes this user wait until the transaction ends, for a room that counts a user's things: on
    /// the word of the user, or of an administrator who still is one.
    ///
    /// # Errors
    /// `NotFound`; and those of [`By`].
    pub async fn lock_for(&self, tx: &mut PgConnection, id: UserId, by: By) -> Result<User> {
        self.lock(tx, id, by, if by.is(id) { Needs::Oneself } else { Needs::Rights }).await
    }

    /// The same for what only an administrator does, also to the own account.
    ///
    /// # Errors
    /// `NotFound`; and those of [`By`].
    pub async fn lock_as_admin(&self, tx: &mut PgConnection, id: UserId, by: By) -> Result<User> {
        self.lock(tx, id, by, Needs::Rights).await
    }

    async fn lock(&self, tx: &mut PgConnection, id: UserId, by: By, needs: Needs) -> Result<User> {
        if needs == Needs::Rights {
            store::lock_admins(tx).await?;
        }
        let user = store::find_for_update(tx, id).await?;
        // Asked first: who is deleted hears that the token has ended, and not that there is nobody.
        self.vouch(tx, by, needs).await?;
        // What is done to a sign-up that died, and is not swept yet, must not bring it back.
        user.filter(|user| !user.is_dead(self.clock.now())).ok_or_else(|| Code::NotFound.into())
    }

    /// Asks once more whether the caller may do what is about to be done. A door has asked before; but since then a hash was waited
    /// for, or a lock, and whoever lost all rights meanwhile must not make administrators with them. Where rights are needed it is to
    /// be asked under [`store::lock_admins`], which everybody holds who takes them away.
    ///
    /// # Errors
    /// `TokenInvalid`, `UserBlocked`, `Forbidden`.
    pub(super) async fn vouch(&self, tx: &mut PgConnection, by: By, needs: Needs) -> Result<()> {
        let By::Caller { id, token } = by else { return Ok(()) };
        let caller = store::find(tx, id).await?.ok_or(Code::TokenInvalid)?;
        if !self.tokens.is_live(tx, token, caller.token_version).await? {
            return Err(Code::TokenInvalid.into());
        }
        match needs {
            _ if caller.block_cause == Some(BlockCause::Admin) => Err(Code::UserBlocked.into()),
            Needs::Rights if !caller.is_admin() || caller.read_only => Err(Code::Forbidden.into()),
            Needs::Rights | Needs::Oneself => Ok(()),
        }
    }

    /// To be asked under [`store::lock_admins`] before an administrator is taken away.
    pub(super) async fn refuse_last_admin(&self, tx: &mut PgConnection, user: &User) -> Result<()> {
        if user.is_active_admin() && !store::find_other_active_admin(tx, user.id).await? {
            return Err(Code::LastAdmin.into());
        }
        Ok(())
    }
}
