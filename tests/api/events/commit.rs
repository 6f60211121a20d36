//! The answer leaves only after its event is committed, whatever becomes of the request.

use std::time::Duration;

use bloq_accounts::users::AccessLevel;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::JoinSet;

use crate::harness::database::Database;
use crate::harness::program::until;
use crate::harness::{STRONG, TestApp};

/// Nobody may write events while this is open.
const CLOSED: &str = "lock table events in share row exclusive mode";

#[tokio::test]
async fn after_every_answer_its_event_is_there() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for _ in 0..30 {
        let answer = app.get("/users/me").bearer(&ada.token).await.expect(200);
        assert_eq!(app.row_of(&answer).await["status"], 200);
    }
}

#[tokio::test]
async fn an_answer_waits_for_its_event() {
    let app = TestApp::start_with(|config| config.events.commit_deadline_ms = 60_000).await;
    let mut connection = app.connection().await;
    let mut closed = connection.begin().await.expect("a transaction");
    sqlx::query(CLOSED).execute(&mut *closed).await.expect("the lock");

    let mut asking = Box::pin(async { app.get("/users/me").await });
    tokio::select! {
        answer = &mut asking => panic!("it did not wait: {answer:?}"),
        () = app.somebody_waits_for_a_lock() => {}
    }
    // Some more time in which nothing may come.
    let early = tokio::time::timeout(Duration::from_millis(200), &mut asking).await;
    assert!(early.is_err(), "{early:?}");
    closed.commit().await.expect("the lock goes");
    let answer = asking.await.expect(401);
    assert_eq!(app.row_of(&answer).await["status"], 401);
}

#[tokio::test]
async fn requests_that_wait_together_share_a_commit() {
    let app = TestApp::start_with(|config| config.events.commit_deadline_ms = 60_000).await;
    let mut connection = app.connection().await;
    let mut closed = connection.begin().await.expect("a transaction");
    sqlx::query(CLOSED).execute(&mut *closed).await.expect("the lock");
    let mut crowd = JoinSet::new();
    for number in 0..60 {
        let call = app.get("/users/me").header("x-request-id", &format!("crowd-{number}"));
        crowd.spawn(async { call.await });
    }
    app.somebody_waits_for_a_lock().await;
    closed.commit().await.expect("the lock goes");
    let answers = crowd.join_all().await;
    assert!(answers.iter().all(|answer| answer.status == 401));

    assert_eq!(app.count("select count(*) from events where request_id like 'crowd-%'").await, 60);
    let commits = app.count("select count(distinct xmin::text) from events where request_id like 'crowd-%'").await;
    assert!(commits <= 30, "{commits} transactions for 60 events");
}

#[tokio::test]
async fn a_batch_has_a_bound() {
    let app = TestApp::start_with(|config| config.events.batch = 4).await;
    let mut crowd = JoinSet::new();
    for number in 0..40 {
        let call = app.get("/users/me").header("x-request-id", &format!("crowd-{number}"));
        crowd.spawn(async { call.await });
    }
    crowd.join_all().await;
    let query =
        "select coalesce(max(rows), 0) from (select count(*) as rows from events group by xmin::text) as commits";
    assert!(app.count(query).await <= 4);
    assert_eq!(app.count("select count(*) from events").await, 40);
}

#[tokio::test]
async fn a_client_that_hangs_up_during_a_log_in_is_recorded() {
    let app = TestApp::start().await;
    let bob = app.named("bob", AccessLevel::Authorized).await;
    let mut connection = app.connection().await;
    let mut closed = connection.begin().await.expect("a transaction");
    // The log-in has found its user and hangs where it counts the failure.
    sqlx::query("select from users for update").execute(&mut *closed).await.expect("the lock");
    let call = app.post("/auth").basic("bob", "wrong").header("x-request-id", "gone").header("connection", "close");
    let asking = tokio::spawn(async { call.attempt().await });
    app.somebody_waits_for_a_lock().await;
    asking.abort();
    assert!(asking.await.is_err());

    let row = app.row_after_all("gone").await;
    assert_eq!((&row["status"], &row["bytes_out"]), (&499.into(), &0.into()), "{row}");
    assert_eq!(row["user_id"].as_str().map(|id| format!("user-{id}")), Some(bob.id));
    assert_eq!(row["path"], "/auth");
    closed.rollback().await.expect("the lock goes");
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_recorded() {
    let app = TestApp::start_with(|config| config.server.request_timeout_seconds = 1).await;
    let ada = app.person("ada").await;
    let mut connection = app.connection().await;
    let mut closed = connection.begin().await.expect("a transaction");
    sqlx::query("lock table account_tokens in access exclusive mode").execute(&mut *closed).await.expect("the lock");
    let answer = app.get("/users/me").bearer(&ada.token).await.refused(503, "Timeout");
    assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    closed.rollback().await.expect("the lock goes");
    assert_eq!(app.row_of(&answer).await["status"], 503);
    assert_eq!(app.owner_of(&answer).await, Some(ada.id));
}

/// Near the end of time the sum of now and a token's life cannot be told: the one panic that is within a test's reach.
#[tokio::test]
async fn a_handler_that_panics_is_recorded() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let until_the_end: TimeDelta = DateTime::<Utc>::MAX_UTC - app.now() - TimeDelta::hours(1);
    app.advance(until_the_end);
    let answer = app.post("/auth").basic(&ada.email, STRONG).await.refused(500, "InternalError");
    assert!(!answer.text.contains("overflow"), "{answer:?}");
    assert_eq!(app.row_of(&answer).await["status"], 500);
    assert_eq!(app.owner_of(&answer).await, Some(ada.id));
    app.get("/health/live").await.expect(200);
}

