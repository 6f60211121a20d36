//! gzip for what is large and holds no secret.

use std::io::Read;

use flate2::read::GzDecoder;
use reqwest::header::{HeaderMap, HeaderValue};

use crate::harness::{Call, TestApp};

/// Status, headers, and the body as it came over the wire.
async fn raw(call: Call) -> (u16, HeaderMap, Vec<u8>) {
    let answer = call.0.send().await.expect("the server answers");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, answer.bytes().await.expect("a body").to_vec())
}

fn unzipped(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).expect("gzip of a text");
    text
}

#[tokio::test]
async fn a_long_list_is_sent_short_and_its_event_counts_what_was_sent() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for _ in 0..20 {
        app.me(&ada.token).await.expect(200);
    }
    let first = app.events_of(&ada).await[0]["id"].as_str().expect("an id").to_owned();
    let list = || app.get(&format!("/users/me/events?limit=10&order=asc&after={first}")).bearer(&ada.token);
    let plain = list().await.expect(200);
    let varies = |headers: &HeaderMap| {
        headers.get_all("vary").iter().map(|value| value.to_str().expect("ASCII").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (plain.header("content-encoding"), varies(&plain.headers)),
        ("", vec!["accept".into(), "accept-encoding".into()])
    );

    let (status, headers, body) = raw(list().header("accept-encoding", "gzip, deflate, br")).await;
    assert_eq!((status, &headers["content-encoding"]), (200, &HeaderValue::from_static("gzip")));
    assert_eq!(varies(&headers), varies(&plain.headers));
    assert_eq!(headers["content-length"], body.len().to_string().as_str());
    assert_eq!(unzipped(&body), plain.text);
    assert!(body.len() * 3 < plain.text.len(), "{} of {}", body.len(), plain.text.len());
    let id = headers["x-request-id"].to_str().expect("an id");
    assert_eq!(app.rows_of(id).await[0]["bytes_out"], body.len());
}

#[tokio::test]
async fn small_answers_and_those_who_want_none_get_plain_text() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let small = app.me(&ada.token).header("accept-encoding", "gzip").await.expect(200);
    assert_eq!((small.header("content-encoding"), small.text.len() < 1024), ("", true));
    for wish in ["", "identity", "br, zstd", "gzip;q=0", "identity;q=0", "*;q=0", "rubbish;;q"] {
        let answer = app.get("/openapi.json").header("accept-encoding", wish).await.expect(200);
        assert_eq!(answer.header("content-encoding"), "", "{wish}");
        assert_eq!(answer.json()["openapi"].as_str().map(|version| &version[..4]), Some("3.1."), "{wish}");
    }
}

/// BREACH: the length of a compressed secret tells about it.
#[tokio::test]
async fn a_secret_is_never_compressed() {
    let app = TestApp::start_with(|config| {
        // So long that every token is worth compressing.
        config.tokens.issuer = format!("https://accounts.example/{}", "a".repeat(2000));
    })
    .await;
    let ada = app.person("ada").await;
    let key = app.post("/users/me/client-keys").bearer(&ada.token).header("accept-encoding", "gzip").await.expect(200);
    assert_eq!(key.header("content-encoding"), "");
    let body = serde_json::json!({
        "grantType": "clientCredentials", "clientId": key.field("clientId"), "clientSecret": key.field("clientSecret")
    });
    let grant = app.post("/auth/token").json(&body);
    for (call, secret) in [(app.post("/auth").basic(&ada.email, &ada.password), "accessToken"), (grant, "refreshToken")]
    {
        let answer = call.header("accept-encoding", "gzip").await.expect(200);
        assert!(answer.text.len() > 2048, "{answer:?}");
        assert_eq!((answer.header("content-encoding"), answer.header("vary")), ("", ""));
        assert!(!answer.field(secret).is_empty());
    }
}

#[tokio::test]
async fn the_files_of_swagger_come_compressed_and_plain() {
    let app = TestApp::start().await;
    let (gzip, by_coding) = (HeaderValue::from_static("gzip"), HeaderValue::from_static("accept-encoding"));
    for (path, kind, word) in [
        ("/docs/", "text/html", "swagger-ui"),
        ("/docs/swagger-ui-bundle.js", "text/javascript", "SwaggerUIBundle"),
        ("/docs/swagger-ui.css", "text/css", ".swagger-ui"),
        ("/openapi.json", "application/json", "openapi"),
    ] {
        let plain = app.get(path).await.expect(200);
        assert!(plain.header("content-type").starts_with(kind) && plain.text.contains(word), "{path}");
        let (status, headers, body) = raw(app.get(path).header("accept-encoding", "gzip")).await;
        assert_eq!(status, 200, "{path}");
        assert_eq!((&headers["content-encoding"], &headers["vary"]), (&gzip, &by_coding), "{path}");
        assert_eq!(unzipped(&body), plain.text, "{path}");
    }
    let settings = app.get("/docs/swagger-initializer.js").header("accept-encoding", "gzip").await.expect(200);
    assert!(settings.text.contains("/openapi.json"), "{settings:?}");
}
