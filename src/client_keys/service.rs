//! Makes, lists, checks and deletes client keys.

use super::{ClientKey, store};
use crate::clock::Clock;
use crate::db::Pool;
use crate::error::{Code, Result};
use crate::random::Random;
use crate::secret::PlainSecret;
use crate::users::{User, UserId, Users};

/// The client keys.
#[derive(Clone)]
pub struct ClientKeys {
    pool: Pool,
    users: Users,
    clock: Clock,
    random: Random,
}

impl ClientKeys {
    /// Keys a user may have.
    pub const MOST: usize = 50;

    /// The client keys of this database.
    pub fn new(pool: Pool, users: Users, clock: Clock, random: Random) -> Self {
        Self { pool, users, clock, random }
    }

    /// A new key, and its secret (80 hex digits), which is never to be seen again. Others stay good.
    pub async fn create(&self, user: &User) -> Result<(ClientKey, PlainSecret)> {
        if user.read_only {
            return Err(Code::Forbidden.into());
        }
        let id = hex::encode(self.random.bytes::<20>());
        let secret = PlainSecret::new(hex::encode(self.random.bytes::<40>()));
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        // One at a time for a user, or fifty parallel requests would each count forty-nine keys.
        self.users.lock(&mut tx, user.id).await?;
        if store::list(&mut tx, user.id).await?.len() >= Self::MOST {
            return Err(Code::TooManyClientKeys.into());
        }
        store::insert(&mut tx, &id, user.id, &secret.hash(), now).await?;
        tx.commit().await?;
        Ok((ClientKey { id, user: user.id, generation: 0, created_at: now }, secret))
    }

    /// The keys of a user, newest first.
    pub async fn list(&self, user: UserId) -> Result<Vec<ClientKey>> {
        Ok(store::list(&mut *self.pool.acquire().await?, user).await?)
    }

    /// Deletes a key of this user, and with it its refresh tokens; access tokens live out their hour.
    pub async fn delete(&self, user: &User, id: &str) -> Result<()> {
        if user.read_only {
            return Err(Code::Forbidden.into());
        }
        match store::delete(&mut *self.pool.acquire().await?, user.id, id).await? {
            true => Ok(()),
            false => Err(Code::NotFound.into()),
        }
    }

    /// The key with this id, if it is live.
    pub async fn find(&self, id: &str) -> Result<Option<ClientKey>> {
        Ok(store::find(&mut *self.pool.acquire().await?, id).await?.map(|(key, _)| key))
    }

    /// The key with this id, and whether `secret` is its secret. An unknown id costs what a known one does.
    pub async fn check(&self, id: &str, secret: &PlainSecret) -> Result<Option<(ClientKey, bool)>> {
        let found = store::find(&mut *self.pool.acquire().await?, id).await?;
        let presented = secret.hash();
        let nothing = [0; 32];
        let is_right = presented.matches(found.as_ref().map_or(&nothing, |(_, stored)| stored));
        Ok(found.map(|(key, _)| (key, is_right)))
    }
}
