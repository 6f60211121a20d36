//! A forgotten password: `POST /users/password-reset` and `PUT /users/{userId}/password/{token}`.

use chrono::TimeDelta;
use serde_json::json;

use crate::harness::people::email;
use crate::harness::{STRONG, STRONGER, TestApp, count, together};
use bloq_accounts::users::{AccessLevel, NewName};

#[tokio::test]
async fn somebody_who_forgot_the_password_chooses_a_new_one() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let other = app.log_in(&ada.email, STRONG).await;
    app.forget_password("ADA@example.com").await.expect(202);
    app.deliver_mail().await;
    let letter = app.mailbox().last_to(&ada.email);
    let token = letter.token();
    assert_eq!(letter.user_id(), ada.id);
    let command = format!("curl -X PUT https://accounts.example/users/{}/password/{token}", ada.id);
    assert!(letter.text.contains(&command), "{}", letter.text);

    let profile = app.reset_password(&ada.id, &token, STRONGER).await.expect(200).json();
    assert_eq!(profile["id"], json!(ada.id));
    for dead in [&ada.token, &other] {
        app.me(dead).await.refused(401, "TokenInvalid");
    }
    app.post("/auth").basic(&ada.email, STRONG).await.refused(401, "InvalidCredentials");
    app.log_in(&ada.email, STRONGER).await;
    assert_eq!(app.newest_subject(&ada.email).await, "Your password was changed");
    assert!(app.mailbox().last_to(&ada.email).text.contains("was reset"));
}

#[tokio::test]
async fn client_keys_survive_a_reset() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    app.forget_password(&ada.email).await.expect(202);
    let token = app.mailed_token(&ada.email).await;
    app.reset_password(&ada.email, &token, STRONGER).await.expect(200);
    app.grant(&key).await;
}

#[tokio::test]
async fn everybody_gets_the_same_answer() {
    let app = TestApp::start().await;
    let (ada, bob, eve) = (app.person("ada").await, app.person("bob").await, app.sign_up("eve@example.com").await);
    app.block(&bob.id, "admin").await;
    app.invited(NewName::Email(email("new@example.com"))).await;
    app.deliver_mail().await;
    let before = app.mailbox().len();
    let mut answers = Vec::new();
    for address in [&bob.email, "eve@example.com", "new@example.com", "nobody@example.com"] {
        answers.push(app.forget_password(address).await.expect(202).text);
    }
    app.deliver_mail().await;
    assert_eq!(app.mailbox().len(), before, "not to a blocked, an unproved, a Reset or an unknown user");
    answers.push(app.forget_password(&ada.email).await.expect(202).text);
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(app.count("select count(*) from one_time_tokens where purpose = 'password_reset'").await, 1);
    let _ = eve;
}

#[tokio::test]
async fn what_is_no_address_is_refused() {
    let app = TestApp::start().await;
    for body in [json!({}), json!({"email": "ada"}), json!({"email": null}), json!({"email": ["a@example.com"]})] {
        let answer = app.post("/users/password-reset").json(&body).await.refused(400, "ValidationFailed");
        assert_eq!(answer.bad_fields(), ["email"]);
    }
}

#[tokio::test]
async fn a_token_works_once_and_for_an_hour() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let ask = async || {
        app.forget_password(&ada.email).await.expect(202);
        app.mailed_token(&ada.email).await
    };
    let token = ask().await;
    app.advance(TimeDelta::hours(1));
    app.reset_password(&ada.id, &token, STRONGER).await.refused(400, "InvalidToken");

    let (first, second) = (ask().await, ask().await);
    app.advance(TimeDelta::hours(1) - TimeDelta::milliseconds(1));
    app.reset_password(&ada.id, &first.to_uppercase(), STRONGER).await.expect(200);
    for used_up in [first, second] {
        app.reset_password(&ada.id, &used_up, STRONG).await.refused(400, "InvalidToken");
    }
}

#[tokio::test]
async fn of_twenty_who_use_one_token_at_once_one_wins() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.forget_password(&ada.email).await.expect(202);
    let token = app.mailed_token(&ada.email).await;
    let passwords: Vec<String> = (0..20).map(|number| format!("Difference Engine No {number}")).collect();
    let answers = together(passwords.iter().map(|new| app.reset_password(&ada.id, &token, new))).await;
    assert_eq!((count(&answers, 200), count(&answers, 400)), (1, 19), "{answers:?}");
    let winner = answers.iter().position(|answer| answer.status == 200).expect("one");
    app.log_in(&ada.email, &passwords[winner]).await;
}

#[tokio::test]
async fn a_refused_new_password_leaves_the_token_as_it_is() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.forget_password(&ada.email).await.expect(202);
    let token = app.mailed_token(&ada.email).await;
    for weak in ["weak", STRONG, "Somebody forgot again 7"] {
        app.reset_password(&ada.id, &token, weak).await.refused(400, "WeakPassword");
    }
    let path = format!("/users/{}/password/{token}", ada.id);
    app.put(&path).json(&json!({})).await.refused(400, "ValidationFailed");
    app.reset_password(&ada.id, &token, STRONGER).await.expect(200);
}

