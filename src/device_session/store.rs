//! SQL for `device_session`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Session;

pub async fn find(connection: &mut PgConnection) -> sqlx::Result<Option<Session>> {
    sqlx::query_as!(Session, "select id, nonce, began_at from device_session").fetch_optional(connection).await
}

/// Begins this session unless there is one that began at `since` or later; answers the one there is. Of many at the same
/// moment one wins, and all are answered the same.
pub async fn insert(connection: &mut PgConnection, new: &Session, since: DateTime<Utc>) -> sqlx::Result<Session> {
    sqlx::query_as!(
        Session,
        "insert into device_session as old (id, nonce, began_at) values ($1, $2, $3)
         on conflict (singleton) do update
         set id = case when old.began_at < $4 then excluded.id else old.id end,
             nonce = case when old.began_at < $4 then excluded.nonce else old.nonce end,
             began_at = case when old.began_at < $4 then excluded.began_at else old.began_at end
         returning id, nonce, began_at",
        new.id,
        new.nonce,
        new.began_at,
        since,
    )
    .fetch_one(connection)
    .await
}

/// Begins this session, whatever there is.
pub async fn update(connection: &mut PgConnection, new: &Session) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into device_session (id, nonce, began_at) values ($1, $2, $3)
         on conflict (singleton) do update
         set id = excluded.id, nonce = excluded.nonce, began_at = excluded.began_at",
        new.id,
        new.nonce,
        new.began_at,
    )
    .execute(connection)
    .await
    .map(drop)
}
