//! `GET /events`: what administrators see.

use bloq_accounts::users::AccessLevel;
use chrono::TimeDelta;
use serde_json::Value;

use super::pages::ids;
use crate::harness::{Answer, Person, TestApp, link};

async fn look(app: &TestApp, admin: &Person, query: &str) -> Answer {
    app.get(&format!("/events{query}")).bearer(&admin.token).await
}

/// Over days and nights: bursts, single ones, silence; of users and of nobody. Answers all ids that are there.
async fn life(app: &TestApp) -> Vec<String> {
    app.execute(
        "insert into events (id, user_id, service, started_at, ended_at, status, bytes_out, method, path, request_id)
         select (lpad(to_hex(1772700000000 - n::bigint * n * 40), 12, '0') || '7000800000000000' || lpad(to_hex(n), 4, '0'))::uuid,
                case when n % 3 > 0 then (select id from users) end, 'cloud-accounts', now(), now(),
                case when n % 50 = 0 then 503 else 200 end, 0, 'GET', '/', 'r'
         from generate_series(1, 3000) n",
    )
    .await;
    // More than one window takes, within one millisecond and around it.
    app.execute(
        "insert into events (id, service, started_at, ended_at, status, bytes_out, method, path, request_id)
         select (lpad(to_hex(1772600000000 + n / 6000), 12, '0') || '7000800000000000' || lpad(to_hex(n), 4, '0'))::uuid,
                'cloud-accounts', now(), now(), 200, 0, 'GET', '/', 'r'
         from generate_series(1, 13000) n",
    )
    .await;
    sqlx::query_scalar("select 'event-' || id from events order by id").fetch_all(&app.pool()).await.expect("the ids")
}

#[tokio::test]
async fn an_administrator_walks_through_everybodys_events_without_gap_or_double() {
    let app = TestApp::start().await;
    let admin = app.named("root", AccessLevel::Admin).await;
    let all = life(&app).await;
    let newest = all.last().expect("events");
    for order in ["asc", "desc"] {
        let mut walked: Vec<String> = Vec::new();
        let mut next = Some(format!(
            "/events?limit=1000&before=event-ffffffff-ffff-ffff-ffff-ffffffffffff&until=2026-03-05T12:00:01Z&order={order}"
        ));
        let mut oldest = String::new();
        while let Some(path) = next {
            let page = app.get(&path).bearer(&admin.token).await.expect(200);
            let mut shown = ids(&page.json());
            if order == "desc" {
                shown.reverse();
            }
            oldest.clone_from(&path);
            next = link(&page, "prev");
            assert!(next.iter().all(|next| next.starts_with("/events?")), "{next:?}");
            walked.splice(0..0, shown);
        }
        walked.retain(|id| id <= newest);
        assert!(walked == all, "towards older, {order}: {} of {}", walked.len(), all.len());

        let mut walked: Vec<String> = Vec::new();
        let mut next = Some(oldest);
        while let Some(path) = next {
            let page = app.get(&path).bearer(&admin.token).await.expect(200);
            let mut shown = ids(&page.json());
            if order == "desc" {
                shown.reverse();
            }
            next = link(&page, "next");
            walked.extend(shown);
            if walked.last() >= Some(newest) {
                break;
            }
        }
        walked.retain(|id| id <= newest);
        assert!(walked == all, "towards newer, {order}: {} of {}", walked.len(), all.len());
    }
    let lines = look(&app, &admin, "").await.expect(200);
    assert_eq!(lines.json().as_array().map(Vec::len), Some(100));
    for order in ["asc", "desc"] {
        let path = format!("/events?order={order}");
        let lines = app.get(&path).bearer(&admin.token).header("accept", "application/x-ndjson").await.expect(200);
        let lines: Vec<Value> = lines.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let mut exported = ids(&lines.into());
        if order == "desc" {
            exported.reverse();
        }
        exported.retain(|id| id <= newest);
        assert!(exported == all, "exported, {order}: {} of {}", exported.len(), all.len());
    }
}

