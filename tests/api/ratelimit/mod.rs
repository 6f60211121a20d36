//! How often somebody may ask: one client address ([`addresses`]), and with wrong passwords ([`guesses`], [`budgets`]).

mod addresses;
mod budgets;
mod guesses;
