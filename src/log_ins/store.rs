//! SQL for `log_ins`.

use chrono::{DateTime, Utc};
use ipnetwork::IpNetwork;
use sqlx::PgConnection;

use super::KnownPlace;
use crate::ratelimit::Network;
use crate::users::UserId;

/// What is known before a log-in.
pub struct LogIn {
    /// When this pair was last seen.
    pub last_at: Option<DateTime<Utc>>,
    /// Whether there was no other log-in of the user, either.
    pub is_first: bool,
}

/// Where a row stands in the order of their age.
#[derive(Clone, Copy)]
pub struct Place {
    pub last_at: DateTime<Utc>,
    pub id: i64,
}

pub async fn find(
    connection: &mut PgConnection,
    user: UserId,
    network: Network,
    agent: Option<&str>,
) -> sqlx::Result<LogIn> {
    sqlx::query_as!(
        LogIn,
        r#"select (select last_at from log_ins
                   where user_id = $1 and network = $2 and agent is not distinct from $3) as last_at,
                  not exists (select from log_ins where user_id = $1) as "is_first!""#,
        user.0,
        network.as_inet() as IpNetwork,
        agent,
    )
    .fetch_one(connection)
    .await
}

/// Where a user logged in, the newest place first.
pub async fn list(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<KnownPlace>> {
    sqlx::query_as!(
        KnownPlace,
        "select network, agent, first_at, last_at from log_ins where user_id = $1 order by last_at desc, id desc",
        user.0,
    )
    .fetch_all(connection)
    .await
}

/// Writes a log-in down, if the row of its pair is not as fresh as `fresh`; `false` when it is.
pub async fn insert(
    connection: &mut PgConnection,
    user: UserId,
    network: Network,
    agent: Option<&str>,
    now: DateTime<Utc>,
    fresh: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into log_ins (user_id, network, agent, first_at, last_at) values ($1, $2, $3, $4, $4)
         on conflict (user_id, network, agent) do update set last_at = excluded.last_at where log_ins.last_at <= $5",
        user.0,
        network.as_inet() as IpNetwork,
        agent,
        now,
        fresh,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether the user logged in from this network after `since`.
pub async fn find_since(
    connection: &mut PgConnection,
    user: UserId,
    network: Network,
    since: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
               select from log_ins where user_id = $1 and network = $2 and last_at > $3
           ) as "found!""#,
        user.0,
        network.as_inet() as IpNetwork,
        since,
    )
    .fetch_one(connection)
    .await
}

/// Deletes what a user has too much of: rows of before `before`, and all but the newest `most`. To be called when there
/// is a newer row.
pub async fn delete_surplus(
    connection: &mut PgConnection,
    user: UserId,
    before: DateTime<Utc>,
    most: i64,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from log_ins where id in (
             select id from log_ins
             where user_id = $1
               and (last_at <= $2
                    or id in (select id from log_ins where user_id = $1 order by last_at desc, id desc offset $3))
             for update skip locked)",
        user.0,
        before,
        most,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Rows of `until` and before, oldest first, `at_most`, behind this place.
pub async fn list_until(
    connection: &mut PgConnection,
    behind: Option<Place>,
    until: DateTime<Utc>,
    at_most: i64,
) -> sqlx::Result<Vec<Place>> {
    sqlx::query_as!(
        Place,
        "select last_at, id from log_ins
         where last_at <= $3 and ($1::timestamptz is null or (last_at, id) > ($1, $2))
         order by last_at, id limit $4",
        behind.map(|place| place.last_at),
        behind.map(|place| place.id),
        until,
        at_most,
    )
    .fetch_all(connection)
    .await
}

/// Deletes those of these rows that are as old as they were, and that a newer one of the same user has made obsolete.
pub async fn delete_superseded(connection: &mut PgConnection, ids: &[i64], before: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from log_ins as old where id = any($1) and last_at <= $2
         and exists (select from log_ins as newer
                     where newer.user_id = old.user_id and (newer.last_at, newer.id) > (old.last_at, old.id))",
        ids,
        before,
    )
    .execute(connection)
    .await
    .map(drop)
}
