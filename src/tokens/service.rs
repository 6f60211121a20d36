//! Issues, verifies and revokes tokens.

use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::Validation;
use sqlx::PgConnection;
use uuid::Uuid;

use super::store::{self, NewAccountToken};
use super::{Audience, Claims, Level};
use crate::clock::Clock;
use crate::config;
use crate::db::{self, Pool};
use crate::device_session::DeviceSession;
use crate::error::{Code, Result};
use crate::last_use::{Known, LastUse};
use crate::origin::Origin;
use crate::random::Random;
use crate::secret::PlainSecret;
use crate::signing_keys::SigningKeys;
use crate::users::UserId;

/// Longest token that is looked at, in bytes; ours have some 500.
const LONGEST: usize = 4096;

/// How coarse the last use of an account token is.
const COARSE: TimeDelta = TimeDelta::minutes(1);

/// Account tokens that are listed.
const MOST_LISTED: i64 = 1000;

/// Tokens of every kind.
#[derive(Clone)]
pub struct Tokens {
    pool: Pool,
    keys: SigningKeys,
    sessions: DeviceSession,
    clock: Clock,
    random: Random,
    config: Arc<config::Tokens>,
    used: LastUse<Uuid>,
}

/// A live account or Qb2 token, without the token.
#[derive(Clone, Debug)]
pub struct AccountToken {
    /// The `jti`.
    pub id: Uuid,
    /// Whose it is.
    pub user: UserId,
    /// Good only while the user's row shows the same version.
    pub version: i64,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
    /// When its time is over.
    pub expires_at: DateTime<Utc>,
    /// When it was last used, give or take a minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// From where it was fetched, and with what.
    pub origin: Origin,
    /// The session of a Qb2 token; `None` for an account token.
    pub session: Option<Uuid>,
    /// The application key with which a Qb2 token was fetched, if it was one.
    pub application_key: Option<String>,
    /// The Ethereum address with which an account token was fetched, if it was one.
    pub address: Option<String>,
}

/// What a Qb2 token is to be good for.
pub struct Qb2Grant<'a> {
    /// Whose it is.
    pub user: UserId,
    /// Good only while the user's row shows the same version.
    pub version: i64,
    /// What it may do at most.
    pub level: Level,
    /// Whether it may only read.
    pub read_only: bool,
    /// With which key it was got.
    pub application_key: Option<&'a str>,
}

impl Tokens {
    /// Tokens signed by `keys`.
    pub fn new(
        pool: Pool,
        keys: SigningKeys,
        sessions: DeviceSession,
        clock: Clock,
        random: Random,
        config: config::Tokens,
    ) -> Self {
        Self { pool, keys, sessions, clock, random, config: Arc::new(config), used: LastUse::default() }
    }

    /// A new account token (12 hours): `POST /auth`. One that was got with the key of an Ethereum `address` is good for the staking
    /// routes as well.
    pub async fn issue_account(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        version: i64,
        is_admin: bool,
        address: Option<String>,
        origin: &Origin,
    ) -> Result<PlainSecret> {
        let now = self.clock.now();
        let id = self.random.uuid_v4();
        let expires_at = now + TimeDelta::seconds(self.config.account_lifetime_seconds);
        let token = NewAccountToken {
            id,
            user_id: user,
            token_version: version,
            created_at: now,
            expires_at,
            origin,
            session: None,
            application_key: None,
            address: address.as_deref(),
        };
        if !store::insert(connection, &token).await? {
            // Deleted since the password was checked.
            return Err(Code::InvalidCredentials.into());
        }
        let mut aud = vec![Audience::Accounts, Audience::Nodes, Audience::Connect];
        if is_admin {
            aud.push(Audience::Manager);
        }
        if address.is_some() {
            aud.push(Audience::Stake);
        }
        self.sign(Claims { address, ..self.claims(id, user, aud, self.config.account_lifetime_seconds) })
    }

    /// A new token for the staking routes (12 hours, as an account token), and for nothing here, for the key of an Ethereum address.
    pub fn issue_stake(&self, user: UserId, address: &str) -> Result<PlainSecret> {
        let lifetime = self.config.account_lifetime_seconds;
        let claims = self.claims(self.random.uuid_v4(), user, vec![Audience::Stake], lifetime);
        self.sign(Claims { address: Some(address.to_owned()), ..claims })
    }

