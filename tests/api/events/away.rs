//! The database goes away and comes back.

use std::time::Duration;

use bloq_accounts::db::embedded::{Embedded, Holder, Settings};
use sqlx::Connection;

use crate::harness::TestApp;
use crate::harness::database::Database;
use crate::harness::program::{Place, until};

/// A Postgres of the test's own, which the test may stop.
pub struct Postgres {
    place: Place,
    pub running: Embedded,
}

impl Postgres {
    pub async fn start() -> Self {
        let place = Place::filled();
        Self { running: start(&place).await, place }
    }

    /// Stops it; what comes back can start it again.
    pub async fn stop(self) -> Place {
        self.running.stop().await;
        self.place
    }
}

pub async fn start(place: &Place) -> Embedded {
    let settings = Settings { data_dir: place.data_dir(), postgres_bin: None, max_connections: 30 };
    Embedded::start(settings, Holder::Server).await.expect("a Postgres of our own")
}

pub async fn is_back(app: &TestApp) {
    until("the server is ready again", async || app.get("/health/ready").await.status == 200).await;
}

#[tokio::test]
async fn answers_of_an_outage_are_503_and_are_recorded_as_such_when_it_is_over() {
    let postgres = Postgres::start().await;
    let app = TestApp::start_on(Database::elsewhere(postgres.running.url()), |_| {}).await;
    let ada = app.person("ada").await;
    let place = postgres.stop().await;

    app.get("/health/live").await.expect(200);
    app.get("/health/ready").await.expect(503);
    let answers = [
        app.get("/users/me").bearer(&ada.token).await.refused(503, "DatabaseUnavailable"),
        app.get("/users/me/events").bearer(&ada.token).await.refused(503, "DatabaseUnavailable"),
        app.post("/auth").basic(&ada.email, "wrong").await.refused(503, "DatabaseUnavailable"),
        // What needs no database is told, too, that its event could not be written.
        app.get("/nowhere").await.refused(503, "DatabaseUnavailable"),
        app.get("/users/me").await.refused(503, "DatabaseUnavailable"),
    ];
    for answer in &answers {
        let seconds: u64 = answer.header("retry-after").parse().unwrap_or(0);
        assert!(seconds >= 1, "{answer:?}");
    }

    let running = start(&place).await;
    is_back(&app).await;
    for answer in &answers {
        let row = app.row_after_all(answer.header("x-request-id")).await;
        assert_eq!((&row["status"], &row["bytes_out"]), (&503.into(), &answer.text.len().into()), "{row}");
    }
    let owners = [app.owner_of(&answers[0]).await, app.owner_of(&answers[1]).await];
    assert_eq!(owners, [Some(ada.id.clone()), Some(ada.id.clone())], "the token says whose");
    let events = app.events_of(&ada).await;
    assert_eq!(events.iter().filter(|event| event["output"]["httpStatusCode"] == 503).count(), 2);
    app.stop().await;
    running.stop().await;
}

#[tokio::test]
async fn an_answer_whose_commit_is_not_known_in_time_is_503_and_its_event_says_so_once() {
    let app = TestApp::start_with(|config| config.events.commit_deadline_ms = 300).await;
    let ada = app.person("ada").await;
    let mut connection = app.connection().await;
    let mut closed = connection.begin().await.expect("a transaction");
    let lock = "lock table events in share row exclusive mode";
    sqlx::query(lock).execute(&mut *closed).await.expect("the lock");
    let answer = app.get("/users/me").bearer(&ada.token).await.refused(503, "DatabaseUnavailable");
    assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    closed.rollback().await.expect("the lock goes");

    let id = answer.header("x-request-id");
    // It may be there as 200 first: that insert was under way. The last word is what the client was told.
    until("the row says what the client was told", async || {
        let rows = app.rows_of(id).await;
        assert!(rows.len() <= 1, "{rows:?}");
        rows.first().is_some_and(|row| row["status"] == 503)
    })
    .await;
    app.get("/users/me").bearer(&ada.token).await.expect(200);
    let row = app.row_of(&answer).await;
    assert_eq!((&row["status"], &row["bytes_out"]), (&503.into(), &answer.text.len().into()), "{row}");
}

#[tokio::test]
async fn what_waits_for_the_database_has_a_bound() {
    let postgres = Postgres::start().await;
    let app = TestApp::start_on(Database::elsewhere(postgres.running.url()), |config| {
        config.events.queue = 5;
        config.events.commit_deadline_ms = 100;
    })
    .await;
    let place = postgres.stop().await;
    for _ in 0..15 {
        app.get("/nowhere").await.refused(503, "DatabaseUnavailable");
    }
    let running = start(&place).await;
    is_back(&app).await;
    until("what waited is written", async || app.count("select count(*) from events").await >= 5).await;
    app.get("/nowhere").await.expect(404);
    let written = app.count("select count(*) from events where status = 503").await;
    assert!((5..=10).contains(&written), "{written} of 15 with room for 5 in the queue and 5 in the backlog");
    app.stop().await;
    running.stop().await;
}

#[tokio::test]
async fn a_stop_during_an_outage_is_a_stop() {
    let postgres = Postgres::start().await;
    let app = TestApp::start_on(Database::elsewhere(postgres.running.url()), |_| {}).await;
    app.get("/nowhere").await.expect(404);
    let _place = postgres.stop().await;
    app.get("/nowhere").await.refused(503, "DatabaseUnavailable");
    let stopped = tokio::time::timeout(Duration::from_secs(15), app.stop()).await;
    assert!(stopped.is_ok(), "it waits for a database that does not come back");
}

#[tokio::test]
async fn a_server_whose_events_find_no_room_is_not_ready_until_they_do() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute(
        "create function full_disk() returns trigger language plpgsql as $$
         begin raise exception 'no space left on device' using errcode = 'disk_full'; end $$",
    )
    .await;
    app.execute("create trigger full_disk before insert on events for each statement execute function full_disk()")
        .await;
    let refused = app.me(&ada.token).await.refused(503, "DatabaseUnavailable");
    app.get("/health/ready").await.refused(503, "DatabaseUnavailable");
    app.execute("drop trigger full_disk on events").await;
    crate::harness::program::until("it is ready", async || app.get("/health/ready").await.status == 200).await;
    assert_eq!(app.row_after_all(refused.header("x-request-id")).await["status"], 503);
    app.me(&ada.token).await.expect(200);
}
