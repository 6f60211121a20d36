//! The data folder and the private folders in it.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;

/// Makes the data folder, with its parents, if it is missing.
///
/// As root others may pass through it (0711), because the private Postgres runs as another user; as anybody else it is
/// closed (0700). What lies inside has modes of its own.
pub fn prepare(path: &Path) -> anyhow::Result<()> {
    make(path, if nix::unistd::geteuid().is_root() { 0o711 } else { 0o700 })
}

/// Makes a folder that only this user may enter.
pub fn private_folder(path: &Path) -> anyhow::Result<()> {
    make(path, 0o700)
}

fn make(path: &Path, mode: u32) -> anyhow::Result<()> {
    let context = || format!("cannot make the folder {}; name another one with --data-dir", path.display());
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(mode).create(path).with_context(context)?;
    // The mode above passes through the umask.
    std::fs::set_permissions(path, Permissions::from_mode(mode)).with_context(context)
}
