//! Events while they happen: each once, none left out, over replicas and whatever the order of commits.

use std::collections::BTreeSet;
use std::sync::Arc;

use bloq_accounts::events::Event;
use chrono::{DateTime, TimeDelta};
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use crate::harness::download::Download;
use crate::harness::listener::Listener;
use crate::harness::program::until;
use crate::harness::{Call, Person, TestApp, together};

const PATH: &str = "/users/me/events/stream";

/// A server whose clock stands at the present of Postgres, so that its events are written about their instant.
async fn present() -> TestApp {
    let app = TestApp::start().await;
    come_to_the_present(&app).await;
    app
}

async fn come_to_the_present(app: &TestApp) {
    let now = app.count("select (extract(epoch from clock_timestamp()) * 1000)::bigint").await;
    app.advance(DateTime::from_timestamp_millis(now).expect("a time") - app.now());
}

fn stream(app: &TestApp, person: &Person) -> Call {
    app.get(PATH).bearer(&person.token)
}

async fn follow(app: &TestApp, person: &Person) -> Listener {
    Listener::open(stream(app, person)).await
}

async fn resume(app: &TestApp, person: &Person, last: &str) -> Listener {
    Listener::open(stream(app, person).header("last-event-id", last)).await
}

fn id(event: &Value) -> String {
    event["id"].as_str().expect("an id").to_owned()
}

fn requests(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["input"]["requestId"].as_str().expect("a text")).collect()
}

/// A request of a person, by a name of the test's own.
async fn ask(app: &TestApp, person: &Person, name: &str) {
    app.get("/users/me").bearer(&person.token).header("x-request-id", name).await.expect(200);
}

#[tokio::test]
async fn a_stream_tells_of_what_happens_from_now_on_as_the_list_does() {
    for app in [TestApp::start().await, present().await] {
        let (ada, bob) = (app.person("ada").await, app.person("bob").await);
        let mut listener = follow(&app, &ada).await;
        assert_eq!(listener.header("cache-control"), "no-store");
        let own = listener.header("x-request-id");
        assert_eq!(listener.block().await.as_deref(), Some("retry: 2000\n\n"));
        ask(&app, &bob, "bobs").await;
        ask(&app, &ada, "first").await;
        ask(&app, &ada, "second").await;
        let heard = listener.until("second").await;
        assert_eq!(requests(&heard), [own.as_str(), "first", "second"]);
        assert_eq!(heard[0]["serviceData"]["stream"], true);
        let all = app.events_of(&ada).await;
        assert_eq!(heard[1..], all[all.len() - 2..]);
    }
}

#[tokio::test]
async fn a_stream_is_an_event_before_its_first_byte_and_counts_its_bytes_in_the_end() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let mut listener = follow(&app, &ada).await;
    let own = listener.header("x-request-id");
    let rows = app.rows_of(&own).await;
    assert_eq!((rows.len(), &rows[0]["service_data"]["stream"], &rows[0]["bytes_out"]), (1, &true.into(), &0.into()));
    listener.until(&own).await;
    drop(listener);
    until("the bytes are counted", async || app.rows_of(&own).await[0]["bytes_out"].as_u64() > Some(300)).await;
    assert_eq!(app.rows_of(&own).await.len(), 1);
}

