//! Is Postgres there? What is an outage, and what only looks like one.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use crate::harness::TestApp;
use crate::harness::program::until;

/// What the server's pulse is doing, or did last.
const ITS_BACKENDS: &str = "select pid from pg_stat_activity
                            where datname = current_database() and query like '%transaction_read_only%' and pid <> pg_backend_pid()";

async fn is_back(app: &TestApp) {
    until("the server is ready", async || app.get("/health/ready").await.status == 200).await;
}

#[tokio::test]
async fn a_pulse_whose_connection_is_ended_takes_another_one() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let mut connection = app.connection().await;
    for _ in 0..5 {
        app.get("/health/ready").await.expect(200);
        let pids: Vec<i32> = sqlx::query_scalar(ITS_BACKENDS).fetch_all(&mut connection).await.expect("it answers");
        assert_eq!(pids.len(), 1, "one connection is enough");
        let end = sqlx::query("select pg_terminate_backend($1)").bind(pids[0]);
        end.execute(&mut connection).await.expect("it is ours");
        app.get("/health/ready").await.expect(200);
        app.me(&ada.token).await.expect(200);
    }
}

#[tokio::test]
async fn a_database_that_takes_no_changes_is_away_until_it_does() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    // As a standby: it answers, and nothing can be written to it.
    let mut connection = app.connection().await;
    let name: String =
        sqlx::query_scalar("select current_database()").fetch_one(&mut connection).await.expect("a name");
    let set = |value: &str| {
        let statement = format!("alter database {name} set default_transaction_read_only = {value}");
        sqlx::query(sqlx::AssertSqlSafe(statement))
    };
    set("on").execute(&mut connection).await.expect("it is ours");
    let others = "select pg_terminate_backend(pid) from pg_stat_activity
                  where datname = current_database() and pid <> pg_backend_pid()";
    sqlx::query(others).execute(&mut connection).await.expect("they are ours");

    app.get("/health/ready").await.refused(503, "DatabaseUnavailable");
    let answer = app.me(&ada.token).await.refused(503, "DatabaseUnavailable");
    app.get("/health/live").await.expect(200);
    set("off").execute(&mut connection).await.expect("this connection is older");
    is_back(&app).await;
    app.me(&ada.token).await.expect(200);
    assert_eq!(app.row_after_all(answer.header("x-request-id")).await["status"], 503);
    connection.close().await.expect("it is open");
}

#[tokio::test]
async fn a_database_that_is_full_is_there() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let mut connection = app.connection().await;
    let name: String =
        sqlx::query_scalar("select current_database()").fetch_one(&mut connection).await.expect("a name");
    // Limits of a number do not hold for the role of the tests; this one does, and is set from another database.
    let elsewhere = PgConnectOptions::from_str(app.database_url()).expect("a database URL").database("postgres");
    let mut outside = PgConnection::connect_with(&elsewhere).await.expect("it answers");
    let statement = format!("alter database {name} allow_connections false");
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut outside).await.expect("it is ours");
    let pids: Vec<i32> = sqlx::query_scalar(ITS_BACKENDS).fetch_all(&mut connection).await.expect("it answers");
    sqlx::query("select pg_terminate_backend($1)").bind(pids[0]).execute(&mut connection).await.expect("it is ours");
    app.get("/health/ready").await.expect(200);
    app.me(&ada.token).await.expect(200);
}

#[tokio::test]
async fn a_server_that_is_asked_often_asks_no_oftener_than_it_gets_answers() {
    let app = TestApp::start().await;
    let pulse = &app.app.pulse;
    let asking = async {
        for _ in 0..20 {
            let answers = tokio::join!(pulse.ask(), pulse.ask(), pulse.ask(), pulse.ask());
            assert_eq!(answers, (true, true, true, true));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asking).await.expect("answers");
    let query = "select count(*) from pg_stat_activity
                 where datname = current_database() and query like '%transaction_read_only%' and pid <> pg_backend_pid()";
    assert_eq!(app.count(query).await, 1);
}
