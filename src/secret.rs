//! Secrets have two types: [`PlainSecret`], which only its bearer should hold and which cannot be printed, and
//! [`HashedSecret`], the only form a store accepts. Nothing turns the second back into the first.

use aws_lc_rs::{constant_time, digest};
use secrecy::{ExposeSecret, SecretString};

/// A random secret in the clear: a client secret, a one-time token. `Debug` prints a placeholder.
#[derive(Clone, Debug)]
pub struct PlainSecret(SecretString);

impl PlainSecret {
    /// Wraps what was generated here or handed in by a client.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// The text itself, for the one place that hands it to its owner.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The form that may be stored. A plain SHA-256 is right for *random* secrets only; passwords go through
    /// [`crate::users::password`].
    pub fn hash(&self) -> HashedSecret {
        HashedSecret(
            digest::digest(&digest::SHA256, self.expose().as_bytes())
                .as_ref()
                .try_into()
                .expect("SHA-256 has 32 bytes"),
        )
    }
}

/// SHA-256 of a [`PlainSecret`].
#[derive(Clone)]
pub struct HashedSecret([u8; 32]);

impl HashedSecret {
    /// The 32 bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same, to look something up by it.
    pub fn into_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Compares with a stored hash, in a time that does not depend on where they differ.
    pub fn matches(&self, stored: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.0, stored).is_ok()
    }
}
