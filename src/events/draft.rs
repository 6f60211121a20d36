//! The part of an event that only inner code knows: whose it is, and what the handler adds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

use crate::ratelimit::Action;
use crate::users::{User, UserId};

/// Hung on the request by the outermost layer and filled by whoever learns something; cheap to clone, one per request.
///
/// Services take it too, because a refusal has an owner as well, and only the service knows whom it refused.
#[derive(Clone, Debug, Default)]
pub struct Draft(Arc<Mutex<Facts>>);

/// A version that no row has.
const NEVER: i64 = -1;

#[derive(Debug, Default)]
struct Facts {
    user: Option<UserId>,
    pattern: Option<String>,
    action: Option<Action>,
    service_data: Map<String, Value>,
    may_remember: bool,
    rests_on: Option<(UserId, i64)>,
    body: Vec<u8>,
}

impl Draft {
    /// Notes whose event this is; the last word counts.
    pub fn concerns(&self, user: UserId) {
        self.facts().user = Some(user);
    }

    /// Whether the answer may be made of what is remembered of the user. Not if it changes something, and not if what was
    /// remembered has just turned out to be outdated.
    pub fn may_remember(&self) -> bool {
        self.facts().may_remember
    }

    /// Notes whose event this is, and that the answer is made of what is remembered of the user: it leaves only if the
    /// user's row is still of this version when the event is written.
    pub fn rests_on(&self, user: &User) {
        let mut facts = self.facts();
        (facts.user, facts.rests_on) = (Some(user.id), Some((user.id, user.version)));
    }

    /// Keeps the body of a request that may have to be answered once more.
    pub fn keep_body(&self, body: &[u8]) {
        let mut facts = self.facts();
        if facts.may_remember {
            facts.body = body.to_owned();
        }
    }

    /// Notes the route's pattern, such as `/users/{userId}/token/{token}`, and what its requests count as.
    pub fn matches(&self, pattern: &str, action: Option<Action>) {
        let mut facts = self.facts();
        (facts.pattern, facts.action) = (Some(pattern.to_owned()), action);
    }

    /// Adds a fact to `serviceData`. Never a secret: events are kept for long.
    pub fn add(&self, name: &str, value: impl Into<Value>) {
        self.facts().service_data.insert(name.to_owned(), value.into());
    }

    /// Takes a fact back.
    pub fn remove(&self, name: &str) {
        self.facts().service_data.remove(name);
    }

    /// Allows to remember.
    pub(super) fn allow_memory(&self) {
        self.facts().may_remember = true;
    }

    /// Forgets what was noted, because the request is answered once more, without memory. Answers its body.
    pub(super) fn start_over(&self) -> Vec<u8> {
        let mut facts = self.facts();
        let Facts { pattern, action, body, .. } = std::mem::take(&mut *facts);
        *facts = Facts { pattern, action, ..Facts::default() };
        body
    }

    /// The version of the row of the event's user on which the answer rests. One that rests on another user is made again,
    /// because nothing would be compared with that row.
    pub(super) fn version(&self) -> Option<i64> {
        let facts = self.facts();
        facts.rests_on.map(|(user, version)| if facts.user == Some(user) { version } else { NEVER })
    }

    pub(super) fn user(&self) -> Option<UserId> {
        self.facts().user
    }

    pub(super) fn pattern(&self) -> Option<String> {
        self.facts().pattern.clone()
    }

    pub(super) fn action(&self) -> Option<Action> {
        self.facts().action
    }

    pub(super) fn service_data(&self) -> Option<Value> {
        let data = self.facts().service_data.clone();
        (!data.is_empty()).then_some(Value::Object(data))
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        // A handler that panicked while noting something leaves a draft that is still worth recording.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_answer_that_rests_on_somebody_else_than_the_event_names_is_never_current() {
        let (ada, bob) = (UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        let draft = Draft::default();
        draft.facts().rests_on = Some((ada, 7));
        draft.concerns(ada);
        assert_eq!(draft.version(), Some(7));
        draft.concerns(bob);
        assert_eq!(draft.version(), Some(NEVER));
        assert_eq!(Draft::default().version(), None);
    }
}
