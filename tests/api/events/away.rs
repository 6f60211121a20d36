//! The database goes away and comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use bloq_accounts::db::embedded::{Embedded, Holder, Settings};
use chrono::TimeDelta;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

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
    let settings = Settings { data_dir: place.data_dir(), postgres_bin: None, max_connections: 30, is_durable: true };
    Embedded::start(settings, Holder::Server).await.expect("a Postgres of our own")
}

/// Everybody of a crowd that asks at the same time; each is told a status under his request id.
struct Crowd(JoinSet<(String, u16)>);

impl Crowd {
    /// One asks for something, and more do when his event is in a statement that waits for this: the events of many of them
    /// are in another statement then, which waits beside it. Answers the two statements in the order of their beginning.
    async fn waits_twice(app: &TestApp, database: &mut PgConnection, wait: &str) -> (Self, [Statement; 2]) {
        let mut crowd = Self(JoinSet::new());
        crowd.ask(app);
        let waiting = async |database: &mut PgConnection, count: usize| {
            let query = "select pid, backend_xid::text from pg_stat_activity
                         where query like '%insert into events%' and wait_event_type || '.' || wait_event = $1
                         order by query_start";
            let mut waiting: Vec<Statement> = Vec::new();
            until("statements wait", async || {
                waiting = sqlx::query_as(query).bind(wait).fetch_all(&mut *database).await.expect("it answers");
                waiting.len() == count
            })
            .await;
            waiting
        };
        waiting(database, 1).await;
        for _ in 0..40 {
            crowd.ask(app);
        }
        let statements = waiting(database, 2).await;
        (crowd, statements.try_into().expect("two of them"))
    }

    fn ask(&mut self, app: &TestApp) {
        let id = format!("crowd-{}", self.0.len());
        let call = app.get("/nowhere").header("x-request-id", &id);
        self.0.spawn(async move { (id, call.await.status) });
    }

    /// Everybody's answer has one event, which says what the client was told. Answers how many were refused.
    async fn hears_what_is_recorded(self, app: &TestApp) -> usize {
        let told: BTreeMap<String, u16> = self.0.join_all().await.into_iter().collect();
        is_back(app).await;
        let mut connection = app.connection().await;
        let mut rows: Vec<(String, i16)> = Vec::new();
        until("the rows say what the clients were told", async || {
            let query = "select request_id, status from events where request_id like 'crowd-%'";
            rows = sqlx::query_as(query).fetch_all(&mut connection).await.expect("it answers");
            let said: BTreeMap<String, u16> = rows.iter().map(|(id, status)| (id.clone(), *status as u16)).collect();
            said == told
        })
        .await;
        assert_eq!(rows.len(), told.len(), "nobody has two");
        told.values().filter(|status| **status == 503).count()
    }
}

/// A process of Postgres that executes a statement, and the number of its transaction when it has one.
type Statement = (i32, Option<String>);

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
async fn events_that_were_committed_when_postgres_was_killed_are_written_once_and_say_what_their_clients_were_told() {
    let postgres = Postgres::start().await;
    let app = TestApp::start_on(Database::elsewhere(postgres.running.url()), |config| {
        config.events.commit_deadline_ms = 60_000;
    })
    .await;
    let mut database = app.connection().await;
    // What is committed is on the disk, and waits for a standby that there is not.
    for statement in ["alter system set synchronous_standby_names = 'nobody'", "select pg_reload_conf()"] {
        sqlx::raw_sql(statement).execute(&mut database).await.expect("it is ours");
    }
    until("commits wait", async || {
        let mut other = app.connection().await;
        let commit = sqlx::raw_sql("create temporary table anything ()").execute(&mut other);
        tokio::time::timeout(Duration::from_millis(200), commit).await.is_err()
    })
    .await;
    let (crowd, statements) = Crowd::waits_twice(&app, &mut database, "IPC.SyncRep").await;
    let numbers: Vec<String> = statements.into_iter().map(|(_, number)| number.expect("it writes")).collect();
    let reset = "alter system reset synchronous_standby_names";
    sqlx::raw_sql(reset).execute(&mut database).await.expect("it is ours");
    for process in postgres.place.postgres() {
        kill(process, Signal::SIGKILL).expect("it runs");
    }
    let refused = crowd.hears_what_is_recorded(&app).await;

    let mut database = app.connection().await;
    let query = "select count(*) from events where xact::text = any($1) and status = 503";
    let committed: i64 = sqlx::query_scalar(query).bind(&numbers).fetch_one(&mut database).await.expect("it answers");
    println!("{refused} were refused, and the events of {committed} of them had been committed");
    assert!((17..=refused as i64).contains(&committed), "{committed} of {refused}");
    app.stop().await;
    postgres.running.stop().await;
}

