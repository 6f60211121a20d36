//! Every request has an id: the caller's, when it is harmless, or a fresh one.

use std::fmt;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::response::Response;
use uuid::Uuid;

use super::extract::REQUEST_ID;
use crate::random::Random;

/// Matches `[A-Za-z0-9._-]{1,64}`.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl Default for RequestId {
    fn default() -> Self {
        Self(HeaderValue::from_static("-"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.to_str().unwrap_or("-"))
    }
}

impl RequestId {
    /// The id that the caller gave, when it is harmless, or a fresh one.
    pub fn of(request: &Request, random: &Random) -> Self {
        request.headers().get(REQUEST_ID).and_then(Self::from_outside).unwrap_or_else(|| {
            let mut text = Uuid::encode_buffer();
            let text = random.uuid_v4().as_hyphenated().encode_lower(&mut text);
            Self(HeaderValue::from_str(text).expect("a UUID is a header value"))
        })
    }

    /// Shows it to the caller.
    pub fn put_on(self, response: &mut Response) {
        response.headers_mut().insert(REQUEST_ID, self.0);
    }

    /// Keeps what came from outside only if it can do no harm in a log, a header or a table.
    fn from_outside(value: &HeaderValue) -> Option<Self> {
        let is_harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        let bytes = value.as_bytes();
        ((1..=64).contains(&bytes.len()) && bytes.iter().all(is_harmless)).then(|| Self(value.clone()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(crate::http::tests::config())]

        #[test]
        fn an_id_from_outside_is_kept_when_it_is_harmless(text in "[A-Za-z0-9._ /%-]{0,70}") {
            let is_harmless = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
            let expected = (1..=64).contains(&text.len()) && text.chars().all(is_harmless);
            let kept = RequestId::from_outside(&HeaderValue::try_from(&text).expect("printable"));
            prop_assert_eq!(kept.map(|id| id.to_string()), expected.then_some(text));
        }

        #[test]
        fn any_bytes_are_an_id_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                RequestId::from_outside(&value);
            }
        }
    }
}
