//! kill -9, of the server and of its Postgres.

use std::collections::BTreeMap;

use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use sqlx::Row;

use super::{Place, Program, Somebody, ada};
use crate::harness::program::until;

/// Asks for the profile under this request id; answers the status when an answer came.
async fn ask(server: &Program, somebody: &Somebody, id: &str) -> Option<u16> {
    let call = server.get("/users/me").bearer(&somebody.token).header("x-request-id", id);
    Some(call.attempt().await?.status)
}

/// What the event list says about each request of a test: its statuses, one per event.
async fn recorded(server: &Program, somebody: &Somebody) -> BTreeMap<String, Vec<u64>> {
    let mut recorded: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for event in somebody.events(server).await {
        let id = event["input"]["requestId"].as_str().expect("a text").to_owned();
        let status = event["output"]["httpStatusCode"].as_u64().expect("a number");
        recorded.entry(id).or_default().push(status);
    }
    recorded
}

/// One client's requests until one is not answered; answers which were.
async fn ask_until_it_is_gone(server: &Program, somebody: &Somebody, client: usize) -> Vec<String> {
    let mut answered = Vec::new();
    for number in 0.. {
        let id = format!("client-{client}-{number}");
        match ask(server, somebody, &id).await {
            Some(status) => assert_eq!(status, 200),
            None => break,
        }
        answered.push(id);
    }
    answered
}

#[tokio::test]
async fn a_server_killed_in_the_middle_of_a_crowd_loses_no_event_of_an_answer() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let ada = ada(&place, &server).await;
    let before = recorded(&server, &ada).await;

    let pid = nix::unistd::Pid::from_raw(server.pid());
    let (first, second, third, ()) = tokio::join!(
        ask_until_it_is_gone(&server, &ada, 1),
        ask_until_it_is_gone(&server, &ada, 2),
        ask_until_it_is_gone(&server, &ada, 3),
        async {
            let mut look = place.database().await;
            until("a crowd is at work", async || {
                let row = sqlx::query("select count(*) from events where request_id like 'client-%'");
                row.fetch_one(&mut look).await.is_ok_and(|row| row.get::<i64, _>(0) > 100)
            })
            .await;
            kill(pid, Signal::SIGKILL).expect("our own child");
        }
    );
    server.kill().await;
    let answered = [first, second, third].concat();
    assert!(answered.len() > 90, "{}", answered.len());

    let mut server = place.serve().await;
    let after = recorded(&server, &ada).await;
    for id in before.keys().chain(&answered) {
        assert_eq!(after.get(id).map(Vec::len), Some(1), "{id}");
    }
    let twice: Vec<_> = after.iter().filter(|(_, statuses)| statuses.len() != 1).collect();
    assert_eq!(twice, Vec::<(&String, &Vec<u64>)>::new());
    server.terminate().await;
}

#[tokio::test]
async fn a_killed_postgres_comes_back_and_every_answer_of_the_meantime_has_its_event() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let ada = ada(&place, &server).await;
    let before = place.postmaster();
    kill(before, Signal::SIGKILL).expect("it runs");

    let mut told: Vec<(String, u16)> = Vec::new();
    until("the server answers from a new Postgres", async || {
        let id = format!("meantime-{}", told.len());
        let status = ask(&server, &ada, &id).await.expect("the server itself lives");
        assert!([200, 503].contains(&status), "{status}: {}", server.said());
        told.push((id, status));
        let is_back = std::fs::exists(place.data_dir().join("postgres/postmaster.pid")).unwrap_or(false)
            && place.postmaster() != before;
        is_back && status == 200
    })
    .await;

    let expected: BTreeMap<String, Vec<u64>> =
        told.into_iter().map(|(id, status)| (id, vec![u64::from(status)])).collect();
    let meantime = async || {
        let mut recorded = recorded(&server, &ada).await;
        recorded.retain(|id, _| id.starts_with("meantime-"));
        recorded
    };
    until("the events of the meantime are written", async || meantime().await.len() >= expected.len()).await;
    assert_eq!(meantime().await, expected);
    server.terminate().await;
    place.is_left_alone().await;
}

#[tokio::test]
async fn a_killed_server_leaves_no_process_and_its_tokens_stay_good() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let ada = ada(&place, &server).await;
    server.kill().await;
    place.is_left_alone().await;
    let mut server = place.serve().await;
    let profile: Value = server.get("/users/me").bearer(&ada.token).await.expect(200).json();
    assert_eq!(profile["id"], ada.id);
    server.terminate().await;
}
