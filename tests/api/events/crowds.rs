//! Crowds: what strangers can cause without end becomes one row a minute; what a user does stays an event of its own.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection};

use crate::harness::program::until;
use crate::harness::{STRONG, STRONGER, TestApp, behind_a_proxy, count, together};

/// Nobody may write events while this is open.
const CLOSED: &str = "lock table events in share row exclusive mode";

/// The rows of crowds.
async fn crowds(app: &TestApp) -> Vec<Value> {
    let query = "select row_to_json(events) from events where service_data ? 'count'";
    sqlx::query_scalar(query).fetch_all(&app.pool()).await.expect("the query of the test")
}

/// The counts of the rows of crowds with this status, least first.
async fn counts(app: &TestApp, status: u16) -> Vec<u64> {
    let count = |row: &Value| row["service_data"]["count"].as_u64().expect("a count");
    let mut counts: Vec<u64> = crowds(app).await.iter().filter(|row| row["status"] == status).map(count).collect();
    counts.sort_unstable();
    counts
}

/// How many events of their own have this status.
async fn alone(app: &TestApp, status: u16) -> i64 {
    let query = format!("select count(*) from events where service_data is null and status = {status}");
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&app.pool()).await.expect("the query of the test")
}

/// So many requests of a stranger that find nothing.
async fn stray(app: &TestApp, times: usize, from: &str) {
    for answer in together((0..times).map(|number| app.get(&format!("/nowhere/{number}")).from(from))).await {
        answer.expect(404);
    }
}

#[tokio::test]
async fn a_stranger_who_asks_more_than_a_hundred_times_a_minute_gets_one_row_for_the_rest() {
    let app = TestApp::start_with(behind_a_proxy).await;
    stray(&app, 130, "203.0.113.1").await;
    stray(&app, 20, "203.0.113.2").await;
    assert_eq!((alone(&app, 404).await, counts(&app, 404).await), (120, vec![30]));
    app.get("/users/me").from("203.0.113.1").await.expect(401);
    assert_eq!(counts(&app, 401).await, [1], "another route, or status, is another row");
    let rows = crowds(&app).await;
    let row = rows.iter().find(|row| row["status"] == 401).expect("the second row");
    assert_eq!((&row["ip"], &row["user_id"], &row["method"]), (&json!("203.0.113.1"), &Value::Null, &json!("GET")));

    app.advance(TimeDelta::minutes(1));
    stray(&app, 101, "203.0.113.1").await;
    assert_eq!((alone(&app, 404).await, counts(&app, 404).await), (220, vec![1, 30]), "each minute for itself");
}

#[tokio::test]
async fn the_addresses_of_one_v6_network_are_one_stranger() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let calls = (1..=110).map(|number| app.get("/nowhere").from(&format!("2001:db8:0:1::{number:x}")));
    together(calls).await;
    assert_eq!((alone(&app, 404).await, counts(&app, 404).await), (100, vec![10]));
}

#[tokio::test]
async fn what_is_refused_as_too_much_is_one_row_from_the_first_on() {
    let app = TestApp::start_with(|config| config.rate_limit.log_ins = 2).await;
    let call = || app.post("/auth").basic("nobody", "wrong");
    let answers = together((0..10).map(|_| call())).await;
    assert_eq!((count(&answers, 401), count(&answers, 429)), (2, 8));
    assert_eq!((alone(&app, 401).await, alone(&app, 429).await, counts(&app, 429).await), (2, 0, vec![8]));
    let row = crowds(&app).await.remove(0);
    assert_eq!((&row["path"], &row["method"]), (&json!("/auth"), &json!("POST")));
    let bytes: usize = answers.iter().filter(|answer| answer.status == 429).map(|answer| answer.text.len()).sum();
    assert_eq!(row["bytes_out"], bytes, "of all of them");
}

#[tokio::test]
async fn a_user_who_is_told_to_wait_finds_that_in_the_feed() {
    let app = TestApp::start_with(|config| config.rate_limit.failed_confirmations = 1).await;
    let ada = app.person("ada").await;
    app.change_password(&ada.token, STRONGER, STRONG).await.expect(400);
    for _ in 0..3 {
        app.change_password(&ada.token, STRONGER, STRONG).await.expect(429);
    }
    for _ in 0..150 {
        app.me(&ada.token).await.expect(200);
    }
    let events = app.events_of(&ada).await;
    let told = |status: u16| events.iter().filter(move |event| event["output"]["httpStatusCode"] == status);
    let shown: Vec<&Value> = told(429).map(|event| &event["serviceData"]).collect();
    assert_eq!(shown, [&json!({"count": 3})]);
    let own = events.iter().filter(|event| event["input"]["path"] == "/users/me").count();
    assert_eq!(own, 150, "what a user does is never one of a crowd");
}

