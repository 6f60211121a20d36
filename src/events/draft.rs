//! The part of an event that only inner code knows: whose it is, and what the handler adds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

use crate::users::UserId;

/// Hung on the request by the outermost layer and filled by whoever learns something; cheap to clone, one per request.
///
/// Services take it too, because a refusal has an owner as well, and only the service knows whom it refused.
#[derive(Clone, Debug, Default)]
pub struct Draft(Arc<Mutex<Facts>>);

#[derive(Debug, Default)]
struct Facts {
    user: Option<UserId>,
    pattern: Option<String>,
    service_data: Map<String, Value>,
}

impl Draft {
    /// Notes whose event this is; the last word counts.
    pub fn concerns(&self, user: UserId) {
        self.facts().user = Some(user);
    }

    /// Notes the route's pattern, such as `/users/{userId}/token/{token}`.
    pub fn matches(&self, pattern: &str) {
        self.facts().pattern = Some(pattern.to_owned());
    }

    /// Adds a fact to `serviceData`. Never a secret: events are kept for long.
    pub fn add(&self, name: &str, value: impl Into<Value>) {
        self.facts().service_data.insert(name.to_owned(), value.into());
    }

    pub(super) fn user(&self) -> Option<UserId> {
        self.facts().user
    }

    pub(super) fn pattern(&self) -> Option<String> {
        self.facts().pattern.clone()
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
