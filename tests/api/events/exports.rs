//! All events in one answer, a line each or as a table.

use bloq_accounts::users::AccessLevel;
use reqwest::Method;
use serde_json::Value;

use super::pages::ids;
use crate::harness::download::{Download, MANY_EVENTS};
use crate::harness::program::until;
use crate::harness::{Answer, Person, TestApp, link};

const PATH: &str = "/users/me/events";
const NDJSON: &str = "application/x-ndjson";

async fn ask(app: &TestApp, person: &Person, query: &str, accept: &str) -> Answer {
    app.get(&format!("{PATH}{query}")).bearer(&person.token).header("accept", accept).await
}

fn lines(answer: &Answer) -> Value {
    assert!(answer.text.is_empty() || answer.text.ends_with('\n'));
    answer.text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect()
}

/// The table as a program reads it: the header line, and the others.
fn rows(answer: &Answer) -> (Vec<String>, Vec<Vec<String>>) {
    let texts = |record: &csv::StringRecord| record.iter().map(str::to_owned).collect::<Vec<_>>();
    let mut reader = csv::Reader::from_reader(answer.text.as_bytes());
    let header = texts(reader.headers().expect("a header line"));
    (header, reader.records().map(|record| texts(&record.expect("a record"))).collect())
}

#[tokio::test]
async fn thousands_of_events_leave_line_by_line() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute(MANY_EVENTS).await;
    let answer = ask(&app, &ada, "", NDJSON).await.expect(200);
    assert_eq!((answer.header("content-type"), answer.header("link")), (NDJSON, ""));
    assert!(answer.headers.get_all("vary").iter().any(|vary| vary == "accept"), "{:?}", answer.headers);
    let exported = lines(&answer);
    let all = ids(&exported);
    assert!(all.len() == 20_003 && all.is_sorted(), "{}", all.len());
    // An event says the same in every form.
    let page = ask(&app, &ada, "?limit=2", "*/*").await.expect(200).json();
    assert_eq!(page.as_array().expect("a list")[..1], exported.as_array().expect("a list")[20_002..]);
    // Its own event is there before the first byte, and knows in the end how many there were.
    let id = answer.header("x-request-id").to_owned();
    until("the bytes are counted", async || {
        let rows = app.rows_of(&id).await;
        rows.len() == 1 && rows[0]["bytes_out"] == answer.text.len()
    })
    .await;
}

#[tokio::test]
async fn filters_and_order_are_those_of_the_list() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for _ in 0..5 {
        app.post("/auth").basic(&ada.email, "wrong").await.expect(401);
    }
    let all = ids(&app.get("/users/me/events?status=401").bearer(&ada.token).await.expect(200).json());
    let lines_of = async |query: &str| ids(&lines(&ask(&app, &ada, query, NDJSON).await.expect(200)));
    assert_eq!(lines_of("?status=4xx").await, all);
    assert_eq!(lines_of(&format!("?status=4xx&after={}", all[2])).await, all[3..]);
    assert_eq!(lines_of(&format!("?status=4xx&before={}", all[2])).await, all[..2]);
    assert_eq!(lines_of("?service=nobody").await, Vec::<String>::new());
    let mut newest_first = lines_of("?status=4xx&order=desc").await;
    newest_first.reverse();
    assert_eq!(newest_first, all);
    let refused = ask(&app, &ada, "?status=x&colour=y", NDJSON).await.refused(400, "ValidationFailed");
    assert_eq!(
        (refused.header("content-type"), refused.bad_fields()),
        ("application/json", vec!["colour".into(), "status".into()])
    );
}

#[tokio::test]
async fn with_a_limit_every_form_is_a_page_with_links() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for _ in 0..5 {
        app.post("/auth").basic(&ada.email, "wrong").await.expect(401);
    }
    let json = ask(&app, &ada, "?status=401&limit=2", "application/json").await.expect(200);
    let ndjson = ask(&app, &ada, "?status=401&limit=2", NDJSON).await.expect(200);
    let csv = ask(&app, &ada, "?status=401&limit=2", "text/csv").await.expect(200);
    assert_eq!(json.json(), lines(&ndjson));
    assert_eq!(ids(&json.json()), rows(&csv).1.into_iter().map(|row| row[0].clone()).collect::<Vec<_>>());
    assert!(link(&json, "prev").is_some());
    assert_eq!((link(&json, "prev"), link(&json, "prev")), (link(&ndjson, "prev"), link(&csv, "prev")));
}

