//! Mails that tell users what happened to their account.

use sqlx::PgConnection;

use super::Users;
use crate::error::Result;
use crate::mail::Letter;
use crate::users::User;

impl Users {
    /// Queues a notice in the transaction of what it tells of, if there is a proved address, the user wants it, and did
    /// not get too many of them. Whether it was queued.
    pub async fn notify(&self, tx: &mut PgConnection, user: &User, letter: &Letter) -> Result<bool> {
        match user.proved_mailbox() {
            Some(mailbox) if user.notifications.want(letter) => {
                self.mail.queue(tx, Some(user.id), &mailbox, letter).await
            }
            _ => Ok(false),
        }
    }
}
