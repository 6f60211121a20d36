//! A crowd is at work while its Postgres is stopped, killed and frozen. It sees what it asked for, or a 503 that says so.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use reqwest::Method;
use sqlx::{Connection, PgConnection};
use tokio::process::Command;

use super::{EMAIL, Place, Program, Somebody, ada};
use crate::harness::STRONG;
use crate::harness::call::{Answer, Call};
use crate::harness::download::{Download, MANY_EVENTS};
use crate::harness::people::sign_up_body;
use crate::harness::program::until;

/// The promise is 2 s, for a machine that is not busy with other tests.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);

/// What a client of the crowd was told.
struct Told {
    id: String,
    status: u16,
    code: String,
    at: Instant,
}

struct Crowd<'a> {
    server: &'a Program,
    ada: &'a Somebody,
    /// What the ids of its requests begin with.
    name: String,
    told: Mutex<Vec<Told>>,
    asked: AtomicUsize,
    is_over: AtomicBool,
}

impl<'a> Crowd<'a> {
    fn new(server: &'a Program, ada: &'a Somebody, name: &str) -> Self {
        Self {
            server,
            ada,
            name: name.to_owned(),
            told: Mutex::default(),
            asked: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// Asks, checks what holds for every answer in bad times, and remembers it.
    async fn ask(&self, what: &str, call: Call, good: u16, codes: &[&str]) -> Answer {
        let id = format!("{}-{what}-{}", self.name, self.asked.fetch_add(1, Ordering::Relaxed));
        let began = Instant::now();
        let answer = call.header("x-request-id", &id).attempt().await;
        let answer = answer.unwrap_or_else(|| panic!("no answer: {}", self.server.said()));
        let took = began.elapsed();
        assert!(took < ANSWERED_WITHIN, "{took:?}: {answer:?}");
        let mut code = String::new();
        if answer.status != good {
            code = answer.refusal().1;
            assert!(answer.status == 503 && codes.contains(&code.as_str()), "{answer:?}");
            assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1), "{answer:?}");
        }
        let told = Told { id, status: answer.status, code, at: Instant::now() };
        self.told.lock().expect("no panic").push(told);
        answer
    }

    async fn reads(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let me = self.server.get("/users/me").bearer(&self.ada.token);
            self.ask("read", me, 200, &["DatabaseUnavailable", "Overloaded"]).await;
        }
    }

    async fn logs_in(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let log_in = self.server.post("/auth").basic(EMAIL, STRONG);
            self.ask("log-in", log_in, 200, &["DatabaseUnavailable", "Overloaded"]).await;
        }
    }

    async fn changes(&self) {
        let codes = ["DatabaseUnavailable", "Overloaded", "OutcomeUnknown"];
        while !self.is_over.load(Ordering::Relaxed) {
            let make = self.server.post("/users/me/client-keys").bearer(&self.ada.token);
            let made = self.ask("make", make, 200, &codes).await;
            if made.status == 200 {
                let path = format!("/users/me/client-keys/{}", made.field("clientId"));
                self.ask("delete", self.server.call(Method::DELETE, &path).bearer(&self.ada.token), 204, &codes).await;
            }
        }
    }

    /// Everybody at once, until `story` is over.
    async fn works_during(&self, story: impl Future<Output = ()>) {
        tokio::join!(self.reads(), self.reads(), self.reads(), self.logs_in(), self.changes(), async {
            story.await;
            self.is_over.store(true, Ordering::Relaxed);
        });
    }

    /// Waits for so many more answers of this kind; answers when the first of them came.
    async fn hears(&self, is_good: bool, count: usize) -> Instant {
        let from = self.told.lock().expect("no panic").len();
        let matching = || {
            let told = self.told.lock().expect("no panic");
            let matching = told[from..].iter().filter(|told| (told.status < 300) == is_good);
            matching.map(|told| told.at).collect::<Vec<_>>()
        };
        until("the crowd hears enough", async || matching().len() >= count).await;
        matching()[0]
    }

    /// There is one event of every answer, and it says what the client was told. But of the log-ins that are refused in an
    /// outage: they have no user, and those beyond a hundred a minute are counted in one row.
    async fn is_recorded(&self, database: &mut PgConnection) {
        let told: BTreeMap<String, i16> = {
            let told = self.told.lock().expect("no panic");
            let unknown = told.iter().filter(|told| told.code == "OutcomeUnknown").count();
            let refused = told.iter().filter(|told| told.status == 503).count();
            println!("{} answers, {refused} of them 503, {unknown} in doubt", told.len());
            let alone = told.iter().filter(|told| told.status != 503 || !told.id.contains("-log-in-"));
            alone.map(|told| (told.id.clone(), i16::try_from(told.status).expect("a status"))).collect()
        };
        let mut rows: Vec<(String, i16)> = Vec::new();
        until("all is written", async || {
            let query = "select request_id, status from events
                         where request_id like $1 || '-%' and (status <> 503 or request_id not like '%-log-in-%')";
            rows = sqlx::query_as(query).bind(&self.name).fetch_all(&mut *database).await.expect("it answers");
            rows.len() >= told.len()
        })
        .await;
        assert_eq!(rows.len(), told.len(), "an event is written once");
        assert_eq!(rows.into_iter().collect::<BTreeMap<_, _>>(), told);
    }
}