    /// A new Qb2 token, good in the present session and no longer than its day: `Authentication.Login`.
    ///
    /// # Errors
    /// `InvalidCredentials` when the user, `NotFound` when the application key was deleted meanwhile.
    pub async fn issue_qb2(&self, grant: &Qb2Grant<'_>, origin: &Origin) -> Result<PlainSecret> {
        let session = self.sessions.current().await?;
        let now = self.clock.now();
        let (id, expires_at) = (self.random.uuid_v4(), DeviceSession::ends_at(now));
        let token = NewAccountToken {
            id,
            user_id: grant.user,
            token_version: grant.version,
            created_at: now,
            expires_at,
            origin,
            session: Some(session.id),
            application_key: grant.application_key,
            address: None,
        };
        let inserted = store::insert(&mut *self.pool.acquire().await?, &token).await;
        if !db::on_constraint(inserted, &[("account_tokens_application_key_fkey", Code::NotFound)])? {
            return Err(Code::InvalidCredentials.into());
        }
        self.sign(Claims {
            exp: expires_at.timestamp(),
            level: Some(grant.level),
            read_only: Some(grant.read_only),
            session: Some(session.id),
            application_key: grant.application_key.map(str::to_owned),
            ..self.claims(id, grant.user, vec![Audience::Qb2], 0)
        })
    }

    /// A new client access token (1 hour), good for the Nodes and Connect services.
    pub fn issue_client_access(&self, user: UserId, client_id: &str) -> Result<PlainSecret> {
        let lifetime = self.config.client_access_lifetime_seconds;
        let aud = vec![Audience::Nodes, Audience::Connect];
        self.sign(Claims {
            client_id: Some(client_id.to_owned()),
            ..self.claims(self.random.uuid_v4(), user, aud, lifetime)
        })
    }

    /// A new client refresh token (1 year), good for `POST /auth/token` while its key lives in this generation.
    pub fn issue_client_refresh(&self, user: UserId, client_id: &str, generation: i64) -> Result<PlainSecret> {
        let lifetime = self.config.client_refresh_lifetime_seconds;
        self.sign(Claims {
            client_id: Some(client_id.to_owned()),
            generation: Some(generation),
            ..self.claims(self.random.uuid_v4(), user, vec![Audience::Refresh], lifetime)
        })
    }

    /// What a token says whose signature and issuer are right; time, audience, revocation and user are not asked.
    ///
    /// `None` for what is no token of ours: no JWT, a foreign key or issuer, a bad signature, claims of wrong types.
    pub fn verify(&self, token: &PlainSecret) -> Option<Claims> {
        let token = token.expose();
        if token.len() > LONGEST {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        let (algorithm, key) = self.keys.verifier(header.kid.as_deref()?)?;

        // The key decides the algorithm. Time is not the library's to check: it would ask the system's clock.
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_required_spec_claims(&["iss"]);
        validation.validate_exp = false;
        validation.validate_aud = false;
        Some(jsonwebtoken::decode::<Claims>(token, key, &validation).ok()?.claims)
    }

    /// The live account or Qb2 token with this `jti`; `None` when it was revoked.
    pub async fn find_account(&self, id: Uuid) -> Result<Option<AccountToken>> {
        Ok(store::find(&mut *self.pool.acquire().await?, id).await?)
    }

    /// Whether the account or Qb2 token with this `jti`, of a user whose row shows this version, is still good: not ended
    /// by itself, nor with the password, its application key or its session.
    pub async fn is_live(&self, connection: &mut PgConnection, id: Uuid, version: i64) -> Result<bool> {
        let found = store::find(connection, id).await?;
        let Some(token) = found.filter(|token| token.version == version) else { return Ok(false) };
        Ok(match token.session {
            Some(session) => self.sessions.is_current(connection, session).await?,
            None => true,
        })
    }

    /// Notes that an account token was just used.
    pub fn use_account(&self, id: Uuid, known: &Known) {
        self.used.note(&id, self.clock.now(), known, COARSE);
    }

    /// Writes what [`Tokens::use_account`] noted.
    pub async fn write_last_uses(&self) -> Result<()> {
        let (ids, instants) = self.used.take();
        if !ids.is_empty() {
            store::update_last_uses(&mut *self.pool.acquire().await?, &ids, &instants).await?;
        }
        Ok(())
    }

    /// The live account and Qb2 tokens of a user whose row shows this version, newest first, at most 1,000.
    pub async fn list_account(&self, user: UserId, version: i64) -> Result<Vec<AccountToken>> {
        let now = self.clock.now();
        let mut tokens = store::list(&mut *self.pool.acquire().await?, user, version, now, MOST_LISTED).await?;
        if tokens.iter().any(|token| token.session.is_some()) {
            let present = self.sessions.current().await?.id;
            tokens.retain(|token| token.session.is_none_or(|session| session == present));
        }
        Ok(tokens)
    }

    /// Ends this account token of this user at once; `false` when there is none.
    pub async fn revoke_account(&self, user: UserId, id: Uuid) -> Result<bool> {
        let mut tx = self.pool.begin().await?;
        store::lock_owner(&mut tx, user).await?;
        let is_found = store::delete(&mut tx, user, id).await?;
        tx.commit().await?;
        Ok(is_found)
    }

    /// Ends all account tokens of a user but this one.
    pub async fn revoke_all_but(&self, user: UserId, keep: Uuid) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        store::lock_owner(&mut tx, user).await?;
        store::delete_others(&mut tx, user, Some(keep)).await?;
        Ok(tx.commit().await?)
    }