#[tokio::test]
async fn a_stop_writes_what_was_handed_over() {
    let app = TestApp::start().await;
    let mut crowd = JoinSet::new();
    for _ in 0..20 {
        let call = app.get("/users/me");
        crowd.spawn(async { call.attempt().await.is_some() });
    }
    until("some of them are answered", async || app.count("select count(*) from events").await > 0).await;
    let app = app.restart().await;
    let answered = crowd.join_all().await.into_iter().filter(|answered| *answered).count();
    assert!(app.count("select count(*) from events").await >= answered as i64, "{answered}");
}

#[tokio::test]
async fn an_event_that_the_table_refuses_holds_up_nobody_else() {
    let app = TestApp::start_with(|config| config.events.commit_deadline_ms = 60_000).await;
    for statement in [
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$",
        "create trigger refuse before insert on events_default for each row when (new.path = '/poison')
         execute function refuse()",
        "create trigger refuse before insert on events_2026_03 for each row when (new.path = '/poison')
         execute function refuse()",
    ] {
        app.execute(statement).await;
    }
    let mut connection = app.connection().await;
    let mut closed = connection.begin().await.expect("a transaction");
    sqlx::query(CLOSED).execute(&mut *closed).await.expect("the lock");
    let mut crowd = JoinSet::new();
    for path in ["/first", "/poison", "/second", "/third"] {
        let call = app.get(path);
        crowd.spawn(async move { (path, call.await.status) });
    }
    app.somebody_waits_for_a_lock().await;
    closed.commit().await.expect("the lock goes");
    let mut statuses = crowd.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [("/first", 404), ("/poison", 503), ("/second", 404), ("/third", 404)]);
    assert_eq!(app.count("select count(*) from events").await, 3);
}

#[tokio::test]
async fn an_event_that_gave_in_to_another_transaction_is_written_all_the_same() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    // The first time, also for each event alone, Postgres says what it says to one of two that wait for each other.
    app.execute("create sequence times").await;
    app.execute(
        "create function give_in() returns trigger language plpgsql as $$
         begin
             if nextval('times') < 3 then raise exception using errcode = 'deadlock_detected'; end if;
             return null;
         end $$",
    )
    .await;
    app.execute("create trigger give_in before insert on events for each statement execute function give_in()").await;
    let answer = app.me(&ada.token).await.expect(503);
    let row = app.row_after_all(answer.header("x-request-id")).await;
    assert_eq!((&row["status"], &row["path"]), (&503.into(), &"/users/me".into()));
}

#[tokio::test]
async fn a_client_that_hangs_up_before_an_outdated_answer_was_made_again_is_recorded_as_told_nothing() {
    let app = TestApp::start_with(|config| config.events.commit_deadline_ms = 60_000).await;
    let ada = app.person("ada").await;
    app.me(&ada.token).await.expect(200);
    let mut connection = app.connection().await;
    let mut closed = connection.begin().await.expect("a transaction");
    sqlx::query(CLOSED).execute(&mut *closed).await.expect("the lock");
    let call = app.me(&ada.token).header("x-request-id", "gone").header("connection", "close");
    let asking = tokio::spawn(async { call.attempt().await });
    app.somebody_waits_for_a_lock().await;
    app.execute("update users set version = version").await;
    asking.abort();
    assert!(asking.await.is_err());
    until("the server notices", async || app.metrics().await.requests("GET", "/users/me", 499) == 1.0).await;
    closed.rollback().await.expect("the lock goes");

    let row = app.row_after_all("gone").await;
    assert_eq!((&row["status"], &row["bytes_out"]), (&499.into(), &0.into()), "{row}");
    assert_eq!(row["user_id"].as_str().map(|id| format!("user-{id}")), Some(ada.id));
}

#[tokio::test]
async fn a_connection_of_the_writer_that_dies_between_two_events_refuses_nobody() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.me(&ada.token).await.expect(200);
    let query = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where datname = current_database() and state = 'idle' and query like '%insert into events%'";
    assert!(app.count(query).await >= 1);
    for _ in 0..3 {
        let answer = app.me(&ada.token).await.expect(200);
        assert_eq!(app.rows_of(answer.header("x-request-id")).await.len(), 1);
    }
}

#[tokio::test]
async fn a_commit_waits_for_the_disk_whatever_the_database_says_and_for_standbys_as_it_says() {
    for (said, counts) in [("off", "on"), ("remote_write", "remote_write"), ("local", "local")] {
        let database = Database::new().await;
        let mut connection = PgConnection::connect(&database.url).await.expect("it answers");
        let setting = format!(
            "do $$ begin
                 execute format('alter database %I set synchronous_commit = {said}', current_database());
             end $$"
        );
        sqlx::raw_sql(AssertSqlSafe(setting)).execute(&mut connection).await.expect("it is ours");
        let app = TestApp::start_on(database, |_| {}).await;
        assert_eq!(app.text("show synchronous_commit").await, counts, "{said}");
    }
}
