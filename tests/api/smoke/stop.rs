//! The real binary is told to stop, at bad moments. It ends in order, and nobody can make it wait.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{Place, Program, ada};
use crate::harness::people::sign_up_body;
use crate::harness::program::{free_address, until};
use crate::harness::tls::Authority;

/// The promise is 5 s, for a machine that is not busy with other tests.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// A request that lacks most of its body.
const SLOW_BODY: &str =
    "POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{\"email\":";

/// Told to stop by this signal, it ends well and leaves nothing behind.
async fn stops(server: &mut Program, place: &Place, signal: Signal) {
    let began = Instant::now();
    kill(Pid::from_raw(server.pid()), signal).expect("our own child");
    let code = server.ended().await;
    let took = began.elapsed();
    println!("stopped after {took:?}");
    assert_eq!(code, Some(0), "{}", server.said());
    assert!(took < STOPPED_WITHIN, "{took:?}: {}", server.said());
    place.is_left_alone().await;
}

/// Sends the beginning of a request and keeps the connection.
async fn begin(server: &Program, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.expect("the door is open");
    stream.write_all(text.as_bytes()).await.expect("it listens");
    stream
}

#[tokio::test]
async fn with_idle_and_slow_clients_ctrl_c_is_a_stop() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let mut idle = BufReader::new(begin(&server, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await);
    let mut line = String::new();
    idle.read_line(&mut line).await.expect("an answer");
    assert!(line.contains("200"), "{line}");
    let _slow_head = begin(&server, "GET / HTTP/1.1\r\nHost:").await;
    let _slow_body = begin(&server, SLOW_BODY).await;
    stops(&mut server, &place, Signal::SIGINT).await;
}

#[tokio::test]
async fn with_a_frozen_postgres_a_stop_is_a_stop_and_keeps_the_events() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let ada = ada(&place, &server).await;
    place.freeze();
    let call = server.get("/users/me").bearer(&ada.token).header("x-request-id", "in-the-cold");
    let asking = tokio::spawn(call.attempt());
    until("the server knows", async || server.get("/health/ready").await.status == 503).await;
    stops(&mut server, &place, Signal::SIGTERM).await;
    assert!(!server.said().contains("events were lost"), "{}", server.said());
    let told = asking.await.expect("no panic").expect("an answer");

    let mut server = place.serve().await;
    let events = ada.events(&server).await;
    let event = events.iter().find(|event| event["input"]["requestId"] == "in-the-cold").expect("it is recorded");
    assert_eq!(event["output"]["httpStatusCode"], told.status);
    server.terminate().await;
}

