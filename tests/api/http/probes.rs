//! Is it there? Is it ready? And HEAD, which asks without listening.

use reqwest::Method;
use serde_json::json;

use crate::harness::TestApp;

#[tokio::test]
async fn the_service_says_what_it_is() {
    let app = TestApp::start().await;
    let answer = app.get("/").await.expect(200);
    let expected = json!({"name": "bloq-accounts", "version": env!("CARGO_PKG_VERSION"), "docs": "/docs"});
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn a_migrated_and_connected_service_is_live_and_ready() {
    let app = TestApp::start().await;
    for path in ["/health/live", "/health/ready"] {
        assert!(app.get(path).await.expect(200).json().is_object());
    }
}

#[tokio::test]
async fn without_its_database_the_service_is_live_and_not_ready() {
    let app = TestApp::start().await;
    app.pool().close().await;
    app.get("/health/live").await.expect(200);
    app.get("/").await.expect(200);
    let answer = app.get("/health/ready").await.refused(503, "DatabaseUnavailable");
    assert!(!answer.header("retry-after").is_empty());
}

#[tokio::test]
async fn probes_and_documents_are_no_events() {
    let app = TestApp::start().await;
    for path in ["/", "/health/live", "/health/ready", "/.well-known/jwks.json", "/openapi.json", "/docs/"] {
        app.get(path).await.expect(200);
    }
    assert_eq!(app.count("select count(*) from events").await, 0);
    app.get("/nowhere").await.expect(404);
    assert_eq!(app.count("select count(*) from events").await, 1);
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for path in ["/", "/health/live", "/users/me", "/users/me/client-keys", "/.well-known/jwks.json"] {
        let get = app.get(path).bearer(&ada.token).await.expect(200);
        let head = app.call(Method::HEAD, path).bearer(&ada.token).await.expect(200);
        assert_eq!((head.text.as_str(), head.header("content-type")), ("", get.header("content-type")), "{path}");
    }
    for (path, status) in [("/users/me", 401), ("/nowhere", 404), ("/users", 405)] {
        assert_eq!(app.call(Method::HEAD, path).await.expect(status).text, "");
    }
}
