//! A mail of the outbox as an operator sees it.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::store::MailRow;

/// A mail without what it says.
#[derive(Debug)]
pub struct Queued {
    /// Of the row, in the order of queueing; also in the `Message-ID`.
    pub id: Uuid,
    /// The address it goes to.
    pub recipient: String,
    /// Which letter it is.
    pub template: String,
    /// What has become of it.
    pub state: State,
    /// How often it was tried, since it was queued or given another try.
    pub attempts: i32,
    /// When it is tried next; `None` when it is done with.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Why the last try failed, in the words of the mail server: one line.
    pub last_error: Option<String>,
}

/// What has become of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is tried, or tried again, when its time comes.
    Waiting,
    /// A courier has it in hand.
    Sending,
    /// A mail server took it.
    Sent,
    /// It was given up.
    Failed,
}

/// Which mails that were not sent are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// Those that were given up.
    Failed,
    /// Those that are still tried.
    Waiting,
}

impl Queued {
    pub(super) fn new(row: MailRow, now: DateTime<Utc>) -> Self {
        let state = match &row {
            MailRow { sent_at: Some(_), .. } => State::Sent,
            MailRow { failed_at: Some(_), .. } => State::Failed,
            MailRow { taken_until: Some(until), .. } if *until > now => State::Sending,
            _ => State::Waiting,
        };
        let MailRow { id, recipient, template, attempts, next_attempt_at, last_error, .. } = row;
        Self { id, recipient, template, state, attempts, next_attempt_at, last_error }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Failed => "failed",
        })
    }
}
