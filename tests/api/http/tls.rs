//! The same door behind TLS, and certificates that change while it is open.

use std::time::{Duration, Instant};

use bloq_accounts::config::Config;
use bloq_accounts::worker::Worker;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::harness::TestApp;
use crate::harness::program::DEADLINE;
use crate::harness::tls::Authority;

/// A server with this authority's certificate.
async fn start(authority: &Authority, change: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::start_with(|config| {
        config.tls.certificate = authority.certificate();
        config.tls.key = authority.key();
        change(config);
    })
    .await
}

/// Looks at the files as the server does every few seconds: often enough to believe what it sees.
async fn look(app: &TestApp) {
    let certificates = app.certificates.as_ref().expect("it has some");
    for _ in 0..2 {
        certificates.step().await.expect("looking cannot fail");
    }
}

#[tokio::test]
async fn a_request_by_tls_is_a_request_like_any_other() {
    let authority = Authority::new();
    let app = start(&authority, |_| {}).await;
    let ada = app.person("ada").await;
    let mut line = authority.connect(app.tls_address()).await.expect("a connection");
    assert_eq!(line.agreed(), ("TLSv1_3".into(), "http/1.1".into()));
    let headers = format!("Authorization: Bearer {}\r\nx-request-id: by-tls\r\n", ada.token);
    for _ in 0..2 {
        let answer = line.get("/users/me", &headers).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(&ada.id), "{answer}");
    }
    let rows = app.rows_of("by-tls").await;
    assert_eq!((rows.len(), &rows[0]["ip"], &rows[1]["status"]), (2, &"127.0.0.1".into(), &200.into()));
    app.me(&ada.token).await.expect(200);
}

