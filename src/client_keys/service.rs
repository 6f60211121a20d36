//! Makes, lists, checks and deletes client keys.

use anyhow::Context;
use chrono::TimeDelta;
use sqlx::PgConnection;
use uuid::Uuid;

use super::replay::{self, IdempotencyKey};
use super::{ClientKey, KeptCreation, LiveKey, NewClientKey, WithSecret, store};
use crate::change::Change;
use crate::clock::{Clock, minute};
use crate::db::Pool;
use crate::error::{Code, Result};
use crate::last_use::{Known, LastUse};
use crate::mail::{Letter, Mail};
use crate::origin::Origin;
use crate::random::Random;
use crate::sealing::MasterKey;
use crate::secret::PlainSecret;
use crate::users::{By, ShortText, User, UserId, Users};

/// How coarse the last use of a key is.
const COARSE: TimeDelta = TimeDelta::seconds(1);

/// The client keys.
#[derive(Clone)]
pub struct ClientKeys {
    pool: Pool,
    users: Users,
    mail: Mail,
    master_key: MasterKey,
    clock: Clock,
    random: Random,
    used: LastUse<String>,
}

impl ClientKeys {
    /// Keys a user may have.
    pub const MOST: usize = 50;

    /// The client keys of this database.
    pub fn new(pool: Pool, users: Users, mail: Mail, master_key: MasterKey, clock: Clock, random: Random) -> Self {
        Self { pool, users, mail, master_key, clock, random, used: LastUse::default() }
    }

    /// A new key with its secret, which is never to be seen again. Others stay good; the owner is told.
    ///
    /// With an idempotency key, the same request by the same token gets the same answer for ten minutes.
    ///
    /// # Errors
    /// `TooManyClientKeys`; `IdempotencyKeyReused` for another request under the same key; `Forbidden` for a read-only
    /// user; and those of [`Users::lock_for`].
    pub async fn create(&self, user: UserId, token: Uuid, new: &NewClientKey, origin: &Origin) -> Result<WithSecret> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        // One at a time for a user, or fifty parallel requests would each count forty-nine keys, and two with one
        // idempotency key would each be the first.
        let user = self.users.lock_for(&mut tx, user, By::Caller { id: user, token }).await?;
        user.may_change()?;
        if let Some(key) = &new.idempotency_key
            && let Some(made) = self.find_made(&mut tx, user.id, token, key, new).await?
        {
            return Ok(made);
        }
        if store::list(&mut tx, user.id).await?.len() >= Self::MOST {
            return Err(Code::TooManyClientKeys.into());
        }
        let key = ClientKey {
            id: hex::encode(self.random.bytes::<20>()),
            user: user.id,
            label: new.label.clone().map(|label| label.0),
            generation: 0,
            created_at: now,
            last_used_at: None,
        };
        let made = WithSecret { key, secret: PlainSecret::new(hex::encode(self.random.bytes::<40>())) };
        store::insert(&mut tx, &made.key, &made.secret.hash()).await?;
        if let Some(key) = &new.idempotency_key {
            let answer = replay::to_seal(&made).context("an answer is plain data")?;
            let sealed = self.master_key.seal(&replay::place(user.id, token, key), &answer);
            let body = replay::body_hash(new);
            store::insert_answer(&mut tx, token, key.as_str(), &made.key, &body, &sealed, now).await?;
        }
        let letter = Letter::NewClientKey {
            at: minute(now),
            from: origin.from(),
            client_id: made.key.id.clone(),
            label: made.key.label.clone(),
        };
        self.users.notify(&mut tx, &user, &letter).await?;
        tx.commit().await?;
        self.mail.wake();
        Ok(made)
    }

    /// What this token made under this idempotency key in the last ten minutes.
    async fn find_made(
        &self,
        tx: &mut PgConnection,
        user: UserId,
        token: Uuid,
        key: &IdempotencyKey,
        new: &NewClientKey,
    ) -> Result<Option<WithSecret>> {
        let since = self.clock.now() - replay::LIFETIME;
        store::delete_answer_before(tx, token, key.as_str(), since).await?;
        let Some(answer) = store::find_answer(tx, user, token, key.as_str()).await? else { return Ok(None) };
        if !replay::body_hash(new).matches(&answer.body_hash) {
            return Err(Code::IdempotencyKeyReused.into());
        }
        let kept = self.master_key.open(&replay::place(user, token, key), &answer.sealed_answer)?;
        let made = replay::from_sealed(&kept, answer.client_key_id, user).context("a kept answer is damaged")?;
        Ok(Some(made))
    }

    /// The keys of a user, newest first.
    pub async fn list(&self, user: UserId) -> Result<Vec<ClientKey>> {
        Ok(store::list(&mut *self.pool.acquire().await?, user).await?)
    }

    /// The creations of a user that can be repeated, oldest first.
    pub async fn list_repeatable(&self, user: UserId) -> Result<Vec<KeptCreation>> {
        Ok(store::list_answers(&mut *self.pool.acquire().await?, user).await?)
    }

    /// Changes what the owner calls a key.
    pub async fn relabel(&self, user: &User, id: &str, label: Change<ShortText>) -> Result<ClientKey> {
        user.may_change()?;
        let mut tx = self.pool.begin().await?;
        let label = match label {
            Change::Keep => None,
            Change::Remove => Some(None),
            Change::Set(label) => Some(Some(label.0)),
        };
        if let Some(label) = label {
            store::update_label(&mut tx, user.id, id, label.as_deref()).await?;
        }
        let found = store::find(&mut tx, id).await?.map(|live| live.key);
        let key = found.filter(|key| key.user == user.id).ok_or(Code::NotFound)?;
        tx.commit().await?;
        Ok(key)
    }

    /// Deletes a key of this user, and with it its refresh tokens; access tokens live out their hour.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` for a read-only user; and those of [`Users::lock_for`].
    pub async fn delete(&self, user: UserId, id: &str, by: By) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        self.users.lock_for(&mut tx, user, by).await?.may_change()?;
        if !store::delete(&mut tx, user, id).await? {
            return Err(Code::NotFound.into());
        }
        Ok(tx.commit().await?)
    }

    /// Ends every refresh token of a key that was issued so far; the key stays good for new ones.
    ///
    /// # Errors
    /// Those of [`ClientKeys::delete`].
    pub async fn revoke_refresh_tokens(&self, user: UserId, id: &str, by: By) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        self.users.lock_for(&mut tx, user, by).await?.may_change()?;
        if !store::update_generation(&mut tx, user, id).await? {
            return Err(Code::NotFound.into());
        }
        Ok(tx.commit().await?)
    }

    /// The key with this id, if it is live.
    pub async fn find(&self, id: &str) -> Result<Option<LiveKey>> {
        Ok(store::find(&mut *self.pool.acquire().await?, id).await?)
    }

    /// Notes that a key, or one of its refresh tokens, just got a token.
    pub fn note_use(&self, id: &String, known: &Known) {
        self.used.note(id, self.clock.now(), known, COARSE);
    }

    /// Writes what [`ClientKeys::note_use`] noted.
    pub async fn write_last_uses(&self) -> Result<()> {
        let (ids, instants) = self.used.take();
        if !ids.is_empty() {
            store::update_last_uses(&mut *self.pool.acquire().await?, &ids, &instants).await?;
        }
        Ok(())
    }

    /// Drops answers that cannot be repeated any more. Returns how many, `at_most` a call.
    pub async fn sweep(&self, at_most: i64) -> Result<u64> {
        let before = self.clock.now() - replay::LIFETIME;
        Ok(store::delete_answers(&mut *self.pool.acquire().await?, before, at_most).await?)
    }
}
