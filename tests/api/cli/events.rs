//! `admin events …`, beside a running server and without one.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, PgConnection};

use crate::harness::database::Database;
use crate::harness::program::{DEADLINE, Done, Place, finish, until};

/// Two months of long ago, with events in the first.
const LONG_AGO: &str = "
    create table events_2020_01 (like events including all);
    create table events_2020_02 (like events including all);
    alter table events attach partition events_2020_01
        for values from ('016f5e66-e800-0000-0000-000000000000') to ('016ffe0c-0c00-0000-0000-000000000000');
    alter table events attach partition events_2020_02
        for values from ('016ffe0c-0c00-0000-0000-000000000000') to ('01709364-7800-0000-0000-000000000000');
    insert into events (id, service, started_at, ended_at, status, bytes_out, method, path, request_id)
    select (prefix || '-8000-7000-8000-' || lpad(number::text, 12, '0'))::uuid, 'cloud-accounts', now(), now(), 200, 0,
           'GET', '/', '-'
    from generate_series(1, 300) as number, (values ('016f5e67'), ('01500000')) as before (prefix);
    analyze events_2020_01;
";

/// What shows that the clock is right: an event of ten days ago.
const TEN_DAYS_AGO: &str = "
    insert into events (id, service, started_at, ended_at, status, bytes_out, method, path, request_id)
    select encode(int8send((extract(epoch from now() - interval '10 days') * 1000)::bigint << 16) || int8send(0), 'hex')::uuid,
           'cloud-accounts', now(), now(), 200, 0, 'GET', '/', '-'
";
const KEPT: [&str; 2] = ["--retention", "13 months"];

/// A database of years, and a connection to it.
async fn old_database(place: &Place) -> (Database, PgConnection) {
    let database = Database::empty().await;
    place.run(&["migrate", "--database-url", &database.url]).await.expect(0);
    let mut connection = PgConnection::connect(&database.url).await.expect("it answers");
    for events in [LONG_AGO, TEN_DAYS_AGO] {
        sqlx::raw_sql(events).execute(&mut connection).await.expect("the events of the test");
    }
    (database, connection)
}

async fn prune(place: &Place, database: &Database, options: &[&str]) -> Done {
    place.run(&[&["admin", "events", "prune", "--database-url", &database.url], options].concat()).await
}

async fn count(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select count(*) from events").fetch_one(connection).await.expect("a number")
}

#[tokio::test]
async fn an_operator_sees_what_would_go_and_lets_it_go() {
    let place = Place::new();
    let (database, mut connection) = old_database(&place).await;
    let shown = prune(&place, &database, &["--dry-run"]).await.expect(0);
    let rows: Vec<Vec<&str>> = shown.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["MONTH", "EVENTS", "SIZE"]);
    assert_eq!((&rows[1][..2], &rows[2][..2], rows.len()), (&["2020-01", "300"][..], &["2020-02", "unknown"][..], 3));
    assert!(rows[1][3] == "KiB" && rows[1][2].parse::<u32>().is_ok_and(|size| size > 30), "{rows:?}");
    assert!(shown.stderr.contains("would be dropped: 2 months, 300 events without a partition"), "{shown:?}");
    assert!(shown.stderr.contains("retention: 13 months, from the built-in defaults"), "{shown:?}");
    assert_eq!(count(&mut connection).await, 601, "nothing is changed");

    let done = prune(&place, &database, &KEPT).await.expect(0);
    assert!(done.stderr.contains("retention: 13 months, from --retention"), "{done:?}");
    assert_eq!(done.stdout, shown.stdout);
    assert!(done.stderr.contains("dropped: 2 months, 300 events without a partition"), "{done:?}");
    assert_eq!(count(&mut connection).await, 1);
    let again = prune(&place, &database, &KEPT).await.expect(0);
    assert!(again.stderr.contains("dropped: 0 months, 0 events"), "{again:?}");
}

#[tokio::test]
async fn whoever_keeps_events_for_ever_prunes_nothing() {
    let place = Place::new();
    let (database, mut connection) = old_database(&place).await;
    let mut command = place.command(&["admin", "events", "prune", "--database-url", &database.url]);
    command.env("BLOQ_ACCOUNTS_EVENTS__RETENTION", "forever");
    let done = finish(command).await.expect(0);
    assert!(done.stderr.contains("retention: forever, from the environment"), "{done:?}");
    assert!(done.stderr.contains("dropped: 0 months, 0 events"), "{done:?}");
    assert_eq!(count(&mut connection).await, 601);
}

