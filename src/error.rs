//! All that can go wrong, without a word of HTTP or gRPC.
//!
//! [`Code`] is the list of public error codes. Three tables elsewhere translate it, one per kind of door:
//! `http/error.rs` (status and JSON), `cli/mod.rs` (exit code and a line on stderr), later `grpc.rs`. A client never
//! sees the inside of [`Error::Internal`]; the log does, once.

use std::time::Duration;

/// Result of everything that may be refused.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refusal, or a failure of ours.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request was understood and is refused.
    #[error("{}", .0.message())]
    Refused(Code),
    /// The request carries values that cannot be taken; every one is listed.
    #[error("{}", summary(.problems))]
    Invalid {
        /// [`Code::ValidationFailed`], or the more telling code when only one thing is wrong.
        code: Code,
        /// What is wrong, field by field.
        problems: Vec<Problem>,
    },
    /// Try again later.
    #[error("{}", .code.message())]
    Busy {
        /// Which bound was reached.
        code: Code,
        /// When it may be worth another try.
        retry_after: Duration,
    },
    /// The database cannot be used, and nothing has changed. Its pulse tells the log of an outage.
    #[error("{}", Code::DatabaseUnavailable.message())]
    Away(#[source] Option<anyhow::Error>),
    /// Our own fault. Logged where it becomes an answer, and nowhere else.
    #[error("internal error")]
    Internal(#[source] anyhow::Error),
}

/// One field that cannot be taken, and why, in words for the person who sent it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// The field as the client named it; nested ones with dots.
    #[schema(example = "password")]
    pub field: String,
    /// What is wrong and what is allowed.
    #[schema(example = "its entropy is 38 bits, at least 95 are needed")]
    pub message: String,
}

impl Problem {
    /// A problem of this field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl Error {
    /// A single field is wrong, for which there is a code of its own.
    pub fn invalid(code: Code, problem: Problem) -> Self {
        Self::Invalid { code, problems: vec![problem] }
    }

    /// Fields or parameters are wrong. The list is bounded: a body of nonsense must not become a larger answer.
    pub fn invalid_fields(mut problems: Vec<Problem>) -> Self {
        let more = problems.len().saturating_sub(MOST_PROBLEMS);
        if more > 0 {
            problems.truncate(MOST_PROBLEMS);
            problems.push(Problem::new("…", format!("and {more} more")));
        }
        Self::Invalid { code: Code::ValidationFailed, problems }
    }

