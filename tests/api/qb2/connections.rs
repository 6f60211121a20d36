//! How connections of the gRPC door end.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request};
use h2::client::{Connection, SendRequest};
use tokio::net::TcpStream;

use crate::harness::TestApp;

/// A client that looks after its connection only during a call, as synchronous ones do.
struct Synchronous {
    calls: SendRequest<Bytes>,
    connection: Connection<TcpStream>,
    /// The same connection, to see what waits there.
    line: TcpStream,
}

impl Synchronous {
    async fn connect(app: &TestApp) -> Self {
        let stream = TcpStream::connect(app.qb2_address()).await.expect("a connection");
        let stream = stream.into_std().expect("a socket");
        let line = TcpStream::from_std(stream.try_clone().expect("a handle")).expect("a socket");
        let stream = TcpStream::from_std(stream).expect("a socket");
        let (calls, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        Self { calls, connection, line }
    }

    /// Asks for the nonce, which needs no token.
    async fn call(&mut self) {
        let uri = "http://qb2/blickfeld.secure.services.Session/GetNonce";
        let request = Request::builder().method(Method::POST).uri(uri).header("content-type", "application/grpc");
        let (answer, mut message) = self.calls.send_request(request.body(()).expect("a request"), false).expect("sent");
        message.send_data(Bytes::from_static(&[0; 5]), true).expect("sent");
        let answered = async {
            let mut body = answer.await.expect("an answer").into_body();
            while let Some(data) = body.data().await {
                data.expect("a part of it");
            }
            body.trailers().await.expect("the end").expect("trailers")
        };
        tokio::select! {
            _ = &mut self.connection => panic!("the connection ended"),
            trailers = answered => assert_eq!(trailers["grpc-status"], "0"),
        }
    }
}

#[tokio::test]
async fn a_stop_waits_for_no_connection_that_does_nothing() {
    let app = TestApp::start_with(|config| config.server.shutdown_grace_seconds = 60).await;
    let caller = app.qb2();
    caller.nonce().await.expect("a nonce");
    let mut other = Synchronous::connect(&app).await;
    other.call().await;
    tokio::time::timeout(Duration::from_secs(20), app.stop()).await.expect("long before the grace is over");
    drop((caller, other));
}

#[tokio::test]
async fn who_looks_after_a_connection_only_during_a_call_keeps_it() {
    let app = TestApp::start_with(|config| {
        config.server.idle_timeout_seconds = 1;
        config.server.head_timeout_seconds = 1;
    })
    .await;
    let mut caller = Synchronous::connect(&app).await;
    caller.call().await;
    let asked = tokio::time::timeout(Duration::from_millis(1500), caller.line.peek(&mut [0])).await;
    assert!(asked.is_err(), "nothing is asked of a client that idles");
    caller.call().await;
}

#[tokio::test]
async fn a_connection_idles_only_so_long() {
    let app = TestApp::start_with(|config| config.grpc.idle_timeout_seconds = 1).await;
    let mut caller = Synchronous::connect(&app).await;
    caller.call().await;
    let ended = tokio::time::timeout(Duration::from_secs(20), caller.connection).await;
    ended.expect("long before it is too old").expect("in good order");
}
