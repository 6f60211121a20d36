//! The names by which a user can be called: id, e-mail or login name. Made canonical once, at the edge, before any
//! limit or lookup sees it (docs/security.md row 3).

use super::{EmailAddress, UserId};

/// A login name: `^[a-zA-Z0-9._-]{1,100}$`, not of the form `user-<uuid>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginName(String);

impl LoginName {
    /// Reads a login name.
    ///
    /// # Errors
    /// What is wrong, in words for the person who typed it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.is_empty() || text.len() > 100 || !text.bytes().all(is_plain) {
            return Err("must be 1 to 100 letters, digits, dots, hyphens or underscores".into());
        }
        if text.parse::<UserId>().is_ok() {
            return Err("must not look like a user id".into());
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was typed; compare without regard to case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What was typed where a user is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// `user-<uuid>`
    Id(UserId),
    /// An e-mail.
    Email(EmailAddress),
    /// A login name.
    Name(LoginName),
    /// Nothing that could name a user. It is not kept: people type passwords here.
    Nobody,
}

impl Login {
    /// Reads what was typed; never fails, because "no such user" and "no such name" are one answer.
    pub fn parse(text: &str) -> Self {
        if let Ok(id) = text.parse() {
            Self::Id(id)
        } else if let Ok(name) = LoginName::parse(text) {
            Self::Name(name)
        } else if let Ok(email) = EmailAddress::parse(text) {
            Self::Email(email)
        } else {
            Self::Nobody
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_has_one_spelling() {
        let id = "user-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11";
        assert_eq!(Login::parse(id), Login::parse(&id.to_uppercase()));
        assert!(matches!(Login::parse("ada"), Login::Name(_)));
        assert!(matches!(Login::parse("ada@example.com"), Login::Email(_)));
        assert_eq!(Login::parse("ada "), Login::Nobody);
    }

    #[test]
    fn a_login_name_cannot_pose_as_an_id() {
        assert!(LoginName::parse("User-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11").is_err());
        assert!(LoginName::parse("user-ada").is_ok());
    }
}
