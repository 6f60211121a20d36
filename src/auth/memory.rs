//! What this server remembers of tokens and keys, so that a request need not ask the database before it is answered.
//!
//! It is exact although nobody tells it of changes. Everything in it is true of a user at one version of the user's row,
//! and who answers from it says so to the [`Draft`](crate::events::Draft): the statement that writes the event compares the
//! version, and where it has passed the request is answered again, without memory (docs/decisions/0016). So nothing is ever
//! removed because it is outdated; it is replaced by what is read then.
//!
//! Only what is good is remembered: it is kept once nothing was found against it, a block of the owner included. A flood of
//! broken tokens finds no place here; one of revoked tokens has good signatures, and no more than these are kept of it.

use std::hash::Hash;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::client_keys::ClientKey;
use crate::last_use::Known;
use crate::secret::PlainSecret;
use crate::tokens::{Audience, Claims};
use crate::users::User;

/// Bytes of each kind, 18 MiB in all whatever users write into their profiles, and a tenth more as the allocator has them. Of
/// ordinary users there is room for some 9,500 signatures, as many bearers, 5,000 client keys and 13,000 refresh tokens.
const SIGNED: u64 = 4 << 20;
const BEARERS: u64 = 7 << 20;
const HOLDERS: u64 = 6 << 20;
const UNREVOKED: u64 = 1 << 20;

/// Of tokens and keys that were used lately. Cheap to clone; clones remember the same.
#[derive(Clone)]
pub struct Memory(Arc<Kinds>);

struct Kinds {
    signed: Cache<[u8; 32], Arc<Claims>, Bytes>,
    bearers: Cache<Uuid, Arc<Bearer>, Bytes>,
    holders: Cache<String, Arc<Holder>, Bytes>,
    unrevoked: Cache<Uuid, i64, Bytes>,
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
    /// The version of the user's row when the key was read.
    pub version: i64,
    pub used: Known,
}

impl Default for Memory {
    fn default() -> Self {
        let kinds = Kinds {
            signed: of_bytes(SIGNED),
            bearers: of_bytes(BEARERS),
            holders: of_bytes(HOLDERS),
            unrevoked: of_bytes(UNREVOKED),
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
    /// between, the user would be of another version.
    pub fn keep_bearer(&self, token: Uuid, bearer: Arc<Bearer>) {
        self.0.bearers.insert(token, bearer);
    }

    /// Who holds the client key with this id.
    pub fn holder(&self, client_id: &str) -> Option<Arc<Holder>> {
        self.0.holders.get(client_id)
    }

    /// Remembers who holds a client key, if nothing has changed between the key and its user being read.
    pub fn keep_holder(&self, holder: &Arc<Holder>) {
        if holder.version == holder.user.version {
            self.0.holders.insert(holder.key.id.clone(), holder.clone());
        }
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

/// A cache that holds so many bytes.
fn of_bytes<Key: Eq + Hash, Value: Clone + Weigh>(most: u64) -> Cache<Key, Value, Bytes> {
    Cache::with_weighter(ORDINARY, most, Bytes)
}

/// Things of a kind that are expected; the cache makes its parts by it.
const ORDINARY: usize = 10_000;

/// What the cache needs for a thing besides the thing: links and an index.
const PLACE: usize = 32;

/// What the allocator needs for a piece of memory besides the piece.
const PIECE: usize = 24;

/// Weighs things when they come and go, never when they are looked up.
#[derive(Clone)]
struct Bytes;

impl<Key, Value: Weigh> Weighter<Key, Value> for Bytes {
    fn weight(&self, _: &Key, value: &Value) -> u64 {
        // Twice: the cache has room for half as many as it holds, and grows by doubling.
        let bytes = PLACE + 2 * size_of::<(Key, Value)>() + value.elsewhere();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// What knows how many bytes it keeps elsewhere than in its own place.
trait Weigh {
    fn elsewhere(&self) -> usize;
}

impl<T: Weigh> Weigh for Arc<T> {
    fn elsewhere(&self) -> usize {
        PIECE + 2 * size_of::<usize>() + size_of::<T>() + T::elsewhere(self)
    }
}

impl Weigh for String {
    fn elsewhere(&self) -> usize {
        PIECE + self.capacity()
    }
}

impl<T: Weigh> Weigh for Option<T> {
    fn elsewhere(&self) -> usize {
        self.as_ref().map_or(0, T::elsewhere)
    }
}

impl Weigh for i64 {
    fn elsewhere(&self) -> usize {
        0
    }
}

impl Weigh for Claims {
    fn elsewhere(&self) -> usize {
        let audience = PIECE + self.aud.capacity() * size_of::<Audience>();
        audience
            + self.iss.elsewhere()
            + self.sub.elsewhere()
            + self.client_id.elsewhere()
            + self.address.elsewhere()
            + self.application_key.elsewhere()
    }
}

impl Weigh for Bearer {
    fn elsewhere(&self) -> usize {
        self.user.elsewhere()
    }
}

impl Weigh for Holder {
    fn elsewhere(&self) -> usize {
        // The id is the key in the cache as well.
        let key = 2 * self.key.id.elsewhere() + self.key.label.elsewhere() + PIECE + self.secret_hash.capacity();
        key + self.user.elsewhere()
    }
}

impl Weigh for User {
    fn elsewhere(&self) -> usize {
        let named = [&self.email, &self.email_canonical, &self.login_name, &self.display_name];
        let billed = self.billing_address.as_ref().map(|to| [&to.address, &to.zip_code, &to.state, &to.country]);
        let texts = named.into_iter().chain(billed.into_iter().flatten());
        PIECE + self.password_hash.as_str().len() + texts.map(Weigh::elsewhere).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::users::{BillingAddress, UserId};

    /// An ordinary one, but for the name.
    fn somebody(name: &str) -> User {
        let hash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IG9mIDE2$".to_owned() + &"h".repeat(43);
        let email = Some("ada.lovelace@example.com".to_owned());
        User {
            email: email.clone(),
            email_canonical: email,
            display_name: Some(name.to_owned()),
            ..User::new(UserId(Uuid::nil()), hash.into(), DateTime::UNIX_EPOCH)
        }
    }

    fn filled(user: &User) -> Memory {
        let memory = Memory::default();
        for token in 0..20_000 {
            let bearer = Bearer { user: Arc::new(user.clone()), used: None.into() };
            memory.keep_bearer(Uuid::from_u128(token), Arc::new(bearer));
        }
        memory
    }

    #[test]
    fn thousands_of_ordinary_users_are_remembered() {
        let memory = filled(&somebody("Ada Lovelace"));
        assert!(memory.0.bearers.len() > 9_000, "{}", memory.0.bearers.len());
        assert!(memory.0.bearers.weight() <= BEARERS);
    }

    #[test]
    fn whoever_writes_much_into_the_profile_takes_no_more_room_and_the_place_of_several() {
        let much = Some("𝔸".repeat(200));
        let address = BillingAddress { address: much.clone(), zip_code: much.clone(), state: much, country: None };
        let user = User { billing_address: Some(address), ..somebody(&"𝔸".repeat(200)) };
        let memory = filled(&user);
        assert!((1_500..2_500).contains(&memory.0.bearers.len()), "{}", memory.0.bearers.len());
        assert!(memory.0.bearers.weight() <= BEARERS);
    }
}
