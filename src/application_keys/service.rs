//! Makes, lists, finds and deletes application keys.

use super::{ApplicationKey, NewApplicationKey, WithSecret, store};
use crate::clock::{Clock, minute};
use crate::db::{self, Pool};
use crate::error::{Code, Result};
use crate::mail::{Letter, Mail};
use crate::origin::Origin;
use crate::random::Random;
use crate::secret::PlainSecret;
use crate::users::{By, UserId, Users};

/// Characters of an id, and of a secret.
const LENGTH: usize = 32;

/// The application keys.
#[derive(Clone)]
pub struct ApplicationKeys {
    pool: Pool,
    users: Users,
    mail: Mail,
    clock: Clock,
    random: Random,
}

impl ApplicationKeys {
    /// Keys a user may have.
    pub const MOST: usize = 50;

    /// The application keys of this database.
    pub fn new(pool: Pool, users: Users, mail: Mail, clock: Clock, random: Random) -> Self {
        Self { pool, users, mail, clock, random }
    }

    /// A new key with its secret, which is never to be seen again. Others stay good; the owner is told.
    ///
    /// # Errors
    /// `TooManyApplicationKeys`; `HttpKeyExists`; and those of [`Users::lock_for`].
    pub async fn create(&self, user: UserId, new: &NewApplicationKey, by: By, origin: &Origin) -> Result<WithSecret> {
        let mut tx = self.pool.begin().await?;
        // One at a time for a user, or fifty parallel requests would each count forty-nine keys.
        let owner = self.users.lock_for(&mut tx, user, by).await?;
        let keys = store::list(&mut tx, user).await?;
        if new.http && keys.iter().any(|key| key.http) {
            return Err(Code::HttpKeyExists.into());
        }
        if keys.len() >= Self::MOST {
            return Err(Code::TooManyApplicationKeys.into());
        }
        let key = ApplicationKey {
            id: self.random.alphanumeric(LENGTH),
            user,
            purpose: new.purpose.0.clone(),
            level: new.level,
            read_only: new.read_only,
            http: new.http,
            created_at: self.clock.now(),
        };
        let made = WithSecret { key, secret: PlainSecret::new(self.random.alphanumeric(LENGTH)) };
        let inserted = store::insert(&mut tx, &made.key, &made.secret.hash()).await;
        db::on_constraint(inserted, &[("application_keys_http_key", Code::HttpKeyExists)])?;
        let letter = Letter::NewApplicationKey {
            at: minute(made.key.created_at),
            from: origin.from(),
            key_id: made.key.id.clone(),
            purpose: made.key.purpose.clone(),
        };
        self.users.notify(&mut tx, &owner, &letter).await?;
        tx.commit().await?;
        self.mail.wake();
        Ok(made)
    }

    /// The keys of a user, oldest first.
    pub async fn list(&self, user: UserId) -> Result<Vec<ApplicationKey>> {
        Ok(store::list(&mut *self.pool.acquire().await?, user).await?)
    }

    /// The key with this id, if it is live.
    pub async fn find(&self, id: &str) -> Result<Option<ApplicationKey>> {
        Ok(store::find(&mut *self.pool.acquire().await?, id).await?)
    }

    /// The key that has this secret, if it is live.
    pub async fn find_by_secret(&self, secret: &PlainSecret) -> Result<Option<ApplicationKey>> {
        Ok(store::find_by_secret(&mut *self.pool.acquire().await?, &secret.hash()).await?)
    }

    /// Deletes a key of this user, or anybody's where no user is named; answers whose it was. Nothing is logged in with it from then
    /// on.
    ///
    /// # Errors
    /// `NotFound`, also when it is somebody else's; and those of [`Users::lock_for`].
    pub async fn delete(&self, owner: Option<UserId>, id: &str, by: By) -> Result<UserId> {
        let mut tx = self.pool.begin().await?;
        let found = store::find(&mut tx, id).await?;
        let key = found.filter(|key| owner.is_none_or(|owner| key.user == owner)).ok_or(Code::NotFound)?;
        self.users.lock_for(&mut tx, key.user, by).await?;
        if !store::delete(&mut tx, id).await? {
            return Err(Code::NotFound.into());
        }
        tx.commit().await?;
        Ok(key.user)
    }
}