/// The server may have another configuration than the command.
#[tokio::test]
async fn nothing_is_dropped_before_somebody_says_how_long_events_are_kept() {
    let place = Place::new();
    let (database, mut connection) = old_database(&place).await;
    prune(&place, &database, &[]).await.complains(&["--retention \"13 months\"", "--config"]);
    let file = place.path().join("server.toml");
    std::fs::write(&file, "[log]\nlevel = \"info\"\n").expect("a file");
    let file = file.to_str().expect("text");
    prune(&place, &database, &["--config", file]).await.complains(&["--retention"]);
    assert_eq!(count(&mut connection).await, 601);
    std::fs::write(file, "[events]\nretention = \"forever\"\n").expect("a file");
    let done = prune(&place, &database, &["--config", file]).await.expect(0);
    assert!(done.stderr.contains(&format!("retention: forever, from {file}")), "{done:?}");
    assert_eq!(count(&mut connection).await, 601);
    prune(&place, &database, &["--retention", "13 weeks"]).await.expect(2);
    std::fs::write(file, "[events]\nretention = \"2 years\"\n").expect("a file");
    prune(&place, &database, &["--config", file]).await.expect(0);
    assert_eq!(count(&mut connection).await, 1);
}

#[tokio::test]
async fn a_clock_that_no_event_bears_out_lets_an_operator_drop_nothing() {
    let place = Place::new();
    let (database, mut connection) = old_database(&place).await;
    sqlx::raw_sql("delete from events where id > '01900000-0000-7000-8000-000000000000'")
        .execute(&mut connection)
        .await
        .expect("the event of the test");
    prune(&place, &database, &KEPT).await.complains(&["is the clock right"]);
    prune(&place, &database, &["--dry-run"]).await.complains(&["2 months", "is the clock right"]);
    assert_eq!(count(&mut connection).await, 600);
}

#[tokio::test]
async fn a_database_of_another_version_is_left_as_it_is() {
    let place = Place::new();
    let (database, mut connection) = old_database(&place).await;
    let unmade = "delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)";
    sqlx::raw_sql(unmade).execute(&mut connection).await.expect("the history of the test");
    for options in [&["--dry-run"][..], &KEPT] {
        prune(&place, &database, options).await.complains(&["1 migrations are missing"]);
    }
    assert_eq!(count(&mut connection).await, 601);
    let keys: i64 =
        sqlx::query_scalar("select count(*) from signing_keys").fetch_one(&mut connection).await.expect("0");
    assert_eq!(keys, 0, "nor is anything else made");
}

#[tokio::test]
async fn a_month_that_somebody_is_at_stays_and_is_named() {
    let place = Place::new();
    let (database, mut connection) = old_database(&place).await;
    let mut reading = connection.begin().await.expect("a transaction");
    sqlx::query("select from only events_2020_02").execute(&mut *reading).await.expect("a look");
    let done = prune(&place, &database, &KEPT).await.complains(&["2020-02", "try again"]);
    assert!(done.stderr.contains("dropped: 1 month,") && !done.stderr.contains("2020-01"), "{done:?}");
    reading.rollback().await.expect("it ends");
    prune(&place, &database, &KEPT).await.expect(0);
}

/// A laptop that is closed, a machine that is moved: the lock of all events is in the hands of a process that stands still.
#[tokio::test]
async fn a_command_that_is_suspended_while_it_drops_a_month_keeps_nobody_from_the_events() {
    let place = Place::new();
    let (database, mut connection) = old_database(&place).await;
    let mut reader = PgConnection::connect(&database.url).await.expect("it answers");
    let mut reading = reader.begin().await.expect("a transaction");
    sqlx::query("select from only events_2020_01").execute(&mut *reading).await.expect("a look");
    let prune = [&["admin", "events", "prune", "--database-url", &database.url][..], &KEPT].concat();
    let child = place.command(&prune).spawn().expect("the binary starts");
    until("it has the lock and waits for the month", async || {
        let waiting =
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like 'drop table%'
                       and datname = current_database()";
        sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut connection).await.expect("a number") > 0
    })
    .await;
    let process = Pid::from_raw(child.id().and_then(|id| id.try_into().ok()).expect("it lives"));
    kill(process, Signal::SIGSTOP).expect("our own child");
    reading.rollback().await.expect("it ends");
    let counted = tokio::time::timeout(DEADLINE, count(&mut connection)).await.expect("nobody is in the way");
    assert_eq!(counted, 601, "nothing is half done");
}

#[tokio::test]
async fn a_server_drops_what_is_over_when_it_starts_and_says_so() {
    let place = Place::new();
    let (database, mut connection) = old_database(&place).await;
    let mut server = place.serve_with(|command| command.env("DATABASE_URL", &database.url)).await;
    until("the log tells", async || server.said().contains("older than `events.retention`")).await;
    let said = server.said();
    let line = said.lines().find(|line| line.contains("events.retention")).unwrap_or_default();
    assert!(line.contains("months=2") && line.contains("strays=300"), "{line}");
    server.terminate().await;
    assert_eq!(count(&mut connection).await, 1);
}