/// One crowd comes from one address, for as long as an outage takes; and where a slow disk makes that long, it is refused more often than
/// events may wait by default, whose rest a server drops and counts.
pub fn without_limits(command: &mut Command) -> &mut Command {
    command.env("BLOQ_ACCOUNTS_RATE_LIMIT__ENABLED", "false").env("BLOQ_ACCOUNTS_EVENTS__QUEUE", "1000000")
}

#[tokio::test]
async fn while_postgres_is_stopped_and_killed_everybody_is_answered_and_it_comes_back() {
    let place = Place::filled();
    let mut server = place.serve_with(without_limits).await;
    let ada = ada(&place, &server).await;
    // pg_ctl stop -m fast, pg_ctl stop -m immediate, kill -9
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL] {
        let crowd = Crowd::new(&server, &ada, signal.as_str());
        crowd
            .works_during(async {
                crowd.hears(true, 50).await;
                let (before, began) = (place.postmaster(), Instant::now());
                kill(before, signal).expect("it runs");
                let away = crowd.hears(false, 1).await - began;
                let back = until("there is another Postgres", async || {
                    kill(before, None).is_err() && PgConnection::connect(&place.url()).await.is_ok()
                })
                .await;
                let returned = Instant::now();
                let heard = crowd.hears(true, 50).await;
                println!(
                    "{signal}: refused after {away:?}, Postgres back {back:?} later, answers {:?} after that",
                    heard.saturating_duration_since(returned)
                );
            })
            .await;
        crowd.is_recorded(&mut place.database().await).await;
    }
    server.get("/health/ready").await.expect(200);
    let (code, _) = server.terminate().await;
    assert_eq!(code, Some(0), "{}", server.said());
    assert!(!server.said().contains("on-release"), "one trouble is told by one voice: {}", server.said());
}

#[tokio::test]
async fn while_postgres_is_frozen_everybody_is_answered() {
    let place = Place::filled();
    let mut server = place.serve_with(without_limits).await;
    let ada = ada(&place, &server).await;
    for round in ["first", "second"] {
        let crowd = Crowd::new(&server, &ada, round);
        crowd
            .works_during(async {
                crowd.hears(true, 50).await;
                let began = Instant::now();
                place.freeze();
                let asked = server.get("/health/ready").await;
                let unready = began.elapsed();
                asked.refused(503, "DatabaseUnavailable");
                assert!(unready < ANSWERED_WITHIN, "{unready:?}");
                let away = crowd.hears(false, 1).await - began;
                crowd.hears(false, 200).await;
                server.get("/health/live").await.expect(200);
                let thawed = Instant::now();
                place.thaw();
                let back = crowd.hears(true, 50).await - thawed;
                println!("{round}: unready after {unready:?}, refused after {away:?}, answers {back:?} after the thaw");
            })
            .await;
        crowd.is_recorded(&mut place.database().await).await;
    }
    let (code, _) = server.terminate().await;
    assert_eq!(code, Some(0), "{}", server.said());
}

#[tokio::test]
async fn why_a_database_lets_nobody_in_is_said_once() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let mut database = place.database().await;
    sqlx::raw_sql("alter role bloq nologin").execute(&mut database).await.expect("it is ours");
    let others =
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'bloq' and pid <> pg_backend_pid()";
    sqlx::raw_sql(others).execute(&mut database).await.expect("they are ours");
    // Each of these is a question to the database.
    for _ in 0..5 {
        server.get("/health/ready").await.refused(503, "DatabaseUnavailable");
    }
    sqlx::raw_sql("alter role bloq login").execute(&mut database).await.expect("it is ours");
    until("the server is ready", async || server.get("/health/ready").await.status == 200).await;
    database.close().await.expect("it is open");
    assert_eq!(server.terminate().await.0, Some(0), "{}", server.said());
    let said = server.said();
    assert_eq!(said.matches("is not permitted to log in").count(), 1, "{said}");
    assert_eq!(said.matches("the database is back").count(), 1, "{said}");
}

/// Counts how often it is tried: a sequence is the one thing that a refused statement leaves behind.
const FULL_DISK: &str = "
    create sequence attempts;
    create function full_disk() returns trigger language plpgsql as $$
    begin
        perform nextval('attempts');
        raise exception 'no space left on device' using errcode = 'disk_full';
    end $$;";

