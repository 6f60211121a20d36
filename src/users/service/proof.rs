//! How an e-mail is proved, and who keeps it.

use sqlx::PgConnection;

use super::{Users, refuse_taken_email};
use crate::clock::minute;
use crate::db;
use crate::error::{Code, Error, Result};
use crate::events::Draft;
use crate::mail::Letter;
use crate::pace::evenly;
use crate::secret::PlainSecret;
use crate::users::{Login, User, UserId, email, store};
use crate::verification::Purpose;

impl Users {
    /// Proves the e-mail of the user whom `login` names by the token of a mail. The first who proves an address keeps
    /// it, and its other claimants die. Again with the used token answers the same.
    pub async fn verify_email(&self, login: &Login, token: &PlainSecret, draft: &Draft) -> Result<User> {
        // A named user is read and an unknown one is not.
        evenly(self.redeem_proof(login, token, draft)).await
    }

    async fn redeem_proof(&self, login: &Login, token: &PlainSecret, draft: &Draft) -> Result<User> {
        let refused = || Error::from(Code::InvalidToken);
        let mut tx = self.pool.begin().await?;
        let (user, claim) = self.find_claimant(&mut tx, login, token, &[Purpose::EmailVerification], draft).await?;
        let claim = claim.filter(|_| !user.is_dead(self.clock.now())).ok_or_else(refused)?;
        if claim.is_used {
            return Ok(user);
        }

        let canonical = user.email_canonical.clone().ok_or_else(refused)?;
        store::lock_email(&mut tx, &canonical).await?;
        // The user before the token, as whoever deletes a user does it.
        store::find_for_update(&mut tx, user.id).await?.ok_or_else(refused)?;
        if !self.verification.consume(&mut tx, token, user.id, Purpose::EmailVerification).await? {
            // Somebody was faster: with this very token, or by proving the same address for another sign-up.
            let claim = self.verification.find(&mut tx, token, &[Purpose::EmailVerification]).await?;
            return match claim {
                Some(_) => store::find(&mut tx, user.id).await?.ok_or_else(refused),
                None => Err(refused()),
            };
        }
        self.prove(&mut tx, user.id, &canonical).await.map_err(|error| match error {
            Error::Refused(Code::EmailTaken) => refused(),
            error => error,
        })?;
        let user = store::find(&mut tx, user.id).await?.ok_or_else(refused)?;
        tx.commit().await?;
        Ok(user)
    }

    /// Takes an operator's word for the e-mail of a user.
    pub async fn verify_by_operator(&self, id: UserId) -> Result<User> {
        let mut tx = self.pool.begin().await?;
        let user = store::find(&mut tx, id).await?.ok_or(Code::NotFound)?;
        if !user.is_email_proved()
            && let Some(canonical) = &user.email_canonical
        {
            store::lock_email(&mut tx, canonical).await?;
            self.prove(&mut tx, id, canonical).await?;
        }
        let user = store::find(&mut tx, id).await?.ok_or(Code::NotFound)?;
        tx.commit().await?;
        Ok(user)
    }

    pub(super) async fn prove(&self, tx: &mut PgConnection, id: UserId, canonical: &str) -> Result<()> {
        refuse_taken_email(tx, id, canonical).await?;
        let proved = store::mark_email_verified(tx, id, self.clock.now()).await;
        db::on_constraint(proved, &[("users_email_key", Code::EmailTaken)])?;
        self.bury_other_claimants(tx, id, canonical).await
    }

    /// Deletes the sign-ups that claimed an address which now belongs to `winner`.
    pub(super) async fn bury_other_claimants(
        &self,
        tx: &mut PgConnection,
        winner: UserId,
        canonical: &str,
    ) -> Result<()> {
        let dead = store::delete_other_claimants(tx, winner, canonical).await?;
        self.events.forget(tx, &dead).await
    }

    /// Sends a fresh verification mail to the user whom `login` names, if there is one who can use it. Says nothing
    /// about that.
    pub async fn resend_proof(&self, login: &Login, draft: &Draft) -> Result<()> {
        evenly(self.ask_again_for_proof(login, draft)).await
    }

    async fn ask_again_for_proof(&self, login: &Login, draft: &Draft) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        let Some(user) = self.find_by_login(&mut tx, login).await? else { return Ok(()) };
        draft.concerns(user.id);
        let is_due =
            |user: &User| !user.is_email_proved() && user.block_cause.is_none() && !user.is_dead(self.clock.now());
        let recipient = user.email_canonical.as_deref().unwrap_or_default();
        // Both asked before anything is locked: a crowd that gets no mail must not queue where there is a user.
        if !is_due(&user) || !self.mail.has_room(&mut tx, recipient, Letter::VERIFICATION).await? {
            return Ok(());
        }
        // As it is now that nobody else changes it: it may have been proved, or have died, meanwhile.
        let Some(user) = store::find_for_update(&mut tx, user.id).await? else { return Ok(()) };
        // Without its mail the token is worth nothing: both or none.
        if is_due(&user) && self.ask_for_proof(&mut tx, &user).await? {
            // Doubt would tell whether there is such a user. Asking once more harms nobody.
            tx.commit_aside().await?;
            self.mail.wake();
        }
        Ok(())
    }

    /// Queues the mail that asks for the proof of an e-mail; `false` when the caps stopped it, or there is no e-mail.
    pub(super) async fn ask_for_proof(&self, tx: &mut PgConnection, user: &User) -> Result<bool> {
        let (Some(given), Some(canonical)) = (&user.email, &user.email_canonical) else { return Ok(false) };
        let issued = self.verification.issue(tx, user.id, Purpose::EmailVerification, user.dies_at()).await?;
        let letter = Letter::Verification {
            user_id: user.id.to_string(),
            token: issued.token.expose().to_owned(),
            signed_up_at: minute(user.created_at),
            // Of the sign-up, not of whoever asks for another mail: who reads it must see whose account it proves.
            signed_up_from: user.signed_up_from.map(|address| address.to_string()),
            expires_at: minute(issued.expires_at),
        };
        self.mail.queue(tx, Some(user.id), &email::mailbox(given, canonical), &letter).await
    }
}
