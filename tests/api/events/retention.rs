//! How long events are kept, and how they go.

use std::future::IntoFuture;
use std::pin::pin;
use std::time::Duration;

use bloq_accounts::clock::Clock;
use bloq_accounts::config::Config;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::harness::TestApp;
use crate::harness::database::Database;
use crate::harness::program::until;

const HOURS: Duration = Duration::from_secs(6 * 3600);
const SOON: Duration = Duration::from_secs(60);

/// A server that keeps events for so long, with a Postgres whose clock is ahead of whatever a test does to the server's.
async fn keeping_for(retention: &str) -> TestApp {
    let database = Database::new().await;
    set_postgres(&database.url, "9999-01-01T00:00:00Z").await;
    TestApp::start_on(database, keeping(retention)).await
}

/// Sets the clock of Postgres, as far as this database is concerned.
async fn set_postgres(url: &str, instant: &str) {
    let statements = format!(
        "create or replace function public.now() returns timestamptz language sql as $$ select timestamptz '{instant}' $$;
         do $$ begin execute format('alter database %I set search_path = public, pg_catalog', current_database()); end $$"
    );
    let mut connection = PgConnection::connect(url).await.expect("it answers");
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await.expect("the database is the test's own");
}

/// Lets the time pass until then, as it does where a server runs: with an event now and then, and a partition for every month.
async fn live_until(app: &TestApp, instant: &str) {
    let instant: DateTime<Utc> = instant.parse().expect("an instant");
    while instant - app.now() > TimeDelta::weeks(1) {
        app.advance(TimeDelta::weeks(1));
        app.make_partitions().await;
        app.get("/nowhere").await.expect(404);
    }
    app.advance(instant - app.now());
    app.make_partitions().await;
}

/// The months that have a partition, oldest first.
async fn months(app: &TestApp) -> Vec<String> {
    let query = "select relname::text from pg_inherits join pg_class on oid = inhrelid
                 where inhparent = 'events'::regclass and relname <> 'events_default' order by relname";
    sqlx::query_scalar(query).fetch_all(&app.pool()).await.expect("the query of the test")
}

fn keeping(retention: &str) -> impl FnOnce(&mut Config) {
    move |config| config.events.retention = retention.parse().expect("a retention")
}

#[tokio::test]
async fn a_month_of_events_goes_thirteen_months_after_its_end() {
    let app = keeping_for("13 months").await;
    let ada = app.person("ada").await;
    live_until(&app, "2027-04-30T23:59:59.999Z").await;
    let march = app.count("select count(*) from events_2026_03").await;
    let all = app.count("select count(*) from events").await;
    assert_eq!(app.prune().await, HOURS);
    assert_eq!(app.count("select count(*) from events").await, all);
    assert_eq!(months(&app).await[0], "events_2026_03");
    app.advance(TimeDelta::milliseconds(1));
    app.prune().await;
    assert_eq!(app.count("select count(*) from events").await, all - march, "those of April and later");
    assert_eq!(months(&app).await[0], "events_2026_04");

    // Who was there then is still served.
    let token = app.log_in(&ada.email, &ada.password).await;
    let events = app.get("/users/me/events").bearer(&token).await.expect(200).json();
    assert_eq!(events.as_array().map(Vec::len), Some(1), "the log-in: {events}");
}

#[tokio::test]
async fn a_server_that_was_away_for_long_drops_all_that_is_over_at_once() {
    let app = keeping_for("90 days").await;
    live_until(&app, "2026-09-10T00:00:00Z").await;
    assert_eq!(months(&app).await.len(), 9, "March to November");
    app.prune().await;
    assert_eq!(months(&app).await[0], "events_2026_06", "its end was 72 days ago, that of May 102");
    assert_eq!(app.prune().await, HOURS, "nothing is left to do");
}

