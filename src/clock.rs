//! The only place that asks the operating system for the time.
//!
//! Services hold a [`Clock`] and ask it; tests hold the same clock and move it. Times are cut to milliseconds at the
//! source, because that is what the wire shows: what was stored and what was answered are then the same instant.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};
use nix::time::ClockId;
use serde::{Serialize, Serializer};

/// Tells the time: the system's, or one that stands still until it is moved.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The operating system's clock.
    #[default]
    System,
    /// Stands at this many milliseconds since 1970 until [`Clock::advance`] moves it.
    Frozen(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `instant`.
    pub fn frozen(instant: DateTime<Utc>) -> Self {
        Self::Frozen(Arc::new(AtomicI64::new(instant.timestamp_millis())))
    }

    /// The present instant in UTC, whole milliseconds.
    pub fn now(&self) -> DateTime<Utc> {
        match self {
            #[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
            Self::System => Utc::now().trunc_subsecs(3),
            Self::Frozen(millis) => DateTime::from_timestamp_millis(millis.load(Ordering::SeqCst))
                .expect("a frozen clock is only ever set from a DateTime"),
        }
    }

    /// The time since some fixed moment, on a clock that is never set back: for what is measured in one process, where a
    /// correction of the time of day must neither lock anybody out nor let anybody in.
    pub fn elapsed(&self) -> Duration {
        match self {
            Self::System => ClockId::CLOCK_MONOTONIC.now().expect("every Unix has a monotonic clock").into(),
            Self::Frozen(millis) => Duration::from_millis(millis.load(Ordering::SeqCst).unsigned_abs()),
        }
    }

    /// Moves a frozen clock forward; the system's cannot be moved and ignores it.
    pub fn advance(&self, by: TimeDelta) {
        if let Self::Frozen(millis) = self {
            millis.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
        }
    }
}

/// An instant as a person reads it in a mail, to the minute.
pub fn minute(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// An instant as the wire shows it: `2020-04-24T20:35:22.808Z`, UTC, always three fraction digits
/// (bloq-accounts.md section 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2020-04-24T20:35:22.808Z")]
pub struct Timestamp(pub DateTime<Utc>);

impl From<DateTime<Utc>> for Timestamp {
    fn from(instant: DateTime<Utc>) -> Self {
        Self(instant)
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_second_still_shows_three_fraction_digits() {
        let instant = DateTime::from_timestamp_millis(1_587_760_522_000).expect("in range");
        assert_eq!(Timestamp(instant).to_string(), "2020-04-24T20:35:22.000Z");
    }
}
