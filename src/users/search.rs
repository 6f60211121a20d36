//! How administrators look for users, page by page.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{AccessLevel, State, User, UserId};

/// Whom to look for; what is `None` lets everybody pass.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// What e-mail, login name, display name or id holds.
    pub text: Option<SearchText>,
    /// Only users with these rights.
    pub level: Option<AccessLevel>,
    /// Only users in this state.
    pub state: Option<State>,
    /// Only users who may only read, or only the others.
    pub read_only: Option<bool>,
}

/// A part of a name, at most 254 characters, found without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchText(String);

impl SearchText {
    /// As many characters as the longest e-mail has.
    pub const LONGEST: usize = 254;

    /// Reads what was typed; an empty text is found in every name.
    ///
    /// # Errors
    /// What is wrong, in words for the person who typed it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("must not contain a NUL character".into());
        }
        if text.chars().count() > Self::LONGEST {
            return Err(format!("is longer than {} characters", Self::LONGEST));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text as a regular expression of Postgres in which every letter stands for both of its cases. What `ilike` takes for
    /// the same letter depends on the locale of the database, and that of a private one knows ASCII only.
    pub(super) fn pattern(&self) -> String {
        let mut pattern = String::new();
        for letter in self.0.chars() {
            let (lower, upper) = (only(letter.to_lowercase()), only(letter.to_uppercase()));
            if letter.is_alphabetic() {
                pattern.push('[');
                pattern.extend([letter].into_iter().chain(lower).chain(upper));
                pattern.push(']');
            } else if letter.is_ascii_punctuation() {
                pattern.extend(['\\', letter]);
            } else {
                pattern.push(letter);
            }
        }
        pattern
    }
}

/// The other case of a letter, where that is one letter.
fn only(mut letters: impl Iterator<Item = char>) -> Option<char> {
    letters.next().filter(|_| letters.next().is_none())
}

/// Where a user stands in the order of all: by making, then by id. It stays a place when the user is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) created_at: DateTime<Utc>,
    pub(super) id: UserId,
}

impl Place {
    /// Before everybody.
    pub const BEGINNING: Self = Self { created_at: DateTime::UNIX_EPOCH, id: UserId(Uuid::nil()) };
}

impl From<&User> for Place {
    fn from(user: &User) -> Self {
        Self { created_at: user.created_at, id: user.id }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.created_at.timestamp_micros(), self.id.0.as_hyphenated())
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (micros, id) = text.split_once('-').ok_or(())?;
        let micros: u64 = micros.parse().map_err(|_| ())?;
        let created_at = i64::try_from(micros).ok().and_then(DateTime::from_timestamp_micros).ok_or(())?;
        Ok(Self { created_at, id: UserId(Uuid::try_parse(id).map_err(|_| ())?) })
    }
}

/// From which place on to list, and in which direction. Either way the oldest user of a page is the first.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// To those who were made later.
    After(Place),
    /// To those who were made earlier.
    Before(Place),
}

/// A page of users.
#[derive(Clone, Debug)]
pub struct Found {
    /// The users, oldest first.
    pub users: Vec<User>,
    /// Before this place there are more.
    pub older: Option<Place>,
    /// After this place there are more.
    pub newer: Option<Place>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_stands_for_both_cases_and_nothing_else_means_anything() {
        let pattern = |text: &str| SearchText::parse(text).expect("short").pattern();
        assert_eq!(pattern("aB ö7"), "[aaA][BbB] [ööÖ]7");
        assert_eq!(pattern("a.*%_\\'"), "[aaA]\\.\\*\\%\\_\\\\\\'");
        assert_eq!(pattern("ß中"), "[ßß][中中中]");
        assert_eq!(pattern(""), "");
    }

    #[test]
    fn a_text_has_a_bound() {
        assert!(SearchText::parse(&"ä".repeat(254)).is_ok());
        assert!(SearchText::parse(&"a".repeat(255)).is_err());
        assert!(SearchText::parse("a\0").is_err());
    }

    #[test]
    fn a_place_reads_as_it_is_written() {
        let text = "1772712000123000-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11";
        assert_eq!(text.parse::<Place>().map(|place| place.to_string()).as_deref(), Ok(text));
        for bad in [
            "",
            "-",
            "1-",
            "-1-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11",
            "18446744073709551615-00000000-0000-0000-0000-000000000000",
        ] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
