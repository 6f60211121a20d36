//! `admin events …`, beside a running server and without one.

use sqlx::{Connection, PgConnection};

use crate::harness::database::Database;
use crate::harness::program::{Done, Place, finish, until};

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

/// A database of years, and a connection to it.
async fn old_database(place: &Place) -> (Database, PgConnection) {
    let database = Database::empty().await;
    place.run(&["migrate", "--database-url", &database.url]).await.expect(0);
    let mut connection = PgConnection::connect(&database.url).await.expect("it answers");
    sqlx::raw_sql(LONG_AGO).execute(&mut connection).await.expect("the events of the test");
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
    assert_eq!(count(&mut connection).await, 600, "nothing is changed");

    let done = prune(&place, &database, &[]).await.expect(0);
    assert_eq!(done.stdout, shown.stdout);
    assert!(done.stderr.contains("dropped: 2 months, 300 events without a partition"), "{done:?}");
    assert_eq!(count(&mut connection).await, 0);
    let again = prune(&place, &database, &[]).await.expect(0);
    assert!(again.stderr.contains("dropped: 0 months, 0 events"), "{again:?}");
}

#[tokio::test]
async fn whoever_keeps_events_for_ever_prunes_nothing() {
    let place = Place::new();
    let (database, mut connection) = old_database(&place).await;
    let mut command = place.command(&["admin", "events", "prune", "--database-url", &database.url]);
    command.env("BLOQ_ACCOUNTS_EVENTS__RETENTION", "forever");
    let done = finish(command).await.expect(0);
    assert!(done.stderr.contains("dropped: 0 months, 0 events"), "{done:?}");
    assert_eq!(count(&mut connection).await, 600);
}

#[tokio::test]
async fn a_month_that_somebody_is_at_stays_and_is_named() {
    let place = Place::new();
    let (database, mut connection) = old_database(&place).await;
    let mut reading = connection.begin().await.expect("a transaction");
    sqlx::query("select from only events_2020_02").execute(&mut *reading).await.expect("a look");
    let done = prune(&place, &database, &[]).await.complains(&["2020-02", "try again"]);
    assert!(done.stderr.contains("dropped: 1 month,") && !done.stderr.contains("2020-01"), "{done:?}");
    reading.rollback().await.expect("it ends");
    prune(&place, &database, &[]).await.expect(0);
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
    assert_eq!(count(&mut connection).await, 0);
}
