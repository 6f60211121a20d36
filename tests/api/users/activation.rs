//! `PUT /users/{userId}/activation`: from the operator's password to one's own.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::people::email;
use crate::harness::{STRONG, STRONGER, TestApp, count, together};
use bloq_accounts::users::{LoginName, NewName};

fn name(text: &str) -> NewName {
    NewName::Name(LoginName::parse(text).expect("a login name"))
}

#[tokio::test]
async fn an_invited_user_chooses_a_password() {
    let app = TestApp::start().await;
    let (id, activation) = app.invited(name("ada")).await;
    app.advance(TimeDelta::hours(1));
    let profile = app.activate(&id, &activation, STRONG).await.expect(200).json();
    assert_eq!(
        profile,
        json!({
            "id": id,
            "email": null,
            "displayName": "ada",
            "entityType": "individual",
            "billingAddress": null,
            "notifications": {"passwordChanged": true, "emailChanged": true, "newClientKey": true, "newLogIn": true},
            "createdAt": "2026-03-05T12:00:00.123Z",
            "updatedAt": "2026-03-05T13:00:00.123Z",
            "verifiedAt": "2026-03-05T13:00:00.123Z",
        })
    );
    let token = app.log_in("ADA", STRONG).await;
    app.me(&token).await.expect(200);
}

#[tokio::test]
async fn an_activation_password_has_16_unambiguous_characters() {
    let app = TestApp::start().await;
    let (_, activation) = app.invited(name("ada")).await;
    assert_eq!(activation.len(), 16);
    assert!(activation.bytes().all(|byte| byte.is_ascii_alphanumeric() && !b"0O1lI".contains(&byte)), "{activation}");
}

#[tokio::test]
async fn an_invited_user_is_found_by_id_name_and_email() {
    let app = TestApp::start().await;
    let (_, activation) = app.invited(name("Babbage")).await;
    app.activate("bAbbAge", &activation, STRONG).await.expect(200);
    let (_, activation) = app.invited(NewName::Email(email("ada@example.com"))).await;
    app.activate("ADA@example.com", &activation, STRONG).await.expect(200);
    let (id, activation) = app.invited(name("menabrea")).await;
    app.activate(&id.to_uppercase(), &activation, STRONG).await.expect(200);
}

#[tokio::test]
async fn an_activation_password_opens_no_other_door() {
    let app = TestApp::start().await;
    for named in [name("ada"), NewName::Email(email("ada@example.com"))] {
        let (id, activation) = app.invited(named).await;
        let answer = app.post("/auth").basic(&id, &activation).await.refused(403, "ActivationRequired");
        assert_eq!(answer.header("www-authenticate"), "");
        app.post("/auth").basic(&id, "wrong").await.refused(401, "InvalidCredentials");
    }
}

#[tokio::test]
async fn an_activation_password_works_once() {
    let app = TestApp::start().await;
    let (id, activation) = app.invited(name("ada")).await;
    app.activate(&id, &activation, STRONG).await.expect(200);
    app.activate(&id, &activation, STRONGER).await.refused(401, "InvalidCredentials");
    app.activate(&id, STRONG, STRONGER).await.refused(401, "InvalidCredentials");
    app.post("/auth").basic(&id, &activation).await.refused(401, "InvalidCredentials");
}

#[tokio::test]
async fn an_activation_password_lives_for_7_days() {
    let app = TestApp::start().await;
    let (early, early_password) = app.invited(name("early")).await;
    let (late, late_password) = app.invited(name("late")).await;
    app.advance(TimeDelta::days(7) - TimeDelta::milliseconds(1));
    app.activate(&early, &early_password, STRONG).await.expect(200);
    app.post("/auth").basic(&late, &late_password).await.refused(403, "ActivationRequired");
    app.advance(TimeDelta::milliseconds(1));
    app.activate(&late, &late_password, STRONG).await.refused(401, "InvalidCredentials");
    app.post("/auth").basic(&late, &late_password).await.refused(401, "InvalidCredentials");
}

