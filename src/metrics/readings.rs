//! What is asked for when somebody looks: every figure is as old as the page it is on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{Gauge, IntCounter, IntGauge, Opts, Registry};
use tokio::sync::Semaphore;

use super::{NAMESPACE, enter};

/// The connections of a door: those that are open, and how many may be.
#[derive(Clone, Debug)]
pub struct Connections {
    /// One permit for each that may still be opened.
    pub free: Arc<Semaphore>,
    /// How many may be open at once.
    pub most: usize,
    /// How many were closed at once because their address had its share.
    refused: Arc<AtomicU64>,
}

impl Connections {
    /// None open, `most` at once.
    pub fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), most, refused: Arc::default() }
    }

    /// One was closed at once because its address had its share.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// How busy the hasher is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashing {
    /// Hashes being computed.
    pub running: usize,
    /// How many may be computed at once.
    pub most: usize,
    /// Requests that wait for one.
    pub waiting: usize,
}

/// Mails that were not sent yet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    /// How many.
    pub waiting: usize,
    /// How long ago the oldest of them was queued.
    pub oldest: Duration,
    /// How long ago the one that is due longest should have been tried.
    pub overdue: Duration,
}

/// The months that have a partition of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Months {
    /// How many.
    pub all: usize,
    /// How many of them should have been dropped.
    pub over: usize,
    /// When the oldest began, seconds since 1970.
    pub oldest: i64,
    /// Their bytes on the disk, indexes included.
    pub bytes: u64,
}

/// What only the database knows.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The outbox.
    pub outbox: Backlog,
    /// Rows in the default partition of the events, which should be empty.
    pub strays: usize,
    /// The other partitions.
    pub months: Months,
}

/// The disk of the private Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that it has left.
    pub free: u64,
    /// Bytes that it should have left.
    pub least: u64,
}

/// The state of the server at one moment.
pub struct Readings {
    /// Connections of the REST door.
    pub connections: Connections,
    /// Connections to the database: open ones.
    pub pool_size: usize,
    /// Those of them that nobody uses.
    pub pool_idle: usize,
    /// How many may be open.
    pub pool_most: usize,
    /// The hasher.
    pub hashing: Hashing,
    /// Events in the queue of the writer.
    pub events_queued: usize,
    /// How many may be.
    pub events_most: usize,
    /// `None` where the database is elsewhere.
    pub disk: Option<Space>,
    /// Whether the database answered in time.
    pub is_database_up: bool,
    /// `None` when it could not be asked in time.
    pub asked: Option<Asked>,
}

impl Readings {
    /// A registry of this one moment: what was not asked is not in it, instead of being as it was.
    pub(super) fn registry(&self) -> Registry {
        let made = Registry::new_custom(Some(NAMESPACE.to_owned()), None);
        let registry = made.expect("the prefix is not empty");
        let gauge = |name: &str, help: &str, value: i64| enter(&registry, IntGauge::new(name, help)).set(value);
        let seconds = |name: &str, help: &str, value: Duration| {
            enter(&registry, Gauge::new(name, help)).set(value.as_secs_f64());
        };

        let build = Opts::new("build_info", "Always 1; the label says which version runs.");
        enter(&registry, IntGauge::with_opts(build.const_label("version", env!("CARGO_PKG_VERSION")))).set(1);
        let open = self.connections.most.saturating_sub(self.connections.free.available_permits());
        gauge("http_connections", "Connections of the REST door that are open.", whole(open));
        gauge("http_connections_max", "How many may be open at once.", whole(self.connections.most));
        let help = "Connections closed at once because their address has as many as one may have.";
        let refused = enter(&registry, IntCounter::new("http_connections_refused_total", help));
        refused.inc_by(self.connections.refused.load(Ordering::Relaxed));

        gauge(
            "database_up",
            "Whether the database answered within the second that a scrape gives it.",
            self.is_database_up.into(),
        );
        let used = self.pool_size.saturating_sub(self.pool_idle);
        gauge(
            "database_connections_in_use",
            "Connections to the database that a request or a worker holds.",
            whole(used),
        );
        gauge(
            "database_connections_idle",
            "Connections to the database that are open and free.",
            whole(self.pool_idle),
        );
        gauge(
            "database_connections_max",
            "How many may be open; the event writer and the pulse have one more each.",
            whole(self.pool_most),
        );

        gauge("hashes_running", "Password hashes being computed.", whole(self.hashing.running));
        gauge("hashes_running_max", "How many may be computed at once.", whole(self.hashing.most));
        gauge("hashes_waiting", "Requests that wait for a password hash.", whole(self.hashing.waiting));

        gauge(
            "events_queue_length",
            "Events that wait for the writer, their answers with them.",
            whole(self.events_queued),
        );
        gauge("events_queue_max", "How many may wait.", whole(self.events_most));

        if let Some(Space { free, least }) = self.disk {
            let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
            gauge("disk_free_bytes", "Bytes left for the private Postgres on its file system.", bytes(free));
            gauge("disk_free_min_bytes", "`events.min_free_disk`; 0 is no alarm.", bytes(least));
        }

        let missing = self.asked.is_none();
        gauge(
            "scrape_incomplete",
            "1 when what only the database knows could not be asked in time and is left out.",
            missing.into(),
        );
        if let Some(Asked { outbox, strays, months }) = self.asked {
            gauge("outbox_waiting", "Mails not sent yet, of all servers; counted up to 10000.", whole(outbox.waiting));
            seconds("outbox_oldest_age_seconds", "Age of the oldest mail not sent yet.", outbox.oldest);
            seconds(
                "outbox_overdue_seconds",
                "How long the mail that is due longest has been waiting for its turn.",
                outbox.overdue,
            );
            gauge(
                "events_default_partition_rows",
                "Events without a partition of their month, counted up to 1000; should be 0.",
                whole(strays),
            );
            gauge(
                "events_months",
                "Months that have a partition of events, two to come among them.",
                whole(months.all),
            );
            gauge(
                "events_months_over",
                "Months that ended longer ago than events are kept, and are not dropped yet.",
                whole(months.over),
            );
            gauge(
                "events_oldest_month_timestamp_seconds",
                "When the oldest of them began, in seconds since 1970.",
                months.oldest,
            );
            let bytes = i64::try_from(months.bytes).unwrap_or(i64::MAX);
            gauge("events_bytes", "Bytes of all events on the disk, indexes included.", bytes);
        }
        registry
    }
}

/// A count as gauges take it.
pub(super) fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
