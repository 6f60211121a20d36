//! Taking deleted users out of their events: `erasures`, and what becomes of the rows.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::users::UserId;

/// Notes that the events of these users have to lose the person.
pub async fn insert_erasures(connection: &mut PgConnection, users: &[UserId], now: DateTime<Utc>) -> sqlx::Result<()> {
    let users: Vec<Uuid> = users.iter().map(|user| user.0).collect();
    sqlx::query!("insert into erasures (user_id, deleted_at, next_at) select unnest($1::uuid[]), $2, $2", &users, now)
        .execute(connection)
        .await
        .map(drop)
}

pub struct Erasure {
    pub user: UserId,
    pub deleted_at: DateTime<Utc>,
    pub clean_up_to: Uuid,
}

/// Takes the erasure that is due longest, and with it the sole right to work on it until `lease_end`.
pub async fn mark_erasure_taken(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    lease_end: DateTime<Utc>,
) -> sqlx::Result<Option<Erasure>> {
    sqlx::query_as!(
        Erasure,
        r#"update erasures set next_at = $2
           where user_id = (select user_id from erasures where next_at <= $1
                            order by next_at limit 1 for update skip locked)
           returning user_id as "user: UserId", deleted_at, clean_up_to"#,
        now,
        lease_end,
    )
    .fetch_optional(connection)
    .await
}

/// Notes how far an erasure is, and that so many more rows are cleared.
pub async fn update_erasure(
    connection: &mut PgConnection,
    user: UserId,
    clean_up_to: Uuid,
    next_at: DateTime<Utc>,
    cleared: i64,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update erasures set clean_up_to = $2, next_at = $3, cleared = cleared + $4 where user_id = $1",
        user.0,
        clean_up_to,
        next_at,
        cleared,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Ends an erasure; answers how many rows it has cleared before.
pub async fn delete_erasure(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!("delete from erasures where user_id = $1 returning cleared", user.0)
        .fetch_optional(connection)
        .await
}

/// What one batch of [`update_forgotten`] did.
pub struct Cleared {
    pub events: i64,
    pub last: Option<Uuid>,
}

/// Takes the person out of a user's next `at_most` events after this one: the address, the agent, what the client called the
/// request, what the handler added, and names in the path.
pub async fn update_forgotten(
    connection: &mut PgConnection,
    user: UserId,
    after: Uuid,
    at_most: i64,
) -> sqlx::Result<Cleared> {
    // Bounded by ids and not joined with the batch: a join reads all events of the user for each batch.
    sqlx::query_as!(
        Cleared,
        r#"with batch as (
               select id from events where user_id = $1 and id > $2 order by id limit $3
           ), last as (
               select id from batch order by id desc limit 1
           ), cleared as (
               update events set ip = null, user_agent = null, service_data = null, request_uuid = null, request_id = '-',
                   path = path_without_names(path)
               where user_id = $1 and id > $2 and id <= (select id from last)
           )
           select count(*) as "events!", (select id from last) as last from batch"#,
        user.0,
        after,
        at_most,
    )
    .fetch_one(connection)
    .await
}
