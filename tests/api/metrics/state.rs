//! What merely is: lengths, sizes, ages.

use chrono::TimeDelta;

use crate::harness::program::until;
use crate::harness::{Call, TestApp};
use crate::metrics::page::Page;

#[tokio::test]
async fn a_mail_that_waits_is_seen_with_its_age_until_it_is_sent() {
    let app = TestApp::start().await;
    assert_eq!(app.metrics().await.value("outbox_waiting"), 0.0);
    app.sign_up("ada@example.com").await;
    app.advance(TimeDelta::seconds(600));
    until("the mail is on the page", async || app.metrics().await.value("outbox_waiting") == 1.0).await;
    let page = app.metrics().await;
    assert_eq!((page.value("outbox_oldest_age_seconds"), page.value("outbox_overdue_seconds")), (600.0, 600.0));
    assert_eq!(page.value(r#"mails_total{outcome="sent"}"#), 0.0);

    app.deliver_mail().await;
    until("it has left the page", async || app.metrics().await.value("outbox_waiting") == 0.0).await;
    let page = app.metrics().await;
    assert_eq!((page.value("outbox_oldest_age_seconds"), page.value("outbox_overdue_seconds")), (0.0, 0.0));
    assert_eq!(page.value(r#"mails_total{outcome="sent"}"#), 1.0);
    assert_eq!(page.value(r#"mails_total{outcome="failed"}"#), 0.0);
}

#[tokio::test]
async fn a_mail_that_cannot_be_sent_is_counted_at_every_attempt() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let folder = app.config.data_dir.join("mail");
    std::fs::remove_dir_all(&folder).expect("our own folder");
    app.deliver_mail().await;
    assert_eq!(app.metrics().await.value(r#"mails_total{outcome="delayed"}"#), 1.0);
    app.advance(TimeDelta::minutes(1));
    app.deliver_mail().await;
    let page = app.metrics().await;
    assert_eq!(page.value(r#"mails_total{outcome="delayed"}"#), 2.0);
    app.execute("update outbox set attempts = 100").await;
    app.advance(TimeDelta::days(1));
    app.deliver_mail().await;
    let page = app.metrics().await;
    assert_eq!(page.value(r#"mails_total{outcome="failed"}"#), 1.0);
    assert_eq!(page.value(r#"mails_total{outcome="sent"}"#), 0.0);
}

#[tokio::test]
async fn an_event_without_a_partition_of_its_month_is_seen() {
    let app = TestApp::start().await;
    assert_eq!(app.metrics().await.value("events_default_partition_rows"), 0.0);
    app.advance(TimeDelta::days(365));
    app.get("/nowhere").await.expect(404);
    until("the stray is on the page", async || app.metrics().await.value("events_default_partition_rows") == 1.0).await;
    app.make_partitions().await;
    until("it is home", async || app.metrics().await.value("events_default_partition_rows") == 0.0).await;
}

#[tokio::test]
async fn connections_are_counted_while_they_are_open() {
    let app = TestApp::start().await;
    // Each look is a connection of its own, which is not kept.
    let open = async || {
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("a client");
        let answer = Call(client.get(format!("http://{}/metrics", app.address))).await.expect(200);
        Page::read(&answer).value("http_connections")
    };
    assert_eq!(open().await, 1.0, "the one that asks");
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(tokio::net::TcpStream::connect(app.address).await.expect("the door is open"));
    }
    until("three more are open", async || open().await == 4.0).await;
    drop(idle);
    until("they are closed", async || open().await == 1.0).await;
}

#[tokio::test]
async fn the_writer_the_pool_and_the_door_are_measured() {
    let app = TestApp::start_with(|config| config.server.max_connections = 77).await;
    for _ in 0..3 {
        app.get("/nowhere").await.expect(404);
    }
    let page = app.metrics().await;
    assert_eq!(page.value("events_batch_size_sum"), 3.0, "three events");
    assert_eq!(page.value("events_batch_size_count"), page.value("events_commit_duration_seconds_count"));
    assert_eq!((page.value("events_queue_length"), page.value("events_queue_max")), (0.0, 10_000.0));
    assert_eq!((page.value("events_backlog"), page.value("events_dropped_total")), (0.0, 0.0));
    assert_eq!(page.value("http_connections_max"), 77.0);
    assert_eq!(page.value("database_connections_max"), 4.0, "of eight, three are the writer's and one the pulse's");
    let open = page.value("database_connections_in_use") + page.value("database_connections_idle");
    assert!((1.0..=4.0).contains(&open), "{page:?}");
    assert_eq!((page.value("database_up"), page.value("scrape_incomplete")), (1.0, 0.0));

    app.connection_holding("lock table users in access exclusive mode", async || {
        let hanging = app.post("/auth").basic("nobody", "x").into_future();
        let hanging = tokio::spawn(hanging);
        app.somebody_waits_for_a_lock().await;
        let page = app.metrics().await;
        assert!(page.value("database_connections_in_use") >= 1.0, "{page:?}");
        assert_eq!(page.value("http_requests_in_flight"), 2.0, "{page:?}");
        hanging.abort();
    })
    .await;
}
