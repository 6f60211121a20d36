//! SQL for `one_time_tokens`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Claim, Kept, NewEmail, Purpose};
use crate::secret::HashedSecret;
use crate::users::UserId;

pub async fn insert(
    connection: &mut PgConnection,
    token: &HashedSecret,
    user: UserId,
    purpose: Purpose,
    email: Option<&NewEmail>,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into one_time_tokens (token_hash, user_id, purpose, email, email_canonical, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        token.as_bytes(),
        user.0,
        purpose as Purpose,
        email.map(|email| &email.given),
        email.map(|email| &email.canonical),
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
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Claim>> {
    let row = sqlx::query!(
        r#"select user_id as "user: UserId", purpose as "purpose: Purpose", used_at is not null as "is_used!", email,
                  email_canonical
           from one_time_tokens
           where token_hash = $1 and (used_at is not null or expires_at > $2)"#,
        token.as_bytes(),
        now,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| {
        let new_email = row.email.zip(row.email_canonical).map(|(given, canonical)| NewEmail { given, canonical });
        Claim { user: row.user, purpose: row.purpose, is_used: row.is_used, new_email }
    }))
}

/// The tokens of a user, oldest first.
pub async fn list(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<Kept>> {
    sqlx::query_as!(
        Kept,
        r#"select purpose as "purpose: Purpose", created_at, expires_at, used_at, email from one_time_tokens
           where user_id = $1 order by created_at, purpose, token_hash"#,
        user.0,
    )
    .fetch_all(connection)
    .await
}

/// Uses a token of this user up; `false` when somebody else did, or its time is over. One statement, so one winner.
pub async fn mark_used(
    connection: &mut PgConnection,
    token: &HashedSecret,
    user: UserId,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update one_time_tokens set used_at = $4
         where token_hash = $1 and user_id = $2 and purpose = $3 and used_at is null and expires_at > $4",
        token.as_bytes(),
        user.0,
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

/// Deletes tokens whose time is over. Those that proved an address stay: the second click on a link must find the answer
/// of the first.
pub async fn delete_expired(connection: &mut PgConnection, now: DateTime<Utc>, at_most: i64) -> sqlx::Result<u64> {
    sqlx::query!(
        "delete from one_time_tokens where token_hash in (
             select token_hash from one_time_tokens
             where (used_at is null or purpose <> 'email_verification') and expires_at <= $1 limit $2)",
        now,
        at_most,
    )
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}
