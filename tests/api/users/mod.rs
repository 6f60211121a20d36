//! Signing up, the profile, passwords, activation.

mod activation;
mod address;
mod new_password;
mod password;
mod profile;
mod sign_up;
mod unproved;
