//! The shape of a refusal, and the id of a request.

use serde_json::json;

use crate::harness::TestApp;

#[tokio::test]
async fn a_refusal_has_a_code_a_message_and_the_id_of_the_request() {
    let app = TestApp::start().await;
    let answer = app.get("/nowhere").header("x-request-id", "abc.DEF_1-2").await.refused(404, "NotFound");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-request-id"), "abc.DEF_1-2");
    let message = answer.field("message");
    assert_eq!(answer.json(), json!({"code": "NotFound", "message": message, "requestId": "abc.DEF_1-2"}));
    assert!(!message.is_empty());
}

#[tokio::test]
async fn a_validation_names_field_and_reason() {
    let app = TestApp::start().await;
    let answer = app.post("/users").json(&json!({"email": "x"})).await.refused(400, "ValidationFailed").json();
    let details = answer["details"].as_array().expect("details");
    assert_eq!(details.len(), 3);
    for problem in details {
        let problem = problem.as_object().expect("an object");
        assert_eq!(problem.keys().collect::<Vec<_>>(), ["field", "message"]);
        assert!(problem["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
}

#[tokio::test]
async fn a_harmless_request_id_is_kept() {
    let app = TestApp::start().await;
    for id in ["a", "A-Z.a_z-0.9", &"x".repeat(64)] {
        assert_eq!(app.get("/").header("x-request-id", id).await.expect(200).header("x-request-id"), id);
    }
}

#[tokio::test]
async fn any_other_request_id_is_replaced() {
    let app = TestApp::start().await;
    let mut seen = Vec::new();
    for id in ["", &"x".repeat(65), "two words", "a;b", "a\tb", "{id}", "<script>", "a/b", "a,b"] {
        let answer = app.get("/users/me").header("x-request-id", id).await.refused(401, "Unauthorized");
        let fresh = answer.header("x-request-id").to_owned();
        assert!((1..=64).contains(&fresh.len()) && fresh != id, "{fresh:?} for {id:?}");
        assert_eq!(answer.field("requestId"), fresh);
        seen.push(fresh);
    }
    seen.push(app.get("/").await.expect(200).header("x-request-id").to_owned());
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 10, "no two alike");
}

#[tokio::test]
async fn there_is_nothing_at_an_unknown_path() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for path in [
        "/nowhere",
        "/users/me/",
        "/users/you/there",
        "/user/signup",
        "/profile",
        "/client-keys",
        "/users/me/client-keys/a/b",
        "/health",
        "/USERS/me",
        "/.well-known/",
        "/%00",
        "/%ff",
        "//",
    ] {
        let answer = app.get(path).bearer(&ada.token).await;
        assert_eq!(answer.refusal(), (404, "NotFound".into()), "{path}");
    }
}

#[tokio::test]
async fn a_path_with_another_method_says_what_it_takes() {
    let app = TestApp::start().await;
    for (method, path, allowed) in [
        ("PATCH", "/users", &["GET", "HEAD", "POST"][..]),
        ("GET", "/users/invitations", &["POST"]),
        ("POST", "/users/x", &["DELETE", "GET", "HEAD", "PATCH"]),
        ("GET", "/users/x/block", &["POST"]),
        ("POST", "/users/me", &["DELETE", "GET", "HEAD", "PATCH"]),
        ("PUT", "/users/me/client-keys", &["GET", "HEAD", "POST"]),
        ("GET", "/users/me/client-keys/x", &["DELETE", "PATCH"]),
        ("POST", "/users/me/password", &["PUT"]),
        ("GET", "/users/x/token", &["POST"]),
        ("POST", "/users/x/token/y", &["PUT"]),
        ("DELETE", "/users/x/activation", &["PUT"]),
        ("GET", "/auth", &["DELETE", "POST"]),
        ("GET", "/auth/token", &["POST"]),
        ("POST", "/users/me/events", &["GET", "HEAD"]),
        ("POST", "/.well-known/jwks.json", &["GET", "HEAD"]),
        ("POST", "/", &["GET", "HEAD"]),
        ("DELETE", "/health/live", &["GET", "HEAD"]),
        ("DELETE", "/health/ready", &["GET", "HEAD"]),
        ("POST", "/openapi.json", &["GET", "HEAD"]),
    ] {
        let answer = app.call(method.parse().expect("a method"), path).await;
        assert_eq!(answer.refusal(), (405, "MethodNotAllowed".into()), "{method} {path}");
        let mut found: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
        found.sort_unstable();
        assert_eq!(found, allowed, "{method} {path}");
    }
}

#[tokio::test]
async fn an_unknown_or_bad_query_parameter_is_named() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let answer = app.get("/users/me/events?limit=0&colour=red").bearer(&ada.token).await;
    assert_eq!(answer.refused(400, "ValidationFailed").bad_fields(), ["colour", "limit"]);
    let answer = app.get("/users/me/events?limit=2&limit=3").bearer(&ada.token).await;
    assert_eq!(answer.refused(400, "ValidationFailed").bad_fields(), ["limit"]);
}

#[tokio::test]
async fn a_failure_of_ours_tells_the_client_nothing_of_its_inside() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute("alter table client_keys rename to lost").await;
    let answer = app.get("/users/me/client-keys").bearer(&ada.token).await.refused(500, "InternalError");
    assert!(!answer.text.contains("client_keys"), "{answer:?}");
}

#[tokio::test]
async fn without_its_database_the_service_asks_to_come_back() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.pool().close().await;
    for call in [app.me(&ada.token), app.post("/auth").basic(&ada.email, &ada.password), app.grant_by_keys("x", "y")] {
        let answer = call.await.refused(503, "DatabaseUnavailable");
        assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1), "{answer:?}");
    }
}
