//! A partition a month, made ahead of time, and a net for what comes too early.

use std::future::IntoFuture;
use std::pin::pin;
use std::time::Duration;

use bloq_accounts::clock::Clock;
use bloq_accounts::events::Partitions;
use bloq_accounts::worker::Worker;
use chrono::TimeDelta;
use serde_json::Value;

use crate::harness::{Answer, TestApp};

/// The partition that the row of an answer lies in.
async fn partition_of(app: &TestApp, answer: &Answer) -> String {
    sqlx::query_scalar(
        "select tableoid::regclass::text from events where coalesce(request_uuid::text, request_id) = $1",
    )
    .bind(answer.header("x-request-id"))
    .fetch_one(&app.pool())
    .await
    .expect("one row")
}

#[tokio::test]
async fn a_month_has_its_partition_before_it_begins() {
    let app = TestApp::start().await;
    let days: [(i64, &str); 3] = [(0, "events_2026_03"), (27, "events_2026_04"), (30, "events_2026_05")];
    for (later, partition) in days {
        app.advance(TimeDelta::days(later));
        let answer = app.get("/users/me").await.expect(401);
        assert_eq!(partition_of(&app, &answer).await, partition);
    }
    app.make_partitions().await;
    app.make_partitions().await;
    app.advance(TimeDelta::days(31));
    let answer = app.get("/users/me").await.expect(401);
    assert_eq!(partition_of(&app, &answer).await, "events_2026_06");
}

#[tokio::test]
async fn an_event_on_the_edge_of_a_month_lies_on_its_side() {
    let app = TestApp::start().await;
    let april: chrono::DateTime<chrono::Utc> = "2026-04-01T00:00:00.000Z".parse().expect("an instant");
    app.advance(april - app.now() - TimeDelta::milliseconds(1));
    let before = app.get("/users/me").await.expect(401);
    assert_eq!(partition_of(&app, &before).await, "events_2026_03");
    app.advance(TimeDelta::milliseconds(1));
    let after = app.get("/users/me").await.expect(401);
    assert_eq!(partition_of(&app, &after).await, "events_2026_04");
}

#[tokio::test]
async fn strays_in_the_default_partition_move_to_their_month_and_stay_readable() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.advance(TimeDelta::days(150));
    let token = app.log_in(&ada.email, &ada.password).await;
    let ada = crate::harness::Person { token, ..ada };
    let stray = app.get("/users/me").bearer(&ada.token).await.expect(200);
    assert_eq!(partition_of(&app, &stray).await, "events_default");
    let before = app.events_of(&ada).await;

    app.make_partitions().await;
    assert_eq!(partition_of(&app, &stray).await, "events_2026_08");
    assert_eq!(app.count("select count(*) from events_default").await, 0);
    let after: Vec<Value> = app.events_of(&ada).await;
    assert_eq!(after[..before.len()], before, "nothing is lost and nothing is there twice");
}

#[tokio::test]
async fn replicas_may_make_a_partition_at_the_same_time() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    app.advance(TimeDelta::days(400));
    tokio::join!(app.make_partitions(), replica.make_partitions());
    let answer = replica.get("/users/me").await.expect(401);
    assert_eq!(partition_of(&app, &answer).await, "events_2027_04");
}

/// Servers whose clocks stand in different months make different partitions, and all of them empty the default one.
#[tokio::test]
async fn replicas_that_make_different_partitions_wait_for_each_other() {
    let app = TestApp::start().await;
    let steps = (0..8).map(|number| {
        let clock = Clock::frozen(app.now() + TimeDelta::days(400 + number * 100));
        let replica = Partitions::new(app.app.pool.clone(), clock);
        tokio::spawn(async move { replica.step().await })
    });
    for step in steps.collect::<Vec<_>>() {
        step.await.expect("no panic").expect("no replica fails because of another");
    }
    let made = "select count(*) from pg_inherits where inhparent = 'events'::regclass";
    assert_eq!(app.count(made).await, 1 + 3 + 8 * 3, "the default one, those of the start, and three months each");
}

/// A lock that is waited for is in the way of everybody who comes later.
#[tokio::test]
async fn a_long_look_at_the_default_partition_keeps_neither_answers_nor_a_starting_server_waiting() {
    let app = TestApp::start().await;
    app.advance(TimeDelta::days(150));
    app.connection_holding("select count(*) from events_default", async || {
        let mut making = pin!(app.partitions.step());
        let rest = loop {
            tokio::select! {
                rest = &mut making => break rest,
                answer = app.get("/nowhere").into_future() => drop(answer.expect(404)),
            }
        };
        assert_eq!(rest.expect("no failure"), Duration::from_secs(60));
        let replica = app.replica().await;
        let stray = replica.get("/nowhere").await.expect(404);
        assert_eq!(partition_of(&app, &stray).await, "events_default");
    })
    .await;
    app.make_partitions().await;
    assert_eq!(app.count("select count(*) from events_default").await, 0);
}

/// Percentages of a partition that grows by millions would leave it alone for too long.
#[tokio::test]
async fn every_partition_is_vacuumed_and_analyzed_after_a_fixed_number_of_events() {
    let app = TestApp::start().await;
    app.advance(TimeDelta::days(400));
    app.make_partitions().await;
    let set = |relation: &str, options: &str| {
        format!(
            "select count(*) from pg_inherits join pg_class on pg_class.oid = inhrelid
             where inhparent = '{relation}'::regclass and reloptions @> '{{{options}}}'"
        )
    };
    let tables = set(
        "events",
        "autovacuum_vacuum_threshold=50000,autovacuum_vacuum_scale_factor=0,
         autovacuum_vacuum_insert_threshold=100000,autovacuum_vacuum_insert_scale_factor=0,
         autovacuum_analyze_threshold=50000,autovacuum_analyze_scale_factor=0",
    );
    let indexes = set("events_id_idx", "autosummarize=on");
    for query in [tables, indexes] {
        let partitions: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&app.pool()).await.expect("a number");
        assert_eq!(partitions, 1 + 3 + 3, "the default one, those of the start, and those made ahead since");
    }
}
