//! Blocks: by an administrator, who ends everything, and by failures, which bar password log-in only.

use crate::harness::{STRONG, STRONGER, TestApp, together};
use bloq_accounts::users::{AccessLevel, By, LoginName, NewName, NewUser};

#[tokio::test]
async fn a_user_blocked_by_an_administrator_is_out_at_once() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let (_, refresh) = app.grant(&key).await;
    app.block(&ada.id, "admin").await;
    app.post("/auth").basic(&ada.email, STRONG).await.refused(403, "UserBlocked");
    app.me(&ada.token).await.refused(403, "UserBlocked");
    app.change_password(&ada.token, STRONG, STRONGER).await.refused(403, "UserBlocked");
    app.post("/users/me/client-keys").bearer(&ada.token).await.refused(403, "UserBlocked");
    app.grant_by_keys(&key.0, &key.1).await.refused(403, "UserBlocked");
    app.grant_by_refresh(&refresh).await.refused(403, "UserBlocked");
}

#[tokio::test]
async fn only_the_bearer_of_the_right_secret_learns_of_a_block() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    app.block(&ada.id, "admin").await;
    app.post("/auth").basic(&ada.email, STRONGER).await.refused(401, "InvalidCredentials");
    app.grant_by_keys(&key.0, &key.1.replace('a', "b")).await.refused(401, "InvalidClientCredentials");
}

#[tokio::test]
async fn an_account_without_email_blocks_itself_after_more_than_ten_failures() {
    let app = TestApp::start().await;
    let babbage = app.named("babbage", AccessLevel::Authorized).await;
    let key = app.client_key(&babbage).await;
    let (_, refresh) = app.grant(&key).await;
    for _ in 0..10 {
        app.post("/auth").basic("babbage", STRONGER).await.refused(401, "InvalidCredentials");
    }
    assert_eq!(app.count("select failed_login_attempts::bigint from users").await, 10);
    let token = app.log_in("babbage", STRONG).await;
    assert_eq!(app.count("select failed_login_attempts::bigint from users").await, 0, "success sets it to 0");

    for _ in 0..11 {
        app.post("/auth").basic("babbage", STRONGER).await.refused(401, "InvalidCredentials");
    }
    app.post("/auth").basic("babbage", STRONG).await.refused(403, "UserBlocked");
    // It bars password log-in only.
    app.me(&token).await.expect(200);
    app.grant_by_keys(&key.0, &key.1).await.expect(200);
    app.grant_by_refresh(&refresh).await.expect(200);
}

#[tokio::test]
async fn failures_at_the_same_moment_are_all_counted() {
    let app = TestApp::start().await;
    app.named("babbage", AccessLevel::Authorized).await;
    together((0..11).map(|_| app.post("/auth").basic("babbage", STRONGER))).await;
    app.post("/auth").basic("babbage", STRONG).await.refused(403, "UserBlocked");
}

#[tokio::test]
async fn how_many_failures_is_configurable() {
    let app = TestApp::start_with(|config| config.password.max_failed_logins = 2).await;
    app.named("babbage", AccessLevel::Authorized).await;
    for _ in 0..3 {
        app.post("/auth").basic("babbage", STRONGER).await.expect(401);
    }
    app.post("/auth").basic("babbage", STRONG).await.refused(403, "UserBlocked");
}

#[tokio::test]
async fn strangers_cannot_block_an_account_with_an_email() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for _ in 0..12 {
        app.post("/auth").basic(&ada.email, STRONGER).await.refused(401, "InvalidCredentials");
    }
    app.log_in(&ada.email, STRONG).await;
}

#[tokio::test]
async fn strangers_cannot_block_the_last_administrator() {
    let app = TestApp::start().await;
    app.named("root", AccessLevel::Admin).await;
    for _ in 0..12 {
        app.post("/auth").basic("root", STRONGER).await.refused(401, "InvalidCredentials");
    }
    app.log_in("root", STRONG).await;
}

#[tokio::test]
async fn one_of_two_administrators_is_blocked_and_the_last_is_not() {
    let app = TestApp::start().await;
    app.named("first", AccessLevel::Admin).await;
    app.named("second", AccessLevel::Admin).await;
    let failures = (0..12).flat_map(|_| ["first", "second"]);
    together(failures.map(|name| app.post("/auth").basic(name, STRONGER))).await;
    assert_eq!(app.count("select count(*) from users where blocked_at is null").await, 1);
}

#[tokio::test]
async fn a_new_password_lifts_no_block() {
    let app = TestApp::start().await;
    let babbage = app.named("babbage", AccessLevel::Authorized).await;
    app.block(&babbage.id, "failures").await;
    app.change_password(&babbage.token, STRONG, STRONGER).await.expect(200);
    app.post("/auth").basic("babbage", STRONGER).await.refused(403, "UserBlocked");
}

#[tokio::test]
async fn wrong_activation_passwords_count_like_wrong_passwords() {
    let app = TestApp::start().await;
    let (id, activation) = app.invited(NewName::Name(LoginName::parse("ada").expect("a login name"))).await;
    for _ in 0..11 {
        app.activate(&id, STRONGER, STRONG).await.refused(401, "InvalidCredentials");
    }
    app.activate(&id, &activation, STRONG).await.refused(403, "UserBlocked");
}

#[tokio::test]
async fn strangers_cannot_block_the_only_administrator_before_the_first_log_in() {
    let app = TestApp::start().await;
    let name = NewName::Name(LoginName::parse("root").expect("a login name"));
    let new = NewUser { name, level: AccessLevel::Admin, read_only: false, password: None };
    let (_, activation) = app.app.users.create(new, By::Operator).await.expect("the user is made");
    for _ in 0..12 {
        app.post("/auth").basic("root", "a guess").await.expect(401);
    }
    let activation = activation.expect("an activation password");
    app.post("/auth").basic("root", activation.expose()).await.refused(403, "ActivationRequired");
}
