//! `admin mail …`, beside a running server.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use crate::harness::people::sign_up_body;
use crate::harness::program::{Place, free_address, until};

/// The words of the only mail that is listed; none while there is none.
async fn listed(place: &Place, option: &[&str]) -> Vec<String> {
    let list = place.run(&[&["admin", "mail", "list"], option].concat()).await.expect(0).stdout;
    let mut lines = list.lines();
    assert!(lines.next().is_some_and(|head| head.starts_with("ID ")), "{list}");
    lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_mail_that_waits_is_listed_and_taken_by_the_server_within_seconds_of_a_retry() {
    let place = Place::filled();
    let relay = free_address();
    let url = format!("smtp://{relay}");
    let smtp = [("BLOQ_ACCOUNTS_MAIL__TRANSPORT", "smtp"), ("BLOQ_ACCOUNTS_MAIL__SMTP_URL", &url)];
    let server = place.serve_with(|command| command.envs(smtp)).await;
    server.post("/users").json(&sign_up_body("ada@example.com")).await.expect(201);
    // Three tries take 45 seconds; after the first one the mail rests for 15.
    until("the first try fails", async || {
        let words = listed(&place, &["--waiting"]).await;
        words.get(1..3).is_some_and(|words| words == ["waiting", "1"])
    })
    .await;
    let words = listed(&place, &[]).await.join(" ");
    assert!(words.contains("verification ada@example.com, Connection error"), "{words}");
    assert!(listed(&place, &["--failed"]).await.is_empty());
    assert!(!server.said().contains("ada@example.com"), "no address in the log: {}", server.said());

    let listener = TcpListener::bind(relay).await.expect("the address is free again");
    let id = &listed(&place, &[]).await[0];
    let began = Instant::now();
    let retried = place.run(&["admin", "mail", "retry", id]).await.expect(0);
    assert!(retried.stderr.contains("tried again: 1"), "{retried:?}");
    listener.accept().await.expect("the courier comes");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_retry_of_nothing_is_told() {
    let place = Place::filled();
    let id = "0198a000-0000-7000-8000-000000000000";
    place.run(&["admin", "mail", "retry", id]).await.complains(&[id, "unknown"]);
    let none = place.run(&["admin", "mail", "retry", "--all-failed"]).await.expect(0);
    assert!(none.stderr.contains("tried again: 0"), "{none:?}");
    for wrong in [&["retry"][..], &["retry", "x"], &["retry", id, "--all-failed"], &["list", "--failed", "--waiting"]] {
        place.run(&[&["admin", "mail"], wrong].concat()).await.expect(2);
    }
}
