//! `POST /auth`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::harness::{STRONG, STRONGER, TestApp, count, together};
use bloq_accounts::users::AccessLevel;

fn authorization(pair: &[u8]) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(pair))
}

#[tokio::test]
async fn a_person_logs_in_with_email_and_id_in_any_case() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for name in [ada.email.as_str(), "ADA@example.COM", &ada.id, &ada.id.to_uppercase()] {
        let answer = app.post("/auth").basic(name, STRONG).header("content-type", "application/json").await.expect(200);
        assert_eq!(answer.json(), json!({"accessToken": answer.json()["accessToken"]}));
        let me = app.me(&answer.field("accessToken")).await.expect(200);
        assert_eq!(me.field("id"), ada.id);
    }
}

#[tokio::test]
async fn a_user_logs_in_with_the_login_name_in_any_case() {
    let app = TestApp::start().await;
    let babbage = app.named("Babbage", AccessLevel::Authorized).await;
    for name in ["Babbage", "babbage", "BABBAGE", &babbage.id] {
        app.log_in(name, STRONG).await;
    }
}

#[tokio::test]
async fn a_new_token_leaves_the_earlier_ones_good() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let second = app.log_in(&ada.email, STRONG).await;
    assert_ne!(second, ada.token);
    for token in [&ada.token, &second] {
        app.me(token).await.expect(200);
    }
}

#[tokio::test]
async fn a_password_may_hold_colons_and_umlauts() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let password = "Rechen:maschine: für Zähler 1843";
    app.change_password(&ada.token, STRONG, password).await.expect(200);
    app.log_in(&ada.email, password).await;
    // The scheme's name has no case (RFC 7235 section 2.1).
    let header = authorization(format!("{}:{password}", ada.email).as_bytes()).replacen("Basic", "bAsIc", 1);
    app.post("/auth").header("authorization", &header).await.expect(200);
}

#[tokio::test]
async fn whatever_is_wrong_the_refusal_is_one() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let unproved = app.sign_up("bob@example.com").await;
    let too_long = "a".repeat(1025);
    let mut refusals: Vec<Value> = Vec::new();
    for (name, password) in [
        (ada.email.as_str(), STRONGER),
        (&ada.email, ""),
        (&ada.email, &too_long),
        (&ada.id, "analytical engine 1843"),
        ("nobody@example.com", STRONG),
        ("nobody", STRONG),
        ("user-00000000-0000-4000-8000-000000000000", STRONG),
        ("", STRONG),
        ("ada", STRONG),
        (&unproved, STRONG),
        ("bob@example.com", STRONG),
        ("bob@example.com", STRONGER),
    ] {
        let call = app.post("/auth").basic(name, password).header("x-request-id", "one");
        let answer = call.await.refused(401, "InvalidCredentials");
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"bloq-accounts\", charset=\"UTF-8\"");
        refusals.push(answer.json());
    }
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "to the byte: {refusals:?}");
    let message = refusals[0]["message"].as_str().expect("a message").to_lowercase();
    for possibility in ["name", "password", "verified"] {
        assert!(message.contains(possibility), "{possibility} in {message}");
    }
}

#[tokio::test]
async fn credentials_that_nobody_can_read_are_wrong_credentials() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let log_in = |header: &str| app.post("/auth").header("authorization", header);
    for header in [
        "Basic",
        "Basic !!!",
        &authorization(b"no colon"),
        &authorization(b"\xff\xfe:\xff"),
        &authorization(b"nul\0name:x"),
        &format!("Bearer {}", ada.token),
        "Negotiate abc",
    ] {
        log_in(header).await.refused(401, "InvalidCredentials");
    }
    app.post("/auth").await.refused(401, "InvalidCredentials");
    // Two headers: nobody could say which one counts.
    let right = authorization(format!("{}:{STRONG}", ada.email).as_bytes());
    log_in(&right).header("authorization", &right).await.refused(401, "InvalidCredentials");
    log_in(&right).await.expect(200);
}

#[tokio::test]
async fn a_person_logs_in_many_times_at_once() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let answers = together((0..10).map(|_| app.post("/auth").basic(&ada.email, STRONG))).await;
    assert_eq!(count(&answers, 200), 10);
    let mut tokens: Vec<String> = answers.iter().map(|answer| answer.field("accessToken")).collect();
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 10);
}

#[tokio::test]
async fn a_refused_log_in_is_an_event_of_the_user_who_was_named() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.post("/auth").basic(&ada.email, STRONGER).await.expect(401);
    app.post("/auth").basic("nobody@example.com", STRONGER).await.expect(401);
    let last = app.events_of(&ada).await.pop().expect("an event");
    assert_eq!((&last["input"]["path"], &last["output"]["httpStatusCode"]), (&json!("/auth"), &json!(401)));
    assert_eq!(app.count("select count(*) from events where status = 401 and user_id is null").await, 1);
}