#[tokio::test]
async fn whoever_keeps_events_for_ever_loses_none() {
    let app = keeping_for("forever").await;
    app.get("/nowhere").await.expect(404);
    app.advance(TimeDelta::days(40 * 365));
    app.get("/nowhere").await.expect(404);
    app.prune().await;
    assert_eq!(app.count("select count(*) from events").await, 2);
}

#[tokio::test]
async fn events_that_never_had_a_partition_go_at_the_same_age() {
    let app = keeping_for("2 months").await;
    app.advance(TimeDelta::days(150));
    app.get("/nowhere").await.expect(404);
    app.advance(TimeDelta::days(40));
    app.get("/nowhere").await.expect(404);
    assert_eq!(app.count("select count(*) from events_default").await, 2);
    app.advance(TimeDelta::days(41));
    app.get("/nowhere").await.expect(404);
    app.advance(TimeDelta::days(10));
    assert_eq!(app.prune().await, HOURS);
    assert_eq!(app.count("select count(*) from events_default").await, 2, "August is over, September is not");
}

#[tokio::test]
async fn more_strays_than_one_statement_deletes_all_go() {
    let app = keeping_for("1 month").await;
    app.execute(
        "insert into events (id, service, started_at, ended_at, status, bytes_out, method, path, request_id)
         select ('0198a000-0000-7000-8000-' || lpad(number::text, 12, '0'))::uuid, 'cloud-accounts', now(), now(), 200, 0,
                'GET', '/', '-'
         from generate_series(1, 5001) as number",
    )
    .await;
    app.get("/nowhere").await.expect(404);
    app.advance(TimeDelta::days(10));
    app.prune().await;
    assert_eq!(app.count("select count(*) from events_default").await, 0);
    assert_eq!(app.count("select count(*) from events").await, 1);
}

#[tokio::test]
async fn replicas_may_prune_at_the_same_time() {
    let app = keeping_for("1 month").await;
    let replica = app.replica().await;
    live_until(&app, "2026-12-10T00:00:00Z").await;
    let first = months(&app).await;
    // One may find the other at it, and look again in a minute.
    while months(&app).await.len() > 4 {
        tokio::join!(app.prune(), replica.prune());
    }
    assert_eq!(months(&app).await, first[first.len() - 4..], "November, December and the two ahead");
    tokio::join!(app.prune(), replica.prune(), app.make_partitions(), replica.make_partitions());
    replica.get("/nowhere").await.expect(404);
}

/// A lock that is waited for is in the way of everybody who comes later.
#[tokio::test]
async fn a_long_look_at_events_is_not_disturbed_and_keeps_no_answer_waiting() {
    let app = keeping_for("1 month").await;
    live_until(&app, "2026-06-10T00:00:00Z").await;
    let reads = ["select count(*) from events", "select count(*) from only events_2026_03"];
    for read in reads {
        app.connection_holding(read, async || {
            let mut pruning = pin!(app.prune());
            let rest = loop {
                tokio::select! {
                    rest = &mut pruning => break rest,
                    answer = app.get("/nowhere").into_future() => drop(answer.expect(404)),
                }
            };
            assert_eq!(rest, SOON, "{read}");
            assert_eq!(months(&app).await[0], "events_2026_03", "{read}");
        })
        .await;
    }
    assert_eq!(app.prune().await, HOURS);
    assert_eq!(months(&app).await[0], "events_2026_05");
}

/// Which of two clocks is the wrong one makes no difference.
#[tokio::test]
async fn a_server_whose_clock_is_years_ahead_drops_nothing_while_postgres_knows_better() {
    let app = keeping_for("1 month").await;
    live_until(&app, "2026-04-20T00:00:00Z").await;
    let before = months(&app).await;
    set_postgres(app.database_url(), "2026-04-20T00:00:00Z").await;
    live_until(&app, "2027-01-01T00:00:00Z").await;
    assert_eq!(app.prune().await, HOURS);
    assert_eq!(months(&app).await[..before.len()], before);
    assert_eq!(app.metrics().await.value("events_months_over"), 0.0);
    set_postgres(app.database_url(), "2027-01-01T00:00:00Z").await;
    app.prune().await;
    assert_eq!(months(&app).await[0], "events_2026_12");
}

