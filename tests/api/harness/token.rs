//! What is inside a token, and how to forge one.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Header;
use serde_json::{Value, json};

use super::{Person, TestApp};

/// The claims of a token, unverified, as the vendor's client reads them.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The header of a token.
pub fn header(token: &str) -> Value {
    part(token, 0)
}

/// One JSON part of a token, ready to be put into a forged one.
pub fn encode(part: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part.to_string())
}

fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).expect("three parts");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

impl TestApp {
    /// A token that says what the person's real one says but for these claims, under our own signature: what a bug of
    /// ours would have to let through. A claim changed to null is left out.
    pub fn resigned(&self, person: &Person, changes: &Value) -> String {
        let mut said = claims(&person.token);
        for (name, value) in changes.as_object().expect("an object") {
            said[name] = value.clone();
        }
        said.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        let (header, key) = self.app.signing_keys.signer();
        jsonwebtoken::encode(header, &said, key).expect("a token")
    }

    /// The header of our tokens, to be changed.
    pub fn token_header(&self) -> Header {
        self.app.signing_keys.signer().0.clone()
    }

    /// The published key.
    pub async fn published_key(&self) -> Value {
        let set = self.get("/.well-known/jwks.json").await.expect(200).json();
        assert_eq!(set, json!({"keys": [set["keys"][0]]}), "one key");
        set["keys"][0].clone()
    }
}
