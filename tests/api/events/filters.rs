//! Which events of the own ones: time, service, status; and bad values.

use chrono::{TimeDelta, Utc};
use serde_json::Value;

use crate::harness::{Person, TestApp};

/// Statuses of the events that pass.
async fn statuses(app: &TestApp, person: &Person, query: &str) -> Vec<u64> {
    let page = app.get(&format!("/users/me/events?{query}")).bearer(&person.token).await.expect(200).json();
    let status = |event: &Value| event["output"]["httpStatusCode"].as_u64().expect("a number");
    page.as_array().expect("a bare array").iter().map(status).collect()
}

#[tokio::test]
async fn since_and_until_bound_the_time() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let instant = |at: chrono::DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    app.advance(TimeDelta::hours(1));
    let noon = app.now();
    app.get("/users/me/client-keys/x").bearer(&ada.token).await.expect(405);
    app.post("/auth").basic(&ada.email, "wrong").await.expect(401);
    app.advance(TimeDelta::hours(1));
    app.delete(&format!("/users/me/client-keys/{}", "0".repeat(40))).bearer(&ada.token).await.expect(404);

    let (since, until) = (instant(noon), instant(noon + TimeDelta::minutes(30)));
    assert_eq!(statuses(&app, &ada, &format!("status=4xx&since={since}")).await, [405, 401, 404]);
    assert_eq!(statuses(&app, &ada, &format!("status=4xx&until={until}")).await, [405, 401]);
    assert_eq!(statuses(&app, &ada, &format!("since={since}&until={until}")).await, [405, 401]);
    let with_zone = (noon + TimeDelta::minutes(1)).format("%Y-%m-%dT%H:%M:%S%%2B00:00").to_string();
    assert_eq!(statuses(&app, &ada, &format!("status=4xx&since={with_zone}")).await, [404]);
    assert_eq!(statuses(&app, &ada, &format!("since={until}&until={since}")).await, [0_u64; 0]);
}

#[tokio::test]
async fn a_status_is_a_code_or_a_class() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.post("/auth").basic(&ada.email, "wrong").await.expect(401);
    app.delete(&format!("/users/me/client-keys/{}", "0".repeat(40))).bearer(&ada.token).await.expect(404);
    app.put("/users/me/password").bearer(&ada.token).json(&serde_json::json!({})).await.expect(400);
    assert_eq!(statuses(&app, &ada, "status=404").await, [404]);
    assert_eq!(statuses(&app, &ada, "status=4xx").await, [401, 404, 400]);
    assert_eq!(statuses(&app, &ada, "status=201").await, [201]);
    assert_eq!(statuses(&app, &ada, "status=5xx").await, [0_u64; 0]);
    assert!(statuses(&app, &ada, "status=2xx").await.iter().all(|status| (200..300).contains(status)));
}

#[tokio::test]
async fn a_service_is_named() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    assert_eq!(statuses(&app, &ada, "service=cloud-accounts").await, [201, 200, 200]);
    assert_eq!(statuses(&app, &ada, "service=qb2-accounts").await, [0_u64; 0]);
}

#[tokio::test]
async fn bad_values_are_refused_with_every_name() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for (query, fields) in [
        ("before=1", &["before"][..]),
        ("after=0199f0a4-8f6e-7c31-a3c5-2f1de2a8b0c4", &["after"]),
        ("since=yesterday", &["since"]),
        ("until=2026-13-01T00:00:00Z", &["until"]),
        ("status=6xx", &["status"]),
        ("status=99", &["status"]),
        ("status=ok", &["status"]),
        ("order=up", &["order"]),
        ("service=", &["service"]),
        ("page=2", &["page"]),
        ("limit=5&limit=6", &["limit"]),
        ("limit=x&order=y&colour=z", &["colour", "limit", "order"]),
    ] {
        let answer = app.get(&format!("/users/me/events?{query}")).bearer(&ada.token).await;
        assert_eq!(answer.refused(400, "ValidationFailed").bad_fields(), fields, "{query}");
    }
}

#[tokio::test]
async fn an_event_of_somebody_else_is_a_cursor_and_no_more() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let last = app.events_of(&bob).await.pop().expect("an event");
    let before = format!("before={}", last["id"].as_str().expect("an id"));
    let page = app.get(&format!("/users/me/events?{before}")).bearer(&ada.token).await.expect(200).json();
    let owners: Vec<&Value> = page.as_array().expect("a bare array").iter().map(|event| &event["user"]).collect();
    assert_eq!(owners, [&ada.id; 3]);
}
