//! How many at once: connections of a client address, exports of a user.
//!
//! What is held is a guard, so there is nothing to sweep, and never more keys than things under way, which whoever
//! starts them bounds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::too_many;
use crate::error::Result;

/// Nobody knows when one is given back. A guess that floods nobody.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The same number of places for every key. Clones share them.
#[derive(Debug)]
pub struct Shares<K> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    most: usize,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub struct Share<K: Clone + Eq + Hash> {
    shares: Shares<K>,
    key: K,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// At most this many at once for each.
    pub fn new(most: usize) -> Self {
        Self { taken: Arc::default(), most }
    }

    /// A place for this key. Never waits for one.
    ///
    /// # Errors
    /// `TooManyRequests` when it has all of its own.
    pub fn take(&self, key: K) -> Result<Share<K>> {
        let mut taken = self.taken();
        let count = taken.get(&key).copied().unwrap_or(0);
        if count >= self.most {
            return Err(too_many(RETRY_AFTER));
        }
        taken.insert(key.clone(), count + 1);
        Ok(Share { shares: self.clone(), key })
    }

    /// Who has a place.
    pub fn holders(&self) -> Vec<K> {
        self.taken().keys().cloned().collect()
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Self { taken: self.taken.clone(), most: self.most }
    }
}

impl<K: Clone + Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.shares.taken().entry(self.key.clone()) {
            match count.get() {
                0 | 1 => drop(count.remove()),
                many => *count.get_mut() = many - 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_there_again_when_it_is_given_back() {
        let shares = Shares::new(2);
        let (one, two) = (shares.take("ada").expect("a place"), shares.take("ada").expect("a place"));
        assert!(shares.clone().take("ada").is_err(), "clones share the places");
        let other = shares.take("bob").expect("nobody else's concern");
        drop(one);
        let three = shares.take("ada").expect("a place");
        assert!(shares.take("ada").is_err());
        drop((two, three, other));
        assert!(shares.taken().is_empty(), "nobody is remembered");
    }

    #[test]
    fn of_many_at_once_no_more_get_a_place_than_there_are() {
        let shares = Shares::new(3);
        let held = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| held.lock().expect("no panic").extend(shares.take(1)));
            }
        });
        assert_eq!(held.into_inner().expect("no panic").len(), 3);
    }
}
