//! How often somebody may ask, and how much at once. The room at the very right: everybody may ask it, and it asks nobody.
//!
//! No route, no table: what it knows is in memory, so each replica counts for itself, and a restart forgets. What must
//! not be forgotten (the block of an account without e-mail) is a fact on the user's row.
//!
//! | limit | of whom | asked by |
//! |---|---|---|
//! | [`Quotas`]: requests of an [`Action`] | one client address | `layer.rs`, whose table says which routes |
//! | [`Throttle`]: failed log-ins | an account from one address, and an account alone | `users` |
//! | [`Throttle`]: a password asked again with a live token | one user | `users` |
//! | [`Shares`]: open connections | one client address | the listener, `server/accept.rs` |
//! | [`Shares`]: exports under way | one user | `events`, for itself and `export` |
//! | [`Shares`]: streams of events | one user | `events` |
//!
//! It never sleeps: whoever asks too often is told when to come back (`TooManyRequests`).

pub mod layer;

mod ledger;
mod network;
mod quota;
mod share;
mod throttle;

use std::time::Duration;

use crate::error::{Code, Error};

#[cfg(test)]
pub(crate) use ledger::MOST_KEYS;
pub(crate) use ledger::{Key, Ledger};
pub use network::Network;
pub use quota::{Action, Quotas};
pub use share::{Share, Shares};
pub use throttle::{Account, Confirmation, Standing, Throttle};

const MINUTE: Duration = Duration::from_secs(60);

fn too_many(retry_after: Duration) -> Error {
    Error::Busy { code: Code::TooManyRequests, retry_after }
}

/// The limits as they are when nobody configures any.
#[cfg(test)]
fn defaults() -> crate::config::RateLimit {
    use crate::config::{Config, Overrides};
    let overrides = Overrides { data_dir: Some("/nowhere".into()), ..Overrides::default() };
    Config::load_from(&overrides, std::iter::empty()).expect("the defaults are a configuration").rate_limit
}
