//! What a client is told when nobody knows whether its change was made.

use std::time::Duration;

use bloq_accounts::users::AccessLevel;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::harness::TestApp;
use crate::harness::call::Answer;
use crate::harness::program::until;

/// Nobody may write events while this is open.
const CLOSED: &str = "lock table events in share row exclusive mode";

/// A server that does not wait long for its events.
async fn hasty() -> TestApp {
    TestApp::start_with(|config| config.events.commit_deadline_ms = 300).await
}

/// Makes every commit of a new client key wait until this connection is closed.
async fn hold_commits(app: &TestApp) -> PgConnection {
    for statement in [
        "create function wait() returns trigger language plpgsql as
         $$ begin perform pg_advisory_xact_lock(42); return null; end $$",
        "create constraint trigger wait after insert on client_keys deferrable initially deferred
         for each row execute function wait()",
    ] {
        app.execute(statement).await;
    }
    let mut holder = app.connection().await;
    sqlx::query("select pg_advisory_lock(42)").execute(&mut holder).await.expect("the lock");
    holder
}

/// Ends the connection whose statement waits for a lock.
async fn end_who_waits(app: &TestApp) {
    app.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where wait_event_type = 'Lock' and datname = current_database()",
    )
    .await;
}

async fn keys(app: &TestApp) -> i64 {
    app.count("select count(*) from client_keys").await
}

/// In doubt, and asked to come back; the event says 503 as well, in the end.
async fn is_in_doubt(app: &TestApp, answer: Answer) {
    let answer = answer.refused(503, "OutcomeUnknown");
    assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    let id = answer.header("x-request-id");
    until("the row says what the client was told", async || {
        app.rows_of(id).await.first().is_some_and(|row| row["status"] == 503)
    })
    .await;
    assert_eq!(app.row_of(&answer).await["bytes_out"], answer.text.len());
}

#[tokio::test]
async fn a_change_whose_event_cannot_be_written_is_in_doubt() {
    let app = hasty().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let ((old, _), (kept, _)) = (app.client_key(&ada).await, app.client_key(&ada).await);
    let mut connection = app.connection().await;
    let mut closed = connection.begin().await.expect("a transaction");
    sqlx::query(CLOSED).execute(&mut *closed).await.expect("the lock");
    let answers = [
        app.post("/users/me/client-keys").bearer(&ada.token).await,
        app.delete(&format!("/users/me/client-keys/{old}")).bearer(&ada.token).await,
        app.delete(&format!("/users/me/client-keys/{kept}/tokens")).bearer(&ada.token).await,
        app.delete("/users/me/tokens").bearer(&ada.token).await,
        app.delete("/auth").bearer(&bob.token).await,
    ];
    closed.rollback().await.expect("the lock goes");
    for answer in answers {
        is_in_doubt(&app, answer).await;
    }
    assert_eq!(keys(&app).await, 2, "one was made and one was deleted");
    app.me(&bob.token).await.refused(401, "TokenInvalid");
}

#[tokio::test]
async fn what_changed_nothing_is_not_in_doubt() {
    let app = hasty().await;
    let ada = app.person("ada").await;
    let bob = app.named("bob", AccessLevel::Authorized).await;
    let mut connection = app.connection().await;
    let mut closed = connection.begin().await.expect("a transaction");
    sqlx::query(CLOSED).execute(&mut *closed).await.expect("the lock");
    for call in [
        app.me(&ada.token),
        app.delete(&format!("/users/me/client-keys/{}", "0".repeat(40))).bearer(&ada.token),
        // A token that nobody got harms nobody, and neither does a failure that was counted.
        app.post("/auth").basic(&ada.email, &ada.password),
        app.post("/auth").basic("bob", "wrong"),
        app.change_password(&bob.token, "wrong", &bob.password),
        // Doubt would tell who has an account.
        app.post("/users/password-reset").json(&json!({"email": ada.email})),
        app.get("/nowhere"),
    ] {
        call.await.refused(503, "DatabaseUnavailable");
    }
    closed.rollback().await.expect("the lock goes");
}

