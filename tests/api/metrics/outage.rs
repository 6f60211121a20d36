//! A look on a bad day: it is answered, soon, with what is known.

use std::time::{Duration, Instant};

use bloq_accounts::db::embedded::{Embedded, Holder, Settings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::database::Database;
use crate::harness::program::{Place, until};
use crate::harness::{TestApp, together};
use crate::metrics::page::Page;

/// A scrape gives the database one second; a loaded machine may need more for the rest.
const SOON: Duration = Duration::from_secs(6);

async fn start(place: &Place) -> Embedded {
    let settings = Settings { data_dir: place.data_dir(), postgres_bin: None, max_connections: 30, is_durable: true };
    Embedded::start(settings, Holder::Server).await.expect("a Postgres of our own")
}

/// Processes that stand still, until the end of the test at the latest.
struct Frozen(Vec<Pid>);

impl Frozen {
    fn all_of(place: &Place) -> Self {
        let frozen = Self(place.processes().into_iter().map(Pid::from_raw).collect());
        assert!(frozen.0.len() > 3, "Postgres is many processes: {:?}", frozen.0);
        frozen.send(Signal::SIGSTOP);
        frozen
    }

    fn send(&self, signal: Signal) {
        for process in &self.0 {
            // One of them may have ended by itself.
            let _ = kill(*process, signal);
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.send(Signal::SIGCONT);
    }
}

#[tokio::test]
async fn without_the_database_the_page_says_so_and_leaves_out_what_it_cannot_know() {
    let place = Place::filled();
    let postgres = start(&place).await;
    let app = TestApp::start_on(Database::elsewhere(postgres.url()), |_| {}).await;
    assert_eq!(app.metrics().await.value("database_up"), 1.0);
    postgres.stop().await;

    app.get("/nowhere").await.refused(503, "DatabaseUnavailable");
    until("the page knows", async || app.metrics().await.value("database_up") == 0.0).await;
    let page = app.metrics().await;
    assert_eq!(page.value("scrape_incomplete"), 1.0);
    for series in ["outbox_waiting", "outbox_oldest_age_seconds", "events_default_partition_rows"] {
        assert_eq!(page.get(series), None, "{series} is not known");
    }
    assert_eq!(page.requests("GET", "unmatched", 503), 1.0);
    assert!(page.value(r#"events_write_failures_total{reason="away"}"#) >= 1.0);
    until("the event waits", async || app.metrics().await.value("events_backlog") == 1.0).await;

    let postgres = start(&place).await;
    until("the page knows that too", async || {
        let page = app.metrics().await;
        page.value("database_up") == 1.0 && page.value("events_backlog") == 0.0
    })
    .await;
    assert_eq!(app.metrics().await.value("scrape_incomplete"), 0.0);
    app.stop().await;
    postgres.stop().await;
}

#[tokio::test]
async fn a_frozen_database_holds_up_no_crowd_of_scrapers() {
    let place = Place::filled();
    let postgres = start(&place).await;
    let app = TestApp::start_on(Database::elsewhere(postgres.url()), |_| {}).await;
    let frozen = Frozen::all_of(&place);
    let began = Instant::now();
    let answers = together((0..20).map(|_| app.get("/metrics"))).await;
    let took = began.elapsed();
    drop(frozen);
    for answer in answers {
        let page = Page::read(&answer.expect(200));
        assert_eq!((page.value("database_up"), page.value("scrape_incomplete")), (0.0, 1.0));
    }
    assert!(took < SOON, "{took:?}");
    until("it is well again", async || app.metrics().await.value("scrape_incomplete") == 0.0).await;
    app.stop().await;
    postgres.stop().await;
}

#[tokio::test]
async fn a_question_that_takes_too_long_is_left_out() {
    let app = TestApp::start().await;
    app.connection_holding("lock table outbox in access exclusive mode", async || {
        let began = Instant::now();
        let page = app.metrics().await;
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        assert_eq!((page.value("database_up"), page.value("scrape_incomplete")), (1.0, 1.0));
        assert_eq!(page.get("outbox_waiting"), None);
    })
    .await;
    until("it is answered again", async || app.metrics().await.get("outbox_waiting") == Some(0.0)).await;
}

#[tokio::test]
async fn an_event_for_which_there_is_no_room_is_counted_as_lost() {
    let place = Place::filled();
    let postgres = start(&place).await;
    let app = TestApp::start_on(Database::elsewhere(postgres.url()), |config| {
        config.events.queue = 2;
        config.events.commit_deadline_ms = 100;
    })
    .await;
    postgres.stop().await;
    for _ in 0..12 {
        app.get("/nowhere").await.refused(503, "DatabaseUnavailable");
    }
    until("some are lost", async || app.metrics().await.value("events_dropped_total") >= 1.0).await;
    app.stop().await;
}
