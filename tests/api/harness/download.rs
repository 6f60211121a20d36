//! An answer that is read as slowly as a test likes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Far more than any server of a test takes to give up.
const DEADLINE: Duration = Duration::from_secs(20);

/// What fills every buffer between a server and a client who does not read: 20,000 events of some 700 bytes. Their user is
/// the only one there is.
pub const MANY_EVENTS: &str =
    "insert into events (id, user_id, service, started_at, ended_at, status, bytes_out, method, path, request_id)
     select ('019cb000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, (select id from users), 'cloud-accounts', now(),
            now(), 200, 0, 'GET', '/' || repeat('x', 400), 'r'
     from generate_series(1, 20000) n";

/// A connection on which the answer has begun.
pub struct Download {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Download {
    /// Asks for a path with a token, and reads the first bytes of the answer.
    pub async fn begin(address: SocketAddr, path: &str, token: &str) -> Self {
        Self::begin_as(address, path, token, "*/*").await
    }

    /// The same in a form that the client chooses.
    pub async fn begin_as(address: SocketAddr, path: &str, token: &str, accept: &str) -> Self {
        Self::begin_with(address, path, token, ("Accept", accept)).await
    }

    /// The same with a header of the client's.
    pub async fn begin_with(address: SocketAddr, path: &str, token: &str, (name, value): (&str, &str)) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // What the client's side takes without being read is little.
        socket.set_recv_buffer_size(4096).expect("a size");
        let mut stream = socket.connect(address).await.expect("a connection");
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{name}: {value}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("it is open");
        let mut heard = vec![0; 512];
        stream.read_exact(&mut heard).await.expect("an answer");
        assert!(heard.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&heard));
        Self { stream, heard }
    }

    /// Reads on to the end; answers whether the server says that this is all.
    pub async fn ends_whole(self) -> bool {
        self.rest().await.ends_with(b"\r\n0\r\n\r\n")
    }

    /// Reads on to the end; answers all that came.
    pub async fn rest(mut self) -> Vec<u8> {
        let read = tokio::time::timeout(DEADLINE, self.stream.read_to_end(&mut self.heard));
        // A connection that is reset ends as well.
        let _ = read.await.expect("it ends");
        self.heard
    }
}
