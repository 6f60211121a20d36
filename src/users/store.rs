//! SQL for `users`.

use chrono::{DateTime, Utc};
use ipnetwork::IpNetwork;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::password::PasswordHash;
use super::{
    AccessLevel, BillingAddress, BlockCause, EntityType, Notifications, Place, Search, SearchText, State, User, UserId,
};

/// `select … from users` with every column of a [`User`], and the rest of the statement behind it: a text, or `[…]` of several.
macro_rules! select_user {
    ([$($rest:tt)+] $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            UserRow,
            r#"select id as "id: UserId", email, email_canonical, email_held, email_verified_at, signed_up_from,
                      login_name, display_name, entity_type as "entity_type: EntityType",
                      billing_address as "billing_address: Json<BillingAddress>",
                      notifications as "notifications: Json<Notifications>", password_hash,
                      activation_expires_at, activated_at, block_cause as "block_cause: BlockCause",
                      failed_login_attempts, access_level as "access_level: AccessLevel", read_only,
                      token_version, version, created_at, updated_at
               from users "# $(+ $rest)+
            $(, $argument)*
        )
    };
    ($rest:tt $(, $argument:expr)* $(,)?) => {
        select_user!([$rest] $(, $argument)*)
    };
}

/// [`select_user`] of those who pass a [`Search`], the rest of the condition, and the order.
macro_rules! select_found {
    ($search:ident, $rest:tt, $place:expr, $at_most:expr) => {
        select_user!(
            ["where ($1::text is null or email ~ $1 or login_name ~ $1 or display_name ~ $1 or 'user-' || id ~ $1)
                and ($2::text is null or access_level = $2)
                and ($3::boolean is null or read_only = $3)
                and ($4::text is null or $4 = case
                        when blocked_at is not null then 'blocked'
                        when activation_expires_at is not null or (email is not null and email_verified_at is null)
                            then 'waiting_for_activation'
                        else 'active'
                    end)
                and " $rest " limit $7"],
            $search.text.as_ref().map(SearchText::pattern),
            $search.level as Option<AccessLevel>,
            $search.read_only,
            $search.state as Option<State>,
            $place.created_at,
            $place.id.0,
            $at_most,
        )
    };
}

/// A row as the macros see it.
struct UserRow {
    id: UserId,
    email: Option<String>,
    email_canonical: Option<String>,
    email_held: bool,
    email_verified_at: Option<DateTime<Utc>>,
    signed_up_from: Option<IpNetwork>,
    login_name: Option<String>,
    display_name: Option<String>,
    entity_type: EntityType,
    billing_address: Option<Json<BillingAddress>>,
    notifications: Json<Notifications>,
    password_hash: String,
    activation_expires_at: Option<DateTime<Utc>>,
    activated_at: Option<DateTime<Utc>>,
    block_cause: Option<BlockCause>,
    failed_login_attempts: i32,
    access_level: AccessLevel,
    read_only: bool,
    token_version: i64,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            id: row.id,
            email: row.email,
            email_canonical: row.email_canonical,
            email_held: row.email_held,
            email_verified_at: row.email_verified_at,
            signed_up_from: row.signed_up_from.map(|network| network.ip()),
            login_name: row.login_name,
            display_name: row.display_name,
            entity_type: row.entity_type,
            billing_address: row.billing_address.map(|address| address.0),
            notifications: row.notifications.0,
            password_hash: row.password_hash.into(),
            activation_expires_at: row.activation_expires_at,
            activated_at: row.activated_at,
            block_cause: row.block_cause,
            failed_login_attempts: row.failed_login_attempts,
            access_level: row.access_level,
            read_only: row.read_only,
            token_version: row.token_version,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

pub async fn insert(connection: &mut PgConnection, user: &User) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into users (id, email, email_canonical, email_held, signed_up_from, login_name, display_name,
                            entity_type, billing_address, password_hash, activation_expires_at, activated_at,
                            access_level, read_only, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        user.id.0,
        user.email,
        user.email_canonical,
        user.email_held,
        user.signed_up_from.map(IpNetwork::from) as Option<IpNetwork>,
        user.login_name,
        user.display_name,
        user.entity_type as EntityType,
        user.billing_address.clone().map(Json) as Option<Json<BillingAddress>>,
        user.password_hash.as_str(),
        user.activation_expires_at,
        user.activated_at,
        user.access_level as AccessLevel,
        user.read_only,
        user.created_at,
        user.updated_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn find(connection: &mut PgConnection, id: UserId) -> sqlx::Result<Option<User>> {
    Ok(select_user!("where id = $1", id.0).fetch_optional(connection).await?.map(User::from))
}

/// The user, and nobody else changes it before this transaction ends.
pub async fn find_for_update(connection: &mut PgConnection, id: UserId) -> sqlx::Result<Option<User>> {
    Ok(select_user!("where id = $1 for no key update", id.0).fetch_optional(connection).await?.map(User::from))
}

/// The user, who is not deleted before this transaction ends. Others may change the row: two who want each other's address
/// do not wait for each other.
pub async fn find_staying(connection: &mut PgConnection, id: UserId) -> sqlx::Result<Option<User>> {
    Ok(select_user!("where id = $1 for key share", id.0).fetch_optional(connection).await?.map(User::from))
}

/// The user who holds an e-mail.
pub async fn find_holder(connection: &mut PgConnection, email_canonical: &str) -> sqlx::Result<Option<User>> {
    let found = select_user!("where email_canonical = $1 and email_held", email_canonical);
    Ok(found.fetch_optional(connection).await?.map(User::from))
}

/// The user whom an e-mail names: its holder, else the newest sign-up with it.
pub async fn find_by_email(connection: &mut PgConnection, email_canonical: &str) -> sqlx::Result<Option<User>> {
    let found = select_user!(
        "where email_canonical = $1 order by email_held desc, created_at desc, id limit 1",
        email_canonical
    );
    Ok(found.fetch_optional(connection).await?.map(User::from))
}

/// Two of the sign-ups that claim an e-mail which nobody holds, as far as they live.
pub async fn list_claimants(
    connection: &mut PgConnection,
    email_canonical: &str,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<User>> {
    let found = select_user!(
        "where email_canonical = $1 and (created_at > $2 or blocked_at is not null or activation_expires_at is not null) limit 2",
        email_canonical,
        since,
    );
    Ok(found.fetch_all(connection).await?.into_iter().map(User::from).collect())
}

pub async fn find_by_login_name(connection: &mut PgConnection, name: &str) -> sqlx::Result<Option<User>> {
    Ok(select_user!("where lower(login_name) = lower($1)", name).fetch_optional(connection).await?.map(User::from))
}

/// The users who pass, oldest first, `at_most`, from this place on.
pub async fn list_after(
    connection: &mut PgConnection,
    search: &Search,
    place: Place,
    at_most: i64,
) -> sqlx::Result<Vec<User>> {
    let rows = select_found!(search, "(created_at, id) > ($5, $6) order by created_at, id", place, at_most);
    Ok(rows.fetch_all(connection).await?.into_iter().map(User::from).collect())
}

/// The users who pass, newest first, `at_most`, back from this place.
pub async fn list_before(
    connection: &mut PgConnection,
    search: &Search,
    place: Place,
    at_most: i64,
) -> sqlx::Result<Vec<User>> {
    let rows = select_found!(search, "(created_at, id) < ($5, $6) order by created_at desc, id desc", place, at_most);
    Ok(rows.fetch_all(connection).await?.into_iter().map(User::from).collect())
}

/// Makes everybody who decides about this e-mail wait until this transaction ends.
///
/// Proving an address deletes its other claimants; two of them at once would each hold a row that the other deletes.
pub async fn lock_email(connection: &mut PgConnection, email_canonical: &str) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('email:' || $1, 0))", email_canonical)
        .execute(connection)
        .await
        .map(drop)
}

/// Makes everybody who might take away the last administrator wait until this transaction ends.
pub async fn lock_admins(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('administrators', 0))")
        .execute(connection)
        .await
        .map(drop)
}

/// Whether there is an active administrator with full rights besides this user.
pub async fn find_other_active_admin(connection: &mut PgConnection, id: UserId) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
               select from users
               where access_level = 'admin' and id <> $1 and not read_only and blocked_at is null
                 and activation_expires_at is null and (email is null or email_verified_at is not null)
           ) as "found!""#,
        id.0,
    )
    .fetch_one(connection)
    .await
}

