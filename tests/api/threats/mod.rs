//! Mistakes of others, each tried on us: the rows of our list of bug classes that these routes can meet. Those about limits
//! (2, 3, 11, 25) are in `ratelimit`.

mod accounts;
mod enumeration;
mod floods;
mod forged_tokens;
mod headers;
mod lost_rights;
mod mail_bombs;
mod races;
mod secrets;
