//! `PUT /users/me/password`: what a change ends and what it leaves alone.

use serde_json::json;

use crate::harness::{STRONG, STRONGER, TestApp, count, together};
use chrono::TimeDelta;

#[tokio::test]
async fn a_person_changes_the_password() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.advance(TimeDelta::minutes(1));
    let profile = app.change_password(&ada.token, STRONG, STRONGER).await.expect(200).json();
    assert_eq!((&profile["id"], &profile["updatedAt"]), (&json!(ada.id), &json!("2026-03-05T12:01:00.123Z")));
    assert_eq!(profile["verifiedAt"], "2026-03-05T12:00:00.123Z");
    app.post("/auth").basic(&ada.email, STRONG).await.refused(401, "InvalidCredentials");
    app.log_in(&ada.email, STRONGER).await;
}

#[tokio::test]
async fn a_changed_password_ends_every_other_token_in_the_same_second() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (older, newer) = (app.log_in(&ada.email, STRONG).await, app.log_in(&ada.id, STRONG).await);
    app.change_password(&older, STRONG, STRONGER).await.expect(200);
    app.me(&older).await.expect(200);
    for dead in [&ada.token, &newer] {
        app.me(dead).await.refused(401, "TokenInvalid");
    }
    let fresh = app.log_in(&ada.email, STRONGER).await;
    app.me(&fresh).await.expect(200);
    app.me(&older).await.expect(200);
}

#[tokio::test]
async fn client_keys_and_their_tokens_survive_a_changed_password() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let (_, refresh) = app.grant(&key).await;
    app.change_password(&ada.token, STRONG, STRONGER).await.expect(200);
    app.grant(&key).await;
    app.grant_by_refresh(&refresh).await.expect(200);
}

#[tokio::test]
async fn a_wrong_old_password_changes_nothing() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let too_long = "a".repeat(1025);
    for wrong in [STRONGER, "", "analytical engine 1843", &too_long] {
        app.change_password(&ada.token, wrong, STRONGER).await.refused(400, "InvalidPassword");
    }
    // The old one is asked first: nobody learns about it from the rule for the new one.
    app.change_password(&ada.token, "wrong", "weak").await.refused(400, "InvalidPassword");
    app.log_in(&ada.email, STRONG).await;
    app.me(&ada.token).await.expect(200);
}

#[tokio::test]
async fn a_change_needs_both_passwords_and_nothing_else() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let change = |body| app.put("/users/me/password").bearer(&ada.token).json(&body);
    let answer = change(json!({})).await.refused(400, "ValidationFailed");
    assert_eq!(answer.bad_fields(), ["newPassword", "oldPassword"]);
    let body = json!({"oldPassword": STRONG, "newPassword": STRONGER, "userId": ada.id});
    assert_eq!(change(body).await.refused(400, "ValidationFailed").bad_fields(), ["userId"]);
    let body = json!({"oldPassword": STRONG, "newPassword": 7});
    assert_eq!(change(body).await.refused(400, "ValidationFailed").bad_fields(), ["newPassword"]);
}

#[tokio::test]
async fn a_read_only_user_changes_the_own_password() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute("update users set read_only = true").await;
    app.change_password(&ada.token, STRONG, STRONGER).await.expect(200);
}

#[tokio::test]
async fn of_changes_at_the_same_moment_one_wins() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let wanted: Vec<String> = (0..8).map(|number| format!("{STRONGER}, model {number}")).collect();
    let answers = together(wanted.iter().map(|new| app.change_password(&ada.token, STRONG, new))).await;
    assert_eq!(count(&answers, 200), 1);
    for (answer, wanted) in answers.iter().zip(&wanted) {
        match answer.status {
            200 => drop(app.log_in(&ada.email, wanted).await),
            _ => assert_eq!(answer.refusal(), (400, "InvalidPassword".into())),
        }
    }
    app.me(&ada.token).await.expect(200);
}
