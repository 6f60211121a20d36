//! `admin backup` and `admin restore`: another server on another machine, with everything in it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sqlx::Connection;

use super::{EMAIL, Place, ada};
use crate::harness::STRONG;
use crate::harness::database::Database;
use crate::harness::people::sign_up_body;
use crate::harness::program::{Done, finish, until};

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Where a place keeps its backup.
fn dump(place: &Place) -> PathBuf {
    place.path().join("accounts.dump")
}

fn key(place: &Place) -> PathBuf {
    place.data_dir().join("master.key")
}

async fn backup(place: &Place) -> Done {
    place.run(&["admin", "backup", text(&dump(place))]).await
}

/// Restores the backup of one place into another.
async fn restore(from: &Place, to: &Place) -> Done {
    to.run(&["admin", "restore", text(&dump(from)), "--master-key", text(&key(from))]).await
}

/// A place with a backup of a database that has users.
async fn backed_up() -> Place {
    let place = Place::filled();
    place.run(&["admin", "user", "create", "--name", "root", "--admin"]).await.expect(0);
    backup(&place).await.expect(0);
    place
}

/// One text from the running server's database.
async fn ask(place: &Place, question: &'static str) -> String {
    sqlx::query_scalar(question).fetch_one(&mut place.database().await).await.expect("an answer")
}

/// Statements in a running server's database.
async fn tell(place: &Place, statements: &'static str) {
    let mut connection = place.database().await;
    sqlx::raw_sql(statements).execute(&mut connection).await.expect("the statements of the test");
    connection.close().await.expect("done");
}

const PARTITIONS: &str = "select string_agg(pg_get_expr(relpartbound, oid) || relname, ' ' order by relname)
                          from pg_class where relispartition";

#[tokio::test]
async fn a_backup_of_a_running_server_is_the_whole_server_elsewhere() {
    let here = Place::filled();
    let mut server = here.serve().await;
    let ada = ada(&here, &server).await;
    let client = server.post("/users/me/client-keys").bearer(&ada.token).await.expect(200).json();
    let before = ada.events(&server).await;
    let partitions = ask(&here, PARTITIONS).await;

    // Requests go on meanwhile.
    let requests = async {
        for _ in 0..20 {
            server.get("/users/me").bearer(&ada.token).await.expect(200);
        }
    };
    let (done, ()) = tokio::join!(backup(&here), requests);
    let done = done.expect(0);
    assert_eq!(done.stdout, "");
    assert!(done.stderr.contains(text(&key(&here))), "the key to keep is named: {done:?}");
    assert!(done.stderr.lines().count() <= 3, "{done:?}");
    assert_eq!(fs::metadata(dump(&here)).expect("it was written").mode() & 0o777, 0o600);
    server.terminate().await;

    let there = Place::new();
    restore(&here, &there).await.expect(0);
    assert_eq!(there.processes(), Vec::<i32>::new());
    assert_eq!(fs::metadata(key(&there)).expect("it was put in place").mode() & 0o777, 0o600);
    let mut server = there.serve().await;
    let events: Vec<Value> = ada.events(&server).await;
    assert_eq!(events[..before.len()], before, "the old token is good and the events are there");
    server.post("/auth").basic(EMAIL, STRONG).await.expect(200);
    let grant = json!({
        "grantType": "clientCredentials", "clientId": client["clientId"], "clientSecret": client["clientSecret"],
    });
    server.post("/auth/token").json(&grant).await.expect(200);
    server.post("/users").json(&sign_up_body("bob@example.com")).await.expect(201);
    there.mail_to("bob@example.com").await;
    assert_eq!(ask(&there, PARTITIONS).await, partitions);
    server.terminate().await;
}

