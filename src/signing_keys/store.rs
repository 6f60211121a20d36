//! SQL for `signing_keys`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

pub struct KeyRow {
    pub kid: String,
    pub algorithm: String,
    pub sealed_private_key: Vec<u8>,
    pub public_jwk: serde_json::Value,
}

/// All keys, the newest first.
pub async fn list(connection: &mut PgConnection) -> sqlx::Result<Vec<KeyRow>> {
    sqlx::query_as!(
        KeyRow,
        "select kid, algorithm, sealed_private_key, public_jwk from signing_keys order by created_at desc, kid"
    )
    .fetch_all(connection)
    .await
}

pub async fn insert(connection: &mut PgConnection, key: &KeyRow, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into signing_keys (kid, algorithm, sealed_private_key, public_jwk, created_at)
         values ($1, $2, $3, $4, $5)",
        key.kid,
        key.algorithm,
        key.sealed_private_key,
        key.public_jwk,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}
