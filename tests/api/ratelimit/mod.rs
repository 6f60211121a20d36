//! How often somebody may ask: one client address ([`addresses`]).

mod addresses;
