//! `PUT /users/me/password`, `PUT /users/{userId}/activation`, `POST /users/password-reset` and
//! `PUT /users/{userId}/password/{token}`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::{MailedResponse, ProfileView};
use crate::error::Result;
use crate::events::Draft;
use crate::http::error::ErrorBody;
use crate::http::extract::{Caller, JsonBody, PathFields};
use crate::http::openapi::{Anywhere, BadJson, NeedsAccount, TooManyRequests};
use crate::origin::Origin;
use crate::users::{EmailAddress, User, Users};

/// The old and the new password.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
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
        Anywhere, TooManyRequests,
        (status = 200, description = "The profile", body = ProfileView),
        BadJson, NeedsAccount,
    ),
    security(("account" = [])),
)]
pub(super) async fn change_password(
    State(users): State<Users>,
    Caller(caller): Caller,
    origin: Origin,
    JsonBody(mut body): JsonBody,
) -> Result<Json<ProfileView>> {
    let (old, new) = (body.password("oldPassword"), body.password("newPassword"));
    let (Some(old), Some(new), true) = (&old, &new, body.is_fine()) else {
        if let Some(new) = &new {
            let User { email, display_name, .. } = &*caller.user;
            body.note("newPassword", users.judge(new, email.as_deref(), display_name.as_deref()));
        }
        return Err(body.into_error());
    };
    let user = users.change_password(&caller.user, caller.token_id, old, new, &origin).await?;
    Ok(Json((&user).into()))
}

/// The activation password and the first real one.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
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
        Anywhere, TooManyRequests,
        (status = 200, description = "The profile", body = ProfileView),
        BadJson,
        (status = 401, description = "`InvalidCredentials`: wrong, expired or unknown", body = ErrorBody,
         headers(("WWW-Authenticate" = String, description = "RFC 7617"))),
        (status = 403, description = "`UserBlocked`", body = ErrorBody),
    ),
)]
pub(super) async fn activate(
    State(users): State<Users>,
    draft: Draft,
    origin: Origin,
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
    let user = users.activate(&path.user(), activation, new, &origin, &draft).await?;
    Ok(Json((&user).into()))
}

/// Whose password was forgotten.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct ResetRequest {
    #[schema(example = "ada@example.com", max_length = 254)]
    email: String,
}

/// Ask for a new password
///
/// Sends a token to the address, if it is that of an active account. Always the same answer.
#[utoipa::path(
    post,
    path = "/users/password-reset",
    tag = "Users",
    request_body = ResetRequest,
    responses(
        Anywhere, TooManyRequests,
        (status = 202, description = "A mail is sent if there is somebody to send it to", body = MailedResponse),
        BadJson,
    ),
)]
pub(super) async fn ask_for_reset(
    State(users): State<Users>,
    draft: Draft,
    origin: Origin,
    JsonBody(mut body): JsonBody,
) -> Result<(StatusCode, Json<MailedResponse>)> {
    let email = body.required("email", EmailAddress::parse);
    let (Some(email), true) = (&email, body.is_fine()) else { return Err(body.into_error()) };
    users.ask_for_reset(email, &origin, &draft).await?;
    let message = "If there is an active account with this address, a mail is on its way.";
    Ok((StatusCode::ACCEPTED, Json(MailedResponse { message })))
}

/// The new password.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct NewPasswordRequest {
    #[schema(example = "Difference Engine 1822", format = Password)]
    new_password: String,
}

/// Set a new password
///
/// With the token of a mail, which works once; that of an invitation sets the first password and proves the e-mail. Ends every
/// account token of the user; client keys stay. `userId` may also be the e-mail.
#[utoipa::path(
    put,
    path = "/users/{userId}/password/{token}",
    tag = "Users",
    params(
        ("userId" = String, Path, description = "User id or e-mail"),
        ("token" = String, Path, description = "The token of the mail, a UUID v4"),
    ),
    request_body = NewPasswordRequest,
    responses(
        Anywhere, TooManyRequests,
        (status = 200, description = "The profile", body = ProfileView),
        BadJson,
        (status = 400, description = "`InvalidToken` for everything that is no live token of this user, `WeakPassword`, \
         which leaves the token as it is, and what any JSON body may be refused for", body = ErrorBody),
        (status = 403, description = "`UserBlocked`", body = ErrorBody),
    ),
)]
pub(super) async fn reset_password(
    State(users): State<Users>,
    draft: Draft,
    origin: Origin,
    path: PathFields,
    JsonBody(mut body): JsonBody,
) -> Result<Json<ProfileView>> {
    let new = body.password("newPassword");
    let (Some(new), true) = (&new, body.is_fine()) else {
        if let Some(new) = &new {
            body.note("newPassword", users.judge(new, None, None));
        }
        return Err(body.into_error());
    };
    let user = users.reset_password(&path.user(), &path.token(), new, &origin, &draft).await?;
    Ok(Json((&user).into()))
}
