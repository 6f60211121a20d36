//! `PUT /users/me/email` and `PUT /users/{userId}/email/{token}`

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
use crate::users::{EmailAddress, Users};

/// The new address, and the password once more.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct EmailRequest {
    #[schema(example = "ada.king@example.com", max_length = 254)]
    email: String,
    #[schema(example = "Analytical Engine 1843", format = Password)]
    password: String,
}

/// Ask for another e-mail
///
/// Sends a token to the new address, and an announcement to the old one; nothing changes before the token comes back. A
/// taken address gets the same answer. A later wish voids an earlier one.
#[utoipa::path(
    put,
    path = "/users/me/email",
    tag = "Users",
    request_body = EmailRequest,
    responses(
        Anywhere, TooManyRequests,
        (status = 202, description = "A mail is sent if the address can be had", body = MailedResponse),
        BadJson, NeedsAccount,
    ),
    security(("account" = [])),
)]
pub(super) async fn ask_for_email(
    State(users): State<Users>,
    Caller(caller): Caller,
    origin: Origin,
    JsonBody(mut body): JsonBody,
) -> Result<(StatusCode, Json<MailedResponse>)> {
    let (email, password) = (body.required("email", EmailAddress::parse), body.password("password"));
    let (Some(email), Some(password), true) = (&email, &password, body.is_fine()) else {
        return Err(body.into_error());
    };
    users.ask_for_email(&caller.user, email, password, &origin).await?;
    let message = "If this address can be had, a mail with a token is on its way to it.";
    Ok((StatusCode::ACCEPTED, Json(MailedResponse { message })))
}

/// Confirm another e-mail
///
/// With the token of the mail to the new address, which works once. `userId` may also be the present e-mail.
#[utoipa::path(
    put,
    path = "/users/{userId}/email/{token}",
    tag = "Users",
    params(
        ("userId" = String, Path, description = "User id or present e-mail"),
        ("token" = String, Path, description = "The token of the mail, a UUID v4"),
    ),
    responses(
        Anywhere, TooManyRequests,
        (status = 200, description = "The profile", body = ProfileView),
        (status = 400, description = "`InvalidToken`: everything else, also an address that is somebody else's by now",
         body = ErrorBody),
        (status = 403, description = "`UserBlocked`, `Forbidden` for a read-only user", body = ErrorBody),
    ),
)]
pub(super) async fn confirm_email(
    State(users): State<Users>,
    draft: Draft,
    origin: Origin,
    path: PathFields,
) -> Result<Json<ProfileView>> {
    let user = users.confirm_email(&path.user(), &path.token(), &origin, &draft).await?;
    Ok(Json((&user).into()))
}
