//! The door of the room: every route about a user, by what it is about.

mod email;
mod management;
mod password;
mod profile;
mod sign_up;

use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{BillingAddress, EntityType, Notifications, User};
use crate::app::App;
use crate::clock::Timestamp;

pub use management::{InvitedView, UserView, named};

/// The routes of this room.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sign_up::sign_up, management::list_users))
        .routes(routes!(profile::me, profile::change_profile, profile::delete_account))
        .routes(routes!(password::change_password))
        .routes(routes!(password::activate))
        .routes(routes!(password::ask_for_reset))
        .routes(routes!(password::reset_password))
        .routes(routes!(email::ask_for_email))
        .routes(routes!(email::confirm_email))
        .routes(routes!(management::invite))
        .routes(routes!(management::show_user, management::change_user, management::delete_user))
        .routes(routes!(management::block_user))
        .routes(routes!(management::reset_user))
}

/// A user as the wire shows one (bloq-accounts.md 3.6).
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileView {
    /// `user-<uuid v4>`
    #[schema(example = "user-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11")]
    id: String,
    /// As it was typed; null for a user without e-mail.
    #[schema(example = "ada@example.com")]
    email: Option<String>,
    #[schema(example = "Ada Lovelace")]
    display_name: String,
    entity_type: EntityType,
    billing_address: Option<BillingAddress>,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// When the e-mail was proved; null until then.
    verified_at: Option<Timestamp>,
    /// Which notices are wanted by mail.
    notifications: Notifications,
}

impl From<&User> for ProfileView {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.to_string(),
            display_name: user.shown_name(),
            verified_at: user.verified_at().map(Timestamp::from),
            email: user.email.clone(),
            entity_type: user.entity_type,
            billing_address: user.billing_address.clone(),
            notifications: user.notifications,
            created_at: user.created_at.into(),
            updated_at: user.updated_at.into(),
        }
    }
}

/// What everybody is told, whether or not a mail was sent.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct MailedResponse {
    #[schema(example = "If this address can be used, a mail is on its way.")]
    message: &'static str,
}
