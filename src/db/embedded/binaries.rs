//! Where this system keeps the server binaries of PostgreSQL.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;
use tokio::process::Command;
use tokio::time::timeout;

/// The oldest version a new folder is made with.
const OLDEST: u32 = 15;

/// Where packages put the binaries; a `*` stands for any part of one name.
const USUAL_FOLDERS: &[&str] = &[
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "opt/homebrew/opt/postgresql/bin",
    "usr/local/opt/postgresql@*/bin",
    "usr/local/opt/postgresql/bin",
    "home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "home/linuxbrew/.linuxbrew/opt/postgresql/bin",
    "Library/PostgreSQL/*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
    "opt/local/lib/postgresql*/bin",
    "usr/local/pgsql/bin",
    "usr/local/bin",
    "usr/bin",
    "usr/libexec/postgresql*",
    "usr/lib*/postgresql*/bin",
];

/// A folder of server binaries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The folder which holds `postgres` and `initdb`.
    pub folder: PathBuf,
    /// The major version.
    pub major: u32,
}

/// Where server binaries are looked for.
#[derive(Debug, Clone)]
pub struct Search {
    /// The one folder to take, when it is configured.
    pub configured: Option<PathBuf>,
    /// The value of `PATH`.
    pub path: OsString,
    /// The root of the file system.
    pub root: PathBuf,
    /// Pass over folders that somebody else than root could have put there: what is found is run.
    pub only_roots: bool,
}

impl Search {
    /// Look through this system.
    pub fn system(configured: Option<PathBuf>) -> Self {
        Self {
            configured,
            path: std::env::var_os("PATH").unwrap_or_default(),
            root: PathBuf::from("/"),
            only_roots: Uid::effective().is_root(),
        }
    }

    /// The binaries for a folder made by `existing`, or for a new one the newest there are.
    pub async fn find(&self, existing: Option<u32>) -> Result<Binaries> {
        let found = self.all().await?;
        let fitting = match existing {
            Some(major) => found.iter().find(|binaries| binaries.major == major),
            None => found
                .iter()
                .filter(|binaries| binaries.major >= OLDEST)
                // Of two folders with the same version the first one found is the one `PATH` names.
                .rev()
                .max_by_key(|binaries| binaries.major),
        };
        match (fitting, existing) {
            (Some(binaries), _) => Ok(binaries.clone()),
            (None, Some(major)) => bail!(missing_version(major, &found)),
            (None, None) => bail!(nothing_fits(&found)),
        }
    }

    /// Every folder of server binaries, each one once.
    async fn all(&self) -> Result<Vec<Binaries>> {
        if let Some(folder) = &self.configured {
            let wrong = || {
                format!(
                    "database.postgres_bin is {}, which is no folder of PostgreSQL server \
                     binaries: name the folder which holds both `postgres` and `initdb`, such as \
                     /usr/lib/postgresql/17/bin",
                    folder.display()
                )
            };
            let folder = holding_folder(folder).with_context(wrong)?;
            return Ok(vec![Binaries::at(folder).await.with_context(wrong)?]);
        }
        let usual = USUAL_FOLDERS.iter().flat_map(|pattern| expand(&self.root, pattern));
        let mut folders: Vec<PathBuf> = Vec::new();
        for folder in std::env::split_paths(&self.path).chain(usual) {
            if let Some(folder) = holding_folder(&folder)
                && !folders.contains(&folder)
            {
                if self.only_roots && !is_roots(&folder) {
                    tracing::warn!(folder = %folder.display(), "passed over: others than root can write there");
                    continue;
                }
                folders.push(folder);
            }
        }
        let mut found = Vec::new();
        for folder in folders {
            match Binaries::at(folder).await {
                Ok(binaries) => found.push(binaries),
                Err(error) => tracing::debug!("not usable: {error:#}"),
            }
        }
        Ok(found)
    }
}

