//! SQL for `outbox`, `mail_counts` and `mail_certificates`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{SentMail, Unsent};
use crate::users::UserId;

pub struct NewMail<'a> {
    pub id: Uuid,
    pub user_id: Option<UserId>,
    pub template: &'static str,
    pub recipient: &'a str,
    pub sealed_variables: Vec<u8>,
}

pub struct DueMail {
    pub id: Uuid,
    pub user_id: Option<Uuid>,
    pub recipient: String,
    pub sealed_variables: Option<Vec<u8>>,
    pub created_at: DateTime<Utc>,
    pub attempts: i32,
}

/// A mail as operators see it: nothing of what it says.
pub struct MailRow {
    pub id: Uuid,
    pub recipient: String,
    pub template: String,
    pub attempts: i32,
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub taken_until: Option<DateTime<Utc>>,
    pub sent_at: Option<DateTime<Utc>>,
    pub failed_at: Option<DateTime<Utc>>,
    pub last_error: Option<String>,
}

pub async fn insert(connection: &mut PgConnection, mail: &NewMail<'_>, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into outbox (id, user_id, template, recipient, sealed_variables, created_at, next_attempt_at)
         values ($1, $2, $3, $4, $5, $6, $6)",
        mail.id,
        mail.user_id.map(|user| user.0),
        mail.template,
        mail.recipient,
        mail.sealed_variables,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Makes everybody who counts against these caps wait until this transaction ends.
pub async fn lock_counted(connection: &mut PgConnection, digest: &[u8; 32]) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('mail:' || encode($1, 'hex'), 0))", digest)
        .execute(connection)
        .await
        .map(drop)
}

/// When these caps were counted against after `since`; the newest, as many as any cap allows.
pub async fn list_counted(
    connection: &mut PgConnection,
    digest: &[u8; 32],
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "select counted_at from mail_counts where digest = $1 and counted_at > $2 order by counted_at desc limit 20",
        digest,
        since,
    )
    .fetch_all(connection)
    .await
}

pub async fn insert_counted(
    connection: &mut PgConnection,
    id: Uuid,
    digest: &[u8; 32],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!("insert into mail_counts (id, digest, counted_at) values ($1, $2, $3)", id, digest, now)
        .execute(connection)
        .await
        .map(drop)
}

pub async fn delete_counted(connection: &mut PgConnection, before: DateTime<Utc>, at_most: i64) -> sqlx::Result<u64> {
    sqlx::query!(
        "delete from mail_counts where id in (select id from mail_counts where counted_at <= $1 limit $2)",
        before,
        at_most,
    )
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}

