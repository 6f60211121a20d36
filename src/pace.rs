//! Answers that must not tell by their time whether a user exists.
//!
//! Where one case writes more rows than another, no amount of dummy work makes them equal for good. So the outcome leaves
//! on a beat after the question came, which both cases reach with ease; and on a later one, not some time, when they do not.

use std::time::Duration;

use tokio::time::Instant;

/// Several times what the longer case takes on a busy machine.
const BEAT: Duration = Duration::from_millis(60);

/// Does `work`, and gives its outcome a whole number of beats of 60 ms after the start. What takes long and is the same for
/// everybody, a password hash, does not belong in it: the less it takes, the less often it misses a beat.
pub async fn evenly<T>(work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let outcome = work.await;
    tokio::time::sleep_until(start + exit(start.elapsed())).await;
    outcome
}

/// The first beat after so much time.
fn exit(elapsed: Duration) -> Duration {
    let beats = elapsed.as_nanos().div_ceil(BEAT.as_nanos()).max(1);
    BEAT.saturating_mul(u32::try_from(beats).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_leaves_on_a_beat() {
        for (elapsed, expected) in [(0, 60), (1, 60), (59_999, 60), (60_000, 60), (60_001, 120), (200_000, 240)] {
            assert_eq!(exit(Duration::from_micros(elapsed)), Duration::from_millis(expected), "{elapsed} µs");
        }
    }
}
