//! Threads that do nothing but hash: not more of them than configured, and none that requests need.
//!
//! Who has finished a hash begins the next one at once. A thread and its memory are there while they are needed, and for a
//! few seconds more.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// How long a thread waits for work, and holds on to its memory. Fresh memory makes a hash a third slower, which somebody who logs
/// in once in a while does not feel.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a hash was not made.
#[derive(Debug)]
pub enum Failure {
    /// Too many wait already.
    Full,
    /// It was not begun in time.
    Late,
    /// No thread could be started, or it panicked.
    Broken,
}

/// The threads, each with memory of its own. Dropped, it lets them end what they do.
pub struct Crew<M>(Arc<Shared<M>>);

struct Shared<M> {
    board: Mutex<Board<M>>,
    news: Condvar,
    most_threads: usize,
    most_waiting: usize,
}

struct Board<M> {
    waiting: VecDeque<Job<M>>,
    last_number: u64,
    threads: usize,
    busy: usize,
    is_over: bool,
}

struct Job<M> {
    number: u64,
    work: Work<M>,
}

/// Something to do, and how to tell what came of it.
type Work<M> = Box<dyn FnOnce(&mut M) -> Tell + Send>;
type Tell = Box<dyn FnOnce() + Send>;

impl<M: Default + 'static> Crew<M> {
    /// A crew of at most so many threads, for whom at most so many jobs wait.
    pub fn new(most_threads: usize, most_waiting: usize) -> Self {
        let board = Board { waiting: VecDeque::new(), last_number: 0, threads: 0, busy: 0, is_over: false };
        Self(Arc::new(Shared { board: Mutex::new(board), news: Condvar::new(), most_threads, most_waiting }))
    }

    /// How many are busy, and how many jobs wait.
    pub fn load(&self) -> (usize, usize) {
        let board = self.0.board();
        (board.busy, board.waiting.len())
    }

    /// Has `work` done on one of the threads, which lends its memory. Begun, it is ended, also when nobody waits for it any
    /// more.
    ///
    /// # Errors
    /// When too many wait already, when it was not begun within `deadline`, or when there is no thread for it.
    pub async fn run<T: Send + 'static>(
        &self,
        deadline: Duration,
        work: impl FnOnce(&mut M) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (done, mut result) = oneshot::channel();
        let work = |memory: &mut M| -> Tell {
            let outcome = work(memory);
            Box::new(move || drop(done.send(outcome)))
        };
        let place = self.0.clone().take_in(Box::new(work))?;
        let outcome = match tokio::time::timeout(deadline, &mut result).await {
            Ok(outcome) => outcome,
            Err(_) if place.leave() => return Err(Failure::Late),
            Err(_) => result.await,
        };
        outcome.map_err(|_| Failure::Broken)
    }
}

impl<M> Drop for Crew<M> {
    fn drop(&mut self) {
        self.0.board().is_over = true;
        self.0.news.notify_all();
    }
}

/// A job's place among those that wait. Who goes away leaves it.
struct Place<M> {
    shared: Arc<Shared<M>>,
    number: u64,
}

impl<M> Place<M> {
    /// Whether the job was still waiting; it is not any more.
    fn leave(&self) -> bool {
        let mut board = self.shared.board();
        let before = board.waiting.len();
        board.waiting.retain(|job| job.number != self.number);
        board.waiting.len() < before
    }
}

impl<M> Drop for Place<M> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<M> Shared<M> {
    fn board(&self) -> MutexGuard<'_, Board<M>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Default + 'static> Shared<M> {
    fn take_in(self: Arc<Self>, work: Work<M>) -> Result<Place<M>, Failure> {
        let mut board = self.board();
        if board.busy + board.waiting.len() >= self.most_threads + self.most_waiting {
            return Err(Failure::Full);
        }
        // One more than those that are idle can do.
        if board.threads < self.most_threads && board.busy + board.waiting.len() >= board.threads {
            let thread = self.clone();
            let started = std::thread::Builder::new().name("hash".into()).spawn(move || thread.work());
            match started {
                Ok(_) => board.threads += 1,
                Err(error) if board.threads == 0 => {
                    tracing::error!(%error, "cannot start a thread for hashes");
                    return Err(Failure::Broken);
                }
                // Those that there are do it.
                Err(_) => {}
            }
        }
        board.last_number += 1;
        let number = board.last_number;
        board.waiting.push_back(Job { number, work });
        drop(board);
        self.news.notify_one();
        Ok(Place { shared: self, number })
    }

    /// What a thread does.
    fn work(&self) {
        let mut memory = M::default();
        while let Some(job) = self.next() {
            // Who waits for one that panics is told by its end of the line, which is dropped.
            let outcome = catch_unwind(AssertUnwindSafe(|| (job.work)(&mut memory)));
            // Whoever is told may come back at once, and finds this thread free.
            self.board().busy -= 1;
            if let Ok(tell) = outcome {
                tell();
            }
        }
    }

    /// The next job; `None` when the thread is not needed any more.
    fn next(&self) -> Option<Job<M>> {
        let mut board = self.board();
        loop {
            if let Some(job) = board.waiting.pop_front() {
                board.busy += 1;
                return Some(job);
            }
            let is_idle = |board: &mut Board<M>| board.waiting.is_empty() && !board.is_over;
            let waited = self.news.wait_timeout_while(board, PATIENCE, is_idle);
            let (after, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            board = after;
            if board.waiting.is_empty() && (board.is_over || waited.timed_out()) {
                board.threads -= 1;
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn who_waits_too_long_or_behind_too_many_is_told_so_and_the_others_are_served() {
        let crew = Crew::<()>::new(1, 2);
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let first = crew.run(LONG, move |_| {
            begun.send(()).expect("somebody listens");
            may_go_on.recv().expect("somebody speaks");
            1
        });
        let mut first = Box::pin(first);
        assert!(futures_util::poll!(&mut first).is_pending());
        has_begun.recv().expect("a thread");
        let mut second = Box::pin(crew.run(LONG, |_| 2));
        assert!(futures_util::poll!(&mut second).is_pending());
        assert!(matches!(crew.run(Duration::ZERO, |_| 3).await, Err(Failure::Late)));
        // The place of the one that was late is free.
        let mut third = Box::pin(crew.run(LONG, |_| 3));
        assert!(futures_util::poll!(&mut third).is_pending());
        assert!(matches!(crew.run(LONG, |_| 4).await, Err(Failure::Full)));
        assert_eq!(crew.load(), (1, 2));
        // So is that of one who went away.
        drop(second);
        assert_eq!(crew.load(), (1, 1));
        go_on.send(()).expect("it waits");
        assert_eq!(first.await.expect("it was begun"), 1);
        assert_eq!(third.await.expect("its turn came"), 3);
    }

    #[tokio::test]
    async fn a_panic_costs_one_answer_and_no_thread() {
        let crew = Crew::<()>::new(1, 1);
        assert!(matches!(crew.run(LONG, |_| panic!("as the test wants")).await, Err::<(), _>(Failure::Broken)));
        assert_eq!(crew.run(LONG, |_| 5).await.expect("the thread goes on"), 5);
    }
}
