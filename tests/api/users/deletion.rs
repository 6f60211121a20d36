//! `DELETE /users/me`: what goes, and what stays without the person.

use chrono::TimeDelta;
use serde_json::json;

use crate::harness::people::sign_up_body;
use crate::harness::{STRONG, TestApp, count, together};
use bloq_accounts::users::AccessLevel;

#[tokio::test]
async fn a_person_leaves_and_takes_everything_along() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let (_, refresh) = app.grant(&key).await;
    app.forget_password(&ada.email).await.expect(202);
    let answer = app.leave(&ada.token, STRONG).await.expect(204);
    assert_eq!(answer.text, "");
    app.deliver_mail().await;
    let last = app.mailbox().last_to(&ada.email);
    assert_eq!(last.subject, "Your account was deleted");
    assert!(last.text.contains("from 127.0.0.1"), "{}", last.text);

    app.me(&ada.token).await.refused(401, "TokenInvalid");
    app.post("/auth").basic(&ada.email, STRONG).await.refused(401, "InvalidCredentials");
    app.grant_by_keys(&key.0, &key.1).await.refused(401, "InvalidClientCredentials");
    app.grant_by_refresh(&refresh).await.refused(401, "InvalidRefreshToken");
    for table in [
        "select count(*) from users",
        "select count(*) from account_tokens",
        "select count(*) from client_keys",
        "select count(*) from one_time_tokens",
        "select count(*) from outbox",
        "select count(*) from idempotency_keys",
    ] {
        assert_eq!(app.count(table).await, 0, "{table}");
    }
    // The address is free again.
    app.post("/users").json(&sign_up_body(&ada.email)).await.expect(201);
    assert_eq!(app.count("select count(*) from users").await, 1);
}

#[tokio::test]
async fn the_events_stay_and_the_person_goes_from_them() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.named("ada", AccessLevel::Authorized).await, app.person("bob").await);
    // Paths with a login name, which is a word that a person chose.
    app.activate("ada", "not the password", STRONG).await.expect(401);
    app.post("/users/ADA/token").await.expect(202);
    app.me(&ada.token).await.expect(200);
    let rows = "select count(*) from events where user_id <> (select id from users where email is not null)";
    app.leave(&ada.token, STRONG).await.expect(204);
    let before = app.count(rows).await;
    assert!(before >= 5, "{before}");

    app.erase().await;
    // The request that deleted is an event, too, and others may have been under way.
    app.advance(TimeDelta::seconds(2));
    app.erase().await;
    assert_eq!(app.count(rows).await, before, "nothing is deleted");
    let telling = "select count(*) from events
                   where user_id <> (select id from users) and (ip is not null or user_agent is not null or request_uuid is not null or request_id <> '-' or path ~* 'ada')";
    assert_eq!(app.count(telling).await, 0);
    let kept = app
        .text(
            "select string_agg(method || ' ' || path, ', ' order by id) from events
                         where user_id <> (select id from users)",
        )
        .await;
    assert_eq!(
        kept,
        "POST /auth, PUT /users/{userId}/activation, POST /users/{userId}/token, GET /users/me, DELETE /users/me"
    );
    let others = "select count(*) from events where user_id = (select id from users) and ip is null";
    assert_eq!(app.count(others).await, 0, "nobody else's");
    app.me(&bob.token).await.expect(200);
}

#[tokio::test]
async fn later_requests_with_a_dead_persons_token_leave_no_trace_of_the_person() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.leave(&ada.token, STRONG).await.expect(204);
    for pause in [TimeDelta::zero(), TimeDelta::seconds(2), TimeDelta::minutes(1)] {
        app.advance(pause);
        app.erase().await;
    }
    assert_eq!(app.count("select count(*) from erasures").await, 0, "there is nothing left to do");
    app.me(&ada.token).await.refused(401, "TokenInvalid");
    app.advance(TimeDelta::days(100));
    app.me(&ada.token).await.refused(401, "TokenExpired");
    let telling = "select count(*) from events where user_id is not null and (ip is not null or user_agent is not null or request_uuid is not null or request_id <> '-')";
    assert_eq!(app.count(telling).await, 0);
    assert_eq!(app.count("select count(*) from events where user_id is not null and status = 401").await, 2);
}

