//! Which requests are events.

use reqwest::Method;

use crate::harness::TestApp;

#[tokio::test]
async fn probes_documents_and_preflights_are_not_recorded() {
    let app = TestApp::start().await;
    for path in [
        "/",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/docs",
        "/docs/",
        "/docs/swagger-ui.css",
        "/openapi.json",
        "/.well-known/jwks.json",
        "/.well-known/nothing",
    ] {
        app.get(path).await;
    }
    app.call(Method::OPTIONS, "/users/me").await;
    app.call(Method::OPTIONS, "/auth").await;
    assert_eq!(app.count("select count(*) from events").await, 0);
}

#[tokio::test]
async fn everything_else_is_recorded_also_what_finds_no_handler() {
    let app = TestApp::start().await;
    let large = "x".repeat(70 * 1024);
    let json = ("content-type", "application/json");
    let answers = [
        app.get("/nowhere").await.expect(404),
        app.get("/healthy").await.expect(404),
        app.get("/documents").await.expect(404),
        app.delete("/users").await.expect(405),
        app.get("/auth").await.expect(405),
        app.post("/users").header(json.0, json.1).body("{").await.expect(400),
        app.post("/users").header("content-type", "text/plain").body("hello").await.expect(415),
        app.post("/users").header(json.0, json.1).body(large).await.expect(413),
        app.get("/users/me").await.expect(401),
        app.post("/auth").await.expect(401),
        app.call(Method::HEAD, "/users/me").await.expect(401),
    ];
    for answer in &answers {
        assert_eq!(app.row_of(answer).await["status"], answer.status, "{answer:?}");
    }
    assert_eq!(app.count("select count(*) from events").await, answers.len() as i64);
}

#[tokio::test]
async fn a_request_whose_origin_a_proxy_garbled_is_recorded_with_the_address_of_the_proxy() {
    let app = TestApp::start_with(|config| {
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
    })
    .await;
    let answer = app.get("/users/me").header("x-forwarded-for", "unknown").await.refused(400, "ValidationFailed");
    assert_eq!(app.row_of(&answer).await["ip"], "127.0.0.1");
    let answer = app.get("/users/me").header("x-forwarded-for", "1.1.1.1, 203.0.113.9").await.expect(401);
    assert_eq!(app.row_of(&answer).await["ip"], "203.0.113.9");
}