#[tokio::test]
async fn a_failure_that_blocks_an_account_leaves_no_doubt() {
    let app = TestApp::start_with(|config| {
        config.events.commit_deadline_ms = 300;
        config.password.max_failed_logins = 1;
    })
    .await;
    app.named("bob", AccessLevel::Authorized).await;
    app.post("/auth").basic("bob", "wrong").await.expect(401);
    let mut connection = app.connection().await;
    let mut closed = connection.begin().await.expect("a transaction");
    sqlx::query(CLOSED).execute(&mut *closed).await.expect("the lock");
    app.post("/auth").basic("bob", "wrong").await.refused(503, "DatabaseUnavailable");
    closed.rollback().await.expect("the lock goes");
    assert_eq!(app.count("select count(*) from users where block_cause is not null").await, 1);
}

#[tokio::test]
async fn a_change_whose_time_is_over_while_it_is_committed_is_in_doubt() {
    let app = TestApp::start_with(|config| config.server.request_timeout_seconds = 1).await;
    let ada = app.person("ada").await;
    let holder = hold_commits(&app).await;
    let answer = app.post("/users/me/client-keys").bearer(&ada.token).await;
    assert_eq!(keys(&app).await, 0);
    holder.close().await.expect("the lock goes");
    is_in_doubt(&app, answer).await;
    until("the change is made after all", async || keys(&app).await == 1).await;
}

#[tokio::test]
async fn a_change_whose_connection_dies_while_it_is_committed_is_in_doubt() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let holder = hold_commits(&app).await;
    let (answer, ()) = tokio::join!(async { app.post("/users/me/client-keys").bearer(&ada.token).await }, async {
        app.somebody_waits_for_a_lock().await;
        end_who_waits(&app).await;
    });
    holder.close().await.expect("the lock goes");
    is_in_doubt(&app, answer).await;
    assert_eq!(keys(&app).await, 0);
    app.client_key(&ada).await;
}

#[tokio::test]
async fn a_change_whose_connection_dies_before_it_is_committed_was_not_made() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let mut holder = app.connection().await;
    let mut closed = holder.begin().await.expect("a transaction");
    sqlx::query("lock table client_keys in access exclusive mode").execute(&mut *closed).await.expect("the lock");
    for call in [app.post("/users/me/client-keys"), app.get("/users/me/client-keys")] {
        let call = call.bearer(&ada.token);
        let (answer, ()) = tokio::join!(async { call.await }, async {
            app.somebody_waits_for_a_lock().await;
            end_who_waits(&app).await;
        });
        answer.refused(503, "DatabaseUnavailable");
    }
    closed.rollback().await.expect("the lock goes");
    assert_eq!(keys(&app).await, 0);
}

/// A crowd that uses every connection is no missing database.
#[tokio::test]
async fn a_server_without_a_free_connection_is_busy() {
    let app = TestApp::start_with(|config| config.database.max_connections = 3).await;
    let ada = app.person("ada").await;
    let mut holder = app.connection().await;
    let mut closed = holder.begin().await.expect("a transaction");
    sqlx::query("lock table client_keys in access exclusive mode").execute(&mut *closed).await.expect("the lock");
    let hanging = app.get("/users/me/client-keys").bearer(&ada.token);
    let hanging = tokio::spawn(async { hanging.await });
    app.somebody_waits_for_a_lock().await;
    let answer = app.get("/users/me/tokens").bearer(&ada.token).await.refused(503, "Overloaded");
    assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    app.me(&ada.token).await.expect(200);
    app.get("/health/ready").await.expect(200);
    closed.rollback().await.expect("the lock goes");
    hanging.await.expect("no panic").expect(200);
    tokio::time::timeout(Duration::from_secs(20), app.stop()).await.expect("a stop is a stop");
}