#[tokio::test]
async fn sign_ups_that_die_leave_no_trace_of_a_person_either() {
    let app = TestApp::start().await;
    app.sign_up("late@example.com").await;
    app.sign_up("ada@example.com").await;
    // The first of two claimants dies at once, the late one in the sweep.
    app.person("ada").await;
    app.advance(TimeDelta::hours(48));
    app.sweep().await;
    assert_eq!(app.count("select count(*) from erasures").await, 2);
    app.erase().await;
    let telling = "select count(*) from events where user_id <> (select id from users) and ip is not null";
    assert_eq!(app.count(telling).await, 0);
    assert_eq!(app.count("select count(*) from events where ip is not null").await, 3, "of the one who stays");
}

#[tokio::test]
async fn thousands_of_events_are_cleared_batch_by_batch() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute(
        "insert into events (id, user_id, service, started_at, ended_at, status, bytes_out, method, path, ip, request_id)
         select gen_random_uuid(), (select id from users), 'cloud-accounts', now(), now(), 200, 0, 'GET', '/users/me',
                '203.0.113.9', 'r' from generate_series(1, 12000)",
    )
    .await;
    app.leave(&ada.token, STRONG).await.expect(204);
    app.erase().await;
    app.advance(TimeDelta::seconds(2));
    app.erase().await;
    assert!(app.count("select cleared from erasures").await > 12_000, "the log will tell");
    assert_eq!(app.count("select count(*) from events where user_id is not null and ip is not null").await, 0);
    assert!(app.count("select count(*) from events where user_id is not null").await > 12_000);
}

#[tokio::test]
async fn a_wrong_password_deletes_nothing() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for wrong in ["", "wrong", &"a".repeat(1025)] {
        app.leave(&ada.token, wrong).await.refused(400, "InvalidPassword");
    }
    let answer = app.delete("/users/me").bearer(&ada.token).json(&json!({})).await.refused(400, "ValidationFailed");
    assert_eq!(answer.bad_fields(), ["password"]);
    app.delete("/users/me").bearer(&ada.token).await.refused(400, "MalformedBody");
    app.delete("/users/me").json(&json!({"password": STRONG})).await.refused(401, "Unauthorized");
    app.me(&ada.token).await.expect(200);
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let app = TestApp::start().await;
    let (root, other) = (app.named("root", AccessLevel::Admin).await, app.named("other", AccessLevel::Admin).await);
    app.leave(&other.token, "wrong").await.refused(400, "InvalidPassword");
    let answers = together([app.leave(&root.token, STRONG), app.leave(&other.token, STRONG)]).await;
    assert_eq!((count(&answers, 204), count(&answers, 409)), (1, 1), "{answers:?}");
    assert_eq!(app.count("select count(*) from users where access_level = 'admin'").await, 1);
}

#[tokio::test]
async fn what_the_owner_was_to_be_told_leaves_although_the_account_is_gone() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    // A thief with the password is in a hurry.
    app.change_email(&ada.token, "thief@example.com", STRONG).await.expect(202);
    let token = app.mailed_token("thief@example.com").await;
    app.confirm_email(&ada.id, &token).await.expect(200);
    app.forget_password("thief@example.com").await.expect(202);
    app.leave(&ada.token, STRONG).await.expect(204);
    app.deliver_mail().await;
    assert_eq!(app.mailbox().last_to(&ada.email).subject, "Your e-mail address was changed");
    let subjects: Vec<_> = app.mailbox().to("thief@example.com").into_iter().map(|letter| letter.subject).collect();
    assert_eq!(subjects, ["Confirm your new e-mail address", "Your account was deleted"], "and no token");
    assert_eq!(app.count("select count(*) from outbox").await, 0, "nothing of it is kept");
}
