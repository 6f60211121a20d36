//! What users do to their own account: change what they say about themselves, and leave.

use super::Users;
use crate::change::Change;
use crate::clock::minute;
use crate::db::Tx;
use crate::error::{Code, Error, Result};
use crate::mail::Letter;
use crate::origin::Origin;
use crate::users::password::Password;
use crate::users::{EntityType, Notifications, ProfileChange, User, store};

impl Users {
    /// Changes the profile by a merge patch. Of two at the same time, both count.
    pub async fn change_profile(&self, caller: &User, change: ProfileChange) -> Result<User> {
        let mut tx = self.pool.begin().await?;
        let before = store::find_for_update(&mut tx, caller.id).await?.ok_or(Code::TokenInvalid)?;
        before.may_change()?;
        let after = patched(before.clone(), change);
        let shown = |user: &User| (user.display_name.clone(), user.billing_address.clone(), user.notifications);
        if shown(&after) == shown(&before) && after.entity_type == before.entity_type {
            return Ok(before);
        }
        let after = User { updated_at: self.clock.now(), ..after };
        store::update_profile(&mut tx, &after).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Deletes the account of a user who knows the password, with everything that belongs to it. The id stays in events
    /// as a pseudonym; what tells of the person is cleared there by a worker (decisions.md section 2).
    ///
    /// The address gets a last mail, which no switch holds back: there are no switches any more.
    pub async fn delete(&self, caller: &User, password: &Password, origin: &Origin) -> Result<()> {
        caller.may_change()?;
        self.confirm_password(caller, "password", password).await?;
        let mut tx = self.pool.begin().await?;
        store::lock_admins(&mut tx).await?;
        let user = store::find_for_update(&mut tx, caller.id).await?.ok_or(Code::TokenInvalid)?;
        if user.token_version != caller.token_version {
            // The password was changed since it was checked.
            return Err(Error::from(Code::TokenInvalid));
        }
        let letter = Letter::AccountDeleted { at: minute(self.clock.now()), from: origin.from(), by_admin: false };
        self.erase(tx, &user, &letter).await
    }

    /// Deletes a user whose row is locked, under [`store::lock_admins`].
    pub(super) async fn erase(&self, mut tx: Tx, user: &User, last_letter: &Letter) -> Result<()> {
        self.refuse_last_admin(&mut tx, user).await?;
        self.events.forget(&mut tx, &[user.id]).await?;
        self.mail.keep_notices(&mut tx, user.id).await?;
        store::delete(&mut tx, user.id).await?;
        if let Some(mailbox) = user.proved_mailbox() {
            self.mail.queue(&mut tx, None, &mailbox, last_letter).await?;
        }
        tx.commit().await?;
        self.mail.wake();
        Ok(())
    }
}

fn patched(mut user: User, change: ProfileChange) -> User {
    if let Some(display_name) = change.display_name {
        user.display_name = Some(display_name.as_str().to_owned());
    }
    change.entity_type.apply_or(&mut user.entity_type, EntityType::default());
    match change.billing_address {
        Change::Keep => {}
        Change::Remove => user.billing_address = None,
        Change::Set(address) => user.billing_address = Some(address.apply(user.billing_address.take())),
    }
    match change.notifications {
        Change::Keep => {}
        Change::Remove => user.notifications = Notifications::default(),
        Change::Set(notifications) => notifications.apply(&mut user.notifications),
    }
    user
}