#[tokio::test]
async fn a_backup_is_never_written_over_another_file_by_accident() {
    let place = backed_up().await;
    assert_eq!(place.processes(), Vec::<i32>::new(), "without a server Postgres is started and stopped");
    let first = fs::read(dump(&place)).expect("the backup");
    backup(&place).await.complains(&["--force", text(&dump(&place))]);
    assert_eq!(fs::read(dump(&place)).expect("the backup"), first);
    place.run(&["admin", "user", "create", "--name", "ada"]).await.expect(0);
    place.run(&["admin", "backup", "--force", text(&dump(&place))]).await.expect(0);
    assert_ne!(fs::read(dump(&place)).expect("the backup"), first);
    place.run(&["admin", "backup", "-"]).await.complains(&["name of a file"]);
    place.run(&["admin", "backup", text(&place.path().join("no/such/folder"))]).await.complains(&["no/such"]);
    let names = fs::read_dir(place.path()).expect("the folder").count();
    assert_eq!(names, 2, "the data folder, the backup and no draft");
}

#[tokio::test]
async fn an_interrupted_backup_leaves_no_file() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let (mut locking, mut asking) = (place.database().await, place.database().await);
    sqlx::raw_sql("begin; lock table users in access exclusive mode").execute(&mut locking).await.expect("a lock");
    let file = dump(&place);
    let mut command = place.command(&["admin", "backup", text(&file)]);
    let waiting = command.spawn().expect("the binary starts");
    let pid = Pid::from_raw(waiting.id().and_then(|pid| pid.try_into().ok()).expect("it lives"));
    let running = "select exists (select from pg_stat_activity
                                  where application_name = 'pg_dump' and wait_event_type = 'Lock')";
    until("pg_dump waits for the lock", async || {
        sqlx::query_scalar(running).fetch_one(&mut asking).await.expect("an answer")
    })
    .await;
    let lines = fs::read_dir("/proc").expect("/proc").flatten().map(|process| process.path().join("cmdline"));
    let lines = lines.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned());
    let lines: Vec<String> = lines.filter(|line| line.contains("/pg_dump\0--format")).collect();
    let tells = |line: &String| line.contains("://") || line.contains(text(place.path()));
    assert!(!lines.is_empty() && !lines.iter().any(tells), "the process list tells nothing: {lines:?}");
    kill(pid, Signal::SIGTERM).expect("our own child");
    let done = Done::from(waiting.wait_with_output().await.expect("it ends")).complains(&["interrupted"]);
    assert_eq!(fs::read_dir(place.path()).expect("the folder").count(), 1, "only the data folder: {done:?}");
    server.terminate().await;
}

#[tokio::test]
async fn a_restore_replaces_nothing() {
    let (here, there) = (backed_up().await, Place::filled());
    there.run(&["admin", "user", "create", "--name", "ada"]).await.expect(0);
    let again = restore(&here, &there).await;
    again.complains(&["is there already", "--data-dir"]);
    let server = there.serve().await;
    restore(&here, &there).await.complains(&["is there already"]);
    drop(server);
    there.is_left_alone().await;
    assert!(there.run(&["admin", "user", "list"]).await.expect(0).stdout.contains(" ada\n"));
}

#[tokio::test]
async fn a_restore_wants_a_folder_that_is_empty_but_for_the_key_and_certificates() {
    let (here, there) = (backed_up().await, Place::new());
    let folder = there.data_dir();
    fs::create_dir(&folder).expect("a folder");
    for name in ["mail", "postgres.before", "anything"] {
        let other = folder.join(name);
        fs::create_dir(&other).expect("something of another server");
        let refused = restore(&here, &there).await;
        refused.complains(&[name, "is there already", text(&folder), "--data-dir"]);
        assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 1, "nothing was written");
        fs::remove_dir(other).expect("our own");
    }
    fs::copy(key(&here), key(&there)).expect("a copy of the key");
    // What a file system of its own begins with.
    fs::create_dir(folder.join("lost+found")).expect("a folder");
    there.run(&["admin", "certs", "create"]).await.expect(0);
    there.run(&["admin", "restore", text(&dump(&here))]).await.expect(0);
    assert!(there.run(&["admin", "user", "list"]).await.expect(0).stdout.contains(" root\n"));
}

