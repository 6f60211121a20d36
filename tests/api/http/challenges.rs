//! Every 401 says how to do better (RFC 9110 section 11.6.1), in the words of RFC 6750 and RFC 7617.

use chrono::TimeDelta;

use crate::harness::{STRONG, TestApp};

#[tokio::test]
async fn who_brings_no_token_is_told_no_error() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for header in ["", "Bearer", "Bearer ", "Token abc", "bearer", &format!("Bearer{}", ada.token)] {
        let answer = app.get("/users/me").header("authorization", header).await.refused(401, "Unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"bloq-accounts\"", "{header:?}");
    }
    let call = app.get("/users/me").basic(&ada.email, STRONG);
    assert_eq!(call.await.refused(401, "Unauthorized").header("www-authenticate"), "Bearer realm=\"bloq-accounts\"");
}

#[tokio::test]
async fn who_brings_a_bad_token_is_told_so() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let revoked = app.log_in(&ada.email, STRONG).await;
    app.delete("/auth").bearer(&revoked).await.expect(204);
    for (token, code) in [("rubbish", "TokenInvalid"), ("a.b.c", "TokenInvalid"), (&revoked, "TokenInvalid")] {
        let answer = app.me(token).await.refused(401, code);
        let challenge = answer.header("www-authenticate");
        assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""), "{challenge}");
    }
    app.advance(TimeDelta::hours(12));
    let answer = app.me(&ada.token).await.refused(401, "TokenExpired");
    let challenge = answer.header("www-authenticate");
    assert!(challenge.contains("error=\"invalid_token\"") && challenge.contains("expired"), "{challenge}");
}

#[tokio::test]
async fn every_401_of_every_route_has_a_challenge() {
    let app = TestApp::start().await;
    for call in [
        app.get("/users/me"),
        app.get("/users/me/events"),
        app.get("/users/me/client-keys"),
        app.post("/users/me/client-keys"),
        app.delete("/users/me/client-keys/x"),
        app.put("/users/me/password"),
        app.delete("/auth"),
        app.post("/auth"),
        app.activate("nobody", "x", "y"),
        app.grant_by_keys("x", "y"),
        app.grant_by_refresh("x"),
    ] {
        let answer = call.await.expect(401);
        let challenge = answer.header("www-authenticate");
        assert!(challenge.starts_with("Bearer ") || challenge.starts_with("Basic "), "{answer:?}");
    }
}

#[tokio::test]
async fn the_word_bearer_has_no_case() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for scheme in ["bearer", "BEARER", "Bearer"] {
        let header = format!("{scheme} {}", ada.token);
        app.get("/users/me").header("authorization", &header).await.expect(200);
    }
}

#[tokio::test]
async fn a_token_counts_in_one_header_only() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let header = format!("Bearer {}", ada.token);
    let twice = app.get("/users/me").header("authorization", &header).header("authorization", &header);
    twice.await.refused(401, "Unauthorized");
    for path in ["access_token", "token"].map(|name| format!("/users/me?{name}={}", ada.token)) {
        let answer = app.get(&path).await;
        assert!([400, 401].contains(&answer.status), "a token in a URL ends up in logs: {answer:?}");
    }
}
