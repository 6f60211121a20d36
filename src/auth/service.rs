//! Log-in, grants and identification.

use uuid::Uuid;

use crate::client_keys::{ClientKey, ClientKeys};
use crate::db::Pool;
use crate::error::{Code, Result};
use crate::events::Draft;
use crate::origin::Origin;
use crate::secret::PlainSecret;
use crate::tokens::{Audience, Signed, Tokens};
use crate::users::password::Password;
use crate::users::{BlockCause, Login, User, UserId, Users};

/// Answers who somebody is.
#[derive(Clone)]
pub struct Auth {
    pool: Pool,
    users: Users,
    client_keys: ClientKeys,
    tokens: Tokens,
}

/// The bearer of a live account token.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user, as the row says right now.
    pub user: User,
    /// The `jti` of the token.
    pub token_id: Uuid,
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
    pub fn new(pool: Pool, users: Users, client_keys: ClientKeys, tokens: Tokens) -> Self {
        Self { pool, users, client_keys, tokens }
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
        self.tokens.issue_account(&mut connection, user.id, user.token_version, user.is_admin(), origin).await
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
        let Signed { claims, is_expired } = self.tokens.verify(token).ok_or(Code::TokenInvalid)?;
        // Signed by us, so it is this user's request, whatever becomes of it.
        let subject = claims.sub.parse().map_err(|()| Code::TokenInvalid)?;
        draft.concerns(subject);
        if is_expired {
            return Err(Code::TokenExpired.into());
        }
        if !claims.is_for(Audience::Accounts) {
            return Err(Code::Forbidden.into());
        }
        let user = match self.bearer(claims.jti, subject).await? {
            // Its own change of password may be committed between the two rows being read: then they agree now.
            None => self.bearer(claims.jti, subject).await?.ok_or(Code::TokenInvalid)?,
            Some(user) => user,
        };
        refuse_blocked(&user)?;
        Ok(Caller { user, token_id: claims.jti })
    }

    /// The user of a live account token: there is a row of the token, and it has the version of the user's row.
    async fn bearer(&self, token: Uuid, user: UserId) -> Result<Option<User>> {
        let Some(live) = self.tokens.find_account(token).await?.filter(|live| live.user == user) else {
            return Ok(None);
        };
        let user = self.users.find(user).await?.filter(|user| user.token_version == live.version);
        if user.is_some() {
            self.tokens.use_account(&live);
        }
        Ok(user)
    }

    /// Whose request it is by the signature of its token alone: for the event of a request that no handler looked at.
    pub fn signed_for(&self, token: &PlainSecret) -> Option<UserId> {
        self.tokens.verify(token)?.claims.sub.parse().ok()
    }

    /// Grant `clientCredentials`: an access and a refresh token for the right client keys.
    pub async fn grant_by_keys(&self, client_id: &str, secret: &PlainSecret, draft: &Draft) -> Result<ClientTokens> {
        let found = self.client_keys.check(client_id, secret).await?;
        if let Some((key, _)) = &found {
            draft.concerns(key.user);
        }
        let Some((key, true)) = found else { return Err(Code::InvalidClientCredentials.into()) };
        self.owner(&key).await?;
        self.client_keys.note_use(&key);
        Ok(ClientTokens {
            access: self.tokens.issue_client_access(key.user, &key.id)?,
            refresh: self.tokens.issue_client_refresh(key.user, &key.id, key.generation)?,
        })
    }

    /// Grant `refreshToken`: a new access token; the refresh token stays what it is, so that a lost answer or two
    /// processes with one token log nobody out.
    pub async fn grant_by_refresh(&self, refresh: PlainSecret, draft: &Draft) -> Result<ClientTokens> {
        let refused = || Code::InvalidRefreshToken;
        let Signed { claims, is_expired } = self.tokens.verify(&refresh).ok_or_else(refused)?;
        let subject = claims.sub.parse().map_err(|()| refused())?;
        let client_id = claims.client_id.as_deref().filter(|_| claims.is_for(Audience::Refresh)).ok_or_else(refused)?;
        let key = self.client_keys.find(client_id).await?.filter(|key| key.user == subject);
        // The owner sees that somebody still has the token of a deleted key; of a deleted user nothing more is noted.
        if key.is_some() || self.users.find(subject).await?.is_some() {
            draft.concerns(subject);
        }
        let key = key.ok_or_else(refused)?;
        if is_expired || Some(key.generation) != claims.generation {
            return Err(refused().into());
        }
        if self.tokens.is_revoked(claims.jti).await? {
            return Err(refused().into());
        }
        self.owner(&key).await?;
        self.client_keys.note_use(&key);
        Ok(ClientTokens { access: self.tokens.issue_client_access(key.user, &key.id)?, refresh })
    }

    /// The owner of a key, whose state is asked again at every grant (docs/security.md row 26).
    async fn owner(&self, key: &ClientKey) -> Result<User> {
        let user = self.users.find(key.user).await?.ok_or(Code::InvalidClientCredentials)?;
        refuse_blocked(&user)?;
        if user.activation_expires_at.is_some() {
            return Err(Code::ActivationRequired.into());
        }
        Ok(user)
    }
}

/// A block by an administrator ends everything at once; one by failures bars password log-in only.
fn refuse_blocked(user: &User) -> Result<()> {
    match user.block_cause {
        Some(BlockCause::Admin) => Err(Code::UserBlocked.into()),
        Some(BlockCause::Failures) | None => Ok(()),
    }
}
