//! Which server binaries are taken, and what is said when there are none.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use bloq_accounts::db::embedded::Settings;
use bloq_accounts::db::embedded::binaries::Search;

use super::support::{Place, refusal};

/// A folder of binaries which say they are of this version.
fn fake(folder: &Path, version: &str) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    script(&folder.join("postgres"), &format!("echo 'postgres (PostgreSQL) {version}'"));
    script(&folder.join("initdb"), "exit 1");
    folder.to_path_buf()
}

fn script(path: &Path, body: &str) {
    // Written by another process: one forked here meanwhile would keep the file open for writing,
    // and such a file cannot be run.
    let written = Command::new("/bin/sh")
        .args(["-c", r##"printf '#!/bin/sh\n%s\n' "$1" >"$0" && chmod 755 "$0""##])
        .arg(path)
        .arg(body)
        .status();
    assert!(written.unwrap().success());
}

fn search(root: &Path) -> Search {
    Search { configured: None, path: OsString::new(), root: root.canonicalize().unwrap(), only_roots: false }
}

#[tokio::test]
async fn a_new_folder_takes_the_newest_binaries_and_an_existing_one_its_own() {
    let place = Place::new();
    let root = place.0.path();
    fake(&root.join("usr/lib/postgresql/13/bin"), "13.14");
    let fifteen = fake(&root.join("usr/lib/postgresql/15/bin"), "15.18 (Debian 15.18-0+deb12u1)");
    fake(&root.join("usr/pgsql-16/bin"), "16.1");
    let eighteen = fake(&root.join("opt/homebrew/opt/postgresql@18/bin"), "18beta2");
    fs::create_dir_all(root.join("usr/pgsql-19/bin")).unwrap();
    let search = search(root);
    assert_eq!(search.find(None).await.unwrap().folder, eighteen.canonicalize().unwrap());
    assert_eq!(search.find(Some(15)).await.unwrap().folder, fifteen.canonicalize().unwrap());
    assert_eq!(search.find(Some(13)).await.unwrap().major, 13);
}

#[tokio::test]
async fn a_link_in_path_leads_to_where_the_binaries_are() {
    let place = Place::new();
    let root = place.0.path();
    let real = fake(&root.join("somewhere/bin"), "17.4").canonicalize().unwrap();
    fs::create_dir(root.join("links")).unwrap();
    symlink(real.join("postgres"), root.join("links/postgres")).unwrap();
    let search = Search { path: root.join("links").into(), ..search(root) };
    assert_eq!(search.find(None).await.unwrap().folder, real);
}

#[tokio::test]
async fn a_missing_version_is_named_with_what_there_is_and_the_ways_to_upgrade() {
    let place = Place::new();
    fake(&place.0.path().join("usr/lib/postgresql/16/bin"), "16.1");
    let error = search(place.0.path()).find(Some(14)).await.unwrap_err().to_string();
    for words in ["PostgreSQL 14", "16 in ", "install", "pg_dump", "pg_upgrade"] {
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn without_binaries_there_are_three_ways_out() {
    let place = Place::new();
    let error = search(place.0.path()).find(None).await.unwrap_err().to_string();
    for words in [
        "apt install postgresql",
        "dnf install postgresql-server",
        "brew install postgresql@17",
        "database.postgres_bin",
        "--database-url",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    fake(&place.0.path().join("usr/lib/postgresql/11/bin"), "11.9");
    let error = search(place.0.path()).find(None).await.unwrap_err().to_string();
    assert!(error.contains("11 in ") && error.contains("--database-url"), "{error}");
}

#[tokio::test]
async fn a_wrong_configured_folder_is_named_by_its_key() {
    let place = Place::new();
    let bin = place.0.path().join("nothing");
    let error = refusal(Settings { postgres_bin: Some(bin.clone()), ..place.settings() }).await;
    assert!(error.contains("database.postgres_bin"), "{error}");
    assert!(error.contains(bin.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn what_initdb_complains_about_is_told() {
    let place = Place::new();
    let bin = fake(&place.0.path().join("bin"), "16.2");
    script(&bin.join("initdb"), "echo 'no space left on device' >&2; exit 3");
    let error = refusal(Settings { postgres_bin: Some(bin), ..place.settings() }).await;
    assert!(error.contains("no space left on device") && error.contains('3'), "{error}");
}

#[tokio::test]
async fn what_postgres_complains_about_is_told() {
    let place = Place::filled();
    place.start().await.stop().await;
    let configuration = place.data_dir().join("postgres/postgresql.conf");
    let text = fs::read_to_string(&configuration).unwrap();
    fs::write(&configuration, text + "\nwork_mem = 'plenty'\n").unwrap();
    let error = refusal(place.settings()).await;
    assert!(error.contains("invalid value for parameter \"work_mem\""), "{error}");
    assert!(error.contains("postgres.log"), "{error}");
}

#[tokio::test]
async fn root_runs_no_binaries_that_somebody_else_put_there() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let place = Place::new();
    let root = place.0.path();
    let ours = fake(&root.join("usr/lib/postgresql/15/bin"), "15.18").canonicalize().unwrap();
    let planted = fake(&root.join("home/linuxbrew/.linuxbrew/opt/postgresql@99/bin"), "99.1");
    std::os::unix::fs::chown(planted.join("postgres"), Some(65534), None).unwrap();
    let open = fake(&root.join("usr/local/bin"), "98.1");
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let search = Search { only_roots: true, ..search(root) };
    assert_eq!(search.find(None).await.unwrap().folder, ours);
}
