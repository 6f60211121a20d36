//! SQL for `user_keys`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Challenge, KeyType, Listed, OpenPgp, UserKey};
use crate::openpgp::Encryption;
use crate::users::UserId;

struct KeyRow {
    user: UserId,
    key_type: KeyType,
    id: String,
    certificate: Option<String>,
    algorithm: Option<String>,
    made_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    user_ids: Option<Vec<String>>,
    encrypts: bool,
    encrypts_until: Option<DateTime<Utc>>,
    challenge: Option<String>,
    challenge_made_at: Option<DateTime<Utc>>,
    verified_at: Option<DateTime<Utc>>,
    published: bool,
    wkd_domain: Option<String>,
    wkd_name: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<KeyRow> for UserKey {
    fn from(row: KeyRow) -> Self {
        let openpgp = || {
            Some(OpenPgp {
                certificate: row.certificate?,
                algorithm: row.algorithm?,
                made_at: row.made_at?,
                expires_at: row.expires_at,
                user_ids: row.user_ids?,
                encryption: match row.encrypts {
                    true => row.encrypts_until.map_or(Encryption::Always, Encryption::Until),
                    false => Encryption::Never,
                },
            })
        };
        Self {
            user: row.user,
            key_type: row.key_type,
            id: row.id,
            openpgp: openpgp(),
            challenge: row.challenge.zip(row.challenge_made_at).map(|(text, made_at)| Challenge { text, made_at }),
            verified_at: row.verified_at,
            published: row.published,
            listed: row.wkd_domain.zip(row.wkd_name).map(|(domain, name)| Listed { domain, name }),
            created_at: row.created_at,
        }
    }
}

/// `select … from user_keys` with every column of a [`KeyRow`], and the rest of the statement behind it.
macro_rules! select_key {
    ($rest:tt, $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            KeyRow,
            r#"select user_id as "user: UserId", type as "key_type: KeyType", id, certificate, algorithm, made_at, expires_at,
                      user_ids, encrypts, encrypts_until, challenge, challenge_made_at, verified_at, published, wkd_domain, wkd_name, created_at
               from user_keys "#
                + $rest,
            $($argument),*
        )
    };
}

pub async fn find(
    connection: &mut PgConnection,
    user: UserId,
    key_type: KeyType,
    id: &str,
) -> sqlx::Result<Option<UserKey>> {
    let found = select_key!("where user_id = $1 and type = $2 and id = $3", user.0, key_type as KeyType, id);
    Ok(found.fetch_optional(connection).await?.map(UserKey::from))
}

/// The key with this id whose ownership was proved, whoever did.
pub async fn find_proved(connection: &mut PgConnection, key_type: KeyType, id: &str) -> sqlx::Result<Option<UserKey>> {
    let found = select_key!("where type = $1 and id = $2 and verified_at is not null", key_type as KeyType, id);
    Ok(found.fetch_optional(connection).await?.map(UserKey::from))
}

/// The published keys at a place of the Web Key Directory, oldest first.
pub async fn list_listed(connection: &mut PgConnection, place: &Listed) -> sqlx::Result<Vec<UserKey>> {
    let found = select_key!(
        "where published and wkd_domain = $1 and wkd_name = $2 order by created_at, id limit 20",
        place.domain,
        place.name,
    );
    Ok(found.fetch_all(connection).await?.into_iter().map(UserKey::from).collect())
}

/// The keys of a user, oldest first.
pub async fn list(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<UserKey>> {
    let found = select_key!("where user_id = $1 order by created_at, type, id", user.0);
    Ok(found.fetch_all(connection).await?.into_iter().map(UserKey::from).collect())
}

pub async fn insert(connection: &mut PgConnection, key: &UserKey) -> sqlx::Result<()> {
    let (openpgp, challenge) = (key.openpgp.as_ref(), key.challenge.as_ref());
    let encryption = openpgp.map(|key| key.encryption).unwrap_or_default();
    sqlx::query!(
        "insert into user_keys (user_id, type, id, certificate, algorithm, made_at, expires_at, user_ids, encrypts, encrypts_until,
                                challenge, challenge_made_at, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        key.user.0,
        key.key_type as KeyType,
        key.id,
        openpgp.map(|key| &key.certificate),
        openpgp.map(|key| &key.algorithm),
        openpgp.map(|key| key.made_at),
        openpgp.and_then(|key| key.expires_at),
        openpgp.map(|key| key.user_ids.as_slice()),
        encryption != Encryption::Never,
        encryption.end(),
        challenge.map(|challenge| &challenge.text),
        challenge.map(|challenge| challenge.made_at),
        key.created_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Changes what can change of a key: what it says of itself, what is to be signed, and what is published.
pub async fn update(connection: &mut PgConnection, key: &UserKey) -> sqlx::Result<()> {
    let (openpgp, challenge) = (key.openpgp.as_ref(), key.challenge.as_ref());
    let encryption = openpgp.map(|key| key.encryption).unwrap_or_default();
    sqlx::query!(
        "update user_keys set certificate = $4, algorithm = $5, made_at = $6, expires_at = $7, user_ids = $8, encrypts = $9,
                              encrypts_until = $10, challenge = $11, challenge_made_at = $12, verified_at = $13, published = $14,
                              wkd_domain = $15, wkd_name = $16
         where user_id = $1 and type = $2 and id = $3",
        key.user.0,
        key.key_type as KeyType,
        key.id,
        openpgp.map(|key| &key.certificate),
        openpgp.map(|key| &key.algorithm),
        openpgp.map(|key| key.made_at),
        openpgp.and_then(|key| key.expires_at),
        openpgp.map(|key| key.user_ids.as_slice()),
        encryption != Encryption::Never,
        encryption.end(),
        challenge.map(|challenge| &challenge.text),
        challenge.map(|challenge| challenge.made_at),
        key.verified_at,
        key.published,
        key.listed.as_ref().map(|place| &place.domain),
        key.listed.as_ref().map(|place| &place.name),
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Takes what others have at this place out of the directory.
pub async fn update_unlisted(connection: &mut PgConnection, user: UserId, place: &Listed) -> sqlx::Result<()> {
    sqlx::query!(
        "update user_keys set wkd_domain = null, wkd_name = null
         where published and wkd_domain = $2 and wkd_name = $3 and user_id <> $1",
        user.0,
        place.domain,
        place.name,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Deletes a key of this user; `false` when there was none.
pub async fn delete(connection: &mut PgConnection, user: UserId, key_type: KeyType, id: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "delete from user_keys where user_id = $1 and type = $2 and id = $3",
        user.0,
        key_type as KeyType,
        id,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}