impl Binaries {
    /// Ask the `postgres` in this folder for its version.
    async fn at(folder: PathBuf) -> Result<Self> {
        let program = folder.join("postgres");
        let asking = Command::new(&program).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
        let answer = timeout(Duration::from_secs(5), asking)
            .await
            .map_err(anyhow::Error::from)
            .and_then(|output| Ok(output?.stdout))
            .with_context(|| format!("asking {} for its version", program.display()))?;
        let answer = String::from_utf8_lossy(&answer);
        let major =
            major_version(&answer).with_context(|| format!("{} says its version is {answer:?}", program.display()))?;
        Ok(Self { folder, major })
    }
}

impl Binaries {
    /// A client program such as `pg_dump`, of the same version, from the same folder.
    pub fn client(&self, name: &str) -> Result<PathBuf> {
        let (program, major) = (self.folder.join(name), self.major);
        if !program.is_file() {
            bail!(
                "there is no {name} in {}: install the client programs of PostgreSQL {major} (Debian, Ubuntu: `apt \
                 install postgresql-client-{major}`; Fedora: `dnf install postgresql`)",
                self.folder.display()
            );
        }
        Ok(program)
    }
}

/// The major version in a line such as `postgres (PostgreSQL) 17beta1`.
fn major_version(line: &str) -> Option<u32> {
    let version = line.strip_prefix("postgres (PostgreSQL) ")?;
    version.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// The folder where the binaries really are. A link to `postgres` alone, in a folder of `PATH`,
/// leads to where `initdb` and the shared files are.
fn holding_folder(folder: &Path) -> Option<PathBuf> {
    let folder = folder.join("postgres").canonicalize().ok()?.parent()?.to_path_buf();
    (folder.join("postgres").is_file() && folder.join("initdb").is_file()).then_some(folder)
}

/// Whether only root can have put these binaries there, or could replace them. (Of a folder with the sticky bit, such as
/// /tmp, others may not take what is not theirs.)
fn is_roots(folder: &Path) -> bool {
    let binaries = ["postgres", "initdb"].map(|name| folder.join(name));
    binaries.iter().map(PathBuf::as_path).chain(folder.ancestors()).all(|path| {
        fs::metadata(path).is_ok_and(|found| {
            let is_closed = found.mode() & 0o022 == 0 || (found.is_dir() && found.mode() & 0o1000 != 0);
            found.uid() == 0 && is_closed
        })
    })
}

/// The folders which match a pattern of [`USUAL_FOLDERS`].
fn expand(root: &Path, pattern: &str) -> Vec<PathBuf> {
    pattern.split('/').fold(vec![root.to_path_buf()], |folders, part| match part.split_once('*') {
        None => folders.iter().map(|folder| folder.join(part)).collect(),
        Some((start, end)) => folders
            .iter()
            .filter_map(|folder| fs::read_dir(folder).ok())
            .flat_map(|entries| entries.flatten())
            .filter(|entry| matches(&entry.file_name(), start, end))
            .map(|entry| entry.path())
            .collect(),
    })
}

fn matches(name: &OsStr, start: &str, end: &str) -> bool {
    name.to_str().and_then(|name| name.strip_prefix(start)).is_some_and(|rest| rest.ends_with(end))
}

fn missing_version(major: u32, found: &[Binaries]) -> String {
    format!(
        "the database was made by PostgreSQL {major}, whose server binaries are not on this \
         system (found: {}). Either install PostgreSQL {major} beside them, which changes nothing \
         else; or, to move to another version, have both versions in reach and dump the database \
         with the old one (pg_dump) into a new data folder of the new one, or convert the folder \
         with pg_upgrade. If the binaries are at an unusual place, set database.postgres_bin",
        list(found)
    )
}

fn nothing_fits(found: &[Binaries]) -> String {
    format!(
        "no PostgreSQL server of version {OLDEST} or newer on this system (found: {}). Either \
         install it (Debian, Ubuntu: `apt install postgresql`; Fedora: `dnf install \
         postgresql-server`; macOS: `brew install postgresql@17`); or name the folder of its \
         server binaries in database.postgres_bin; or use a database which runs elsewhere: \
         --database-url",
        list(found)
    )
}

fn list(found: &[Binaries]) -> String {
    if found.is_empty() {
        return "none".to_owned();
    }
    let each = found.iter().map(|one| format!("{} in {}", one.major, one.folder.display()));
    each.collect::<Vec<_>>().join(", ")
}
