//! The ten minutes in which a creation may be repeated because its answer was lost: what is kept, and for whom.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ClientKey, NewClientKey, WithSecret};
use crate::secret::{HashedSecret, PlainSecret};
use crate::users::UserId;

/// How long a creation may be repeated.
pub const LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// The header `Idempotency-Key`: 1 to 255 visible ASCII characters, chosen by the client.
#[derive(Clone, Debug)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads the value of the header.
    ///
    /// # Errors
    /// What is wrong, in words for the person who sent it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.len() {
            1..=255 if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self(text.to_owned())),
            _ => Err("must be 1 to 255 visible ASCII characters".into()),
        }
    }

    /// As it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The answer that is kept, sealed: what cannot be read from the key's row any more.
#[derive(Serialize, Deserialize)]
struct Kept {
    label: Option<String>,
    secret: String,
    created_at: DateTime<Utc>,
}

/// The bytes to seal.
pub fn to_seal(made: &WithSecret) -> serde_json::Result<Vec<u8>> {
    let WithSecret { key, secret } = made;
    serde_json::to_vec(&Kept {
        label: key.label.clone(),
        secret: secret.expose().to_owned(),
        created_at: key.created_at,
    })
}

/// The answer of the first request, word for word.
pub fn from_sealed(bytes: &[u8], id: String, user: UserId) -> serde_json::Result<WithSecret> {
    let Kept { label, secret, created_at } = serde_json::from_slice(bytes)?;
    let key = ClientKey { id, user, label, generation: 0, created_at, last_used_at: None };
    Ok(WithSecret { key, secret: PlainSecret::new(secret) })
}

/// What must be the same for a request to be the same: all that its body says.
pub fn body_hash(new: &NewClientKey) -> HashedSecret {
    let label = new.label.as_ref().map(|label| label.0.as_str());
    PlainSecret::new(serde_json::json!({ "label": label }).to_string()).hash()
}

/// Where a sealed answer belongs, see [`crate::sealing::MasterKey::seal`]: nobody else's token can open it.
pub fn place(user: UserId, token: Uuid, key: &IdempotencyKey) -> String {
    format!("idempotency_keys:{user}:{token}:{}", key.as_str())
}
