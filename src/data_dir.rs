//! The data folder and the private folders in it.

use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;

/// Make the data folder if it is missing, close it to others, and return its absolute path.
pub fn prepare(data_dir: &Path) -> Result<PathBuf> {
    let failed = || format!("making the data folder {}", data_dir.display());
    // As root, the user who runs Postgres must get through it, but need not see what is in it.
    let mode = if Uid::effective().is_root() { 0o711 } else { 0o700 };
    let data_dir = std::path::absolute(data_dir).with_context(failed)?;
    let mut missing: Vec<&Path> = data_dir.ancestors().take_while(|path| !path.exists()).collect();
    missing.reverse();
    for folder in missing {
        match DirBuilder::new().mode(mode).create(folder) {
            // The mode again, because the umask may have taken from it.
            Ok(()) => fs::set_permissions(folder, Permissions::from_mode(mode)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
        .with_context(|| format!("making the folder {}", folder.display()))?;
    }
    let data_dir = data_dir.canonicalize().with_context(failed)?;
    let found = fs::metadata(&data_dir).with_context(failed)?;
    ensure!(found.is_dir(), "the data folder {} is a file", data_dir.display());
    ensure!(
        found.mode() & 0o1000 == 0,
        "{} is a folder shared by all users: choose a folder inside of it as --data-dir",
        data_dir.display()
    );
    // Whoever owns the folder decides what our writes in it lead to: as root, we would work for its owner with links.
    ensure!(
        found.uid() == Uid::effective().as_raw(),
        "the data folder {} belongs to another user (uid {}): run this as that user, or choose another --data-dir",
        data_dir.display(),
        found.uid()
    );
    // The path is a line of postmaster.pid, which commands read.
    ensure!(
        !data_dir.as_os_str().as_bytes().contains(&b'\n'),
        "the path of the data folder {data_dir:?} has a line break: choose another --data-dir"
    );
    if found.mode() & 0o777 != mode {
        fs::set_permissions(&data_dir, Permissions::from_mode(mode)).with_context(|| {
            format!("closing the data folder {} to others: it must be your own", data_dir.display())
        })?;
    }
    Ok(data_dir)
}

/// Make a folder that only this user may enter.
pub fn private_folder(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
        .with_context(|| format!("making the folder {}", path.display()))
}