#[tokio::test]
async fn a_token_is_good_for_its_own_user_and_purpose_only() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    app.forget_password(&ada.email).await.expect(202);
    let token = app.mailed_token(&ada.email).await;
    app.reset_password(&bob.id, &token, STRONGER).await.refused(400, "InvalidToken");
    app.reset_password("nobody@example.com", &token, STRONGER).await.refused(400, "InvalidToken");
    app.reset_password(&ada.id, "0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11", STRONGER).await.refused(400, "InvalidToken");
    app.verify(&ada.id, &token).await.refused(400, "InvalidToken");
    app.confirm_email(&ada.id, &token).await.refused(400, "InvalidToken");
    app.reset_password(&ada.id, &token, STRONGER).await.expect(200);
}

#[tokio::test]
async fn a_reset_lifts_neither_a_block_nor_a_reset_by_an_administrator() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    for person in [&ada, &bob] {
        app.forget_password(&person.email).await.expect(202);
    }
    let (for_ada, for_bob) = (app.mailed_token(&ada.email).await, app.mailed_token(&bob.email).await);
    app.block(&ada.id, "admin").await;
    app.execute("update users set activation_expires_at = '2026-03-12' where email = 'bob@example.com'").await;
    app.reset_password(&ada.id, &for_ada, STRONGER).await.refused(403, "UserBlocked");
    app.reset_password(&bob.id, &for_bob, STRONGER).await.refused(400, "InvalidToken");
    app.post("/auth").basic(&ada.email, STRONG).await.refused(403, "UserBlocked");
    app.post("/auth").basic(&bob.email, STRONG).await.refused(403, "ActivationRequired");
}

#[tokio::test]
async fn a_changed_password_voids_the_mails_before_it() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.forget_password(&ada.email).await.expect(202);
    let token = app.mailed_token(&ada.email).await;
    app.change_password(&ada.token, STRONG, STRONGER).await.expect(200);
    app.reset_password(&ada.id, &token, "Jacquard loom of 1804").await.refused(400, "InvalidToken");
}

#[tokio::test]
async fn of_a_token_only_a_hash_is_stored_and_no_event_shows_it() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let asked = app.forget_password(&ada.email).await.expect(202);
    let token = app.mailed_token(&ada.email).await;
    let done = app.reset_password(&ada.id, &token, STRONGER).await.expect(200);
    for answer in [&asked, &done] {
        assert_eq!(app.owner_of(answer).await.as_ref(), Some(&ada.id));
    }
    let path = app.row_of(&done).await["path"].clone();
    assert_eq!(path, json!(format!("/users/{}/password/{{token}}", ada.id)));
    let stored = app
        .text(
            "select (select string_agg(t::text, ' ') from one_time_tokens t) ||
                                  (select string_agg(t::text, ' ') from events t)",
        )
        .await;
    assert!(!stored.contains(&token), "{stored}");
}

#[tokio::test]
async fn a_user_with_a_name_only_has_nothing_to_reset() {
    let app = TestApp::start().await;
    app.named("ada", AccessLevel::Authorized).await;
    app.post("/users/password-reset").json(&json!({"email": "ada"})).await.refused(400, "ValidationFailed");
}

#[tokio::test]
async fn no_token_travels_to_an_address_that_was_just_given_up() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.deliver_mail().await;
    let mut moving = app.pool().begin().await.expect("a transaction");
    sqlx::query("update users set email = 'new@example.com', email_canonical = 'new@example.com'")
        .execute(&mut *moving)
        .await
        .expect("she moves");
    let moves = async {
        app.until_waiting(1).await;
        moving.commit().await.expect("she has moved");
    };
    let (answer, ()) = tokio::join!(app.forget_password(&ada.email).into_future(), moves);
    answer.expect(202);
    assert_eq!(app.deliver_mail().await, 0);
    assert_eq!(app.count("select count(*) from one_time_tokens where purpose = 'password_reset'").await, 0);
}

#[tokio::test]
async fn whoever_is_being_deleted_gets_no_token() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.sign_up("eve@example.com").await;
    let mut leaving = app.pool().begin().await.expect("a transaction");
    sqlx::query("delete from users").execute(&mut *leaving).await.expect("she goes");
    let leave = async {
        app.until_waiting(2).await;
        leaving.commit().await.expect("it is done");
    };
    let reset = app.forget_password(&ada.email);
    let resent = app.post("/users/eve@example.com/token");
    let (reset, resent, ()) = tokio::join!(reset.into_future(), resent.into_future(), leave);
    reset.expect(202);
    resent.expect(202);
}

#[tokio::test]
async fn a_weak_new_password_is_listed_beside_the_other_bad_fields() {
    let app = TestApp::start().await;
    let token = "00000000-0000-4000-8000-000000000000";
    let path = format!("/users/user-{token}/password/{token}");
    let answer = app.put(&path).json(&json!({"newPassword": "short", "x": 1})).await;
    assert_eq!(answer.refused(400, "ValidationFailed").bad_fields(), ["newPassword", "x"]);
}
