//! `GET /users/me/export`: everything we hold about a person.

use bloq_accounts::application_keys::NewApplicationKey;
use bloq_accounts::users::{AccessLevel, By, ShortText};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::download::{Download, MANY_EVENTS};
use crate::harness::program::until;
use crate::harness::{STRONG, TestApp};

#[tokio::test]
async fn a_person_gets_everything_and_no_secret() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let (id, secret) = app.client_key(&ada).await;
    app.client_key(&bob).await;
    let purpose = ShortText::parse("camera").expect("a purpose");
    let new = NewApplicationKey { purpose, level: AccessLevel::Authorized, read_only: true, http: false };
    let application_key = app
        .app
        .application_keys
        .create(ada.id.parse().expect("an id"), &new, By::Operator, &Default::default())
        .await
        .expect("a key");
    app.forget_password(&ada.email).await.expect(202);
    let reset = app.mailed_token(&ada.email).await;
    let answer = app.get("/users/me/export").bearer(&ada.token).await.expect(200);
    assert_eq!(answer.header("content-type"), "application/json");
    let export = answer.json();
    assert_eq!(export["profile"], app.me(&ada.token).await.json());
    assert_eq!(export["account"]["accessLevel"], "authorized");
    assert_eq!(export["clientKeys"][0]["id"], Value::from(id));
    assert_eq!(
        export["applicationKeys"],
        json!([{
            "id": application_key.key.id, "purpose": "camera", "accessLevel": "authorized", "readOnly": true,
            "http": false, "createdAt": "2026-03-05T12:00:00.123Z",
        }])
    );
    assert_eq!(
        (&export["accountTokens"][0]["current"], export["accountTokens"].as_array().map(Vec::len)),
        (&Value::from(true), Some(1))
    );
    let list = |name: &str, field: &str| {
        let items = export[name].as_array().expect("a list").iter();
        items.map(|item| item[field].as_str().expect("a text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list("oneTimeTokens", "purpose"), ["emailVerification", "passwordReset"]);
    assert_eq!(list("mails", "template"), ["verification", "new_client_key", "new_application_key", "password_reset"]);
    assert_eq!(list("mails", "recipient"), vec!["ada@example.com"; 4]);
    assert_eq!(
        (list("logIns", "network"), list("logIns", "userAgent")),
        (vec!["127.0.0.1/32".into()], vec!["tests/1.0".into()])
    );
    let events = app.events_of(&ada).await;
    let exported = export["events"].as_array().expect("events");
    assert_eq!(exported[..], events[..exported.len()]);
    assert_eq!(exported.len(), 5, "sign-up, proof, log-in, client key, reset");
    for hidden in [STRONG, &secret, application_key.secret.expose(), &reset, &ada.token, "argon2", "bob@example.com"] {
        assert!(!answer.text.contains(hidden), "{hidden}");
    }
}

#[tokio::test]
async fn thousands_of_events_are_written_while_they_are_read() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute(
        "insert into events (id, user_id, service, started_at, ended_at, status, bytes_out, method, path, request_id)
         select ('019cb000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, (select id from users), 'cloud-accounts', now(), now(), 200, 0, 'GET', '/users/me', 'r'
         from generate_series(1, 5000) n",
    )
    .await;
    let answer = app.get("/users/me/export").bearer(&ada.token).await.expect(200);
    assert_eq!(answer.json()["events"].as_array().expect("events").len(), 5003);
    // Its own event is there before the first byte, and knows in the end how many there were.
    let id = answer.header("x-request-id").to_owned();
    until("the bytes are counted", async || {
        let rows = app.rows_of(&id).await;
        rows.len() == 1 && rows[0]["bytes_out"] == answer.text.len()
    })
    .await;
}

#[tokio::test]
async fn nobody_exports_without_a_token() {
    let app = TestApp::start().await;
    app.get("/users/me/export").await.refused(401, "Unauthorized");
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let (access, _) = app.grant(&key).await;
    app.get("/users/me/export").bearer(&access).await.refused(403, "Forbidden");
}

const PATH: &str = "/users/me/export";

#[tokio::test]
async fn an_export_whose_database_hangs_is_broken_off_and_not_ended() {
    let app = TestApp::start_with(|config| config.server.request_timeout_seconds = 1).await;
    let ada = app.person("ada").await;
    app.execute(MANY_EVENTS).await;
    let export = Download::begin(app.address, PATH, &ada.token).await;
    app.connection_holding("lock table events in access exclusive mode", async || {
        assert!(!export.ends_whole().await, "nobody may take it for all there is");
    })
    .await;
    let export = Download::begin(app.address, PATH, &ada.token).await;
    assert!(export.ends_whole().await);
}

#[tokio::test]
async fn a_person_has_two_exports_at_once_and_no_more() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute(MANY_EVENTS).await;
    let bob = app.person("bob").await;
    let (one, two) =
        tokio::join!(Download::begin(app.address, PATH, &ada.token), Download::begin(app.address, PATH, &ada.token));
    let refused = app.get(PATH).bearer(&ada.token).await.refused(429, "TooManyRequests");
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{refused:?}");
    app.get(PATH).bearer(&bob.token).await.expect(200);
    assert!(one.ends_whole().await, "the refused one disturbed nobody");
    drop(two);
    until("the places are free", async || app.get(PATH).bearer(&ada.token).await.status == 200).await;
    // Whoever asks for the head alone leaves nothing behind.
    for _ in 0..5 {
        until("it is answered", async || app.call(Method::HEAD, PATH).bearer(&ada.token).await.status == 200).await;
    }
}