/// Whether there is an administrator with full rights, in whatever state.
pub async fn find_any_full_admin(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from users where access_level = 'admin' and not read_only) as "found!""#
    )
    .fetch_one(connection)
    .await
}

pub async fn mark_email_verified(connection: &mut PgConnection, id: UserId, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "update users set email_held = true, email_verified_at = $2, signed_up_from = null, updated_at = $2
         where id = $1",
        id.0,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Deletes the unproved sign-ups that claimed an address which now belongs to `winner`. Returns who they were.
pub async fn delete_other_claimants(
    connection: &mut PgConnection,
    winner: UserId,
    email_canonical: &str,
) -> sqlx::Result<Vec<UserId>> {
    sqlx::query_scalar!(
        r#"delete from users where email_canonical = $2 and id <> $1 and not email_held
           and blocked_at is null and activation_expires_at is null
           returning id as "id: UserId""#,
        winner.0,
        email_canonical,
    )
    .fetch_all(connection)
    .await
}

/// Deletes sign-ups made before `before` that nobody proved. Returns who they were.
pub async fn delete_unproved(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
    at_most: i64,
) -> sqlx::Result<Vec<UserId>> {
    sqlx::query_scalar!(
        r#"delete from users where id in (
             select id from users
             where email_canonical is not null and not email_held and created_at <= $1
               and blocked_at is null and activation_expires_at is null
             limit $2 for update skip locked)
         returning id as "id: UserId""#,
        before,
        at_most,
    )
    .fetch_all(connection)
    .await
}

