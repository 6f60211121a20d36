//! SQL for `account_tokens` and `revoked_tokens`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::users::UserId;

pub struct NewAccountToken {
    pub id: Uuid,
    pub user_id: UserId,
    pub token_version: i64,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

pub async fn insert(connection: &mut PgConnection, token: &NewAccountToken) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into account_tokens (id, user_id, token_version, created_at, expires_at) values ($1, $2, $3, $4, $5)",
        token.id,
        token.user_id.0,
        token.token_version,
        token.created_at,
        token.expires_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The user and the token version of a token that was not revoked.
pub async fn find(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<(UserId, i64)>> {
    let row = sqlx::query!("select user_id, token_version from account_tokens where id = $1", id)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|row| (UserId(row.user_id), row.token_version)))
}

pub async fn update_version(connection: &mut PgConnection, id: Uuid, token_version: i64) -> sqlx::Result<()> {
    sqlx::query!("update account_tokens set token_version = $2 where id = $1", id, token_version)
        .execute(connection)
        .await
        .map(drop)
}

pub async fn delete(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("delete from account_tokens where id = $1", id).execute(connection).await.map(drop)
}

/// Deletes all tokens of a user but the one to keep.
pub async fn delete_others(connection: &mut PgConnection, user: UserId, keep: Option<Uuid>) -> sqlx::Result<()> {
    sqlx::query!("delete from account_tokens where user_id = $1 and id is distinct from $2", user.0, keep)
        .execute(connection)
        .await
        .map(drop)
}

pub async fn delete_expired(connection: &mut PgConnection, now: DateTime<Utc>, at_most: i64) -> sqlx::Result<u64> {
    sqlx::query!(
        "delete from account_tokens where id in (select id from account_tokens where expires_at <= $1 limit $2)",
        now,
        at_most,
    )
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}

pub async fn insert_revoked(
    connection: &mut PgConnection,
    id: Uuid,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into revoked_tokens (id, revoked_at, expires_at) values ($1, $2, $3) on conflict (id) do nothing",
        id,
        now,
        expires_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn find_revoked(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select exists (select from revoked_tokens where id = $1) as "found!""#, id)
        .fetch_one(connection)
        .await
}

pub async fn delete_revoked(connection: &mut PgConnection, now: DateTime<Utc>, at_most: i64) -> sqlx::Result<u64> {
    sqlx::query!(
        "delete from revoked_tokens where id in (select id from revoked_tokens where expires_at <= $1 limit $2)",
        now,
        at_most,
    )
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}
