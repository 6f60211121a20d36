//! The service as its users meet it: over a real listener, on a real Postgres, with a clock that the test moves.
//!
//! One file per room, with the room's name. A test is a sentence about people: who, one act, what comes back and what is
//! left behind.

mod harness;

mod application_keys;
mod auth;
mod cli;
mod client_keys;
mod device_session;
mod embedded;
mod ethereum;
mod events;
mod export;
mod house;
mod http;
mod log_ins;
mod mail;
mod metrics;
mod openapi;
mod properties;
mod pulse;
mod qb2;
mod ratelimit;
mod server;
mod signing_keys;
mod smoke;
mod threats;
mod tokens;
mod user_keys;
mod users;
mod verification;
