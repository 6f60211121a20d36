//! The log of the real binary: it may be lost, and what is said again and again is said once.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::{Place, Program, ada};
use crate::harness::program::{DEADLINE, free_address};

/// Every line counts.
const ALL: (&str, &str) = ("BLOQ_ACCOUNTS_LOG__LEVEL", "debug");

/// A disk without room.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("Linux has it").into()
}

/// Somebody signs up and logs in, and the server ends in order.
async fn works_and_stops(place: &Place, mut server: Program) {
    let ada = ada(place, &server).await;
    server.get("/users/me").bearer(&ada.token).await.expect(200);
    assert_eq!(server.terminate().await.0, Some(0));
    place.is_left_alone().await;
}

#[tokio::test]
async fn a_server_whose_log_finds_no_room_serves() {
    let place = Place::filled();
    let server = place.serve_with(|command| command.env(ALL.0, ALL.1).stderr(full())).await;
    works_and_stops(&place, server).await;
}

#[tokio::test]
async fn a_server_whose_log_is_read_no_more_serves() {
    let place = Place::filled();
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    // Of somebody who goes away at the first line.
    let reading = std::thread::spawn(move || reader.read(&mut [0; 64]).expect("it says something"));
    let server = place.serve_with(|command| command.env(ALL.0, ALL.1).stderr(writer)).await;
    assert!(reading.join().expect("it read") > 0);
    works_and_stops(&place, server).await;
}

/// The exit code of a command that nobody listens to.
async fn alone(place: &Place, arguments: &[&str]) -> Option<i32> {
    let status = place.command(arguments).stdout(Stdio::null()).stderr(full()).status();
    tokio::time::timeout(DEADLINE, status).await.expect("the command ends").expect("the binary starts").code()
}

#[tokio::test]
async fn what_a_command_did_is_done_although_nobody_can_be_told() {
    let place = Place::filled();
    let file = place.path().join("accounts.dump");
    let backup = ["admin", "backup", file.to_str().expect("text")];
    assert_eq!(alone(&place, &["admin", "user", "create", "--name", "ada"]).await, Some(0));
    assert_eq!(alone(&place, &["admin", "user", "set-level", "ada", "admin"]).await, Some(0));
    assert_eq!(alone(&place, &backup).await, Some(0));
    assert!(file.exists());
    // And a failure is a failure: the file is there.
    assert_eq!(alone(&place, &backup).await, Some(1));
}

#[tokio::test]
async fn why_a_server_waits_for_its_database_is_said_once_while_it_tries_often() {
    let (place, address) = (Place::new(), free_address());
    let database = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("postgres://nobody@{}/nowhere?sslmode=disable", database.local_addr().expect("bound"));
    let command = place.command(&["serve", "--listen", &address.to_string(), "--database-url", &url]);
    let mut server = Program::start(command, address).await;
    let mut tries = Vec::new();
    for _ in 0..5 {
        let taken = tokio::time::timeout(DEADLINE, database.accept()).await.expect("it tries again");
        tries.push(Instant::now());
        // It is heard, and the line goes dead.
        let heard = taken.expect("a connection").0.read(&mut [0; 512]).await.expect("a greeting");
        assert!(heard > 0);
    }
    // The promise is half a second; a busy machine keeps it now and then.
    let pauses = tries.windows(2).map(|two| two[1] - two[0]);
    assert!(pauses.clone().min().is_some_and(|pause| pause < Duration::from_millis(1500)), "{tries:?}");
    assert_eq!(server.terminate().await.0, Some(0), "{}", server.said());
    let said = server.said();
    assert_eq!(said.matches("waiting for the database").count(), 1, "{said}");
}
