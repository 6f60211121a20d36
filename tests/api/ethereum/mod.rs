//! People who sign in with a wallet, and whose address that is.

mod addresses;
mod enabled;
mod made_elsewhere;
mod nonces;
mod sign_in;
mod siwe;
