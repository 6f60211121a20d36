//! Backups of the private Postgres, by the programs that PostgreSQL has for it.

use std::fs::{self, File};
use std::io::{ErrorKind, Seek};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, Command};

use super::archive::{Archive, Tables};
use super::cluster;
use super::launch::{Launch, Tools};
use super::lock::Holder;
use super::{Embedded, Settings, take};
use crate::data_dir;

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(200);
/// Bytes of a program's complaints that are shown.
const LONGEST_COMPLAINT: u64 = 4096;
/// Bytes of small tables that are read.
const LARGEST_TABLES: u64 = 4 * 1024 * 1024;

/// Write the database behind `url` into `file`: one consistent state of it, while others go on. `progress` is told the
/// bytes written so far.
pub async fn dump(settings: &Settings, url: &str, file: File, progress: impl FnMut(u64)) -> Result<Archive> {
    let tools = Tools::find(settings).await?;
    let mut dumping = tools.program("pg_dump")?;
    connected(&mut dumping, url)?
        .args(["--format=custom", "--no-owner", "--no-privileges", "--no-password", "--lock-wait-timeout=60s"])
        .stdout(file.try_clone()?);
    run(dumping, "pg_dump", &file, progress).await?;
    tokio::task::spawn_blocking(|| Archive::seal(file)).await?
}

/// Read these small tables of a backup. No database is needed for it.
pub async fn tables(settings: &Settings, archive: &Archive, names: &[&str]) -> Result<Tables> {
    let mut reading = Tools::find(settings).await?.program("pg_restore")?;
    reading.args(["--data-only", "--file=-"]).args(names.iter().map(|name| format!("--table={name}")));
    let mut child = reading
        .stdin(archive.reader()?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting pg_restore")?;
    let (stdout, stderr) = (child.stdout.take().context("a pipe")?, child.stderr.take().context("a pipe")?);
    let text = async move {
        let mut text = String::new();
        // A closed pipe ends a program that has more to say.
        stdout.take(LARGEST_TABLES).read_to_string(&mut text).await.map(|_| text)
    };
    let (text, complaint) = tokio::try_join!(text, complaint(stderr)).context("reading the backup")?;
    let status = child.wait().await?;
    ensure!(status.success(), "the backup cannot be read: pg_restore failed ({status}):\n{complaint}");
    Ok(Tables(text))
}

/// Make the database of a data folder that has none from a backup. It is built aside and gets its name when it is complete
/// and on disk; until then there is nothing that a server would start on.
///
/// `finish` brings the new database up to date, `last` is done just before it gets its name, and `interrupted` ends it all.
/// `progress` is told the bytes read so far.
pub async fn restore(
    mut settings: Settings,
    archive: &Archive,
    progress: impl FnMut(u64),
    finish: impl AsyncFnOnce(&str) -> Result<()>,
    last: impl FnOnce() -> Result<()>,
    interrupted: impl Future<Output = ()>,
) -> Result<()> {
    settings.data_dir = data_dir::prepare(&settings.data_dir)?;
    let data_dir = settings.data_dir.clone();
    let _lock = take(&data_dir, Holder::Command).await?;
    ensure!(cluster::made_by(&cluster::pgdata(&data_dir))?.is_none(), "a server made a database there meanwhile");
    let aside = cluster::aside(&data_dir);
    let mut running = None;
    let built = tokio::select! {
        biased;
        () = interrupted => Err(anyhow!("interrupted")),
        built = build(&settings, aside.clone(), archive, progress, finish, &mut running) => built,
    };
    if let Some(embedded) = running {
        embedded.stop().await;
    }
    let placed = built.and_then(|()| last()).and_then(|()| cluster::put_in_place(&aside, &data_dir));
    if placed.is_err() {
        cluster::remove_unfinished(&data_dir).await?;
    }
    placed.context("nothing was restored")
}

/// Fail when there is anything in the folder but these files, and what a command or an interrupted restore leaves.
pub fn check_empty(data_dir: &Path, but_for: &[PathBuf]) -> Result<()> {
    let entries = match fs::read_dir(data_dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("reading the data folder {}", data_dir.display()))?,
    };
    for entry in entries {
        let entry = entry?;
        ensure!(
            but_for.contains(&entry.path()) || cluster::is_left_over(&entry.file_name()),
            "{} is there already, and a restore replaces nothing: choose another --data-dir, or move {} away and begin \
             with an empty folder",
            entry.path().display(),
            data_dir.display()
        );
    }
    Ok(())
}

async fn build(
    settings: &Settings,
    aside: PathBuf,
    archive: &Archive,
    progress: impl FnMut(u64),
    finish: impl AsyncFnOnce(&str) -> Result<()>,
    running: &mut Option<Embedded>,
) -> Result<()> {
    let tools = Tools::find(settings).await?;
    let mut filling = tools.program("pg_restore")?;
    let launch = Launch::aside(settings, aside).await?;
    let embedded = running.insert(Embedded::run(launch, ()).await?);
    let file = archive.reader()?;
    connected(&mut filling, embedded.url())?
        .args(["--exit-on-error", "--no-owner", "--no-privileges", "--no-password"])
        .arg(format!("--dbname={}", cluster::DATABASE))
        .stdin(file.try_clone()?)
        .stdout(Stdio::null());
    run(filling, "pg_restore", &file, progress).await?;
    finish(embedded.url()).await?;
    // They may take their time.
    let options = PgConnectOptions::from_str(embedded.url())?.disable_statement_logging();
    let mut connection = PgConnection::connect_with(&options).await?;
    // So that the first queries are planned well, and the end does not have to wait for the disk.
    for statement in ["analyze", "checkpoint"] {
        sqlx::query(statement).execute(&mut connection).await.context("completing the restored database")?;
    }
    Ok(connection.close().await?)
}

/// Lets a program know the database by its environment, which the process list does not show.
fn connected<'a>(command: &'a mut Command, url: &str) -> Result<&'a mut Command> {
    let options = PgConnectOptions::from_str(url)?;
    let folder = options.get_socket().context("the private Postgres listens on a socket")?;
    Ok(command
        .env("PGHOST", folder)
        .env("PGPORT", options.get_port().to_string())
        .env("PGUSER", options.get_username())
        .env("PGDATABASE", options.get_database().unwrap_or(cluster::DATABASE))
        .env("PGSSLMODE", "disable"))
}

/// Run a program to its end. It shares the position in `file`.
async fn run(mut command: Command, name: &str, file: &File, mut progress: impl FnMut(u64)) -> Result<()> {
    let mut child = command.stderr(Stdio::piped()).spawn().with_context(|| format!("starting {name}"))?;
    let stderr = child.stderr.take().context("a pipe")?;
    let ended = async {
        let complaint = complaint(stderr).await?;
        anyhow::Ok((child.wait().await?, complaint))
    };
    let mut ended = std::pin::pin!(ended);
    let (status, complaint) = loop {
        tokio::select! {
            ended = &mut ended => break ended?,
            () = tokio::time::sleep(TOLD_EVERY) => progress((&*file).stream_position()?),
        }
    };
    ensure!(status.success(), "{name} failed ({status}):\n{complaint}");
    Ok(())
}

/// The beginning of what a program has to say, all of which is taken from it.
async fn complaint(mut stderr: ChildStderr) -> std::io::Result<String> {
    let mut complaint = Vec::new();
    (&mut stderr).take(LONGEST_COMPLAINT).read_to_end(&mut complaint).await?;
    tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&complaint).trim_end().to_owned())
}
