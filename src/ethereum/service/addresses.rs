//! Linking, enabling, and the ends of both.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Ethereum, NO_NONCE, Proof, unfit};
use crate::clock::minute;
use crate::db;
use crate::error::{Code, Error, Problem, Result};
use crate::ethereum::message::link_statement;
use crate::ethereum::{NONCE_LENGTH, NONCE_LIFETIME, Purpose, Wallet, WalletAddress, store};
use crate::mail::Letter;
use crate::origin::Origin;
use crate::users::{By, User, UserId};

/// Links that a user may have begun and not ended, which are rows.
const MOST_BEGUN: i64 = 20;

impl Ethereum {
    /// What a wallet is to sign to be linked to this account.
    ///
    /// # Errors
    /// `Forbidden` for a read-only user; and those of [`By`].
    pub async fn link_nonce(&self, user: &User, by: By, address: WalletAddress) -> Result<String> {
        user.may_change()?;
        if let Some(nonce) = self.young_nonce(user.id, address, Purpose::Link).await? {
            return Ok(nonce);
        }
        let (now, nonce) = (self.clock.now(), self.random.alphanumeric(NONCE_LENGTH));
        let mut tx = self.pool.begin().await?;
        // One after the other: each may end those of the others.
        self.users.lock_for(&mut tx, user.id, by).await?.may_change()?;
        let since = now - NONCE_LIFETIME / 2;
        let nonce = store::insert_link_nonce(&mut tx, user.id, address, &nonce, now, since).await?;
        store::delete_surplus_nonces(&mut tx, user.id, address, Purpose::Link, MOST_BEGUN - 1).await?;
        tx.commit_aside().await?;
        Ok(nonce)
    }

    /// Links an address to the account of whoever signed for it. That enables nothing. Once more, it changes nothing.
    ///
    /// # Errors
    /// `InvalidSignature`, `AddressTaken`, `TooManyAddresses`, `Forbidden` for a read-only user; and those of [`By`].
    pub async fn link(&self, user: &User, by: By, proof: &Proof, origin: &Origin) -> Result<Wallet> {
        user.may_change()?;
        let (now, address) = (self.clock.now(), proof.posted.address);
        let since = now - NONCE_LIFETIME;
        let nonces =
            store::list_nonces(&mut *self.pool.acquire().await?, user.id, address, Purpose::Link, since).await?;
        let nonce = self.judge(proof, &link_statement(user.id), &nonces, now)?;
        let mut tx = self.pool.begin().await?;
        let user = self.users.lock_for(&mut tx, user.id, by).await?;
        user.may_change()?;
        if !store::use_nonce(&mut tx, user.id, address, Purpose::Link, &nonce, since).await? {
            return Err(unfit("signature", NO_NONCE));
        }
        let linked = |wallet: &Wallet| Wallet { linked_at: wallet.linked_at.or(Some(now)), ..wallet.clone() };
        let known = store::find(&mut tx, address).await?;
        if known.as_ref().is_some_and(|wallet| wallet.user != user.id) {
            return Err(Code::AddressTaken.into());
        }
        let (wallet, is_news) = self.hold(&mut tx, user.id, address, known, now, linked).await?;
        if is_news {
            let letter =
                Letter::WalletLinked { at: minute(now), from: origin.from(), address: wallet.address.to_string() };
            self.users.notify(&mut tx, &user, &letter).await?;
        }
        tx.commit().await?;
        self.mail.wake();
        Ok(wallet)
    }

