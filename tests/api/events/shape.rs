//! What an event says.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, TestApp};

#[tokio::test]
async fn an_event_is_shown_in_the_shape_of_the_contract() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.advance(TimeDelta::minutes(5));
    let answer =
        app.get("/users/me?x=secret").bearer(&ada.token).header("x-request-id", "my-request").await.expect(200);
    let event = app.events_of(&ada).await.pop().expect("an event");
    assert_eq!(
        event,
        json!({
            "id": event["id"],
            "service": "cloud-accounts",
            "input": {
                "method": "GET",
                "path": "/users/me",
                "ip": "127.0.0.1",
                "userAgent": "tests/1.0",
                "requestId": "my-request",
            },
            "output": {
                "startTime": "2026-03-05T12:05:00.123Z",
                "endTime": "2026-03-05T12:05:00.123Z",
                "httpStatusCode": 200,
                "bytesOut": answer.text.len(),
            },
            "serviceData": {},
            "user": ada.id,
            "createdAt": "2026-03-05T12:05:00.123Z",
        })
    );
}

#[tokio::test]
async fn the_time_of_an_event_is_the_instant_inside_its_id() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.advance(TimeDelta::milliseconds(4_877));
    app.get("/users/me").bearer(&ada.token).await.expect(200);
    let events = app.events_of(&ada).await;
    for event in &events {
        let id = event["id"].as_str().and_then(|id| id.strip_prefix("event-")).expect("an event id");
        let uuid = Uuid::try_parse(id).expect("a UUID");
        assert_eq!((uuid.get_version_num(), uuid.to_string().as_str()), (7, id));
        let (seconds, nanos) = uuid.get_timestamp().expect("a UUID v7").to_unix();
        let instant = chrono::DateTime::from_timestamp(seconds.cast_signed(), nanos).expect("an instant");
        let shown = instant.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        assert_eq!(event["createdAt"], shown.as_str());
    }
    let ids: Vec<&str> = events.iter().filter_map(|event| event["id"].as_str()).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    assert_eq!(events.last().expect("events")["createdAt"], "2026-03-05T12:00:05.000Z");
}

#[tokio::test]
async fn a_path_shows_the_pattern_where_a_segment_is_a_secret_or_an_e_mail() {
    let app = TestApp::start().await;
    let token = "5cf5e1f1-53a2-4f3c-a9f6-1a0f4c7f6b1e";
    let id = "user-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11";
    for (method, path, shown) in [
        (Method::PUT, format!("/users/{id}/token/{token}"), format!("/users/{id}/token/{{token}}")),
        (Method::PUT, format!("/users/ada@example.com/token/{token}"), "/users/{userId}/token/{token}".into()),
        (Method::PUT, format!("/users/ada%40example.com/token/{token}"), "/users/{userId}/token/{token}".into()),
        (Method::PUT, format!("/users/{id}/token/short"), format!("/users/{id}/token/{{token}}")),
        (Method::POST, "/users/ada@example.com/token?x=1".into(), "/users/{userId}/token".into()),
        (Method::PUT, "/users/ada@example.com/activation".into(), "/users/{userId}/activation".into()),
        (Method::PUT, format!("/users/{id}/activation"), format!("/users/{id}/activation")),
        (Method::GET, format!("/users/{id}/token/{token}"), format!("/users/{id}/token/{{token}}")),
    ] {
        let answer = app.call(method, &path).await;
        assert_eq!(app.row_of(&answer).await["path"], shown.as_str(), "{path}");
    }
}

#[tokio::test]
async fn a_path_that_is_no_route_gives_nothing_away() {
    let app = TestApp::start().await;
    let token = "5cf5e1f1-53a2-4f3c-a9f6-1a0f4c7f6b1e";
    for path in
        [format!("/user/ada@example.com/token/{token}"), format!("/users/x/tokens/{token}"), format!("//{token}")]
    {
        let answer = app.get(&path).await.expect(404);
        let row = app.row_of(&answer).await.to_string();
        assert!(!row.contains(token) && !row.contains("example.com"), "{row}");
    }
}

#[tokio::test]
async fn the_agent_is_cut_at_256_bytes_and_null_when_none_was_sent() {
    let app = TestApp::start().await;
    let agents = [("a".repeat(256), 256), ("b".repeat(257), 256), (format!("{}äz", "c".repeat(255)), 255)];
    for (agent, kept) in agents {
        let answer = app.get("/users/me").header("user-agent", "").await;
        assert!([Value::Null, json!("")].contains(&app.row_of(&answer).await["user_agent"]));
        let request = reqwest::Client::new().get(format!("http://{}/users/me", app.address));
        let value = reqwest::header::HeaderValue::from_bytes(agent.as_bytes()).expect("a header");
        let answer = crate::harness::call::Call(request.header("user-agent", value)).await;
        let row = app.row_of(&answer).await;
        let shown = row["user_agent"].as_str().expect("an agent");
        assert!(shown.len() == kept && agent.starts_with(shown), "{shown}");
    }
    let silent = reqwest::Client::new().get(format!("http://{}/users/me", app.address));
    let answer = crate::harness::call::Call(silent).await;
    assert_eq!(app.row_of(&answer).await["user_agent"], Value::Null);
}

/// Where the event and the wire do not agree about the bytes of the body.
async fn miscounted(app: &TestApp, answers: &[Answer]) -> Vec<String> {
    let mut miscounted = Vec::new();
    for answer in answers {
        let (row, left) = (app.row_of(answer).await, answer.text.len());
        if row["bytes_out"] != left {
            miscounted.push(format!("{} {} {}: {left} bytes left", row["method"], row["path"], row["bytes_out"]));
        }
    }
    miscounted
}

#[tokio::test]
async fn the_bytes_are_those_of_the_body_as_it_left() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let answers = [
        app.get("/users/me").bearer(&ada.token).await.expect(200),
        app.get("/users/me/events").bearer(&ada.token).await.expect(200),
        app.get("/users/me").await.expect(401),
        app.get("/nowhere").await.expect(404),
        app.post("/users").json(&json!({})).await.expect(400),
        app.delete("/auth").bearer(&ada.token).await.expect(204),
    ];
    assert_eq!(miscounted(&app, &answers).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_to_head_has_no_bytes() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let answers = [
        app.call(Method::HEAD, "/users/me").bearer(&ada.token).await.expect(200),
        app.call(Method::HEAD, "/users/me").await.expect(401),
        app.call(Method::HEAD, "/nowhere").await.expect(404),
    ];
    assert_eq!(miscounted(&app, &answers).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_request_id_of_an_event_is_the_one_of_the_answer() {
    let app = TestApp::start().await;
    for (sent, is_kept) in [("Good.id_1-x", true), ("bad id", false), ("", false)] {
        let answer = app.get("/users/me").header("x-request-id", sent).await;
        let shown = answer.header("x-request-id").to_owned();
        assert_eq!(shown == sent, is_kept, "{sent}");
        assert_eq!(app.row_of(&answer).await["request_id"], shown.as_str());
    }
}