#[tokio::test]
async fn a_stream_goes_on_at_another_server_without_gap_or_double() {
    for app in [TestApp::start().await, present().await] {
        let replica = app.replica().await;
        let ada = app.person("ada").await;
        let mut listener = follow(&app, &ada).await;
        let begun = listener.header("x-request-id");
        let mut heard = listener.until(&begun).await;
        let mut last = id(&heard[0]);
        for round in 0..4 {
            // While nobody listens.
            drop(listener);
            let crowd = (0..30).map(|number| {
                let server = if number % 2 == 0 { &app } else { &replica };
                server.get("/users/me").bearer(&ada.token).header("x-request-id", &format!("{round}-{number}"))
            });
            together(crowd).await;
            let server = if round % 2 == 0 { &replica } else { &app };
            listener = resume(server, &ada, &last).await;
            ask(&app, &ada, &format!("last-{round}")).await;
            heard.extend(listener.until(&format!("last-{round}")).await);
            last = id(heard.last().expect("some"));
        }
        let ids: Vec<String> = heard.iter().map(id).collect();
        let distinct: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(ids.len(), distinct.len(), "none twice");
        let missed = Listener::open(stream(&app, &ada).header("last-event-id", &ids[0])).await.until("last-3").await;
        assert_eq!(missed.iter().map(id).collect::<Vec<_>>(), ids[1..], "all of it again, in the same order");
        let named = requests(&heard).into_iter().filter(|name| name.contains('-') && name.len() < 8).count();
        assert_eq!(named, 4 * 31);
    }
}

/// An event of the only user, with an id of so many milliseconds ago.
const SLOW: &str =
    "insert into events (id, user_id, service, started_at, ended_at, status, bytes_out, method, path, request_id)
     select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint - 500), 12, '0') || '70008000000000000001')::uuid,
            (select id from users), 'cloud-accounts', now(), now(), 200, 0, 'GET', '/', 'slow'";

#[tokio::test]
async fn an_event_that_is_committed_late_comes_before_those_that_waited_for_it() {
    let app = present().await;
    let replica = app.replica().await;
    let ada = app.person("ada").await;
    let mut listener = follow(&app, &ada).await;
    let own = listener.header("x-request-id");
    let begun = listener.until(&own).await;

    let mut transaction = app.pool().begin().await.expect("a transaction");
    sqlx::query(SLOW).execute(&mut *transaction).await.expect("it is inserted");
    ask(&app, &ada, "fast").await;
    // This one begins while the slow one is under way.
    let mut second = follow(&replica, &ada).await;
    ask(&replica, &ada, "faster").await;
    transaction.commit().await.expect("a commit");
    let heard = listener.until("faster").await;
    let opened = second.header("x-request-id");
    assert_eq!(requests(&heard), ["slow", "fast", &opened, "faster"]);
    let heard_second = second.until("faster").await;
    assert!(requests(&heard_second).starts_with(&["slow"]), "{heard_second:?}");

    let from_begin = resume(&replica, &ada, &id(&begun[0])).await.until("faster").await;
    assert_eq!(from_begin, heard);
    let from_slow = resume(&replica, &ada, &id(&heard[0])).await.until("faster").await;
    assert_eq!(from_slow, heard[1..]);
    let from_fast = resume(&app, &ada, &id(&heard[1])).await.until("faster").await;
    assert_eq!(from_fast, heard[2..]);
}

#[tokio::test]
async fn an_event_that_was_written_long_after_its_instant_is_heard_too() {
    let app = present().await;
    let ada = app.person("ada").await;
    let mut listener = follow(&app, &ada).await;
    let own = listener.header("x-request-id");
    let begun = listener.until(&own).await;
    // As after an outage of an hour, through which it waited in memory.
    let hour_ago = (app.now() - TimeDelta::hours(1)).timestamp_millis().cast_unsigned();
    let late = Event {
        id: Uuid::from_u128((u128::from(hour_ago) << 80) | 0x7000_8000_0000_0000_0001),
        user: Some(ada.id.parse().expect("a user id")),
        service: "cloud-accounts".into(),
        started_at: app.now(),
        ended_at: app.now(),
        status: 503,
        bytes_out: 0,
        method: "GET".into(),
        path: "/".into(),
        ip: None,
        user_agent: None,
        request_id: "late".into(),
        service_data: None,
    };
    app.app.events.hand_over(Arc::new(late));
    let heard = listener.until("late").await;
    assert_eq!(requests(&heard), ["late"]);
    assert_eq!(app.count("select count(*) from events where request_id = 'late' and written_at is not null").await, 1);
    ask(&app, &ada, "after").await;
    assert_eq!(requests(&listener.until("after").await), ["after"]);
    let again = resume(&app, &ada, &id(&begun[0])).await.until("after").await;
    assert_eq!(requests(&again), ["late", "after"]);
    let again = resume(&app, &ada, &id(&heard[0])).await.until("after").await;
    assert_eq!(requests(&again), ["after"]);
}

