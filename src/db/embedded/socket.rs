//! The folder of the Unix socket, the only way to Postgres.

use std::fs::{self, DirBuilder};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::account::Account;
use super::cluster::{DATABASE, ROLE};
use crate::random::Random;

/// Every folder is one Postgres alone, so there is nothing to tell apart by port.
pub(super) const PORT: u16 = 5432;
/// The longest path of a socket on every system: 104 bytes on macOS, with the zero at its end.
const LONGEST_PATH: usize = 103;

/// The file Postgres listens on.
pub(super) fn file(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}

/// The URL of the database behind the socket in this folder.
pub(super) fn url(folder: &Path, port: u16) -> String {
    let host = percent_encode(folder.as_os_str().as_bytes(), NON_ALPHANUMERIC);
    // Encryption asked for by PGSSLMODE is meant for other servers: a socket has none.
    format!("postgres://{ROLE}@localhost/{DATABASE}?host={host}&port={port}&sslmode=disable")
}

/// The folder of the socket: `run` in the data folder, or, when Postgres could not listen there,
/// a folder in the system's place for temporary files, which `run` is then a link to.
pub(super) struct SocketFolder {
    pub path: PathBuf,
    link: Option<PathBuf>,
}

impl SocketFolder {
    /// Make the folder anew. Whatever there is of it is left from a killed server, or came along
    /// when the data folder was moved.
    pub fn make(data_dir: &Path, account: &Account) -> Result<Self> {
        let run = data_dir.join("run");
        let failed = || format!("making the folder of the socket, {}", run.display());
        match fs::read_link(&run) {
            Ok(path) => drop(Self { path, link: Some(run.clone()) }),
            Err(_) if run.exists() => fs::remove_dir_all(&run).with_context(failed)?,
            Err(_) => {}
        }
        if fits(&run) {
            account.own_folder(&run)?;
            return Ok(Self { path: run, link: None });
        }
        let name = format!("bloq-accounts-{}", Random::default().uuid_v4());
        let path = std::env::temp_dir().join(name);
        // Everyone may write there, so a folder of this name that exists is somebody else's trap.
        DirBuilder::new().mode(0o700).create(&path).with_context(failed)?;
        let folder = Self { path, link: Some(run.clone()) };
        symlink(&folder.path, &run).with_context(failed)?;
        account.own_folder(&folder.path)?;
        Ok(folder)
    }
}

impl Drop for SocketFolder {
    fn drop(&mut self) {
        let Some(link) = &self.link else { return };
        // Neither is in the way of anything: at worst an empty folder stays behind.
        let _ = fs::remove_file(link);
        // The link in a copy of a data folder leads to the socket of the original, which may run.
        if UnixStream::connect(file(&self.path, PORT)).is_err() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Whether Postgres can listen in this folder: the path of a socket is short, and
/// `unix_socket_directories` is a list with quotes.
fn fits(folder: &Path) -> bool {
    file(folder, PORT).as_os_str().len() <= LONGEST_PATH
        && folder.to_str().is_some_and(|path| {
            !path.contains(|character: char| character.is_control() || ",\"'\\".contains(character))
        })
}
