//! The fields of a message, read one by one, so that a refusal lists every bad one.

use uuid::Uuid;

use super::contract::blickfeld::base::access_control::Level as WireLevel;
use crate::error::{Error, Problem, Result};
use crate::secret::PlainSecret;
use crate::users::password::Password;
use crate::users::{AccessLevel, UserId};

/// Characters of the id and of the secret of an application key.
const KEY: usize = 32;

/// What was wrong with the fields so far.
#[derive(Default)]
pub struct Fields(Vec<Problem>);

impl Fields {
    /// A field that was read, or what is wrong with it.
    pub fn read<T>(&mut self, name: &str, parsed: Result<T, String>) -> Option<T> {
        parsed.map_err(|message| self.0.push(Problem::new(name, message))).ok()
    }

    /// Whether every field was good.
    ///
    /// # Errors
    /// `ValidationFailed`, which lists the others.
    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::invalid_fields(self.0)) }
    }
}

/// Reads one field that is all there is.
///
/// # Errors
/// `ValidationFailed`, which names it.
pub fn only<T>(name: &str, parsed: Result<T, String>) -> Result<T> {
    parsed.map_err(|message| Error::invalid_fields(vec![Problem::new(name, message)]))
}

/// The account that a uuid names.
///
/// # Errors
/// What is wrong, in words for the person who sent it.
pub fn account(uuid: &str) -> Result<UserId, String> {
    // The library reads other spellings as well.
    let parsed = Some(uuid).filter(|uuid| uuid.len() == 36).and_then(|uuid| Uuid::try_parse(uuid).ok());
    parsed.map(UserId).ok_or_else(|| "must be a uuid such as 0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11".into())
}

/// The id of an application key, or its secret.
///
/// # Errors
/// What is wrong, without a word of what was sent: it may be a secret.
pub fn key(text: &str) -> Result<&str, String> {
    let is_plain = text.len() == KEY && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_plain { Ok(text) } else { Err(format!("must be {KEY} letters and digits")) }
}

/// The secret of an application key.
///
/// # Errors
/// As of [`key`].
pub fn secret(text: &str) -> Result<PlainSecret, String> {
    key(text).map(PlainSecret::new)
}

/// A password that must be there; what makes a good one is not asked here.
///
/// # Errors
/// What is wrong, in words for the person who sent it.
pub fn password(text: String) -> Result<Password, String> {
    let password = Password::new(text);
    match password.expose() {
        "" => Err("is required".into()),
        _ if password.is_too_long() => Err(format!("must have at most {} bytes", Password::LONGEST)),
        _ => Ok(password),
    }
}

/// A level that an account or a key can have; `None` where none is given.
///
/// # Errors
/// What is wrong, in words for the person who sent it.
pub fn level(number: i32) -> Result<Option<AccessLevel>, String> {
    match WireLevel::try_from(number) {
        Ok(WireLevel::Unspecified) => Ok(None),
        Ok(WireLevel::Authorized) => Ok(Some(AccessLevel::Authorized)),
        Ok(WireLevel::Admin) => Ok(Some(AccessLevel::Admin)),
        _ => Err("must be LEVEL_AUTHORIZED or LEVEL_ADMIN".into()),
    }
}

/// A level as the contract writes it.
pub fn level_number(level: AccessLevel) -> i32 {
    match level {
        AccessLevel::Authorized => WireLevel::Authorized.into(),
        AccessLevel::Admin => WireLevel::Admin.into(),
    }
}
