//! What is sent to exhaust a server: rows 18 and 19 of the list, and connections that do nothing.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::TestApp;

/// Far more than the second of patience that these servers have.
const DEADLINE: Duration = Duration::from_secs(20);

async fn impatient() -> TestApp {
    TestApp::start_with(|config| config.server.idle_timeout_seconds = 1).await
}

#[tokio::test]
async fn a_client_that_says_nothing_is_shown_out() {
    let app = impatient().await;
    for beginning in ["", "G", "PRI * HT", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut silent = TcpStream::connect(app.address).await.expect("a connection");
        silent.write_all(beginning.as_bytes()).await.expect("it is open");
        let end = tokio::time::timeout(DEADLINE, silent.read_to_end(&mut Vec::new())).await;
        assert!(end.is_ok(), "still open after {beginning:?}");
    }
    app.get("/health/live").await.expect(200);
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answers_is_shown_out() {
    let app = impatient().await;
    let mut deaf = TcpStream::connect(app.address).await.expect("a connection");
    let request = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n";
    // Never reads: sooner or later nothing more fits between us, and the server gives up.
    let asking = async { while deaf.write_all(request).await.is_ok() {} };
    assert!(tokio::time::timeout(DEADLINE, asking).await.is_ok(), "still waiting for us");
}

#[tokio::test]
async fn a_body_of_nonsense_does_not_become_a_larger_answer() {
    let app = TestApp::start().await;
    let nonsense: Map<String, Value> = (0..6000).map(|number| (format!("f{number}"), json!(0))).collect();
    let answer = app.post("/users").json(&Value::Object(nonsense)).await.refused(400, "ValidationFailed");
    assert!(answer.text.len() < 4096, "{} bytes", answer.text.len());
    let details = answer.json()["details"].as_array().expect("details").clone();
    assert_eq!(details.len(), 21);
    assert_eq!(details[20], json!({"field": "…", "message": "and 5983 more"}));
    assert!(answer.bad_fields().contains(&"email".to_owned()), "the real fields come first");
}

#[tokio::test]
async fn a_query_of_nonsense_does_not_become_a_larger_answer() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let query = (0..5000).map(|number| format!("f{number}")).collect::<Vec<_>>().join("&");
    let answer = app.get(&format!("/users/me/events?{query}")).bearer(&ada.token).await;
    assert!(answer.refused(400, "ValidationFailed").text.len() < 4096);
}
