//! `PUT /users/{userId}/token/{token}` and `POST /users/{userId}/token`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::events::Draft;
use crate::http::error::ErrorBody;
use crate::http::extract::PathFields;
use crate::http::openapi::{Anywhere, TooManyRequests};
use crate::users::Users;

/// The routes of this room.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(verify)).routes(routes!(resend))
}

/// A proved e-mail. `code` is what the vendor's client looks at (bloq-accounts.md 3.3).
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct VerifiedResponse {
    #[schema(example = "user-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11")]
    id: String,
    verified_at: Option<Timestamp>,
    #[schema(example = "UserVerified")]
    code: &'static str,
    #[schema(example = "The e-mail address is verified; log in with POST /auth.")]
    message: &'static str,
}

/// Prove an e-mail
///
/// With the token of the verification mail. `userId` may also be the e-mail. Again with the used token gets the same
/// answer.
#[utoipa::path(
    put,
    path = "/users/{userId}/token/{token}",
    tag = "Users",
    params(
        ("userId" = String, Path, description = "User id or e-mail"),
        ("token" = String, Path, description = "The token of the mail, a UUID v4"),
    ),
    responses(
        Anywhere, TooManyRequests,
        (status = 200, description = "The e-mail is proved", body = VerifiedResponse),
        (status = 400, description = "`InvalidToken`: everything else, an unknown user too", body = ErrorBody),
    ),
)]
async fn verify(State(users): State<Users>, draft: Draft, path: PathFields) -> Result<Json<VerifiedResponse>> {
    let user = users.verify_email(&path.user(), &path.token(), &draft).await?;
    Ok(Json(VerifiedResponse {
        id: user.id.to_string(),
        verified_at: user.verified_at().map(Timestamp::from),
        code: "UserVerified",
        message: "The e-mail address is verified; log in with POST /auth.",
    }))
}

/// What everybody is told, whether or not a mail was sent.
#[derive(Serialize, utoipa::ToSchema)]
struct ResentResponse {
    #[schema(example = "If this user has an e-mail to verify, a fresh token is on its way.")]
    message: &'static str,
}

/// Send a fresh verification token
///
/// Always the same answer. `userId` may also be the e-mail.
#[utoipa::path(
    post,
    path = "/users/{userId}/token",
    tag = "Users",
    params(("userId" = String, Path, description = "User id or e-mail")),
    responses(
        Anywhere, TooManyRequests,
        (status = 202, description = "A mail is sent if there is something to verify", body = ResentResponse)),
)]
async fn resend(
    State(users): State<Users>,
    draft: Draft,
    path: PathFields,
) -> Result<(StatusCode, Json<ResentResponse>)> {
    users.resend_proof(&path.user(), &draft).await?;
    let message = "If this user has an e-mail to verify, a fresh token is on its way.";
    Ok((StatusCode::ACCEPTED, Json(ResentResponse { message })))
}
