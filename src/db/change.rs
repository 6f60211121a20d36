//! Whether a request has begun to change something: then a lost answer is not "try again" but "look first".
//!
//! A commit is noted when it is sent, not when it is answered: the connection may die in between, the request may be cut
//! off by its time limit, and its event may not be written. In each case the change may be there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

tokio::task_local! {
    static CHANGE: Change;
}

/// What one request has begun to change; cheap to clone.
#[derive(Clone, Default)]
pub struct Change(Arc<AtomicBool>);

impl Change {
    /// Does `work`, and notes here when it commits.
    pub async fn watch<T>(&self, work: impl Future<Output = T>) -> T {
        CHANGE.scope(self.clone(), work).await
    }

    /// Whether a commit was begun.
    pub fn is_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A commit is about to be sent. Outside of a request nobody watches.
pub(super) fn note() {
    let _ = CHANGE.try_with(|change| change.0.store(true, Ordering::Relaxed));
}