/// Server and Postgres of one machine have one clock.
#[tokio::test]
async fn a_clock_that_jumps_ahead_is_not_believed_before_events_are_a_week_old_by_it() {
    let app = keeping_for("1 month").await;
    live_until(&app, "2026-04-20T00:00:00Z").await;
    let before = months(&app).await;
    app.advance(TimeDelta::days(1000));
    app.make_partitions().await;
    for _ in 0..7 {
        assert_eq!(app.prune().await, HOURS);
        assert_eq!(months(&app).await[..before.len()], before);
        app.get("/nowhere").await.expect(404);
        app.advance(TimeDelta::hours(23));
    }
    until("an operator is told", async || app.metrics().await.value("events_months_over") == 4.0).await;
    app.advance(TimeDelta::days(1));
    app.prune().await;
    assert_eq!(months(&app).await[0], "events_2029_01", "nobody corrected it: it is so late");
}

#[tokio::test]
async fn what_was_written_by_a_clock_that_is_behind_is_no_older_than_it_is() {
    let app = keeping_for("1 month").await;
    live_until(&app, "2026-06-10T00:00:00Z").await;
    app.prune().await;
    let behind = app.replica_at(Clock::frozen("2024-01-15T00:00:00Z".parse().expect("an instant"))).await;
    behind.get("/nowhere").await.expect(404);
    behind.advance(TimeDelta::days(200));
    behind.get("/nowhere").await.expect(404);
    let written = "select count(*) from events where id < '01960000-0000-7000-8000-000000000000'";
    let strays = "select count(*) from events_default";
    assert_eq!((app.count(written).await, app.count(strays).await), (2, 1));
    for replica in [&app, &behind] {
        replica.prune().await;
        assert_eq!(app.count(written).await, 2);
    }
    live_until(&app, "2026-07-31T00:00:00Z").await;
    app.prune().await;
    assert_eq!((app.count(written).await, app.count(strays).await), (2, 1));
    live_until(&app, "2026-11-10T00:00:00Z").await;
    app.prune().await;
    assert_eq!(app.count(written).await, 0, "by now they are over, whenever they were written");
}

#[tokio::test]
async fn somebody_who_is_being_forgotten_is_forgotten_in_what_is_left() {
    let app = keeping_for("1 month").await;
    let ada = app.person("ada").await;
    live_until(&app, "2026-05-10T00:00:00Z").await;
    let token = app.log_in(&ada.email, &ada.password).await;
    let body = serde_json::json!({ "password": ada.password });
    app.delete("/users/me").bearer(&token).json(&body).await.expect(204);
    assert_eq!(app.prune().await, HOURS);
    assert_eq!(months(&app).await[0], "events_2026_04");
    app.erase().await;
    let personal =
        "select count(*) from events where user_id is not null and (ip is not null or user_agent is not null)";
    assert_eq!(app.count(personal).await, 0);
    assert!(app.count("select count(*) from events where user_id is not null").await > 0);
}

#[tokio::test]
async fn an_operator_sees_how_many_months_there_are_and_how_many_should_not_be() {
    let app = keeping_for("1 month").await;
    let page = app.metrics().await;
    assert_eq!((page.value("events_months"), page.value("events_months_over")), (3.0, 0.0));
    assert_eq!(page.value("events_oldest_month_timestamp_seconds"), 1_772_323_200.0, "2026-03-01");
    assert!(page.value("events_bytes") > 0.0);
    live_until(&app, "2026-06-10T00:00:00Z").await;
    until("two are over", async || app.metrics().await.value("events_months_over") == 2.0).await;
    app.prune().await;
    until("they are gone", async || app.metrics().await.value("events_months") == 4.0).await;
    assert_eq!(app.metrics().await.value("events_months_over"), 0.0);
}
