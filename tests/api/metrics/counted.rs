//! Counters count what clients saw, under labels that are ours.

use std::time::Duration;

use reqwest::Method;

use crate::harness::program::until;
use crate::harness::{STRONG, TestApp, count, sign_up_body, together};

#[tokio::test]
async fn a_request_is_counted_by_the_pattern_of_its_route_and_its_status() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let before = app.metrics().await;
    app.me(&ada.token).await.expect(200);
    app.me(&ada.token).await.expect(200);
    app.get("/users/me").await.expect(401);
    app.verify(&ada.id, "5cf5e1f1-53a2-4f3c-a9f6-1a0f4c7f6b1e").await.expect(400);
    app.delete("/users").await.expect(405);
    app.call(Method::HEAD, "/health/live").await.expect(200);

    let after = app.metrics().await;
    for (method, route, status, times) in [
        ("GET", "/users/me", 200, 2.0),
        ("GET", "/users/me", 401, 1.0),
        ("PUT", "/users/{userId}/token/{token}", 400, 1.0),
        ("DELETE", "/users", 405, 1.0),
        ("HEAD", "/health/live", 200, 1.0),
        ("GET", "/metrics", 200, 1.0),
    ] {
        let counted = after.requests(method, route, status) - before.requests(method, route, status);
        assert_eq!(counted, times, "{method} {route} {status}");
    }
    for (code, times) in [("Unauthorized", 1.0), ("InvalidToken", 1.0), ("MethodNotAllowed", 1.0), ("NotFound", 0.0)] {
        assert_eq!(after.value(&format!(r#"refusals_total{{code="{code}"}}"#)), times, "{code}");
    }
    let timed = |what: &str| after.value(&format!(r#"http_request_duration_seconds_{what}"#));
    assert_eq!(timed(r#"count{route="/users/me"}"#), after.requests("GET", "/users/me", 200) + 1.0);
    assert_eq!(timed(r#"bucket{route="/users/me",le="+Inf"}"#), timed(r#"count{route="/users/me"}"#));
    assert!(timed(r#"sum{route="/users/me"}"#) > 0.0);
    assert!(after.get(r#"http_request_duration_seconds_bucket{route="/users/me",le="0.001"}"#).is_some());
    assert!(after.get(r#"http_request_duration_seconds_bucket{route="/users/me",le="15"}"#).is_some());
    assert_eq!(after.value("http_requests_in_flight"), 1.0, "the one that asks");
}

#[tokio::test]
async fn what_strangers_invent_becomes_no_label() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let secret = "5cf5e1f1-53a2-4f3c-a9f6-1a0f4c7f6b1e";
    for number in 0..60 {
        app.get(&format!("/invented/{number}/ada@example.com?token={secret}")).await.expect(404);
        let method = Method::from_bytes(format!("INVENT{number}").as_bytes()).expect("a method");
        app.call(method, &format!("/users/{number}@example.com/token/{secret}")).await.expect(405);
        app.post("/auth").basic(&format!("guess-{number}"), secret).await.expect(401);
    }
    app.get("/docs/swagger-ui.css").await.expect(200);
    app.get("/docs/index.html").await.expect(200);
    app.post("/users").json(&sign_up_body("bea@example.com")).await.expect(201);

    let answer = app.get("/metrics").await.expect(200);
    for word in ["invent", "INVENT", "example.com", "guess", secret, STRONG, &ada.token, &ada.id, &ada.id[5..]] {
        assert!(!answer.text.contains(word), "{word} is on the page");
    }
    let page = app.metrics().await;
    assert_eq!(page.requests("GET", "unmatched", 404), 60.0);
    assert_eq!(page.requests("other", "/users/{userId}/token/{token}", 405), 60.0);
    assert_eq!(
        page.beginning_with("http_requests_total").iter().filter(|series| series.contains("unmatched")).count(),
        1
    );
    assert_eq!(page.beginning_with("http_requests_total").iter().filter(|series| series.contains("other")).count(), 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_is_counted_as_such() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.connection_holding("lock table users in access exclusive mode", async || {
        let impatient = tokio::time::timeout(Duration::from_millis(300), app.me(&ada.token).attempt()).await;
        assert!(impatient.is_err(), "it hangs in the lock");
        until("the server notices", async || app.metrics().await.requests("GET", "/users/me", 499) == 1.0).await;
    })
    .await;
    until("nothing is under way but the scrape", async || app.metrics().await.value("http_requests_in_flight") == 1.0)
        .await;
}

#[tokio::test]
async fn hashes_that_were_refused_are_counted() {
    let app = TestApp::start_with(|config| {
        config.password.argon2_memory_kib = 32 * 1024;
        config.password.argon2_iterations = 2;
        config.password.max_parallel_hashes = 1;
        config.password.max_queued_hashes = 0;
    })
    .await;
    let answers = together((0..8).map(|_| app.post("/auth").basic("nobody", STRONG))).await;
    let refused = count(&answers, 503) as f64;
    assert!(refused >= 1.0, "{answers:?}");
    let page = app.metrics().await;
    assert_eq!(page.value("hashes_refused_total"), refused);
    assert_eq!(page.value(r#"refusals_total{code="Overloaded"}"#), refused);
    assert_eq!(page.requests("POST", "/auth", 503), refused);
    assert_eq!(page.value("hashes_running_max"), 1.0);
}

#[tokio::test]
async fn what_a_limit_refuses_is_counted_by_action() {
    let app = TestApp::start_with(|config| {
        config.rate_limit.sign_ups = 1;
        config.rate_limit.failed_log_ins = 2;
    })
    .await;
    let limited = async |action: &str| {
        app.metrics().await.get(&format!(r#"rate_limit_refusals_total{{action="{action}"}}"#)).unwrap_or(0.0)
    };
    assert_eq!(limited("sign_up").await, 0.0);
    app.sign_up("ada@example.com").await;
    for _ in 0..2 {
        app.post("/users").json(&sign_up_body("bea@example.com")).await.refused(429, "TooManyRequests");
    }
    for status in [401, 401, 429] {
        app.post("/auth").basic("ada@example.com", "a guess").await.expect(status);
    }
    assert_eq!((limited("sign_up").await, limited("failed_log_in").await), (2.0, 1.0));
    assert_eq!((limited("log_in").await, limited("guess_of_stranger").await), (0.0, 0.0));
    assert_eq!(app.metrics().await.value(r#"refusals_total{code="TooManyRequests"}"#), 3.0);
}

#[tokio::test]
async fn servers_of_one_process_count_for_themselves() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    app.get("/nowhere").await.expect(404);
    assert_eq!(app.metrics().await.requests("GET", "unmatched", 404), 1.0);
    assert_eq!(other.metrics().await.requests("GET", "unmatched", 404), 0.0);
}
