//! A server of the test's own, on a free port, with a clock that stands still.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bloq_accounts::app::{App, Workers};
use bloq_accounts::clock::Clock;
use bloq_accounts::config::{Config, Overrides};
use bloq_accounts::events::{Eraser, Partitions, Pruner};
use bloq_accounts::last_use::LastUses;
use bloq_accounts::mail::Courier;
use bloq_accounts::random::Random;
use bloq_accounts::server::{Addresses, Certificates, Door};
use bloq_accounts::stop::{Step, Stop};
use bloq_accounts::worker::Worker;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::call::Call;
use super::database::Database;
use super::mailbox::Mailbox;

/// Makes a server believe what tests say about their address; everybody comes from 127.0.0.1 otherwise.
pub fn behind_a_proxy(config: &mut Config) {
    config.server.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
}

/// A running server and all that a test may do to it.
pub struct TestApp {
    pub app: App,
    pub partitions: Partitions,
    pub address: SocketAddr,
    pub metrics_address: Option<SocketAddr>,
    pub clock: Clock,
    pub config: Config,
    pub certificates: Option<Certificates>,
    pub addresses: Addresses,
    courier: Courier,
    sweeper: bloq_accounts::sweeper::Sweeper,
    eraser: Eraser,
    pruner: Pruner,
    last_uses: LastUses,
    client: reqwest::Client,
    stop: Stop,
    running: JoinHandle<()>,
    database: Arc<Database>,
    folder: Arc<TempDir>,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A server with another configuration than the tests' usual one.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(Database::new().await, change).await
    }

    /// The same on a database that the test brings along.
    pub async fn start_on(database: Database, change: impl FnOnce(&mut Config)) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let overrides = Overrides { data_dir: Some(folder.path().into()), ..Overrides::default() };
        let nothing = std::iter::empty();
        let mut config = Config::load_from(&overrides, nothing).expect("the defaults are a configuration");
        config.server.public_url = "https://accounts.example".into();
        config.tokens.issuer = "https://accounts.example".into();
        config.wallet.siwe_domain = "accounts.example".into();
        config.wallet.siwe_http = false;
        config.server.master_key = "0f".repeat(32).into();
        config.server.listen = ([127, 0, 0, 1], 0).into();
        config.server.tls_listen = config.server.listen;
        config.grpc.listen = Some(config.server.listen);
        config.grpc.tls_listen = config.grpc.listen;
        // A hash of the real parameters takes half a second of every test.
        config.password.argon2_memory_kib = 64;
        config.password.argon2_iterations = 1;
        config.database.max_connections = 8;
        change(&mut config);
        let noon = DateTime::parse_from_rfc3339("2026-03-05T12:00:00.123Z").expect("a time").to_utc();
        Self::run(config, Clock::frozen(noon), Arc::new(database), folder).await
    }

    /// Another server on the same database, at the same time: a replica.
    pub async fn replica(&self) -> Self {
        self.replica_with(|_| {}).await
    }

    /// A replica with another configuration, as there are two of them while an operator changes one.
    pub async fn replica_with(&self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config.clone();
        change(&mut config);
        Self::run(config, self.clock.clone(), self.database.clone(), self.folder.clone()).await
    }

    /// A replica whose clock is another one.
    pub async fn replica_at(&self, clock: Clock) -> Self {
        Self::run(self.config.clone(), clock, self.database.clone(), self.folder.clone()).await
    }

    /// Stops the server in order and starts it again on the same database.
    pub async fn restart(self) -> Self {
        let (config, clock) = (self.config.clone(), self.clock.clone());
        let (database, folder) = (self.database.clone(), self.folder.clone());
        self.stop().await;
        Self::run(config, clock, database, folder).await
    }

    /// Stops the server in order: open requests, then their events.
    pub async fn stop(self) {
        self.stop.ask();
        self.running.await.expect("an orderly stop");
        self.stop.outcome().expect("no part of the server panics");
    }

    async fn run(config: Config, clock: Clock, database: Arc<Database>, folder: Arc<TempDir>) -> Self {
        let (app, Workers { heart, writer, courier, sweeper, partitions, eraser, pruner, last_uses }) =
            App::build(&config, &database.url, clock.clone(), Random::default()).await.expect("the app builds");
        let stop = Stop::new(&config.server);
        let door = Door::open(&config, clock.clone(), stop.clone()).await.expect("a free port");
        let (addresses, certificates) = (door.addresses(), door.certificates().cloned());
        door.lead_to(app.clone());
        // The writer outlives the listener by the order in which `stop` waits for them.
        let stop_writer = CancellationToken::new();
        let writer = stop.watch("event writer", &stop_writer, writer.run(stop_writer.clone()));
        let stop_heart = CancellationToken::new();
        let heart = stop.watch("pulse", &stop_heart, heart.run(stop_heart.clone()));
        let stopping = stop.clone();
        let serving = tokio::spawn(async move {
            door.closed().await;
            stop_writer.cancel();
            writer.ended_by(stopping.end_of(Step::LastWrites)).await;
            stop_heart.cancel();
            heart.ended().await;
        });
        Self {
            app,
            partitions,
            eraser,
            pruner,
            last_uses,
            address: addresses.rest,
            metrics_address: addresses.metrics,
            addresses,
            clock,
            config,
            certificates,
            courier,
            sweeper,
            client: reqwest::Client::builder().user_agent("tests/1.0").build().expect("a client"),
            stop,
            running: serving,
            database,
            folder,
        }
    }

    /// Where a server that has a certificate listens with TLS.
    pub fn tls_address(&self) -> SocketAddr {
        self.addresses.rest_tls.expect("it has a certificate")
    }

    pub fn call(&self, method: Method, path: &str) -> Call {
        Call(self.client.request(method, format!("http://{}{path}", self.address)))
    }

    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    pub fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    pub fn patch(&self, path: &str) -> Call {
        self.call(Method::PATCH, path)
    }

    pub fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    /// The database behind the server, to look for traces.
    pub fn pool(&self) -> PgPool {
        self.app.pool.current()
    }

    /// Where the database is, for what a test starts beside the server.
    pub fn database_url(&self) -> &str {
        &self.database.url
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub fn advance(&self, by: TimeDelta) {
        self.clock.advance(by);
    }

    /// Sends every mail that is due, as the courier would, and answers how many there were.
    pub async fn deliver_mail(&self) -> usize {
        let mut delivered = 0;
        while self.courier.deliver_one().await.expect("the courier works") {
            delivered += 1;
        }
        delivered
    }

    /// The mails that were sent so far.
    pub fn mailbox(&self) -> Mailbox {
        Mailbox::open(&self.config.data_dir.join("mail"))
    }

    /// Does what the sweeper does every minute.
    pub async fn sweep(&self) {
        self.sweeper.step().await.expect("the sweeper works");
    }

    /// Does what the eraser does until nothing is due.
    pub async fn erase(&self) {
        while self.eraser.step().await.expect("the eraser works").is_zero() {}
    }

    /// Does what the pruner does four times a day, and answers how long it rests then.
    pub async fn prune(&self) -> Duration {
        self.pruner.step().await.expect("the pruner works")
    }

    /// Does what the worker for last uses does twice a second.
    pub async fn write_last_uses(&self) {
        self.last_uses.step().await.expect("the worker for last uses works");
    }

    /// Runs a statement of the test's own, for states that no route of this door makes.
    pub async fn execute(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.pool()).await.expect("the statement of the test");
    }

    /// Waits until this many statements of the database wait for a lock: races are made with locks, not with luck.
    pub async fn until_waiting(&self, statements: i64) {
        const WAITING: &str = "select count(*) from pg_stat_activity
                               where wait_event_type = 'Lock' and datname = current_database()";
        while self.count(WAITING).await < statements {
            tokio::task::yield_now().await;
        }
    }

    /// One text from the database.
    pub async fn text(&self, query: &'static str) -> String {
        sqlx::query_scalar(query).fetch_one(&self.pool()).await.expect("the query of the test")
    }

    /// Does what the worker for partitions does four times a day.
    pub async fn make_partitions(&self) {
        self.partitions.step().await.expect("the worker for partitions works");
    }

    /// One number from the database.
    pub async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool()).await.expect("the query of the test")
    }
}
