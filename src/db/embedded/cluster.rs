//! What lies in the data folder, and how the database in it is made.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep, timeout};

use super::account::Account;
use super::binaries::Binaries;
use super::postmaster::end_leftover;
use super::{POLL, family};
use crate::random::Random;

/// The role which owns everything.
pub(super) const ROLE: &str = "bloq";
/// The database of the account service.
pub(super) const DATABASE: &str = "bloq_accounts";

/// A folder in the making is called this and a number which never comes again.
const UNFINISHED: &str = "postgres.unfinished-";
/// How long making a database may take on a slow disk.
const MADE_WITHIN: Duration = Duration::from_secs(120);
/// How long a process may take to be gone that was killed, on a slow disk.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// The folder of Postgres itself.
pub(super) fn pgdata(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres")
}

/// The log of Postgres.
pub(super) fn log_path(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres.log")
}

/// Whether this is nothing that a server needs: left by a command or by a restore that was interrupted, or what a file
/// system of its own begins with.
pub(super) fn is_left_over(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    ["server.lock", "run", "postgres.log", "master.key.new", "lost+found"].contains(&&*name)
        || name.starts_with(UNFINISHED)
}

/// The major version of PostgreSQL which made the folder, or none if there is no database yet.
pub(super) fn made_by(pgdata: &Path) -> Result<Option<u32>> {
    let path = pgdata.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(version) => {
            let major = version.trim().parse();
            Ok(Some(major.with_context(|| format!("{} holds {version:?}", path.display()))?))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Where a database is made. It gets its name when it is complete and on disk, so one that was interrupted is never
/// taken for a database.
pub(super) fn aside(data_dir: &Path) -> PathBuf {
    data_dir.join(format!("{UNFINISHED}{}", Random::default().uuid_v4()))
}

/// Make a new database in this folder.
pub(super) async fn make(folder: &Path, account: &Account, binaries: &Binaries) -> Result<()> {
    account.own_folder(folder)?;
    let initdb = binaries.folder.join("initdb");
    let making = account
        .command(&initdb)
        .args(["--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=reject"])
        .args(["--no-instructions", "--username", ROLE, "--pgdata"])
        .arg(folder)
        .kill_on_drop(true)
        .output();
    let made = timeout(MADE_WITHIN, making)
        .await
        .with_context(|| format!("{} takes too long", initdb.display()))?
        .with_context(|| format!("running {}", initdb.display()))?;
    if !made.status.success() {
        bail!("{} failed ({}):\n{}", initdb.display(), made.status, String::from_utf8_lossy(&made.stderr).trim_end());
    }
    Ok(())
}

/// Give a complete database its name.
pub(super) fn put_in_place(folder: &Path, data_dir: &Path) -> Result<()> {
    let pgdata = pgdata(data_dir);
    fs::rename(folder, &pgdata)
        .and_then(|()| File::open(data_dir)?.sync_all())
        .with_context(|| format!("putting the new database at {}, where nothing may be yet", pgdata.display()))
}

/// Remove what an interrupted start or restore left. Its initdb may still be writing, so each one works in a folder of
/// its own, and one which cannot be removed now is left for the next time. Its Postgres may still be about to begin or to end.
pub(super) async fn remove_unfinished(data_dir: &Path) -> Result<()> {
    let entries = fs::read_dir(data_dir).with_context(|| format!("reading the data folder {}", data_dir.display()))?;
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            continue;
        }
        end_leftover(&entry.path()).await?;
        // Whoever does not listen yet, or not any more, may still write there: nobody needs what that is.
        let began = Instant::now();
        while family::kill_orphans(&entry.path()) > 0 && began.elapsed() < KILLED_WITHIN {
            sleep(POLL).await;
        }
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(folder = %entry.path().display(), %error, "cannot remove an unfinished database");
        }
    }
    Ok(())
}
