//! How a server ends: who asks for it, and by when which step is over. And the tasks it lives on, of which none may end
//! before.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::bail;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config;

/// For the last events, mails and notes, after requests had their time.
const LAST_WRITES: Duration = Duration::from_millis(700);

/// For the private Postgres, after those; then it is killed.
const POSTGRES: Duration = Duration::from_millis(600);

/// For threads of ours that compute or write, after everything. Nobody needs a hash any more.
pub const THREADS: Duration = Duration::from_millis(100);

/// The steps of a stop, one after the other. What one of them does not need is left to the next.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Serving on, with readiness saying that this server is none to ask (`server.shutdown_delay_seconds`).
    ServeOn,
    /// Requests that are under way (`server.shutdown_grace_seconds`).
    Requests,
    /// Events and what is noted in memory are written, mails that were begun are sent.
    LastWrites,
    /// The private Postgres ends.
    Postgres,
}

/// The stop of one server: to come, or under way; cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    asked: CancellationToken,
    began: OnceLock<Instant>,
    /// The first task that ended although nobody had told it to.
    fallen: OnceLock<&'static str>,
    delay: Duration,
    grace: Duration,
}

impl Stop {
    /// A stop that nobody has asked for yet.
    pub fn new(config: &config::Server) -> Self {
        let shared = Shared {
            asked: CancellationToken::new(),
            began: OnceLock::new(),
            fallen: OnceLock::new(),
            delay: Duration::from_secs(config.shutdown_delay_seconds),
            grace: Duration::from_secs(config.shutdown_grace_seconds),
        };
        Self(Arc::new(shared))
    }

    /// Begins it. The first who asks sets the clock.
    pub fn ask(&self) {
        self.0.began.get_or_init(Instant::now);
        self.0.asked.cancel();
    }

    /// Resolves when somebody asked for it.
    pub async fn asked(&self) {
        self.0.asked.cancelled().await;
    }

    /// Cancelled when somebody asked for it.
    pub fn token(&self) -> &CancellationToken {
        &self.0.asked
    }

    /// When this step is over, whatever became of it and of those before it.
    pub fn end_of(&self, step: Step) -> Instant {
        let began = self.0.began.get().copied().unwrap_or_else(Instant::now);
        let steps = [self.0.delay, self.0.grace, LAST_WRITES, POSTGRES];
        began + steps.into_iter().take(step as usize + 1).sum::<Duration>()
    }

    /// Spawns what the server cannot do without until the token `until` is cancelled. When it ends before, or panics
    /// whenever, the log says so and the server stops in order and [fails](Self::outcome), to be started again.
    pub fn watch(
        &self,
        name: &'static str,
        until: &CancellationToken,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Task {
        let (stop, until, panic) = (self.clone(), until.clone(), OnPanic { name, stop: self.clone() });
        let handle = tokio::spawn(async move {
            let _panic = panic;
            work.await;
            if !until.is_cancelled() {
                stop.fall(name, "it ended by itself");
            }
        });
        Task { name, handle }
    }

    fn fall(&self, name: &'static str, what: &'static str) {
        tracing::error!(task = name, what, "a task is gone that the server cannot do without: it stops");
        self.0.fallen.get_or_init(|| name);
        self.ask();
    }

    /// How it ends.
    ///
    /// # Errors
    /// When it was no operator who asked for it, but a task that fell.
    pub fn outcome(&self) -> anyhow::Result<()> {
        match self.0.fallen.get() {
            Some(name) => bail!("the task {name:?} failed; the log has said more"),
            None => Ok(()),
        }
    }
}

/// Tells of a panic, by being dropped in it.
struct OnPanic {
    name: &'static str,
    stop: Stop,
}

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.stop.fall(self.name, "it panicked");
        }
    }
}

/// A task that is watched.
pub struct Task {
    name: &'static str,
    handle: JoinHandle<()>,
}

impl Task {
    /// Waits for its end.
    pub async fn ended(self) {
        // A panic was told of when it happened.
        self.handle.await.ok();
    }

    /// Waits for its end, and cuts it off at `deadline`.
    pub async fn ended_by(mut self, deadline: Instant) {
        if timeout_at(deadline, &mut self.handle).await.is_err() {
            tracing::warn!(task = self.name, "cut off, because the server stops");
            self.handle.abort();
            self.ended().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn stop() -> Stop {
        let overrides = Overrides { data_dir: Some("/nowhere".into()), ..Overrides::default() };
        Stop::new(&Config::load_from(&overrides, std::iter::empty()).expect("the defaults are good").server)
    }

    #[test]
    fn all_steps_together_take_five_seconds_at_the_most() {
        let (stop, now) = (stop(), Instant::now());
        stop.ask();
        let took = stop.end_of(Step::Postgres) + THREADS - now;
        // What is left is for a machine that is busy, and for a Postgres that was just killed to be gone.
        assert!(took <= Duration::from_millis(4500), "{took:?}");
        let ends = [Step::ServeOn, Step::Requests, Step::LastWrites, Step::Postgres].map(|step| stop.end_of(step));
        assert!(ends.is_sorted(), "{ends:?}");
        assert_eq!(stop.end_of(Step::Requests) - stop.end_of(Step::ServeOn), Duration::from_secs(3));
    }

    #[tokio::test]
    async fn a_task_that_falls_stops_the_server() {
        let (ended, panicked) = (stop(), stop());
        ended.watch("one", ended.token(), async {}).ended().await;
        let panic = async { assert!(std::hint::black_box(false), "a panic of the test's own") };
        panicked.watch("one", panicked.token(), panic).ended().await;
        for stop in [ended, panicked] {
            assert!(stop.token().is_cancelled());
            assert!(stop.outcome().is_err_and(|error| error.to_string().contains("one")));
        }
    }

    #[tokio::test]
    async fn a_task_that_was_told_to_end_or_is_cut_off_has_not_fallen() {
        let (stop, until) = (stop(), CancellationToken::new());
        let told = stop.watch("told", &until, until.clone().cancelled_owned());
        let endless = stop.watch("endless", &until, std::future::pending());
        until.cancel();
        told.ended().await;
        endless.ended_by(Instant::now()).await;
        assert!(!stop.token().is_cancelled() && stop.outcome().is_ok());
        // But a panic is one at any time.
        let panic = async { assert!(std::hint::black_box(false), "a panic of the test's own") };
        stop.watch("late", &until, panic).ended().await;
        assert!(stop.outcome().is_err());
    }
}