    /// The public code of this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Refused(code) | Self::Invalid { code, .. } | Self::Busy { code, .. } => *code,
            Self::Away(_) => Code::DatabaseUnavailable,
            Self::Internal(_) => Code::InternalError,
        }
    }

    /// When it may be worth another try, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => Some(*retry_after),
            Self::Away(_) => Some(Duration::from_secs(1)),
            Self::Refused(_) | Self::Invalid { .. } | Self::Internal(_) => None,
        }
    }

    /// What the log may say of it, which is more than a client is told.
    pub fn reason(&self) -> String {
        match self {
            // The library repeats the causes of its errors.
            Self::Away(Some(reason)) => reason.to_string(),
            Self::Internal(reason) => format!("{reason:#}"),
            refusal => refusal.to_string(),
        }
    }

    /// A change was begun, and it is not known to be made.
    pub fn outcome_unknown() -> Self {
        Self::Busy { code: Code::OutcomeUnknown, retry_after: Duration::from_secs(1) }
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self::Refused(code)
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

/// More than any form of ours has fields.
const MOST_PROBLEMS: usize = 20;

/// Problems that the message repeats; `details` has them all.
const MOST_IN_MESSAGE: usize = 5;

fn summary(problems: &[Problem]) -> String {
    let first = problems.iter().take(MOST_IN_MESSAGE);
    first.map(|problem| format!("{}: {}", problem.field, problem.message)).collect::<Vec<_>>().join("; ")
}

macro_rules! codes {
    ($($(#[$comment:meta])* $name:ident => $message:literal,)*) => {
        /// Every public error code: the `code` of an error body (decisions.md section 2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, utoipa::ToSchema)]
        pub enum Code {
            $($(#[$comment])* #[doc = $message] $name,)*
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// What a person is told.
            pub fn message(self) -> &'static str {
                match self {
                    $(Code::$name => $message,)*
                }
            }
        }
    };
}

codes! {
    // the request itself
    NotFound => "There is no such path, user or key.",
    MethodNotAllowed => "This path exists, but not with this method; the Allow header lists what it takes.",
    PayloadTooLarge => "The request body is larger than 64 KiB (128 KiB where it carries a public key).",
    UnsupportedMediaType => "The body must be JSON, with Content-Type: application/json (application/merge-patch+json for PATCH).",
    MalformedBody => "The body is not valid JSON.",
    ValidationFailed => "Some fields are missing, unknown or not allowed; details lists them.",
    // who is asking
    Unauthorized => "This needs a valid account token: Authorization: Bearer <accessToken of POST /auth>.",
    TokenInvalid => "The token is broken, revoked or not one of ours; get a new one from POST /auth.",
    TokenExpired => "The token has expired; get a new one from POST /auth.",
    Forbidden => "The token is good, but it does not give the right to do this.",
    UserBlocked => "This user is blocked.",
    // logging in
    InvalidCredentials =>
        "The name or the password of HTTP Basic is missing or wrong, or the e-mail of this user has not been verified yet.",
    ActivationRequired =>
        "The account waits for activation: exchange the activation password with PUT /users/{userId}/activation, or verify the e-mail.",
    InvalidClientCredentials => "The client id or the client secret is wrong.",
    InvalidRefreshToken => "The refresh token is broken, expired or revoked; use the client keys again.",
    UserNotFound => "No user signs in with this address; an administrator has to enable it first.",
    InvalidSignature => "The signature is not the one that is needed here; details say more.",
    UnsupportedGrantType => "grantType must be clientCredentials or refreshToken.",
    // changing things
    InvalidToken => "This token is unknown, expired or already used.",
    InvalidPassword => "The password is wrong.",
    WeakPassword => "The password is too weak.",
    TooManyClientKeys => "A user may have at most 50 client keys; delete one first.",
    TooManyApplicationKeys => "A user may have at most 50 application keys; delete one first.",
    HttpKeyExists => "A user may have one application key for HTTP Basic, and this one has it; delete it first.",
    IdempotencyKeyReused => "Another request was made with this Idempotency-Key; a new request needs a new key.",
    EmailTaken => "This e-mail belongs to another user.",
    NameTaken => "This login name belongs to another user.",
    SeveralSignUps => "Several sign-ups claim this e-mail, and nobody has proved it; name one of them by its id.",
    TooManyAccounts => "There are more accounts than one answer can hold; read them page by page with GET /users.",
    AddressTaken => "This address belongs to another user.",
    TooManyAddresses => "A user may have at most 20 addresses; remove one first.",
    LastAdmin => "This is the last active administrator.",
    InvalidState => "The account cannot go from its present state to that one; a reset can.",
    // keys of users
    InvalidKey => "This is not a public key that can be used.",
    KeyTooLarge => "A public key may have at most 64 KiB without its armor.",
    SecretKey => "This holds a secret key. It was not stored; still, think of it as known to others, and send the public key.",
    NestedPacket => "There are packets in it that no public key has.",
    KeyExpired => "The key has expired.",
    KeyRevoked => "The key was revoked by its owner.",
    WeakKey => "The key is too weak.",
    TooManyUserKeys => "A user may have at most 20 keys; delete one first.",
    KeyNotProved => "Nobody has proved to hold this key yet.",
    KeyTaken => "Somebody else has proved to hold this key.",
    ChallengeExpired => "The text to sign was over after 24 hours; send the key again to get another.",
    // bad days
    TooManyRequests => "Too many requests; try again later.",
    Overloaded => "The server is busy; try again later.",
    DatabaseUnavailable => "The database cannot be reached; try again later.",
    OutcomeUnknown => "The change may have been made or not: this could not be found out. Look before you repeat it.",
    ShuttingDown => "The server is shutting down; another one, or this one later, will answer.",
    Timeout => "The request took too long.",
    InternalError => "Something went wrong on our side; the request id finds it in our log.",
}
