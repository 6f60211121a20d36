//! Takes due mails and sends them; tries again with growing pauses, and gives up visibly.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use uuid::Uuid;

use super::store::{self, DueMail};
use super::transport::{Refusal, Transport};
use super::{Mail, Stationery};
use crate::clock::Clock;
use crate::db::Pool;
use crate::db::pulse::Pulse;
use crate::error::{Code, Error, Result};
use crate::metrics::{MailOutcome, Metrics};
use crate::openpgp::Certificate;
use crate::users::UserId;
use crate::worker::Worker;

/// While a mail is being sent nobody else may try. Longer than any attempt (`mail.timeout_seconds` is checked to be
/// shorter), so that only a crash lets a lease run out.
const LEASE: TimeDelta = TimeDelta::minutes(5);

/// Some two days, with the pauses of [`pause_after`].
const MOST_ATTEMPTS: i32 = 14;

/// How often to look for mails that another process queued.
const POLL: Duration = Duration::from_secs(2);

/// The pause before another try to note what became of a mail: the first and the longest.
const RETRY_NOTE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Characters of a mail server's complaint that are kept.
const LONGEST_COMPLAINT: usize = 500;

/// Sends what waits in the outbox, one mail at a time. Clones work side by side and never take the same mail.
#[derive(Clone)]
pub struct Courier {
    pool: Pool,
    pulse: Pulse,
    mail: Mail,
    stationery: Arc<Stationery>,
    transport: Arc<Transport>,
    clock: Clock,
    metrics: Metrics,
    /// What the couriers of this process have taken and not noted yet. After an outage that was longer than a lease,
    /// nobody here must send again what only waits for its note.
    in_hand: Arc<Mutex<HashSet<Uuid>>>,
}

impl Courier {
    /// How many there are in a server: a recipient whose mail server takes its time holds up one of them, not all mails.
    pub const SIDE_BY_SIDE: usize = 4;

    /// A courier for this outbox.
    pub fn new(
        pool: Pool,
        pulse: Pulse,
        mail: Mail,
        stationery: Stationery,
        transport: Transport,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        let (stationery, transport) = (Arc::new(stationery), Arc::new(transport));
        Self { pool, pulse, mail, stationery, transport, clock, metrics, in_hand: Arc::default() }
    }

    /// Sends one due mail; `false` when none is due.
    pub async fn deliver_one(&self) -> Result<bool> {
        // No connection is held while a mail server thinks.
        let Some(due) = self.pulse.during(self.take()).await.flatten()? else { return Ok(false) };
        let _in_hand = InHand::hold(&self.in_hand, due.id);
        let outcome = self.send(&due).await;
        self.metrics.mail(match &outcome {
            Ok(()) => MailOutcome::Sent,
            Err(refusal) if is_last(&due, refusal) => MailOutcome::Failed,
            Err(_) => MailOutcome::Delayed,
        });
        // Noted even if the database has to come back for it: a mail of which nobody knows that it was sent leaves again.
        let (mut pause, mut is_told) = (RETRY_NOTE.0, false);
        loop {
            match self.pulse.during(self.note(&due, &outcome)).await.flatten() {
                Err(error) if matches!(error.code(), Code::DatabaseUnavailable | Code::Overloaded) => {
                    // Of an outage the pulse tells.
                    if !is_told && self.pulse.ask().await {
                        tracing::warn!(mail = %due.id, reason = error.reason(), "cannot note yet what became of a mail");
                        is_told = true;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_NOTE.1);
                    self.pulse.here().await;
                }
                noted => return noted.map(|()| true),
            }
        }
    }

    async fn take(&self) -> Result<Option<DueMail>> {
        let now = self.clock.now();
        let in_hand: Vec<Uuid> = lock(&self.in_hand).iter().copied().collect();
        Ok(store::mark_taken(&mut *self.pool.acquire().await?, &in_hand, now, now + LEASE).await?)
    }

