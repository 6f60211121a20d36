//! Mails that tell people what happened to their account, and how many of them there can be.

use chrono::TimeDelta;
use serde_json::json;

use crate::harness::people::sign_up_body;
use crate::harness::{STRONG, STRONGER, TestApp, together};

#[tokio::test]
async fn a_person_is_told_of_a_changed_password_and_a_new_client_key() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.change_password(&ada.token, STRONG, STRONGER).await.expect(200);
    assert_eq!(app.newest_subject(&ada.email).await, "Your password was changed");
    let call = app.post("/users/me/client-keys").bearer(&ada.token).json(&json!({"label": "<b>build</b> server"}));
    let id = call.await.expect(200).field("clientId");
    app.deliver_mail().await;
    let letter = app.mailbox().last_to(&ada.email);
    assert_eq!(letter.subject, "A client key was made for your account");
    assert!(letter.text.contains(&id) && letter.text.contains("127.0.0.1"), "{letter:?}");
    assert!(!letter.html.contains("<b>build"), "what people type is no markup: {}", letter.html);
}

#[tokio::test]
async fn a_person_is_told_of_a_log_in_from_somewhere_new() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let log_in = async |agent: &str| {
        app.post("/auth").basic(&ada.email, STRONG).header("user-agent", agent).await.expect(200);
        app.deliver_mail().await;
        app.mailbox()
            .to(&ada.email)
            .into_iter()
            .filter(|letter| letter.subject == "A new log-in to your account")
            .count()
    };
    assert_eq!(log_in("tests/1.0").await, 0, "neither the first one nor its like");
    assert_eq!(log_in("Mallory/1.0").await, 1);
    let letter = app.mailbox().last_to(&ada.email);
    assert!(letter.text.contains("127.0.0.1") && letter.text.contains("Mallory/1.0"), "{letter:?}");
    assert_eq!(log_in("Mallory/1.0").await, 1);
    app.advance(TimeDelta::days(90));
    assert_eq!(log_in("Mallory/1.0").await, 2);
    let token = app.log_in(&ada.email, STRONG).await;
    app.change_profile(&token, &json!({"notifications": {"newLogIn": false}})).await.expect(200);
    let before = log_in("tests/1.0").await;
    assert_eq!(log_in("Eve/1.0").await, before);
    // A refused one is none.
    app.post("/auth").basic(&ada.email, STRONGER).header("user-agent", "Eve/2.0").await.expect(401);
}

#[tokio::test]
async fn each_notice_can_be_switched_off_by_itself() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let patch = json!({"notifications": {"passwordChanged": false, "newClientKey": false, "emailChanged": false}});
    app.change_profile(&ada.token, &patch).await.expect(200);
    app.deliver_mail().await;
    let before = app.mailbox().to(&ada.email).len();
    app.change_password(&ada.token, STRONG, STRONGER).await.expect(200);
    app.client_key(&ada).await;
    app.deliver_mail().await;
    assert_eq!(app.mailbox().to(&ada.email).len(), before);
    // The announcement is no notice: whoever took the account must not be able to silence it.
    app.change_email(&ada.token, "new@example.com", STRONGER).await.expect(202);
    let token = app.mailed_token("new@example.com").await;
    assert_eq!(app.mailbox().to(&ada.email).len(), before + 1);
    app.confirm_email(&ada.id, &token).await.expect(200);
    app.deliver_mail().await;
    assert_eq!(app.mailbox().to(&ada.email).len(), before + 1);

    app.change_profile(&ada.token, &json!({"notifications": {"newClientKey": null}})).await.expect(200);
    app.client_key(&ada).await;
    assert_eq!(app.newest_subject("new@example.com").await, "A client key was made for your account");
}

#[tokio::test]
async fn a_recipient_gets_three_mails_of_a_kind_an_hour_and_ten_a_day() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let resets = async || {
        app.deliver_mail().await;
        app.mailbox().to(&ada.email).into_iter().filter(|letter| letter.subject == "Choose a new password").count()
    };
    for _ in 0..5 {
        app.forget_password(&ada.email).await.expect(202);
    }
    assert_eq!(resets().await, 3);
    app.advance(TimeDelta::hours(1) - TimeDelta::milliseconds(1));
    app.forget_password(&ada.email).await.expect(202);
    assert_eq!(resets().await, 3);
    app.advance(TimeDelta::milliseconds(1));
    for hour in 1..6 {
        for _ in 0..4 {
            app.forget_password(&ada.email).await.expect(202);
        }
        assert_eq!(resets().await, (3 * (hour + 1)).min(10));
        app.advance(TimeDelta::hours(1));
    }
    app.advance(TimeDelta::hours(24));
    app.forget_password(&ada.email).await.expect(202);
    assert_eq!(resets().await, 11);
    // Another kind has a budget of its own.
    let fresh = app.log_in(&ada.email, STRONG).await;
    app.change_password(&fresh, STRONG, STRONGER).await.expect(200);
    assert_eq!(app.newest_subject(&ada.email).await, "Your password was changed");
}

#[tokio::test]
async fn a_burst_or_another_spelling_is_no_way_around_the_caps() {
    let app = TestApp::start().await;
    let spellings = ["eve@example.com", "Eve@example.com", "EVE@EXAMPLE.COM", "eVe@eXample.com"];
    let bodies: Vec<_> = (0..20).map(|number| sign_up_body(spellings[number % 4])).collect();
    for answer in together(bodies.iter().map(|body| app.post("/users").json(body))).await {
        answer.expect(201);
    }
    assert_eq!(app.deliver_mail().await, 3);
}

#[tokio::test]
async fn a_sign_up_whose_mail_the_caps_stop_is_stored_nowhere() {
    let app = TestApp::start().await;
    for _ in 0..3 {
        app.sign_up("eve@example.com").await;
    }
    let answer = app.post("/users").json(&sign_up_body("eve@example.com")).await.expect(201);
    assert_eq!(answer.json()["email"], "eve@example.com");
    assert_eq!(app.count("select count(*) from users").await, 3);
    assert_eq!(app.count("select count(*) from one_time_tokens").await, 3);
    assert_eq!(app.owner_of(&answer).await, None, "nobody's event");
    let resent = app.post("/users/eve@example.com/token").await.expect(202);
    assert_eq!(app.deliver_mail().await, 3);
    assert_eq!(app.count("select count(*) from one_time_tokens").await, 3, "a token without a mail is nobody's");
    let _ = resent;
}
