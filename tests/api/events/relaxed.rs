//! `events.durability = "relaxed"`: answers do not wait for their events. Nothing else is given up.

use bloq_accounts::config::{Config, Durability};

use super::away::{Postgres, is_back, start};
use crate::harness::database::Database;
use crate::harness::program::until;
use crate::harness::{STRONG, TestApp, together};

/// Nobody may write events while this is open.
const CLOSED: &str = "lock table events in share row exclusive mode";

fn relaxed(config: &mut Config) {
    config.events.durability = Durability::Relaxed;
}

#[tokio::test]
async fn an_answer_does_not_wait_for_its_event() {
    let app = TestApp::start_with(relaxed).await;
    let answer = app.get("/nowhere").await.expect(404);
    app.row_after_all(answer.header("x-request-id")).await;
    let mut early = None;
    app.connection_holding(CLOSED, async || early = Some(app.get("/nowhere").await.expect(404))).await;
    let row = app.row_after_all(early.expect("an answer").header("x-request-id")).await;
    assert_eq!(row["status"], 404);
}

#[tokio::test]
async fn in_an_outage_only_what_needs_rows_is_refused_and_all_is_recorded_when_it_is_over() {
    let postgres = Postgres::start().await;
    let app = TestApp::start_on(Database::elsewhere(postgres.running.url()), relaxed).await;
    let ada = app.person("ada").await;
    let place = postgres.stop().await;
    app.get("/health/ready").await.expect(503);
    let answers = [
        app.me(&ada.token).await.refused(503, "DatabaseUnavailable"),
        app.get("/nowhere").await.expect(404),
        app.delete("/nowhere").await.expect(404),
        app.get("/users/me").await.expect(401),
    ];
    let running = start(&place).await;
    is_back(&app).await;
    for answer in &answers {
        let row = app.row_after_all(answer.header("x-request-id")).await;
        assert_eq!((&row["status"], &row["bytes_out"]), (&answer.status.into(), &answer.text.len().into()), "{row}");
    }
    assert_eq!(app.owner_of(&answers[0]).await, Some(ada.id.clone()));
    app.stop().await;
    running.stop().await;
}

#[tokio::test]
async fn what_finds_no_place_in_memory_is_dropped_and_counted() {
    let postgres = Postgres::start().await;
    let app = TestApp::start_on(Database::elsewhere(postgres.running.url()), |config| {
        relaxed(config);
        config.events.queue = 5;
    })
    .await;
    let place = postgres.stop().await;
    for _ in 0..15 {
        app.get("/nowhere").await.expect(404);
    }
    let running = start(&place).await;
    is_back(&app).await;
    until("what waited is written", async || app.count("select count(*) from events").await == 5).await;
    until("there is a place again", async || {
        app.get("/nowhere").await.expect(404);
        app.count("select count(*) from events").await > 5
    })
    .await;
    assert!(app.metrics().await.value("events_dropped_total") >= 10.0);
    app.stop().await;
    running.stop().await;
}

#[tokio::test]
async fn what_ends_on_one_server_has_ended_on_the_other() {
    let app = TestApp::start_with(relaxed).await;
    let replica = app.replica().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let other = app.log_in(&ada.email, STRONG).await;
    for token in [&ada.token, &other, &bob.token] {
        for server in [&app, &replica, &app, &replica] {
            server.me(token).await.expect(200);
        }
    }
    app.delete("/auth").bearer(&other).await.expect(204);
    replica.me(&other).await.expect(401);
    replica.me(&ada.token).await.expect(200);
    replica.block(&bob.id, "admin").await;
    app.me(&bob.token).await.expect(403);
    replica.me(&bob.token).await.expect(403);
    replica.stop().await;
}

#[tokio::test]
async fn a_server_whose_events_find_no_room_goes_on_and_says_that_it_is_ready() {
    let app = TestApp::start_with(relaxed).await;
    let ada = app.person("ada").await;
    app.execute(
        "create function full_disk() returns trigger language plpgsql as $$
         begin raise exception 'no space left on device' using errcode = 'disk_full'; end $$",
    )
    .await;
    app.execute("create trigger full_disk before insert on events for each statement execute function full_disk()")
        .await;
    let answer = app.me(&ada.token).await.expect(200);
    until("they wait", async || app.metrics().await.value("events_backlog") > 0.0).await;
    app.get("/health/ready").await.expect(200);
    app.execute("drop trigger full_disk on events").await;
    assert_eq!(app.row_after_all(answer.header("x-request-id")).await["status"], 200);
}

#[tokio::test]
async fn a_stop_writes_what_waits_and_each_event_once() {
    let app = TestApp::start_with(relaxed).await;
    together((0..90).map(|_| app.get("/nowhere"))).await;
    let app = app.restart().await;
    assert_eq!(app.count("select count(*) from events").await, 90);
    assert_eq!(app.count("select count(distinct coalesce(request_uuid::text, request_id)) from events").await, 90);
}

#[tokio::test]
async fn a_crowd_is_counted_to_the_last() {
    let app = TestApp::start_with(relaxed).await;
    together((0..250).map(|_| app.get("/nowhere"))).await;
    let count = "select coalesce(max((service_data->>'count')::bigint), 0) from events";
    let rows = "select count(*) from events";
    // Nobody waits for an event of his own: the last of them may be written after the row that counts the rest.
    until("all are there", async || (app.count(rows).await, app.count(count).await) == (101, 150)).await;
}

#[tokio::test]
async fn an_export_is_one_event_with_the_bytes_that_left() {
    let app = TestApp::start_with(relaxed).await;
    let ada = app.person("ada").await;
    let answer = app.get("/users/me/events").header("accept", "text/csv").bearer(&ada.token).await.expect(200);
    until("the last word is there", async || {
        let rows = app.rows_of(answer.header("x-request-id")).await;
        assert!(rows.len() <= 1, "{rows:?}");
        rows.first().is_some_and(|row| row["bytes_out"] == answer.text.len())
    })
    .await;
}
