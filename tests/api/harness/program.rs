//! The real binary in a data folder of its own, as an operator meets it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bloq_accounts::db::embedded::{Reached, Settings, reach};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::call::Call;
use super::mailbox::{Letter, Mailbox};

/// Everything happens by then, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until something happened, and answers how long that took.
pub async fn until(what: &str, mut happened: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !happened().await {
        assert!(began.elapsed() < DEADLINE, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

/// A folder for a data folder, which every user can pass through, as below /var/lib.
///
/// All servers of a place listen on the same address, one after another: it is the issuer of their tokens.
pub struct Place {
    folder: TempDir,
    address: SocketAddr,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).expect("our own folder");
        Self { folder, address: free_address() }
    }

    /// The same with a data folder that was made before.
    pub fn filled() -> Self {
        let place = Self::new();
        super::seed::fill(&place.data_dir());
        place
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The binary with these arguments and this data folder, and with nothing in its environment that would change it, but that
    /// servers have free ports for gRPC: many run at once.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bloq-accounts"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("BLOQ_ACCOUNTS_DATA_DIR", self.data_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if arguments.contains(&"serve") {
            command
                .env("BLOQ_ACCOUNTS_GRPC__LISTEN", "127.0.0.1:0")
                .env("BLOQ_ACCOUNTS_GRPC__TLS_LISTEN", "127.0.0.1:0");
        }
        command
    }

    /// Runs the binary to its end.
    pub async fn run(&self, arguments: &[&str]) -> Done {
        finish(self.command(arguments)).await
    }

    /// Runs the binary to its end with this on its stdin.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Done {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).await.expect("it reads its stdin");
        drop(stdin);
        Done::from(child.wait_with_output().await.expect("it ends"))
    }

    /// Starts a server on a free port and waits until it is ready.
    pub async fn serve(&self) -> Program {
        self.serve_with(|command| command).await
    }

    /// The same with another environment.
    pub async fn serve_with(&self, change: impl FnOnce(&mut Command) -> &mut Command) -> Program {
        let listen = self.address.to_string();
        let mut command = self.command(&["serve", "--listen", &listen]);
        change(&mut command);
        let program = Program::start(command, self.address).await;
        program.becomes_ready().await;
        program
    }

    /// Every process that has something to do with the data folder.
    pub fn processes(&self) -> Vec<i32> {
        let folder = self.data_dir();
        let folder = folder.to_str().expect("a path of text");
        let all = std::fs::read_dir("/proc").expect("/proc").flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
                let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
                let is_zombie = String::from_utf8_lossy(&read("stat")).contains(") Z ");
                let line = read("cmdline");
                !is_zombie && (String::from_utf8_lossy(&line).contains(folder) || cwd.starts_with(folder))
            })
            .collect()
    }

    /// Waits until no process of the data folder is left.
    pub async fn is_left_alone(&self) -> Duration {
        until("no process is left", async || self.processes().is_empty()).await
    }

    /// Where the server's own Postgres is, whether it runs or not.
    pub fn url(&self) -> String {
        let folder = self.data_dir().join("run");
        format!("postgres://bloq@localhost/bloq_accounts?host={}&sslmode=disable", folder.display())
    }

    /// A look into the running server's own Postgres.
    pub async fn database(&self) -> PgConnection {
        let settings =
            Settings { data_dir: self.data_dir(), postgres_bin: None, max_connections: 20, is_durable: true };
        let reached = reach(settings).await.expect("the Postgres of a running server");
        assert!(matches!(reached, Reached::Running { .. }), "the server runs");
        PgConnection::connect(reached.url()).await.expect("it takes connections")
    }

    /// The process id of the private Postgres.
    pub fn postmaster(&self) -> Pid {
        let file = std::fs::read_to_string(self.data_dir().join("postgres/postmaster.pid")).expect("it runs");
        Pid::from_raw(file.lines().next().and_then(|line| line.parse().ok()).expect("a process id"))
    }

    /// Every process of the private Postgres, without the guard that ends it.
    pub fn postgres(&self) -> Vec<Pid> {
        let name = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let processes = self.processes().into_iter().filter(|pid| name(pid).trim_end() == "postgres");
        processes.map(Pid::from_raw).collect()
    }

    /// Freezes every process of the private Postgres, as a machine does that has run out of disk or memory: connections
    /// stay open, and nobody answers.
    pub fn freeze(&self) {
        // The first makes new ones: so it first.
        kill(self.postmaster(), Signal::SIGSTOP).expect("it runs");
        self.signal_postgres(Signal::SIGSTOP);
    }

    /// Lets a frozen Postgres go on.
    pub fn thaw(&self) {
        self.signal_postgres(Signal::SIGCONT);
    }

    fn signal_postgres(&self, signal: Signal) {
        for process in self.processes() {
            let _ = kill(Pid::from_raw(process), signal);
        }
    }

    /// Waits for the newest mail to this address.
    pub async fn mail_to(&self, address: &str) -> Letter {
        let folder = self.data_dir().join("mail");
        until("a mail arrives", async || !Mailbox::peek(&folder).to(address).is_empty()).await;
        Mailbox::peek(&folder).last_to(address)
    }
}