/// Waits until it was tried so many times.
async fn tried(database: &mut PgConnection, times: i64) {
    let mut attempts = 0;
    until("it was tried again", async || {
        let query = sqlx::query_scalar("select last_value from attempts");
        attempts = query.fetch_one(&mut *database).await.expect("a number");
        attempts >= times
    })
    .await;
}

#[tokio::test]
async fn a_step_that_a_full_disk_holds_up_is_told_of_once_and_tried_less_and_less_often() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let mut database = place.database().await;
    let began = Instant::now();
    sqlx::raw_sql(FULL_DISK).execute(&mut database).await.expect("it is ours");
    let trigger = "create trigger full_disk before update on erasures for each statement execute function full_disk()";
    sqlx::raw_sql(trigger).execute(&mut database).await.expect("it is ours");
    tried(&mut database, 4).await;
    let took = began.elapsed();
    sqlx::raw_sql("drop trigger full_disk on erasures").execute(&mut database).await.expect("it is ours");
    until("it works again", async || server.said().contains("a background step works again")).await;
    server.get("/health/ready").await.expect(200);
    database.close().await.expect("it is open");
    assert_eq!(server.terminate().await.0, Some(0), "{}", server.said());

    let said = server.said();
    let warnings: Vec<_> = said.lines().filter(|line| line.contains("a background step failed")).collect();
    assert_eq!(warnings.len(), 1, "{said}");
    assert!(warnings[0].contains("no space left on device") && warnings[0].contains("eraser"), "{said}");
    // Pauses of 0.5, 1 and 2 s.
    assert!(took > Duration::from_secs(3), "4 tries within {took:?}");
}

#[tokio::test]
async fn a_mail_of_which_a_full_disk_keeps_no_note_is_told_of_once_and_noted_when_there_is_room() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let mut database = place.database().await;
    sqlx::raw_sql(FULL_DISK).execute(&mut database).await.expect("it is ours");
    let trigger = "create trigger full_disk before update on outbox for each row
                   when (new.sent_at is not null) execute function full_disk()";
    sqlx::raw_sql(trigger).execute(&mut database).await.expect("it is ours");
    server.post("/users").json(&sign_up_body(EMAIL)).await.expect(201);
    tried(&mut database, 4).await;
    sqlx::raw_sql("drop trigger full_disk on outbox").execute(&mut database).await.expect("it is ours");
    until("it is noted", async || server.said().contains("sent a mail")).await;
    database.close().await.expect("it is open");
    assert_eq!(server.terminate().await.0, Some(0), "{}", server.said());
    let said = server.said();
    assert_eq!(said.matches("no space left on device").count(), 1, "{said}");
}

#[tokio::test]
async fn an_export_is_broken_off_when_postgres_freezes() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let ada = ada(&place, &server).await;
    let mut database = place.database().await;
    sqlx::query(MANY_EVENTS).execute(&mut database).await.expect("the statement of the test");
    let export = Download::begin(server.address, "/users/me/export", &ada.token).await;
    place.freeze();
    let began = Instant::now();
    assert!(!export.ends_whole().await, "nobody may take it for all there is");
    let took = began.elapsed();
    place.thaw();
    println!("broken off after {took:?}");
    assert!(took < ANSWERED_WITHIN, "{took:?}");
    server.becomes_ready().await;
    assert!(Download::begin(server.address, "/users/me/export", &ada.token).await.ends_whole().await);
    let (code, _) = server.terminate().await;
    assert_eq!(code, Some(0), "{}", server.said());
}

#[tokio::test]
async fn events_that_find_no_room_are_told_of_when_it_begins_and_when_it_is_over() {
    let place = Place::filled();
    let mut server = place.serve_with(|command| command.env("BLOQ_ACCOUNTS_EVENTS__QUEUE", "5")).await;
    let mut database = place.database().await;
    sqlx::raw_sql(FULL_DISK).execute(&mut database).await.expect("it is ours");
    let trigger = "create trigger full_disk before insert on events for each statement execute function full_disk()";
    sqlx::raw_sql(trigger).execute(&mut database).await.expect("it is ours");
    for _ in 0..40 {
        server.get("/nowhere").await.expect(503);
    }
    sqlx::raw_sql("drop trigger full_disk on events").execute(&mut database).await.expect("it is ours");
    until("what was dropped is told", async || server.said().contains("events were dropped while")).await;
    database.close().await.expect("it is open");
    assert_eq!(server.terminate().await.0, Some(0), "{}", server.said());
    let said = server.said();
    for once in [
        "events could not be written yet",
        "events are dropped",
        "events are written again",
        "events were dropped while",
    ] {
        assert_eq!(said.matches(once).count(), 1, "{once}: {said}");
    }
}