#[tokio::test]
async fn a_statement_that_freezes_until_its_events_are_written_by_another_one_writes_none() {
    let postgres = Postgres::start().await;
    let app = TestApp::start_on(Database::elsewhere(postgres.running.url()), |config| {
        config.events.commit_deadline_ms = 1000;
    })
    .await;
    let mut database = app.connection().await;
    let mut connection = app.connection().await;
    let mut closed = connection.begin().await.expect("a transaction");
    let lock = "lock table events in share row exclusive mode";
    sqlx::query(lock).execute(&mut *closed).await.expect("the lock");
    let (crowd, [_, (frozen, _)]) = Crowd::waits_twice(&app, &mut database, "Lock.relation").await;
    let frozen = Pid::from_raw(frozen);
    kill(frozen, Signal::SIGSTOP).expect("it runs");
    // A later word counts also by a clock that was set back.
    app.advance(TimeDelta::seconds(-1));
    closed.rollback().await.expect("the lock goes");
    let refused = crowd.hears_what_is_recorded(&app).await;
    assert!(refused >= 16, "{refused}");

    let query = "select string_agg(request_id || ' ' || status, ',' order by id) from events";
    let before = app.text(query).await;
    kill(frozen, Signal::SIGCONT).expect("it is frozen");
    until("it has gone on", async || {
        let query = "select count(*) from pg_stat_activity
                     where pid = $1 and state = 'active' and query like '%insert into events%'";
        let count: i64 =
            sqlx::query_scalar(query).bind(frozen.as_raw()).fetch_one(&mut database).await.expect("it answers");
        count == 0
    })
    .await;
    assert_eq!(app.text(query).await, before);
    app.stop().await;
    postgres.running.stop().await;
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

#[tokio::test]
async fn a_process_of_postgres_that_freezes_with_rows_in_its_hands_holds_up_nobody_else() {
    let postgres = Postgres::start().await;
    let app = TestApp::start_on(Database::elsewhere(postgres.running.url()), |config| {
        config.events.commit_deadline_ms = 300;
    })
    .await;
    let ada = app.person("ada").await;
    app.execute(
        "create function wait_for_the_test() returns trigger language plpgsql as $$
         begin perform pg_advisory_xact_lock_shared(1843); return null; end $$",
    )
    .await;
    app.execute(
        "create trigger wait after insert on events for each row when (new.request_id = 'slow' and new.status = 401)
         execute function wait_for_the_test()",
    )
    .await;
    let mut database = app.connection().await;
    sqlx::query("select pg_advisory_lock(1843)").execute(&mut database).await.expect("the lock");
    let slow = tokio::spawn(app.get("/users/me").header("x-request-id", "slow").attempt());
    let query = "select pid from pg_stat_activity where wait_event = 'advisory'";
    let mut frozen = None;
    until("its event is inserted and not committed", async || {
        frozen = sqlx::query_scalar(query).fetch_optional(&mut database).await.expect("it answers").map(Pid::from_raw);
        frozen.is_some()
    })
    .await;
    let frozen = frozen.expect("it waits");
    kill(frozen, Signal::SIGSTOP).expect("it runs");
    slow.await.expect("it is answered").expect("an answer").refused(503, "DatabaseUnavailable");
    sqlx::query("select pg_advisory_unlock(1843)").execute(&mut database).await.expect("the lock goes");

    // The last word about it waits for the frozen one, and nobody waits for the last word.
    app.until_waiting(1).await;
    for _ in 0..20 {
        app.me(&ada.token).await.expect(200);
    }
    kill(frozen, Signal::SIGCONT).expect("it is frozen");
    until("the row says what the client was told", async || {
        app.rows_of("slow").await.iter().any(|row| row["status"] == 503)
    })
    .await;
    assert_eq!(app.rows_of("slow").await.len(), 1);
    app.stop().await;
    postgres.running.stop().await;
}
