//! What is counted and measured, for Prometheus. Its library is named only here; everybody else calls a verb.
//!
//! What *happens* is told by a verb of [`Metrics`] where it happens. What merely *is* (lengths, sizes, ages) is asked for
//! when somebody looks, and handed over as [`Readings`]. Labels come from lists of ours (routes, codes, methods), never
//! from a request: their number has a bound, and no secret can become one. `docs/operating.md` says what to alert on.

mod readings;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::error::Code;

pub use readings::{Asked, Backlog, Connections, Hashing, Months, Readings, Space};

/// The media type of [`Metrics::page`].
pub const MEDIA_TYPE: &str = prometheus::TEXT_FORMAT;

/// The first word of every name but those of the process.
const NAMESPACE: &str = "bloq_accounts";

/// Seconds that a request takes: from a probe to `server.request_timeout_seconds`.
const REQUEST_SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];

/// Seconds that a commit of events takes: from memory to `events.commit_deadline_ms`.
const COMMIT_SECONDS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.0];

/// Events of one statement.
const BATCH_SIZES: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0];

/// Counters and histograms of one server; cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Instruments>);

/// What became of an attempt to send a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailOutcome {
    /// A mail server took it, or the file is written.
    Sent,
    /// It will be tried again.
    Delayed,
    /// It was given up.
    Failed,
}

/// Why a statement did not write its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFailure {
    /// The database is away or does not answer.
    Away,
    /// The database will not have them.
    Refused,
}

struct Instruments {
    registry: Registry,
    process: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    requests_in_flight: IntGauge,
    calls: IntCounterVec,
    call_seconds: HistogramVec,
    refusals: IntCounterVec,
    rate_limit_refusals: IntCounterVec,
    hashes_refused: IntCounter,
    batch_sizes: Histogram,
    commit_seconds: Histogram,
    write_failures: IntCounterVec,
    events_dropped: IntCounter,
    events_backlog: IntGauge,
    mails: IntCounterVec,
}

impl Default for Metrics {
    fn default() -> Self {
        let new = Registry::new_custom(Some(NAMESPACE.to_owned()), None);
        let registry = new.expect("the prefix is not empty");
        let instruments = Instruments {
            requests: counters(
                &registry,
                "http_requests_total",
                "Requests answered, by method, pattern of the route (or \"unmatched\") and status; 499: the client hung up.",
                &["method", "route", "status"],
            ),
            request_seconds: durations(
                &registry,
                "http_request_duration_seconds",
                "Time from the head of a request to its answer, the commit of its event included, by route.",
                "route",
            ),
            requests_in_flight: enter(
                &registry,
                IntGauge::new("http_requests_in_flight", "Requests that are being answered right now."),
            ),
            calls: counters(
                &registry,
                "grpc_calls_total",
                "Calls of gRPC answered, by method (or \"unmatched\") and status; Cancelled: the client did not wait.",
                &["method", "status"],
            ),
            call_seconds: durations(
                &registry,
                "grpc_call_duration_seconds",
                "Time from the head of a call to its answer, the commit of its event included, by method.",
                "method",
            ),
            refusals: counters(&registry, "refusals_total", "Answers with an error, by its public code.", &["code"]),
            rate_limit_refusals: counters(
                &registry,
                "rate_limit_refusals_total",
                "Requests refused by a limit, by what was tried.",
                &["action"],
            ),
            hashes_refused: enter(
                &registry,
                IntCounter::new(
                    "hashes_refused_total",
                    "Password hashes not computed because too many waited, or one waited too long.",
                ),
            ),
            batch_sizes: histogram(&registry, "events_batch_size", "Events written by one statement.", &BATCH_SIZES),
            commit_seconds: histogram(
                &registry,
                "events_commit_duration_seconds",
                "Time of one statement that wrote events, its commit included.",
                &COMMIT_SECONDS,
            ),
            write_failures: counters(
                &registry,
                "events_write_failures_total",
                "Statements that did not write their events; away: tried again, refused: the database will not have them.",
                &["reason"],
            ),
            events_dropped: enter(
                &registry,
                IntCounter::new(
                    "events_dropped_total",
                    "Events that are lost: too many waited, or the table refused one.",
                ),
            ),
            events_backlog: enter(
                &registry,
                IntGauge::new("events_backlog", "Events whose answer has left, waiting for the database to come back."),
            ),
            mails: counters(
                &registry,
                "mails_total",
                "Attempts to send a mail by this server; delayed: tried again, failed: given up.",
                &["outcome"],
            ),
            registry,
            process: process(),
        };
        // A series that begins with its first count shows no increase: these are what alarms look at.
        for code in Code::ALL {
            instruments.refusals.with_label_values(&[format!("{code:?}")]);
        }
        for failure in [WriteFailure::Away, WriteFailure::Refused] {
            instruments.write_failures.with_label_values(&[failure.label()]);
        }
        for outcome in [MailOutcome::Sent, MailOutcome::Delayed, MailOutcome::Failed] {
            instruments.mails.with_label_values(&[outcome.label()]);
        }
        Self(Arc::new(instruments))
    }
}