    /// Ends all account tokens of a user but `keep`, which is carried over to the user's new `version`.
    pub async fn revoke_others(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        keep: Option<Uuid>,
        version: i64,
    ) -> Result<()> {
        store::delete_others(connection, user, keep).await?;
        if let Some(keep) = keep {
            store::update_version(connection, keep, version).await?;
        }
        Ok(())
    }

    /// Ends the account tokens of a user that were got with this Ethereum address.
    pub async fn revoke_of_address(&self, connection: &mut PgConnection, user: UserId, address: &str) -> Result<()> {
        Ok(store::delete_of_address(connection, user, address).await?)
    }

    /// Ends one refresh token, and no other of its key.
    ///
    /// # Errors
    /// `InvalidRefreshToken` for what is no refresh token of ours.
    pub async fn revoke_refresh(&self, token: &PlainSecret) -> Result<()> {
        let claims = self.verify(token).filter(|claims| claims.is_for(Audience::Refresh));
        let claims = claims.ok_or(Code::InvalidRefreshToken)?;
        let expires_at = DateTime::from_timestamp(claims.exp, 0).ok_or(Code::InvalidRefreshToken)?;
        let owner = claims.sub.parse().map_err(|()| Code::InvalidRefreshToken)?;
        let mut tx = self.pool.begin().await?;
        store::mark_owner_changed(&mut tx, owner).await?;
        store::insert_revoked(&mut tx, claims.jti, self.clock.now(), expires_at).await?;
        Ok(tx.commit().await?)
    }

    /// Whether the refresh token with this `jti` was revoked by itself.
    pub async fn is_revoked(&self, id: Uuid) -> Result<bool> {
        Ok(store::find_revoked(&mut *self.pool.acquire().await?, id).await?)
    }

    /// Drops rows of tokens whose time is over; they are dead already. Returns how many there were, `at_most` a call of
    /// each kind.
    pub async fn sweep(&self, at_most: i64) -> Result<u64> {
        let (now, mut connection) = (self.clock.now(), self.pool.acquire().await?);
        let account = store::delete_expired(&mut connection, now, at_most).await?;
        Ok(account.max(store::delete_revoked(&mut connection, now, at_most).await?))
    }

    fn claims(&self, jti: Uuid, user: UserId, aud: Vec<Audience>, lifetime: i64) -> Claims {
        let iat = self.clock.now().timestamp();
        Claims {
            iss: self.config.issuer.clone(),
            sub: user.to_string(),
            aud,
            iat,
            exp: iat + lifetime,
            jti,
            client_id: None,
            generation: None,
            address: None,
            level: None,
            read_only: None,
            session: None,
            application_key: None,
        }
    }

    fn sign(&self, claims: Claims) -> Result<PlainSecret> {
        let (header, key) = self.keys.signer();
        Ok(PlainSecret::new(jsonwebtoken::encode(header, &claims, key).context("cannot sign a token")?))
    }
}
