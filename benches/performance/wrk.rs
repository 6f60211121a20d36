//! The load: `wrk`, a Debian package, with one thread.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

const SCRIPT: &str = include_str!("wrk.lua");

/// What one run of wrk showed.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Answers a second.
    pub rate: f64,
    pub p99: Duration,
}

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
pub struct Request(String);

impl Request {
    pub fn get(path: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\nHost: bench\r\n"))
    }

    pub fn post(path: &str) -> Self {
        Self(format!("POST {path} HTTP/1.1\r\nHost: bench\r\n"))
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        Self(format!("{}{name}: {value}\r\n", self.0))
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Ends it with a JSON body; without one, [`Target::new`] ends it.
    pub fn json(self, body: &serde_json::Value) -> Self {
        let body = body.to_string();
        let head = self.header("Content-Type", "application/json").header("Content-Length", &body.len().to_string());
        Self(format!("{}\r\n{body}", head.0))
    }

    fn ended(self) -> String {
        if self.0.contains("\r\n\r\n") { self.0 } else { format!("{}\r\n", self.0) }
    }
}

/// A server, and what it is asked in turn.
pub struct Target<'a> {
    url: &'a str,
    script: PathBuf,
}

impl<'a> Target<'a> {
    /// Asks once what it will be asked: wrk takes a redirect for a good answer.
    pub async fn new(url: &'a str, requests: Vec<Request>, script: &Path) -> Result<Self> {
        let requests: Vec<String> = requests.into_iter().map(Request::ended).collect();
        let first = requests.first().context("something to ask")?;
        let address = url.strip_prefix("http://").context("an http URL")?;
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(first.as_bytes()).await?;
        let mut answer = [0; 12];
        connection.read_exact(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        ensure!(answer.starts_with("HTTP/1.1 2"), "{answer} to {}", first.lines().next().unwrap_or_default());

        let mut text = String::from("requests = {\n");
        for request in requests {
            let quoted = request.replace('\\', "\\\\").replace('"', "\\\"");
            writeln!(text, "  \"{}\",", quoted.replace('\r', "\\r").replace('\n', "\\n"))?;
        }
        writeln!(text, "}}\n{SCRIPT}")?;
        std::fs::write(script, text)?;
        Ok(Self { url, script: script.to_owned() })
    }

    /// Drives it with this many connections for a while. Every answer must be a good one.
    pub async fn drive(&self, connections: u32, seconds: u32) -> Result<Load> {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--timeout", "10s", "-s"]);
        let output = wrk.arg(&self.script).arg(self.url).stdin(Stdio::null()).kill_on_drop(true).output().await?;
        let said = String::from_utf8_lossy(&output.stdout);
        let figures = said.lines().find_map(|line| line.strip_prefix("figures: "));
        let figures = figures.with_context(|| format!("{said}{}", String::from_utf8_lossy(&output.stderr)))?;
        let figures: Vec<u64> = figures.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [requests, micros, refused, broken, p99] = figures[..] else { bail!("wrk said {figures:?}") };
        ensure!(
            requests > 0 && refused == 0 && broken == 0,
            "of {requests} requests {refused} were refused, {broken} broke off"
        );
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let rate = requests as f64 / (micros as f64 / 1e6);
        Ok(Load { rate, p99: Duration::from_micros(p99) })
    }
}

/// Whether wrk is there.
pub async fn check() -> Result<()> {
    // It has no command that succeeds without a server: its version ends with 1.
    let found = Command::new("wrk").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    found
        .map(drop)
        .context("wrk is needed to make the load: apt-get install wrk (Debian, Ubuntu), brew install wrk (macOS)")
}
