//! SQL for `application_keys`.

use sqlx::PgConnection;

use super::ApplicationKey;
use crate::secret::HashedSecret;
use crate::users::{AccessLevel, UserId};

/// `select … from application_keys` with every column of an [`ApplicationKey`], and the rest of the statement behind it.
macro_rules! select_key {
    ($rest:tt, $argument:expr $(,)?) => {
        sqlx::query_as!(
            ApplicationKey,
            r#"select id, user_id as "user: UserId", purpose, access_level as "level: AccessLevel", read_only, http,
                      created_at
               from application_keys "#
                + $rest,
            $argument,
        )
    };
}

pub async fn insert(connection: &mut PgConnection, key: &ApplicationKey, secret: &HashedSecret) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into application_keys (id, user_id, secret_hash, purpose, access_level, read_only, http, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        key.id,
        key.user.0,
        secret.as_bytes(),
        key.purpose,
        key.level as AccessLevel,
        key.read_only,
        key.http,
        key.created_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn find(connection: &mut PgConnection, id: &str) -> sqlx::Result<Option<ApplicationKey>> {
    select_key!("where id = $1", id).fetch_optional(connection).await
}

pub async fn find_by_secret(
    connection: &mut PgConnection,
    secret: &HashedSecret,
) -> sqlx::Result<Option<ApplicationKey>> {
    select_key!("where secret_hash = $1", secret.as_bytes()).fetch_optional(connection).await
}

/// A user's keys, oldest first.
pub async fn list(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<ApplicationKey>> {
    select_key!("where user_id = $1 order by created_at, id", user.0).fetch_all(connection).await
}

/// Deletes a key; `false` when there was none.
pub async fn delete(connection: &mut PgConnection, id: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!("delete from application_keys where id = $1", id).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}
