//! How a key comes to be a user's: given, proved, published, deleted.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tokio::sync::Semaphore;

use super::{BitcoinAddress, Challenge, KeyType, Listed, OpenPgp, UserKey, store, wkd};
use crate::clock::{Clock, minute};
use crate::db::{self, Pool};
use crate::error::{Code, Error, Problem, Result};
use crate::mail::{Letter, Mail};
use crate::openpgp::Certificate;
use crate::origin::Origin;
use crate::random::Random;
use crate::ratelimit::Shares;
use crate::users::{By, User, UserId, Users};

/// Letters and digits of what makes a text to sign a new one.
const NONCE_LENGTH: usize = 22;

/// Certificates and signatures that are looked at, at once: the largest cost a tenth of a second or two, and must leave the other cores to
/// everybody else.
const AT_ONCE: usize = 1;

/// How many may wait for that, each of another user: whoever came later would wait for longer than some seconds.
const MOST_WAITING: usize = 32;

/// The public keys of users.
#[derive(Clone)]
pub struct UserKeys {
    pool: Pool,
    users: Users,
    mail: Mail,
    clock: Clock,
    random: Random,
    service: Arc<str>,
    turns: Arc<Semaphore>,
    line: Arc<Semaphore>,
    places: Shares<UserId>,
}

impl UserKeys {
    /// Keys a user may have, of both types together.
    pub const MOST: usize = 20;

