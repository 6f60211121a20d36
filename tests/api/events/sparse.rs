//! Filters that a few among many events pass: what is not asked for costs little, and nothing is missed.

use serde_json::Value;

use super::pages::ids;
use crate::harness::{Person, TestApp, link};

/// 45,000 events of the only user there is, before those of the log-in: more than two pages look at. Every 15,000th is a 503
/// of another service, and there are 500 refusals at the old end.
const MANY: &str =
    "insert into events (id, user_id, service, started_at, ended_at, status, bytes_out, method, path, request_id)
     select ('019cb000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, (select id from users),
            case when n % 15000 = 0 then 'qb2-accounts' else 'cloud-accounts' end, now(), now(),
            case when n % 15000 = 0 then 503 when n <= 500 then 404 else 200 end, 0, 'GET', '/', 'r'
     from generate_series(1, 45000) n";

/// Follows a relation from a query to the end; answers the ids of each page.
async fn walk(app: &TestApp, person: &Person, query: &str, relation: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(format!("/users/me/events?{query}"));
    while let Some(path) = next {
        let page = app.get(&path).bearer(&person.token).await.expect(200);
        pages.push(ids(&page.json()));
        next = link(&page, relation);
        assert!(pages.len() < 20, "it ends");
    }
    pages
}

#[tokio::test]
async fn a_page_that_looked_at_enough_ends_early_and_its_links_go_on() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute(MANY).await;
    let rare = |n: u32| format!("event-019cb000-0000-7000-8000-{n:012x}");
    let all = [rare(15_000), rare(30_000), rare(45_000)];

    let older = walk(&app, &ada, "service=qb2-accounts", "prev").await;
    assert!(older.len() >= 3, "{older:?}");
    assert_eq!(older.iter().rev().flatten().collect::<Vec<_>>(), all.iter().collect::<Vec<_>>());
    let newer = walk(&app, &ada, "service=qb2-accounts&after=event-00000000-0000-0000-0000-000000000000", "next").await;
    assert!(newer.len() >= 3, "{newer:?}");
    assert_eq!(newer.concat(), all);
    // From the middle of nowhere both ways.
    let cursor = format!("service=qb2-accounts&before={}", rare(44_999));
    assert_eq!(walk(&app, &ada, &cursor, "next").await.concat(), [rare(30_000), rare(45_000)]);
    let nothing = walk(&app, &ada, "service=nobody", "prev").await;
    assert!(nothing.len() >= 3 && nothing.concat().is_empty(), "{nothing:?}");
}

#[tokio::test]
async fn an_empty_page_leads_back_to_where_it_was_reached_from() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute(MANY).await;
    let path = "/users/me/events?status=503&service=nobody";
    let first = app.get(path).bearer(&ada.token).await.expect(200);
    assert_eq!((ids(&first.json()), link(&first, "prev")), (vec![], None), "refusals are few");
    let first = app.get("/users/me/events?status=201&limit=1").bearer(&ada.token).await.expect(200);
    let older = link(&first, "prev").expect("there is more to look at");
    let empty = app.get(&older).bearer(&ada.token).await.expect(200);
    assert_eq!(ids(&empty.json()), Vec::<String>::new());
    let back = link(&empty, "next").expect("there is something newer");
    let query = back.split_once('?').expect("a query").1;
    assert_eq!(walk(&app, &ada, query, "next").await.concat(), ids(&first.json()));
}

#[tokio::test]
async fn refusals_among_many_answers_are_found_at_once() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute(MANY).await;
    for (query, count) in [("status=404&limit=1000", 500), ("status=4xx", 100), ("status=5xx", 3), ("status=500", 0)] {
        let page = app.get(&format!("/users/me/events?{query}")).bearer(&ada.token).await.expect(200);
        let statuses: Vec<Value> = page
            .json()
            .as_array()
            .expect("a list")
            .iter()
            .map(|event| event["output"]["httpStatusCode"].clone())
            .collect();
        assert_eq!((statuses.len(), link(&page, "next")), (count, None), "{query} {statuses:?}");
    }
}