#[tokio::test]
async fn without_the_key_that_opens_it_nothing_is_restored() {
    let (here, there) = (backed_up().await, Place::new());
    let file = dump(&here);
    let restore = ["admin", "restore", text(&file)];
    there.run(&restore).await.complains(&["master key", "--master-key", "server.master_key"]);
    let wrong = there.path().join("wrong.key");
    fs::write(&wrong, "ab".repeat(32)).expect("a file");
    let refused = there.run(&[&restore[..], &["--master-key", text(&wrong)]].concat()).await;
    assert!(!refused.complains(&["not the master key"]).stderr.contains("abab"));
    let mut configured = there.command(&restore);
    configured.env("BLOQ_ACCOUNTS_SERVER__MASTER_KEY", "ab".repeat(32));
    finish(configured).await.complains(&["not the master key"]);
    assert!(!there.data_dir().exists(), "nothing was written");

    // Configured, the key needs no file.
    let right = fs::read_to_string(key(&here)).expect("the key");
    let mut configured = there.command(&restore);
    configured.env("BLOQ_ACCOUNTS_SERVER__MASTER_KEY", right.trim());
    finish(configured).await.expect(0);
    assert!(!key(&there).exists());
    place_has_root(&there, right.trim()).await;
}

async fn place_has_root(place: &Place, master_key: &str) {
    let mut list = place.command(&["admin", "user", "list"]);
    list.env("BLOQ_ACCOUNTS_SERVER__MASTER_KEY", master_key);
    assert!(finish(list).await.expect(0).stdout.contains(" root\n"));
}

#[tokio::test]
async fn a_file_that_is_not_a_whole_backup_is_refused() {
    let (here, there) = (backed_up().await, Place::new());
    let whole = fs::read(dump(&here)).expect("the backup");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let unsealed = whole.len() - 95;
    for (bytes, words) in [
        (&b"PGDMP"[..], "truncated"),
        (b"", "no backup"),
        (b"hello", "no backup"),
        (&whole[..unsealed], "truncated"),
        (&whole[..whole.len() - 1], "truncated"),
        (&whole[..whole.len() / 3], "truncated"),
        (&flipped, "damaged"),
    ] {
        fs::write(dump(&there), bytes).expect("a file");
        let (file, key) = (dump(&there), key(&here));
        there
            .run(&["admin", "restore", text(&file), "--master-key", text(&key)])
            .await
            .complains(&[words, text(&file)]);
    }
    let missing = there.path().join("missing");
    there.run(&["admin", "restore", text(&missing), "--master-key", text(&key(&here))]).await.complains(&["missing"]);
    assert!(!there.data_dir().exists(), "nothing was written");
}

#[tokio::test]
async fn a_backup_of_a_newer_version_is_refused_and_one_of_an_older_version_is_migrated() {
    let here = Place::filled();
    let mut server = here.serve().await;
    tell(
        &here,
        "delete from _sqlx_migrations where version = 14;
         drop index outbox_failed_idx; alter table outbox drop column taken_until",
    )
    .await;
    backup(&here).await.expect(0);
    let older = Place::new();
    restore(&here, &older).await.expect(0);
    older.run(&["migrate", "--check"]).await.expect(0);

    tell(&here, "update _sqlx_migrations set version = 99990101 where version = 1").await;
    here.run(&["admin", "backup", "--force", text(&dump(&here))]).await.expect(0);
    let newer = Place::new();
    restore(&here, &newer).await.complains(&["99990101", "older"]);
    assert!(!newer.data_dir().exists(), "nothing was written");
    server.terminate().await;
}

/// The databases in the making, in a data folder.
fn unfinished(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.data_dir()).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| text(path).contains("postgres.unfinished-")).collect()
}

