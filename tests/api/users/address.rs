//! A taken e-mail: the stranger learns nothing, the owner everything.

use chrono::TimeDelta;

use crate::harness::people::email;
use crate::harness::{STRONG, TestApp, sign_up_body, together};
use bloq_accounts::users::NewName;

#[tokio::test]
async fn a_stranger_cannot_tell_a_taken_email_from_a_free_one() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let taken = app.post("/users").json(&sign_up_body("Ada@example.com")).await.expect(201);
    let free = app.post("/users").json(&sign_up_body("Bob@example.com")).await.expect(201);

    let (taken_id, free_id) = (taken.field("id"), free.field("id"));
    let disguised = taken.text.replace(&taken_id, &free_id).replace("Ada@", "Bob@");
    assert_eq!(disguised, free.text, "the same shape, to the byte");
    let names = |answer: &crate::harness::Answer| answer.headers.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&taken), names(&free));
    assert_ne!(taken_id, ada.id);
    assert_eq!(app.count("select count(*) from users").await, 2, "the id is stored nowhere");
    app.post("/auth").basic(&taken_id, STRONG).await.refused(401, "InvalidCredentials");
}

#[tokio::test]
async fn the_owner_is_told_of_a_stranger_once_a_day() {
    let app = TestApp::start().await;
    app.person("ada").await;
    together((0..5).map(|_| app.post("/users").json(&sign_up_body("ada@example.com")))).await;
    app.deliver_mail().await;
    assert_eq!(app.mailbox().to("ada@example.com").len(), 2, "the verification and one notice");
    let notice = app.mailbox().last_to("ada@example.com");
    assert!(notice.text.contains("2026-03-05 12:00 UTC") && notice.text.contains("127.0.0.1"), "{notice:?}");
    assert!(!notice.text.contains("Token:"), "there is nothing to prove");

    app.advance(TimeDelta::hours(24) - TimeDelta::milliseconds(1));
    app.sign_up("ada@example.com").await;
    assert_eq!(app.deliver_mail().await, 0, "not twice within a day");
    app.advance(TimeDelta::milliseconds(1));
    app.sign_up("ada@example.com").await;
    assert_eq!(app.deliver_mail().await, 1);
}

#[tokio::test]
async fn the_owner_sees_the_sign_up_of_a_stranger_among_the_events() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let before = app.events_of(&ada).await.len();
    app.sign_up("ada@example.com").await;
    let events = app.events_of(&ada).await;
    // One for looking at the events before, one for the stranger.
    assert_eq!(events.len(), before + 2);
    assert_eq!(events[before + 1]["input"]["path"], "/users");
}

#[tokio::test]
async fn a_user_made_by_an_operator_holds_the_email_at_once() {
    let app = TestApp::start().await;
    app.invited(NewName::Email(email("ada@example.com"))).await;
    app.sign_up("ADA@example.com").await;
    assert_eq!(app.count("select count(*) from users").await, 1);
    app.deliver_mail().await;
    let letters = app.mailbox().to("ada@example.com");
    assert_eq!(letters.len(), 2, "the verification mail of the operator's user, and the notice");
}

#[tokio::test]
async fn an_email_is_one_whatever_its_case_and_spelling() {
    let app = TestApp::start().await;
    let id = app.sign_up("Ada@BÜCHER.example").await;
    let token = app.mailed_token("Ada@xn--bcher-kva.example").await;
    app.verify(&id, &token).await.expect(200);
    for spelling in ["ada@bücher.example", "ADA@xn--BCHER-kva.example", "ada@ｂücher.example"] {
        app.sign_up(spelling).await;
        assert_eq!(app.count("select count(*) from users").await, 1, "{spelling}");
        app.log_in(spelling, STRONG).await;
    }
    let token = app.log_in("ada@bücher.example", STRONG).await;
    assert_eq!(app.me(&token).await.expect(200).field("email"), "Ada@BÜCHER.example", "shown as given");
}
