//! One connection of HTTP/2, and what it may cost: streams and the bytes that wait in them, idling, and age.

use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::Desk;

/// Bytes of a request's head, unpacked.
const LONGEST_HEAD: u32 = 16 * 1024;

/// Bytes of one request, and of all on a connection, that wait until they are read. They are read as they come, so a few do.
const LONGEST_UNREAD: u32 = 64 * 1024;
const LONGEST_UNREAD_OF_ALL: u32 = 256 * 1024;

/// Bytes of one answer that wait until the client takes them; the rest waits where it was made.
const LONGEST_WAITING: usize = 64 * 1024;

/// Streams that a client may give up faster than we notice, before it is an attack (CVE-2023-44487, CVE-2024-2758).
const MOST_GIVEN_UP: usize = 100;

/// For calls that a client has sent before it hears that the connection ends, and for its goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// What one connection may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Streams at once.
    pub streams: u32,
    /// How long it may idle. While it does, nothing is asked of the client: there are some, the vendor's among them, that look
    /// after a connection only during a call.
    pub idle: Duration,
    /// When it is asked to end.
    pub age: Duration,
}

/// Answers what comes over a connection until the client leaves, says nothing for `introduction` at the beginning or for too long
/// later on, the connection is too old, or `closed`. Streams under way may then finish, for `patience` at the most.
pub async fn speak<S>(
    stream: S,
    desk: Desk,
    bounds: Bounds,
    introduction: Duration,
    patience: Duration,
    closed: CancellationToken,
    tasks: TaskTracker,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let under_way = UnderWay::default();
    let counter = under_way.clone();
    let service = service_fn(move |request| {
        let one = counter.begin();
        let answer = desk.answer(request);
        // To the last byte: an answer that nobody takes is not idling, and ends with the connection.
        async move { answer.await.map(|response: Response| response.map(|body| one.attend(body))) }
    });
    let mut builder = http2::Builder::new(Tracked(tasks));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(LONGEST_HEAD)
        .initial_stream_window_size(LONGEST_UNREAD)
        .initial_connection_window_size(LONGEST_UNREAD_OF_ALL)
        .max_send_buf_size(LONGEST_WAITING)
        .max_pending_accept_reset_streams(MOST_GIVEN_UP)
        .max_local_error_reset_streams(MOST_GIVEN_UP);
    let mut conversation = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let over = async {
        tokio::select! {
            () = closed.cancelled() => {}
            () = tokio::time::sleep(bounds.age) => {}
            () = under_way.idle(introduction, bounds.idle) => {}
        }
    };
    // How it ends (resets, bad framing) is the client's business.
    tokio::select! {
        _ = &mut conversation => return,
        () = over => {}
    }
    conversation.as_mut().graceful_shutdown();
    tokio::select! {
        _ = tokio::time::timeout(patience, conversation) => {}
        // Who looks after the connection only during a call does not say goodbye either.
        () = under_way.idle(GOODBYE, GOODBYE) => {}
    }
}

/// Streams of a connection are tasks, which a stop waits for.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, work: F) {
        self.0.spawn(work);
    }
}

/// How many streams of a connection are under way, and whether there was one at all.
#[derive(Clone, Default)]
struct UnderWay(watch::Sender<(usize, bool)>);

/// One of them.
struct One(UnderWay);

impl UnderWay {
    fn begin(&self) -> One {
        self.0.send_modify(|(count, has_begun)| (*count, *has_begun) = (*count + 1, true));
        One(self.clone())
    }

    /// Resolves when nothing has been under way for so long, which is less before the first stream.
    async fn idle(&self, introduction: Duration, patience: Duration) {
        let mut news = self.0.subscribe();
        loop {
            let (count, has_begun) = *news.borrow_and_update();
            let pause = if has_begun { patience } else { introduction };
            let is_quiet = tokio::time::timeout(pause, news.changed()).await.is_err();
            if is_quiet && count == 0 {
                return;
            }
        }
    }
}

impl One {
    /// Is there until the body is.
    fn attend(self, body: Body) -> Body {
        Body::new(body.map_frame(move |frame| {
            let _ = &self;
            frame
        }))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.send_modify(|(count, _)| *count -= 1);
    }
}
