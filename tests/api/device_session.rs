//! The session that all replicas share: one a day, and another when somebody ends it.

use std::collections::HashSet;

use bloq_accounts::clock::Clock;
use bloq_accounts::device_session::{DeviceSession, Session};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use crate::harness::TestApp;

async fn current(app: &TestApp) -> Session {
    app.app.device_session.current().await.expect("a session")
}

/// Asks two replicas many times at once; answers what they all agree on.
async fn agreed(one: &TestApp, two: &TestApp) -> Session {
    let mut answers = join_all((0..40).map(|turn| current(if turn % 2 == 0 { one } else { two }))).await;
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.remove(0)
}

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

#[tokio::test]
async fn replicas_that_ask_at_the_same_moment_begin_one_session() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    assert_eq!(app.count("select count(*) from device_session").await, 0, "nobody has asked");
    let session = agreed(&app, &other).await;
    assert_eq!(session.began_at, app.now());
    assert!(session.nonce.len() == 64 && session.nonce.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    assert_eq!(agreed(&app, &other).await, session);
}

#[tokio::test]
async fn a_session_outlives_a_restart_of_the_server() {
    let app = TestApp::start().await;
    let session = current(&app).await;
    assert_eq!(current(&app.restart().await).await, session);
}

#[tokio::test]
async fn at_midnight_everybody_gets_the_same_new_session() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    let yesterday = agreed(&app, &other).await;
    app.advance(instant("2026-03-05T23:59:59.999Z") - app.now());
    assert_eq!(agreed(&app, &other).await, yesterday);
    app.advance(TimeDelta::milliseconds(1));
    let today = agreed(&app, &other).await;
    assert_eq!(today.began_at, instant("2026-03-06T00:00:00Z"));
    assert!(today.id != yesterday.id && today.nonce != yesterday.nonce);
    app.advance(TimeDelta::hours(23));
    assert_eq!(agreed(&app, &other).await, today);
    assert_eq!(app.count("select count(*) from device_session").await, 1);
}

#[tokio::test]
async fn a_server_whose_clock_is_behind_takes_the_session_of_the_next_day() {
    let app = TestApp::start().await;
    app.advance(instant("2026-03-05T23:59:59Z") - app.now());
    let ahead = app.replica_at(Clock::frozen(instant("2026-03-06T00:00:01Z"))).await;
    let yesterday = current(&app).await;
    let tomorrow = current(&ahead).await;
    assert_ne!(tomorrow, yesterday);
    assert_eq!(agreed(&app, &ahead).await, tomorrow);
    app.advance(TimeDelta::seconds(1));
    assert_eq!(agreed(&app, &ahead).await, tomorrow, "it is midnight here, too");
}

#[tokio::test]
async fn who_ends_the_session_ends_it_on_every_replica() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    let first = app.app.device_session.invalidate().await.expect("a session without one before");
    assert_eq!(agreed(&app, &other).await, first);
    app.advance(TimeDelta::hours(1));
    let second = other.app.device_session.invalidate().await.expect("a session");
    assert!(second.id != first.id && second.nonce != first.nonce && second.began_at == app.now());
    assert_eq!(agreed(&app, &other).await, second);
}

#[tokio::test]
async fn of_many_who_end_it_at_once_each_begins_one_and_one_stays() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    let ended = join_all((0..20).map(|turn| {
        let session = if turn % 2 == 0 { &app } else { &other }.app.device_session.clone();
        async move { session.invalidate().await.expect("a session") }
    }))
    .await;
    let ids: HashSet<_> = ended.iter().map(|session| session.id).collect();
    assert_eq!(ids.len(), 20);
    assert!(ended.contains(&agreed(&app, &other).await));
}

#[test]
fn a_session_ends_at_the_next_midnight() {
    for (now, end) in [
        ("2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z"),
        ("2026-03-05T12:00:00.123Z", "2026-03-06T00:00:00Z"),
        ("2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00Z"),
    ] {
        assert_eq!(DeviceSession::ends_at(instant(now)), instant(end), "{now}");
    }
}
