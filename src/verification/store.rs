//! SQL for `one_time_tokens`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Claim, Purpose};
use crate::secret::HashedSecret;
use crate::users::UserId;

pub async fn insert(
    connection: &mut PgConnection,
    token: &HashedSecret,
    user: UserId,
    purpose: Purpose,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into one_time_tokens (token_hash, user_id, purpose, created_at, expires_at) values ($1, $2, $3, $4, $5)",
        token.as_bytes(),
        user.0,
        purpose as Purpose,
        now,
        expires_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// A token that was used, or still can be.
pub async fn find(
    connection: &mut PgConnection,
    token: &HashedSecret,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Claim>> {
    sqlx::query_as!(
        Claim,
        r#"select user_id as "user: UserId", used_at is not null as "is_used!" from one_time_tokens
           where token_hash = $1 and purpose = $2 and (used_at is not null or expires_at > $3)"#,
        token.as_bytes(),
        purpose as Purpose,
        now,
    )
    .fetch_optional(connection)
    .await
}

/// Uses a token up; `false` when somebody else did, or its time is over. One statement, so one winner.
pub async fn mark_used(
    connection: &mut PgConnection,
    token: &HashedSecret,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update one_time_tokens set used_at = $3
         where token_hash = $1 and purpose = $2 and used_at is null and expires_at > $3",
        token.as_bytes(),
        purpose as Purpose,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn delete_unused(connection: &mut PgConnection, user: UserId, purpose: Purpose) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from one_time_tokens where user_id = $1 and purpose = $2 and used_at is null",
        user.0,
        purpose as Purpose,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn delete_expired(connection: &mut PgConnection, now: DateTime<Utc>, at_most: i64) -> sqlx::Result<u64> {
    sqlx::query!(
        "delete from one_time_tokens where token_hash in (
             select token_hash from one_time_tokens where used_at is null and expires_at <= $1 limit $2)",
        now,
        at_most,
    )
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}