#[tokio::test]
async fn a_stream_catches_up_with_more_than_one_look_shows() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute(
        "insert into events (id, user_id, service, started_at, ended_at, status, bytes_out, method, path, request_id)
         select ('019cb000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, (select id from users), 'cloud-accounts',
                now(), now(), case when n % 100 = 0 then 404 else 200 end, 0, 'GET', '/', 'r'
         from generate_series(1, 45000) n",
    )
    .await;
    // As what was there before the migration: by a transaction that is long over.
    let over = "select (pg_snapshot_xmin(pg_current_snapshot()) > (select xact from events order by xact desc limit 1))::int::bigint";
    until("the transaction is over for everybody", async || app.count(over).await == 1).await;
    let first = format!("event-019cb000-0000-7000-8000-{:012x}", 10);
    let mut listener =
        Listener::open(app.get(&format!("{PATH}?status=404")).bearer(&ada.token).header("last-event-id", &first)).await;
    app.get(&format!("/users/me/client-keys/{}", "0".repeat(40))).bearer(&ada.token).await.expect(405);
    let missing = app.delete(&format!("/users/me/client-keys/{}", "0".repeat(40))).bearer(&ada.token);
    missing.header("x-request-id", "end").await.expect(404);
    let heard: Vec<String> = listener.until("end").await.iter().map(id).collect();
    assert_eq!(heard.len(), 451);
    assert!(heard.is_sorted());
}

#[tokio::test]
async fn a_stream_catches_up_with_a_server_whose_clock_was_ahead() {
    let app = present().await;
    let ada = app.person("ada").await;
    let first = id(&app.events_of(&ada).await[0]);
    // By an hour, so that each of its events says when it was written; some of another server among them.
    for _ in 0..3 {
        app.execute(
            "insert into events (id, user_id, started_at, ended_at, status, bytes_out, method, path, request_id, written_at)
             select (lpad(to_hex((extract(epoch from statement_timestamp()) * 1000)::bigint
                                 + case when n % 20 = 0 then 0 else 3600000 end + n % 500), 12, '0')
                     || '70008000' || substr(gen_random_uuid()::text, 25))::uuid,
                    (select id from users), now(), now(), case when n % 200 = 0 then 404 else 200 end, 0, 'GET', '/clock', 'r',
                    case when n % 20 > 0 then statement_timestamp() end
             from generate_series(1, 3000) n",
        )
        .await;
    }
    for (filter, expected) in [("", 9000), ("?status=404", 45)] {
        let call = app.get(&format!("{PATH}{filter}")).bearer(&ada.token).header("last-event-id", &first);
        let mut listener = Listener::open(call).await;
        app.delete(&format!("/users/me/client-keys/{}", "0".repeat(40)))
            .bearer(&ada.token)
            .header("x-request-id", &format!("end{expected}"))
            .await
            .expect(404);
        let heard = listener.until(&format!("end{expected}")).await;
        let clock: Vec<String> = heard.iter().filter(|event| event["input"]["path"] == "/clock").map(id).collect();
        assert_eq!((clock.len(), clock.iter().collect::<BTreeSet<_>>().len()), (expected, expected), "{filter}");
    }
}

