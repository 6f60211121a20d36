//! What tests stand on: a server ([`app`]), people ([`people`]), their mail ([`mailbox`]), and a database of one's own
//! ([`database`]).

pub mod app;
pub mod call;
pub mod database;
pub mod mailbox;
pub mod people;

pub use app::TestApp;
pub use call::Answer;
pub use people::{Person, STRONG, STRONGER};
