//! The worker that takes the person out of the events of a deleted user: address, agent, and what a path may tell. The
//! rows stay, under an id that means nobody any more (decisions.md section 2).

use std::time::Duration;

use chrono::TimeDelta;

use super::{Events, first_id, store};
use crate::error::Result;
use crate::worker::Worker;

/// Events cleared by one statement.
const BATCH: i64 = 5000;

/// When to look, counted from the deletion. Once at once; and again, because events may have been on their way to the
/// table. What is written later finds no such user, and is written without the person.
const PASSES: [TimeDelta; 3] = [TimeDelta::zero(), TimeDelta::seconds(2), TimeDelta::minutes(1)];

/// Requests that were under way at the deletion began no longer ago than this.
const UNDER_WAY: TimeDelta = TimeDelta::minutes(1);

/// While one replica works on a user, others do not.
const LEASE: TimeDelta = TimeDelta::minutes(1);

/// How often to look for what is due.
const POLL: Duration = Duration::from_secs(2);

/// Clears events of deleted users.
pub struct Eraser(pub Events);

impl Worker for Eraser {
    const NAME: &'static str = "eraser";

    async fn step(&self) -> Result<Duration> {
        let Events { pool, clock, .. } = &self.0;
        let now = clock.now();
        let mut connection = pool.acquire().await?;
        let Some(due) = store::mark_erasure_taken(&mut connection, now, now + LEASE).await? else { return Ok(POLL) };

        let cleared = store::update_forgotten(&mut connection, due.user, due.clean_up_to, BATCH).await?;
        let is_finished = cleared.events < BATCH;
        let next_pass = PASSES.map(|pass| due.deleted_at + pass).into_iter().find(|pass| *pass > now);
        match (is_finished, next_pass) {
            (false, _) => {
                let clean_up_to = cleared.last.unwrap_or(due.clean_up_to);
                store::update_erasure(&mut connection, due.user, clean_up_to, now, cleared.events).await?;
            }
            (true, Some(pass)) => {
                let recent = first_id(due.deleted_at - UNDER_WAY);
                store::update_erasure(&mut connection, due.user, recent, pass, cleared.events).await?;
            }
            (true, None) => {
                if let Some(before) = store::delete_erasure(&mut connection, due.user).await? {
                    tracing::info!(rows = before + cleared.events, "took a deleted user out of events");
                }
            }
        }
        Ok(Duration::ZERO)
    }

    async fn woken(&self) {
        self.0.forgotten.notified().await;
    }
}