    /// The keys of this database, of the service that people know under this URL.
    pub fn new(pool: Pool, users: Users, mail: Mail, clock: Clock, random: Random, public_url: &str) -> Self {
        let (turns, line) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(AT_ONCE + MOST_WAITING)));
        let (service, places) = (public_url.into(), Shares::new(1));
        Self { pool, users, mail, clock, random, service, turns, line, places }
    }

    /// Keeps a public key of OpenPGP, with a text for its owner to sign. The same key again adds what is new about it, an end included: one
    /// that was proved stays so, of one that was not the text is renewed if it is over. A copy that is revoked takes the key off the
    /// account.
    ///
    /// # Errors
    /// Those of [`Certificate::parse`]; `Overloaded` when another copy comes at the same moment, or too many others do; `TooManyUserKeys`,
    /// `Forbidden` for a read-only user; `TooManyRequests` while another key of the user is looked at; and those of [`By`].
    pub async fn add_openpgp(&self, user: UserId, by: By, armor: String, origin: &Origin) -> Result<UserKey> {
        let now = self.clock.now();
        let id = Certificate::fingerprint_of(&armor)?;
        // Under the lock of a user nobody must wait for a certificate: it is looked at beside what is known, and compared then.
        let known = store::find(&mut *self.pool.acquire().await?, user, KeyType::Pgp, &id).await?;
        let known = known.and_then(|key| key.openpgp).map(|openpgp| openpgp.certificate);
        let before = known.clone();
        let judged = self.at_leisure(user, move || {
            let certificate = match known {
                Some(known) => Certificate::parse_beside(&armor, &known, now)?,
                None => Certificate::parse(&armor, now)?,
            };
            let facts = certificate.facts();
            let openpgp = OpenPgp {
                algorithm: facts.algorithm.clone(),
                made_at: facts.created_at,
                expires_at: facts.expires_at,
                user_ids: facts.user_ids.clone(),
                encryption: facts.encryption,
                certificate: certificate.to_armor()?,
            };
            Ok((openpgp, certificate.not_over(now)))
        });
        match judged.await {
            // Of a key that is in use also its end is kept.
            Ok((openpgp, end)) => {
                let key = self.add(user, by, KeyType::Pgp, id, Some((openpgp, before))).await?;
                end.map(|_| key)
            }
            Err(error) if error.code() == Code::KeyRevoked && before.is_some() => {
                self.delete(user, by, KeyType::Pgp, &id, origin).await?;
                let reason = "was revoked by its owner, and is none of your keys any more";
                Err(Error::invalid(Code::KeyRevoked, Problem::new("publicKey", reason)))
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps a Bitcoin address, with a text for its owner to sign.
    ///
    /// # Errors
    /// `TooManyUserKeys`, `Forbidden` for a read-only user; and those of [`By`].
    pub async fn add_bitcoin(&self, user: UserId, by: By, address: &BitcoinAddress) -> Result<UserKey> {
        self.add(user, by, KeyType::Bit, address.to_string(), None).await
    }

    /// Keeps a key; a certificate with what it was merged with.
    async fn add(
        &self,
        user: UserId,
        by: By,
        key_type: KeyType,
        id: String,
        merged: Option<(OpenPgp, Option<String>)>,
    ) -> Result<UserKey> {
        let now = self.clock.now();
        let (openpgp, before) = merged.unzip();
        let mut tx = self.pool.begin().await?;
        self.users.lock_for(&mut tx, user, by).await?.may_change()?;
        let known = store::find(&mut tx, user, key_type, &id).await?;
        let certificate = known.as_ref().and_then(|key| key.openpgp.as_ref()).map(|openpgp| &openpgp.certificate);
        if certificate != before.flatten().as_ref() {
            // Another copy of it came at the same moment.
            return Err(Error::Busy { code: Code::Overloaded, retry_after: Duration::from_secs(1) });
        }
        let key = match known {
            Some(known) => {
                let fresh = |challenge: Challenge| match challenge.expires_at() > now {
                    true => challenge,
                    false => self.challenge(user, key_type, &id, now),
                };
                let key = UserKey { openpgp, challenge: known.challenge.clone().map(fresh), ..known };
                store::update(&mut tx, &key).await?;
                self.settle_mail(&mut tx, &key).await?;
                key
            }
            None => {
                if store::list(&mut tx, user).await?.len() >= Self::MOST {
                    return Err(Code::TooManyUserKeys.into());
                }
                let challenge = Some(self.challenge(user, key_type, &id, now));
                let (verified_at, published, listed) = (None, false, None);
                let key =
                    UserKey { user, key_type, id, openpgp, challenge, verified_at, published, listed, created_at: now };
                store::insert(&mut tx, &key).await?;
                key
            }
        };
        tx.commit().await?;
        Ok(key)
    }

    /// A text that says what its signature means, so that nobody signs it for something else.
    fn challenge(&self, user: UserId, key_type: KeyType, id: &str, made_at: DateTime<Utc>) -> Challenge {
        let what = match key_type {
            KeyType::Pgp => "key",
            KeyType::Bit => "address",
        };
        let nonce = self.random.alphanumeric(NONCE_LENGTH);
        let text = format!("The {what} {id} belongs to {user} of {} ({nonce})", self.service);
        Challenge { text, made_at }
    }

    /// Takes the signature of its owner under the text that belongs to a key: from then on it is this user's, and nobody else can prove
    /// the same. Once more, it changes nothing.
    ///
    /// # Errors
    /// `NotFound`, `InvalidSignature`, `ValidationFailed` for what is no signature, `ChallengeExpired`, `KeyTaken`; those of
    /// [`Certificate::parse`] for a key that has expired meanwhile; `TooManyRequests` while another key of the user is looked at;
    /// `Forbidden` for a read-only user; and those of [`By`].
    pub async fn prove(
        &self,
        user: UserId,
        by: By,
        key_type: KeyType,
        id: &str,
        signature: String,
        origin: &Origin,
    ) -> Result<UserKey> {
        let now = self.clock.now();
        let key = self.find(user, key_type, id).await?;
        let Some(challenge) = key.challenge.clone() else { return Ok(key) };
        if challenge.expires_at() <= now {
            return Err(Code::ChallengeExpired.into());
        }
        let (text, given) = (challenge.text.clone(), key.clone());
        self.at_leisure(user, move || check(&given, &text, &signature, now)).await?;

        let mut tx = self.pool.begin().await?;
        let user = self.users.lock_for(&mut tx, user, by).await?;
        user.may_change()?;
        // As it is now: another certificate may have come, or another text, or somebody else's proof.
        let found = store::find(&mut tx, user.id, key_type, id).await?.ok_or(Code::NotFound)?;
        if found.challenge != key.challenge {
            return Err(Code::InvalidSignature.into());
        }
        if store::find_proved(&mut tx, key_type, id).await?.is_some() {
            return Err(Code::KeyTaken.into());
        }
        let key = UserKey { challenge: None, verified_at: Some(now), ..found };
        let updated = store::update(&mut tx, &key).await;
        db::on_constraint(updated, &[("user_keys_proved_key", Code::KeyTaken)])?;
        self.settle_mail(&mut tx, &key).await?;
        let (at, from, key_id) = (minute(now), origin.from(), key.id.clone());
        let (is_openpgp, encrypts) = (key_type == KeyType::Pgp, self.encrypts(&key));
        let letter = Letter::UserKeyProved { at, from, key_id, is_openpgp, encrypts };
        self.users.notify(&mut tx, &user, &letter).await?;
        tx.commit().await?;
        self.mail.wake();
        Ok(key)
    }

    /// Has mails encrypted to a key as it is now, if its owner has proved to hold it.
    async fn settle_mail(&self, tx: &mut PgConnection, key: &UserKey) -> Result<()> {
        match &key.openpgp {
            Some(openpgp) if key.verified_at.is_some() => {
                self.mail.encrypt_to(tx, key.user, &key.id, &openpgp.certificate).await
            }
            _ => Ok(()),
        }
    }

    /// Deletes a key of this user; mails are not encrypted to it any more, and if it was proved the user is told.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden` for a read-only user; and those of [`By`].
    pub async fn delete(&self, user: UserId, by: By, key_type: KeyType, id: &str, origin: &Origin) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        let user = self.users.lock_for(&mut tx, user, by).await?;
        user.may_change()?;
        let key = store::find(&mut tx, user.id, key_type, id).await?.ok_or(Code::NotFound)?;
        store::delete(&mut tx, user.id, key_type, id).await?;
        self.mail.forget_key(&mut tx, user.id, id).await?;
        if key.verified_at.is_some() {
            let (at, from) = (minute(self.clock.now()), origin.from());
            let is_openpgp = key_type == KeyType::Pgp;
            let letter = Letter::UserKeyDeleted { at, from, key_id: key.id, is_openpgp };
            self.users.notify(&mut tx, &user, &letter).await?;
        }
        tx.commit().await?;
        self.mail.wake();
        Ok(())
    }

    /// Lets everybody have a key of OpenPGP, or nobody any more.
    ///
    /// # Errors
    /// `NotFound`; `KeyNotProved` for one that nobody has proved; `Forbidden` for a read-only user; and those of [`By`].
    pub async fn publish(&self, user: UserId, by: By, id: &str, published: bool) -> Result<UserKey> {
        let mut tx = self.pool.begin().await?;
        let user = self.users.lock_for(&mut tx, user, by).await?;
        user.may_change()?;
        let key = store::find(&mut tx, user.id, KeyType::Pgp, id).await?.ok_or(Code::NotFound)?;
        if published && key.verified_at.is_none() {
            return Err(Code::KeyNotProved.into());
        }
        let listed = if published { place_of(&user) } else { None };
        if let Some(place) = &listed {
            // The e-mail is this user's now: whoever had it before has nothing there any more.
            store::update_unlisted(&mut tx, user.id, place).await?;
        }
        let key = UserKey { published, listed, ..key };
        store::update(&mut tx, &key).await?;
        tx.commit().await?;
        Ok(key)
    }

    /// The published keys of a user that are not over, in ASCII armor; `None` when there is none, or an administrator blocked the user.
    pub async fn published(&self, user: UserId) -> Result<Option<String>> {
        let owner = self.users.find(user).await?.filter(|owner| owner.refuse_blocked().is_ok());
        let keys = if owner.is_some() { self.list(user).await? } else { Vec::new() };
        let armor: String = keys.into_iter().filter_map(|key| self.public(key)).collect();
        Ok(Some(armor).filter(|armor| !armor.is_empty()))
    }

    /// What a Web Key Directory has at this place, without armor: the published keys of whoever has this e-mail now, each with no
    /// other user id than that.
    pub async fn listed(&self, domain: &str, name: &str) -> Result<Option<Vec<u8>>> {
        let place = Listed { domain: domain.to_ascii_lowercase(), name: name.to_owned() };
        let found = store::list_listed(&mut *self.pool.acquire().await?, &place).await?;
        let mut bytes = Vec::new();
        for key in found {
            // The e-mail may have changed since, or be another's.
            let owner = self.users.find(key.user).await?.filter(|owner| owner.refuse_blocked().is_ok());
            let owner = owner.filter(|owner| place_of(owner).as_ref() == Some(&place));
            let Some(email) = owner.and_then(|owner| owner.email_canonical) else { continue };
            let (user, id) = (key.user, key.id.clone());
            match self.public(key).map(|armor| Certificate::of_email(&armor, &email)).transpose() {
                Ok(found) => bytes.extend(found.flatten().unwrap_or_default()),
                // The other keys are as good as without it.
                Err(error) => tracing::error!(%user, id, reason = error.reason(), "cannot read a published key"),
            }
        }
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// What everybody may have of a key now: it was judged when it came, and what was revoked since was deleted.
    fn public(&self, key: UserKey) -> Option<String> {
        let openpgp = key.openpgp.filter(|openpgp| key.published && !openpgp.is_over(self.clock.now()))?;
        Some(openpgp.certificate)
    }

    /// Whether mails can be encrypted to a key now.
    pub fn encrypts(&self, key: &UserKey) -> bool {
        let now = self.clock.now();
        key.openpgp.as_ref().is_some_and(|openpgp| !openpgp.is_over(now) && openpgp.encryption.is_possible(now))
    }

    /// What is still to be signed to prove a key.
    pub fn text_to_sign(&self, key: &UserKey) -> Option<String> {
        let challenge = key.challenge.as_ref().filter(|challenge| challenge.expires_at() > self.clock.now());
        challenge.map(|challenge| challenge.text.clone())
    }

    /// The keys of a user, oldest first.
    pub async fn list(&self, user: UserId) -> Result<Vec<UserKey>> {
        Ok(store::list(&mut *self.pool.acquire().await?, user).await?)
    }

    /// One key of a user.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn find(&self, user: UserId, key_type: KeyType, id: &str) -> Result<UserKey> {
        let found = store::find(&mut *self.pool.acquire().await?, user, key_type, id).await?;
        found.ok_or_else(|| Code::NotFound.into())
    }

    /// Does what takes long on a thread of its own, one thing after another; of a user one at a time waits for that.
    ///
    /// # Errors
    /// `TooManyRequests` while another one of this user waits, `Overloaded` while too many of others do.
    async fn at_leisure<T: Send + 'static>(
        &self,
        user: UserId,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = self.places.take(user)?;
        let overloaded = || Error::Busy { code: Code::Overloaded, retry_after: Duration::from_secs(1) };
        let in_line = self.line.clone().try_acquire_owned().map_err(|_| overloaded())?;
        let turn = self.turns.clone().acquire_owned().await.context("nobody closes it")?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = (turn, in_line, place);
            work()
        });
        done.await.context("looking at a key")?
    }
}

/// Whether the owner of this key has signed this text.
fn check(key: &UserKey, text: &str, signature: &str, now: DateTime<Utc>) -> Result<()> {
    if let Some(openpgp) = &key.openpgp {
        return Certificate::reread(&openpgp.certificate, now)?.verify(text, signature, now);
    }
    let address = BitcoinAddress::parse(&key.id).map_err(anyhow::Error::msg)?;
    if address.has_signed(text, signature) {
        return Ok(());
    }
    let reason = "must be that of BIP-137 or, for Taproot, BIP-322 in Base64, under exactly verificationToken";
    Err(Error::invalid(Code::InvalidSignature, Problem::new("signature", reason)))
}

/// Where a Web Key Directory has the keys of this user, who has proved the e-mail.
fn place_of(user: &User) -> Option<Listed> {
    let email = user.email_canonical.as_deref().filter(|_| user.email_verified_at.is_some())?;
    let (local, domain) = email.rsplit_once('@')?;
    Some(Listed { domain: domain.to_owned(), name: wkd::name(local) })
}
