//! Invitations: from an administrator's word to an account with a password and a proved e-mail.

use bloq_accounts::users::{AccessLevel, By, NewName, NewUser, State};
use chrono::TimeDelta;
use serde_json::json;

use crate::harness::people::email;
use crate::harness::{STRONG, STRONGER, TestApp, count, together};

impl TestApp {
    /// Invites somebody by mail; answers the id and the token of the mail.
    async fn invite(&self, address: &str) -> (String, String) {
        let level = AccessLevel::Authorized;
        let new = NewUser { name: NewName::Email(email(address)), level, read_only: false, password: None };
        let (user, activation) = self.app.users.invite(new, By::Operator).await.expect("the user is invited");
        assert!(activation.is_none(), "an invitation by mail has no activation password");
        (user.id.to_string(), self.mailed_token(address).await)
    }
}

#[tokio::test]
async fn somebody_who_was_invited_chooses_a_password_and_is_there() {
    let app = TestApp::start().await;
    let (id, token) = app.invite("ada@example.com").await;
    assert_eq!(app.user(&id).await.state(), State::WaitingForActivation);
    let letter = app.mailbox().last_to("ada@example.com");
    assert_eq!((letter.subject.as_str(), letter.user_id()), ("An account was made for you", id.clone()));
    let command = format!("curl -X PUT https://accounts.example/users/{id}/password/{token}");
    assert!(letter.text.contains(&command) && letter.text.contains("2026-03-12 12:00 UTC"), "{}", letter.text);

    let done = app.reset_password("ADA@example.com", &token, STRONG).await.expect(200);
    assert_eq!(done.json()["verifiedAt"], json!("2026-03-05T12:00:00.123Z"));
    assert_eq!(app.owner_of(&done).await.as_ref(), Some(&id));
    let user = app.user(&id).await;
    assert_eq!((user.state(), user.activated_at), (State::Active, Some(app.now())));
    app.log_in("ada@example.com", STRONG).await;
    assert_eq!(app.deliver_mail().await, 0, "nobody is told of a change of what nobody knew");
}

#[tokio::test]
async fn until_then_the_account_opens_to_nobody() {
    let app = TestApp::start().await;
    let (id, token) = app.invite("ada@example.com").await;
    app.post("/auth").basic("ada@example.com", STRONG).await.refused(401, "InvalidCredentials");
    app.activate(&id, &token, STRONG).await.refused(401, "InvalidCredentials");
    app.forget_password("ada@example.com").await.expect(202);
    assert_eq!(app.deliver_mail().await, 0);
    // It is no proof by itself, and another user's neither.
    let (bob, _) = app.invite("bob@example.com").await;
    app.verify(&id, &token).await.refused(400, "InvalidToken");
    app.confirm_email(&id, &token).await.refused(400, "InvalidToken");
    app.reset_password(&bob, &token, STRONG).await.refused(400, "InvalidToken");
    app.reset_password(&id, &token, "weak").await.refused(400, "WeakPassword");
    app.reset_password(&id, &token, STRONG).await.expect(200);
}

#[tokio::test]
async fn an_invited_address_is_held_at_once() {
    let app = TestApp::start().await;
    let eve = app.sign_up("ada@example.com").await;
    let eves = app.mailed_token("ada@example.com").await;
    let (id, token) = app.invite("ada@example.com").await;
    app.verify(&eve, &eves).await.refused(400, "InvalidToken");
    app.sign_up("ada@example.com").await;
    assert_eq!(app.count("select count(*) from users").await, 2, "the third was stored nowhere");
    app.reset_password(&id, &token, STRONG).await.expect(200);
    assert_eq!(app.count("select count(*) from users").await, 1, "other claimants are gone");
    let again = NewUser {
        name: NewName::Email(email("ADA@example.com")),
        level: AccessLevel::Authorized,
        read_only: false,
        password: None,
    };
    let refused = app.app.users.invite(again, By::Operator).await.expect_err("it is taken");
    assert_eq!(refused.code(), bloq_accounts::error::Code::EmailTaken);
}

#[tokio::test]
async fn an_invitation_lives_for_7_days() {
    let app = TestApp::start().await;
    let (early, early_token) = app.invite("early@example.com").await;
    let (late, late_token) = app.invite("late@example.com").await;
    app.advance(TimeDelta::days(7) - TimeDelta::milliseconds(1));
    app.sweep().await;
    app.reset_password(&early, &early_token, STRONG).await.expect(200);
    app.advance(TimeDelta::milliseconds(1));
    app.reset_password(&late, &late_token, STRONG).await.refused(400, "InvalidToken");
    app.sweep().await;
    assert_eq!(app.count("select count(*) from one_time_tokens").await, 0);
    assert_eq!(app.user(&late).await.state(), State::WaitingForActivation, "the user stays");
}

