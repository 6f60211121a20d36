//! A new password by a token that travels by mail: for somebody who forgot the old one, or was invited to choose the first.

use super::{Users, weak};
use crate::clock::minute;
use crate::error::{Code, Error, Result};
use crate::events::Draft;
use crate::mail::Letter;
use crate::origin::Origin;
use crate::pace::evenly;
use crate::secret::PlainSecret;
use crate::users::password::Password;
use crate::users::{BlockCause, EmailAddress, Login, State, User, store};
use crate::verification::Purpose;

impl Users {
    /// Mails a token for a new password to the holder of this address, if there is one who may use it: not to a blocked
    /// user, to one after a Reset, or to an unproved sign-up. Says nothing about that.
    pub async fn ask_for_reset(&self, email: &EmailAddress, origin: &Origin, draft: &Draft) -> Result<()> {
        evenly(self.mail_reset(email, origin, draft)).await
    }

    async fn mail_reset(&self, email: &EmailAddress, origin: &Origin, draft: &Draft) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        // Both asked before anything is locked: a crowd that gets no mail must not queue where there is a user.
        let has_room = self.mail.has_room(&mut tx, email.canonical(), Letter::PASSWORD_RESET).await?;
        let Some(holder) = store::find_holder(&mut tx, email.canonical()).await? else { return Ok(()) };
        draft.concerns(holder.id);
        if !has_room {
            return Ok(());
        }
        // As it is now that nobody else changes it: a token must not travel to an address that was just given up, nor
        // outlive a password that was just changed.
        let user = store::find_for_update(&mut tx, holder.id).await?;
        let Some(user) = user.filter(|user| user.email_canonical == holder.email_canonical) else { return Ok(()) };
        let (Some(mailbox), State::Active) = (user.proved_mailbox(), user.state()) else { return Ok(()) };
        let issued = self.verification.issue(&mut tx, user.id, Purpose::PasswordReset, None).await?;
        let letter = Letter::PasswordReset {
            user_id: user.id.to_string(),
            token: issued.token.expose().to_owned(),
            asked_at: minute(self.clock.now()),
            asked_from: origin.from(),
            expires_at: minute(issued.expires_at),
        };
        // Without its mail the token is worth nothing: both or none.
        if self.mail.queue(&mut tx, Some(user.id), &mailbox, &letter).await? {
            // Doubt would tell whether there is such a user. Asking once more harms nobody.
            tx.commit_aside().await?;
            self.mail.wake();
        }
        Ok(())
    }

    /// Sets a new password by the token of a mail, which may be an invitation: that also proves the e-mail. Every account token
    /// dies, and the owner is told. It lifts neither a block nor a Reset (decisions.md section 2).
    ///
    /// # Errors
    /// `InvalidToken` for a token that is unknown, used or over, `UserBlocked`, `WeakPassword`, which leaves the token as
    /// it is.
    pub async fn reset_password(
        &self,
        login: &Login,
        token: &PlainSecret,
        new: &Password,
        origin: &Origin,
        draft: &Draft,
    ) -> Result<User> {
        let refused = || Error::from(Code::InvalidToken);
        let purposes = [Purpose::PasswordReset, Purpose::Invitation];
        // A named user is read and an unknown one is not.
        let (user, claim) = evenly(async {
            let mut connection = self.pool.acquire().await?;
            self.find_claimant(&mut connection, login, token, &purposes, draft).await
        })
        .await?;
        let purpose = claim.filter(|claim| !claim.is_used).ok_or_else(refused)?.purpose;
        may_redeem(&user)?;
        self.judge_about(&user, new)?;
        if self.hasher.verify(new, Some(&user.password_hash)).await? {
            return Err(weak("newPassword", "it is the old password".into()));
        }
        let hash = self.hasher.hash(new).await?;

        let mut tx = self.pool.begin().await?;
        // An address that may be proved, before its user, as whoever proves one does it.
        let unproved = user.email_canonical.filter(|_| purpose == Purpose::Invitation);
        if let Some(canonical) = &unproved {
            store::lock_email(&mut tx, canonical).await?;
        }
        let user = store::find_for_update(&mut tx, user.id).await?.ok_or_else(refused)?;
        may_redeem(&user)?;
        if !self.verification.consume(&mut tx, token, user.id, purpose).await? {
            return Err(refused());
        }
        self.void_mails(&mut tx, user.id).await?;
        let now = self.clock.now();
        let version = store::update_password(&mut tx, user.id, user.token_version, &hash, now).await?;
        self.tokens.revoke_others(&mut tx, user.id, None, version.ok_or_else(refused)?).await?;
        if let Some(canonical) = unproved.filter(|_| !user.is_email_proved()) {
            self.prove(&mut tx, user.id, &canonical).await?;
        }
        // Who reads the owner's mail is no stranger: this is the way in while strangers guess at the account.
        self.log_ins.note(&mut tx, user.id, origin).await?;
        let letter = Letter::PasswordChanged { at: minute(now), from: origin.from(), is_reset: true };
        self.notify(&mut tx, &user, &letter).await?;
        let user = store::find(&mut tx, user.id).await?.ok_or_else(refused)?;
        tx.commit().await?;
        self.mail.wake();
        Ok(user)
    }
}

/// A token of a mail opens nothing that an administrator closed.
fn may_redeem(user: &User) -> Result<()> {
    match user.block_cause {
        Some(BlockCause::Admin | BlockCause::Failures) => Err(Code::UserBlocked.into()),
        None if user.activation_expires_at.is_some() => Err(Code::InvalidToken.into()),
        None => Ok(()),
    }
}
