//! Asks the quota of the client's address before a handler does anything. It reads no body and never waits.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::{MatchedPath, Request};
use axum::http::Method;

use super::{Action, Network, Quotas};
use crate::error::Result;
use crate::http::client_ip::ClientIp;

/// Which routes count as what. A route that does something for strangers, or hashes a password, and is not here has no
/// limit; a test holds the list against the routes there are. One method hashes only for some of its messages, and asks by itself:
/// Account.Store, in `users/grpc.rs`.
const ROUTES: &[(Method, &str, Action)] = &[
    (Method::POST, "/auth", Action::LogIn),
    (Method::POST, "/blickfeld.secure.services.Authentication/Login", Action::LogIn),
    (Method::PUT, "/users/{userId}/activation", Action::LogIn),
    (Method::PUT, "/users/{userId}/password/{token}", Action::LogIn),
    (Method::POST, "/users", Action::SignUp),
    (Method::POST, "/users/{userId}/token", Action::Mail),
    (Method::POST, "/users/password-reset", Action::Mail),
    (Method::PUT, "/users/me/email", Action::Mail),
    (Method::POST, "/auth/token", Action::TokenGrant),
    (Method::PUT, "/users/me/password", Action::Confirmation),
    (Method::DELETE, "/users/me", Action::Confirmation),
    (Method::POST, "/users/invitations", Action::Confirmation),
    (Method::POST, "/users/{userId}/reset", Action::Confirmation),
    (Method::POST, "/blickfeld.secure.services.Account/Create", Action::Confirmation),
    (Method::POST, "/blickfeld.secure.services.Account/Reset", Action::Confirmation),
    (Method::PUT, "/users/{userId}/token/{token}", Action::Redemption),
    (Method::PUT, "/users/{userId}/email/{token}", Action::Redemption),
    (Method::GET, "/users/{userId}/keys/pgp.asc", Action::Lookup),
    (Method::GET, "/.well-known/openpgpkey/{domain}/hu/{name}", Action::Lookup),
    (Method::GET, "/.well-known/openpgpkey/hu/{name}", Action::Lookup),
    (Method::POST, "/users/me/keys/pgp", Action::Confirmation),
    (Method::POST, "/users/me/keys/pgp/{id}/verification", Action::Confirmation),
    (Method::POST, "/users/me/keys/bit/{id}/verification", Action::Confirmation),
    (Method::POST, "/auth/siwe", Action::LogIn),
    (Method::POST, "/users/{publicAddress}/nonce", Action::Nonce),
    (Method::GET, "/users/{publicAddress}/nonce", Action::Nonce),
    (Method::POST, "/auth/users/{publicAddress}/nonce", Action::Nonce),
    (Method::GET, "/auth/users/{publicAddress}/nonce", Action::Nonce),
    (Method::POST, "/users/me/addresses/{address}/nonce", Action::Nonce),
    (Method::POST, "/users/me/addresses", Action::Confirmation),
];

/// What a request to this route counts as, if it counts.
pub fn action_of(method: &Method, route: &str) -> Option<Action> {
    // One is answered by the handler of the other.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    ROUTES.iter().find(|(known, path, _)| known == method && *path == route).map(|(_, _, action)| *action)
}

/// Refuses a client that asks too often. Inside the events: a refusal is one, too.
pub fn limit(quotas: &Quotas, request: &Request) -> Result<()> {
    let route = request.extensions().get::<MatchedPath>();
    let Some(action) = route.and_then(|route| action_of(request.method(), route.as_str())) else { return Ok(()) };
    let client = request.extensions().get::<ClientIp>().map(|client| client.address);
    // Without an address everybody would be one client, which is the safe mistake.
    quotas.ask(action, Network::of(client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))))
}
