//! The Bloq Accounts service: one table of users behind several doors.
//!
//! Every feature is a *room*, a folder with the same file names inside: `mod.rs` (front page and types), `http.rs` (the
//! door), `service.rs` (the rules), `store.rs` (the SQL). What belongs to no feature is plumbing and stands above the
//! rooms in the list below. `docs/architecture.md` follows one request through all of it.

// plumbing
pub mod app;
pub mod change;
pub mod cli;
pub mod clock;
pub mod config;
pub mod data_dir;
pub mod db;
pub mod error;
pub mod grpc;
pub mod http;
pub mod last_use;
pub mod metrics;
pub mod openpgp;
pub mod origin;
pub mod pace;
pub mod random;
pub mod sealing;
pub mod secret;
pub mod server;
pub mod stop;
pub mod sweeper;
pub mod telemetry;
pub mod worker;

// rooms; a service calls only services further down
pub mod application_keys;
pub mod auth;
pub mod client_keys;
pub mod device_session;
pub mod ethereum;
pub mod events;
pub mod export;
pub mod log_ins;
pub mod mail;
pub mod ratelimit;
pub mod signing_keys;
pub mod tokens;
pub mod user_keys;
pub mod users;
pub mod verification;