#[tokio::test]
async fn events_of_a_server_whose_clock_is_ahead_are_walked_through_as_well() {
    let app = TestApp::start().await;
    let admin = app.named("root", AccessLevel::Admin).await;
    // Seconds, an hour, and many years ahead; 6,000 of each, at a second's distance from one to the next.
    app.execute(
        "insert into events (id, service, started_at, ended_at, status, bytes_out, method, path, request_id)
         select (lpad(to_hex(1772712001000 + ahead + n * 1000), 12, '0') || '7000800000000000' || lpad(to_hex(n), 4, '0'))::uuid,
                'cloud-accounts', now(), now(), 200, 0, 'GET', '/ahead', 'r'
         from generate_series(1, 6000) n, unnest(array[0, 3600000000, 2300000000000]) ahead",
    )
    .await;
    let all: Vec<String> = sqlx::query_scalar("select 'event-' || id from events where path = '/ahead' order by id")
        .fetch_all(&app.pool())
        .await
        .expect("the ids");
    for relation in ["prev", "next"] {
        let begin = if relation == "prev" { "" } else { "&after=event-00000000-0000-0000-0000-000000000000" };
        let mut next = Some(format!("/events?limit=1000&since=2026-03-05T12:00:01Z{begin}"));
        let mut walked: Vec<String> = Vec::new();
        while let Some(path) = next {
            let page = app.get(&path).bearer(&admin.token).await.expect(200);
            let mut shown = ids(&page.json());
            if relation == "prev" {
                shown.reverse();
            }
            walked.extend(shown);
            next = link(&page, relation);
        }
        if relation == "prev" {
            walked.reverse();
        }
        assert!(walked == all, "{relation}: {} of {}", walked.len(), all.len());
    }
}

#[tokio::test]
async fn an_administrator_sees_what_passes_the_filters() {
    let app = TestApp::start().await;
    let admin = app.named("root", AccessLevel::Admin).await;
    let ada = app.person("ada").await;
    app.advance(TimeDelta::days(2));
    let stranger = app.get("/users/me").await.expect(401);
    let refused = look(&app, &admin, "?status=4xx").await.expect(401);
    assert_eq!(refused.refusal().1, "TokenExpired");
    let admin = Person { token: app.log_in("root", &admin.password).await, ..admin };

    let page = look(&app, &admin, "?status=401").await.expect(200).json();
    let requests: Vec<(&Value, &Value)> =
        page.as_array().expect("a list").iter().map(|event| (&event["user"], &event["input"]["requestId"])).collect();
    let (of_stranger, of_admin) = (stranger.header("x-request-id"), refused.header("x-request-id"));
    assert_eq!(requests, [(&Value::Null, &of_stranger.into()), (&admin.id.clone().into(), &of_admin.into())]);

    let of_ada = look(&app, &admin, &format!("?user={}&limit=2", ada.id)).await.expect(200);
    let owners: Vec<Value> =
        of_ada.json().as_array().expect("a list").iter().map(|event| event["user"].clone()).collect();
    assert_eq!(owners, [ada.id.clone(), ada.id.clone()]);
    let older = link(&of_ada, "prev").expect("there is more");
    assert!(older.starts_with("/events?") && older.contains(&format!("user={}", ada.id)), "{older}");
    assert_eq!(ids(&app.get(&older).bearer(&admin.token).await.expect(200).json()).len(), 1);
    let bad = look(&app, &admin, "?user=ada&limit=0").await.refused(400, "ValidationFailed");
    assert_eq!(bad.bad_fields(), ["limit", "user"]);
    let table = app.get("/events?since=2026-03-07T00:00:00Z").bearer(&admin.token).header("accept", "text/csv");
    assert!(table.await.expect(200).text.lines().count() >= 4);
}

#[tokio::test]
async fn only_administrators_see_everybodys_events() {
    let app = TestApp::start().await;
    let (ada, admin) = (app.person("ada").await, app.named("root", AccessLevel::Admin).await);
    app.get("/events").await.refused(401, "Unauthorized");
    app.get("/events").bearer(&ada.token).await.refused(403, "Forbidden");
    app.get(&format!("/events?user={}", ada.id)).bearer(&ada.token).await.refused(403, "Forbidden");
    look(&app, &admin, "").await.expect(200);
    // Rights are those of the row, whatever the token says.
    app.execute("update users set read_only = true where login_name = 'root'").await;
    look(&app, &admin, "").await.expect(200);
    app.execute("update users set access_level = 'authorized' where login_name = 'root'").await;
    look(&app, &admin, "").await.refused(403, "Forbidden");
}