#[tokio::test]
async fn of_twenty_who_use_an_invitation_at_the_same_moment_one_wins() {
    let app = TestApp::start().await;
    let (id, token) = app.invite("ada@example.com").await;
    let passwords: Vec<String> = (0..20).map(|number| format!("{STRONGER}, model {number}")).collect();
    let answers = together(passwords.iter().map(|new| app.reset_password(&id, &token, new))).await;
    assert_eq!((count(&answers, 200), count(&answers, 400)), (1, 19), "{answers:?}");
    let winner = answers.iter().position(|answer| answer.status == 200).expect("one");
    app.log_in("ada@example.com", &passwords[winner]).await;
    app.reset_password(&id, &token, STRONG).await.refused(400, "InvalidToken");
}

#[tokio::test]
async fn an_invitation_opens_nothing_that_an_administrator_closed() {
    let app = TestApp::start().await;
    let (ada, for_ada) = app.invite("ada@example.com").await;
    let (bob, for_bob) = app.invite("bob@example.com").await;
    app.app.users.block(ada.parse().expect("an id"), By::Operator).await.expect("she is blocked");
    app.reset_password(&ada, &for_ada, STRONG).await.refused(403, "UserBlocked");
    let reset = app.app.users.reset(bob.parse().expect("an id"), By::Operator).await;
    let (_, activation) = reset.expect("he is reset");
    app.reset_password(&bob, &for_bob, STRONG).await.refused(400, "InvalidToken");
    // Also not after the first password was chosen another way, which proves no e-mail.
    app.activate(&bob, activation.expose(), STRONGER).await.expect(200);
    app.reset_password(&bob, &for_bob, STRONG).await.refused(400, "InvalidToken");
    assert_eq!(app.user(&bob).await.state(), State::WaitingForActivation);
}

#[tokio::test]
async fn whoever_proved_the_address_another_way_still_has_the_invitation() {
    let app = TestApp::start().await;
    let (id, invitation) = app.invite("ada@example.com").await;
    app.post(&format!("/users/{id}/token")).await.expect(202);
    let proof = app.mailed_token("ada@example.com").await;
    app.verify(&id, &proof).await.expect(200);
    app.advance(TimeDelta::hours(1));
    let profile = app.reset_password(&id, &invitation, STRONG).await.expect(200).json();
    assert_eq!(profile["verifiedAt"], json!("2026-03-05T12:00:00.123Z"), "it was proved an hour ago");
    app.log_in("ada@example.com", STRONG).await;
}

#[tokio::test]
async fn an_address_that_got_enough_invitations_gets_no_account_either() {
    let app = TestApp::start().await;
    for _ in 0..3 {
        let (id, _) = app.invite("ada@example.com").await;
        app.app
            .users
            .remove(id.parse().expect("an id"), By::Operator, &Default::default())
            .await
            .expect("she is removed");
    }
    let new = NewUser {
        name: NewName::Email(email("ada@example.com")),
        level: AccessLevel::Authorized,
        read_only: false,
        password: None,
    };
    let refused = app.app.users.invite(new, By::Operator).await.expect_err("that was enough");
    assert_eq!(refused.code(), bloq_accounts::error::Code::TooManyRequests);
    assert_eq!(app.count("select count(*) from users").await, 0);
}

#[tokio::test]
async fn of_an_invitation_only_a_hash_is_stored_and_whom_it_invites_sees_it_in_the_export() {
    let app = TestApp::start().await;
    let (id, token) = app.invite("ada@example.com").await;
    let done = app.reset_password(&id, &token, STRONG).await.expect(200);
    let path = app.row_of(&done).await["path"].clone();
    assert_eq!(path, json!(format!("/users/{id}/password/{{token}}")));
    let stored = app
        .text(
            "select (select string_agg(t::text, ' ') from one_time_tokens t) ||
                                  (select string_agg(t::text, ' ') from events t)",
        )
        .await;
    assert!(!stored.contains(&token), "{stored}");
    let bearer = app.log_in("ada@example.com", STRONG).await;
    let export = app.get("/users/me/export").bearer(&bearer).await.expect(200).json();
    assert_eq!(export["oneTimeTokens"][0]["purpose"], "invitation");
    assert_eq!(export["mails"][0]["template"], "invitation");
}
