//! `POST /users`, `GET /users/me`, `PUT /users/me/password` and `PUT /users/{userId}/activation`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{BillingAddress, Country, DisplayName, EmailAddress, EntityType, Origin, ShortText, SignUp, User, Users};
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::events::Draft;
use crate::http::error::ErrorBody;
use crate::http::extract::{Caller, JsonBody, PathFields};
use crate::http::fields::Fields;
use crate::http::openapi::{Anywhere, BadJson, NeedsAccount};
use crate::http::pace;

/// The routes of this room.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sign_up))
        .routes(routes!(me))
        .routes(routes!(change_password))
        .routes(routes!(activate))
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
}

impl From<User> for ProfileView {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            display_name: user.shown_name(),
            verified_at: user.verified_at().map(Timestamp::from),
            email: user.email,
            entity_type: user.entity_type,
            billing_address: user.billing_address,
            created_at: user.created_at.into(),
            updated_at: user.updated_at.into(),
        }
    }
}

/// What a person gives to sign up.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct SignUpRequest {
    #[schema(example = "ada@example.com", max_length = 254)]
    email: String,
    #[schema(example = "Ada Lovelace", min_length = 1, max_length = 200)]
    display_name: String,
    /// Entropy of at least 95 bits, at least 6 distinct characters, at most 1024 bytes.
    #[schema(example = "Analytical Engine 1843", format = Password)]
    password: String,
    /// `individual` if not given
    entity_type: Option<EntityType>,
    billing_address: Option<BillingAddress>,
}

/// Sign up
///
/// Sends a mail with a verification token. A taken e-mail gets the same answer, and its owner a mail that says so.
#[utoipa::path(
    post,
    path = "/users",
    tag = "Users",
    request_body = SignUpRequest,
    responses(
        Anywhere,
        (status = 201, description = "The profile, not yet verified", body = ProfileView),
        BadJson,
    ),
)]
async fn sign_up(
    State(users): State<Users>,
    draft: Draft,
    origin: Origin,
    JsonBody(mut body): JsonBody,
) -> Result<(StatusCode, Json<ProfileView>)> {
    let email = body.required("email", EmailAddress::parse);
    let display_name = body.required("displayName", DisplayName::parse);
    let password = body.password("password");
    let entity_type = body.optional("entityType", EntityType::parse).unwrap_or_default();
    let billing_address = body.object("billingAddress", billing_address);

    let (Some(email), Some(display_name), Some(password), true) = (&email, &display_name, &password, body.is_fine())
    else {
        if let Some(password) = &password {
            let email = email.as_ref().map(EmailAddress::given);
            let judged = users.judge(password, email, display_name.as_ref().map(DisplayName::as_str));
            body.note("password", judged);
        }
        return Err(body.into_error());
    };
    let sign_up = SignUp {
        email: email.clone(),
        display_name: display_name.clone(),
        password: password.clone(),
        entity_type,
        billing_address,
    };
    let user = pace::evenly(users.register(sign_up, origin, &draft)).await?;
    Ok((StatusCode::CREATED, Json(user.into())))
}

fn billing_address(fields: &mut Fields) -> BillingAddress {
    BillingAddress {
        address: fields.optional("address", ShortText::parse).map(|text| text.0),
        zip_code: fields.optional("zipCode", ShortText::parse).map(|text| text.0),
        state: fields.optional("state", ShortText::parse).map(|text| text.0),
        country: fields.optional("country", Country::parse).map(|country| country.0),
    }
}

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
async fn me(Caller(caller): Caller) -> Json<ProfileView> {
    Json(caller.user.into())
}

/// The old and the new password.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct ChangePasswordRequest {
    #[schema(example = "Analytical Engine 1843", format = Password)]
    old_password: String,
    #[schema(example = "Difference Engine 1822", format = Password)]
    new_password: String,
}

/// Change the password
///
/// Ends every other account token of the user; client keys stay.
#[utoipa::path(
    put,
    path = "/users/me/password",
    tag = "Users",
    request_body = ChangePasswordRequest,
    responses(
        Anywhere,
        (status = 200, description = "The profile", body = ProfileView),
        BadJson, NeedsAccount,
    ),
    security(("account" = [])),
)]
async fn change_password(
    State(users): State<Users>,
    Caller(caller): Caller,
    JsonBody(mut body): JsonBody,
) -> Result<Json<ProfileView>> {
    let (old, new) = (body.password("oldPassword"), body.password("newPassword"));
    let (Some(old), Some(new), true) = (&old, &new, body.is_fine()) else {
        if let Some(new) = &new {
            let User { email, display_name, .. } = &caller.user;
            body.note("newPassword", users.judge(new, email.as_deref(), display_name.as_deref()));
        }
        return Err(body.into_error());
    };
    let user = users.change_password(&caller.user, caller.token_id, old, new).await?;
    Ok(Json(user.into()))
}

/// The activation password and the first real one.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct ActivationRequest {
    #[schema(example = "m4KzPq7RtWx9YbCd", format = Password)]
    activation_password: String,
    #[schema(example = "Analytical Engine 1843", format = Password)]
    new_password: String,
}

/// Exchange an activation password for a real one
///
/// For users made by an administrator. `userId` may also be the e-mail or the login name.
#[utoipa::path(
    put,
    path = "/users/{userId}/activation",
    tag = "Users",
    params(("userId" = String, Path, description = "User id, e-mail or login name")),
    request_body = ActivationRequest,
    responses(
        Anywhere,
        (status = 200, description = "The profile", body = ProfileView),
        BadJson,
        (status = 401, description = "`InvalidCredentials`: wrong, expired or unknown", body = ErrorBody,
         headers(("WWW-Authenticate" = String, description = "RFC 7617"))),
        (status = 403, description = "`UserBlocked`", body = ErrorBody),
    ),
)]
async fn activate(
    State(users): State<Users>,
    draft: Draft,
    path: PathFields,
    JsonBody(mut body): JsonBody,
) -> Result<Json<ProfileView>> {
    let (activation, new) = (body.password("activationPassword"), body.password("newPassword"));
    let (Some(activation), Some(new), true) = (&activation, &new, body.is_fine()) else {
        if let Some(new) = &new {
            body.note("newPassword", users.judge(new, None, None));
        }
        return Err(body.into_error());
    };
    let user = users.activate(&path.user(), activation, new, &draft).await?;
    Ok(Json(user.into()))
}
