//! Logging in and out, client grants, and the work a password costs.

mod basic;
mod blocked;
mod grants;
mod hashing;
mod log_out;
mod memory;
mod versions;
