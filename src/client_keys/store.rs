//! SQL for `client_keys`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::ClientKey;
use crate::secret::HashedSecret;
use crate::users::UserId;

pub async fn insert(
    connection: &mut PgConnection,
    id: &str,
    user: UserId,
    secret: &HashedSecret,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into client_keys (id, user_id, secret_hash, created_at) values ($1, $2, $3, $4)",
        id,
        user.0,
        secret.as_bytes(),
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The key and the hash of its secret.
pub async fn find(connection: &mut PgConnection, id: &str) -> sqlx::Result<Option<(ClientKey, Vec<u8>)>> {
    let row = sqlx::query!(
        r#"select id, user_id as "user: UserId", secret_hash, generation, created_at from client_keys where id = $1"#,
        id,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| {
        let key = ClientKey { id: row.id, user: row.user, generation: row.generation, created_at: row.created_at };
        (key, row.secret_hash)
    }))
}

/// A user's keys, newest first.
pub async fn list(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<ClientKey>> {
    sqlx::query_as!(
        ClientKey,
        r#"select id, user_id as "user: UserId", generation, created_at from client_keys
           where user_id = $1 order by created_at desc, id"#,
        user.0,
    )
    .fetch_all(connection)
    .await
}

/// Deletes a key of this user; `false` when there was none.
pub async fn delete(connection: &mut PgConnection, user: UserId, id: &str) -> sqlx::Result<bool> {
    let done =
        sqlx::query!("delete from client_keys where user_id = $1 and id = $2", user.0, id).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}
