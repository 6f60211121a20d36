//! `POST /users`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::ProfileView;
use super::profile::{BillingAddressForm, billing_address};
use crate::error::Result;
use crate::events::Draft;
use crate::http::extract::JsonBody;
use crate::http::openapi::{Anywhere, BadJson, TooManyRequests};
use crate::origin::Origin;
use crate::users::{DisplayName, EmailAddress, EntityType, SignUp, Users};

/// What a person gives to sign up.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
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
    billing_address: Option<BillingAddressForm>,
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
        Anywhere, TooManyRequests,
        (status = 201, description = "The profile, not yet verified", body = ProfileView),
        BadJson,
    ),
)]
pub(super) async fn sign_up(
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
    let user = users.register(sign_up, origin, &draft).await?;
    Ok((StatusCode::CREATED, Json((&user).into())))
}
