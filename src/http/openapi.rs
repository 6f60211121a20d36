//! The head of the OpenAPI 3.1 document, its security schemes, and the refusals that many routes share. The routes
//! describe themselves.

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi};

use super::error::ErrorBody;

/// The document before the routes are in it.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Bloq Accounts",
        description = "Accounts, tokens, client keys, and a feed of every request.\n\n\
                       Every error has the same body: `code` for programs, `message` for people, `requestId` for \
                       support, and `details` field by field where fields are wrong. Times are UTC with three fraction \
                       digits.",
    ),
    components(schemas(ErrorBody)),
    tags(
        (name = "Users", description = "Sign-up, verification, profile, password"),
        (name = "Administration", description = "What administrators do to users"),
        (name = "Authentication", description = "Account tokens and client tokens"),
        (name = "Wallets", description = "Signing in with the key of an Ethereum address"),
        (name = "Client keys", description = "Credentials for programs"),
        (name = "User keys", description = "Public keys: OpenPGP, Bitcoin addresses"),
        (name = "Events", description = "What happened"),
        (name = "Service", description = "The service itself"),
    ),
    modifiers(&Head),
)]
pub struct Document;

struct Head;

impl Modify for Head {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        // Filled from the manifest, which names none.
        document.info.license = None;
        let account = Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("An account token of `POST /auth`"))
            .build();
        let basic = Http::builder()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("E-mail, user id or login name, and password"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("account", SecurityScheme::Http(account));
        components.add_security_scheme("basic", SecurityScheme::Http(basic));
    }
}

/// What any route may answer. Named first in a list of answers: a later one with the same status says more.
#[derive(IntoResponses)]
pub enum Anywhere {
    /// `ValidationFailed`: a trusted proxy sent no address in `X-Forwarded-For`
    #[response(status = 400)]
    Doubtful(ErrorBody),
    /// `PayloadTooLarge`: the body is larger than 64 KiB (128 KiB where it carries a public key)
    #[response(status = 413)]
    PayloadTooLarge(ErrorBody),
    /// `InternalError`
    #[response(status = 500)]
    InternalError(ErrorBody),
    /// `Overloaded`, `DatabaseUnavailable` or `Timeout`: nothing was changed, and `Retry-After` says when to try again.
    /// `OutcomeUnknown`: the change may have been made, look before you repeat it
    #[response(status = 503, headers(("Retry-After" = u64, description = "Seconds")))]
    Unavailable(ErrorBody),
}

/// What a route may answer that needs no database.
#[derive(IntoResponses)]
pub enum Static {
    /// `ValidationFailed`: a trusted proxy sent no address in `X-Forwarded-For`
    #[response(status = 400)]
    Doubtful(ErrorBody),
    /// `PayloadTooLarge`: the body is larger than 64 KiB (128 KiB where it carries a public key)
    #[response(status = 413)]
    PayloadTooLarge(ErrorBody),
}

/// What a route with a limit may answer (`ratelimit/layer.rs`, services that ask for a password, exports).
#[derive(IntoResponses)]
pub enum TooManyRequests {
    /// `TooManyRequests`: from this address, with wrong passwords, or at once; `Retry-After` says when to try again
    #[response(status = 429, headers(("Retry-After" = u64, description = "Seconds")))]
    Throttled(ErrorBody),
}

/// What a route with parameters may answer.
#[derive(IntoResponses)]
pub enum BadRequest {
    /// `ValidationFailed`: `details` lists the parameters
    #[response(status = 400)]
    Invalid(ErrorBody),
}

/// What a route that looks at the signature of a wallet may answer.
#[derive(IntoResponses)]
pub enum WalletSignIn {
    /// `UserNotFound`: the address is not enabled
    #[response(status = 401, headers(("WWW-Authenticate" = String, description = "RFC 6750")))]
    UserNotFound(ErrorBody),
    /// `InvalidSignature`; after a good one `UserBlocked`, `ActivationRequired`
    #[response(status = 403)]
    Refused(ErrorBody),
}

/// What a route with a JSON body may answer.
#[derive(IntoResponses)]
pub enum BadJson {
    /// `MalformedBody`, `ValidationFailed`, or the more telling code when only one thing is wrong
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// `UnsupportedMediaType`: the body is not JSON
    #[response(status = 415)]
    MediaType(ErrorBody),
}

/// What a route behind an account token may answer.
#[derive(IntoResponses)]
pub enum NeedsAccount {
    /// `Unauthorized`, `TokenInvalid` or `TokenExpired`; `WWW-Authenticate` follows RFC 6750
    #[response(status = 401, headers(("WWW-Authenticate" = String, description = "RFC 6750")))]
    Unauthorized(ErrorBody),
    /// `Forbidden` for a token of another kind or too little right, `UserBlocked`
    #[response(status = 403)]
    Forbidden(ErrorBody),
}

/// What a route with an id in its path may answer.
#[derive(IntoResponses)]
pub enum UnknownThing {
    /// `NotFound`
    #[response(status = 404)]
    NotFound(ErrorBody),
}
