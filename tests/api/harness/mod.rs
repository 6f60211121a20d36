//! What tests stand on: a server ([`app`]), people ([`people`]), their mail ([`mailbox`]), a database of one's own
//! ([`database`]), and the real binary ([`program`]). What is inside a token, and how to forge one, is in [`token`]; who signs with
//! an Ethereum address is in [`wallet`].

pub mod app;
pub mod call;
pub mod database;
pub mod download;
pub mod listener;
pub mod mailbox;
pub mod people;
pub mod program;
pub mod qb2;
pub mod seed;
pub mod tls;
pub mod token;
mod traces;
pub mod wallet;
pub mod wire;

pub use app::{TestApp, behind_a_proxy};
pub use call::{Answer, Call, count, link, together};
pub use people::{Person, STRONG, STRONGER, sign_up_body};
