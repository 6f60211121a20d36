//! Rights that are lost while something is under way: who waited for a hash or a lock does nothing with them any more.

use bloq_accounts::grpc::contract::blickfeld::secure::config::{Account, ApplicationKey};
use bloq_accounts::users::AccessLevel;
use serde_json::json;
use tonic::Code;

use crate::harness::qb2::{ADMIN, AUTHORIZED, code_of, refused};
use crate::harness::{STRONG, TestApp};

/// What everybody holds who takes away an administrator's rights.
const ADMINISTRATORS: &str = "select pg_advisory_xact_lock(hashtextextended('administrators', 0))";

#[tokio::test]
async fn a_blocked_or_demoted_administrator_makes_and_changes_nobody_with_what_was_under_way() {
    // A connection for everybody who waits.
    let app = TestApp::start_with(|config| config.database.max_connections = 20).await;
    app.named("root", AccessLevel::Admin).await;
    let ada = app.named("ada", AccessLevel::Authorized).await;
    let uuid = ada.id.trim_start_matches("user-").to_owned();
    let lost = [
        ("update users set access_level = 'authorized' where login_name like 'eve%'", "Forbidden"),
        ("update users set read_only = true where login_name like 'eve%'", "Forbidden"),
        ("update users set blocked_at = now(), block_cause = 'admin' where login_name like 'eve%'", "UserBlocked"),
        ("update users set token_version = token_version + 1 where login_name like 'eve%'", "TokenInvalid"),
        ("delete from users where login_name like 'eve%'", "TokenInvalid"),
        (
            "delete from account_tokens where user_id in (select id from users where login_name like 'eve%')",
            "TokenInvalid",
        ),
    ];
    for (number, (loss, code)) in lost.into_iter().enumerate() {
        let name = format!("eve{number}");
        let eve = app.named(&name, AccessLevel::Admin).await;
        let caller = app.qb2().enter(&name, STRONG).await;
        let id = format!("/users/{}", ada.id);
        let calls = [
            app.post("/users/invitations").json(&json!({"name": "accomplice", "level": "admin"})),
            app.post("/users/invitations").json(&json!({"email": "eve@example.com", "level": "admin"})),
            app.patch(&id).json(&json!({"level": "admin"})),
            app.post(&format!("{id}/block")),
            app.post(&format!("{id}/reset")),
            app.delete(&id),
        ];
        let mut waiting = Vec::new();
        let mut at_qb2 = Vec::new();
        app.connection_holding(ADMINISTRATORS, async || {
            for call in calls {
                waiting.push(tokio::spawn(call.bearer(&eve.token).into_future()));
            }
            let create = caller.clone();
            let accomplice = Account { name: "friend".into(), access_level: ADMIN, ..Account::default() };
            at_qb2.push(tokio::spawn(async move { create.create_as(accomplice).await.map(drop) }));
            let (key, owner) = (caller.clone(), uuid.clone());
            at_qb2.push(tokio::spawn(async move { key.create_key(&owner, ApplicationKey::default()).await.map(drop) }));
            app.until_waiting(8).await;
            sqlx::query(loss).execute(&app.pool()).await.expect("the rights are gone");
        })
        .await;
        for call in waiting {
            let answer = call.await.expect("no panic");
            assert_eq!(answer.json()["code"], code, "{loss}: {answer:?}");
        }
        for call in at_qb2 {
            let status = refused(call.await.expect("no panic"), Code::PermissionDenied);
            assert_eq!(code_of(&status), code, "{loss}");
        }
        app.execute("delete from users where login_name like 'eve%'").await;
    }
    assert_eq!(app.count("select count(*) from users").await, 2);
    assert_eq!(app.count("select count(*) from application_keys").await, 0);
    app.me(&ada.token).await.expect(200);
}

