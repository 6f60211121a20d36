//! The one table from [`Error`] to gRPC: status, message, and the public code in the trailing metadata `error-code`. Internal
//! errors are logged here, once.

use std::time::Duration;

use axum::http::HeaderMap;
use tonic::Status;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::error::{Code, Error};

/// The metadata with the name of the [`Code`] behind a status, which says more than one of sixteen statuses can.
const ERROR_CODE: &str = "error-code";

/// When it may be worth another try, in milliseconds, as clients of gRPC read it (proposal A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The status of each code (qb2-account-service.md section 5, decisions.md section 4).
pub fn status(code: Code) -> tonic::Code {
    match code {
        Code::NotFound => tonic::Code::NotFound,
        Code::MethodNotAllowed | Code::UnsupportedMediaType => tonic::Code::Unimplemented,
        Code::MalformedBody
        | Code::ValidationFailed
        | Code::UnsupportedGrantType
        | Code::InvalidToken
        | Code::WeakPassword
        | Code::InvalidKey
        | Code::KeyTooLarge
        | Code::SecretKey
        | Code::NestedPacket
        | Code::KeyExpired
        | Code::KeyRevoked
        | Code::WeakKey
        | Code::ChallengeExpired => tonic::Code::InvalidArgument,
        Code::Unauthorized
        | Code::InvalidCredentials
        | Code::InvalidClientCredentials
        | Code::InvalidRefreshToken
        | Code::UserNotFound => tonic::Code::Unauthenticated,
        // What makes the vendor's clients throw a token away and log in again.
        Code::TokenInvalid | Code::TokenExpired => tonic::Code::PermissionDenied,
        Code::Forbidden
        | Code::UserBlocked
        | Code::ActivationRequired
        | Code::InvalidPassword
        | Code::InvalidSignature => tonic::Code::PermissionDenied,
        Code::EmailTaken
        | Code::NameTaken
        | Code::AddressTaken
        | Code::KeyTaken
        | Code::IdempotencyKeyReused
        | Code::HttpKeyExists => tonic::Code::AlreadyExists,
        Code::LastAdmin | Code::InvalidState | Code::SeveralSignUps | Code::KeyNotProved => {
            tonic::Code::FailedPrecondition
        }
        Code::PayloadTooLarge
        | Code::TooManyRequests
        | Code::TooManyClientKeys
        | Code::TooManyApplicationKeys
        | Code::TooManyAddresses
        | Code::TooManyUserKeys
        | Code::TooManyAccounts => tonic::Code::ResourceExhausted,
        Code::Overloaded | Code::DatabaseUnavailable | Code::OutcomeUnknown | Code::ShuttingDown => {
            tonic::Code::Unavailable
        }
        Code::Timeout => tonic::Code::DeadlineExceeded,
        Code::InternalError => tonic::Code::Internal,
    }
}

/// What a person is told where the words for HTTP would lead astray.
fn message(error: &Error) -> String {
    let text = match error {
        Error::Internal(_) => Code::InternalError.message(),
        Error::Refused(Code::Unauthorized) => {
            "This needs a token in the metadata `token`; get one from Authentication.Login."
        }
        Error::Refused(Code::TokenInvalid | Code::TokenExpired) => {
            "The token is broken, of an old session, or ended; get a new one from Authentication.Login."
        }
        Error::Refused(Code::InvalidCredentials) => {
            "The name or the password is wrong, or the e-mail of this user has not been verified yet."
        }
        Error::Refused(Code::ActivationRequired) => "The account waits for its activation.",
        Error::Refused(Code::PayloadTooLarge) => "The message is larger than 64 KiB.",
        Error::Refused(Code::MethodNotAllowed) => "There is no such method.",
        Error::Refused(Code::NotFound) => "There is no such account or key.",
        Error::Refused(Code::UnsupportedMediaType) => "Compressed messages are not taken.",
        other => return other.to_string(),
    };
    text.to_owned()
}

/// The status that tells a client of this error.
pub fn of(error: &Error) -> Status {
    let code = error.code();
    if let Error::Internal(reason) = error {
        tracing::error!(error = format!("{reason:#}"), "a call failed");
    }
    let mut metadata = MetadataMap::new();
    if let Ok(name) = MetadataValue::try_from(format!("{code:?}")) {
        metadata.insert(ERROR_CODE, name);
    }
    if code == Code::UnsupportedMediaType {
        metadata.insert("grpc-accept-encoding", MetadataValue::from_static("identity"));
    }
    if let Some(pause) = error.retry_after() {
        // Rounded up: whoever comes back after exactly this time is not too early.
        metadata
            .insert(PUSHBACK, u64::try_from((pause + Duration::from_millis(1)).as_millis()).unwrap_or(u64::MAX).into());
    }
    Status::with_metadata(status(code), message(error), metadata)
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        of(&error)
    }
}

impl From<Code> for Status {
    fn from(code: Code) -> Self {
        of(&code.into())
    }
}

/// The code that an answer carries, if it is a refusal of ours.
pub fn code_in(headers: &HeaderMap) -> Option<Code> {
    let name = headers.get(ERROR_CODE)?.to_str().ok()?;
    Code::ALL.iter().copied().find(|code| format!("{code:?}") == name)
}

/// The status that an answer carries, in its head when there is no message, else in its trailers.
pub fn status_in(headers: &HeaderMap, trailers: Option<&HeaderMap>) -> tonic::Code {
    let value = headers.get("grpc-status").or_else(|| trailers?.get("grpc-status"));
    value.map_or(tonic::Code::Unknown, |value| tonic::Code::from_bytes(value.as_bytes()))
}

/// The same in HTTP, for events (google.rpc.Code).
pub fn http_status(status: tonic::Code) -> u16 {
    use tonic::Code as Status;
    match status {
        Status::Ok => 200,
        Status::Cancelled => 499,
        Status::InvalidArgument | Status::FailedPrecondition | Status::OutOfRange => 400,
        Status::Unauthenticated => 401,
        Status::PermissionDenied => 403,
        Status::NotFound => 404,
        Status::AlreadyExists | Status::Aborted => 409,
        Status::ResourceExhausted => 429,
        Status::Unimplemented => 501,
        Status::Unavailable => 503,
        Status::DeadlineExceeded => 504,
        Status::Unknown | Status::Internal | Status::DataLoss => 500,
    }
}