#[tokio::test]
async fn an_interrupted_restore_leaves_nothing_and_can_be_repeated() {
    let here = backed_up().await;
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let there = Place::new();
        let (file, key) = (dump(&here), key(&here));
        let command = there.command(&["admin", "restore", text(&file), "--master-key", text(&key)]);
        let restoring = { command }.spawn().expect("the binary starts");
        let pid = Pid::from_raw(restoring.id().and_then(|pid| pid.try_into().ok()).expect("it lives"));
        until("Postgres runs aside", async || {
            unfinished(&there).iter().any(|folder| folder.join("postmaster.pid").exists())
        })
        .await;
        kill(pid, signal).expect("our own child");
        let done = Done::from(restoring.wait_with_output().await.expect("it ends"));
        assert!(!there.data_dir().join("postgres").exists(), "{done:?}");
        if signal == Signal::SIGTERM {
            done.complains(&["interrupted", "nothing was restored"]);
            assert_eq!(unfinished(&there), Vec::<PathBuf>::new());
            there.is_left_alone().await;
        }
        restore(&here, &there).await.expect(0);
        assert_eq!(unfinished(&there), Vec::<PathBuf>::new());
        assert!(there.run(&["admin", "user", "list"]).await.expect(0).stdout.contains(" root\n"));
    }
}

#[tokio::test]
async fn what_postgres_has_left_of_a_killed_restore_is_ended_by_the_next() {
    let here = backed_up().await;
    let there = Place::new();
    let (file, key) = (dump(&here), key(&here));
    let command = there.command(&["admin", "restore", text(&file), "--master-key", text(&key)]);
    let restoring = { command }.spawn().expect("the binary starts");
    until("Postgres runs aside", async || there.postgres().len() > 1).await;
    // A process that neither listens nor notices that it is alone.
    let stuck = there.postgres().into_iter().max().expect("more than one");
    kill(stuck, Signal::SIGSTOP).expect("it is there");
    for process in there.processes().into_iter().map(Pid::from_raw).filter(|process| *process != stuck) {
        let _ = kill(process, Signal::SIGKILL);
    }
    restoring.wait_with_output().await.expect("it ends");
    restore(&here, &there).await.expect(0);
    assert_eq!((unfinished(&there), there.postgres()), (vec![], vec![]));
}

#[tokio::test]
async fn a_restore_that_fails_halfway_leaves_nothing() {
    let here = Place::filled();
    let mut server = here.serve().await;
    tell(
        &here,
        "create function unwilling() returns boolean language sql
             as $$select current_setting('application_name') <> 'pg_restore'$$;
         create table zz_unwilling (it boolean constraint unwilling check (unwilling()));
         insert into zz_unwilling values (true)",
    )
    .await;
    backup(&here).await.expect(0);
    server.terminate().await;
    let there = Place::new();
    restore(&here, &there).await.complains(&["nothing was restored", "pg_restore failed", "unwilling"]);
    assert!(!there.data_dir().join("postgres").exists() && unfinished(&there).is_empty() && !key(&there).exists());
    assert_eq!(there.processes(), Vec::<i32>::new());
}

#[tokio::test]
async fn only_the_private_database_is_backed_up() {
    let (place, database) = (Place::new(), Database::empty().await);
    let file = dump(&place);
    for command in ["backup", "restore"] {
        let arguments = ["admin", command, text(&file), "--database-url", &database.url];
        place
            .run(&arguments)
            .await
            .complains(&["external", if command == "backup" { "pg_dump" } else { "pg_restore" }]);
    }
    backup(&place).await.complains(&["there is no database"]);
    assert!(!place.data_dir().exists() && !file.exists());
}

#[tokio::test]
async fn a_missing_pg_dump_is_named_with_its_package() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let version = fs::read_to_string(place.data_dir().join("postgres/PG_VERSION")).expect("a version");
    let folder = place.path().join("bin");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).expect("our own");
    for name in ["postgres", "initdb"] {
        let script = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {}.1'\n", version.trim());
        // By another program: one forked here meanwhile would keep the file open, and such a file cannot be run.
        let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
        let written =
            std::process::Command::new("/bin/sh").args(["-c", write]).arg(folder.join(name)).arg(script).status();
        assert!(written.expect("a shell").success());
    }
    let mut without = place.command(&["admin", "backup", text(&dump(&place))]);
    without.env("BLOQ_ACCOUNTS_DATABASE__POSTGRES_BIN", &folder);
    let package = format!("apt install postgresql-client-{}", version.trim());
    finish(without).await.complains(&["pg_dump", &package, text(&folder)]);
    assert!(!dump(&place).exists());
    server.terminate().await;
}