#[tokio::test]
async fn what_waits_does_not_outlive_its_key_or_its_session() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    for (number, end) in
        ["delete from application_keys", "update device_session set id = gen_random_uuid()"].iter().enumerate()
    {
        let wanted = ApplicationKey { access_level: ADMIN, ..ApplicationKey::default() };
        let root = app.qb2().enter("root", STRONG).await;
        let (_, secret) = root.create_key("", wanted).await.expect("a key");
        let caller = app.qb2().with(&app.qb2().login_with_key(&secret).await.expect("a token"));
        let mut waiting = None;
        app.connection_holding(ADMINISTRATORS, async || {
            waiting = Some(tokio::spawn(async move { caller.create(&format!("friend{number}")).await }));
            app.until_waiting(1).await;
            sqlx::query(*end).execute(&app.pool()).await.expect("it has ended");
        })
        .await;
        let status = refused(waiting.expect("it waits").await.expect("no panic"), Code::PermissionDenied);
        assert_eq!(code_of(&status), "TokenInvalid", "{end}");
    }
    drop(root);
    assert_eq!(app.count("select count(*) from users").await, 1);
}

#[tokio::test]
async fn client_keys_are_neither_made_nor_ended_on_the_word_of_whoever_lost_the_right_to_it() {
    // A connection for everybody who waits.
    let app = TestApp::start_with(|config| config.database.max_connections = 20).await;
    for (number, (loss, code)) in [
        ("delete from account_tokens", "TokenInvalid"),
        ("update users set token_version = token_version + 1", "TokenInvalid"),
        ("update users set blocked_at = now(), block_cause = 'admin'", "UserBlocked"),
        ("update users set read_only = true", "Forbidden"),
        ("delete from users", "TokenInvalid"),
    ]
    .into_iter()
    .enumerate()
    {
        let eve = app.person(&format!("eve{number}")).await;
        let path = format!("/users/me/client-keys/{}", app.client_key(&eve).await.0);
        let calls = [app.post("/users/me/client-keys"), app.delete(&path), app.delete(&format!("{path}/tokens"))];
        let mut lost = app.pool().begin().await.expect("a transaction");
        sqlx::query("select from users for update").execute(&mut *lost).await.expect("the lock");
        let waiting = calls.map(|call| tokio::spawn(call.bearer(&eve.token).into_future()));
        app.until_waiting(3).await;
        sqlx::query(loss).execute(&mut *lost).await.expect("the right is gone");
        lost.commit().await.expect("it is gone for all");
        for call in waiting {
            let answer = call.await.expect("no panic");
            assert_eq!(answer.json()["code"], code, "{loss}: {answer:?}");
        }
        let keys = app.count("select count(*) from client_keys where generation = 0").await;
        assert_eq!(keys, app.count("select count(*) from users").await, "{loss}");
    }
}

#[tokio::test]
async fn nobody_gives_himself_back_the_rights_that_were_just_taken() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, eve) = root.member_as(Account { name: "eve".into(), access_level: ADMIN, ..Account::default() }).await;
    let mut waiting = None;
    app.connection_holding(ADMINISTRATORS, async || {
        let caller = eve.clone();
        waiting =
            Some(tokio::spawn(async move { caller.change("", |account| account.failed_login_attempts = 1).await }));
        app.until_waiting(1).await;
        app.execute("update users set access_level = 'authorized' where login_name = 'eve'").await;
    })
    .await;
    refused(waiting.expect("it waits").await.expect("no panic"), Code::PermissionDenied);
    assert_eq!(root.account(&uuid).await.access_level, AUTHORIZED);
}

#[tokio::test]
async fn a_guess_that_was_under_way_blocks_no_last_administrator_and_nobody_after_a_reset() {
    let app = TestApp::start_with(|config| config.rate_limit.enabled = false).await;
    let root = app.qb2_admin().await;
    for name in ["ada", "bob"] {
        root.member(name).await;
    }
    app.execute("update users set failed_login_attempts = 10 where login_name in ('ada', 'bob')").await;
    let mut guesses = Vec::new();
    app.connection_holding(ADMINISTRATORS, async || {
        for name in ["ada", "bob"] {
            let stranger = app.qb2();
            guesses.push(tokio::spawn(async move { stranger.login(name, "wrong").await }));
        }
        app.until_waiting(2).await;
        app.execute("update users set access_level = 'admin' where login_name = 'ada'").await;
        app.execute("update users set access_level = 'authorized' where login_name = 'root'").await;
        app.execute(
            "update users set token_version = token_version + 1, failed_login_attempts = 0 where login_name = 'bob'",
        )
        .await;
    })
    .await;
    for guess in guesses {
        refused(guess.await.expect("no panic"), Code::Unauthenticated);
    }
    assert_eq!(app.count("select count(*) from users where blocked_at is not null").await, 0);
}
