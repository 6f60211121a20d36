//! SQL for `client_keys` and `idempotency_keys`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{ClientKey, KeptCreation, LiveKey};
use crate::secret::HashedSecret;
use crate::users::UserId;

pub async fn insert(connection: &mut PgConnection, key: &ClientKey, secret: &HashedSecret) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into client_keys (id, user_id, secret_hash, label, created_at) values ($1, $2, $3, $4, $5)",
        key.id,
        key.user.0,
        secret.as_bytes(),
        key.label,
        key.created_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn find(connection: &mut PgConnection, id: &str) -> sqlx::Result<Option<LiveKey>> {
    let row = sqlx::query!(
        r#"select id, user_id as "user: UserId", secret_hash, label, generation, created_at, last_used_at,
                  (select version from users where users.id = user_id) as "user_version!"
           from client_keys where id = $1"#,
        id,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| {
        let key = ClientKey {
            id: row.id,
            user: row.user,
            label: row.label,
            generation: row.generation,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        };
        LiveKey { key, secret_hash: row.secret_hash, user_version: row.user_version }
    }))
}

/// A user's keys, newest first.
pub async fn list(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<ClientKey>> {
    sqlx::query_as!(
        ClientKey,
        r#"select id, user_id as "user: UserId", label, generation, created_at, last_used_at from client_keys
           where user_id = $1 order by created_at desc, id"#,
        user.0,
    )
    .fetch_all(connection)
    .await
}

pub async fn update_label(
    connection: &mut PgConnection,
    user: UserId,
    id: &str,
    label: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query!("update client_keys set label = $3 where user_id = $1 and id = $2", user.0, id, label)
        .execute(connection)
        .await
        .map(drop)
}

/// Counts the generation of a key of this user up; `false` when there is no such key.
pub async fn update_generation(connection: &mut PgConnection, user: UserId, id: &str) -> sqlx::Result<bool> {
    let done =
        sqlx::query!("update client_keys set generation = generation + 1 where user_id = $1 and id = $2", user.0, id,)
            .execute(connection)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes when keys were last used; a column each. Rows that somebody else is changing (or deleting) keep the older time:
/// it is not worth a deadlock.
pub async fn update_last_uses(
    connection: &mut PgConnection,
    ids: &[String],
    instants: &[DateTime<Utc>],
) -> sqlx::Result<()> {
    sqlx::query!(
        "update client_keys set last_used_at = greatest(last_used_at, used.at)
         from unnest($1::text[], $2::timestamptz[]) as used (id, at)
         where client_keys.id = used.id and client_keys.id in (
             select id from client_keys where id = any($1) order by id for no key update skip locked)",
        ids,
        instants,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Deletes a key of this user; `false` when there was none.
pub async fn delete(connection: &mut PgConnection, user: UserId, id: &str) -> sqlx::Result<bool> {
    let done =
        sqlx::query!("delete from client_keys where user_id = $1 and id = $2", user.0, id).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps the answer to a request with an idempotency key.
pub async fn insert_answer(
    connection: &mut PgConnection,
    token: Uuid,
    idempotency_key: &str,
    made: &ClientKey,
    body: &HashedSecret,
    sealed_answer: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into idempotency_keys (token_id, idempotency_key, user_id, client_key_id, body_hash, sealed_answer,
                                       created_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        token,
        idempotency_key,
        made.user.0,
        made.id,
        body.as_bytes(),
        sealed_answer,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub struct KeptAnswer {
    pub client_key_id: String,
    pub body_hash: Vec<u8>,
    pub sealed_answer: Vec<u8>,
}

pub async fn find_answer(
    connection: &mut PgConnection,
    user: UserId,
    token: Uuid,
    idempotency_key: &str,
) -> sqlx::Result<Option<KeptAnswer>> {
    sqlx::query_as!(
        KeptAnswer,
        "select client_key_id, body_hash, sealed_answer from idempotency_keys
         where user_id = $1 and token_id = $2 and idempotency_key = $3",
        user.0,
        token,
        idempotency_key,
    )
    .fetch_optional(connection)
    .await
}

/// Deletes the answer under this key if it was made at `before` or earlier: its time is over, swept or not.
pub async fn delete_answer_before(
    connection: &mut PgConnection,
    token: Uuid,
    idempotency_key: &str,
    before: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from idempotency_keys where token_id = $1 and idempotency_key = $2 and created_at <= $3",
        token,
        idempotency_key,
        before,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The answers that are kept for a user, oldest first, without what they say.
pub async fn list_answers(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<KeptCreation>> {
    sqlx::query_as!(
        KeptCreation,
        "select idempotency_key, client_key_id, created_at from idempotency_keys where user_id = $1
         order by created_at, idempotency_key",
        user.0,
    )
    .fetch_all(connection)
    .await
}

/// Deletes answers made at `before` or earlier.
pub async fn delete_answers(connection: &mut PgConnection, before: DateTime<Utc>, at_most: i64) -> sqlx::Result<u64> {
    sqlx::query!(
        "delete from idempotency_keys where (token_id, idempotency_key) in (
             select token_id, idempotency_key from idempotency_keys where created_at <= $1 limit $2)",
        before,
        at_most,
    )
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}
