//! The only place that asks the operating system for chance: ids, secrets, tokens, passwords.
//!
//! The exceptions live where they must: signing keys (`signing_keys`) and those of certificates for trials
//! (`cli/admin/certs.rs`) are generated inside the crypto library, which takes no foreign randomness, and so are the nonces of
//! [`crate::sealing`].

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use secrecy::SecretString;
use uuid::{Builder, ContextV7, Timestamp, Uuid};

/// Letters and digits that nobody mistakes for one another (no `0 O 1 l I`).
const UNAMBIGUOUS: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// All letters and digits of ASCII.
const ALPHANUMERIC: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A source of chance: the operating system's, or one with a seed.
#[derive(Clone)]
pub struct Random {
    source: Source,
    sequence: Arc<Mutex<Sequence>>,
}

/// Makes ids of one process strictly increasing, also within a millisecond and when the clock steps back a little.
struct Sequence {
    context: ContextV7,
    last: DateTime<Utc>,
}

/// By how much the clock may step back before ids follow it: what one jump ahead has done must not last until a restart.
const LONGEST_STEP_BACK: TimeDelta = TimeDelta::seconds(10);

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
        let sequence = Sequence { context: ContextV7::new(), last: DateTime::UNIX_EPOCH };
        Self { source, sequence: Arc::new(Mutex::new(sequence)) }
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

    /// A UUID v7 (RFC 9562) of this instant, greater than every one handed out before: what is listed in order of time. Where
    /// the clock has stepped back by more than ten seconds the order begins anew.
    pub fn uuid_v7(&self, now: DateTime<Utc>) -> Uuid {
        let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
        let mut sequence = lock(&self.sequence);
        if sequence.last - now > LONGEST_STEP_BACK {
            tracing::warn!(from = %sequence.last, to = %now, "the clock was set back, and new ids follow it");
            *sequence = Sequence { context: ContextV7::new(), last: now };
        }
        sequence.last = sequence.last.max(now);
        Uuid::new_v7(Timestamp::from_unix(&sequence.context, seconds, now.timestamp_subsec_nanos()))
    }

    /// A password that survives being read out: `length` letters and digits without look-alikes.
    pub fn readable_password(&self, length: usize) -> SecretString {
        self.text(UNAMBIGUOUS, length).into()
    }

    /// `length` letters and digits: ids and secrets that programs exchange.
    pub fn alphanumeric(&self, length: usize) -> String {
        self.text(ALPHANUMERIC, length)
    }

    /// `length` characters of this alphabet, each as likely as the others.
    fn text(&self, alphabet: &[u8], length: usize) -> String {
        let draw = |generator: &mut dyn Rng| {
            (0..length).map(|_| char::from(alphabet[generator.random_range(0..alphabet.len())])).collect()
        };
        match &self.source {
            #[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
            Source::Os => draw(&mut rand::rng()),
            Source::Seeded(generator) => draw(&mut *lock(generator)),
        }
    }
}

/// For libraries that take their chance from somebody else.
impl rand_core::RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.bytes())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.bytes())
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            chunk.copy_from_slice(&self.bytes::<32>()[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl rand_core::CryptoRng for Random {}

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
        assert!(random.uuid_v7(now - TimeDelta::seconds(5)) > ids[999], "also when the clock steps back");
    }

    #[test]
    fn ids_come_back_with_a_clock_that_had_jumped_ahead() {
        let random = Random::seeded(1);
        let now = DateTime::from_timestamp_millis(1_700_000_000_000).expect("in range");
        let instant = |id: Uuid| id.get_timestamp().expect("a v7").to_unix().0.cast_signed();
        for far in [TimeDelta::hours(1), TimeDelta::days(365 * 73)] {
            assert_eq!(instant(random.uuid_v7(now + far)), (now + far).timestamp());
            let ids: Vec<Uuid> = (0..1000).map(|_| random.uuid_v7(now)).collect();
            assert!(ids.is_sorted() && instant(ids[0]) == now.timestamp(), "{far}");
            assert!(random.uuid_v7(now - TimeDelta::seconds(9)) > ids[999]);
            assert_eq!(instant(random.uuid_v7(now + TimeDelta::seconds(1))), now.timestamp() + 1);
        }
    }
}
