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
async fn probes_and_documents_are_no_events() {
    let app = TestApp::start().await;
    for path in ["/", "/health/live", "/health/ready", "/.well-known/jwks.json", "/openapi.json", "/docs/"] {
        app.get(path).await.expect(200);
    }
    assert_eq!(app.count("select count(*) from events").await, 0);
    app.get("/nowhere").await.expect(404);
    assert_eq!(app.count("select count(*) from events").await, 1);
}

/// Everything that GET says of this route, without what differs from request to request.
async fn head_of(app: &TestApp, method: Method, path: &str, token: &str) -> (u16, Vec<(String, String)>, usize) {
    let answer = app.call(method, path).bearer(token).header("accept-encoding", "gzip").0.send().await;
    let answer = answer.expect("the server answers");
    let told = answer
        .headers()
        .iter()
        .filter(|(name, _)| !["x-request-id", "date", "transfer-encoding"].contains(&name.as_str()));
    let mut told: Vec<_> = told.map(|(name, value)| (name.to_string(), format!("{value:?}"))).collect();
    told.sort();
    (answer.status().as_u16(), told, answer.bytes().await.expect("a body").len())
}

#[tokio::test]
async fn head_says_on_every_route_what_get_says_and_sends_nothing() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let document = serde_json::to_value(bloq_accounts::http::document()).expect("a document");
    let routes =
        document["paths"].as_object().expect("paths").iter().filter(|(_, methods)| methods.get("get").is_some());
    let mut paths: Vec<String> = routes.map(|(path, _)| path.replace(['{', '}'], "")).collect();
    // What has no end cannot be read to it; the tests of the stream ask for its head.
    paths.retain(|path| path != "/users/me/events/stream");
    assert!(paths.len() >= 7, "{paths:?}");
    paths.extend(["/openapi.json", "/docs", "/docs/", "/docs/swagger-ui.css", "/nowhere", "/auth"].map(str::to_owned));
    for path in paths {
        // Each look adds an event to the list: only its oldest part stays the same.
        let oldest = "?after=event-00000000-0000-7000-8000-000000000000&limit=4";
        let path = if path == "/users/me/events" { format!("{path}{oldest}") } else { path };
        for token in [ada.token.as_str(), "no token"] {
            let (status, told, length) = head_of(&app, Method::GET, &path, token).await;
            // Only what is made while it is sent has no length yet, and a redirection has no body.
            let is_measured = status != 303 && !(path == "/users/me/export" && status == 200);
            let length = ("content-length".to_owned(), format!("\"{length}\""));
            assert_eq!(told.contains(&length), is_measured, "{path}: {told:?}");
            assert_eq!(head_of(&app, Method::HEAD, &path, token).await, (status, told, 0), "{path}");
        }
    }
    let bytes = "select coalesce(sum(bytes_out), 0)::bigint from events where method = 'HEAD'";
    assert_eq!(app.count(bytes).await, 0);
    assert!(app.count("select count(*) from events where method = 'HEAD'").await >= 6);
}
