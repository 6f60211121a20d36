//! How the private Postgres comes to be and ends: with its server, however that ends.

use std::fs;
use std::time::{Duration, Instant};

use bloq_accounts::db::embedded::{Embedded, Holder};
use nix::sys::signal::{Signal, kill};

use super::support::{Place, ask, connect, group, lives, parent, processes_of, tell, until};

#[tokio::test]
async fn a_new_folder_is_soon_ready_and_an_existing_one_sooner() {
    let place = Place::new();
    let began = Instant::now();
    let first = place.start().await;
    let new = began.elapsed();
    tell(first.url(), "CREATE TABLE kept AS SELECT 'still here' AS what").await;
    let began = Instant::now();
    first.stop().await;
    let stopped = began.elapsed();
    let began = Instant::now();
    let second = place.start().await;
    let existing = began.elapsed();
    println!("new: {new:?}, stop: {stopped:?}, existing: {existing:?}");
    assert_eq!(ask(second.url(), "SELECT what FROM kept").await, "still here");
    assert!(new < Duration::from_secs(10), "{new:?}");
    assert!(existing < Duration::from_secs(3), "{existing:?}");
    second.stop().await;
}

#[tokio::test]
async fn stopping_is_clean_and_final() {
    let place = Place::filled();
    let embedded = place.start().await;
    let url = embedded.url().to_owned();
    let guard = parent(place.postmaster().unwrap());
    assert_eq!(group(place.postmaster().unwrap()), guard);
    let _client = connect(&url).await.unwrap();
    let (began, gone) = (Instant::now(), embedded.gone());
    embedded.stop().await;
    assert!(began.elapsed() < Duration::from_secs(4));
    gone.await;
    assert!(place.log().contains("database system is shut down"));
    assert_eq!(place.postmaster(), None);
    until("the shells are gone", async || processes_of(&place.data_dir()).is_empty()).await;
    assert!(connect(&url).await.is_err());
}

#[tokio::test]
async fn a_dropped_postgres_ends_too() {
    let place = Place::filled();
    let embedded = place.start().await;
    drop(embedded);
    until("Postgres is gone", async || processes_of(&place.data_dir()).is_empty()).await;
}

#[tokio::test]
async fn a_frozen_postgres_is_woken_and_ends_cleanly() {
    let place = Place::filled();
    let embedded = place.start().await;
    let _client = connect(embedded.url()).await.unwrap();
    for process in processes_of(&place.data_dir()) {
        kill(process, Signal::SIGSTOP).unwrap();
    }
    let began = Instant::now();
    embedded.stop().await;
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert!(place.log().contains("database system is shut down"));
    until("Postgres is gone", async || processes_of(&place.data_dir()).is_empty()).await;
}

#[tokio::test]
async fn a_postgres_which_does_not_end_in_time_is_killed_with_its_backends() {
    let place = Place::filled();
    let embedded = place.start().await;
    let _client = connect(embedded.url()).await.unwrap();
    embedded.stop_within(Duration::ZERO).await.unwrap();
    until("Postgres is gone", async || processes_of(&place.data_dir()).is_empty()).await;
    let embedded = place.start().await;
    embedded.stop().await;
}

#[tokio::test]
async fn stopping_while_postgres_is_started_again_leaves_nothing() {
    let place = Place::filled();
    for pause in [0, 5, 20, 60, 120] {
        let embedded = place.start().await;
        kill(place.postmaster().unwrap(), Signal::SIGKILL).unwrap();
        // Not a wait for anything: the end comes at different moments of the restart.
        tokio::time::sleep(Duration::from_millis(pause)).await;
        embedded.stop().await;
        until("nothing is left", async || processes_of(&place.data_dir()).is_empty()).await;
        let embedded = place.start().await;
        embedded.stop().await;
    }
}

#[tokio::test]
async fn a_start_which_is_given_up_leaves_nothing_running() {
    let place = Place::new();
    for patience in [300, 600, 900, 1200, 1500] {
        let start = Embedded::start(place.settings(), Holder::Server);
        let given_up = tokio::time::timeout(Duration::from_millis(patience), start).await;
        drop(given_up);
        until("nothing is left", async || processes_of(&place.data_dir()).is_empty()).await;
    }
    place.start().await.stop().await;
}

#[tokio::test]
async fn signals_meant_for_the_server_do_not_end_the_guard() {
    let place = Place::filled();
    let embedded = place.start().await;
    let postmaster = place.postmaster().unwrap();
    let guard = parent(postmaster);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        kill(guard, signal).unwrap();
    }
    connect(embedded.url()).await.unwrap();
    assert!(lives(guard));
    embedded.stop().await;
    assert!(!lives(postmaster));
}

#[tokio::test]
async fn an_interrupted_initdb_leaves_nothing_behind() {
    let place = Place::new();
    let unfinished = place.data_dir().join("postgres.unfinished-0123");
    fs::create_dir_all(&unfinished).unwrap();
    fs::write(unfinished.join("PG_VERSION"), "15").unwrap();
    let embedded = place.start().await;
    assert!(!unfinished.exists());
    embedded.stop().await;
}
