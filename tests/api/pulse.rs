//! Is Postgres there? What is an outage, and what only looks like one.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};

use crate::harness::TestApp;
use crate::harness::database::Database;
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

/// A way to this Postgres on which every new connection has to wait first, as behind a busy proxy of connections.
async fn slow_way_to(url: &str, wait: Duration) -> String {
    let options = PgConnectOptions::from_str(url).expect("a database URL");
    let socket = options.get_socket().expect("the tests' own Postgres").join(".s.PGSQL.5432");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let socket = socket.clone();
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                let mut server = UnixStream::connect(socket).await.expect("it runs");
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let database = options.get_database().expect("a name");
    format!("postgres://{}@{address}/{database}?sslmode=disable", options.get_username())
}

#[tokio::test]
async fn a_database_that_takes_its_time_with_new_connections_is_there() {
    let database = Database::new().await;
    let way = slow_way_to(&database.url, Duration::from_millis(1300)).await;
    let app = TestApp::start_on(Database::elsewhere(&way), |_| {}).await;
    app.get("/health/ready").await.expect(200);
    let ada = app.person("ada").await;
    let mut connection = PgConnection::connect(&database.url).await.expect("it answers");
    let pids: Vec<i32> = sqlx::query_scalar(ITS_BACKENDS).fetch_all(&mut connection).await.expect("it answers");
    let end = sqlx::query("select pg_terminate_backend($1)").bind(pids[0]);
    end.execute(&mut connection).await.expect("it is ours");
    is_back(&app).await;
    app.me(&ada.token).await.expect(200);
    app.stop().await;
}

#[tokio::test]
async fn a_database_that_lets_us_in_no_more_is_away_until_it_does() {
    let database = Database::new().await;
    let elsewhere = PgConnectOptions::from_str(&database.url).expect("a database URL").database("postgres");
    let mut outside = PgConnection::connect_with(&elsewhere).await.expect("it answers");
    let name = database.url.split(['/', '?']).find(|part| part.starts_with("bloq_test_")).expect("a name").to_owned();
    let role = format!("role_of_{name}");
    let mut tell = async |statement: String| {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut outside).await.expect("it is ours");
    };
    tell(format!("create role {role} login superuser")).await;
    let options = PgConnectOptions::from_str(&database.url).expect("a database URL").username(&role);
    let url = options.to_url_lossy().to_string();
    let app = TestApp::start_on(Database::elsewhere(&url), |_| {}).await;
    let ada = app.person("ada").await;

    tell(format!("revoke connect on database {name} from public")).await;
    let (gone, renamed) = (format!("alter database {name} rename to {name}_x"), format!("{name}_x"));
    for (code, refuse, admit, now) in [
        ("28000", format!("alter role {role} nologin"), format!("alter role {role} login"), &name),
        ("3D000", gone, format!("alter database {renamed} rename to {name}"), &renamed),
        ("42501", format!("alter role {role} nosuperuser"), format!("alter role {role} superuser"), &name),
    ] {
        // Whoever is thrown out would come back at once, and nobody may be in it while it is renamed.
        tell(format!("alter database {name} allow_connections false")).await;
        let query = format!("select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = '{role}'");
        until("nobody is in it", async || {
            let mut looking = PgConnection::connect_with(&elsewhere).await.expect("it answers");
            let ended = sqlx::query_scalar::<_, i64>(AssertSqlSafe(query.clone())).fetch_one(&mut looking);
            ended.await.expect("a number") == 0
        })
        .await;
        tell(refuse).await;
        tell(format!("alter database {now} allow_connections true")).await;

        let refused = PgConnection::connect(&url).await.expect_err("it lets nobody in");
        assert_eq!(refused.as_database_error().and_then(|refusal| refusal.code()).as_deref(), Some(code));
        app.get("/health/ready").await.refused(503, "DatabaseUnavailable");
        app.me(&ada.token).await.refused(503, "DatabaseUnavailable");
        tell(admit).await;
        is_back(&app).await;
        app.me(&ada.token).await.expect(200);
    }
    app.stop().await;
    let mut inside = PgConnection::connect(&database.url).await.expect("it answers");
    let leave = format!("reassign owned by {role} to current_user; drop owned by {role}; drop role {role}");
    sqlx::raw_sql(AssertSqlSafe(leave)).execute(&mut inside).await.expect("it owns nothing more");
}

#[tokio::test]
async fn that_no_new_connection_is_to_be_had_is_noticed_when_the_old_ones_are_gone() {
    let database = Database::new().await;
    let elsewhere = PgConnectOptions::from_str(&database.url).expect("a database URL").database("postgres");
    let mut outside = PgConnection::connect_with(&elsewhere).await.expect("it answers");
    let name = database.url.split(['/', '?']).find(|part| part.starts_with("bloq_test_")).expect("a name").to_owned();
    let app = TestApp::start_on(database, |_| {}).await;
    let ada = app.person("ada").await;
    // The pulse's own connection lives; those of the requests came of age.
    let statement = format!("alter database {name} allow_connections false");
    sqlx::query(AssertSqlSafe(statement)).execute(&mut outside).await.expect("it is ours");
    let others = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = '{name}' and query not like '%transaction_read_only%'"
    );
    sqlx::query(AssertSqlSafe(others)).execute(&mut outside).await.expect("they are ours");
    app.me(&ada.token).await.refused(503, "DatabaseUnavailable");
    app.get("/health/ready").await.refused(503, "DatabaseUnavailable");
    let statement = format!("alter database {name} allow_connections true");
    sqlx::query(AssertSqlSafe(statement)).execute(&mut outside).await.expect("it is ours");
    is_back(&app).await;
    app.me(&ada.token).await.expect(200);
}
