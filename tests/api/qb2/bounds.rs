//! What a call and a connection may cost: time, hashes, streams, bytes, and the patience of a server that stops.

use std::time::{Duration, Instant};

use axum::http::{HeaderValue, Request};
use bloq_accounts::grpc::contract::blickfeld::secure::services::authentication_login_request::{Credentials, User};
use bloq_accounts::grpc::contract::blickfeld::secure::services::{AccountBlockRequest, AuthenticationLoginRequest};
use bloq_accounts::server::Door;
use bloq_accounts::stop::Stop;
use h2::{Reason, RecvStream};
use prost::Message;
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::Code;

use crate::events::away::{self, Postgres};
use crate::harness::database::Database;
use crate::harness::program::{DEADLINE, until};
use crate::harness::qb2::{ACTIVE, code_of, refused};
use crate::harness::wire::{Told, Wire, framed};
use crate::harness::{STRONG, TestApp};

/// Nobody may change a user while this is open.
const NO_CHANGES: &str = "lock table users in share mode";

const WATCH: &str = "/grpc.health.v1.Health/Watch";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// The head of a call with this token, and with a name for its event.
fn head(wire: &Wire, token: Option<&str>, method: &str, id: &'static str) -> Request<()> {
    let mut head = wire.head(method);
    if let Some(token) = token {
        head.headers_mut().insert("token", token.parse().expect("a header"));
    }
    head.headers_mut().insert("x-request-id", HeaderValue::from_static(id));
    head
}

/// The message of a log-in.
fn log_in(name: &str, password: &str) -> Vec<u8> {
    let user = User { name: name.to_owned(), password: password.to_owned() };
    framed(&AuthenticationLoginRequest { credentials: Some(Credentials::User(user)) }.encode_to_vec())
}

/// The message that blocks somebody.
fn block(uuid: &str) -> Vec<u8> {
    framed(&AccountBlockRequest { uuid: uuid.to_owned() }.encode_to_vec())
}

/// Whether a connection ends by itself.
async fn ends(wire: Wire) -> bool {
    tokio::time::timeout(DEADLINE, wire.closed).await.is_ok()
}

/// Whether a stream of bytes ends by itself.
async fn is_shown_out(mut stream: TcpStream) -> bool {
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await.is_ok()
}

#[tokio::test]
async fn a_call_whose_time_is_over_stops_and_has_changed_nothing() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, ada) = root.member("ada").await;
    let wire = app.wire().await;
    app.connection_holding(NO_CHANGES, async || {
        let mut head = head(&wire, root.token.as_deref(), "Account/Block", "late");
        head.headers_mut().insert("grpc-timeout", HeaderValue::from_static("300m"));
        let told = wire.send(head, block(&uuid)).await;
        assert_eq!((told.status(), told.header("error-code")), (Some(Code::DeadlineExceeded), "Timeout"), "{told:?}");
    })
    .await;
    // What hung in Postgres goes on when it can, and is rolled back.
    let working = "select count(*) from pg_stat_activity where datname = current_database() and state <> 'idle'
                   and query not like '%pg_stat_activity%'";
    until("nobody works for it any more", async || app.count(working).await == 0).await;
    assert_eq!(app.statuses_of("late").await, (504, Some(4)));
    assert_eq!(root.account(&uuid).await.state, ACTIVE);
    ada.nonce().await.expect("she is not blocked");
}

