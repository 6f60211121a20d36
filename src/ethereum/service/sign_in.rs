//! Nonces, and the tokens that signatures under them get.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Ethereum, NO_NONCE, NOT_OF_ADDRESS, Proof, unfit};
use crate::error::{Code, Error, Problem, Result};
use crate::ethereum::{
    NONCE_LENGTH, NONCE_LIFETIME, Purpose, SignInMessage, Wallet, WalletAddress, WalletSignature, store,
};
use crate::events::Draft;
use crate::origin::Origin;
use crate::ratelimit::{Account, Network};
use crate::secret::PlainSecret;
use crate::users::{User, UserId};

/// Somebody who has just shown to hold the key of an enabled address, and the nonce that was signed.
struct Bearer {
    user: UserId,
    nonce: String,
}

impl Ethereum {
    /// What a wallet is to sign to get a token. Asked again within half its life it is the same one, and one that was given out lives
    /// out its time: nobody who asks takes away what somebody else is about to sign.
    ///
    /// # Errors
    /// `NotFound` for an address that is not enabled, known or not.
    pub async fn sign_in_nonce(&self, address: WalletAddress, draft: &Draft) -> Result<String> {
        let wallet = store::find(&mut *self.pool.acquire().await?, address).await?;
        let owner = enabled(wallet, draft).ok_or_else(not_enabled)?;
        if let Some(nonce) = self.young_nonce(owner, address, Purpose::SignIn).await? {
            return Ok(nonce);
        }
        let (now, nonce) = (self.clock.now(), self.random.alphanumeric(NONCE_LENGTH));
        let mut tx = self.pool.begin().await?;
        let inserted = store::insert_sign_in_nonce(&mut tx, address, &nonce, now, now - NONCE_LIFETIME / 2).await?;
        let nonce = inserted.ok_or_else(not_enabled)?;
        tx.commit_aside().await?;
        Ok(nonce)
    }

    /// A token for the staking routes (12 hours): the JSON body of `POST /auth`.
    ///
    /// # Errors
    /// `UserNotFound` for an address that is not enabled, known or not; `InvalidSignature` for a signature of another key or another
    /// message, for a nonce that is over and for a time that is; after a good one `UserBlocked`, `ActivationRequired`;
    /// `TooManyRequests`.
    pub async fn sign_in(&self, proof: &Proof, origin: &Origin, draft: &Draft) -> Result<PlainSecret> {
        let address = proof.posted.address;
        let check = |nonces: &[String], now| self.judge(proof, &self.terms.statement, nonces, now);
        let bearer = self.recognize(address, check, origin, draft).await?;
        self.use_nonce(&bearer, address, origin, async |_, user| self.tokens.issue_stake(user.id, &address.to_string()))
            .await
    }

    /// An account token (12 hours), which opens the staking routes as well, for a message of EIP-4361: `POST /auth/siwe`.
    ///
    /// # Errors
    /// Those of [`Ethereum::sign_in`].
    pub async fn sign_in_with_message(
        &self,
        message: &SignInMessage,
        signature: &WalletSignature,
        origin: &Origin,
        draft: &Draft,
    ) -> Result<PlainSecret> {
        let address = message.address;
        let check = |nonces: &[String], now| {
            message.judge(&self.terms, now).map_err(|reason| unfit("message", reason))?;
            if !nonces.contains(&message.nonce) {
                return Err(unfit("message", NO_NONCE));
            }
            let is_good = signature.signer(&message.text) == Some(address);
            if is_good { Ok(message.nonce.clone()) } else { Err(unfit("signature", NOT_OF_ADDRESS)) }
        };
        let bearer = self.recognize(address, check, origin, draft).await?;
        self.use_nonce(&bearer, address, origin, async |connection, user| {
            let shown = Some(address.to_string());
            self.tokens.issue_account(connection, user.id, user.token_version, user.is_admin(), shown, origin).await
        })
        .await
    }

    /// Who signs in, if `check` finds the signature good. A bad one counts against this address from where it comes, and against
    /// nobody else: addresses are public.
    async fn recognize(
        &self,
        address: WalletAddress,
        check: impl Fn(&[String], DateTime<Utc>) -> Result<String>,
        origin: &Origin,
        draft: &Draft,
    ) -> Result<Bearer> {
        // No login name has a colon.
        let (account, client) = (Account::of(&format!("wallet:{}", address.lower_case())), Network::of_client(origin));
        let mut connection = self.pool.acquire().await?;
        // First, so that its user sees those who are refused as well.
        let owner = enabled(store::find(&mut connection, address).await?, draft);
        self.throttle.ask(account, client)?;
        let Some(owner) = owner else {
            self.throttle.note_failure_of_client(account, client);
            return Err(Code::UserNotFound.into());
        };
        let now = self.clock.now();
        let since = now - NONCE_LIFETIME;
        let nonces = store::list_nonces(&mut connection, owner, address, Purpose::SignIn, since).await?;
        drop(connection);
        let nonce = check(&nonces, now).inspect_err(|_| self.throttle.note_failure_of_client(account, client))?;
        Ok(Bearer { user: owner, nonce })
    }

    /// Uses the nonce up for a token. Of several who bring one nonce one gets a token, and was here.
    async fn use_nonce(
        &self,
        bearer: &Bearer,
        address: WalletAddress,
        origin: &Origin,
        issue: impl AsyncFnOnce(&mut PgConnection, &User) -> Result<PlainSecret>,
    ) -> Result<PlainSecret> {
        let since = self.clock.now() - NONCE_LIFETIME;
        let mut tx = self.pool.begin().await?;
        // As everything is now: since the signature was looked at, the address may have been disabled or the user blocked.
        let user = self.users.find_for_update(&mut tx, bearer.user).await?.ok_or(Code::UserNotFound)?;
        let wallet = store::find(&mut tx, address).await?;
        if !wallet.is_some_and(|wallet| wallet.user == user.id && wallet.enabled_at.is_some()) {
            return Err(Code::UserNotFound.into());
        }
        user.may_be_granted()?;
        if !store::use_nonce(&mut tx, user.id, address, Purpose::SignIn, &bearer.nonce, since).await? {
            return Err(unfit("signature", NO_NONCE));
        }
        let is_told = self.users.note_log_in(&mut tx, &user, origin).await?;
        let token = issue(&mut tx, &user).await?;
        tx.commit().await?;
        if is_told {
            self.mail.wake();
        }
        Ok(token)
    }
}

/// Whose address this is, if it is enabled; its user sees the request in either case.
fn enabled(wallet: Option<Wallet>, draft: &Draft) -> Option<UserId> {
    let wallet = wallet.inspect(|wallet| draft.concerns(wallet.user))?;
    wallet.enabled_at.map(|_| wallet.user)
}

fn not_enabled() -> Error {
    let reason = "signs nobody in; an administrator has to enable it first";
    Error::invalid(Code::NotFound, Problem::new("publicAddress", reason))
}
