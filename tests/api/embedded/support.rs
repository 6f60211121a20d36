//! A place for a data folder, processes to look at, and another process that holds the folder.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use bloq_accounts::db::embedded::{Embedded, Holder, Reached, Settings, reach};
use nix::unistd::Pid;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use crate::harness::seed;

pub const DEADLINE: Duration = Duration::from_secs(20);

/// A temporary folder which every user can pass through, as below /var/lib.
pub struct Place(pub TempDir);

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
        Self(folder)
    }

    /// The same with a data folder that was made before.
    pub fn filled() -> Self {
        let place = Self::new();
        seed::fill(&place.data_dir());
        place
    }

    pub fn data_dir(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub fn settings(&self) -> Settings {
        settings(self.data_dir())
    }

    pub async fn start(&self) -> Embedded {
        Embedded::start(self.settings(), Holder::Server).await.unwrap()
    }

    pub fn postmaster(&self) -> Option<Pid> {
        postmaster(&self.data_dir())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.data_dir().join("postgres.log")).unwrap()
    }
}

pub fn settings(data_dir: PathBuf) -> Settings {
    Settings { data_dir, postgres_bin: None, max_connections: 12, is_durable: true }
}

pub fn postmaster(data_dir: &Path) -> Option<Pid> {
    let file = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    Some(Pid::from_raw(file.lines().next()?.parse().ok()?))
}

pub fn stat(pid: Pid) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

/// Not even a zombie counts: nobody may reap it in a container.
pub fn lives(pid: Pid) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z")
}

pub fn parent(pid: Pid) -> Pid {
    Pid::from_raw(stat(pid).unwrap()[1].parse().unwrap())
}

pub fn group(pid: Pid) -> Pid {
    Pid::from_raw(stat(pid).unwrap()[2].parse().unwrap())
}

pub fn processes() -> impl Iterator<Item = Pid> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok().map(Pid::from_raw))
        .filter(|pid| lives(*pid))
}

/// Every process which has this folder in its command line or works in it.
pub fn processes_of(data_dir: &Path) -> Vec<Pid> {
    let data_dir = data_dir.to_str().unwrap();
    processes()
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            *pid != Pid::this() && (String::from_utf8_lossy(&line).contains(data_dir) || cwd.starts_with(data_dir))
        })
        .collect()
}

pub fn children(of: Pid) -> Vec<Pid> {
    processes().filter(|pid| stat(*pid).is_some_and(|stat| stat[1] == of.to_string())).collect()
}

pub async fn until(what: &str, mut happened: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !happened().await {
        assert!(began.elapsed() < DEADLINE, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

pub async fn connect(url: &str) -> Result<PgConnection, sqlx::Error> {
    PgConnection::connect_with(&PgConnectOptions::from_str(url)?).await
}

pub async fn ask(url: &str, question: &'static str) -> String {
    let mut connection = connect(url).await.unwrap();
    sqlx::query_scalar(question).fetch_one(&mut connection).await.unwrap()
}

pub async fn tell(url: &str, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&mut connect(url).await.unwrap()).await.unwrap();
}

pub async fn refusal(settings: Settings) -> String {
    match Embedded::start(settings, Holder::Server).await {
        Ok(embedded) => panic!("started at {}", embedded.url()),
        Err(error) => format!("{error:#}"),
    }
}

/// Another process which holds a folder until it is told to stop, or killed.
pub struct Other {
    process: Child,
    input: Option<ChildStdin>,
    /// Kept open, as a closed one would make the process fail when it writes.
    _output: BufReader<ChildStdout>,
    pub url: String,
}

impl Other {
    pub fn start(data_dir: &Path, holder: &str) -> Self {
        let test = std::env::current_exe().unwrap();
        Self::run(Command::new(test), data_dir, holder)
    }

    pub fn run(mut command: Command, data_dir: &Path, holder: &str) -> Self {
        let mut process = command
            .args(["--exact", &another_process_name(), "--nocapture"])
            .env(OTHER_DATA_DIR, data_dir)
            .env("OTHER_HOLDER", holder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let url = output
            .by_ref()
            .lines()
            .find_map(|line| Some(line.unwrap().split_once("reached at ")?.1.to_owned()))
            .expect("the other process says where it is reached");
        Self { process, input, _output: output, url }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().try_into().unwrap())
    }

    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn stop(mut self) {
        drop(self.input.take());
        assert!(self.process.wait().unwrap().success());
    }
}

/// The folder that [`another_process`] holds.
pub const OTHER_DATA_DIR: &str = "OTHER_DATA_DIR";

/// What the test binary calls [`another_process`].
pub fn another_process_name() -> String {
    let (_crate, module) = module_path!().split_once("::").unwrap();
    format!("{module}::another_process")
}

/// The other process of other tests, when they start it with a folder to hold; else there is nothing to do.
#[tokio::test]
async fn another_process() {
    let Some(data_dir) = std::env::var_os(OTHER_DATA_DIR) else { return };
    let settings = settings(data_dir.into());
    let reached = match std::env::var("OTHER_HOLDER").unwrap().as_str() {
        "server" => Reached::Started(Embedded::start(settings, Holder::Server).await.unwrap()),
        _ => reach(settings).await.unwrap(),
    };
    println!("reached at {}", reached.url());
    std::io::stdout().flush().unwrap();
    tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await.unwrap();
    reached.release().await;
}
