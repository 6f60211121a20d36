//! Log-in, grants and identification.

use std::sync::Arc;

use uuid::Uuid;

use super::memory::{Bearer, Holder, Memory};
use crate::application_keys::ApplicationKeys;
use crate::client_keys::{ClientKeys, LiveKey};
use crate::clock::Clock;
use crate::db::Pool;
use crate::device_session::DeviceSession;
use crate::error::{Code, Result};
use crate::events::Draft;
use crate::origin::Origin;
use crate::secret::PlainSecret;
use crate::tokens::{Audience, Claims, Tokens};
use crate::users::password::Password;
use crate::users::{By, Login, User, UserId, Users};

/// Answers who somebody is.
#[derive(Clone)]
pub struct Auth {
    pool: Pool,
    pub(super) users: Users,
    pub(super) application_keys: ApplicationKeys,
    client_keys: ClientKeys,
    pub(super) tokens: Tokens,
    pub(super) sessions: DeviceSession,
    clock: Clock,
    memory: Memory,
}

/// The bearer of a live account token.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user, as the row says right now.
    pub user: Arc<User>,
    /// The `jti` of the token.
    pub token_id: Uuid,
}

impl Caller {
    /// What is done on the caller's word.
    pub fn by(&self) -> By {
        By::Caller { id: self.user.id, token: self.token_id }
    }
}

/// What both client grants answer (decisions.md section 2).
pub struct ClientTokens {
    /// Good for the Nodes and Connect services, 1 hour.
    pub access: PlainSecret,
    /// Good for another access token, 1 year.
    pub refresh: PlainSecret,
}

impl Auth {
    /// Puts the rooms together.
    pub fn new(
        pool: Pool,
        users: Users,
        application_keys: ApplicationKeys,
        client_keys: ClientKeys,
        tokens: Tokens,
        sessions: DeviceSession,
        clock: Clock,
    ) -> Self {
        Self { pool, users, application_keys, client_keys, tokens, sessions, clock, memory: Memory::default() }
    }

    /// A new account token for the right password. Earlier tokens stay good.
    pub async fn log_in(
        &self,
        login: &Login,
        password: &Password,
        origin: &Origin,
        draft: &Draft,
    ) -> Result<PlainSecret> {
        let user = self.users.check_password(login, password, origin, draft).await?;
        // The version is the one that was read before the password was checked: if the password changed meanwhile, the
        // token is born dead.
        let mut connection = self.pool.acquire().await?;
        self.tokens.issue_account(&mut connection, user.id, user.token_version, user.is_admin(), None, origin).await
    }

    /// Ends the token that the caller used.
    pub async fn log_out(&self, caller: &Caller) -> Result<()> {
        self.tokens.revoke_account(caller.user.id, caller.token_id).await.map(drop)
    }

    /// The user behind an account token.
    ///
    /// # Errors
    /// 401 codes for a token that is no good, `Forbidden` for a good one of another kind, `UserBlocked`.
    pub async fn identify(&self, token: &PlainSecret, draft: &Draft) -> Result<Caller> {
        let (claims, subject) = self.recognize(token, draft)?;
        if !claims.is_for(Audience::Accounts) {
            return Err(Code::Forbidden.into());
        }
        let remembered = draft.may_remember().then(|| self.memory.bearer(claims.jti)).flatten();
        let bearer = match remembered {
            Some(bearer) if bearer.user.id == subject => {
                draft.rests_on(&bearer.user);
                bearer
            }
            _ => {
                let bearer = self.live_bearer(claims.jti, subject).await?;
                bearer.user.refuse_blocked()?;
                self.memory.keep_bearer(claims.jti, bearer.clone());
                bearer
            }
        };
        self.tokens.use_account(claims.jti, &bearer.used);
        Ok(Caller { user: bearer.user.clone(), token_id: claims.jti })
    }

    /// The bearer of a live account or Qb2 token.
    pub(super) async fn live_bearer(&self, token: Uuid, user: UserId) -> Result<Arc<Bearer>> {
        match self.bearer(token, user).await? {
            Some(bearer) => Ok(bearer),
            // Its own change of password may be committed between the two rows being read: then they agree now.
            None => Ok(self.bearer(token, user).await?.ok_or(Code::TokenInvalid)?),
        }
    }

    /// The bearer of such a token: there is a row of the token, and it has the version of the user's row, which is
    /// read first.
    async fn bearer(&self, token: Uuid, user: UserId) -> Result<Option<Arc<Bearer>>> {
        let Some(user) = self.users.find(user).await? else { return Ok(None) };
        let Some(live) = self.tokens.find_account(token).await? else { return Ok(None) };
        if live.user != user.id || live.version != user.token_version {
            return Ok(None);
        }
        Ok(Some(Arc::new(Bearer { user: Arc::new(user), used: live.last_used_at.into() })))
    }

