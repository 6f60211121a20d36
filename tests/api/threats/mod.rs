//! Mistakes of others, each tried on us: the rows of our list of bug classes that these routes can meet.

mod accounts;
mod enumeration;
mod floods;
mod forged_tokens;
mod headers;
mod races;
mod secrets;
