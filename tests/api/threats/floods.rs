//! What is sent to exhaust a server: rows 18 and 19 of the list, and connections that do nothing.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::TestApp;
use crate::harness::program::until;

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
async fn a_client_that_says_nothing_more_is_shown_out() {
    let app = impatient().await;
    let mut idle = TcpStream::connect(app.address).await.expect("a connection");
    idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it is open");
    let mut heard = Vec::new();
    let end = tokio::time::timeout(DEADLINE, idle.read_to_end(&mut heard)).await;
    assert!(end.is_ok() && heard.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&heard));
}

#[tokio::test]
async fn a_client_that_sends_its_body_drop_by_drop_is_told_that_its_time_is_over() {
    let app = TestApp::start_with(|config| config.server.request_timeout_seconds = 1).await;
    let mut stream = TcpStream::connect(app.address).await.expect("a connection");
    let head = b"POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n";
    stream.write_all(head).await.expect("it is open");
    let (mut reading, mut writing) = stream.split();
    let mut heard = vec![0; 4096];
    let dripping = async {
        // Never a pause in which nothing happens.
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending().await
    };
    let length = tokio::select! {
        answered = tokio::time::timeout(DEADLINE, reading.read(&mut heard)) => answered.expect("in time").expect("an answer"),
        () = dripping => 0,
    };
    let heard = String::from_utf8_lossy(&heard[..length]).into_owned();
    assert!(heard.starts_with("HTTP/1.1 503") && heard.contains("Timeout"), "{heard}");
    let end = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await;
    assert!(end.is_ok(), "still open");
}

/// Asks something small; fails the test when there is no answer.
async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it is open");
    let mut heard = [0; 12];
    stream.read_exact(&mut heard).await.expect("an answer");
    assert_eq!(&heard, b"HTTP/1.1 200");
}

/// A connection from an address of this machine, of which there are many.
async fn connect_from(source: [u8; 4], app: &TestApp) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((source, 0).into()).expect("an address of this machine");
    socket.connect(app.address).await.expect("a connection")
}

/// Whether the server closes a connection before anything was said.
async fn is_turned_away(stream: &mut TcpStream) -> bool {
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0; 1])).await;
    read.is_ok_and(|read| read.is_err() || read.is_ok_and(|bytes| bytes == 0))
}

#[tokio::test]
async fn a_client_that_is_slow_to_begin_is_shown_out_before_one_that_idles() {
    let app = TestApp::start_with(|config| config.server.head_timeout_seconds = 1).await;
    let mut idle = TcpStream::connect(app.address).await.expect("a connection");
    ask(&mut idle).await;
    for beginning in ["", "G", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut slow = TcpStream::connect(app.address).await.expect("a connection");
        slow.write_all(beginning.as_bytes()).await.expect("it is open");
        let end = tokio::time::timeout(DEADLINE, slow.read_to_end(&mut Vec::new())).await;
        assert!(end.is_ok(), "still open after {beginning:?}");
    }
    // Three times as long as a first head may take: it has said what it wants, and may wait for its next wish.
    idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("it is open");
    let mut heard = Vec::new();
    tokio::time::timeout(DEADLINE, idle.read_to_end(&mut heard)).await.expect("in time").expect("it is open");
    assert_eq!(String::from_utf8_lossy(&heard).matches("HTTP/1.1 200").count(), 1);
}

#[tokio::test]
async fn one_address_that_opens_connections_slowly_does_not_get_every_place() {
    let app = TestApp::start_with(|config| {
        config.server.max_connections = 4;
        config.server.max_connections_per_address = 2;
    })
    .await;
    let (attacker, other) = ([127, 0, 0, 2], [127, 0, 0, 3]);
    // Never finished, as a slow loris does it.
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = connect_from(attacker, &app).await;
        ask(&mut stream).await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost").await.expect("it is open");
        held.push(stream);
    }
    for _ in 0..50 {
        assert!(is_turned_away(&mut connect_from(attacker, &app).await).await);
    }
    for _ in 0..2 {
        let mut stream = connect_from(other, &app).await;
        tokio::time::timeout(DEADLINE, ask(&mut stream)).await.expect("there is a place");
    }
    assert_eq!(app.metrics().await.value("http_connections_refused_total"), 50.0);
    // A place that is given back is there for the same address again.
    held.pop();
    until("there is a place again", async || {
        let mut stream = connect_from(attacker, &app).await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.is_ok()
            && stream.read(&mut [0; 1]).await.is_ok_and(|bytes| bytes == 1)
    })
    .await;
}

#[tokio::test]
async fn a_trusted_proxy_has_the_connections_of_many() {
    let app = TestApp::start_with(|config| {
        config.server.max_connections_per_address = 1;
        config.server.trusted_proxies = vec!["127.0.0.2/32".parse().expect("a network")];
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut stream = connect_from([127, 0, 0, 2], &app).await;
        ask(&mut stream).await;
        held.push(stream);
    }
    let mut first = connect_from([127, 0, 0, 3], &app).await;
    ask(&mut first).await;
    assert!(is_turned_away(&mut connect_from([127, 0, 0, 3], &app).await).await);
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_a_place() {
    let app = TestApp::start_with(|config| config.server.max_connections = 2).await;
    let mut inside = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(app.address).await.expect("a connection");
        ask(&mut stream).await;
        inside.push(stream);
    }
    let mut outside = TcpStream::connect(app.address).await.expect("the listen queue takes it");
    let mut asking = Box::pin(ask(&mut outside));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut asking).await;
    assert!(early.is_err(), "a third one was let in");
    inside.pop();
    tokio::time::timeout(DEADLINE, asking).await.expect("there is a place now");
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

#[tokio::test]
async fn a_statement_that_took_too_long_is_overloaded() {
    let app = TestApp::start().await;
    assert_eq!(app.text("show statement_timeout").await, "1min");
    // What Postgres says then, sooner.
    let ada = app.person("ada").await;
    app.execute(
        "create function dawdle() returns trigger language plpgsql as $$
                 begin raise exception using errcode = 'query_canceled'; end $$",
    )
    .await;
    app.execute("create trigger dawdle before update on users for each row execute function dawdle()").await;
    app.change_profile(&ada.token, &json!({"displayName": "Ada King"})).await.refused(503, "Overloaded");
}
