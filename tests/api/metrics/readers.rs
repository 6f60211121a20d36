//! Who may look.

use reqwest::Method;

use crate::harness::{Answer, Call, TestApp, behind_a_proxy};
use crate::metrics::page::Page;

/// Whether nobody could tell that there is something at this path.
#[track_caller]
fn is_ordinary_404(answer: Answer, ordinary: &Answer) {
    let without_id = |answer: &Answer| {
        let mut body = answer.json();
        body["requestId"] = "".into();
        body
    };
    let answer = answer.refused(404, "NotFound");
    assert_eq!(without_id(&answer), without_id(ordinary));
    let names = |answer: &Answer| {
        let mut names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(names(&answer), names(ordinary));
}

#[tokio::test]
async fn a_stranger_behind_a_trusted_proxy_finds_nothing() {
    let app = TestApp::start_with(|config| {
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
    })
    .await;
    let from = |call: Call, client: &str| call.header("x-forwarded-for", client);
    let ordinary = app.get("/nowhere").await.expect(404);
    is_ordinary_404(from(app.get("/metrics"), "203.0.113.9").await, &ordinary);
    is_ordinary_404(from(app.get("/metrics"), "127.0.0.1, 203.0.113.9").await, &ordinary);
    is_ordinary_404(from(app.get("/metrics?x=1"), "2001:db8::1").await, &ordinary);
    is_ordinary_404(from(app.post("/metrics"), "203.0.113.9").await, &ordinary);
    assert_eq!(from(app.call(Method::HEAD, "/metrics"), "203.0.113.9").await.status, 404);
    from(app.get("/metrics"), "rubbish").await.refused(400, "ValidationFailed");

    Page::read(&app.get("/metrics").await.expect(200));
    Page::read(&from(app.get("/metrics"), "127.0.0.1").await.expect(200));
    app.post("/metrics").await.refused(405, "MethodNotAllowed");
    assert_eq!(app.count("select count(*) from events where path <> '/nowhere'").await, 0, "no look is an event");
}

/// What a proxy may add that tells nothing we read.
const OTHER_TRACES: [(&str, &str); 5] = [
    ("forwarded", "for=127.0.0.1"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "accounts.example"),
    ("x-real-ip", "203.0.113.9"),
    ("via", "1.1 proxy"),
];

#[tokio::test]
async fn a_trusted_proxy_that_does_not_say_for_whom_it_asks_gets_nothing() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ordinary = app.get("/nowhere").await.expect(404);
    for (name, value) in OTHER_TRACES {
        is_ordinary_404(app.get("/metrics").header(name, value).await, &ordinary);
        is_ordinary_404(app.get("/metrics").from("127.0.0.1").header(name, value).await, &ordinary);
    }
    app.get("/metrics").await.expect(200);
}

#[tokio::test]
async fn a_proxy_of_this_machine_that_nobody_trusts_gets_nothing_for_its_clients() {
    let app = TestApp::start().await;
    let ordinary = app.get("/nowhere").await.expect(404);
    let named = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "127.0.0.1")];
    for (name, value) in named.into_iter().chain(OTHER_TRACES) {
        is_ordinary_404(app.get("/metrics").header(name, value).await, &ordinary);
    }
    app.get("/metrics").await.expect(200);
}

#[tokio::test]
async fn metrics_with_a_door_of_their_own_are_only_there() {
    let app = TestApp::start_with(|config| config.server.metrics_listen = Some(([127, 0, 0, 1], 0).into())).await;
    let ordinary = app.get("/nowhere").await.expect(404);
    // Not at the REST door, not even for this machine; there it is a request like any other.
    app.get("/metrics").await.refused(404, "NotFound");

    let door = app.metrics_address.expect("a door of their own");
    let at_door = |path: &str| Call(reqwest::Client::new().get(format!("http://{door}{path}")));
    let page = Page::read(&at_door("/metrics").await.expect(200));
    assert_eq!(page.requests("GET", "unmatched", 404), 2.0);
    assert_eq!(page.value("http_connections_max"), 10_000.0, "of the REST door");
    Page::read(&at_door("/metrics").header("x-forwarded-for", "203.0.113.9").await.expect(200));
    for path in ["/", "/users/me", "/health/ready", "/docs/", "/openapi.json"] {
        is_ordinary_404(at_door(path).await, &ordinary);
    }
    let post = Call(reqwest::Client::new().post(format!("http://{door}/metrics"))).await;
    post.refused(405, "MethodNotAllowed");
    app.stop().await;
    assert!(at_door("/metrics").attempt().await.is_none(), "it is closed with the server");
}
