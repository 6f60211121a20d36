//! A database for every test, cloned from a migrated template.
//!
//! One Postgres for the whole run, started by the code that `serve` uses (or the one of `TEST_DATABASE_URL`). Only this
//! file knows.

use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use bloq_accounts::db;
use bloq_accounts::db::embedded::{Embedded, Holder, Settings};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio::sync::{mpsc, oneshot};

/// A database that is dropped with the test.
pub struct Database {
    /// What the keeper calls it; `None` when it is none of the keeper's.
    name: Option<String>,
    pub url: String,
}

impl Database {
    pub async fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bloq_test_{}_{number}", std::process::id());
        let (done, ready) = oneshot::channel();
        keeper().send(Order::Create(name.clone(), done)).expect("the keeper lives as long as the process");
        Self { url: ready.await.expect("the keeper made the database"), name: Some(name) }
    }

    /// The same without a table in it, as a first start finds it.
    pub async fn empty() -> Self {
        let database = Self::new().await;
        let mut connection = PgConnection::connect(&database.url).await.expect("it answers");
        let statement = "drop schema public cascade; create schema public";
        sqlx::raw_sql(statement).execute(&mut connection).await.expect("it is ours");
        database
    }

    /// A database that the test looks after itself.
    pub fn elsewhere(url: &str) -> Self {
        Self { name: None, url: url.to_owned() }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            let _ = keeper().send(Order::Drop(name));
        }
    }
}

enum Order {
    Create(String, oneshot::Sender<String>),
    Drop(String),
}

/// The thread that owns the Postgres of this run. It has a runtime of its own, because those of tests end with them.
fn keeper() -> &'static mpsc::UnboundedSender<Order> {
    static KEEPER: OnceLock<mpsc::UnboundedSender<Order>> = OnceLock::new();
    KEEPER.get_or_init(|| {
        let (sender, orders) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(keep(orders));
        });
        sender
    })
}

async fn keep(mut orders: mpsc::UnboundedReceiver<Order>) {
    let external = std::env::var("TEST_DATABASE_URL").ok();
    // Its guard stops it when this process ends, however it ends.
    let embedded = match external {
        Some(_) => None,
        None => Some(start().await),
    };
    let url = external.as_deref().or(embedded.as_ref().map(Embedded::url)).expect("one of both");
    let options = PgConnectOptions::from_str(url).expect("a database URL");
    let mut connection = PgConnection::connect_with(&options).await.expect("the test Postgres answers");

    let template = format!("bloq_template_{}", std::process::id());
    run(&mut connection, format!("create database {template}")).await;
    let mut migrated = PgConnection::connect_with(&options.clone().database(&template)).await.expect("the template");
    db::migrate(&mut migrated).await.expect("the migrations run");
    migrated.close().await.expect("a template must not be in use");

    while let Some(order) = orders.recv().await {
        match order {
            Order::Create(name, done) => {
                run(&mut connection, format!("create database {name} template {template}")).await;
                let _ = done.send(options.clone().database(&name).to_url_lossy().to_string());
            }
            Order::Drop(name) => run(&mut connection, format!("drop database {name} with (force)")).await,
        }
    }
}

async fn start() -> Embedded {
    remove_leftovers();
    let data_dir = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
    // It dies with the run: nobody will look for its data after a crash, so nobody waits for the disk.
    let settings = Settings { data_dir, postgres_bin: None, max_connections: 300, is_durable: false };
    Embedded::start(settings, Holder::Server).await.expect("a private Postgres for the tests")
}

/// Temporary folders of a run begin with this and the id of its process.
pub const PREFIX: &str = "bloq-accounts-test-";

/// A process cannot remove the folder it dies with; the next one does.
fn remove_leftovers() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<i32>().ok());
        let is_dead = process.is_some_and(|process| {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), None) == Err(nix::errno::Errno::ESRCH)
        });
        if is_dead {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

async fn run(connection: &mut PgConnection, statement: String) {
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await.expect("the keeper's statement");
}