#[tokio::test]
async fn with_a_postgres_that_freezes_at_the_last_moment_a_stop_is_a_stop() {
    let place = Place::filled();
    let mut server = place.serve().await;
    kill(Pid::from_raw(server.pid()), Signal::SIGTERM).expect("our own child");
    // Just woken, it is frozen again, and once more: in the end it is killed.
    let began = Instant::now();
    let freezing = async {
        loop {
            if std::fs::exists(place.data_dir().join("postgres/postmaster.pid")).unwrap_or(false) {
                for process in place.processes() {
                    let _ = kill(Pid::from_raw(process), Signal::SIGSTOP);
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let code = tokio::select! {
        code = server.ended() => code,
        () = freezing => None,
    };
    let took = began.elapsed();
    assert_eq!(code, Some(0), "{}", server.said());
    assert!(took < STOPPED_WITHIN, "{took:?}");
    // What our loop froze after the end of its server.
    place.thaw();
    place.is_left_alone().await;
}

#[tokio::test]
async fn a_mail_server_that_hangs_holds_up_no_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("smtp://{}", listener.local_addr().expect("an address"));
    let place = Place::filled();
    let variables = [("BLOQ_ACCOUNTS_MAIL__TRANSPORT", "smtp"), ("BLOQ_ACCOUNTS_MAIL__SMTP_URL", url.as_str())];
    let mut server = place.serve_with(|command| command.envs(variables)).await;
    server.post("/users").json(&sign_up_body("ada@example.com")).await.expect(201);
    // It takes the connection and says nothing.
    let (_silent, _) = listener.accept().await.expect("the courier");
    stops(&mut server, &place, Signal::SIGTERM).await;
}

#[tokio::test]
async fn a_server_that_is_still_starting_stops() {
    for pause in [0, 50, 150, 400, 800] {
        let place = Place::new();
        let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("BLOQ_ACCOUNTS_LOG__LEVEL", "info");
        let mut server = Program::start(command, free_address()).await;
        // Before there is a handler of signals, the system's own ends the process.
        until("it has begun", async || place.data_dir().exists()).await;
        // Not a wait for anything: the stop comes at different moments of the start.
        tokio::time::sleep(Duration::from_millis(pause)).await;
        stops(&mut server, &place, Signal::SIGTERM).await;
    }
}

#[tokio::test]
async fn a_server_that_waits_for_its_database_stops() {
    let place = Place::new();
    // Takes connections and says nothing, as a frozen Postgres does.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("postgres://bloq@{}/bloq", silent.local_addr().expect("an address"));
    let address = free_address();
    let listen = address.to_string();
    let command = place.command(&["serve", "--listen", &listen, "--database-url", &url]);
    let mut server = Program::start(command, address).await;
    let (_held, _) = silent.accept().await.expect("the server");
    server.get("/health/live").await.expect(200);
    server.get("/health/ready").await.refused(503, "DatabaseUnavailable");
    stops(&mut server, &place, Signal::SIGTERM).await;
}

#[tokio::test]
async fn a_server_with_a_delay_says_that_it_is_not_ready_while_it_serves_on() {
    let place = Place::filled();
    let delay = [("BLOQ_ACCOUNTS_SERVER__SHUTDOWN_DELAY_SECONDS", "4")];
    let mut server = place.serve_with(|command| command.envs(delay)).await;
    let ada = ada(&place, &server).await;
    let key = server.post("/users/me/client-keys").bearer(&ada.token).await.expect(200);
    kill(Pid::from_raw(server.pid()), Signal::SIGTERM).expect("our own child");
    until("a load balancer sees it", async || {
        let answer = server.get("/health/ready").await;
        answer.status == 503 && answer.refusal().1 == "ShuttingDown"
    })
    .await;
    // Who did not ask before is served all the same, also on a new connection.
    server.get("/users/me").bearer(&ada.token).await.expect(200);
    let mut late = begin(&server, "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let mut answer = String::new();
    late.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // And so is who asked for a mail, or for what is noted beside the answer.
    server.post("/users").json(&sign_up_body("grace@example.com")).await.expect(201);
    place.mail_to("grace@example.com").await;
    let grant = json!({
        "grantType": "clientCredentials",
        "clientId": key.text_of("clientId"),
        "clientSecret": key.text_of("clientSecret"),
    });
    server.post("/auth/token").json(&grant).await.expect(200);
    assert_eq!(server.ended().await, Some(0), "{}", server.said());

    let mut server = place.serve().await;
    let keys = server.get("/users/me/client-keys").bearer(&ada.token).await.expect(200).json();
    assert!(keys[0]["lastUsedAt"].is_string(), "{keys}");
    server.terminate().await;
}

#[tokio::test]
async fn all_that_can_hold_up_a_stop_holds_it_up_for_five_seconds() {
    let mail_server = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("smtp://{}", mail_server.local_addr().expect("an address"));
    let (authority, place) = (Authority::new(), Place::filled());
    let variables = [("BLOQ_ACCOUNTS_MAIL__TRANSPORT", "smtp"), ("BLOQ_ACCOUNTS_MAIL__SMTP_URL", url.as_str())];
    let tls = super::tls::variables(&authority, free_address());
    let mut server = place.serve_with(|command| command.envs(variables).envs(tls)).await;
    // A mail server that says nothing.
    server.post("/users").json(&sign_up_body("ada@example.com")).await.expect(201);
    let (_silent, _) = mail_server.accept().await.expect("the courier");
    // A request that never comes to its end, and a table that does not take its event.
    let _slow_body = begin(&server, SLOW_BODY).await;
    let mut locked = place.database().await;
    let lock = "begin; lock table events in share row exclusive mode";
    sqlx::raw_sql(lock).execute(&mut locked).await.expect("it is locked");
    // A thread that reads a file without an end.
    let fifo = authority.certificate();
    std::fs::remove_file(&fifo).expect("our own folder");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("it is everywhere").success());
    kill(Pid::from_raw(server.pid()), Signal::SIGHUP).expect("our own child");
    let _endless = std::fs::OpenOptions::new().write(true).open(&fifo).expect("somebody reads it");
    let postgres: Vec<_> = place.processes().into_iter().filter(|process| *process != server.pid()).collect();

    let began = Instant::now();
    kill(Pid::from_raw(server.pid()), Signal::SIGTERM).expect("our own child");
    // And a Postgres that does not end: it would be woken if it were frozen sooner.
    let freezing = async {
        tokio::time::sleep(Duration::from_millis(3500)).await;
        loop {
            for process in &postgres {
                let _ = kill(Pid::from_raw(*process), Signal::SIGSTOP);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let code = tokio::select! {
        code = server.ended() => code,
        () = freezing => None,
    };
    let took = began.elapsed();
    println!("stopped after {took:?}");
    let said = server.said();
    assert_eq!(code, Some(0), "{said}");
    for trouble in
        ["some connections did not finish", "events were lost", "task=\"courier\"", "does not end: it is killed"]
    {
        assert!(said.contains(trouble), "{trouble}: {said}");
    }
    assert!(took <= Duration::from_secs(5), "{took:?}: {said}");
    place.thaw();
    place.is_left_alone().await;
}