#[tokio::test]
async fn a_refusal_that_rests_on_memory_is_counted_as_well() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let mut open = Vec::new();
    let stream = || reqwest::Client::new().get(format!("http://{}/users/me/events/stream", app.address));
    for _ in 0..5 {
        open.push(stream().bearer_auth(&ada.token).send().await.expect("a stream"));
    }
    for _ in 0..3 {
        app.get("/users/me/events/stream").bearer(&ada.token).await.expect(429);
    }
    assert_eq!((alone(&app, 429).await, counts(&app, 429).await), (0, vec![3]));
}

#[tokio::test]
async fn failed_log_ins_of_a_user_beyond_thirty_a_minute_are_one_row_of_an_address() {
    let app = TestApp::start_with(|config| {
        behind_a_proxy(config);
        config.rate_limit.enabled = false;
    })
    .await;
    let bob = app.person("bob").await;
    for number in 0..40 {
        app.post("/auth").basic(&bob.email, "wrong").from(&format!("203.0.113.{}", number % 2)).await.expect(401);
    }
    app.post("/auth").basic(&bob.email, STRONG).from("203.0.113.1").await.expect(200);
    assert_eq!((alone(&app, 401).await, counts(&app, 401).await), (30, vec![5, 5]));
    let rows = crowds(&app).await;
    assert!(rows.iter().all(|row| row["user_id"].as_str().is_some_and(|id| bob.id.ends_with(id))), "{rows:?}");
    let log_ins = app.count("select count(*) from events where path = '/auth' and status = 200").await;
    assert_eq!(log_ins, 2, "with the right password");
}

#[tokio::test]
async fn a_crowd_that_waits_together_is_one_version_of_its_row() {
    let app = TestApp::start_with(|config| config.events.commit_deadline_ms = 60_000).await;
    for statement in [
        "create sequence versions",
        "create function note_version() returns trigger language plpgsql as
         $$ begin perform nextval('versions'); return null; end $$",
        "create trigger note_version after insert or update on events
         for each row when (new.service_data ? 'count') execute function note_version()",
    ] {
        app.execute(statement).await;
    }
    stray(&app, 101, "").await;
    let mut connection = app.connection().await;
    let mut closed = connection.begin().await.expect("a transaction");
    sqlx::query(CLOSED).execute(&mut *closed).await.expect("the lock");
    let calls = (0..300).map(|_| app.get("/nowhere"));
    let asking = tokio::spawn(together(calls.collect::<Vec<_>>()));
    app.somebody_waits_for_a_lock().await;
    closed.commit().await.expect("the lock goes");
    assert_eq!(count(&asking.await.expect("answers"), 404), 300);
    assert_eq!(counts(&app, 404).await, [301]);
    let versions = app.count("select last_value from versions").await;
    assert!(versions <= 60, "{versions} versions of a row for 301 requests");
}

#[tokio::test]
async fn a_request_that_is_told_503_in_the_end_is_counted_as_that_alone() {
    let app = TestApp::start_with(|config| config.events.commit_deadline_ms = 300).await;
    stray(&app, 101, "").await;
    assert_eq!(counts(&app, 404).await, [1]);
    app.connection_holding(CLOSED, async || {
        app.get("/nowhere").await.refused(503, "DatabaseUnavailable");
    })
    .await;
    until("it is known", async || counts(&app, 503).await == [1] && counts(&app, 404).await == [1]).await;
    app.get("/nowhere").await.expect(404);
    assert_eq!((counts(&app, 404).await, counts(&app, 503).await), (vec![2], vec![1]));
}

#[tokio::test]
async fn each_server_has_rows_of_its_own() {
    let app = TestApp::start_with(|config| config.rate_limit.log_ins = 1).await;
    let replica = app.replica().await;
    for server in [&app, &replica] {
        for _ in 0..3 {
            server.post("/auth").basic("nobody", "wrong").await;
        }
    }
    assert_eq!(counts(&app, 429).await, [2, 2]);
    replica.stop().await;
}

#[tokio::test]
async fn a_restart_in_the_same_minute_begins_a_new_row() {
    let app = TestApp::start().await;
    stray(&app, 101, "").await;
    let app = app.restart().await;
    stray(&app, 102, "").await;
    assert_eq!((alone(&app, 404).await, counts(&app, 404).await), (200, vec![1, 2]));
}
