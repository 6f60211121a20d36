//! What lies in the data folder, whose it is, and what may be done with the folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use bloq_accounts::db::embedded::{Embedded, Holder, Reached, reach};
use nix::unistd::Uid;

use super::support::{Other, Place, ask, connect, postmaster, refusal, settings, tell, until};
use crate::harness::seed;

#[tokio::test]
async fn postgres_runs_as_it_was_told() {
    let place = Place::new();
    let embedded = place.start().await;
    for (question, answer) in [
        ("SHOW listen_addresses", ""),
        ("SHOW fsync", "on"),
        ("SHOW synchronous_commit", "on"),
        ("SHOW full_page_writes", "on"),
        ("SHOW max_connections", "12"),
        ("SHOW server_encoding", "UTF8"),
        ("SHOW lc_collate", "C"),
        ("SHOW unix_socket_permissions", "0700"),
        ("SELECT current_user::text", "bloq"),
        ("SELECT current_database()::text", "bloq_accounts"),
        ("SELECT count(*)::text FROM pg_hba_file_rules WHERE type = 'host' AND auth_method <> 'reject'", "0"),
        ("SELECT count(*)::text FROM pg_stat_file('base', true)", "1"),
    ] {
        assert_eq!(ask(embedded.url(), question).await, answer, "{question}");
    }
    embedded.stop().await;
}

#[tokio::test]
async fn nobody_else_gets_into_the_folder_and_what_is_ours_stays_ours() {
    let place = Place::new();
    fs::create_dir(place.data_dir()).unwrap();
    fs::write(place.data_dir().join("master.key"), "secret").unwrap();
    fs::set_permissions(place.data_dir().join("master.key"), Permissions::from_mode(0o600)).unwrap();
    let embedded = place.start().await;
    let look = |name: &str| {
        let found = fs::metadata(place.data_dir().join(name)).unwrap();
        (found.mode() & 0o7777, found.uid())
    };
    let we = Uid::effective().as_raw();
    let they = if we == 0 { nix::unistd::User::from_name("postgres").unwrap().unwrap().uid.as_raw() } else { we };
    assert_eq!(look(""), (if we == 0 { 0o711 } else { 0o700 }, we));
    assert_eq!(look("postgres"), (0o700, they));
    assert_eq!(look("run"), (0o700, they));
    assert_eq!(look("postgres.log"), (0o600, they));
    assert_eq!(look("server.lock"), (0o600, we));
    assert_eq!(look("master.key"), (0o600, we));
    embedded.stop().await;
}