/// Writes what the user says about himself.
pub async fn update_profile(connection: &mut PgConnection, user: &User) -> sqlx::Result<()> {
    sqlx::query!(
        "update users
         set display_name = $2, entity_type = $3, billing_address = $4, notifications = $5, updated_at = $6
         where id = $1",
        user.id.0,
        user.display_name,
        user.entity_type as EntityType,
        user.billing_address.clone().map(Json) as Option<Json<BillingAddress>>,
        Json(user.notifications) as Json<Notifications>,
        user.updated_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Gives a user another e-mail, which was just proved.
pub async fn update_email(
    connection: &mut PgConnection,
    id: UserId,
    given: &str,
    canonical: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update users
         set email = $2, email_canonical = $3, email_held = true, email_verified_at = $4, signed_up_from = null,
             updated_at = $4
         where id = $1",
        id.0,
        given,
        canonical,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Deletes a user and, by the constraints of their tables, all that belongs to the user but the events.
pub async fn delete(connection: &mut PgConnection, id: UserId) -> sqlx::Result<()> {
    sqlx::query!("delete from users where id = $1", id.0).execute(connection).await.map(drop)
}

/// Sets a password, if nobody else did since the row had this token version; answers the new one.
pub async fn update_password(
    connection: &mut PgConnection,
    id: UserId,
    token_version: i64,
    new: &PasswordHash,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "update users
         set password_hash = $3, activation_expires_at = null, activated_at = coalesce(activated_at, $4),
             failed_login_attempts = 0, token_version = token_version + 1, updated_at = $4
         where id = $1 and token_version = $2
         returning token_version",
        id.0,
        token_version,
        new.as_str(),
        now,
    )
    .fetch_optional(connection)
    .await
}

/// Replaces a hash by a stronger one of the same password; nothing that the user can see changes.
pub async fn update_hash(
    connection: &mut PgConnection,
    id: UserId,
    old: &PasswordHash,
    new: &PasswordHash,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update users set password_hash = $3 where id = $1 and password_hash = $2",
        id.0,
        old.as_str(),
        new.as_str(),
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Writes what administrators say about the user.
pub async fn update_account(connection: &mut PgConnection, user: &User) -> sqlx::Result<()> {
    sqlx::query!(
        "update users
         set login_name = $2, access_level = $3, read_only = $4, failed_login_attempts = $5, block_cause = $6,
             blocked_at = case when $6::text is not null then coalesce(blocked_at, $7) end, updated_at = $7
         where id = $1",
        user.id.0,
        user.login_name,
        user.access_level as AccessLevel,
        user.read_only,
        user.failed_login_attempts,
        user.block_cause as Option<BlockCause>,
        user.updated_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Puts an activation password in the place of whatever opened the account, and lifts a block; answers the new token version.
pub async fn update_activation(
    connection: &mut PgConnection,
    id: UserId,
    activation: &PasswordHash,
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "update users
         set password_hash = $2, activation_expires_at = $3, blocked_at = null, block_cause = null,
             failed_login_attempts = 0, token_version = token_version + 1, updated_at = $4
         where id = $1
         returning token_version",
        id.0,
        activation.as_str(),
        expires_at,
        now,
    )
    .fetch_one(connection)
    .await
}

/// Counts a wrong password, if the right one is still that of this token version; answers how many there are now.
pub async fn mark_failed_login(connection: &mut PgConnection, id: UserId, token_version: i64) -> sqlx::Result<i32> {
    sqlx::query_scalar!(
        "update users set failed_login_attempts = failed_login_attempts + 1 where id = $1 and token_version = $2
         returning failed_login_attempts",
        id.0,
        token_version,
    )
    .fetch_optional(connection)
    .await
    .map(Option::unwrap_or_default)
}

/// Writes nothing, and takes as long to commit as [`mark_failed_login`] does: a message that nobody reads.
pub async fn mark_nothing(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select pg_logical_emit_message(true, 'bloq-accounts', '') is null as nothing")
        .fetch_one(connection)
        .await
        .map(drop)
}

pub async fn mark_successful_login(connection: &mut PgConnection, id: UserId) -> sqlx::Result<()> {
    sqlx::query!("update users set failed_login_attempts = 0 where id = $1 and failed_login_attempts <> 0", id.0)
        .execute(connection)
        .await
        .map(drop)
}

pub async fn mark_blocked(
    connection: &mut PgConnection,
    id: UserId,
    cause: BlockCause,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update users set blocked_at = $3, block_cause = $2, updated_at = $3 where id = $1 and blocked_at is null",
        id.0,
        cause as BlockCause,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}
