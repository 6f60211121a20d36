//! The same questions at the Qb2 door (qb2-account-service.md section 5): its tokens are good in one session, and lend no more
//! rights than account and application key have at the moment of a call.

use std::sync::Arc;

use uuid::Uuid;

use super::Auth;
use crate::application_keys::ApplicationKey;
use crate::error::{Code, Result};
use crate::events::Draft;
use crate::origin::Origin;
use crate::secret::PlainSecret;
use crate::tokens::{Audience, Level, Qb2Grant};
use crate::users::password::Password;
use crate::users::{AccessLevel, By, Entrant, Login, User};

/// The bearer of a live Qb2 token.
#[derive(Clone, Debug)]
pub struct Qb2Caller {
    /// The user, as the row says right now.
    pub user: Arc<User>,
    /// The `jti` of the token.
    pub token_id: Uuid,
    /// The lower level of account and key; `Public` for who came with an activation password.
    pub level: Level,
    /// Whether account or key may only read.
    pub read_only: bool,
}

impl Qb2Caller {
    /// What is done on the caller's word.
    pub fn by(&self) -> By {
        By::Caller { id: self.user.id, token: self.token_id }
    }
}

impl Auth {
    /// A Qb2 token for the right password. One for an activation password may store a new password and nothing else.
    ///
    /// # Errors
    /// Those of [`Users::let_in`](crate::users::Users::let_in).
    pub async fn log_in_to_qb2(
        &self,
        login: &Login,
        password: &Password,
        origin: &Origin,
        draft: &Draft,
    ) -> Result<PlainSecret> {
        let (user, level) = match self.users.let_in(login, password, origin, draft).await? {
            Entrant::Member(user) => {
                let level = user.access_level.into();
                (user, level)
            }
            Entrant::Newcomer(user) => (user, Level::Public),
        };
        // The version is the one that was read before the password was checked: if the password changed meanwhile, the
        // token is born dead.
        let grant = Qb2Grant {
            user: user.id,
            version: user.token_version,
            level,
            read_only: user.read_only,
            application_key: None,
        };
        self.tokens.issue_qb2(&grant, origin).await
    }

    /// A Qb2 token for the secret of an application key.
    ///
    /// # Errors
    /// `NotFound` for a secret of no key, which tells the vendor's clients not to try again; `UserBlocked`,
    /// `ActivationRequired`.
    pub async fn log_in_with_key(&self, secret: &PlainSecret, origin: &Origin, draft: &Draft) -> Result<PlainSecret> {
        let key = self.application_keys.find_by_secret(secret).await?.ok_or(Code::NotFound)?;
        draft.concerns(key.user);
        let user = self.users.find(key.user).await?.ok_or(Code::NotFound)?;
        user.may_be_granted()?;
        let (level, read_only) = rights(&user, Some(&key));
        let grant =
            Qb2Grant { user: user.id, version: user.token_version, level, read_only, application_key: Some(&key.id) };
        self.tokens.issue_qb2(&grant, origin).await
    }

    /// The user behind a Qb2 token, and what the token lends.
    ///
    /// # Errors
    /// `TokenInvalid`, `TokenExpired`, `UserBlocked`.
    pub async fn identify_qb2(&self, token: &PlainSecret, draft: &Draft) -> Result<Qb2Caller> {
        let (claims, subject) = self.recognize(token, draft)?;
        let level = claims.level.filter(|_| claims.is_for(Audience::Qb2)).ok_or(Code::TokenInvalid)?;
        if claims.session != Some(self.sessions.current().await?.id) {
            return Err(Code::TokenInvalid.into());
        }
        let bearer = self.live_bearer(claims.jti, subject).await?;
        bearer.user.refuse_blocked()?;
        let key = match &claims.application_key {
            Some(id) => Some(self.application_keys.find(id).await?.ok_or(Code::TokenInvalid)?),
            None => None,
        };
        self.tokens.use_account(claims.jti, &bearer.used);
        let (lent, read_only) = rights(&bearer.user, key.as_ref());
        // What the token says does not count, but that it was got with an activation password.
        let level = if level == Level::Public { level } else { lent };
        Ok(Qb2Caller { user: bearer.user.clone(), token_id: claims.jti, level, read_only })
    }
}

/// The lower rights of an account and its key.
fn rights(user: &User, key: Option<&ApplicationKey>) -> (Level, bool) {
    let level = key.map_or(AccessLevel::Admin, |key| key.level);
    (Level::from(user.access_level).min(level.into()), user.read_only || key.is_some_and(|key| key.read_only))
}
