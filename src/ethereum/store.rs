//! SQL for `wallets` and `wallet_nonces`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Purpose, Wallet, WalletAddress};
use crate::users::UserId;

/// `select … from wallets` with every column of a [`Wallet`], and the rest of the statement behind it.
macro_rules! select_wallet {
    ($rest:tt, $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            Wallet,
            r#"select address as "address: WalletAddress", user_id as "user: UserId", linked_at, enabled_at, created_at
               from wallets "#
                + $rest,
            $($argument),*
        )
    };
}

pub async fn find(connection: &mut PgConnection, address: WalletAddress) -> sqlx::Result<Option<Wallet>> {
    select_wallet!("where address = $1", address as WalletAddress).fetch_optional(connection).await
}

/// The addresses of a user, oldest first.
pub async fn list(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<Wallet>> {
    select_wallet!("where user_id = $1 order by created_at, address", user.0).fetch_all(connection).await
}

/// Addresses of everybody, in their order, behind `after`.
pub async fn list_after(
    connection: &mut PgConnection,
    after: Option<WalletAddress>,
    at_most: i64,
) -> sqlx::Result<Vec<Wallet>> {
    select_wallet!(
        "where $1::bytea is null or address > $1 order by address limit $2",
        after as Option<WalletAddress>,
        at_most,
    )
    .fetch_all(connection)
    .await
}

pub async fn insert(connection: &mut PgConnection, wallet: &Wallet) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into wallets (address, user_id, linked_at, enabled_at, created_at) values ($1, $2, $3, $4, $5)",
        wallet.address as WalletAddress,
        wallet.user.0,
        wallet.linked_at,
        wallet.enabled_at,
        wallet.created_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn update(connection: &mut PgConnection, wallet: &Wallet) -> sqlx::Result<()> {
    sqlx::query!(
        "update wallets set linked_at = $3, enabled_at = $4 where address = $1 and user_id = $2",
        wallet.address as WalletAddress,
        wallet.user.0,
        wallet.linked_at,
        wallet.enabled_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn delete(connection: &mut PgConnection, user: UserId, address: WalletAddress) -> sqlx::Result<()> {
    sqlx::query!("delete from wallets where user_id = $1 and address = $2", user.0, address as WalletAddress)
        .execute(connection)
        .await
        .map(drop)
}

/// The nonces of this user, address and purpose that were made after `since`, the newest first: one, or it and the one before.
pub async fn list_nonces(
    connection: &mut PgConnection,
    user: UserId,
    address: WalletAddress,
    purpose: Purpose,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select candidate.nonce as "nonce!" from wallet_nonces,
                  lateral (values (nonce, created_at), (previous_nonce, previous_created_at)) as candidate (nonce, made_at)
           where user_id = $1 and address = $2 and purpose = $3 and made_at > $4 order by made_at desc"#,
        user.0,
        address as WalletAddress,
        purpose as Purpose,
        since,
    )
    .fetch_all(connection)
    .await
}

/// `insert into wallet_nonces …` of the rows that a statement selects. Where there is one already that was made after `$4`, that stays and
/// is answered: who asks at the same moment as somebody else gets the same. An older one becomes the one before.
macro_rules! insert_nonce {
    ($selected:tt, $($argument:expr),* $(,)?) => {
        sqlx::query_scalar!(
            "insert into wallet_nonces as old (user_id, address, purpose, nonce, created_at) "
                + $selected
                + " on conflict on constraint wallet_nonces_pkey do update
                    set previous_nonce = case when old.created_at > $4 then old.previous_nonce else old.nonce end,
                        previous_created_at = case when old.created_at > $4 then old.previous_created_at else old.created_at end,
                        nonce = case when old.created_at > $4 then old.nonce else excluded.nonce end,
                        created_at = case when old.created_at > $4 then old.created_at else excluded.created_at end
                    returning nonce",
            $($argument),*
        )
    };
}

/// A nonce to sign in with an address; `None` when that is not enabled, for which whoever disables it is waited for.
pub async fn insert_sign_in_nonce(
    connection: &mut PgConnection,
    address: WalletAddress,
    nonce: &str,
    now: DateTime<Utc>,
    since: DateTime<Utc>,
) -> sqlx::Result<Option<String>> {
    insert_nonce!(
        "select user_id, address, 'sign_in', $2, $3 from wallets where address = $1 and enabled_at is not null for share",
        address as WalletAddress,
        nonce,
        now,
        since,
    )
    .fetch_optional(connection)
    .await
}

/// A nonce to link an address to this user.
pub async fn insert_link_nonce(
    connection: &mut PgConnection,
    user: UserId,
    address: WalletAddress,
    nonce: &str,
    now: DateTime<Utc>,
    since: DateTime<Utc>,
) -> sqlx::Result<String> {
    insert_nonce!("values ($5, $1, 'link', $2, $3)", address as WalletAddress, nonce, now, since, user.0,)
        .fetch_one(connection)
        .await
}

/// Uses a nonce up that was made after `since`, and leaves the other one if that lives; `false` when somebody else did, or it is not one
/// of them. Under the lock of the user's row, so there is one winner.
pub async fn use_nonce(
    connection: &mut PgConnection,
    user: UserId,
    address: WalletAddress,
    purpose: Purpose,
    nonce: &str,
    since: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let only = sqlx::query!(
        "delete from wallet_nonces
         where user_id = $1 and address = $2 and purpose = $3
           and nonce = $4 and created_at > $5 and (previous_nonce is null or previous_created_at <= $5)",
        user.0,
        address as WalletAddress,
        purpose as Purpose,
        nonce,
        since,
    );
    if only.execute(&mut *connection).await?.rows_affected() == 1 {
        return Ok(true);
    }
    let one_of_two = sqlx::query!(
        "update wallet_nonces
         set nonce = case when nonce = $4 then previous_nonce else nonce end,
             created_at = case when nonce = $4 then previous_created_at else created_at end,
             previous_nonce = null, previous_created_at = null
         where user_id = $1 and address = $2 and purpose = $3
           and ((nonce = $4 and created_at > $5) or (previous_nonce = $4 and previous_created_at > $5))",
        user.0,
        address as WalletAddress,
        purpose as Purpose,
        nonce,
        since,
    );
    Ok(one_of_two.execute(connection).await?.rows_affected() == 1)
}

/// Ends the nonces of an address.
pub async fn delete_nonces(connection: &mut PgConnection, user: UserId, address: WalletAddress) -> sqlx::Result<()> {
    sqlx::query!("delete from wallet_nonces where user_id = $1 and address = $2", user.0, address as WalletAddress)
        .execute(connection)
        .await
        .map(drop)
}

/// Ends all nonces of a user and purpose but that of this address and the newest `keep` others.
pub async fn delete_surplus_nonces(
    connection: &mut PgConnection,
    user: UserId,
    address: WalletAddress,
    purpose: Purpose,
    keep: i64,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from wallet_nonces where user_id = $1 and purpose = $3 and address in (
             select address from wallet_nonces where user_id = $1 and address <> $2 and purpose = $3
             order by created_at desc, address offset $4)",
        user.0,
        address as WalletAddress,
        purpose as Purpose,
        keep,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn delete_expired_nonces(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
    at_most: i64,
) -> sqlx::Result<u64> {
    sqlx::query!(
        "delete from wallet_nonces where (user_id, address, purpose) in (
             select user_id, address, purpose from wallet_nonces where created_at <= $1 limit $2)",
        before,
        at_most,
    )
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}
