//! `GET`, `PATCH` and `DELETE /users/me`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::ProfileView;
use crate::error::Result;
use crate::http::error::ErrorBody;
use crate::http::extract::{Caller, JsonBody, MergePatch};
use crate::http::fields::Fields;
use crate::http::openapi::{Anywhere, BadJson, NeedsAccount, TooManyRequests};
use crate::origin::Origin;
use crate::users::{
    BillingAddress, BillingAddressChange, Country, DisplayName, EntityType, NotificationsChange, ProfileChange,
    ShortText, Users,
};

/// The profile of the caller
#[utoipa::path(
    get,
    path = "/users/me",
    tag = "Users",
    responses(
        Anywhere,
        (status = 200, description = "The profile", body = ProfileView),
        NeedsAccount,
    ),
    security(("account" = [])),
)]
pub(super) async fn me(Caller(caller): Caller) -> Json<ProfileView> {
    Json(ProfileView::from(&*caller.user))
}

/// A JSON merge patch of a profile.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct ProfilePatch {
    /// Cannot be removed.
    #[schema(example = "Ada King", min_length = 1, max_length = 200, nullable = false)]
    display_name: Option<String>,
    /// `null` means `individual`.
    entity_type: Option<EntityType>,
    billing_address: Option<BillingAddressForm>,
    /// `null` means all of them, also member by member.
    notifications: Option<NotificationsPatch>,
}

/// Where bills go. A member that is `null` is not there.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
#[schema(example = json!({"address": "123 Abc Street", "zipCode": "12345", "state": "CA", "country": "US"}))]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
pub(super) struct BillingAddressForm {
    #[schema(max_length = 200)]
    address: Option<String>,
    #[schema(max_length = 200)]
    zip_code: Option<String>,
    #[schema(max_length = 200)]
    state: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[schema(min_length = 2, max_length = 2)]
    country: Option<String>,
}

/// Which notices are wanted. A member that is `null` is wanted.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
#[schema(example = json!({"newLogIn": false}))]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct NotificationsPatch {
    password_changed: Option<bool>,
    email_changed: Option<bool>,
    new_client_key: Option<bool>,
    new_log_in: Option<bool>,
}

/// Change the profile
///
/// A JSON merge patch (RFC 7396): what is absent stays, `null` removes. The e-mail has a route of its own.
#[utoipa::path(
    patch,
    path = "/users/me",
    tag = "Users",
    request_body(content(
        (ProfilePatch = "application/merge-patch+json"),
        (ProfilePatch = "application/json"),
    )),
    responses(
        Anywhere,
        (status = 200, description = "The profile as it is now", body = ProfileView),
        BadJson, NeedsAccount,
    ),
    security(("account" = [])),
)]
pub(super) async fn change_profile(
    State(users): State<Users>,
    Caller(caller): Caller,
    MergePatch(mut body): MergePatch,
) -> Result<Json<ProfileView>> {
    let display_name = body.change("displayName", DisplayName::parse);
    let change = ProfileChange {
        display_name: body.staying("displayName", display_name),
        entity_type: body.change("entityType", EntityType::parse),
        billing_address: body.change_object("billingAddress", billing_address_change),
        notifications: body.change_object("notifications", notifications_change),
    };
    if !body.is_fine() {
        return Err(body.into_error());
    }
    Ok(Json((&users.change_profile(&caller.user, change).await?).into()))
}

pub(super) fn billing_address(fields: &mut Fields) -> BillingAddress {
    BillingAddress {
        address: fields.optional("address", ShortText::parse).map(|text| text.0),
        zip_code: fields.optional("zipCode", ShortText::parse).map(|text| text.0),
        state: fields.optional("state", ShortText::parse).map(|text| text.0),
        country: fields.optional("country", Country::parse).map(|country| country.0),
    }
}

fn billing_address_change(fields: &mut Fields) -> BillingAddressChange {
    BillingAddressChange {
        address: fields.change("address", ShortText::parse).map(|text| text.0),
        zip_code: fields.change("zipCode", ShortText::parse).map(|text| text.0),
        state: fields.change("state", ShortText::parse).map(|text| text.0),
        country: fields.change("country", Country::parse).map(|country| country.0),
    }
}

fn notifications_change(fields: &mut Fields) -> NotificationsChange {
    NotificationsChange {
        password_changed: fields.change_flag("passwordChanged"),
        email_changed: fields.change_flag("emailChanged"),
        new_client_key: fields.change_flag("newClientKey"),
        new_log_in: fields.change_flag("newLogIn"),
    }
}

/// The password once more.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct DeleteRequest {
    #[schema(example = "Analytical Engine 1843", format = Password)]
    password: String,
}

/// Delete the account
///
/// With everything that belongs to it. What happened stays in the events under an id that means nobody any more.
#[utoipa::path(
    delete,
    path = "/users/me",
    tag = "Users",
    request_body = DeleteRequest,
    responses(
        Anywhere, TooManyRequests,
        (status = 204, description = "It is gone"),
        BadJson, NeedsAccount,
        (status = 409, description = "`LastAdmin`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
pub(super) async fn delete_account(
    State(users): State<Users>,
    Caller(caller): Caller,
    origin: Origin,
    JsonBody(mut body): JsonBody,
) -> Result<StatusCode> {
    let password = body.password("password");
    let (Some(password), true) = (&password, body.is_fine()) else { return Err(body.into_error()) };
    users.delete(&caller.user, password, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}
