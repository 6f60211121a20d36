//! The outbox: mails are rows first, written in the transaction that causes them, and sent by the courier.
//!
//! Tables: `outbox`; `mail_counts`, which remembers how many mails somebody got; `mail_certificates`, the OpenPGP keys to which mails
//! that hand out a token are encrypted. Texts: `templates/`, compiled in.
//! Links are built from `server.public_url` and from nothing that a request carries (docs/security.md row 9). A mail goes to
//! the address stored with the user, never to one that was typed.

mod courier;
mod letter;
mod queued;
mod service;
mod smtp;
mod store;
mod transport;

pub use courier::Courier;
pub use letter::{Letter, Stationery};
pub use queued::{Queued, State, Unsent};
pub use service::{Mail, SentMail};
pub use transport::{Transport, can_reach, check};
