//! What a batch of events is written with: connections of its own, and another try where that is safe.

use std::collections::HashMap;
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::store::{self, Claim};
use super::trouble::Trouble;
use crate::db::pulse::Pulse;
use crate::db::{self, Meaning, Pool};
use crate::metrics::{Metrics, WriteFailure};

/// Why an event was not inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The answer that it tells of rests on something that has changed.
    Outdated,
    /// The database cannot be reached, or does not answer: worth another try.
    Away,
    /// The database will not have it: another try would end the same way.
    Refused,
}

/// Writes batches, each in a statement of its own.
pub(super) struct Pen {
    pool: Pool,
    /// Connections between two statements. They are none of the pool's, which asks each of them before it is used and after it,
    /// and keeps one that is given back in the middle of a statement until that ends.
    idle: Mutex<Vec<PgConnection>>,
    pulse: Pulse,
    deadline: Duration,
    trouble: Trouble,
    metrics: Metrics,
}

impl Pen {
    /// For the database of this pool. No statement takes longer than `deadline`.
    pub fn new(pool: Pool, pulse: Pulse, deadline: Duration, trouble: Trouble, metrics: Metrics) -> Self {
        Self { pool, idle: Mutex::default(), pulse, deadline, trouble, metrics }
    }

    /// Inserts these events, and answers those that failed. No id may occur twice; `are_new` where none of them can be in the
    /// table, or on its way there.
    pub async fn write(&self, claims: &[Claim], are_new: bool) -> HashMap<Uuid, Failure> {
        match self.insert(claims, are_new).await {
            Ok(outdated) => outdated.into_iter().map(|id| (id, Failure::Outdated)).collect(),
            Err(Failure::Away) => claims.iter().map(|claim| (claim.event.id, Failure::Away)).collect(),
            Err(_) => self.write_each(claims).await,
        }
    }

    /// The way around an event that the table will not take, whatever the reason: one bad row must not hold up
    /// everybody's.
    async fn write_each(&self, claims: &[Claim]) -> HashMap<Uuid, Failure> {
        let mut failures = HashMap::new();
        for (position, claim) in claims.iter().enumerate() {
            match self.insert(slice::from_ref(claim), false).await {
                Ok(outdated) => failures.extend(outdated.into_iter().map(|id| (id, Failure::Outdated))),
                // Not to be waited for once more for each of the rest.
                Err(Failure::Away) => {
                    failures.extend(claims[position..].iter().map(|claim| (claim.event.id, Failure::Away)));
                    break;
                }
                Err(refused) => {
                    failures.insert(claim.event.id, refused);
                }
            }
        }
        failures
    }

    /// Inserts events in one statement; answers those whose answers were outdated.
    async fn insert(&self, claims: &[Claim], are_new: bool) -> Result<Vec<Uuid>, Failure> {
        let (events, began) = (claims.len(), Instant::now());
        let insert = tokio::time::timeout(self.deadline, self.execute(claims, are_new));
        // Nobody is kept waiting by a database that is known to be away; its pulse has told the log.
        let Ok(outcome) = self.pulse.during(insert).await else {
            self.metrics.events_not_written(WriteFailure::Away);
            return Err(Failure::Away);
        };
        match outcome {
            Ok(Ok(outdated)) => {
                self.metrics.events_written(events - outdated.len(), began.elapsed());
                self.trouble.end(are_new);
                Ok(outdated)
            }
            Ok(Err(error)) if db::meaning(&error) == Meaning::Fault => {
                self.metrics.events_not_written(WriteFailure::Refused);
                self.trouble.end(are_new);
                tracing::error!(events, %error, "events were refused; a single one is dropped, more are tried one by one");
                Err(Failure::Refused)
            }
            Ok(Err(error)) => {
                self.metrics.events_not_written(WriteFailure::Away);
                self.trouble.begin(are_new, events, &error);
                Err(Failure::Away)
            }
            Err(_) => {
                self.metrics.events_not_written(WriteFailure::Away);
                self.trouble.begin(are_new, events, &format_args!("no answer within {:?}", self.deadline));
                Err(Failure::Away)
            }
        }
    }

    /// Executes one statement. Dropped before it is answered, or failed, it takes its connection along: that may be one on
    /// which nothing moves any more.
    async fn execute(&self, claims: &[Claim], are_new: bool) -> sqlx::Result<Vec<Uuid>> {
        let idle = self.idle().pop();
        let is_untried = idle.is_none();
        if let Some(connection) = idle {
            match self.execute_on(connection, claims, are_new).await {
                // It may have died while nobody used it: that is no reason to refuse anything.
                Err(error) if db::meaning(&error) == Meaning::Away => {}
                outcome => return outcome,
            }
        }
        // Twice the time in which anybody waits for a statement: what it holds must not outlive it for long.
        let connection = self.pool.connect(self.deadline * 2).await?;
        self.execute_on(connection, claims, are_new && is_untried).await
    }

    async fn execute_on(
        &self,
        mut connection: PgConnection,
        claims: &[Claim],
        are_new: bool,
    ) -> sqlx::Result<Vec<Uuid>> {
        let outcome = match are_new {
            true => store::insert_batch(&mut connection, claims).await,
            false => store::insert_again(&mut connection, claims).await,
        };
        if !matches!(&outcome, Err(error) if db::meaning(error) == Meaning::Away) {
            self.idle().push(connection);
        }
        outcome
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
