//! SQL for `outbox`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::SentMail;
use crate::users::UserId;

pub struct NewMail<'a> {
    pub id: Uuid,
    pub user_id: UserId,
    pub template: &'static str,
    pub recipient: &'a str,
    pub sealed_variables: Vec<u8>,
}

pub struct DueMail {
    pub id: Uuid,
    pub recipient: String,
    pub sealed_variables: Option<Vec<u8>>,
    pub created_at: DateTime<Utc>,
    pub attempts: i32,
}

pub async fn insert(connection: &mut PgConnection, mail: &NewMail<'_>, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into outbox (id, user_id, template, recipient, sealed_variables, created_at, next_attempt_at)
         values ($1, $2, $3, $4, $5, $6, $6)",
        mail.id,
        mail.user_id.0,
        mail.template,
        mail.recipient,
        mail.sealed_variables,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Makes everybody who mails this kind to this recipient wait until this transaction ends.
pub async fn lock_recipient(connection: &mut PgConnection, recipient: &str, template: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended('mail:' || $2 || ':' || lower($1), 0))",
        recipient,
        template
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Mails of a template that a recipient got after `since`, in whatever case the address was written.
pub async fn count_since(
    connection: &mut PgConnection,
    recipient: &str,
    template: &str,
    since: DateTime<Utc>,
) -> sqlx::Result<usize> {
    let mails = sqlx::query_scalar!(
        r#"select count(*) as "mails!" from outbox where lower(recipient) = lower($1) and template = $2 and created_at > $3"#,
        recipient,
        template,
        since,
    )
    .fetch_one(connection)
    .await?;
    Ok(usize::try_from(mails).unwrap_or(usize::MAX))
}

/// Whether the user got a mail of this template after `since`.
pub async fn find_since(
    connection: &mut PgConnection,
    user: UserId,
    template: &str,
    since: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from outbox where user_id = $1 and template = $2 and created_at > $3) as "found!""#,
        user.0,
        template,
        since,
    )
    .fetch_one(connection)
    .await
}

/// The mails of a user that are kept, oldest first.
pub async fn list(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<SentMail>> {
    sqlx::query_as!(
        SentMail,
        "select template, recipient, created_at, sent_at, failed_at from outbox where user_id = $1 order by id",
        user.0,
    )
    .fetch_all(connection)
    .await
}

/// Takes the mail that is due longest, and with it the sole right to send it until `lease_end`.
pub async fn mark_taken(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    lease_end: DateTime<Utc>,
) -> sqlx::Result<Option<DueMail>> {
    sqlx::query_as!(
        DueMail,
        "update outbox set attempts = attempts + 1, next_attempt_at = $2
         where id = (select id from outbox where next_attempt_at <= $1
                     order by next_attempt_at limit 1 for update skip locked)
         returning id, recipient, sealed_variables, created_at, attempts",
        now,
        lease_end,
    )
    .fetch_optional(connection)
    .await
}

pub async fn mark_sent(connection: &mut PgConnection, id: Uuid, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "update outbox set sent_at = $2, next_attempt_at = null, sealed_variables = null, last_error = null
         where id = $1",
        id,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn mark_retry(connection: &mut PgConnection, id: Uuid, at: DateTime<Utc>, error: &str) -> sqlx::Result<()> {
    sqlx::query!("update outbox set next_attempt_at = $2, last_error = $3 where id = $1", id, at, error)
        .execute(connection)
        .await
        .map(drop)
}

pub async fn mark_failed(connection: &mut PgConnection, id: Uuid, now: DateTime<Utc>, error: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "update outbox set failed_at = $2, next_attempt_at = null, sealed_variables = null, last_error = $3
         where id = $1",
        id,
        now,
        error,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn delete_done(connection: &mut PgConnection, before: DateTime<Utc>, at_most: i64) -> sqlx::Result<u64> {
    sqlx::query!(
        "delete from outbox where id in (
             select id from outbox where next_attempt_at is null and created_at < $1 limit $2)",
        before,
        at_most,
    )
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}
