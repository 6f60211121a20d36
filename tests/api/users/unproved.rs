//! Sign-ups that nobody proves: they die after 48 hours, on the millisecond, whether or not the sweep comes by.

use chrono::TimeDelta;

use crate::harness::people::email;
use crate::harness::{STRONG, TestApp};
use bloq_accounts::users::NewName;

#[tokio::test]
async fn a_sign_up_can_be_proved_until_48_hours_have_passed() {
    let app = TestApp::start().await;
    let id = app.sign_up("ada@example.com").await;
    let token = app.mailed_token("ada@example.com").await;
    app.advance(TimeDelta::hours(48) - TimeDelta::milliseconds(1));
    app.sweep().await;
    app.verify(&id, &token).await.expect(200);
    app.advance(TimeDelta::hours(1));
    app.sweep().await;
    app.log_in("ada@example.com", STRONG).await;
}

#[tokio::test]
async fn a_sign_up_is_dead_after_48_hours_before_the_sweep_comes_by() {
    let app = TestApp::start().await;
    let id = app.sign_up("ada@example.com").await;
    app.advance(TimeDelta::hours(47));
    app.post(&format!("/users/{id}/token")).await.expect(202);
    let token = app.mailed_token("ada@example.com").await;
    app.advance(TimeDelta::hours(1));
    app.verify(&id, &token).await.refused(400, "InvalidToken");
    app.post("/auth").basic(&id, STRONG).await.refused(401, "InvalidCredentials");
    app.post(&format!("/users/{id}/token")).await.expect(202);
    assert_eq!(app.deliver_mail().await, 0, "the dead get no mail");

    app.sweep().await;
    assert_eq!(app.count("select count(*) from users").await, 0);
    let again = app.sign_up("ada@example.com").await;
    let token = app.mailed_token("ada@example.com").await;
    app.verify(&again, &token).await.expect(200);
}

#[tokio::test]
async fn only_unproved_sign_ups_die() {
    let app = TestApp::start().await;
    app.person("proved").await;
    app.invited(NewName::Email(email("invited@example.com"))).await;
    let blocked = app.sign_up("blocked@example.com").await;
    app.block(&blocked, "admin").await;
    app.sign_up("reset@example.com").await;
    app.execute("update users set activation_expires_at = created_at where email like 'reset%'").await;
    app.sign_up("unproved@example.com").await;
    app.advance(TimeDelta::days(30));
    app.sweep().await;
    let left = app.text("select string_agg(split_part(email, '@', 1), ' ' order by email) from users").await;
    assert_eq!(left, "blocked invited proved reset");
}

#[tokio::test]
async fn the_first_who_proves_an_email_keeps_it() {
    let app = TestApp::start().await;
    let mallory = app.sign_up("ada@example.com").await;
    let mallorys = app.mailed_token("ada@example.com").await;
    let ada = app.sign_up("ada@example.com").await;
    let adas = app.mailed_token("ada@example.com").await;
    app.verify(&ada, &adas).await.expect(200);
    app.verify(&mallory, &mallorys).await.refused(400, "InvalidToken");
    app.post("/auth").basic(&mallory, STRONG).await.refused(401, "InvalidCredentials");
    let token = app.log_in("ada@example.com", STRONG).await;
    assert_eq!(app.me(&token).await.expect(200).field("id"), ada);
}

#[tokio::test]
async fn an_email_means_the_claimant_for_whom_the_token_was_made() {
    let app = TestApp::start().await;
    let first = app.sign_up("ada@example.com").await;
    let token = app.mailed_token("ada@example.com").await;
    app.advance(TimeDelta::hours(1));
    app.sign_up("ada@example.com").await;
    assert_eq!(app.verify("ada@example.com", &token).await.expect(200).field("id"), first);
}
