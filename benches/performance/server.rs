//! A server as a process of its own: ours, or the floor.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Client, RequestBuilder};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

/// Far beyond every goal.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running server, which is killed when this is dropped.
pub struct Server {
    process: Child,
    /// The floor serves until this ends.
    _stdin: Option<ChildStdin>,
    pub url: String,
    client: Client,
    /// From its start to the line that says where it listens: from then on it serves.
    pub ready_after: Duration,
}

impl Server {
    /// Starts a server and waits until it serves; its log goes into this file.
    pub async fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let began = Instant::now();
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(log)?).spawn();
        let mut process = process.context("starting a server")?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take().context("piped")?);
        let mut lines = BufReader::new(stdout).lines();
        let greeting = timeout(DEADLINE, lines.next_line()).await.context("a server that is never ready")??;
        let ready_after = began.elapsed();
        let url = greeting.as_deref().and_then(|line| line.split([' ', ',']).find(|word| word.starts_with("http://")));
        let Some(url) = url else { bail!("a server did not start: {}", std::fs::read_to_string(log)?.trim()) };
        Ok(Self { url: url.to_owned(), client: Client::new(), process, _stdin: stdin, ready_after })
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url))
    }

    /// Resident memory, bytes.
    pub fn resident(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process has a VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Stops it in order.
    pub async fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.pid()?), Signal::SIGTERM)?;
        timeout(DEADLINE, self.process.wait()).await.context("a server that never ends")??;
        Ok(())
    }

    fn pid(&self) -> Result<i32> {
        self.process.id().and_then(|pid| pid.try_into().ok()).context("the server has ended")
    }
}