#[tokio::test]
async fn who_goes_away_gives_a_place_in_the_queue_of_hashes_back() {
    let app = TestApp::start_with(|config| {
        config.password.max_parallel_hashes = 1;
        config.password.argon2_memory_kib = 32 * 1024;
        config.password.argon2_iterations = 20;
    })
    .await;
    let (first, other) = (app.wire().await, app.wire().await);
    let (busy, mut stream) = first.begin(head(&first, None, "Authentication/Login", "busy")).await;
    stream.send_data(log_in("nobody", STRONG).into(), true).expect("it is sent");
    until("a hash is computed", async || app.app.hasher.load().running == 1).await;
    let mut given_up = Vec::new();
    for _ in 0..5 {
        let (answer, mut stream) = other.begin(head(&other, None, "Authentication/Login", "given-up")).await;
        stream.send_data(log_in("nobody", STRONG).into(), true).expect("it is sent");
        given_up.push((answer, stream));
    }
    until("five wait", async || app.app.hasher.load().waiting == 5).await;
    for (_, stream) in &mut given_up {
        stream.send_reset(Reason::CANCEL);
    }
    until("nobody waits", async || app.app.hasher.load().waiting == 0).await;
    assert_eq!(app.app.hasher.load().running, 1, "before the first one was ready");
    assert_eq!(Told::read(busy).await.expect("an answer").status(), Some(Code::Unauthenticated));
    let recorded = "select count(*) from events where request_id = 'given-up' and status = 499
                    and service_data->>'grpcStatus' = '1'";
    let crowd = "select coalesce(sum((service_data->>'count')::bigint), 0)::bigint from events
                 where status = 499 and service_data->>'grpcStatus' = '1'";
    until("that is recorded", async || app.count(recorded).await + app.count(crowd).await >= 5).await;
}

/// A thousand log-ins at the same time, and what became of them.
async fn crowd(app: &TestApp) -> Vec<Told> {
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let wire = std::sync::Arc::new(app.wire().await);
        for _ in 0..100 {
            let wire = wire.clone();
            calls.spawn(async move { wire.send(wire.head("Authentication/Login"), log_in("root", STRONG)).await });
        }
    }
    calls.join_all().await
}

#[tokio::test]
async fn a_thousand_log_ins_at_once_are_answered_and_hold_up_nobody_else() {
    for is_limited in [false, true] {
        let app = TestApp::start_with(|config| {
            config.rate_limit.enabled = is_limited;
            config.password.max_parallel_hashes = 2;
            config.password.max_queued_hashes = 100;
        })
        .await;
        let ada = app.person("ada").await;
        app.qb2_admin().await;
        let served = async {
            // Until the crowd is gone.
            loop {
                app.me(&ada.token).await.expect(200);
            }
        };
        let told = tokio::select! {
            told = crowd(&app) => told,
            () = served => Vec::new(),
        };
        let count = |code: Code| told.iter().filter(|told| told.status() == Some(code)).count();
        let (fine, limited, full) = (count(Code::Ok), count(Code::ResourceExhausted), count(Code::Unavailable));
        assert_eq!(fine + limited + full, 1000, "{:?}", told.iter().map(Told::status).collect::<Vec<_>>());
        assert!(fine > 0 && (limited > 0) == is_limited, "{fine} {limited} {full}");
        let pushed_back = told.iter().filter(|told| told.status() == Some(Code::Unavailable));
        assert!(pushed_back.clone().all(|told| !told.header("grpc-retry-pushback-ms").is_empty()));
        app.me(&ada.token).await.expect(200);
        app.stop().await;
    }
}

#[tokio::test]
async fn while_the_database_is_away_the_door_says_so() {
    let postgres = Postgres::start().await;
    let app = TestApp::start_on(Database::elsewhere(postgres.running.url()), |_| {}).await;
    let root = app.qb2_admin().await;
    let wire = app.wire().await;
    let _place = postgres.stop().await;
    for status in [
        refused(root.list().await.map(drop), Code::Unavailable),
        refused(app.qb2().login("root", STRONG).await.map(drop), Code::Unavailable),
        refused(app.qb2().nonce().await.map(drop), Code::Unavailable),
    ] {
        assert_eq!(code_of(&status), "DatabaseUnavailable");
    }
    let unknown = wire.call("Account/Nothing", &[]).await;
    assert_eq!(unknown.status(), Some(Code::Unavailable), "its event cannot be written, either: {unknown:?}");
    let not_serving = framed(&[0x08, 0x02]);
    until("health says so, too", async || wire.call(CHECK, &[]).await.body == not_serving).await;
    app.stop().await;
}

#[tokio::test]
async fn a_change_whose_event_is_not_written_in_time_may_have_been_made() {
    let app = TestApp::start_with(|config| config.events.commit_deadline_ms = 300).await;
    let root = app.qb2_admin().await;
    app.connection_holding("lock table events in share row exclusive mode", async || {
        let status = refused(root.create("ada").await, Code::Unavailable);
        assert_eq!(code_of(&status), "OutcomeUnknown");
        let status = refused(root.list().await, Code::Unavailable);
        assert_eq!(code_of(&status), "DatabaseUnavailable", "nothing was to be changed");
    })
    .await;
    assert!(root.list().await.expect("the list").values().any(|account| account.name == "ada"));
}

