//! What this server remembers of tokens and keys, so that a request need not ask the database before it is answered.
//!
//! It is exact although nobody tells it of changes. Everything in it is true of a user at one version of the user's row,
//! and who answers from it says so to the [`Draft`](crate::events::Draft): the statement that writes the event compares the
//! version, and where it has passed the request is answered again, without memory (docs/decisions/0016). So nothing is ever
//! removed because it is outdated; it is replaced by what is read then.
//!
//! Only what is good is remembered. A flood of broken or revoked tokens finds no place here.

use std::sync::Arc;

use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::client_keys::ClientKey;
use crate::last_use::Known;
use crate::secret::PlainSecret;
use crate::tokens::Claims;
use crate::users::User;

/// Things of each kind: some 10 MB of bearers, 5 MB of signatures, and as much of client keys.
const MOST: usize = 10_000;

/// Of tokens and keys that were used lately. Cheap to clone; clones remember the same.
#[derive(Clone)]
pub struct Memory(Arc<Kinds>);

struct Kinds {
    signed: Cache<[u8; 32], Arc<Claims>>,
    bearers: Cache<Uuid, Arc<Bearer>>,
    holders: Cache<String, Arc<Holder>>,
    unrevoked: Cache<Uuid, i64>,
}

/// The user of a live account token.
pub struct Bearer {
    pub user: Arc<User>,
    pub used: Known,
}

/// The owner of a live client key.
pub struct Holder {
    pub user: Arc<User>,
    pub key: ClientKey,
    pub secret_hash: Vec<u8>,
    pub used: Known,
}

impl Default for Memory {
    fn default() -> Self {
        let kinds = Kinds {
            signed: Cache::new(MOST),
            bearers: Cache::new(MOST),
            holders: Cache::new(MOST),
            unrevoked: Cache::new(MOST),
        };
        Self(Arc::new(kinds))
    }
}

impl Memory {
    /// What a token says whose signature was good: that does not change while the process has its keys. Kept by the hash of
    /// the token, so that no token can be read out of memory.
    pub fn signed(&self, token: &PlainSecret, verify: impl FnOnce() -> Option<Claims>) -> Option<Arc<Claims>> {
        let hash = token.hash().into_bytes();
        if let Some(claims) = self.0.signed.get(&hash) {
            return Some(claims);
        }
        let claims = Arc::new(verify()?);
        self.0.signed.insert(hash, claims.clone());
        Some(claims)
    }

    /// Who bears the account token with this `jti`.
    pub fn bearer(&self, token: Uuid) -> Option<Arc<Bearer>> {
        self.0.bearers.get(&token)
    }

    /// Remembers that this user bears this token. The token must have been read after the user: had it been revoked in
    /// between, the user would be of an older version.
    pub fn keep_bearer(&self, token: Uuid, bearer: Arc<Bearer>) {
        self.0.bearers.insert(token, bearer);
    }

    /// Who holds the client key with this id.
    pub fn holder(&self, client_id: &str) -> Option<Arc<Holder>> {
        self.0.holders.get(client_id)
    }

    /// Remembers who holds a client key, which was read when its user was of this version.
    pub fn keep_holder(&self, holder: Arc<Holder>) {
        self.0.holders.insert(holder.key.id.clone(), holder);
    }

    /// Whether the refresh token with this `jti` is known not to be revoked, its user being of this version.
    pub fn is_unrevoked(&self, token: Uuid, version: i64) -> bool {
        self.0.unrevoked.get(&token) == Some(version)
    }

    /// Remembers that a refresh token is not revoked, which was asked after its user was read.
    pub fn keep_unrevoked(&self, token: Uuid, version: i64) {
        self.0.unrevoked.insert(token, version);
    }
}
