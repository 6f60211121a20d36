//! Another e-mail: asked for with the password, proved by a token that travels to it.

use super::Users;
use crate::clock::minute;
use crate::db;
use crate::error::{Code, Error, Result};
use crate::events::Draft;
use crate::mail::Letter;
use crate::origin::Origin;
use crate::pace::evenly;
use crate::secret::PlainSecret;
use crate::users::password::Password;
use crate::users::{BlockCause, EmailAddress, Login, User, email, store};
use crate::verification::{NewEmail, Purpose};

impl Users {
    /// Mails a token to the new address, and an announcement to the old one. A taken address is answered alike, and its
    /// owner is told (decisions.md section 2). A later wish voids an earlier one.
    ///
    /// A wish of which the old address is not told any more, because it was told of too many, is none: it goes nowhere and
    /// voids nothing. That also bounds how many strangers one account may write to.
    pub async fn ask_for_email(
        &self,
        caller: &User,
        email: &EmailAddress,
        password: &Password,
        origin: &Origin,
    ) -> Result<()> {
        caller.may_change()?;
        self.confirm_password(caller, "password", password).await?;
        evenly(self.mail_email_change(caller, email, origin)).await
    }

    async fn mail_email_change(&self, caller: &User, email: &EmailAddress, origin: &Origin) -> Result<()> {
        let (at, from) = (minute(self.clock.now()), origin.from());
        let mut tx = self.pool.begin().await?;
        // One wish of a user at a time, or two at once would both leave a token.
        let user = store::find_for_update(&mut tx, caller.id).await?.ok_or(Code::TokenInvalid)?;
        if user.token_version != caller.token_version {
            // The password was changed since it was checked: this wish came too late.
            return Err(Code::TokenInvalid.into());
        }
        // Whatever the caller can see is the same whether the address is taken or not: what the old mailbox gets, the
        // token in the export, and that it takes the place of an earlier one. Of a taken address nobody learns it.
        let new_email = email.given().to_owned();
        let announcement = Letter::EmailChangeAsked { at: at.clone(), from: from.clone(), new_email };
        // Counted by the account too: one that moves from address to address of its own has fresh mailboxes.
        if !self.mail.count(&mut tx, &user.id.to_string(), &announcement).await? {
            return Ok(());
        }
        if let Some(mailbox) = user.proved_mailbox()
            && !self.mail.queue(&mut tx, Some(user.id), &mailbox, &announcement).await?
        {
            return Ok(());
        }
        let new = NewEmail { given: email.given().to_owned(), canonical: email.canonical().to_owned() };
        let issued = self.verification.issue_for_email(&mut tx, user.id, &new).await?;
        match store::find_holder(&mut tx, email.canonical()).await? {
            Some(owner) if owner.id != user.id => self.tell_owner(&mut tx, owner.id, origin).await?,
            _ => {
                let letter = Letter::EmailChange {
                    user_id: user.id.to_string(),
                    token: issued.token.expose().to_owned(),
                    asked_at: at,
                    asked_from: from,
                    expires_at: minute(issued.expires_at),
                };
                let mailbox = email::mailbox(&new.given, &new.canonical);
                self.mail.queue(&mut tx, Some(user.id), &mailbox, &letter).await?;
            }
        }
        tx.commit().await?;
        self.mail.wake();
        Ok(())
    }

    /// Makes the address that the token carries the user's e-mail, proved. The old address is told.
    ///
    /// # Errors
    /// `InvalidToken` for a token that is unknown, used, voided or over, and for an address that became somebody else's
    /// meanwhile; `UserBlocked`; `Forbidden` for a user who became read-only.
    pub async fn confirm_email(
        &self,
        login: &Login,
        token: &PlainSecret,
        origin: &Origin,
        draft: &Draft,
    ) -> Result<User> {
        // A named user is read and an unknown one is not.
        evenly(self.redeem_email_change(login, token, origin, draft)).await
    }

    async fn redeem_email_change(
        &self,
        login: &Login,
        token: &PlainSecret,
        origin: &Origin,
        draft: &Draft,
    ) -> Result<User> {
        let refused = || Error::from(Code::InvalidToken);
        let purpose = Purpose::EmailChange;
        let mut tx = self.pool.begin().await?;
        let (user, claim) = self.find_claimant(&mut tx, login, token, &[purpose], draft).await?;
        let new = claim.and_then(|claim| claim.new_email).ok_or_else(refused)?;

        store::lock_email(&mut tx, &new.canonical).await?;
        let before = store::find_for_update(&mut tx, user.id).await?.ok_or_else(refused)?;
        if before.block_cause == Some(BlockCause::Admin) {
            return Err(Code::UserBlocked.into());
        }
        before.may_change()?;
        if before.activation_expires_at.is_some() {
            // A Reset takes the account out of the hands that asked for this.
            return Err(refused());
        }
        if !self.verification.consume(&mut tx, token, user.id, purpose).await? {
            return Err(refused());
        }
        // Asked first, because a violated constraint would be written to the log of Postgres, address and all.
        if store::find_holder(&mut tx, &new.canonical).await?.is_some_and(|holder| holder.id != user.id) {
            return Err(refused());
        }
        let now = self.clock.now();
        let updated = store::update_email(&mut tx, user.id, &new.given, &new.canonical, now).await;
        db::on_constraint(updated, &[("users_email_key", Code::InvalidToken)])?;
        self.bury_other_claimants(&mut tx, user.id, &new.canonical).await?;
        // What was mailed to the old address opens nothing any more.
        for purpose in [Purpose::PasswordReset, Purpose::Invitation, Purpose::EmailVerification] {
            self.verification.withdraw(&mut tx, user.id, purpose).await?;
        }
        let letter = Letter::EmailChanged { at: minute(now), from: origin.from(), new_email: new.given };
        self.notify(&mut tx, &before, &letter).await?;
        let user = store::find(&mut tx, user.id).await?.ok_or_else(refused)?;
        tx.commit().await?;
        self.mail.wake();
        Ok(user)
    }
}
