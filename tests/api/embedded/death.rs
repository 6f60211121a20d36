//! What is killed: the server, its guard, Postgres itself. Nothing stays behind and nothing is lost.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use bloq_accounts::db::embedded::{Embedded, Holder};
use nix::sys::signal::{Signal, kill};

use super::support::{
    OTHER_DATA_DIR, Other, Place, another_process_name, ask, children, connect, lives, parent, processes_of, settings,
    tell, until,
};

#[tokio::test]
async fn a_server_killed_by_sigkill_leaves_no_orphan_and_the_next_start_recovers() {
    let place = Place::filled();
    let other = Other::start(&place.data_dir(), "server");
    tell(&other.url, "CREATE TABLE kept AS SELECT 'still here' AS what").await;
    // A client which stays connected must not keep Postgres alive.
    let _client = connect(&other.url).await.unwrap();
    assert!(processes_of(&place.data_dir()).len() > 3);
    other.kill();
    let took = until("all processes are gone", async || processes_of(&place.data_dir()).is_empty()).await;
    println!("gone after {took:?}");
    assert!(place.log().contains("received fast shutdown request"));
    assert!(place.log().contains("database system is shut down"));
    let embedded = place.start().await;
    assert_eq!(ask(embedded.url(), "SELECT what FROM kept").await, "still here");
    embedded.stop().await;
}

#[tokio::test]
async fn a_killed_server_leaves_no_socket_folder_behind_after_the_next_start() {
    let place = Place::new();
    let data_dir = place.0.path().join("x".repeat(120));
    let other = Other::start(&data_dir, "server");
    let left = fs::read_link(data_dir.join("run")).unwrap();
    other.kill();
    let embedded = Embedded::start(settings(data_dir), Holder::Server).await.unwrap();
    assert!(!left.exists());
    embedded.stop().await;
}

#[tokio::test]
async fn a_start_right_after_a_killed_server_waits_for_its_postgres() {
    let place = Place::filled();
    let other = Other::start(&place.data_dir(), "server");
    let before = place.postmaster().unwrap();
    other.kill();
    let embedded = place.start().await;
    assert!(!lives(before));
    assert_ne!(place.postmaster().unwrap(), before);
    connect(embedded.url()).await.unwrap();
    embedded.stop().await;
}

#[tokio::test]
async fn a_start_ends_a_postgres_whose_server_and_guard_are_both_dead() {
    let place = Place::filled();
    let other = Other::start(&place.data_dir(), "server");
    let before = place.postmaster().unwrap();
    let guard = parent(before);
    for shell in children(guard).into_iter().filter(|child| *child != before).chain([guard]) {
        // The inner shell first: it would act on the death of the server.
        kill(shell, Signal::SIGKILL).unwrap();
    }
    other.kill();
    assert!(lives(before));
    let embedded = place.start().await;
    assert!(!lives(before));
    embedded.stop().await;
}

#[tokio::test]
async fn a_killed_postmaster_is_soon_back_with_all_that_was_committed() {
    let place = Place::filled();
    let embedded = place.start().await;
    tell(embedded.url(), "CREATE TABLE kept AS SELECT 'still here' AS what").await;
    for _ in 0..2 {
        // A backend in the middle of something has to go first.
        let url = embedded.url().to_owned();
        let busy = tokio::spawn(async move {
            let mut connection = connect(&url).await.unwrap();
            sqlx::raw_sql("SELECT pg_sleep(60)").execute(&mut connection).await
        });
        until("a backend is busy", async || {
            ask(embedded.url(), "SELECT count(*)::text FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'").await
                == "1"
        })
        .await;
        let before = place.postmaster().unwrap();
        kill(before, Signal::SIGKILL).unwrap();
        let took = until("Postgres is back", async || {
            connect(embedded.url()).await.is_ok() && place.postmaster() != Some(before)
        })
        .await;
        println!("back after {took:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert!(busy.await.unwrap().is_err());
        assert_eq!(ask(embedded.url(), "SELECT what FROM kept").await, "still here");
    }
    embedded.stop().await;
}

#[tokio::test]
async fn a_killed_guard_is_replaced_with_its_postgres() {
    let place = Place::filled();
    let embedded = place.start().await;
    let before = place.postmaster().unwrap();
    let guard = parent(before);
    kill(guard, Signal::SIGKILL).unwrap();
    let took =
        until("Postgres is back", async || connect(embedded.url()).await.is_ok() && place.postmaster() != Some(before))
            .await;
    println!("back after {took:?}");
    assert!(!lives(before));
    assert_ne!(parent(place.postmaster().unwrap()), guard);
    embedded.stop().await;
    until("nothing is left", async || processes_of(&place.data_dir()).is_empty()).await;
}

#[tokio::test]
async fn a_server_killed_while_it_makes_its_folder_does_not_spoil_the_next_start() {
    let place = Place::new();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut process = command
        .args(["--exact", &another_process_name()])
        .env(OTHER_DATA_DIR, place.data_dir())
        .env("OTHER_HOLDER", "server")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("initdb runs", async || {
        fs::read_dir(place.data_dir()).is_ok_and(|entries| {
            entries.flatten().any(|entry| {
                entry.file_name().to_string_lossy().starts_with("postgres.unfinished-")
                    && processes_of(&entry.path()).len() > 1
            })
        })
    })
    .await;
    process.kill().unwrap();
    process.wait().unwrap();
    let embedded = place.start().await;
    connect(embedded.url()).await.unwrap();
    embedded.stop().await;
}