/// The mails of a user that are kept, oldest first, but those that ask whether an address can be had.
pub async fn list(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<SentMail>> {
    sqlx::query_as!(
        SentMail,
        "select template, recipient, created_at, sent_at, failed_at from outbox
         where user_id = $1 and template <> 'email_change' order by id",
        user.0,
    )
    .fetch_all(connection)
    .await
}

/// Takes the mail that is due longest and not one of `but`, and with it the sole right to send it until `lease_end`.
pub async fn mark_taken(
    connection: &mut PgConnection,
    but: &[Uuid],
    now: DateTime<Utc>,
    lease_end: DateTime<Utc>,
) -> sqlx::Result<Option<DueMail>> {
    sqlx::query_as!(
        DueMail,
        "update outbox set attempts = attempts + 1, next_attempt_at = $2, taken_until = $2
         where id = (select id from outbox where next_attempt_at <= $1 and id <> all ($3)
                     order by next_attempt_at limit 1 for update skip locked)
         returning id, user_id, recipient, sealed_variables, created_at, attempts",
        now,
        lease_end,
        but,
    )
    .fetch_optional(connection)
    .await
}

/// Makes what still waits for this user nobody's, but not mails of these templates.
pub async fn update_ownerless(connection: &mut PgConnection, user: UserId, but: &[String]) -> sqlx::Result<()> {
    sqlx::query!(
        "update outbox set user_id = null
         where user_id = $1 and next_attempt_at is not null and template <> all ($2)",
        user.0,
        but,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub struct Waiting {
    pub mails: i64,
    /// When the oldest was queued.
    pub oldest: Option<DateTime<Utc>>,
    /// When the one that is due first is due.
    pub due: Option<DateTime<Utc>>,
}

/// What waits; the 10000 mails due first, so that a flood of mails does not make looking at it slow.
pub async fn list_waiting(connection: &mut PgConnection) -> sqlx::Result<Waiting> {
    sqlx::query_as!(
        Waiting,
        r#"select count(*) as "mails!", min(created_at) as oldest, min(next_attempt_at) as due
           from (select created_at, next_attempt_at from outbox
                 where next_attempt_at is not null order by next_attempt_at limit 10000) as first"#,
    )
    .fetch_one(connection)
    .await
}

/// Keeps that a mail was sent, whoever else holds it by now. Of a mail that is no user's nothing is kept.
pub async fn mark_sent(connection: &mut PgConnection, id: Uuid, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "with gone as (delete from outbox where id = $1 and user_id is null)
         update outbox set sent_at = $2, next_attempt_at = null, taken_until = null, sealed_variables = null,
                           last_error = null
         where id = $1 and user_id is not null",
        id,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Lets a mail wait until `at`, if nobody took or sent it since `attempt`.
pub async fn mark_retry(
    connection: &mut PgConnection,
    id: Uuid,
    attempt: i32,
    at: DateTime<Utc>,
    error: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update outbox set next_attempt_at = $3, taken_until = null, last_error = $4
         where id = $1 and attempts = $2 and sent_at is null",
        id,
        attempt,
        at,
        error,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Gives a mail up, if nobody took or sent it since `attempt`. Its variables stay for [`mark_due`], until the row is swept.
pub async fn mark_failed(
    connection: &mut PgConnection,
    id: Uuid,
    attempt: i32,
    now: DateTime<Utc>,
    error: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update outbox set failed_at = $3, next_attempt_at = null, taken_until = null, last_error = $4
         where id = $1 and attempts = $2 and sent_at is null",
        id,
        attempt,
        now,
        error,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Mails with an id after `after`, oldest first; of all mails, or of those in the states asked for.
pub async fn list_queued(
    connection: &mut PgConnection,
    after: Option<Uuid>,
    only: Option<Unsent>,
    at_most: i64,
) -> sqlx::Result<Vec<MailRow>> {
    sqlx::query_as!(
        MailRow,
        "select id, recipient, template, attempts, next_attempt_at, taken_until, sent_at, failed_at, last_error
         from outbox
         where ($1::uuid is null or id > $1)
           and (not $2 or failed_at is not null)
           and (not $3 or (failed_at is null and sent_at is null))
         order by id limit $4",
        after,
        only == Some(Unsent::Failed),
        only == Some(Unsent::Waiting),
        at_most,
    )
    .fetch_all(connection)
    .await
}

/// Makes these mails due, as if they had never been tried; not those that were sent, that a courier holds, or whose
/// variables are gone. Returns the ids of those it did that to.
pub async fn mark_due(connection: &mut PgConnection, ids: &[Uuid], now: DateTime<Utc>) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "update outbox set next_attempt_at = $2, taken_until = null, attempts = 0, failed_at = null
         where id = any($1) and sent_at is null and sealed_variables is not null
           and (taken_until is null or taken_until <= $2)
         returning id",
        ids,
        now,
    )
    .fetch_all(connection)
    .await
}

/// The same for mails that were given up until `before`. Returns how many.
pub async fn mark_failed_due(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
    at_most: i64,
) -> sqlx::Result<u64> {
    sqlx::query!(
        "update outbox set next_attempt_at = $2, attempts = 0, failed_at = null
         where id in (select id from outbox where failed_at <= $1 and sealed_variables is not null
                      order by id limit $3 for update skip locked)",
        before,
        now,
        at_most,
    )
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}

pub async fn delete_done(connection: &mut PgConnection, before: DateTime<Utc>, at_most: i64) -> sqlx::Result<u64> {
    sqlx::query!(
        "delete from outbox where id in (
             select id from outbox
             where next_attempt_at is null and coalesce(sent_at, failed_at) < $1 limit $2)",
        before,
        at_most,
    )
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}

pub async fn insert_certificate(
    connection: &mut PgConnection,
    user: UserId,
    fingerprint: &str,
    certificate: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into mail_certificates (user_id, fingerprint, certificate) values ($1, $2, $3)
         on conflict on constraint mail_certificates_pkey do update set certificate = excluded.certificate",
        user.0,
        fingerprint,
        certificate,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The keys to which mails of a user are encrypted, in ASCII armor.
pub async fn list_certificates(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!("select certificate from mail_certificates where user_id = $1 order by fingerprint", user.0)
        .fetch_all(connection)
        .await
}

pub async fn delete_certificate(connection: &mut PgConnection, user: UserId, fingerprint: &str) -> sqlx::Result<()> {
    sqlx::query!("delete from mail_certificates where user_id = $1 and fingerprint = $2", user.0, fingerprint)
        .execute(connection)
        .await
        .map(drop)
}