#[tokio::test]
async fn more_calls_than_streams_wait_and_are_answered() {
    let app = TestApp::start_with(|config| config.grpc.max_streams = 2).await;
    let root = app.qb2_admin().await;
    let (uuid, _) = root.member("ada").await;
    let wire = app.wire().await;
    wire.call("Session/GetNonce", &[]).await;
    let mut answers = JoinSet::new();
    app.connection_holding(NO_CHANGES, async || {
        for _ in 0..6 {
            let (answer, mut stream) = wire.begin(head(&wire, root.token.as_deref(), "Account/Block", "many")).await;
            stream.send_data(block(&uuid).into(), true).expect("it is sent");
            answers.spawn(async { Told::read(answer).await.expect("an answer") });
            if answers.len() == 2 {
                app.until_waiting(2).await;
            }
        }
        app.until_waiting(2).await;
        assert_eq!(answers.len(), 6);
    })
    .await;
    for told in answers.join_all().await {
        assert_eq!(told.status(), Some(Code::Ok), "{told:?}");
    }
}

#[tokio::test]
async fn who_does_not_take_an_answer_is_shown_out_and_who_waits_for_one_is_not() {
    let app = TestApp::start_with(|config| config.server.idle_timeout_seconds = 1).await;
    let address = app.qb2_address();
    let stream = TcpStream::connect(address).await.expect("a connection");
    let deaf = Wire::taking(stream, address, 0).await;
    let (answer, mut stream) = deaf.begin(deaf.head("Session/GetNonce")).await;
    stream.send_data(framed(&[]).into(), true).expect("it is sent");
    let _untaken = answer.await.expect("the head of an answer");

    let wire = app.wire().await;
    let mut watched = watch(&wire).await;
    assert_eq!(next_status(&mut watched).await, Some(1));
    assert!(ends(deaf).await, "still open");
    // As long again as it took to show the other one out.
    let more = tokio::time::timeout(Duration::from_secs(2), watched.data()).await;
    assert!(more.is_err(), "it was ended: {more:?}");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_before_one_that_idles() {
    let app = TestApp::start_with(|config| config.server.head_timeout_seconds = 1).await;
    let used = app.wire().await;
    used.call("Session/GetNonce", &[]).await;
    for beginning in [&b""[..], b"PRI * HT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00"] {
        let mut stream = TcpStream::connect(app.qb2_address()).await.expect("a connection");
        stream.write_all(beginning).await.expect("it is open");
        assert!(is_shown_out(stream).await, "still open after {beginning:?}");
    }
    assert!(ends(app.wire().await).await, "still open after the preface");
    assert_eq!(used.call("Session/GetNonce", &[]).await.status(), Some(Code::Ok), "it idles and may");
}

#[tokio::test]
async fn a_connection_that_is_too_old_is_asked_to_end_and_finishes_what_is_under_way() {
    let app = TestApp::start_with(|config| config.grpc.max_connection_age_seconds = 1).await;
    let root = app.qb2_admin().await;
    let (uuid, _) = root.member("ada").await;
    let wire = app.wire().await;
    let (answer, mut stream) = wire.begin(head(&wire, root.token.as_deref(), "Account/Block", "old")).await;
    app.connection_holding(NO_CHANGES, async || {
        stream.send_data(block(&uuid).into(), true).expect("it is sent");
        app.until_waiting(1).await;
        until("it takes no more calls", async || wire.is_ending().await).await;
    })
    .await;
    assert_eq!(Told::read(answer).await.expect("an answer").status(), Some(Code::Ok));
    let began = Instant::now();
    assert!(ends(wire).await, "still open");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // A client that opens another one does not notice.
    root.account(&uuid).await;
}

#[tokio::test]
async fn a_flood_of_calls_that_are_given_up_at_once_stops_nobody_else() {
    let app = TestApp::start_with(|config| config.rate_limit.enabled = false).await;
    let ada = app.person("ada").await;
    for _ in 0..10 {
        let wire = app.wire().await;
        let mut given_up = 0;
        // Ended by the server sooner or later (CVE-2023-44487).
        while given_up < 2000 && !wire.is_ending().await {
            let Some((_, mut stream)) = wire.try_begin(wire.head("Authentication/Login")).await else { break };
            let _ = stream.send_data(log_in("ada@example.com", "wrong").into(), true);
            stream.send_reset(Reason::CANCEL);
            given_up += 1;
        }
    }
    app.at_qb2(&ada).await.nonce().await.expect("served");
    until("nothing is left of it", async || app.app.hasher.load().waiting == 0).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_and_one_without_end_ends_the_connection() {
    let app = TestApp::start().await;
    let wire = app.wire().await;
    let mut head = wire.head("Session/GetNonce");
    head.headers_mut().insert("x-large", "x".repeat(20_000).parse().expect("a header"));
    let (answer, _stream) = wire.begin(head).await;
    if let Ok(told) = Told::read(answer).await {
        assert_eq!(told.http, 431, "{told:?}");
    }
    let mut stream = TcpStream::connect(app.qb2_address()).await.expect("a connection");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("it is open");
    stream.write_all(b"\0\0\x01\x01\0\0\0\0\x01\x82").await.expect("it is open");
    // A frame CONTINUATION of a literal header, again and again (VU#421644).
    let literal = [&b"\x00\x01a\x7f\x01"[..], &[b'x'; 128]].concat();
    let length = u8::try_from(literal.len()).expect("a short one");
    let frame = [&[0, 0, length, 9, 0, 0, 0, 0, 1], &literal[..]].concat();
    let flood = async { while stream.write_all(&frame).await.is_ok() {} };
    assert!(tokio::time::timeout(DEADLINE, flood).await.is_ok(), "it listens on and on");
    app.qb2().nonce().await.expect("the others go on");
}

#[tokio::test]
async fn the_connections_of_an_address_are_counted_at_all_doors_together() {
    let app = TestApp::start_with(|config| config.server.max_connections_per_address = 2).await;
    let mut rest = TcpStream::connect(app.address).await.expect("a connection");
    rest.write_all(b"GET / HTTP/1.1\r\nHost").await.expect("it is open");
    let wire = app.wire().await;
    assert_eq!(wire.call("Session/GetNonce", &[]).await.status(), Some(Code::Ok));
    for address in [app.qb2_address(), app.address] {
        assert!(is_shown_out(TcpStream::connect(address).await.expect("the listen queue takes it")).await);
    }
    drop(rest);
    until("there is a place again", async || app.get("/health/live").attempt().await.is_some()).await;
}

#[tokio::test]
async fn a_stop_waits_for_the_calls_under_way_and_their_events() {
    let postgres = Database::new().await;
    let mut database = PgConnection::connect(&postgres.url).await.expect("it answers");
    let app = TestApp::start_on(postgres, |_| {}).await;
    let replica = app.replica().await;
    let root = app.qb2_admin().await;
    let (uuid, _) = root.member("ada").await;
    let wire = replica.wire().await;
    let mut closed = database.begin().await.expect("a transaction");
    sqlx::query(NO_CHANGES).execute(&mut *closed).await.expect("the lock");
    let (answer, mut stream) = wire.begin(head(&wire, root.token.as_deref(), "Account/Block", "last")).await;
    stream.send_data(block(&uuid).into(), true).expect("it is sent");
    app.until_waiting(1).await;
    let stopping = tokio::spawn(replica.stop());
    until("it takes no more calls", async || wire.is_ending().await).await;
    closed.rollback().await.expect("the lock goes");
    assert_eq!(Told::read(answer).await.expect("an answer").status(), Some(Code::Ok));
    stopping.await.expect("in order");
    assert_eq!(app.statuses_of("last").await, (200, Some(0)));
}

#[tokio::test]
async fn who_idles_holds_up_no_stop() {
    let app = TestApp::start().await;
    let wire = app.wire().await;
    wire.call("Session/GetNonce", &[]).await;
    let root = app.qb2_admin().await;
    let began = Instant::now();
    app.stop().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(ends(wire).await);
    drop(root);
}

#[tokio::test]
async fn who_watches_or_looks_around_holds_up_no_stop_for_long() {
    let app = TestApp::start().await;
    let wire = app.wire().await;
    let mut open = Vec::new();
    for (method, message) in [(WATCH, &[][..]), (WATCH, &[0x0a, 0x01, b'x']), (REFLECTION, &[0x3a, 0x00])] {
        let (answer, mut stream) = wire.begin(wire.head(method)).await;
        stream.send_data(framed(message).into(), method == WATCH).expect("it is sent");
        let mut body = answer.await.expect("an answer").into_body();
        body.data().await.expect("a first message").expect("it comes");
        open.push((stream, body));
    }
    let began = Instant::now();
    app.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(ends(wire).await);
}

/// Who watches, from the answer on.
async fn watch(wire: &Wire) -> RecvStream {
    let (answer, mut stream) = wire.begin(wire.head(WATCH)).await;
    stream.send_data(framed(&[]).into(), true).expect("it is sent");
    answer.await.expect("an answer").into_body()
}

/// What is told next: 1 is SERVING, 2 NOT_SERVING; `None` at the end.
async fn next_status(watched: &mut RecvStream) -> Option<u8> {
    let message = tokio::time::timeout(DEADLINE, watched.data()).await.expect("in time")?.expect("it comes");
    message.last().copied()
}

#[tokio::test]
async fn who_watches_is_told_when_the_database_goes_and_comes_back() {
    let postgres = Postgres::start().await;
    let app = TestApp::start_on(Database::elsewhere(postgres.running.url()), |_| {}).await;
    let wire = app.wire().await;
    let mut watched = watch(&wire).await;
    assert_eq!(next_status(&mut watched).await, Some(1));
    let place = postgres.stop().await;
    assert_eq!(next_status(&mut watched).await, Some(2));
    let running = away::start(&place).await;
    assert_eq!(next_status(&mut watched).await, Some(1));
    let stopping = tokio::spawn(app.stop());
    assert_eq!((next_status(&mut watched).await, next_status(&mut watched).await), (Some(2), None));
    stopping.await.expect("in order");
    running.stop().await;
}

#[tokio::test]
async fn who_watches_a_server_that_starts_is_told_to_ask_again() {
    let app = TestApp::start().await;
    let stop = Stop::new(&app.config.server);
    let door = Door::open(&app.config, app.clock.clone(), stop.clone()).await.expect("a free port");
    let address = door.addresses().grpc.expect("a gRPC door");
    let wire = Wire::over(TcpStream::connect(address).await.expect("a connection"), address).await;
    let mut watched = watch(&wire).await;
    assert_eq!((next_status(&mut watched).await, next_status(&mut watched).await), (Some(2), None));
    door.lead_to(app.app.clone());
    assert_eq!(next_status(&mut watch(&wire).await).await, Some(1));
    stop.ask();
    door.closed().await;
}

#[tokio::test]
async fn what_everybody_may_ask_takes_no_nonsense_and_no_large_messages() {
    let app = TestApp::start().await;
    let wire = app.wire().await;
    for method in [CHECK, WATCH] {
        for bytes in [&[0xff][..], &[0x08, 0x01], &[0x0a, 0x01, 0xff]] {
            assert_eq!(wire.call(method, bytes).await.status(), Some(Code::InvalidArgument), "{method} {bytes:?}");
        }
        for body in [vec![], vec![1, 0, 0, 0, 0], vec![7, 0, 0, 0, 0], vec![0, 0xff, 0xff, 0xff, 0xff]] {
            let told = wire.send(wire.head(method), body).await;
            assert!(!matches!(told.status(), None | Some(Code::Internal | Code::Unknown | Code::Ok)), "{told:?}");
        }
        let told = wire.call(method, &vec![0; 64 * 1024 + 1]).await;
        assert_eq!(told.status(), Some(Code::ResourceExhausted), "{told:?}");
    }
    for bytes in [&[0xff][..], &[], &vec![0; 64 * 1024 + 1]] {
        let told = wire.call(REFLECTION, bytes).await;
        assert!(!matches!(told.status(), None | Some(Code::Internal | Code::Unknown)), "{told:?}");
    }
    let unknown = wire.call(CHECK, &[0x0a, 0x01, b'x']).await;
    assert_eq!(unknown.status(), Some(Code::NotFound), "{unknown:?}");
}