#[tokio::test]
async fn a_wrong_pair_is_one_refusal_whatever_is_wrong() {
    let app = TestApp::start().await;
    let (id, activation) = app.invited(name("ada")).await;
    let ada = app.person("bob").await;
    let too_long = "a".repeat(1025);
    let mut refusals = Vec::new();
    for (user, password) in [
        (id.as_str(), STRONGER),
        (&id, &too_long),
        ("user-00000000-0000-4000-8000-000000000000", &activation),
        ("nobody", &activation),
        ("@@", &activation),
        (&ada.id, &activation),
        (&ada.id, STRONG),
    ] {
        let answer = app.activate(user, password, STRONGER).await.refused(401, "InvalidCredentials");
        assert!(answer.header("www-authenticate").starts_with("Basic "), "{answer:?}");
        refusals.push(answer.field("message"));
    }
    refusals.dedup();
    assert_eq!(refusals.len(), 1);
    app.activate(&id, &activation, STRONG).await.expect(200);
}

#[tokio::test]
async fn a_weak_first_password_does_not_use_the_activation_password_up() {
    let app = TestApp::start().await;
    let (id, activation) = app.invited(name("ada")).await;
    app.activate(&id, &activation, "Password1!").await.refused(400, "WeakPassword");
    app.activate(&id, &activation, &activation).await.refused(400, "WeakPassword");
    app.activate(&id, &activation, STRONG).await.expect(200);
}

#[tokio::test]
async fn a_first_password_proves_no_email() {
    let app = TestApp::start().await;
    let (id, activation) = app.invited(NewName::Email(email("ada@example.com"))).await;
    let profile = app.activate(&id, &activation, STRONG).await.expect(200).json();
    assert_eq!((&profile["email"], &profile["verifiedAt"]), (&json!("ada@example.com"), &Value::Null));
    app.post("/auth").basic(&id, STRONG).await.refused(401, "InvalidCredentials");
    let token = app.mailed_token("ada@example.com").await;
    app.verify(&id, &token).await.expect(200);
    app.log_in("ada@example.com", STRONG).await;
}

#[tokio::test]
async fn a_proved_email_replaces_no_activation_password() {
    let app = TestApp::start().await;
    let (id, activation) = app.invited(NewName::Email(email("ada@example.com"))).await;
    let token = app.mailed_token("ada@example.com").await;
    app.verify(&id, &token).await.expect(200);
    app.post("/auth").basic(&id, &activation).await.refused(403, "ActivationRequired");
}

#[tokio::test]
async fn a_blocked_user_is_not_activated() {
    let app = TestApp::start().await;
    let (id, activation) = app.invited(name("ada")).await;
    app.block(&id, "admin").await;
    app.activate(&id, &activation, STRONG).await.refused(403, "UserBlocked");
    app.activate(&id, "wrong", STRONG).await.refused(401, "InvalidCredentials");
}

#[tokio::test]
async fn a_bad_form_is_listed() {
    let app = TestApp::start().await;
    let (id, _) = app.invited(name("ada")).await;
    let call = |body: &Value| app.put(&format!("/users/{id}/activation")).json(body);
    let answer = call(&json!({"password": "x"})).await.refused(400, "ValidationFailed");
    assert_eq!(answer.bad_fields(), ["activationPassword", "newPassword", "password"]);
}

#[tokio::test]
async fn of_activations_at_the_same_moment_one_wins() {
    let app = TestApp::start().await;
    let (id, activation) = app.invited(name("ada")).await;
    let wanted: Vec<String> = (0..10).map(|number| format!("{STRONGER}, model {number}")).collect();
    let answers = together(wanted.iter().map(|new| app.activate(&id, &activation, new))).await;
    assert_eq!(count(&answers, 200), 1);
    for (answer, wanted) in answers.iter().zip(&wanted) {
        match answer.status {
            200 => drop(app.log_in("ada", wanted).await),
            _ => assert_eq!(answer.refusal(), (401, "InvalidCredentials".into())),
        }
    }
}
