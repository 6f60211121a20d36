//! The one table from [`Error`] to HTTP: status, headers, JSON body. Internal errors are logged here, once.

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::request_id::RequestId;
use crate::error::{Code, Error, Problem};

/// The body of every refusal (decisions.md section 2).
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// What went wrong, for programs.
    pub code: Code,
    /// What went wrong, for people.
    #[schema(example = "There is no such path, user or key.")]
    pub message: String,
    /// The id of the request, as in the header `x-request-id`.
    #[schema(example = "0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11")]
    pub request_id: String,
    /// Every field that cannot be taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub details: Vec<Problem>,
}

/// The status of each code.
pub fn status(code: Code) -> StatusCode {
    match code {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::MalformedBody
        | Code::ValidationFailed
        | Code::UnsupportedGrantType
        | Code::InvalidToken
        | Code::InvalidPassword
        | Code::WeakPassword
        | Code::InvalidKey
        | Code::KeyTooLarge
        | Code::SecretKey
        | Code::NestedPacket
        | Code::KeyExpired
        | Code::KeyRevoked
        | Code::WeakKey
        | Code::ChallengeExpired => StatusCode::BAD_REQUEST,
        Code::Unauthorized
        | Code::TokenInvalid
        | Code::TokenExpired
        | Code::InvalidCredentials
        | Code::InvalidClientCredentials
        | Code::InvalidRefreshToken
        | Code::UserNotFound => StatusCode::UNAUTHORIZED,
        Code::Forbidden | Code::UserBlocked | Code::ActivationRequired | Code::InvalidSignature => {
            StatusCode::FORBIDDEN
        }
        Code::TooManyClientKeys
        | Code::TooManyApplicationKeys
        | Code::HttpKeyExists
        | Code::IdempotencyKeyReused
        | Code::EmailTaken
        | Code::NameTaken
        | Code::AddressTaken
        | Code::TooManyAddresses
        | Code::TooManyUserKeys
        | Code::KeyTaken
        | Code::KeyNotProved
        | Code::LastAdmin
        | Code::TooManyAccounts
        | Code::SeveralSignUps
        | Code::InvalidState => StatusCode::CONFLICT,
        Code::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        Code::Overloaded | Code::DatabaseUnavailable | Code::OutcomeUnknown | Code::ShuttingDown | Code::Timeout => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The challenge of a 401 (RFC 7617, RFC 6750 section 3); a request that carried nothing is told no error.
fn challenge(code: Code) -> Option<&'static str> {
    match code {
        Code::InvalidCredentials => Some("Basic realm=\"bloq-accounts\", charset=\"UTF-8\""),
        Code::Unauthorized | Code::InvalidClientCredentials | Code::UserNotFound => {
            Some("Bearer realm=\"bloq-accounts\"")
        }
        Code::TokenInvalid | Code::InvalidRefreshToken => {
            Some("Bearer realm=\"bloq-accounts\", error=\"invalid_token\", error_description=\"not valid\"")
        }
        Code::TokenExpired => {
            Some("Bearer realm=\"bloq-accounts\", error=\"invalid_token\", error_description=\"expired\"")
        }
        Code::Forbidden => Some("Bearer realm=\"bloq-accounts\", error=\"insufficient_scope\""),
        _ => None,
    }
}

/// An error on its way out: the response carries it until [`write_down`] is called.
#[derive(Clone)]
struct Failure {
    code: Code,
    message: String,
    details: Vec<Problem>,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Error::Internal(error) = &self {
            tracing::error!(error = format!("{error:#}"), "internal error");
        }
        let code = self.code();
        let mut response = status(code).into_response();
        if let Some(challenge) = challenge(code) {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(retry_after) = self.retry_after() {
            // Rounded up: whoever comes back after exactly these seconds is not too early.
            let seconds = retry_after.as_millis().div_ceil(1000).max(1);
            response.headers_mut().insert(RETRY_AFTER, u64::try_from(seconds).unwrap_or(u64::MAX).into());
        }
        let message = match &self {
            Error::Internal(_) => code.message().to_owned(),
            error => error.to_string(),
        };
        let details = if let Error::Invalid { problems, .. } = self { problems } else { Vec::new() };
        response.extensions_mut().insert(Failure { code, message, details });
        response
    }
}

/// Writes the body of a response that carries an error; leaves others alone.
pub fn write_down(mut response: Response, id: &RequestId) -> Response {
    let Some(Failure { code, message, details }) = response.extensions().get::<Failure>().cloned() else {
        return response;
    };
    let body = Json(ErrorBody { code, message, request_id: id.to_string(), details }).into_response();
    response.headers_mut().extend(body.headers().clone());
    *response.body_mut() = body.into_body();
    response
}

/// The code of a response that carries an error.
pub fn code_of(response: &Response) -> Option<Code> {
    response.extensions().get::<Failure>().map(|failure| failure.code)
}
