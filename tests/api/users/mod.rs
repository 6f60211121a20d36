//! Signing up, the profile, passwords, activation.

mod activation;
mod address;
mod change_profile;
mod deletion;
mod email_change;
mod invitations;
mod management;
mod new_password;
mod notices;
mod password;
mod profile;
mod reset;
mod sign_up;
mod states;
mod unproved;
