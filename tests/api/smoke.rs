//! The real binary on its own Postgres and a real port: what the README promises, from sign-up to events.

mod backup;
mod crash;
mod log;
mod outage;
mod qb2;
mod replicas;
mod secrets;
mod smtp;
mod stop;
mod tls;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::people::sign_up_body;
use crate::harness::program::{Place, Program};
use crate::harness::{STRONG, STRONGER};

/// Somebody who signed up, proved the e-mail and logged in.
struct Somebody {
    id: String,
    token: String,
}

const EMAIL: &str = "ada@example.com";

/// Ada signs up, reads her mail, proves the address and logs in.
async fn ada(place: &Place, server: &Program) -> Somebody {
    let id = server.post("/users").json(&sign_up_body(EMAIL)).await.expect(201).text_of("id");
    let letter = place.mail_to(EMAIL).await;
    server.put(&format!("/users/{id}/token/{}", letter.token())).await.expect(200);
    let token = server.post("/auth").basic(EMAIL, STRONG).await.expect(200).text_of("accessToken");
    Somebody { id, token }
}

impl Somebody {
    async fn events(&self, server: &Program) -> Vec<Value> {
        let answer = server.get("/users/me/events?limit=1000").bearer(&self.token).await.expect(200);
        answer.json().as_array().expect("a bare array").clone()
    }
}

/// What happened, in order: `POST /auth 200`.
fn story(events: &[Value]) -> Vec<String> {
    let line = |event: &Value| {
        let (input, output) = (&event["input"], &event["output"]);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        format!("{} {} {}", text(&input["method"]), text(&input["path"]), output["httpStatusCode"])
    };
    events.iter().map(line).collect()
}

#[tokio::test]
async fn a_first_start_says_where_it_is_and_is_ready_at_once() {
    let place = Place::new();
    let began = Instant::now();
    let mut server = place.serve().await;
    let took = began.elapsed();
    println!("ready after {took:?}");
    // The promise is 3 s for a release build on a machine of its own, which `.ci/smoke` holds.
    assert!(took < Duration::from_secs(9), "{took:?}");

    let (greeting, address) = (server.greeting(), server.address);
    assert!(greeting.contains(&format!("http://{address},")), "{greeting}");
    assert!(greeting.contains(place.data_dir().to_str().expect("text")), "{greeting}");
    assert!(greeting.contains(&format!("http://{address}/docs")), "{greeting}");
    server.get("/docs/").await.expect(200);
    let root = server.get("/").await.expect(200).json();
    assert_eq!(root, json!({"name": "bloq-accounts", "version": env!("CARGO_PKG_VERSION"), "docs": "/docs"}));
    server.terminate().await;
}

#[tokio::test]
async fn a_conversation_from_sign_up_to_events_survives_a_restart() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let ada = ada(&place, &server).await;

    let profile = server.get("/users/me").bearer(&ada.token).await.expect(200).json();
    assert_eq!(profile["id"], ada.id);
    let passwords = json!({"oldPassword": STRONG, "newPassword": STRONGER});
    server.put("/users/me/password").bearer(&ada.token).json(&passwords).await.expect(200);
    let key = server.post("/users/me/client-keys").bearer(&ada.token).await.expect(200);
    let by_keys = json!({
        "grantType": "clientCredentials",
        "clientId": key.text_of("clientId"),
        "clientSecret": key.text_of("clientSecret"),
    });
    let granted = server.post("/auth/token").json(&by_keys).await.expect(200);
    let by_refresh = json!({"grantType": "refreshToken", "refreshToken": granted.text_of("refreshToken")});
    server.post("/auth/token").json(&by_refresh).await.expect(200);

    let told = [
        "POST /users 201".to_owned(),
        format!("PUT /users/{}/token/{{token}} 200", ada.id),
        "POST /auth 200".into(),
        "GET /users/me 200".into(),
        "PUT /users/me/password 200".into(),
        "POST /users/me/client-keys 200".into(),
        "POST /auth/token 200".into(),
        "POST /auth/token 200".into(),
    ];
    let before = ada.events(&server).await;
    assert_eq!(story(&before), told);
    let jwks = server.get("/.well-known/jwks.json").await.expect(200).json();

    let (code, _) = server.terminate().await;
    assert_eq!(code, Some(0));
    let mut server = place.serve().await;
    let after = ada.events(&server).await;
    assert_eq!(after[..before.len()], before, "the old token is good and nothing is lost");
    assert_eq!(server.get("/users/me").bearer(&ada.token).await.expect(200).json()["id"], ada.id);
    server.post("/auth").basic(EMAIL, STRONGER).await.expect(200);
    server.post("/auth").basic(EMAIL, STRONG).await.refused(401, "InvalidCredentials");
    server.post("/auth/token").json(&by_keys).await.expect(200);
    server.post("/auth/token").json(&by_refresh).await.expect(200);
    assert_eq!(server.get("/.well-known/jwks.json").await.expect(200).json(), jwks);
    server.terminate().await;
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_ends_in_order_and_takes_its_postgres_along() {
    let place = Place::filled();
    let mut server = place.serve().await;
    // A client that keeps its connection open must not hold it up.
    server.get("/").await.expect(200);
    let (code, took) = server.terminate().await;
    assert_eq!(code, Some(0), "{}", server.said());
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(place.processes(), Vec::<i32>::new());
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused_within_two_seconds() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let began = Instant::now();
    let second = place.run(&["serve", "--listen", "127.0.0.1:0"]).await;
    let took = began.elapsed();
    second.complains(&["in use by a server (pid ", place.data_dir().to_str().expect("text"), "--data-dir"]);
    assert!(took < Duration::from_secs(2), "{took:?}");
    server.get("/").await.expect(200);
    server.terminate().await;
}

#[tokio::test]
async fn a_server_that_cannot_open_its_signing_key_refuses_to_start() {
    let place = Place::filled();
    place.serve().await.terminate().await;
    let key = place.data_dir().join("master.key");
    std::fs::remove_file(&key).expect("the key file was made");
    place.run(&["serve", "--listen", "127.0.0.1:0"]).await.complains(&["server.master_key", "master.key"]);
    assert!(!key.exists(), "a new key could open nothing");

    let mut with_another = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    with_another.env("BLOQ_ACCOUNTS_SERVER__MASTER_KEY", "ab".repeat(32));
    let refused = crate::harness::program::finish(with_another).await.complains(&["server.master_key"]);
    assert!(!refused.stderr.contains("abab"), "{}", refused.stderr);
    place.is_left_alone().await;
}