    async fn note(&self, due: &DueMail, outcome: &Result<(), Refusal>) -> Result<()> {
        let (mut connection, now) = (self.pool.acquire().await?, self.clock.now());
        let (mail, attempt) = (due.id, due.attempts);
        match outcome {
            Ok(()) => {
                store::mark_sent(&mut connection, mail, now).await?;
                tracing::info!(%mail, attempt, "sent a mail");
            }
            Err(refusal) => {
                let (reason, complaint) = (&refusal.told, one_line(&refusal.reason));
                if is_last(due, refusal) {
                    store::mark_failed(&mut connection, mail, attempt, now, &complaint).await?;
                    tracing::error!(%mail, attempt, reason, "gave a mail up; `admin mail retry` tries it again");
                } else {
                    let again = now + pause_after(attempt);
                    store::mark_retry(&mut connection, mail, attempt, again, &complaint).await?;
                    tracing::warn!(%mail, attempt, reason, %again, "could not send a mail yet");
                }
            }
        }
        Ok(())
    }

    async fn send(&self, due: &DueMail) -> Result<(), Refusal> {
        let letter = self
            .mail
            .open(due.id, due.sealed_variables.as_deref().unwrap_or_default())
            .map_err(|error| Refusal::for_good(format!("{error:#}")))?;
        let written = self.stationery.write(&letter).map_err(|error| Refusal::for_good(format!("{error:#}")))?;
        let keys = if letter.has_token() { self.keys_of(due).await? } else { Vec::new() };
        self.transport.send(due.id, &due.recipient, due.created_at, written, keys).await
    }

    /// The keys to which a mail with a token is encrypted: those that its user has proved, as far as they are good now. Without one it
    /// leaves as it is.
    async fn keys_of(&self, due: &DueMail) -> Result<Vec<Certificate>, Refusal> {
        let Some(user) = due.user_id else { return Ok(Vec::new()) };
        let read = async { Ok(store::list_certificates(&mut *self.pool.acquire().await?, UserId(user)).await?) };
        let kept: Vec<String> = self.pulse.during(read).await.flatten().map_err(|error: Error| {
            // Rather late than in the clear.
            Refusal::for_now(format!("cannot read the keys of its user: {}", error.reason()))
        })?;
        let now = self.clock.now();
        let read = tokio::task::spawn_blocking(move || {
            let is_good = |key: &Result<_>| !matches!(key, Err(Error::Refused(_) | Error::Invalid { .. }));
            kept.iter().map(|armor| Certificate::reread(armor, now)).filter(is_good).collect::<Result<Vec<_>>>()
        });
        let keys = read.await.map_err(|panic| Refusal::for_now(panic.to_string()))?;
        keys.map_err(|error| {
            // Nor is one key enough where its user has proved two.
            tracing::error!(mail = %due.id, reason = error.reason(), "a mail waits that was to be encrypted");
            Refusal::for_now(error.reason())
        })
    }
}

impl Worker for Courier {
    const NAME: &'static str = "courier";
    // A mail server that was just told everything must be heard.
    const MAY_BE_CUT: bool = false;

    async fn step(&self) -> Result<Duration> {
        Ok(if self.deliver_one().await? { Duration::ZERO } else { POLL })
    }

    async fn woken(&self) {
        self.mail.queued.notified().await;
    }
}

/// A mail that a courier of this process holds, until this is dropped.
struct InHand<'a>(&'a Mutex<HashSet<Uuid>>, Uuid);

impl<'a> InHand<'a> {
    fn hold(all: &'a Mutex<HashSet<Uuid>>, mail: Uuid) -> Self {
        lock(all).insert(mail);
        Self(all, mail)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        lock(self.0).remove(&self.1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether nobody will try again by himself.
fn is_last(due: &DueMail, refusal: &Refusal) -> bool {
    refusal.is_final || due.attempts >= MOST_ATTEMPTS
}

/// 15 s, 30 s, 1 min … up to six hours.
fn pause_after(attempt: i32) -> TimeDelta {
    TimeDelta::seconds(15 << (attempt - 1).clamp(0, 20)).min(TimeDelta::hours(6))
}

/// What a stranger's server said, fit for a line of a table: without line breaks and what else controls a terminal.
fn one_line(text: &str) -> String {
    text.chars().take(LONGEST_COMPLAINT).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
