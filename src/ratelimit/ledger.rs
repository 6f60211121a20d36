//! What is remembered of many keys, in memory that nobody can exhaust.
//!
//! A key that comes while [`MOST_KEYS`] others live gets no place of its own. Three ways to go on would be wrong: to let
//! it pass turns the limit off for whoever has many addresses; to refuse it shuts out everybody who comes next; to drop
//! an old key gives its attacker a fresh start. So newcomers share: each counts in one of [`SHARED`] places, chosen by
//! its neighbourhood (a wider network), with the allowance of one. A thousand networks of one provider then slow down one
//! another and hardly anybody else, keys that had a place keep it, and every limit still holds.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// Keys with a place of their own in one ledger: some 5 MB for addresses, 20 MB for accounts that were guessed at.
pub const MOST_KEYS: usize = 100_000;

/// Places shared by those who find no other.
const SHARED: usize = 4096;

/// What a ledger is kept by.
pub trait Key: Clone + Eq + Hash {
    /// What is harder to change than the key itself, and decides with whom it shares a place in a crowd.
    fn neighbourhood(&self) -> impl Hash;
}

/// Values by key, bounded.
pub struct Ledger<K, V> {
    own: HashMap<K, V>,
    shared: Vec<V>,
    most: usize,
}

impl<K: Key, V: Default> Default for Ledger<K, V> {
    fn default() -> Self {
        Self { own: HashMap::new(), shared: (0..SHARED).map(|_| V::default()).collect(), most: MOST_KEYS }
    }
}

impl<K: Key, V: Default> Ledger<K, V> {
    /// What is known of a key; nothing is written.
    pub fn get(&self, key: &K) -> Option<&V> {
        match self.own.get(key) {
            None if self.is_full() => self.shared.get(self.place(key)),
            found => found,
        }
    }

    /// The place of a key; a new one if there was none and there is room.
    pub fn entry(&mut self, key: &K) -> &mut V {
        if self.is_full() && !self.own.contains_key(key) {
            let place = self.place(key);
            return &mut self.shared[place];
        }
        self.own.entry(key.clone()).or_default()
    }

    /// Forgets what is over: values that say no more than a new one would.
    pub fn sweep(&mut self, is_over: impl Fn(&V) -> bool) {
        self.own.retain(|_, value| !is_over(value));
        if self.own.len() < self.own.capacity() / 4 {
            self.own.shrink_to_fit();
        }
    }

    /// Keys with a place of their own.
    pub fn len(&self) -> usize {
        self.own.len()
    }

    fn is_full(&self) -> bool {
        self.own.len() >= self.most
    }

    /// By the map's own keyed hash, so that nobody can choose whose place to share.
    fn place(&self, key: &K) -> usize {
        let hash = self.own.hasher().hash_one(key.neighbourhood());
        usize::try_from(hash % SHARED as u64).expect("it is less than SHARED")
    }
}
