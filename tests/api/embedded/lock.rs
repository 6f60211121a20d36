//! Who holds the data folder: one server, or one command after another.

use std::fs;
use std::time::{Duration, Instant};

use bloq_accounts::db::embedded::{Embedded, Holder, Reached, reach};

use super::support::{Other, Place, connect, processes_of, refusal, until};

#[tokio::test]
async fn a_second_server_is_refused_within_two_seconds_and_told_who_holds_the_folder() {
    let place = Place::filled();
    let other = Other::start(&place.data_dir(), "server");
    let began = Instant::now();
    let error = refusal(place.settings()).await;
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(error.contains(place.data_dir().to_str().unwrap()), "{error}");
    assert!(error.contains(&format!("a server (pid {})", other.pid())), "{error}");
    connect(&other.url).await.unwrap();
    other.stop();
}

#[tokio::test]
async fn a_server_waits_a_moment_for_a_command_and_then_refuses() {
    let place = Place::filled();
    let other = Other::start(&place.data_dir(), "command");
    let error = refusal(place.settings()).await;
    assert!(error.contains(&format!("a command (pid {})", other.pid())), "{error}");
    let started = tokio::spawn(Embedded::start(place.settings(), Holder::Server));
    other.stop();
    started.await.unwrap().unwrap().stop().await;
}

#[tokio::test]
async fn a_command_reaches_the_postgres_of_a_running_server_and_leaves_it_running() {
    let place = Place::filled();
    let other = Other::start(&place.data_dir(), "server");
    let reached = reach(place.settings()).await.unwrap();
    assert!(matches!(reached, Reached::Running { .. }));
    assert_eq!(reached.url(), other.url);
    reached.release().await;
    connect(&other.url).await.unwrap();
    other.stop();
}

#[tokio::test]
async fn a_command_waits_for_a_server_which_is_still_making_its_folder() {
    let place = Place::new();
    let server = tokio::spawn(Embedded::start(place.settings(), Holder::Server));
    let lock = place.data_dir().join("server.lock");
    until("the folder is locked", async || fs::read_to_string(&lock).is_ok_and(|text| !text.is_empty())).await;
    let reached = reach(place.settings()).await.unwrap();
    assert!(matches!(reached, Reached::Running { .. }));
    connect(reached.url()).await.unwrap();
    server.await.unwrap().unwrap().stop().await;
}

#[tokio::test]
async fn a_command_without_a_server_starts_postgres_for_itself_and_stops_it() {
    let place = Place::filled();
    let reached = reach(place.settings()).await.unwrap();
    assert!(matches!(reached, Reached::Started(_)));
    connect(reached.url()).await.unwrap();
    reached.release().await;
    until("Postgres is gone", async || processes_of(&place.data_dir()).is_empty()).await;
}

#[tokio::test]
async fn a_command_waits_for_another_command() {
    let place = Place::filled();
    let other = Other::start(&place.data_dir(), "command");
    let waiting = tokio::spawn(reach(place.settings()));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    other.stop();
    let reached = waiting.await.unwrap().unwrap();
    assert!(matches!(reached, Reached::Started(_)));
    reached.release().await;
}

#[tokio::test]
async fn what_a_dead_holder_wrote_holds_nothing() {
    let place = Place::new();
    fs::create_dir(place.data_dir()).unwrap();
    fs::write(place.data_dir().join("server.lock"), "server 1\n").unwrap();
    let reached = reach(place.settings()).await.unwrap();
    assert!(matches!(reached, Reached::Started(_)));
    let text = fs::read_to_string(place.data_dir().join("server.lock")).unwrap();
    assert_eq!(text, format!("command {}\n", std::process::id()));
    reached.release().await;
}
