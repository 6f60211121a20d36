//! The only place that asks the operating system for chance: ids, secrets, tokens, passwords.
//!
//! Two exceptions live where they must: signing keys are generated inside the crypto library (`signing_keys`), which
//! takes no foreign randomness, and so are the nonces of [`crate::sealing`].

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use secrecy::SecretString;
use uuid::{Builder, ContextV7, Timestamp, Uuid};

/// Letters and digits that nobody mistakes for one another (no `0 O 1 l I`).
const UNAMBIGUOUS: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// A source of chance: the operating system's, or one with a seed.
#[derive(Clone)]
pub struct Random {
    source: Source,
    /// Makes ids of one process strictly increasing, also within a millisecond and when the clock steps back.
    sequence: Arc<Mutex<ContextV7>>,
}

#[derive(Clone)]
enum Source {
    Os,
    Seeded(Arc<Mutex<StdRng>>),
}

impl Default for Random {
    fn default() -> Self {
        Self::from(Source::Os)
    }
}

impl From<Source> for Random {
    fn from(source: Source) -> Self {
        Self { source, sequence: Arc::new(Mutex::new(ContextV7::new())) }
    }
}

impl Random {
    /// A source that repeats itself: for tests only, never for secrets.
    pub fn seeded(seed: u64) -> Self {
        Self::from(Source::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.source {
            #[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
            Source::Os => rand::rng().fill_bytes(&mut bytes),
            Source::Seeded(generator) => lock(generator).fill_bytes(&mut bytes),
        }
        bytes
    }

    /// A UUID v4 (RFC 9562): user ids, token ids, one-time tokens.
    pub fn uuid_v4(&self) -> Uuid {
        Builder::from_random_bytes(self.bytes()).into_uuid()
    }

    /// A UUID v7 (RFC 9562) of this instant, greater than every one handed out before: what is listed in order of time.
    pub fn uuid_v7(&self, now: DateTime<Utc>) -> Uuid {
        let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
        let sequence = lock(&self.sequence);
        Uuid::new_v7(Timestamp::from_unix(&*sequence, seconds, now.timestamp_subsec_nanos()))
    }

    /// A password that survives being read out: `length` letters and digits without look-alikes.
    pub fn readable_password(&self, length: usize) -> SecretString {
        let draw = |generator: &mut dyn Rng| {
            (0..length)
                .map(|_| char::from(UNAMBIGUOUS[generator.random_range(0..UNAMBIGUOUS.len())]))
                .collect::<String>()
        };
        match &self.source {
            #[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
            Source::Os => draw(&mut rand::rng()),
            Source::Seeded(generator) => draw(&mut *lock(generator)),
        }
        .into()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_instant_are_increasing() {
        let random = Random::seeded(1);
        let now = DateTime::from_timestamp_millis(1_700_000_000_000).expect("in range");
        let ids: Vec<Uuid> = (0..1000).map(|_| random.uuid_v7(now)).collect();
        assert!(ids.is_sorted());
        assert!(random.uuid_v7(now - chrono::TimeDelta::seconds(5)) > ids[999], "also when the clock steps back");
    }
}
