//! Another e-mail: `PUT /users/me/email` and `PUT /users/{userId}/email/{token}`.

use chrono::TimeDelta;
use serde_json::json;

use crate::harness::people::sign_up_body;
use crate::harness::{STRONG, STRONGER, TestApp, count, together};
use bloq_accounts::users::AccessLevel;

const NEW: &str = "Ada.King@example.com";

#[tokio::test]
async fn a_person_moves_to_another_address() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.change_email(&ada.token, NEW, STRONG).await.expect(202);
    assert_eq!(app.me(&ada.token).await.json()["email"], "ada@example.com", "nothing changes before the proof");
    app.deliver_mail().await;
    let (letter, announcement) = (app.mailbox().last_to(NEW), app.mailbox().last_to(&ada.email));
    assert!(letter.text.contains(&format!(
        "curl -X PUT https://accounts.example/users/{}/email/{}",
        ada.id,
        letter.token()
    )));
    assert!(announcement.text.contains(NEW) && !announcement.text.contains(&letter.token()), "{announcement:?}");

    app.advance(TimeDelta::minutes(1));
    let profile = app.confirm_email(&ada.id, &letter.token()).await.expect(200).json();
    assert_eq!((&profile["email"], &profile["verifiedAt"]), (&json!(NEW), &json!("2026-03-05T12:01:00.123Z")));
    app.me(&ada.token).await.expect(200);
    app.log_in("ada.king@example.com", STRONG).await;
    app.post("/auth").basic(&ada.email, STRONG).await.refused(401, "InvalidCredentials");
    assert_eq!(app.newest_subject(&ada.email).await, "Your e-mail address was changed");
    // The old address is free again.
    app.post("/users").json(&sign_up_body(&ada.email)).await.expect(201);
    assert_eq!(app.count("select count(*) from users").await, 2);
}

#[tokio::test]
async fn a_taken_address_gets_the_same_answer_and_its_owner_a_mail() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let taken = app.change_email(&ada.token, &bob.email, STRONG).await.expect(202);
    app.deliver_mail().await;
    assert_eq!(app.mailbox().last_to(&bob.email).subject, "Somebody tried to use your e-mail address");
    assert_eq!(
        app.mailbox().last_to(&ada.email).subject,
        "Your e-mail address is about to change",
        "as for a free one"
    );
    assert_eq!(app.mailbox().to(&bob.email).len(), 2, "and no token");
    let free = app.change_email(&ada.token, NEW, STRONG).await.expect(202);
    assert_eq!(taken.text, free.text);
}

#[tokio::test]
async fn a_later_wish_voids_an_earlier_one() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    app.change_email(&ada.token, "first@example.com", STRONG).await.expect(202);
    let first = app.mailed_token("first@example.com").await;
    app.change_email(&ada.token, "second@example.com", STRONG).await.expect(202);
    let second = app.mailed_token("second@example.com").await;
    app.confirm_email(&ada.id, &first).await.refused(400, "InvalidToken");
    // Also one for an address that cannot be had.
    app.change_email(&ada.token, &bob.email, STRONG).await.expect(202);
    app.confirm_email(&ada.id, &second).await.refused(400, "InvalidToken");
}

#[tokio::test]
async fn the_index_decides_between_two_who_want_one_address() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    app.change_email(&ada.token, NEW, STRONG).await.expect(202);
    let for_ada = app.mailed_token(NEW).await;
    app.change_email(&bob.token, NEW, STRONG).await.expect(202);
    let for_bob = app.mailed_token(NEW).await;
    let calls = [app.confirm_email(&ada.id, &for_ada), app.confirm_email(&bob.id, &for_bob)];
    let answers = together(calls).await;
    assert_eq!((count(&answers, 200), count(&answers, 400)), (1, 1), "{answers:?}");
    assert_eq!(app.count("select count(*) from users where email_canonical = 'ada.king@example.com'").await, 1);
}

#[tokio::test]
async fn two_who_want_each_others_address_do_not_wait_for_each_other() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let calls = [app.change_email(&ada.token, &bob.email, STRONG), app.change_email(&bob.token, &ada.email, STRONG)];
    for answer in together(calls).await {
        answer.expect(202);
    }
}

#[tokio::test]
async fn a_sign_up_that_claimed_the_address_dies_when_it_is_proved() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.sign_up(NEW).await;
    let claim = app.mailed_token(NEW).await;
    app.change_email(&ada.token, NEW, STRONG).await.expect(202);
    let token = app.mailed_token(NEW).await;
    app.confirm_email(&ada.email, &token).await.expect(200);
    assert_eq!(app.count("select count(*) from users").await, 1);
    app.verify(NEW, &claim).await.refused(400, "InvalidToken");
}

#[tokio::test]
async fn a_wrong_password_or_a_bad_address_asks_nobody() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.deliver_mail().await;
    let before = app.mailbox().len();
    app.change_email(&ada.token, NEW, STRONGER).await.refused(400, "InvalidPassword");
    let answer = app.put("/users/me/email").bearer(&ada.token).json(&json!({"email": "x", "name": 1})).await;
    assert_eq!(answer.refused(400, "ValidationFailed").bad_fields(), ["email", "name", "password"]);
    app.put("/users/me/email").json(&json!({"email": NEW, "password": STRONG})).await.refused(401, "Unauthorized");
    app.deliver_mail().await;
    assert_eq!(app.mailbox().len(), before);
}

