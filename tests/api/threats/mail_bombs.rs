//! Mails that somebody else asked for: caps that no way around leads past.

use crate::harness::{STRONG, TestApp};

/// Somebody who owns a domain has any number of addresses there.
async fn asks_for(app: &TestApp, victim: &str, round: u32) {
    let eve = app.person(&format!("eve{round}")).await;
    app.change_email(&eve.token, victim, STRONG).await.expect(202);
    app.deliver_mail().await;
    app.leave(&eve.token, STRONG).await.expect(204);
}

#[tokio::test]
async fn whoever_leaves_and_comes_back_does_not_bomb_a_mailbox() {
    let app = TestApp::start().await;
    for round in 0..5 {
        asks_for(&app, "victim@example.org", round).await;
    }
    assert_eq!(app.mailbox().to("victim@example.org").len(), 3);
    app.advance(chrono::TimeDelta::hours(1));
    asks_for(&app, "VICTIM@example.org", 5).await;
    assert_eq!(app.mailbox().to("VICTIM@example.org").len(), 1);
}

#[tokio::test]
async fn one_account_does_not_write_to_the_whole_world() {
    let app = TestApp::start().await;
    let eve = app.person("eve").await;
    let ask = async |stranger: u32| {
        let address = format!("stranger{stranger}@example.org");
        let answer = app.change_email(&eve.token, &address, STRONG).await.expect(202);
        app.deliver_mail().await;
        (answer.text, app.mailbox().to(&address).len())
    };
    let (answer, mails) = ask(1).await;
    assert_eq!(mails, 1);
    for (stranger, expected) in [(2, 1), (3, 1), (4, 0), (5, 0)] {
        assert_eq!(ask(stranger).await, (answer.clone(), expected), "stranger {stranger}");
    }
    // What went nowhere voids nothing.
    let token = app.mailbox().last_to("stranger3@example.org").token();
    app.confirm_email(&eve.id, &token).await.expect(200);
}

#[tokio::test]
async fn nor_does_an_account_without_an_address() {
    let app = TestApp::start().await;
    let eve = app.named("eve", bloq_accounts::users::AccessLevel::Authorized).await;
    for stranger in 0..5 {
        app.change_email(&eve.token, &format!("stranger{stranger}@example.org"), STRONG).await.expect(202);
    }
    assert_eq!(app.deliver_mail().await, 3);
}

#[tokio::test]
async fn what_is_counted_names_nobody_and_is_forgotten_after_a_day() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let digest = app.text("select encode(digest, 'hex') from mail_counts").await;
    let theirs = TestApp::start_with(|config| config.server.master_key = "1f".repeat(32).into()).await;
    theirs.sign_up("ada@example.com").await;
    assert_ne!(theirs.text("select encode(digest, 'hex') from mail_counts").await, digest, "no plain hash");
    app.advance(chrono::TimeDelta::days(1) - chrono::TimeDelta::milliseconds(1));
    app.sweep().await;
    assert_eq!(app.count("select count(*) from mail_counts").await, 1);
    app.advance(chrono::TimeDelta::milliseconds(1));
    app.sweep().await;
    assert_eq!(app.count("select count(*) from mail_counts").await, 0);
}

#[tokio::test]
async fn an_account_that_moves_from_address_to_address_writes_to_no_more_strangers() {
    let app = TestApp::start().await;
    let eve = app.person("eve").await;
    let mut mails = 0;
    for step in 0..4 {
        let own = format!("eve{step}@example.com");
        app.change_email(&eve.token, &own, STRONG).await.expect(202);
        app.deliver_mail().await;
        let Some(letter) = app.mailbox().to(&own).pop() else { continue };
        mails += 1;
        app.confirm_email(&eve.id, &letter.token()).await.expect(200);
    }
    assert_eq!(mails, 3);
}

#[tokio::test]
async fn one_mailbox_is_one_account_however_it_is_spelled() {
    let app = TestApp::start().await;
    for spelling in
        ["\"victim\"@example.org", "\"v\\ictim\"@example.org", "(x)victim@example.org", "victim@example.org."]
    {
        let answer = app.post("/users").json(&crate::harness::sign_up_body(spelling)).await;
        assert_eq!(answer.refused(400, "ValidationFailed").bad_fields(), ["email"], "{spelling}");
    }
}