impl Metrics {
    /// A request came in; [`Metrics::request_ended`] must follow.
    pub fn request_began(&self) {
        self.0.requests_in_flight.inc();
    }

    /// It was answered, or nobody waits for its answer any more. The labels must be from lists of ours.
    pub fn request_ended(&self, method: &str, route: &str, status: &str, took: Duration) {
        self.0.requests_in_flight.dec();
        self.0.requests.with_label_values(&[method, route, status]).inc();
        self.0.request_seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// A call of gRPC was answered, or nobody waits for its answer any more. The labels must be from lists of ours.
    pub fn call_ended(&self, method: &str, status: &str, took: Duration) {
        self.0.calls.with_label_values(&[method, status]).inc();
        self.0.call_seconds.with_label_values(&[method]).observe(took.as_secs_f64());
    }

    /// An answer carried this error.
    pub fn refused(&self, code: Code) {
        self.0.refusals.with_label_values(&[format!("{code:?}")]).inc();
    }

    /// A limit refused this action. The name is one of the limits' own.
    pub fn limited(&self, action: &'static str) {
        self.0.rate_limit_refusals.with_label_values(&[action]).inc();
    }

    /// Nobody hashed a password: too many waited already, or this one too long.
    pub fn hash_refused(&self) {
        self.0.hashes_refused.inc();
    }

    /// One statement wrote this many events.
    pub fn events_written(&self, events: usize, took: Duration) {
        self.0.batch_sizes.observe(events as f64);
        self.0.commit_seconds.observe(took.as_secs_f64());
    }

    /// One statement did not write its events.
    pub fn events_not_written(&self, failure: WriteFailure) {
        self.0.write_failures.with_label_values(&[failure.label()]).inc();
    }

    /// An event is lost.
    pub fn event_dropped(&self) {
        self.0.events_dropped.inc();
    }

    /// This many events wait for the database to come back.
    pub fn events_wait(&self, events: usize) {
        self.0.events_backlog.set(readings::whole(events));
    }

    /// A mail was tried.
    pub fn mail(&self, outcome: MailOutcome) {
        self.0.mails.with_label_values(&[outcome.label()]).inc();
    }

    /// Everything in Prometheus' text format ([`MEDIA_TYPE`]).
    pub fn page(&self, readings: &Readings) -> anyhow::Result<String> {
        let mut page = Vec::new();
        for registry in [&self.0.registry, &readings.registry(), &self.0.process] {
            TextEncoder::new().encode(&registry.gather(), &mut page).context("cannot write the metrics")?;
        }
        String::from_utf8(page).context("metrics are text")
    }
}

impl MailOutcome {
    fn label(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delayed => "delayed",
            Self::Failed => "failed",
        }
    }
}

impl WriteFailure {
    fn label(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Refused => "refused",
        }
    }
}

/// Memory, processor, files and start of the process, under the names that all exporters give them. Linux only.
fn process() -> Registry {
    let registry = Registry::new();
    #[cfg(target_os = "linux")]
    {
        let own = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(own)).expect("the only one in this registry");
    }
    registry
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    enter(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

/// Times of requests, by one label.
fn durations(registry: &Registry, name: &str, help: &str, label: &str) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(REQUEST_SECONDS.to_vec());
    enter(registry, HistogramVec::new(options, &[label]))
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    enter(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
}

/// Enters a new instrument into a registry.
fn enter<T: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<T>) -> T {
    let instrument = made.expect("names, labels and buckets are constants, and good ones");
    registry.register(Box::new(instrument.clone())).expect("every name is used once");
    instrument
}