#[tokio::test]
async fn an_event_that_was_seen_in_a_list_before_its_turn_is_not_told_again() {
    let app = present().await;
    let ada = app.person("ada").await;
    let mut transaction = app.pool().begin().await.expect("a transaction");
    sqlx::query(SLOW).execute(&mut *transaction).await.expect("it is inserted");
    ask(&app, &ada, "fast").await;
    let seen = id(app.events_of(&ada).await.last().expect("it is there"));
    let mut listener = resume(&app, &ada, &seen).await;
    transaction.commit().await.expect("a commit");
    ask(&app, &ada, "after").await;
    let heard = listener.until("after").await;
    assert_eq!(requests(&heard).iter().filter(|name| **name == "fast").count(), 0, "{heard:?}");
}

#[tokio::test]
async fn after_a_restore_a_stream_goes_on_by_id() {
    // A backup keeps the numbers of transactions of another Postgres: the new one comes to them later, or has passed them.
    for (ahead, passed) in [(1_000_000, 0), (200, 300)] {
        let app = present().await;
        let ada = app.person("ada").await;
        for name in ["one", "two", "three"] {
            ask(&app, &ada, name).await;
        }
        let events = app.events_of(&ada).await;
        let one = id(events.iter().find(|event| event["input"]["requestId"] == "one").expect("it is there"));
        let foreign = "update events set xact = (xact::text::bigint + $1)::text::xid8";
        sqlx::query(foreign).bind(ahead).execute(&app.pool()).await.expect("the events of another Postgres");
        app.execute("update clusters set system_identifier = 1").await;
        let restored = app.replica().await;
        come_to_the_present(&app).await;
        ask(&restored, &ada, "four").await;
        for _ in 0..passed {
            app.execute("select pg_current_xact_id()").await;
        }
        if passed > 0 {
            let over = "select (pg_snapshot_xmin(pg_current_snapshot()) > (select xact from events order by xact desc limit 1))::int::bigint";
            until("the numbers are passed", async || app.count(over).await == 1).await;
        }
        let mut listener = resume(&restored, &ada, &one).await;
        ask(&restored, &ada, "five").await;
        let heard = listener.until("five").await;
        let names = requests(&heard);
        // Between them the look at the list.
        assert_eq!((&names[..2], names[3], names.last()), (&["two", "three"][..], "four", Some(&"five")));
        assert_eq!(heard.iter().map(id).collect::<BTreeSet<_>>().len(), heard.len());
        // What came since the restore has numbers of this Postgres.
        let four = resume(&restored, &ada, &id(&heard[3])).await.until("five").await;
        assert_eq!(four, heard[4..]);
    }
}

#[tokio::test]
async fn only_own_events_are_a_place_to_go_on_from() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let others = id(&app.events_of(&bob).await[0]);
    for last in ["7", "event-", "event-0199f0a4-8f6e-7c31-a3c5-2f1de2a8b0c4", &others] {
        let refused = stream(&app, &ada).header("last-event-id", last).await.refused(400, "ValidationFailed");
        assert_eq!(refused.bad_fields(), ["Last-Event-ID"], "{last}");
    }
    let refused =
        app.get(&format!("{PATH}?status=x&limit=5")).bearer(&ada.token).await.refused(400, "ValidationFailed");
    assert_eq!(refused.bad_fields(), ["limit", "status"]);
    app.get(PATH).await.refused(401, "Unauthorized");
    let key = app.client_key(&ada).await;
    let (access, _) = app.grant(&key).await;
    app.get(PATH).bearer(&access).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn a_stream_shows_what_its_filter_passes() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let mut listener =
        Listener::open(app.get(&format!("{PATH}?status=4xx&service=cloud-accounts")).bearer(&ada.token)).await;
    ask(&app, &ada, "fine").await;
    app.post("/auth").basic(&ada.email, "wrong").header("x-request-id", "wrong").await.expect(401);
    assert_eq!(requests(&listener.until("wrong").await), ["wrong"]);
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let app = TestApp::start().await;
    let streams = async |name: &str| {
        let person = app.person(name).await;
        let listener = follow(&app, &person).await;
        (person, listener)
    };
    let (ada, logged_out) = streams("ada").await;
    app.delete("/auth").bearer(&ada.token).await.expect(204);
    let (bob, revoked) = streams("bob").await;
    let other = app.log_in(&bob.email, &bob.password).await;
    app.delete("/users/me/tokens").bearer(&other).await.expect(204);
    let (cyd, changed) = streams("cyd").await;
    let other = app.log_in(&cyd.email, &cyd.password).await;
    app.change_password(&other, &cyd.password, crate::harness::STRONGER).await.expect(200);
    let (dan, blocked) = streams("dan").await;
    app.block(&dan.id, "admin").await;
    let (eve, deleted) = streams("eve").await;
    app.leave(&eve.token, &eve.password).await.expect(204);
    for listener in [logged_out, revoked, changed, blocked, deleted] {
        assert!(listener.ends().await);
    }
    let (_, expired) = streams("fay").await;
    app.advance(TimeDelta::hours(12));
    assert!(expired.ends().await);
}