    /// Lets this user sign in with this address. Once more, it changes nothing.
    ///
    /// # Errors
    /// `NotFound` for no user; `AddressTaken`, which says by whom; `TooManyAddresses`; and those of [`By`].
    pub async fn enable(&self, user: UserId, address: WalletAddress, by: By) -> Result<Wallet> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let user = self.users.lock_as_admin(&mut tx, user, by).await?;
        let enabled = |wallet: &Wallet| Wallet { enabled_at: wallet.enabled_at.or(Some(now)), ..wallet.clone() };
        let known = store::find(&mut tx, address).await?;
        if let Some(other) = known.as_ref().filter(|wallet| wallet.user != user.id) {
            return Err(Error::invalid(
                Code::AddressTaken,
                Problem::new("address", format!("{address} belongs to {}", other.user)),
            ));
        }
        let (wallet, is_news) = self.hold(&mut tx, user.id, address, known, now, enabled).await?;
        if is_news {
            let letter = Letter::WalletEnabled { at: minute(now), address: wallet.address.to_string() };
            // Also to an e-mail that is not proved yet: what is proved later would open the account to this address unseen.
            if let Some(mailbox) = user.mailbox() {
                self.mail.queue(&mut tx, Some(user.id), &mailbox, &letter).await?;
            }
        }
        tx.commit().await?;
        self.mail.wake();
        Ok(wallet)
    }

    /// Changes what is `known` of an address of this user, or makes its row. Whether that changed anything.
    async fn hold(
        &self,
        tx: &mut PgConnection,
        user: UserId,
        address: WalletAddress,
        known: Option<Wallet>,
        now: DateTime<Utc>,
        change: impl FnOnce(&Wallet) -> Wallet,
    ) -> Result<(Wallet, bool)> {
        if let Some(before) = known {
            let after = change(&before);
            store::update(tx, &after).await?;
            let is_news = after != before;
            return Ok((after, is_news));
        }
        if store::list(tx, user).await?.len() >= Self::MOST {
            return Err(Code::TooManyAddresses.into());
        }
        let wallet = change(&Wallet { address, user, linked_at: None, enabled_at: None, created_at: now });
        let inserted = store::insert(tx, &wallet).await;
        db::on_constraint(inserted, &[("wallets_pkey", Code::AddressTaken)])?;
        Ok((wallet, true))
    }

    /// Lets nobody sign in with this address of this user any more, and ends the account tokens that were got with it. It stays linked if
    /// it was; one that was not enabled is taken off the account, for whoever else can prove to hold it. Answers what is left.
    ///
    /// # Errors
    /// `NotFound` for no user or none of the user's addresses; and those of [`By`].
    pub async fn disable(&self, user: UserId, address: WalletAddress, by: By) -> Result<Option<Wallet>> {
        let mut tx = self.pool.begin().await?;
        let user = self.users.lock_as_admin(&mut tx, user, by).await?;
        let wallet = self.own(&mut tx, user.id, address).await?;
        let left = match wallet {
            Wallet { linked_at: Some(_), enabled_at: Some(_), .. } => Some(Wallet { enabled_at: None, ..wallet }),
            _ => None,
        };
        match &left {
            Some(left) => store::update(&mut tx, left).await?,
            None => store::delete(&mut tx, user.id, address).await?,
        }
        self.end(&mut tx, user.id, address).await?;
        tx.commit().await?;
        Ok(left)
    }

    /// Takes an address off the own account: also one that was enabled signs nobody in any more, and the account tokens that were got with
    /// it end.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden` for a read-only user; and those of [`By`].
    pub async fn unlink(&self, user: UserId, by: By, address: WalletAddress) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        self.users.lock_for(&mut tx, user, by).await?.may_change()?;
        self.own(&mut tx, user, address).await?;
        store::delete(&mut tx, user, address).await?;
        self.end(&mut tx, user, address).await?;
        Ok(tx.commit().await?)
    }

    /// Ends what an address has opened or could open. After its row has changed: who asks for a nonce meanwhile waits for that.
    async fn end(&self, tx: &mut PgConnection, user: UserId, address: WalletAddress) -> Result<()> {
        store::delete_nonces(tx, user, address).await?;
        self.tokens.revoke_of_address(tx, user, &address.to_string()).await
    }

    async fn own(&self, tx: &mut PgConnection, user: UserId, address: WalletAddress) -> Result<Wallet> {
        let wallet = store::find(tx, address).await?.filter(|wallet| wallet.user == user);
        wallet.ok_or_else(|| Code::NotFound.into())
    }
}
