//! Somebody at the gRPC door who writes HTTP/2 by hand: what no library of gRPC would send.

use std::net::SocketAddr;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request};
use bloq_accounts::error::Code;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::TestApp;

/// A connection.
pub struct Wire {
    sender: SendRequest<Bytes>,
    address: SocketAddr,
    /// Ends with the connection.
    pub closed: JoinHandle<Result<(), h2::Error>>,
}

/// What came back, head and trailers in one.
#[derive(Debug)]
pub struct Told {
    pub http: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl TestApp {
    /// A connection to the gRPC door.
    pub async fn wire(&self) -> Wire {
        let address = self.qb2_address();
        Wire::over(TcpStream::connect(address).await.expect("a connection"), address).await
    }

    /// The one row of a call, as HTTP status and status of gRPC.
    pub async fn statuses_of(&self, request_id: &str) -> (i64, Option<i64>) {
        let row = self.row_after_all(request_id).await;
        let number = |value: &Value| value.as_i64();
        (number(&row["status"]).expect("a status"), number(&row["service_data"]["grpcStatus"]))
    }
}

impl Wire {
    pub async fn over(stream: TcpStream, address: SocketAddr) -> Self {
        Self::taking(stream, address, 64 * 1024).await
    }

    /// One that takes so many bytes of an answer at a time.
    pub async fn taking(stream: TcpStream, address: SocketAddr, bytes: u32) -> Self {
        let mut builder = h2::client::Builder::new();
        // More than the server has anyway.
        builder.initial_max_send_streams(1000).initial_window_size(bytes);
        let (sender, connection) = builder.handshake(stream).await.expect("HTTP/2 is spoken");
        Self { sender, address, closed: tokio::spawn(connection) }
    }

    /// The head of a call.
    pub fn head(&self, method: &str) -> Request<()> {
        let path = method.strip_prefix('/').map_or(format!("blickfeld.secure.services.{method}"), str::to_owned);
        Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}/{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("a head")
    }

    /// Begins a call.
    pub async fn begin(&self, head: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        self.try_begin(head).await.expect("it takes another one")
    }

    /// The same where the server may have had enough.
    pub async fn try_begin(&self, head: Request<()>) -> Option<(ResponseFuture, SendStream<Bytes>)> {
        let mut sender = self.sender.clone().ready().await.ok()?;
        sender.send_request(head, false).ok()
    }

    /// Whether the server has asked for the end of it.
    pub async fn is_ending(&self) -> bool {
        self.sender.clone().ready().await.is_err()
    }

    /// Sends a call with these bytes for a body.
    pub async fn send(&self, head: Request<()>, body: impl Into<Bytes>) -> Told {
        let (answer, mut stream) = self.begin(head).await;
        // Refused early, it takes no more of it.
        let _ = stream.send_data(body.into(), true);
        Told::read(answer).await.expect("an answer")
    }

    /// Sends a call with one message.
    pub async fn call(&self, method: &str, message: &[u8]) -> Told {
        self.send(self.head(method), framed(message)).await
    }

    /// The same with a token.
    pub async fn call_with(&self, token: &str, method: &str, message: &[u8]) -> Told {
        let mut head = self.head(method);
        head.headers_mut().insert("token", token.parse().expect("a header"));
        self.send(head, framed(message)).await
    }
}

impl Told {
    /// Waits for all of an answer.
    pub async fn read(answer: ResponseFuture) -> Result<Self, h2::Error> {
        let (head, mut stream) = answer.await?.into_parts();
        let body = read_all(&mut stream).await?;
        let mut headers = head.headers;
        headers.extend(stream.trailers().await?.unwrap_or_default());
        Ok(Self { http: head.status.as_u16(), headers, body })
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("an ASCII header"))
    }

    /// The status of gRPC, if it is an answer of gRPC.
    pub fn status(&self) -> Option<tonic::Code> {
        self.headers.get("grpc-status").map(|value| tonic::Code::from_bytes(value.as_bytes()))
    }

    /// The public code of a refusal.
    pub fn code(&self) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| format!("{code:?}") == self.header("error-code"))
    }

    pub fn request_id(&self) -> &str {
        self.header("x-request-id")
    }
}

async fn read_all(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok(body)
}

/// A message as the body of a call.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short one");
    [&[0], &length.to_be_bytes()[..], message].concat()
}