    /// What a token of ours says, and of whom. Signed by us, it makes this the user's request, whatever becomes of it.
    ///
    /// # Errors
    /// `TokenInvalid`, `TokenExpired`.
    pub(super) fn recognize(&self, token: &PlainSecret, draft: &Draft) -> Result<(Arc<Claims>, UserId)> {
        let (claims, is_expired) = self.signed(token).ok_or(Code::TokenInvalid)?;
        let subject = claims.sub.parse().map_err(|()| Code::TokenInvalid)?;
        draft.concerns(subject);
        if is_expired { Err(Code::TokenExpired.into()) } else { Ok((claims, subject)) }
    }

    /// What a token says, and whether its time is over; `None` for what is no token of ours.
    fn signed(&self, token: &PlainSecret) -> Option<(Arc<Claims>, bool)> {
        let claims = self.memory.signed(token, || self.tokens.verify(token))?;
        let is_expired = claims.is_expired(self.clock.now());
        Some((claims, is_expired))
    }

    /// Whose request it is by the signature of its token alone: for the event of a request that no handler looked at.
    pub fn signed_for(&self, token: &PlainSecret) -> Option<UserId> {
        self.signed(token)?.0.sub.parse().ok()
    }

    /// Grant `clientCredentials`: an access and a refresh token for the right client keys.
    pub async fn grant_by_keys(&self, client_id: &str, secret: &PlainSecret, draft: &Draft) -> Result<ClientTokens> {
        let presented = secret.hash();
        // A wrong secret is not told from memory: an id that exists must not be refused faster than one that does not.
        let remembered = draft.may_remember().then(|| self.memory.holder(client_id)).flatten();
        let (holder, is_read) = match remembered.filter(|holder| presented.matches(&holder.secret_hash)) {
            Some(holder) => {
                draft.rests_on(&holder.user);
                (holder, false)
            }
            None => {
                let found = self.client_keys.find(client_id).await?;
                if let Some(live) = &found {
                    draft.concerns(live.key.user);
                }
                // An unknown id costs what a known one does.
                let is_right = presented.matches(found.as_ref().map_or(&[0; 32], |live| &live.secret_hash));
                let live = found.filter(|_| is_right).ok_or(Code::InvalidClientCredentials)?;
                (self.holder(live).await?.ok_or(Code::InvalidClientCredentials)?, true)
            }
        };
        let Holder { user, key, used, .. } = &*holder;
        user.may_be_granted()?;
        if is_read {
            self.memory.keep_holder(&holder);
        }
        self.client_keys.note_use(&key.id, used);
        Ok(ClientTokens {
            access: self.tokens.issue_client_access(key.user, &key.id)?,
            refresh: self.tokens.issue_client_refresh(key.user, &key.id, key.generation)?,
        })
    }

    /// Grant `refreshToken`: a new access token; the refresh token stays what it is, so that a lost answer or two
    /// processes with one token log nobody out.
    pub async fn grant_by_refresh(&self, refresh: PlainSecret, draft: &Draft) -> Result<ClientTokens> {
        let refused = || Code::InvalidRefreshToken;
        let (claims, is_expired) = self.signed(&refresh).ok_or_else(refused)?;
        let subject: UserId = claims.sub.parse().map_err(|()| refused())?;
        let client_id = claims.client_id.as_deref().filter(|_| claims.is_for(Audience::Refresh)).ok_or_else(refused)?;
        let remembered = draft.may_remember().then(|| self.memory.holder(client_id)).flatten();
        let remembered = remembered.filter(|holder| holder.user.id == subject);
        let is_read = remembered.is_none();
        let holder = match remembered {
            Some(holder) => {
                draft.rests_on(&holder.user);
                Some(holder)
            }
            None => match self.client_keys.find(client_id).await?.filter(|live| live.key.user == subject) {
                Some(live) => {
                    draft.concerns(subject);
                    self.holder(live).await?
                }
                None => {
                    // The owner sees that somebody still has the token of a deleted key; of a deleted user nothing more
                    // is noted.
                    if self.users.find(subject).await?.is_some() {
                        draft.concerns(subject);
                    }
                    None
                }
            },
        };
        let holder = holder.ok_or_else(refused)?;
        let Holder { user, key, used, .. } = &*holder;
        if is_expired || Some(key.generation) != claims.generation {
            return Err(refused().into());
        }
        let is_known = self.memory.is_unrevoked(claims.jti, user.version);
        if !is_known && self.tokens.is_revoked(claims.jti).await? {
            return Err(refused().into());
        }
        user.may_be_granted()?;
        if !is_known {
            self.memory.keep_unrevoked(claims.jti, user.version);
        }
        if is_read {
            self.memory.keep_holder(&holder);
        }
        self.client_keys.note_use(&key.id, used);
        Ok(ClientTokens { access: self.tokens.issue_client_access(key.user, &key.id)?, refresh })
    }

    /// The holder of a live key.
    async fn holder(&self, live: LiveKey) -> Result<Option<Arc<Holder>>> {
        let LiveKey { key, secret_hash, user_version } = live;
        let Some(user) = self.users.find(key.user).await?.map(Arc::new) else { return Ok(None) };
        let used = key.last_used_at.into();
        Ok(Some(Arc::new(Holder { user, key, secret_hash, version: user_version, used })))
    }
}
