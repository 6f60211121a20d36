//! The bounds of a request, for what goes on after it was answered.

use std::time::Duration;

use crate::db::pulse::Pulse;
use crate::error::{Code, Error, Result};

/// How long a piece of such work may take; cheap to clone.
#[derive(Clone)]
pub struct Patience {
    pulse: Pulse,
    longest: Duration,
}

impl Patience {
    /// Gives up where a request would.
    pub fn new(pulse: Pulse, longest: Duration) -> Self {
        Self { pulse, longest }
    }

    /// Does `work`, or what is done of it in time.
    ///
    /// # Errors
    /// `DatabaseUnavailable` as soon as the database is known to be away, `Timeout` when it takes too long.
    pub async fn bound<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let too_slow = Error::Busy { code: Code::Timeout, retry_after: Duration::from_secs(1) };
        self.pulse.during(tokio::time::timeout(self.longest, work)).await?.map_err(|_| too_slow)
    }
}