/// An address that nobody listens on, and that the system gives to nobody who asks for any port.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 16_384).expect("less than 65,536");
    loop {
        let port = 12_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 16_384;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// What a command left behind.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// Fails the test unless the command ended with this exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Fails the test unless the command failed and its complaint has all these words.
    #[track_caller]
    pub fn complains(self, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(1), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is missing: {}", self.stderr);
        }
        self
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs a command to its end.
pub async fn finish(mut command: Command) -> Done {
    let output = tokio::time::timeout(DEADLINE, command.output()).await.expect("the command ends");
    Done::from(output.expect("the binary starts"))
}

/// A running server.
pub struct Program {
    pub address: SocketAddr,
    process: Child,
    said: Arc<Mutex<String>>,
    client: reqwest::Client,
}

impl Program {
    /// Starts a server that will listen on `address`; does not wait for it.
    pub async fn start(mut command: Command, address: SocketAddr) -> Self {
        let mut process = command.spawn().expect("the binary starts");
        let said = Arc::new(Mutex::new(String::new()));
        listen_to(process.stdout.take().expect("piped"), said.clone());
        // Not that of a test with a log of its own.
        if let Some(stderr) = process.stderr.take() {
            listen_to(stderr, said.clone());
        }
        Self { address, process, said, client: reqwest::Client::new() }
    }

    /// All that it printed so far, on stdout and stderr.
    pub fn said(&self) -> String {
        self.said.lock().expect("whole lines").clone()
    }

    /// The line with which it tells where it is.
    pub fn greeting(&self) -> String {
        let said = self.said();
        said.lines().find(|line| line.contains(" listens on ")).unwrap_or_else(|| panic!("no greeting: {said}")).into()
    }

    /// Waits until it serves.
    pub async fn becomes_ready(&self) {
        let began = Instant::now();
        while !self.is_ready().await {
            assert!(began.elapsed() < DEADLINE, "never ready: {}", self.said());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn is_ready(&self) -> bool {
        let answer = self.client.get(format!("http://{}/health/ready", self.address)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
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

    pub fn pid(&self) -> i32 {
        self.process.id().and_then(|pid| pid.try_into().ok()).expect("it lives")
    }

    /// SIGKILL: nobody gets to say good-bye.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("it lived");
    }

    /// SIGTERM; answers the exit code and how long the end took.
    pub async fn terminate(&mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM).expect("our own child");
        (self.ended().await, began.elapsed())
    }

    /// Waits for the end; answers the exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(DEADLINE, self.process.wait()).await.expect("it ends");
        ended.expect("our own child").code()
    }
}

/// Collects whole lines, so that what two streams say does not mix within one.
fn listen_to(stream: impl AsyncRead + Unpin + Send + 'static, said: Arc<Mutex<String>>) {
    tokio::spawn(async move {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
            said.lock().expect("whole lines").push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
        let _ = stream.read_to_end(&mut line).await;
    });
}
