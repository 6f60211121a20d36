//! Bodies: which are taken, which are refused, and that a refusal arrives.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Call, STRONG, TestApp, sign_up_body};

/// The largest body, bytes.
const LARGEST: usize = 64 * 1024;

/// A good sign-up with so much white space behind it that it has this length.
fn padded(length: usize) -> String {
    let body = sign_up_body("ada@example.com").to_string();
    let padding = length - body.len();
    body + &" ".repeat(padding)
}

fn as_json(call: Call) -> Call {
    call.header("content-type", "application/json")
}

#[tokio::test]
async fn a_media_type_may_have_parameters_and_any_case() {
    let app = TestApp::start().await;
    for media_type in ["application/json;charset=utf-8", "application/json; charset=UTF-8", "Application/JSON"] {
        let body = sign_up_body("ada@example.com").to_string();
        app.post("/users").header("content-type", media_type).body(body).await.expect(201);
    }
}

#[tokio::test]
async fn a_body_that_does_not_say_it_is_json_is_not_read() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let body = || sign_up_body("bob@example.com").to_string();
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json", ""] {
        let call = app.post("/users").header("content-type", media_type).body(body());
        call.await.refused(415, "UnsupportedMediaType");
    }
    app.post("/users").body(body()).await.refused(415, "UnsupportedMediaType");
    app.post("/auth/token").header("content-type", "text/plain").body("{}").await.refused(415, "UnsupportedMediaType");
    let call = app.put("/users/me/password").bearer(&ada.token).header("content-type", "text/xml").body("{}");
    call.await.refused(415, "UnsupportedMediaType");
    let call = app.put("/users/x/activation").header("content-type", "text/xml").body("{}");
    call.await.refused(415, "UnsupportedMediaType");
    assert_eq!(app.count("select count(*) from users").await, 1);
}

#[tokio::test]
async fn what_is_no_json_is_malformed() {
    let app = TestApp::start().await;
    let deep = "[".repeat(10_000);
    for body in ["", "{", "[object Object]", "{\"email\":}", "{} {}", "\u{feff}{}", "{'a':1}", "NaN", &deep] {
        as_json(app.post("/users")).body(body.to_owned()).await.refused(400, "MalformedBody");
    }
    as_json(app.post("/users")).body(b"{\"email\":\"\xff\"}".to_vec()).await.refused(400, "MalformedBody");
}

#[tokio::test]
async fn json_that_is_no_object_is_not_valid() {
    let app = TestApp::start().await;
    for body in ["[]", "null", "\"text\"", "7", "true"] {
        as_json(app.post("/users")).body(body).await.refused(400, "ValidationFailed");
    }
}

#[tokio::test]
async fn a_text_with_a_nul_is_refused_and_not_our_failure() {
    let app = TestApp::start().await;
    for field in ["email", "displayName", "password"] {
        let mut body = sign_up_body("ada@example.com");
        body[field] = json!(format!("{}\0", body[field].as_str().expect("a text")));
        let answer = app.post("/users").json(&body).await.refused(400, "ValidationFailed");
        assert_eq!(answer.bad_fields(), [field]);
    }
    app.grant_by_keys("\0", "\0").await.refused(400, "ValidationFailed");
}

#[tokio::test]
async fn a_request_without_a_body_may_say_it_is_json() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (id, _) = app.client_key(&ada).await;
    let token = app.log_in(&ada.email, STRONG).await;
    for (call, status) in [
        (app.get("/"), 200),
        (app.me(&ada.token), 200),
        (app.get("/users/me/client-keys").bearer(&ada.token), 200),
        (app.get("/users/me/events").bearer(&ada.token), 200),
        (app.post("/auth").basic(&ada.email, STRONG), 200),
        (app.post("/users/me/client-keys").bearer(&ada.token), 200),
        (app.delete(&format!("/users/me/client-keys/{id}")).bearer(&ada.token), 204),
        (app.post("/users/nobody/token"), 202),
        (app.put("/users/nobody/token/x"), 400),
        (app.delete("/auth").bearer(&token), 204),
    ] {
        as_json(call).header("content-length", "0").await.expect(status);
    }
}

#[tokio::test]
async fn a_body_of_64_kib_is_taken_and_a_byte_more_is_not() {
    let app = TestApp::start().await;
    as_json(app.post("/users")).body(padded(LARGEST)).await.expect(201);
    as_json(app.post("/users")).body(padded(LARGEST + 1)).await.refused(413, "PayloadTooLarge");
    assert_eq!(app.count("select count(*) from users").await, 1);
}

#[tokio::test]
async fn whoever_sends_too_much_still_hears_the_answer() {
    let app = TestApp::start().await;
    let large = || " ".repeat(1024 * 1024);
    as_json(app.post("/users")).body(large()).await.refused(413, "PayloadTooLarge");
    // Also where nobody wanted a body, a token or such a path.
    for call in [
        app.put("/users/me/password"),
        app.get("/users/me"),
        app.post("/auth").basic("nobody", STRONG),
        app.post("/nowhere"),
        app.put("/auth"),
    ] {
        let answer = call.body(large()).await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
        assert_eq!(answer.field("requestId"), answer.header("x-request-id"));
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_bounded_too() {
    let app = TestApp::start().await;
    let mut socket = TcpStream::connect(app.address).await.expect("a connection");
    let head = "POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\
                Connection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).await.expect("the head is sent");
    for _ in 0..10 {
        let chunk = format!("2000\r\n{}\r\n", " ".repeat(0x2000));
        socket.write_all(chunk.as_bytes()).await.expect("a chunk is sent");
    }
    socket.write_all(b"0\r\n\r\n").await.expect("the end is sent");
    assert!(read_to_end(&mut socket).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for_for_ever() {
    // A real second: the patience with a socket is the system's time, not the clock's.
    let app = TestApp::start_with(|config| config.server.request_timeout_seconds = 1).await;
    let mut socket = TcpStream::connect(app.address).await.expect("a connection");
    let head = "POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\
                Connection: close\r\n\r\n{";
    socket.write_all(head.as_bytes()).await.expect("the head is sent");
    let answer = read_to_end(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"Timeout\""), "{answer}");
}

#[tokio::test]
async fn whoever_asks_before_sending_too_much_is_told_before_sending() {
    let app = TestApp::start().await;
    let mut socket = TcpStream::connect(app.address).await.expect("a connection");
    let head = "POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\
                Expect: 100-continue\r\n\r\n";
    socket.write_all(head.as_bytes()).await.expect("the head is sent");
    let mut first = [0; 12];
    socket.read_exact(&mut first).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 413");
}

async fn read_to_end(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = socket.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect("an answer in time").expect("a whole answer");
    String::from_utf8_lossy(&answer).into_owned()
}