#[tokio::test]
async fn postgres_keeps_nothing_of_root() {
    if !Uid::effective().is_root() {
        return;
    }
    let place = Place::filled();
    let embedded = place.start().await;
    let postmaster = place.postmaster().unwrap();
    let status = fs::read_to_string(format!("/proc/{postmaster}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(|id| id.parse::<u32>().unwrap()).collect::<Vec<_>>()
    };
    let user = nix::unistd::User::from_name("postgres").unwrap().unwrap();
    assert_eq!(field("Uid:"), [user.uid.as_raw(); 4]);
    assert_eq!(field("Gid:"), [user.gid.as_raw(); 4]);
    assert_eq!(field("Groups:"), [0_u32; 0]);
    let environment = fs::read(format!("/proc/{postmaster}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("CARGO"));
    embedded.stop().await;
}

#[tokio::test]
async fn a_folder_made_under_a_strict_umask_is_still_passed_through() {
    let place = Place::new();
    let data_dir = place.0.path().join("not/yet/there");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"umask 077; exec "$0" "$@""#]).arg(std::env::current_exe().unwrap());
    let other = Other::run(shell, &data_dir, "server");
    connect(&other.url).await.unwrap();
    other.stop();
}

#[tokio::test]
async fn root_is_told_which_folder_bars_the_way() {
    if !Uid::effective().is_root() {
        return;
    }
    let place = Place::new();
    let closed = place.0.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    let error = refusal(settings(closed.join("data"))).await;
    assert!(error.contains(&format!("because {} is closed", closed.display())), "{error}");
    assert!(error.contains("`postgres`") && error.contains("--data-dir"), "{error}");
}

#[tokio::test]
async fn a_folder_shared_by_all_users_is_refused_and_left_as_it_is() {
    let place = Place::new();
    fs::create_dir(place.data_dir()).unwrap();
    fs::set_permissions(place.data_dir(), Permissions::from_mode(0o1777)).unwrap();
    let error = refusal(place.settings()).await;
    assert!(error.contains("shared by all users"), "{error}");
    assert_eq!(fs::metadata(place.data_dir()).unwrap().mode() & 0o7777, 0o1777);
}

#[tokio::test]
async fn a_path_which_no_socket_fits_in_gets_its_socket_elsewhere() {
    for name in ["x".repeat(120), "a,b".into(), "a\"b'c".into(), " a b ".into(), "ä%20\\".into()] {
        let place = Place::new();
        let data_dir = place.0.path().join(&name);
        seed::fill(&data_dir);
        let embedded = Embedded::start(settings(data_dir.clone()), Holder::Server).await.unwrap();
        connect(embedded.url()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let elsewhere = fs::read_link(data_dir.join("run")).ok();
        assert_eq!(elsewhere.is_some(), name.len() > 100 || name.contains([',', '"', '\\']), "{name}");
        let reached = reach(settings(data_dir)).await.unwrap();
        assert!(matches!(reached, Reached::Running { .. }));
        assert_eq!(reached.url(), embedded.url());
        if let Some(folder) = &elsewhere {
            assert_eq!(fs::metadata(folder).unwrap().mode() & 0o777, 0o700);
        }
        embedded.stop().await;
        assert!(elsewhere.is_none_or(|folder| !folder.exists()));
    }
}

#[tokio::test]
async fn the_postgres_of_a_copied_folder_is_left_alone() {
    for name in ["short".to_owned(), "x".repeat(120)] {
        let place = Place::new();
        let original = place.0.path().join(&name);
        seed::fill(&original);
        let embedded = Embedded::start(settings(original.clone()), Holder::Server).await.unwrap();
        let copy = place.0.path().join("copy");
        let copied = Command::new("cp").arg("-a").args([&original, &copy]).status();
        assert!(copied.unwrap().success());
        let before = postmaster(&original).unwrap();
        let second = tokio::spawn(Embedded::start(settings(copy.clone()), Holder::Server));
        until("Postgres refuses to run beside its original", async || {
            fs::read_to_string(copy.join("postgres.log")).unwrap().contains("already exists")
        })
        .await;
        second.abort();
        assert!(second.await.is_err());
        connect(embedded.url()).await.unwrap();
        assert_eq!(postmaster(&original), Some(before));
        embedded.stop().await;
    }
}

#[tokio::test]
async fn a_folder_may_be_moved() {
    let place = Place::filled();
    let mut data_dir = place.data_dir();
    let first = place.start().await;
    tell(first.url(), "CREATE TABLE kept AS SELECT 'still here' AS what").await;
    first.stop().await;
    for name in ["x".repeat(120), "short".to_owned()] {
        let moved = place.0.path().join(name);
        fs::rename(&data_dir, &moved).unwrap();
        data_dir = moved;
        let embedded = Embedded::start(settings(data_dir.clone()), Holder::Server).await.unwrap();
        assert_eq!(ask(embedded.url(), "SELECT what FROM kept").await, "still here");
        embedded.stop().await;
    }
}

#[tokio::test]
async fn a_file_is_no_data_folder() {
    let place = Place::new();
    fs::write(place.data_dir(), "").unwrap();
    let error = refusal(place.settings()).await;
    assert!(error.contains("is a file"), "{error}");
}

#[tokio::test]
async fn a_folder_which_is_no_database_is_left_alone() {
    let place = Place::new();
    let postgres = place.data_dir().join("postgres");
    fs::create_dir_all(&postgres).unwrap();
    fs::write(postgres.join("holiday.jpg"), "").unwrap();
    if Uid::effective().is_root() {
        std::os::unix::fs::chown(&postgres, Some(101), None).unwrap();
    }
    let error = refusal(place.settings()).await;
    assert!(error.contains(postgres.to_str().unwrap()), "{error}");
    assert!(postgres.join("holiday.jpg").exists());
}

#[tokio::test]
async fn a_long_log_is_put_aside() {
    let place = Place::new();
    fs::create_dir(place.data_dir()).unwrap();
    fs::write(place.data_dir().join("postgres.log"), vec![b'x'; 11 * 1024 * 1024]).unwrap();
    let embedded = place.start().await;
    assert!(place.log().starts_with(|character: char| character.is_ascii_digit()));
    assert!(place.data_dir().join("postgres.log.1").exists());
    embedded.stop().await;
}

#[tokio::test]
async fn root_does_not_work_in_the_folder_of_another_user() {
    if !Uid::effective().is_root() {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.data_dir()).unwrap();
    std::os::unix::fs::chown(place.data_dir(), Some(65534), None).unwrap();
    let refused = refusal(place.settings()).await;
    assert!(refused.contains("belongs to another user (uid 65534)"), "{refused}");
    assert_eq!(fs::read_dir(place.data_dir()).unwrap().count(), 0, "nothing was made in it");
}