#[tokio::test]
async fn a_table_has_a_header_line_and_no_formulas() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let agent = "=cmd|'/c calc'!A1 \"x\",\"=2\" ;+3";
    let harmless = "'=cmd|'/c calc'!A1 \"x\",'\"=2\" ;'+3";
    app.get("/users/me")
        .bearer(&ada.token)
        .header("user-agent", agent)
        .header("x-request-id", "-2.5")
        .await
        .expect(200);
    let answer = ask(&app, &ada, "", "text/csv").await.expect(200);
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"bloq-events.csv\"");
    assert!(answer.text.starts_with("\"id\",\"createdAt\",\"service\",\"user\",\"method\",\"path\",\"ip\",\"userAgent\",\"requestId\",\"startTime\",\"endTime\",\"httpStatusCode\",\"bytesOut\",\"serviceData\"\r\n"), "{}", answer.text);
    let (_, rows) = rows(&answer);
    let event = &app.events_of(&ada).await[3];
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let expected = [
        text(&event["id"]),
        text(&event["createdAt"]),
        "cloud-accounts".into(),
        ada.id.clone(),
        "GET".into(),
        "/users/me".into(),
        "127.0.0.1".into(),
        harmless.into(),
        "'-2.5".into(),
        text(&event["output"]["startTime"]),
        text(&event["output"]["endTime"]),
        "200".into(),
        event["output"]["bytesOut"].to_string(),
        "{}".into(),
    ];
    assert_eq!(rows[3], expected);
    assert!(answer.text.lines().all(|line| line.starts_with('"') && line.ends_with('"')), "every cell is quoted");
    assert!(answer.text.contains("\"'=cmd|'/c calc'!A1 \"\"x\"\",'\"\"=2\"\" ;'+3\""), "{}", answer.text);
}

#[tokio::test]
async fn whoever_takes_no_form_of_ours_gets_json() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for accept in ["image/png", "*/*", "text/csv;q=0.1, application/json"] {
        let answer = ask(&app, &ada, "", accept).await.expect(200);
        assert_eq!((answer.header("content-type"), answer.header("content-disposition")), ("application/json", ""));
        assert!(answer.json().is_array(), "{accept}");
    }
}

#[tokio::test]
async fn an_export_of_events_whose_database_hangs_is_broken_off() {
    let app = TestApp::start_with(|config| config.server.request_timeout_seconds = 1).await;
    let ada = app.person("ada").await;
    app.execute(MANY_EVENTS).await;
    let export = Download::begin_as(app.address, PATH, &ada.token, NDJSON).await;
    app.connection_holding("lock table events in access exclusive mode", async || {
        assert!(!export.ends_whole().await, "nobody may take it for all there is");
    })
    .await;
    let export = Download::begin_as(app.address, PATH, &ada.token, NDJSON).await;
    assert!(export.ends_whole().await);
}

#[tokio::test]
async fn a_person_has_two_exports_of_events_at_once_and_no_more() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute(MANY_EVENTS).await;
    let begin = || Download::begin_as(app.address, PATH, &ada.token, "text/csv");
    let (one, two) = tokio::join!(begin(), begin());
    ask(&app, &ada, "", NDJSON).await.refused(429, "TooManyRequests");
    ask(&app, &ada, "?limit=5", NDJSON).await.expect(200);
    ask(&app, &ada, "", "*/*").await.expect(200);
    assert!(one.ends_whole().await);
    drop(two);
    for _ in 0..5 {
        until("it is answered", async || {
            let head = app.call(Method::HEAD, PATH).bearer(&ada.token).header("accept", "text/csv").await;
            head.status == 200 && head.header("content-disposition").contains("bloq-events.csv")
        })
        .await;
    }
}

#[tokio::test]
async fn an_export_ends_with_its_token_and_says_that_it_is_not_whole() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute(MANY_EVENTS).await;
    for path in [PATH, "/users/me/export"] {
        let token = app.log_in(&ada.email, &ada.password).await;
        let export = Download::begin_as(app.address, path, &token, "text/csv").await;
        app.delete("/auth").bearer(&token).await.expect(204);
        assert!(!export.ends_whole().await, "{path}");
    }
    until("both events say so", async || {
        app.count(r#"select count(*) from events where service_data = '{"complete": false}'"#).await == 2
    })
    .await;
    let export = Download::begin_as(app.address, PATH, &ada.token, NDJSON).await;
    app.block(&ada.id, "admin").await;
    assert!(!export.ends_whole().await);
}

#[tokio::test]
async fn an_export_of_everybodys_events_ends_with_the_right_to_see_them() {
    let app = TestApp::start().await;
    let admin = app.named("root", AccessLevel::Admin).await;
    app.execute(MANY_EVENTS).await;
    let everybodys = Download::begin_as(app.address, "/events", &admin.token, "text/csv").await;
    let own = Download::begin_as(app.address, PATH, &admin.token, "text/csv").await;
    app.execute("update users set access_level = 'authorized' where login_name = 'root'").await;
    assert!(!everybodys.ends_whole().await);
    assert!(own.ends_whole().await);
}
