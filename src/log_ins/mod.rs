//! From where a user logged in with success: network and user agent, and when last.
//!
//! No route. Table: `log_ins`. It answers two questions: is this client known to the account (then strangers who guess
//! the password elsewhere do not slow it down), and is this pair new (then somebody may want to tell the owner). It keeps
//! no history: what happened when is in `events`.

mod service;
mod store;

pub use service::{KnownPlace, LogIns, Seen};
