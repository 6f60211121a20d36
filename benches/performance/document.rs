//! `docs/performance.md`: a run writes its own part of it, between two marks, and leaves the words of people alone.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use bloq_accounts::clock::Clock;
use sqlx::{Connection, PgConnection};

use crate::report::{Row, Table};
use crate::rows::Pace;
use crate::world::World;

/// The document.
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");

/// The commit that is measured. `-dirty` behind it says that there are changes in no commit, other than of the document itself,
/// or that nobody knows.
pub fn source() -> String {
    let mut git = Command::new("git");
    git.args(["status", "--porcelain", "--", ".", ":!docs/performance.md"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let is_clean = git.output().is_ok_and(|told| told.status.success() && told.stdout.is_empty());
    format!("{}{}", env!("BUILT_FROM_COMMIT"), if is_clean { "" } else { "-dirty" })
}

/// What ran where, and what came of it.
pub async fn describe(world: &World, source: &str, pace: Pace, rows: &[Row]) -> Result<String> {
    let mut connection = PgConnection::connect(world.url()).await?;
    let postgres: String = sqlx::query_scalar("show server_version").fetch_one(&mut connection).await?;
    let Pace { rounds, seconds } = pace;
    let (date, version) = (Clock::System.now().format("%Y-%m-%d"), env!("CARGO_PKG_VERSION"));
    let mut text = format!("{date}, version {version} ({source}), {rounds} rounds, {seconds} s a load. ");
    writeln!(text, "{} × {}, {}, PostgreSQL {postgres}.\n", cores(), processor(), kernel())?;
    write!(text, "{}", Table(rows))?;
    Ok(text)
}

/// Puts `text` between the marks of this part.
pub fn write(part: &str, text: &str) -> Result<()> {
    let document = std::fs::read_to_string(PATH).context("docs/performance.md")?;
    let replaced =
        replace(&document, part, text).with_context(|| format!("docs/performance.md has no part {part:?}"))?;
    Ok(std::fs::write(Path::new(PATH), replaced)?)
}

fn replace(document: &str, part: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- begin: {part} -->\n"), format!("<!-- end: {part} -->\n"));
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{text}{end}{after}"))
}

/// How many threads can run at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn processor() -> String {
    let name = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(": ")?.1.to_owned())
    });
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {}", std::env::consts::OS, release.trim())
}
