//! `admin backup FILE` and `admin restore FILE`, for the private Postgres.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use secrecy::ExposeSecret;
use tempfile::NamedTempFile;

use super::certs;
use crate::cli::progress::{Progress, size};
use crate::cli::{database, output, serve};
use crate::config::Config;
use crate::db;
use crate::db::embedded::{self, Archive, Settings, Tables};
use crate::sealing::MasterKey;
use crate::signing_keys;

#[derive(Args)]
pub struct Backup {
    /// The file to write
    file: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
pub struct Restore {
    /// A file that `admin backup` wrote; what is in it is run by Postgres, so take none from strangers
    file: PathBuf,
    /// The master key file that was kept beside it, to be put in place; needed unless server.master_key is configured or
    /// the data folder has the file already
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
}

/// Writes a backup: complete or not at all, for our own eyes, with the server running or not.
pub async fn backup(config: &Config, Backup { file, force }: Backup) -> anyhow::Result<()> {
    let settings = own(config, "pg_dump --format=custom")?;
    let folder = folder(&file)?;
    ensure!(force || file.symlink_metadata().is_err(), "{} exists: --force replaces it", file.display());
    let stop = serve::stop_on_signal(config)?;
    let cannot_write = || format!("cannot write in {}", folder.display());
    // Mode 0600. It is removed on every way out but a SIGKILL.
    let draft = tempfile::Builder::new().prefix(".bloq-accounts-backup-").tempfile_in(&folder);
    let draft = draft.with_context(cannot_write)?;

    let reached = embedded::reach(settings.clone()).await?;
    let mut progress = Progress::new("backing up", None);
    let dumped = tokio::select! {
        biased;
        () = stop.asked() => Err(anyhow!("interrupted: nothing was written")),
        dumped = embedded::dump(&settings, reached.url(), draft.as_file().try_clone()?, |byte| progress.at(byte)) => dumped,
    };
    drop(progress);
    reached.release().await;
    let archive = dumped?;
    // Better now than on the day it is needed.
    let tables = tables(&settings, &archive).await?;
    let length = archive.length()?;
    put_in_place(draft, &file, force)?;
    File::open(&folder).and_then(|folder| folder.sync_all()).with_context(cannot_write)?;
    output::note(format_args!("wrote {}, {}", file.display(), size(length)));
    tell_of_the_key(config, &tables);
    Ok(())
}

/// Without the key the backup opens no signing key and no queued mail, and it is in no backup.
fn tell_of_the_key(config: &Config, tables: &Tables) {
    let place = match config.server.master_key.expose_secret() {
        "" => MasterKey::file(&config.data_dir).display().to_string(),
        _ => "that is configured as server.master_key".to_owned(),
    };
    let opened = match MasterKey::at_hand(&config.server.master_key, &config.data_dir) {
        Ok(Some(key)) => signing_keys::check_backup(tables, &key),
        Ok(None) => Err(anyhow!("it is not there")),
        Err(error) => Err(error),
    };
    match opened {
        Ok(()) => output::note(format_args!("keep beside it, because it is not in it: the master key {place}")),
        Err(error) => output::note(format_args!(
            "warning: the master key {place} does not open it ({error:#}); keep beside it the one that the server runs \
             with (server.master_key)"
        )),
    }
}

/// Makes the database of a data folder that is empty, but perhaps for the key that opens the backup, and for certificates.
pub async fn restore(config: &Config, Restore { file, master_key }: Restore) -> anyhow::Result<()> {
    let settings = own(config, "pg_restore")?;
    let may_be_there = [MasterKey::file(&config.data_dir), certs::usual_folder(&config.data_dir)];
    embedded::check_empty(&config.data_dir, &may_be_there)?;
    let (key, key_file) = master_key_for(config, master_key)?;
    let archive = tokio::task::spawn_blocking(move || Archive::open(&file)).await??;
    let tables = tables(&settings, &archive).await?;
    db::check_backup(&tables)?;
    signing_keys::check_backup(&tables, &key).context(
        "this is not the master key that was kept beside the backup; name it with --master-key FILE, or set \
         server.master_key",
    )?;

    // From here on there is something to clean up.
    let stop = serve::stop_on_signal(config)?;
    let mut progress = Progress::new("restoring", Some(archive.length()?));
    let migrate = async |url: &str| {
        let pool = db::connect(url, 2).await?;
        let migrated = db::alone(&pool, async |connection| db::migrate(connection).await).await;
        pool.current().close().await;
        migrated
    };
    let put_key = || match &key_file {
        Some(key_file) => MasterKey::copy(key_file, &MasterKey::file(&config.data_dir)).map(drop),
        None => Ok(()),
    };
    let told = |byte| progress.at(byte);
    embedded::restore(settings, &archive, told, migrate, put_key, stop.asked()).await?;
    drop(progress);
    output::note(format_args!("restored into {}", config.data_dir.display()));
    Ok(())
}

/// The key to open the backup with, and the file it is to be copied from.
fn master_key_for(config: &Config, option: Option<PathBuf>) -> anyhow::Result<(MasterKey, Option<PathBuf>)> {
    let configured = &config.server.master_key;
    let usual = MasterKey::file(&config.data_dir);
    let Some(file) = option else {
        let key = MasterKey::at_hand(configured, &config.data_dir)?.with_context(|| {
            format!(
                "a master key is needed, the one that was kept beside the backup: name its file with --master-key, set \
                 server.master_key, or bring it as {}",
                usual.display()
            )
        })?;
        return Ok((key, None));
    };
    ensure!(configured.expose_secret().is_empty(), "--master-key is not needed when server.master_key is configured");
    ensure!(usual.symlink_metadata().is_err(), "{} is there already: leave --master-key out", usual.display());
    let key = MasterKey::read(&file)?.with_context(|| format!("there is no {}", file.display()))?;
    Ok((key, Some(file)))
}

/// The tables that tell whether a backup can be used.
async fn tables(settings: &Settings, archive: &Archive) -> anyhow::Result<Tables> {
    embedded::tables(settings, archive, &[db::migrations_table(), signing_keys::TABLE]).await
}

/// The settings of the private Postgres; an external one is refused.
fn own(config: &Config, instead: &str) -> anyhow::Result<Settings> {
    ensure!(
        config.database_url().is_none(),
        "the database is an external one (database.url): use `{instead}`, or what its provider has for it"
    );
    Ok(database::embedded_settings(config))
}

fn folder(file: &Path) -> anyhow::Result<PathBuf> {
    ensure!(file.file_name().is_some() && file.as_os_str() != "-", "the name of a file is needed");
    let file = std::path::absolute(file)?;
    Ok(file.parent().context("a file is in a folder")?.to_path_buf())
}

/// Gives a file that is whole its name; another one of that name stays, unless `force` says otherwise.
pub fn put_in_place(draft: NamedTempFile, file: &Path, force: bool) -> anyhow::Result<()> {
    let placed = if force { draft.persist(file) } else { draft.persist_noclobber(file) };
    match placed {
        Ok(_) => Ok(()),
        Err(failed) if failed.error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} exists: --force replaces it", file.display())
        }
        Err(failed) => Err(failed.error).with_context(|| format!("cannot write {}", file.display())),
    }
}
