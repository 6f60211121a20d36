//! One connection of HTTP/2, and what it may cost: streams and the bytes that wait in them, idling, and age.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
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

/// Answers what comes over a connection until the client leaves, says nothing for `introduction` at the beginning or for too
/// long later on, does not take an answer for `patience`, the connection is too old, or `closed`. Streams under way may then
/// finish, for `patience` at the most.
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
            () = under_way.idle(introduction, patience, bounds.idle) => {}
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
        () = under_way.idle(GOODBYE, patience, GOODBYE) => {}
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

/// The streams of a connection.
#[derive(Clone, Default)]
struct UnderWay(watch::Sender<Streams>);

#[derive(Clone, Copy, Default)]
struct Streams {
    /// Those that wait for us.
    ours: usize,
    /// Those whose answer waits for the client to take it.
    theirs: usize,
    /// Whether there was one at all.
    have_begun: bool,
}

/// Who is waited for.
#[derive(Clone, Copy)]
enum Turn {
    Ours,
    Theirs,
}

/// One stream.
struct One {
    under_way: UnderWay,
    turn: Turn,
}

/// The body of its answer.
struct Attended {
    body: Body,
    one: One,
}

impl Streams {
    fn of(&mut self, turn: Turn) -> &mut usize {
        match turn {
            Turn::Ours => &mut self.ours,
            Turn::Theirs => &mut self.theirs,
        }
    }
}

impl UnderWay {
    fn begin(&self) -> One {
        self.0.send_modify(|streams| (streams.ours, streams.have_begun) = (streams.ours + 1, true));
        One { under_way: self.clone(), turn: Turn::Ours }
    }

    /// Resolves when nothing has happened for `introduction` at the beginning, for `patience` while the client does not take an
    /// answer, or for `idle` while there is nothing to do.
    async fn idle(&self, introduction: Duration, patience: Duration, idle: Duration) {
        let mut news = self.0.subscribe();
        loop {
            let Streams { ours, theirs, have_begun } = *news.borrow_and_update();
            let is_stuck = theirs > 0;
            let pause = match have_begun {
                false => introduction,
                true if is_stuck => patience,
                true => idle,
            };
            let is_quiet = tokio::time::timeout(pause, news.changed()).await.is_err();
            if is_quiet && (is_stuck || ours == 0) {
                return;
            }
        }
    }
}

impl One {
    /// Is there until the body is.
    fn attend(mut self, body: Body) -> Body {
        self.pass(Turn::Theirs);
        Body::new(Attended { body, one: self })
    }

    /// Says whose turn it is. Also the same one's once more is news.
    fn pass(&mut self, turn: Turn) {
        let before = std::mem::replace(&mut self.turn, turn);
        self.under_way.0.send_modify(|streams| {
            *streams.of(before) -= 1;
            *streams.of(turn) += 1;
        });
    }
}

impl HttpBody for Attended {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Asked for only when the client has room for it.
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.one.pass(if frame.is_pending() { Turn::Ours } else { Turn::Theirs });
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for One {
    fn drop(&mut self) {
        let turn = self.turn;
        self.under_way.0.send_modify(|streams| *streams.of(turn) -= 1);
    }
}