#[tokio::test]
async fn a_token_lives_48_hours_works_once_and_for_its_own_user() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    app.change_email(&ada.token, NEW, STRONG).await.expect(202);
    let token = app.mailed_token(NEW).await;
    app.confirm_email(&bob.id, &token).await.refused(400, "InvalidToken");
    app.confirm_email(&ada.id, "nonsense").await.refused(400, "InvalidToken");
    app.advance(TimeDelta::hours(48) - TimeDelta::milliseconds(1));
    app.confirm_email(&ada.id, &token).await.expect(200);
    app.confirm_email(&ada.id, &token).await.refused(400, "InvalidToken");

    let fresh = app.log_in(&ada.id, STRONG).await;
    app.change_email(&fresh, "late@example.com", STRONG).await.expect(202);
    let late = app.mailed_token("late@example.com").await;
    app.advance(TimeDelta::hours(48));
    app.confirm_email(&ada.id, &late).await.refused(400, "InvalidToken");
}

#[tokio::test]
async fn mails_to_the_old_address_open_nothing_after_the_change() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.forget_password(&ada.email).await.expect(202);
    let reset = app.mailed_token(&ada.email).await;
    app.change_email(&ada.token, NEW, STRONG).await.expect(202);
    let token = app.mailed_token(NEW).await;
    app.confirm_email(&ada.id, &token).await.expect(200);
    app.reset_password(&ada.id, &reset, STRONGER).await.refused(400, "InvalidToken");
}

#[tokio::test]
async fn a_thief_who_asked_before_the_new_password_does_not_get_the_account_after_it() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    for person in [&ada, &bob] {
        app.change_email(&person.token, &format!("thief.of.{}", person.email), STRONG).await.expect(202);
    }
    let for_ada = app.mailed_token("thief.of.ada@example.com").await;
    let for_bob = app.mailed_token("thief.of.bob@example.com").await;
    app.change_password(&ada.token, STRONG, STRONGER).await.expect(200);
    app.forget_password(&bob.email).await.expect(202);
    let reset = app.mailed_token(&bob.email).await;
    app.reset_password(&bob.id, &reset, STRONGER).await.expect(200);
    app.confirm_email(&ada.id, &for_ada).await.refused(400, "InvalidToken");
    app.confirm_email(&bob.id, &for_bob).await.refused(400, "InvalidToken");
}

#[tokio::test]
async fn a_user_with_a_name_only_gets_an_address() {
    let app = TestApp::start().await;
    let ada = app.named("ada", AccessLevel::Authorized).await;
    app.change_email(&ada.token, NEW, STRONG).await.expect(202);
    let token = app.mailed_token(NEW).await;
    let profile = app.confirm_email("ada", &token).await.expect(200).json();
    assert_eq!((&profile["email"], &profile["displayName"]), (&json!(NEW), &json!("ada")));
    app.log_in(NEW, STRONG).await;
}

#[tokio::test]
async fn a_blocked_user_confirms_nothing() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.change_email(&ada.token, NEW, STRONG).await.expect(202);
    let token = app.mailed_token(NEW).await;
    app.block(&ada.id, "admin").await;
    app.confirm_email(&ada.id, &token).await.refused(403, "UserBlocked");
    assert_eq!(app.count("select count(*) from users where email = 'ada@example.com'").await, 1);
}

#[tokio::test]
async fn the_event_of_a_confirmation_is_the_users_and_shows_no_token() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.change_email(&ada.token, NEW, STRONG).await.expect(202);
    let token = app.mailed_token(NEW).await;
    let answer = app.confirm_email(&ada.id, &token).await.expect(200);
    assert_eq!(app.owner_of(&answer).await, Some(ada.id.clone()));
    assert_eq!(app.row_of(&answer).await["path"], json!(format!("/users/{}/email/{{token}}", ada.id)));
}

#[tokio::test]
async fn a_wish_of_somebody_who_is_being_deleted_is_none() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    for address in [&bob.email, NEW] {
        let mut leaving = app.pool().begin().await.expect("a transaction");
        sqlx::query("select from users where email like 'ada%' for update")
            .execute(&mut *leaving)
            .await
            .expect("the row is locked");
        let leave = async {
            app.until_waiting(1).await;
            if address == NEW {
                sqlx::query("delete from users where email like 'ada%'")
                    .execute(&mut *leaving)
                    .await
                    .expect("she goes");
            }
            leaving.commit().await.expect("it is done");
        };
        let (answer, ()) = tokio::join!(app.change_email(&ada.token, address, STRONG).into_future(), leave);
        match address == NEW {
            true => answer.refused(401, "TokenInvalid"),
            false => answer.expect(202),
        };
    }
}

#[tokio::test]
async fn a_taken_address_whose_owner_is_being_deleted_is_no_trouble() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let mut leaving = app.pool().begin().await.expect("a transaction");
    sqlx::query("delete from users where email like 'bob%'").execute(&mut *leaving).await.expect("he goes");
    let leave = async {
        app.until_waiting(1).await;
        leaving.commit().await.expect("it is done");
    };
    let (answer, ()) = tokio::join!(app.change_email(&ada.token, &bob.email, STRONG).into_future(), leave);
    answer.expect(202);
}

#[tokio::test]
async fn who_became_read_only_meanwhile_confirms_nothing() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.change_email(&ada.token, NEW, STRONG).await.expect(202);
    let token = app.mailed_token(NEW).await;
    app.execute("update users set read_only = true").await;
    app.confirm_email(&ada.id, &token).await.refused(403, "Forbidden");
    app.execute("update users set read_only = false").await;
    app.confirm_email(&ada.id, &token).await.expect(200);
}
