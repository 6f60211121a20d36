//! Gathers what the rooms hold.

use crate::application_keys::{ApplicationKey, ApplicationKeys};
use crate::client_keys::{ClientKey, ClientKeys, KeptCreation};
use crate::error::{Code, Result};
use crate::ethereum::{Ethereum, Wallet};
use crate::events::Feed;
use crate::log_ins::{KnownPlace, LogIns};
use crate::mail::{Mail, SentMail};
use crate::tokens::{AccountToken, Tokens};
use crate::user_keys::{UserKey, UserKeys};
use crate::users::{User, UserId, Users};
use crate::verification::{Kept, Verification};

/// Asks every room.
#[derive(Clone)]
pub struct Export {
    /// The users.
    pub users: Users,
    /// The application keys.
    pub application_keys: ApplicationKeys,
    /// The client keys.
    pub client_keys: ClientKeys,
    /// Public keys.
    pub user_keys: UserKeys,
    /// Wallets.
    pub ethereum: Ethereum,
    /// One-time tokens.
    pub verification: Verification,
    /// Where users log in.
    pub log_ins: LogIns,
    /// The outbox.
    pub mail: Mail,
    /// Account tokens.
    pub tokens: Tokens,
    /// The events.
    pub feed: Feed,
}

/// All about a user but the events, of which there may be millions.
pub struct Holdings {
    /// The row of the user.
    pub user: User,
    /// Live account tokens, the newest 1,000.
    pub account_tokens: Vec<AccountToken>,
    /// Application keys, oldest first.
    pub application_keys: Vec<ApplicationKey>,
    /// Client keys, newest first.
    pub client_keys: Vec<ClientKey>,
    /// Creations of client keys that can be repeated, oldest first.
    pub creations: Vec<KeptCreation>,
    /// Public keys, oldest first.
    pub user_keys: Vec<UserKey>,
    /// Ethereum addresses, oldest first.
    pub wallets: Vec<Wallet>,
    /// One-time tokens, oldest first.
    pub one_time_tokens: Vec<Kept>,
    /// From where the user logged in.
    pub log_ins: Vec<KnownPlace>,
    /// Mails of the last week, oldest first.
    pub mails: Vec<SentMail>,
}

impl Export {
    /// Everything but the events.
    pub async fn gather(&self, user: UserId) -> Result<Holdings> {
        let user = self.users.find(user).await?.ok_or(Code::TokenInvalid)?;
        Ok(Holdings {
            account_tokens: self.tokens.list_account(user.id, user.token_version).await?,
            application_keys: self.application_keys.list(user.id).await?,
            client_keys: self.client_keys.list(user.id).await?,
            creations: self.client_keys.list_repeatable(user.id).await?,
            user_keys: self.user_keys.list(user.id).await?,
            wallets: self.ethereum.list(user.id).await?,
            one_time_tokens: self.verification.list(user.id).await?,
            log_ins: self.log_ins.list(user.id).await?,
            mails: self.mail.list(user.id).await?,
            user,
        })
    }
}