#[tokio::test]
async fn tls_1_2_is_spoken_and_protocols_that_we_do_not_speak_are_refused() {
    let authority = Authority::new();
    let app = start(&authority, |_| {}).await;
    let line = authority.connect_by(app.tls_address(), &[&TLS12], &[]).await.expect("a connection");
    assert_eq!(line.agreed(), ("TLSv1_2".into(), String::new()));
    assert!(authority.connect_by(app.tls_address(), &[&TLS13], &["h2"]).await.is_err());
    assert!(Authority::new().connect(app.tls_address()).await.is_err(), "a stranger does not trust us");
    authority.connect(app.tls_address()).await.expect("and we go on");
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_newcomers_while_open_connections_go_on() {
    let authority = Authority::new();
    let (old, new) = (authority.issue(4000), authority.issue(4000));
    authority.write(&old);
    let app = start(&authority, |_| {}).await;
    let mut before = authority.connect(app.tls_address()).await.expect("a connection");
    assert!(before.shows(&old));

    authority.write(&new);
    look(&app).await;
    let mut after = authority.connect(app.tls_address()).await.expect("a connection");
    assert!(after.shows(&new));
    for line in [&mut before, &mut after] {
        assert!(line.get("/", "").await.expect("an answer").starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn new_files_that_are_not_fit_leave_the_old_certificate_in_place() {
    let authority = Authority::new();
    let (old, new) = (authority.issue(4000), authority.issue(4000));
    authority.write(&old);
    let app = start(&authority, |_| {}).await;
    let broken: [(&str, &str); 5] = [
        ("", &new.key),
        (&new.certificate, ""),
        ("-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n", &new.key),
        (&new.certificate, "-----BEGIN PRIVATE KEY-----\nrubbish\n"),
        (&new.certificate, &old.key),
    ];
    for (certificate, key) in broken {
        std::fs::write(authority.certificate(), certificate).expect("our own folder");
        std::fs::write(authority.key(), key).expect("our own folder");
        look(&app).await;
        assert!(authority.connect(app.tls_address()).await.expect("a connection").shows(&old), "{certificate} {key}");
    }
    std::fs::remove_file(authority.key()).expect("it is there");
    look(&app).await;
    assert!(authority.connect(app.tls_address()).await.expect("a connection").shows(&old));

    authority.write(&new);
    look(&app).await;
    assert!(authority.connect(app.tls_address()).await.expect("a connection").shows(&new));
}

#[tokio::test]
async fn plain_http_at_the_private_door_is_shown_out_and_disturbs_nobody() {
    let authority = Authority::new();
    let app = start(&authority, |_| {}).await;
    for beginning in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\0\0\0\0\0\0\0\0\0", "SSH-2.0-x\r\n"] {
        let mut plain = TcpStream::connect(app.tls_address()).await.expect("a connection");
        plain.write_all(beginning.as_bytes()).await.expect("it is open");
        let mut said = Vec::new();
        let end = tokio::time::timeout(DEADLINE, plain.read_to_end(&mut said)).await;
        assert!(end.is_ok() && !said.starts_with(b"HTTP"), "{beginning:?}: {said:?}");
    }
    let mut line = authority.connect(app.tls_address()).await.expect("a connection");
    assert!(line.get("/", "").await.is_ok());
    assert_eq!(app.count("select count(*) from events").await, 0);
}

#[tokio::test]
async fn a_handshake_that_is_never_finished_holds_up_nobody_and_ends() {
    let authority = Authority::new();
    let app = start(&authority, |config| config.server.idle_timeout_seconds = 1).await;
    let mut silent = Vec::new();
    for beginning in [&b""[..], &[22], &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]] {
        let mut stream = TcpStream::connect(app.tls_address()).await.expect("a connection");
        stream.write_all(beginning).await.expect("it is open");
        silent.push(stream);
    }
    let mut line = authority.connect(app.tls_address()).await.expect("nobody is before us");
    assert!(line.get("/", "").await.is_ok());
    for mut stream in silent {
        let end = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await;
        assert!(end.is_ok(), "still open");
    }
    tokio::time::timeout(DEADLINE, line.ended()).await.expect("an idle one is shown out as well");
}

#[tokio::test]
async fn both_doors_share_the_places_for_connections_and_handshakes_take_one() {
    let authority = Authority::new();
    let app = start(&authority, |config| config.server.max_connections = 2).await;
    let mut plain = TcpStream::connect(app.address).await.expect("a connection");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it is open");
    plain.read_u8().await.expect("it has a place");
    // Connected in this order, and so accepted.
    let silent = TcpStream::connect(app.tls_address()).await.expect("a connection");
    let third = authority.connect(app.tls_address());
    tokio::pin!(third);
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut third).await;
    assert!(waited.is_err(), "the place of the silent one was given away");
    drop(silent);
    let mut third = tokio::time::timeout(DEADLINE, third).await.expect("its place is free").expect("a connection");
    assert!(third.get("/", "").await.is_ok());

    let fourth = authority.connect(app.tls_address());
    tokio::pin!(fourth);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut fourth).await.is_err(), "both doors are full");
    drop(plain);
    tokio::time::timeout(DEADLINE, fourth).await.expect("a place of the other door").expect("a connection");
}

#[tokio::test]
async fn a_stop_finishes_requests_by_tls_and_waits_for_no_handshake() {
    let authority = Authority::new();
    let app = start(&authority, |config| config.server.shutdown_grace_seconds = 60).await;
    let ada = app.person("ada").await;
    let _silent = TcpStream::connect(app.tls_address()).await.expect("a connection");
    let mut idle = authority.connect(app.tls_address()).await.expect("a connection");
    idle.get("/", "").await.expect("an answer");

    let mut busy = authority.connect(app.tls_address()).await.expect("a connection");
    let mut lock = app.connection().await;
    sqlx::raw_sql("begin; lock table client_keys").execute(&mut lock).await.expect("it is locked");
    let headers = format!("Authorization: Bearer {}\r\n", ada.token);
    let asking = tokio::spawn(async move { busy.get("/users/me/client-keys", &headers).await });
    app.somebody_waits_for_a_lock().await;

    let began = Instant::now();
    let address = app.tls_address();
    let stopping = tokio::spawn(app.stop());
    idle.ended().await;
    assert!(TcpStream::connect(address).await.is_err(), "the door is closed");
    sqlx::raw_sql("rollback").execute(&mut lock).await.expect("it is free");
    let answer = asking.await.expect("no panic").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    stopping.await.expect("an orderly stop");
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
}
