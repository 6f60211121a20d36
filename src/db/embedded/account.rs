//! The system user who runs Postgres.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, fchown};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use nix::unistd::{Uid, User};
use tokio::process::Command;

/// Prints the first of the folders it is given which bars the way.
const FIRST_BARRED: &str = r#"for folder do [ -x "$folder" ] || { printf %s "$folder"; exit 1; }; done"#;

/// Who runs Postgres: ourselves, or someone else because we are root, which Postgres refuses.
#[derive(Debug)]
pub(super) struct Account(Option<Other>);

#[derive(Debug)]
struct Other {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// Choose who runs the Postgres of this folder, which may not exist yet.
    pub fn choose(pgdata: &Path) -> Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self(None));
        }
        // Postgres runs a folder only for its owner, even when `postgres` was installed since.
        if let Ok(folder) = fs::metadata(pgdata)
            && folder.uid() != 0
        {
            let name = User::from_uid(Uid::from_raw(folder.uid()))?.map(|user| user.name);
            return Ok(Self(Some(Other {
                name: name.unwrap_or_else(|| folder.uid().to_string()),
                uid: folder.uid(),
                gid: folder.gid(),
            })));
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) = User::from_name(name).context("looking up a system user")? {
                let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
                return Ok(Self(Some(Other { name: user.name, uid, gid })));
            }
        }
        bail!(
            "Postgres refuses to run as root and this system has neither a user `postgres` nor \
             `nobody`: make one of them, or run this program as an ordinary user"
        )
    }

    /// A command run by this user. Of our environment it knows only where programs are.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()))
            // Messages we look for in the log are English, and times do not depend on the host.
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            // Ours may be closed to this user.
            .current_dir("/")
            .stdin(Stdio::null());
        if let Some(other) = &self.0 {
            // With a uid given and no groups, the standard library clears root's own groups.
            command.uid(other.uid).gid(other.gid);
        }
        command
    }

    /// Make the folder if it is missing and let this user, and nobody else, into it.
    pub fn own_folder(&self, path: &Path) -> Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
            .and_then(|()| match &self.0 {
                Some(other) => chown(path, Some(other.uid), Some(other.gid)),
                None => Ok(()),
            })
            .with_context(|| format!("making the folder {}", path.display()))
    }

    /// Let this user have the file.
    pub fn own_file(&self, file: &File) -> std::io::Result<()> {
        match &self.0 {
            Some(other) => fchown(file, Some(other.uid), Some(other.gid)),
            None => Ok(()),
        }
    }

    /// Fail with the folder which bars the way when this user cannot get into `folder`.
    pub async fn check_reach(&self, folder: &Path) -> Result<()> {
        let Some(other) = &self.0 else { return Ok(()) };
        let mut way: Vec<&Path> = folder.ancestors().collect();
        way.reverse();
        // The user itself tries: modes alone do not tell of access lists and the like.
        let tried =
            self.command("/bin/sh").args(["-c", FIRST_BARRED, "sh"]).args(way).output().await.with_context(|| {
                format!(
                    "running /bin/sh as the user `{}`, as root may not run Postgres: if root is \
                     not allowed this here, run this program as an ordinary user",
                    other.name
                )
            })?;
        if tried.status.success() {
            return Ok(());
        }
        bail!(
            "as root, Postgres runs as the user `{}`, who cannot reach {} because {} is closed to \
             others: choose a place outside of it (--data-dir for the data folder, \
             database.postgres_bin for the server binaries), or run this program as an ordinary \
             user",
            other.name,
            folder.display(),
            String::from_utf8_lossy(&tried.stdout),
        )
    }
}
