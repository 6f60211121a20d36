//! The body of a call: one message, whole. The library would call what is wrong with it here an internal error, or an odd one.

use axum::http::HeaderMap;

use crate::error::{Code, Error, Problem, Result};

/// A flag that says whether the message is compressed, and its length.
const PREFIX: usize = 5;

/// Whether the body of a call is one plain message.
///
/// # Errors
/// `MalformedBody`; `UnsupportedMediaType` for a compressed one.
pub fn check(headers: &HeaderMap, body: &[u8]) -> Result<()> {
    let Some((prefix, message)) = body.split_first_chunk::<PREFIX>() else { return Err(malformed("is missing")) };
    let [flag, length @ ..] = *prefix;
    match flag {
        0 if u32::try_from(message.len()) == Ok(u32::from_be_bytes(length)) => Ok(()),
        0 => Err(malformed("is not as long as it says, or not the only one")),
        1 if headers.contains_key("grpc-encoding") => Err(Code::UnsupportedMediaType.into()),
        _ => Err(malformed("is marked neither as plain nor as compressed in a known way")),
    }
}

/// What is wrong with a message.
pub fn malformed(message: &str) -> Error {
    Error::invalid(Code::MalformedBody, Problem::new("message", message))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(body: &[u8]) -> Option<Code> {
        check(&HeaderMap::new(), body).err().map(|error| error.code())
    }

    #[test]
    fn one_plain_message_is_let_through_and_nothing_else() {
        assert_eq!(code(&[0, 0, 0, 0, 0]), None);
        assert_eq!(code(&[0, 0, 0, 0, 2, 8, 1]), None);
        for body in [
            &[][..],
            &[0; 4],
            &[0, 0, 0, 0, 1],
            &[0; 6],
            &[0; 10],
            &[1, 0, 0, 0, 0],
            &[9, 0, 0, 0, 0],
            &[0, 255, 255, 255, 255],
        ] {
            assert_eq!(code(body), Some(Code::MalformedBody), "{body:?}");
        }
        let compressed =
            HeaderMap::from_iter([("grpc-encoding".parse().expect("a name"), "gzip".parse().expect("a value"))]);
        let refused = check(&compressed, &[1, 0, 0, 0, 0]).expect_err("not supported");
        assert_eq!(refused.code(), Code::UnsupportedMediaType);
    }

    proptest! {
        #![proptest_config(crate::http::tests::config())]

        #[test]
        fn any_bytes_are_a_message_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let is_one = bytes.len() >= PREFIX && bytes[0] == 0 && bytes[1..5] == ((bytes.len() - PREFIX) as u32).to_be_bytes();
            prop_assert_eq!(code(&bytes).is_none(), is_one);
        }
    }
}