#[tokio::test]
async fn whoever_reads_a_stream_slowly_sees_nothing_of_what_waited_for_long() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    // What is read at once, and fills every buffer between server and client.
    app.execute(
        "insert into events (id, user_id, started_at, ended_at, status, bytes_out, method, path, request_id)
         select ('019cb000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, (select id from users), now(), now(), 200, 0, 'GET',
                '/' || repeat('x', 200000), 'large'
         from generate_series(0, 90) n",
    )
    .await;
    let first = "event-019cb000-0000-7000-8000-000000000000";
    ask(&app, &ada, "end").await;
    let all = resume(&app, &ada, first).await.until("end").await;
    assert_eq!(requests(&all).iter().filter(|name| **name == "large").count(), 90);
    let stream = Download::begin_with(app.address, PATH, &ada.token, ("Last-Event-ID", first)).await;
    app.delete("/auth").bearer(&ada.token).await.expect(204);
    let asked_at = std::time::Instant::now();
    until("the token is asked for again", async || asked_at.elapsed().as_secs() >= 3).await;
    let heard = stream.rest().await;
    let large = String::from_utf8_lossy(&heard).matches("\"requestId\":\"large\"").count();
    assert!(large < 90, "{large}");
}

#[tokio::test]
async fn a_person_has_five_streams_and_no_more() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(follow(&app, &ada).await);
    }
    let refused = stream(&app, &ada).await.refused(429, "TooManyRequests");
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    follow(&app, &bob).await;
    ask(&app, &ada, "all").await;
    for listener in &mut open {
        listener.until("all").await;
    }
    open.pop();
    // Whoever asks for the head alone leaves nothing behind.
    for _ in 0..7 {
        until("the place is free", async || app.call(Method::HEAD, PATH).bearer(&ada.token).await.status == 200).await;
    }
}

#[tokio::test]
async fn a_stream_is_in_no_ones_way_when_the_server_stops() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let listener = follow(&app, &ada).await;
    let began = std::time::Instant::now();
    app.stop().await;
    assert!(began.elapsed().as_millis() < 2500, "{:?}: not cut off after the grace of 3 s", began.elapsed());
    assert!(listener.ends().await);
}

#[tokio::test]
async fn a_stream_ends_when_the_database_does_not_answer() {
    let app = TestApp::start_with(|config| config.server.request_timeout_seconds = 1).await;
    let replica = app.replica().await;
    let ada = app.person("ada").await;
    let mut listener = follow(&app, &ada).await;
    let own = listener.header("x-request-id");
    let last = id(&listener.until(&own).await[0]);
    app.connection_holding("lock table account_tokens in access exclusive mode", async || {
        assert!(listener.ends().await);
    })
    .await;
    let mut listener = resume(&replica, &ada, &last).await;
    ask(&app, &ada, "back").await;
    listener.until("back").await;
}
