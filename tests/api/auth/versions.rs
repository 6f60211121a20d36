//! A version of a user's row names one state of the user and no other, so that what a server remembers is never taken for
//! what is.

use std::future::IntoFuture;

use serde_json::json;
use sqlx::Connection;

use crate::harness::{STRONG, TestApp};

const NEW: &str = "Difference Engine 1822";

/// A standby that hears of nothing from here on.
async fn asynchronous_standby(app: &TestApp) {
    let script = "create schema standby;
                  create table standby.users as table users;
                  create table standby.account_tokens as table account_tokens;
                  create table standby.client_keys as table client_keys;";
    sqlx::raw_sql(script).execute(&mut app.connection().await).await.expect("a copy");
}

/// It takes over: what was changed since is lost, the triggers know nothing of it.
async fn takes_over(app: &TestApp) {
    let script = "alter table users disable trigger user;
                  alter table account_tokens disable trigger user;
                  alter table client_keys disable trigger user;
                  delete from users;
                  insert into users table standby.users;
                  insert into account_tokens table standby.account_tokens;
                  insert into client_keys table standby.client_keys;
                  alter table users enable trigger user;
                  alter table account_tokens enable trigger user;
                  alter table client_keys enable trigger user;";
    sqlx::raw_sql(script).execute(&mut app.connection().await).await.expect("the copy counts");
}

/// Counts from here on how often rows of users are updated; answers how often they were.
async fn updates_of_users(app: &TestApp, work: impl AsyncFnOnce()) -> i64 {
    for statement in [
        "create sequence updates minvalue 0",
        "create function note_update() returns trigger language plpgsql as
         $$ begin perform nextval('updates'); return null; end $$",
        "create trigger note_update after update on users for each row execute function note_update()",
        "select nextval('updates')",
    ] {
        app.execute(statement).await;
    }
    work().await;
    app.count("select last_value from updates").await
}

/// Of Ada, who logged in very often.
const MANY_TOKENS: &str = "insert into account_tokens (id, user_id, token_version, created_at, expires_at)
                           select gen_random_uuid(), user_id, token_version, created_at, expires_at
                           from account_tokens, generate_series(1, 20000)";

#[tokio::test]
async fn a_token_that_was_ended_after_a_standby_took_over_is_not_alive_in_what_was_lost() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    let ada = app.person("ada").await;
    asynchronous_standby(&app).await;
    app.change_profile(&ada.token, &json!({"displayName": "Lost"})).await.expect(200);
    assert_eq!(other.me(&ada.token).await.expect(200).text_of("displayName"), "Lost");
    takes_over(&app).await;
    app.delete("/auth").bearer(&ada.token).await.expect(204);
    other.me(&ada.token).await.refused(401, "TokenInvalid");
    app.me(&ada.token).await.refused(401, "TokenInvalid");
}

#[tokio::test]
async fn what_was_made_and_ended_and_lost_again_is_not_alive() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    let ada = app.person("ada").await;
    asynchronous_standby(&app).await;
    let second = app.log_in(&ada.email, STRONG).await;
    other.me(&second).await.expect(200);
    app.delete("/auth").bearer(&second).await.expect(204);
    let key = app.client_key(&ada).await;
    other.grant(&key).await;
    app.delete(&format!("/users/me/client-keys/{}", key.0)).bearer(&ada.token).await.expect(204);
    takes_over(&app).await;
    other.me(&second).await.refused(401, "TokenInvalid");
    other.grant_by_keys(&key.0, &key.1).await.refused(401, "InvalidClientCredentials");
    other.me(&ada.token).await.expect(200);
}

#[tokio::test]
async fn no_two_changes_draw_the_same_version() {
    let app = TestApp::start().await;
    app.person("ada").await;
    app.execute("create table drawn (version bigint)").await;
    app.execute(
        "do $$ begin
             for change in 1..1000 loop
                 update users set failed_login_attempts = change;
                 insert into drawn select version from users;
             end loop;
         end $$",
    )
    .await;
    assert_eq!(app.count("select count(distinct version) from drawn").await, 1000);
    assert!(app.count("select min(version) from drawn").await >= 0, "-1 is the version that no row has");
    assert!(app.count("select max(version) from drawn").await > 1 << 56, "drawn from many");
}

#[tokio::test]
async fn whoever_ends_twenty_thousand_tokens_changes_the_own_row_a_few_times() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute(MANY_TOKENS).await;
    let updates = updates_of_users(&app, async || {
        app.change_password(&ada.token, STRONG, NEW).await.expect(200);
    })
    .await;
    assert_eq!(app.count("select count(*) from account_tokens").await, 1);
    assert!(updates <= 3, "the password, the others, the one that was kept: {updates}");
}

#[tokio::test]
async fn whoever_ends_the_other_twenty_thousand_changes_the_own_row_once() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute(MANY_TOKENS).await;
    let updates = updates_of_users(&app, async || {
        app.delete("/users/me/tokens").bearer(&ada.token).await.expect(204);
    })
    .await;
    assert_eq!(app.count("select count(*) from account_tokens").await, 1);
    assert_eq!(updates, 1);
}

#[tokio::test]
async fn tables_that_an_operator_empties_are_empty_for_every_server() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    for server in [&app, &other] {
        server.me(&ada.token).await.expect(200);
        server.grant(&key).await;
    }
    app.execute("truncate client_keys cascade").await;
    for server in [&app, &other] {
        server.grant_by_keys(&key.0, &key.1).await.refused(401, "InvalidClientCredentials");
        server.me(&ada.token).await.expect(200);
    }
    app.execute("truncate account_tokens").await;
    for server in [&app, &other] {
        server.me(&ada.token).await.refused(401, "TokenInvalid");
    }
}

#[tokio::test]
async fn somebody_who_logs_in_while_the_account_is_deleted_is_not_let_in_and_holds_nobody_up() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let mut connection = app.connection().await;
    let mut leaving = connection.begin().await.expect("a transaction");
    sqlx::query("select from users for no key update").execute(&mut *leaving).await.expect("the lock");
    let log_in = tokio::spawn(app.post("/auth").basic(&ada.email, STRONG).into_future());
    app.somebody_waits_for_a_lock().await;
    sqlx::query("delete from users").execute(&mut *leaving).await.expect("no deadlock");
    leaving.commit().await.expect("a commit");
    log_in.await.expect("no panic").refused(401, "InvalidCredentials");
}
