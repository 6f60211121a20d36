//! Gathers what the rooms hold.

use std::time::Duration;

use crate::client_keys::{ClientKey, ClientKeys, KeptCreation};
use crate::db::pulse::Pulse;
use crate::error::{Code, Error, Result};
use crate::events::{Event, EventId, Events, Filter};
use crate::log_ins::{KnownPlace, LogIns};
use crate::mail::{Mail, SentMail};
use crate::ratelimit::{Share, Shares};
use crate::tokens::{AccountToken, Tokens};
use crate::users::{User, UserId, Users};
use crate::verification::{Kept, Verification};

/// Asks every room.
#[derive(Clone)]
pub struct Export {
    /// The users.
    pub users: Users,
    /// The client keys.
    pub client_keys: ClientKeys,
    /// One-time tokens.
    pub verification: Verification,
    /// Where users log in.
    pub log_ins: LogIns,
    /// The outbox.
    pub mail: Mail,
    /// Account tokens.
    pub tokens: Tokens,
    /// The events.
    pub events: Events,
    /// How many of one user may be under way.
    pub places: Shares<UserId>,
    /// Whether the database is there.
    pub pulse: Pulse,
    /// Longest time for one page of events.
    pub patience: Duration,
}

/// All about a user but the events, of which there may be millions.
pub struct Holdings {
    /// The row of the user.
    pub user: User,
    /// Live account tokens, the newest 1,000.
    pub account_tokens: Vec<AccountToken>,
    /// Client keys, newest first.
    pub client_keys: Vec<ClientKey>,
    /// Creations of client keys that can be repeated, oldest first.
    pub creations: Vec<KeptCreation>,
    /// One-time tokens, oldest first.
    pub one_time_tokens: Vec<Kept>,
    /// From where the user logged in.
    pub log_ins: Vec<KnownPlace>,
    /// Mails of the last week, oldest first.
    pub mails: Vec<SentMail>,
}

impl Export {
    /// Exports of one user at once: one, and another try after a connection that was lost.
    pub const AT_ONCE: usize = 2;

    /// The place of an export, from its beginning to its end.
    ///
    /// # Errors
    /// `TooManyRequests` when others of this user are under way.
    pub fn begin(&self, user: UserId) -> Result<Share<UserId>> {
        self.places.take(user)
    }

    /// Everything but the events.
    pub async fn gather(&self, user: UserId) -> Result<Holdings> {
        let user = self.users.find(user).await?.ok_or(Code::TokenInvalid)?;
        Ok(Holdings {
            account_tokens: self.tokens.list_account(user.id, user.token_version).await?,
            client_keys: self.client_keys.list(user.id).await?,
            creations: self.client_keys.list_repeatable(user.id).await?,
            one_time_tokens: self.verification.list(user.id).await?,
            log_ins: self.log_ins.list(user.id).await?,
            mails: self.mail.list(user.id).await?,
            user,
        })
    }

    /// An id that no event has yet and later ones are greater than: where an export ends that begins now.
    pub fn end_of_events(&self) -> EventId {
        EventId(self.events.next_id())
    }

    /// The user's next events between these two, oldest first; none when there are no more. Asked for after the request was
    /// answered, so the bounds of requests are here once more.
    ///
    /// # Errors
    /// `DatabaseUnavailable` as soon as the database is known to be away, `Timeout` when it takes too long.
    pub async fn next_events(&self, user: UserId, after: EventId, before: EventId) -> Result<Vec<Event>> {
        let limit = Some(Events::GREATEST_LIMIT);
        let filter = Filter { after: Some(after), before: Some(before), limit, ..Filter::default() };
        let listing = tokio::time::timeout(self.patience, self.events.list(user, &filter));
        let too_slow = Error::Busy { code: Code::Timeout, retry_after: Duration::from_secs(1) };
        Ok(self.pulse.during(listing).await?.map_err(|_| too_slow)??.events)
    }
}
