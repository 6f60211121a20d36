//! The session that every Qb2 token is bound to (qb2-account-service.md section 5, decisions.md section 4): a nonce that all
//! replicas share, new at UTC midnight and when somebody ends the session.
//!
//! Table: `device_session`, of one row. What it refuses: to begin a session because a server starts.

pub mod grpc;

mod service;
mod store;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use service::DeviceSession;

/// The session of a day, or of what is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What tokens carry.
    pub id: Uuid,
    /// What clients are shown: 64 hex digits. No secret.
    pub nonce: String,
    /// When it began.
    pub began_at: DateTime<Utc>,
}
