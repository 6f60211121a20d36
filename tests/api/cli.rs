//! The command line as an operator types it: what is printed where, and what the exit code says.

mod addresses;
mod admin;
mod certs;
mod configuration;
mod doubts;
mod events;
mod mail;
mod users;

use serde_json::Value;

use crate::harness::database::Database;
use crate::harness::program::{Place, finish};

#[tokio::test]
async fn help_reads_like_a_manual_page() {
    let help = Place::new().run(&["--help"]).await.expect(0);
    assert_eq!(help.stderr, "");
    for word in [
        "serve",
        "migrate",
        "admin",
        "openapi",
        "config",
        "--config",
        "--database-url",
        "--data-dir",
        "DATABASE_URL",
        "BLOQ_ACCOUNTS_",
        "127.0.0.1:4000",
        "Examples:",
        "Exit status:",
    ] {
        assert!(help.stdout.contains(word), "{word} is missing: {}", help.stdout);
    }
    let longest = help.stdout.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "{longest:?}");
}

#[tokio::test]
async fn every_command_has_a_help_with_the_global_options() {
    let place = Place::new();
    for command in [
        &["serve", "--help"][..],
        &["migrate", "--help"],
        &["admin", "user", "create", "--help"],
        &["admin", "user", "set-level", "--help"],
        &["admin", "user", "list", "--help"],
        &["admin", "user", "show", "--help"],
        &["admin", "user", "block", "--help"],
        &["admin", "user", "reset", "--help"],
        &["admin", "user", "delete", "--help"],
        &["admin", "mail", "list", "--help"],
        &["admin", "backup", "--help"],
        &["admin", "certs", "create", "--help"],
        &["admin", "restore", "--help"],
        &["admin", "events", "prune", "--help"],
        &["admin", "mail", "retry", "--help"],
        &["openapi", "--help"],
        &["config", "--help"],
    ] {
        let help = place.run(command).await.expect(0);
        assert!(help.stdout.contains("--data-dir") && help.stdout.contains("--database-url"), "{command:?}: {help:?}");
    }
}

#[tokio::test]
async fn the_version_names_version_and_commit() {
    let version = Place::new().run(&["--version"]).await.expect(0);
    let rest = version.stdout.trim_end().strip_prefix(concat!("bloq-accounts ", env!("CARGO_PKG_VERSION"), " ("));
    let commit = rest.and_then(|rest| rest.strip_suffix(')')).unwrap_or_else(|| panic!("{version:?}"));
    let is_commit = commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_commit || commit == "unknown", "{commit}");
}

#[tokio::test]
async fn the_document_is_printed_without_a_database() {
    let place = Place::new();
    let printed = place.run(&["openapi"]).await.expect(0);
    assert_eq!(printed.stderr, "");
    let document: Value = serde_json::from_str(&printed.stdout).expect("JSON");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    assert!(document["paths"]["/users/me/events"]["get"].is_object());
    assert!(!place.data_dir().exists(), "nothing is made on the way");
}

#[tokio::test]
async fn wrong_usage_is_exit_code_two() {
    let place = Place::new();
    for arguments in
        [&["sevre"][..], &["--databse-url", "x"], &["admin", "user", "create"], &["serve", "--listen", "x"]]
    {
        let done = place.run(arguments).await.expect(2);
        assert_eq!(done.stdout, "", "{arguments:?}");
        assert!(done.stderr.contains("--help"), "{arguments:?}: {}", done.stderr);
    }
}

#[tokio::test]
async fn a_check_fails_until_the_database_is_migrated() {
    let (place, database) = (Place::new(), Database::empty().await);
    let url = database.url.as_str();
    let check = place.run(&["migrate", "--check", "--database-url", url]).await.expect(1);
    assert!(check.stdout.contains("not up to date"), "{check:?}");
    place.run(&["migrate", "--check", "--database-url", url]).await.expect(1);
    place.run(&["migrate", "--database-url", url]).await.expect(0);
    place.run(&["migrate", "--check", "--database-url", url]).await.expect(0);
    place.run(&["migrate", "--database-url", url]).await.expect(0);
}

#[tokio::test]
async fn global_options_count_before_and_after_the_command() {
    let (place, database) = (Place::new(), Database::empty().await);
    let (url, folder) = (database.url.as_str(), place.path().join("elsewhere"));
    let folder = folder.to_str().expect("text");
    place.run(&["--database-url", url, "--data-dir", folder, "migrate"]).await.expect(0);
    place.run(&["migrate", "--check", "--data-dir", folder, "--database-url", url]).await.expect(0);
    place.run(&["--data-dir", folder, "migrate", "--database-url", url, "--check"]).await.expect(0);
    let listed = place.run(&["admin", "--database-url", url, "user", "list", "--data-dir", folder]).await.expect(0);
    assert!(listed.stdout.starts_with("ID "), "{listed:?}");
    assert!(!place.data_dir().exists(), "the folder of the environment was overruled");
}

#[tokio::test]
async fn the_database_may_come_from_database_url() {
    let (place, database) = (Place::new(), Database::empty().await);
    let mut migrate = place.command(&["migrate"]);
    migrate.env("DATABASE_URL", &database.url);
    finish(migrate).await.expect(0);
    assert!(!place.data_dir().join("postgres").exists(), "no private Postgres was made");

    // The command line counts more.
    let mut elsewhere = place.command(&["migrate", "--check", "--database-url", &database.url]);
    elsewhere.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nowhere");
    finish(elsewhere).await.expect(0);
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_without_its_password() {
    let url = "postgres://ada:TopSecret@127.0.0.1:1/accounts";
    let done = Place::new().run(&["migrate", "--database-url", url]).await;
    let done = done.complains(&["127.0.0.1", "accounts", "--database-url"]);
    assert!(!done.stderr.contains("TopSecret"), "{}", done.stderr);
}

#[tokio::test]
async fn a_check_makes_nothing() {
    let place = Place::new();
    let check = place.run(&["migrate", "--check"]).await.expect(1);
    assert!(check.stdout.contains("there is none yet"), "{check:?}");
    assert!(!place.data_dir().exists());
}

#[tokio::test]
async fn migrate_starts_the_private_postgres_and_stops_it_again() {
    let place = Place::new();
    place.run(&["migrate", "--check"]).await.expect(1);
    assert_eq!(place.processes(), Vec::<i32>::new());
    place.run(&["migrate"]).await.expect(0);
    assert_eq!(place.processes(), Vec::<i32>::new());
    place.run(&["migrate", "--check"]).await.expect(0);
}

#[tokio::test]
async fn an_address_that_is_taken_is_a_clear_message() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let done = place.run(&["serve", "--listen", &address]).await;
    done.complains(&[&address, "--listen", "in use"]);
    assert_eq!(place.processes(), Vec::<i32>::new());
}
