//! A password asked again of somebody who is logged in has a budget of its own.

use chrono::TimeDelta;

use crate::harness::{STRONG, STRONGER, TestApp, behind_a_proxy, count, together};

#[tokio::test]
async fn ten_wrong_old_passwords_a_minute() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for _ in 0..10 {
        app.change_password(&ada.token, STRONGER, STRONG).await.refused(400, "InvalidPassword");
    }
    let refused = app.change_password(&ada.token, STRONG, STRONGER).await.refused(429, "TooManyRequests");
    assert_eq!(refused.header("retry-after"), "6");
    assert_eq!(app.owner_of(&refused).await, Some(ada.id.clone()));
    app.advance(TimeDelta::milliseconds(5999));
    app.change_password(&ada.token, STRONG, STRONGER).await.refused(429, "TooManyRequests");
    app.advance(TimeDelta::milliseconds(1));
    app.change_password(&ada.token, STRONG, STRONGER).await.expect(200);
}

#[tokio::test]
async fn the_budget_is_the_users_whatever_the_token_and_the_address() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ada = app.person("ada").await;
    let other = app.log_in(&ada.email, STRONG).await;
    let bob = app.person("bob").await;
    for number in 0..10 {
        let token = if number % 2 == 0 { &ada.token } else { &other };
        let call = app.change_password(token, STRONGER, STRONG).from(&format!("203.0.113.{number}"));
        call.await.refused(400, "InvalidPassword");
    }
    app.change_password(&other, STRONG, STRONGER).await.refused(429, "TooManyRequests");
    app.change_password(&bob.token, STRONG, STRONGER).await.expect(200);
}

#[tokio::test]
async fn guesses_at_the_door_leave_the_budget_alone() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for _ in 0..30 {
        app.post("/auth").basic(&ada.email, STRONGER).await.refused(401, "InvalidCredentials");
    }
    app.post("/auth").basic(&ada.email, STRONG).await.refused(429, "TooManyRequests");
    app.change_password(&ada.token, STRONG, STRONGER).await.expect(200);
}

#[tokio::test]
async fn a_spent_budget_leaves_the_door_alone() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for _ in 0..10 {
        app.change_password(&ada.token, STRONGER, STRONG).await.refused(400, "InvalidPassword");
    }
    app.change_password(&ada.token, STRONGER, STRONG).await.refused(429, "TooManyRequests");
    for _ in 0..30 {
        app.post("/auth").basic(&ada.email, STRONGER).await.refused(401, "InvalidCredentials");
    }
    app.advance(TimeDelta::seconds(2));
    app.log_in(&ada.email, STRONG).await;
}

#[tokio::test]
async fn what_is_wrong_with_the_new_password_costs_nothing() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for _ in 0..12 {
        app.change_password(&ada.token, STRONG, "weak").await.refused(400, "WeakPassword");
    }
    app.change_password(&ada.token, STRONG, STRONGER).await.expect(200);
}

#[tokio::test]
async fn a_crowd_with_a_stolen_token_gets_ten_guesses_and_leaves_the_owner_no_debt() {
    let app = TestApp::start_with(|config| {
        config.password.argon2_memory_kib = 8 * 1024;
        config.password.max_parallel_hashes = 1;
    })
    .await;
    let ada = app.person("ada").await;
    let answers = together((0..40).map(|_| app.change_password(&ada.token, STRONGER, STRONG))).await;
    assert_eq!((count(&answers, 400), count(&answers, 429)), (10, 30), "{answers:?}");
    let refused = app.change_password(&ada.token, STRONG, STRONGER).await.refused(429, "TooManyRequests");
    assert_eq!(refused.header("retry-after"), "6");
    app.advance(TimeDelta::seconds(6));
    app.change_password(&ada.token, STRONG, STRONGER).await.expect(200);
}
