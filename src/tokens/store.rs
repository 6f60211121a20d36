//! SQL for `account_tokens` and `revoked_tokens`.

use chrono::{DateTime, Utc};
use ipnetwork::IpNetwork;
use sqlx::PgConnection;
use uuid::Uuid;

use super::AccountToken;
use crate::origin::Origin;
use crate::users::UserId;

pub struct NewAccountToken<'a> {
    pub id: Uuid,
    pub user_id: UserId,
    pub token_version: i64,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub origin: &'a Origin,
    pub session: Option<Uuid>,
    pub application_key: Option<&'a str>,
    pub address: Option<&'a str>,
}

/// `false` when there is no such user any more, whose row is locked first: a new token changes it.
pub async fn insert(connection: &mut PgConnection, token: &NewAccountToken<'_>) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into account_tokens (id, user_id, token_version, created_at, expires_at, ip, user_agent, audience, session,
                                     application_key, address)
         select $1, id, $3, $4, $5, $6, $7, case when $8::uuid is null then 'accounts' else 'qb2' end, $8, $9, $10
         from users where id = $2 for no key update",
        token.id,
        token.user_id.0,
        token.token_version,
        token.created_at,
        token.expires_at,
        token.origin.address.map(IpNetwork::from) as Option<IpNetwork>,
        token.origin.agent,
        token.session,
        token.application_key,
        token.address,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

struct TokenRow {
    id: Uuid,
    user_id: Uuid,
    token_version: i64,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
    ip: Option<IpNetwork>,
    user_agent: Option<String>,
    session: Option<Uuid>,
    application_key: Option<String>,
    address: Option<String>,
}

impl From<TokenRow> for AccountToken {
    fn from(row: TokenRow) -> Self {
        Self {
            id: row.id,
            user: UserId(row.user_id),
            version: row.token_version,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            origin: Origin { address: row.ip.map(|network| network.ip()), agent: row.user_agent },
            session: row.session,
            application_key: row.application_key,
            address: row.address,
        }
    }
}

/// A token that was not revoked.
pub async fn find(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<AccountToken>> {
    let row = sqlx::query_as!(
        TokenRow,
        "select id, user_id, token_version, created_at, expires_at, last_used_at, ip, user_agent, session, application_key,
                address
         from account_tokens where id = $1",
        id,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(AccountToken::from))
}

/// The tokens of a user that are alive, newest first.
pub async fn list(
    connection: &mut PgConnection,
    user: UserId,
    token_version: i64,
    now: DateTime<Utc>,
    at_most: i64,
) -> sqlx::Result<Vec<AccountToken>> {
    let rows = sqlx::query_as!(
        TokenRow,
        "select id, user_id, token_version, created_at, expires_at, last_used_at, ip, user_agent, session, application_key,
                address
         from account_tokens
         where user_id = $1 and token_version = $2 and expires_at > $3
         order by created_at desc, id limit $4",
        user.0,
        token_version,
        now,
        at_most,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(AccountToken::from).collect())
}

/// Notes when tokens were last used; a column each. Rows that somebody else is changing (or deleting) keep the older time:
/// it is not worth a deadlock.
pub async fn update_last_uses(
    connection: &mut PgConnection,
    ids: &[Uuid],
    instants: &[DateTime<Utc>],
) -> sqlx::Result<()> {
    sqlx::query!(
        "update account_tokens set last_used_at = greatest(last_used_at, used.at)
         from unnest($1::uuid[], $2::timestamptz[]) as used (id, at)
         where account_tokens.id = used.id and account_tokens.id in (
             select id from account_tokens where id = any($1) order by id for no key update skip locked)",
        ids,
        instants,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn update_version(connection: &mut PgConnection, id: Uuid, token_version: i64) -> sqlx::Result<()> {
    sqlx::query!("update account_tokens set token_version = $2 where id = $1", id, token_version)
        .execute(connection)
        .await
        .map(drop)
}

/// Locks the row of the owner, which the end of a token changes: before the tokens, as who changes a password does.
pub async fn lock_owner(connection: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    sqlx::query!("select from users where id = $1 for no key update", user.0).execute(connection).await.map(drop)
}

/// Makes what is remembered of the owner of a token outdated, where no row of the token can.
pub async fn mark_owner_changed(connection: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    // Any update of a user draws a new version (`migrations/0027_users_version_drawn.sql`).
    sqlx::query!("update users set version = version where id = $1", user.0).execute(connection).await.map(drop)
}

/// Deletes a token of this user; `false` when there was none.
pub async fn delete(connection: &mut PgConnection, user: UserId, id: Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query!("delete from account_tokens where user_id = $1 and id = $2", user.0, id)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes all tokens of a user but the one to keep.
pub async fn delete_others(connection: &mut PgConnection, user: UserId, keep: Option<Uuid>) -> sqlx::Result<()> {
    sqlx::query!("delete from account_tokens where user_id = $1 and id is distinct from $2", user.0, keep)
        .execute(connection)
        .await
        .map(drop)
}

/// Deletes tokens whose time is over, of owners whose row nobody else is changing: it is locked first, and waits for nobody.
pub async fn delete_expired(connection: &mut PgConnection, now: DateTime<Utc>, at_most: i64) -> sqlx::Result<u64> {
    sqlx::query!(
        "with expired as (
             select id, user_id from account_tokens where expires_at <= $1 limit $2
         ), owners as (
             select id from users where id in (select user_id from expired) for no key update skip locked
         )
         delete from account_tokens using expired, owners
         where account_tokens.id = expired.id and expired.user_id = owners.id",
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

pub async fn delete_of_address(connection: &mut PgConnection, user: UserId, address: &str) -> sqlx::Result<()> {
    sqlx::query!("delete from account_tokens where user_id = $1 and address = $2", user.0, address)
        .execute(connection)
        .await
        .map(drop)
}
