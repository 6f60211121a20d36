//! `GET /users/me`.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::TestApp;
use bloq_accounts::users::AccessLevel;

#[tokio::test]
async fn a_person_sees_the_own_profile() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let me = app.me(&ada.token).await.expect(200);
    assert_eq!(me.header("content-type"), "application/json");
    assert_eq!(
        me.json(),
        json!({
            "id": ada.id,
            "email": "ada@example.com",
            "displayName": "Somebody",
            "entityType": "individual",
            "billingAddress": null,
            "notifications": {"passwordChanged": true, "emailChanged": true, "newClientKey": true, "newLogIn": true},
            "createdAt": "2026-03-05T12:00:00.123Z",
            "updatedAt": "2026-03-05T12:00:00.123Z",
            "verifiedAt": "2026-03-05T12:00:00.123Z",
        })
    );
}

#[tokio::test]
async fn a_user_without_email_is_shown_by_login_name() {
    let app = TestApp::start().await;
    let babbage = app.named("Babbage", AccessLevel::Authorized).await;
    let me = app.me(&babbage.token).await.expect(200).json();
    assert_eq!((&me["email"], &me["displayName"]), (&Value::Null, &json!("Babbage")));
    assert_eq!(me["verifiedAt"], "2026-03-05T12:00:00.123Z", "the first activation");
}

#[tokio::test]
async fn a_read_only_user_reads() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute("update users set read_only = true").await;
    app.me(&ada.token).await.expect(200);
    app.get("/users/me/client-keys").bearer(&ada.token).await.expect(200);
    let token = app.log_in(&ada.email, &ada.password).await;
    app.delete("/auth").bearer(&token).await.expect(204);
}

#[tokio::test]
async fn a_whole_second_still_shows_three_digits() {
    let app = TestApp::start().await;
    app.advance(TimeDelta::milliseconds(877));
    let ada = app.person("ada").await;
    assert_eq!(app.me(&ada.token).await.expect(200).field("verifiedAt"), "2026-03-05T12:00:01.000Z");
}
