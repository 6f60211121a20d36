//! The names by which a user can be called: id, e-mail or login name. Made canonical once, at the edge, before any
//! limit or lookup sees it (docs/security.md row 3).

use uuid::Uuid;

use super::{EmailAddress, UserId};

/// A login name: `^[a-zA-Z0-9._-]{1,100}$`, which is no id: neither `user-<uuid>` nor a bare UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginName(String);

impl LoginName {
    /// Reads a login name.
    ///
    /// # Errors
    /// What is wrong, in words for the person who typed it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = Self::read(text)
            .ok_or_else(|| "must be 1 to 100 letters, digits, dots, hyphens or underscores".to_owned())?;
        // Whoever bears the id of another user as a name would be taken for that user.
        let folded = text.to_ascii_lowercase();
        if Uuid::try_parse(folded.strip_prefix("user-").unwrap_or(&folded)).is_ok() {
            return Err("must not look like a user id".into());
        }
        Ok(name)
    }

    /// What may be somebody's name.
    fn read(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        ((1..=100).contains(&text.len()) && text.bytes().all(is_plain)).then(|| Self(text.to_owned()))
    }

    /// As it was typed; compare without regard to case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What was typed where a user is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// `user-<uuid>`, or the bare UUID that gRPC shows.
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
        let bare = || Uuid::try_parse(text).ok().filter(|_| text.len() == 36).map(UserId);
        if let Some(id) = text.parse().ok().or_else(bare) {
            Self::Id(id)
        } else if let Some(name) = LoginName::read(text) {
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
        let id = "0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11";
        assert_eq!(Login::parse(id), Login::parse(&format!("user-{id}")));
        for posing in
            [format!("User-{id}"), id.into(), id.to_uppercase(), id.replace('-', ""), id.replace('-', "") + "-"]
        {
            assert_eq!(LoginName::parse(&posing).is_ok(), posing.ends_with('-'), "{posing}");
        }
        assert!(LoginName::parse(&format!("user-{}", id.replace('-', ""))).is_err());
        assert!(LoginName::parse("user-ada").is_ok());
    }
}
