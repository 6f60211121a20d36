//! Tokens, and the session that they live in.

use bloq_accounts::grpc::call::METHODS;
use bloq_accounts::grpc::contract::blickfeld::secure::config::ApplicationKey;
use chrono::TimeDelta;
use serde_json::json;
use tonic::Code;

use crate::harness::qb2::{Qb2, Said, code_of, refused};
use crate::harness::token::claims;
use crate::harness::{STRONG, STRONGER, TestApp};

#[tokio::test]
async fn a_token_says_whose_it_is_and_lives_until_midnight() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, ada) = root.member("ada").await;
    let said = claims(ada.token.as_deref().expect("a token"));
    assert_eq!(said["sub"], format!("user-{uuid}"));
    assert_eq!(
        (&said["aud"], &said["level"], &said["read_only"]),
        (&json!(["qb2"]), &json!("authorized"), &json!(false))
    );
    assert!(said["session"].is_string() && said["application_key"].is_null());
    assert_eq!(said["exp"].as_i64().expect("a time") % 86_400, 0);

    let (key, secret) = ada
        .create_key("", ApplicationKey { access_read_only: true, ..ApplicationKey::default() })
        .await
        .expect("a key");
    let by_key = claims(&app.qb2().login_with_key(&secret).await.expect("a token"));
    assert_eq!((&by_key["application_key"], &by_key["read_only"]), (&json!(key), &json!(true)));

    app.advance(TimeDelta::hours(12) - TimeDelta::seconds(1));
    ada.nonce().await.expect("a second before midnight");
    app.advance(TimeDelta::seconds(1));
    assert_eq!(code_of(&refused(ada.nonce().await, Code::PermissionDenied)), "TokenExpired");
    app.qb2().enter("ada", STRONG).await.nonce().await.expect("a new day");
}

#[tokio::test]
async fn a_token_that_takes_its_time_ends_no_later() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    root.member("ada").await;
    let mut waiting = None;
    app.connection_holding("lock table account_tokens in exclusive mode", async || {
        let stranger = app.qb2();
        waiting = Some(tokio::spawn(async move { stranger.login("ada", STRONG).await }));
        app.until_waiting(1).await;
        app.advance(TimeDelta::seconds(5));
    })
    .await;
    let token = waiting.expect("it waits").await.expect("no panic").expect("a token");
    assert_eq!(claims(&token)["exp"].as_i64().expect("a time") % 86_400, 0);
}

#[tokio::test]
async fn a_token_that_is_no_good_is_refused_by_every_method() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let ada = app.person("ada").await;
    let stale = app.qb2().enter("root", STRONG).await;
    root.invalidate().await.expect("a new session");
    let stale = stale.token.expect("a token");
    for token in [stale.as_str(), ada.token.as_str(), "", "rubbish", "a.b.c", &"x".repeat(5000)] {
        for method in &METHODS {
            let said: Said<()> =
                root.with(token).call(method.path.trim_start_matches("/blickfeld.secure.services."), ()).await;
            assert_eq!(code_of(&refused(said, Code::PermissionDenied)), "TokenInvalid", "{token} {}", method.path);
        }
    }
}

#[tokio::test]
async fn two_tokens_are_none() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let mut request = tonic::Request::new(());
    request.metadata_mut().append("token", root.token.clone().expect("a token").parse().expect("ASCII"));
    request.metadata_mut().append("token", root.token.clone().expect("a token").parse().expect("ASCII"));
    let said: Said<tonic::Response<()>> = app.qb2().send("Session/GetNonce", request).await;
    refused(said.map(drop), Code::PermissionDenied);
}

#[tokio::test]
async fn the_end_of_the_session_ends_every_token_on_every_replica_and_no_other() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let root = app.qb2_admin().await;
    let ada = app.person("ada").await;
    let (here, there) = (app.at_qb2(&ada).await, replica.at_qb2(&ada).await);
    let before = here.nonce().await.expect("a nonce");
    assert_eq!(there.nonce().await.expect("a nonce"), before, "one session");
    root.invalidate().await.expect("a new session");
    for caller in [&here, &there, &root] {
        refused(caller.nonce().await, Code::PermissionDenied);
    }
    assert_ne!(replica.qb2().nonce().await.expect("a nonce"), before);
    app.me(&ada.token).await.expect(200);
    let listed = app.get("/users/me/tokens").bearer(&ada.token).await.expect(200).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    replica.at_qb2(&ada).await.nonce().await.expect("a token of the new session");
}

#[tokio::test]
async fn a_restart_ends_no_session() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (nonce, token) = (root.nonce().await.expect("a nonce"), root.token.expect("a token"));
    let app = app.restart().await;
    assert_eq!(app.qb2().with(&token).nonce().await.expect("still good"), nonce);
}

#[tokio::test]
async fn a_token_of_one_door_opens_nothing_at_the_other() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let token = app.at_qb2(&ada).await.token.expect("a token");
    app.me(&token).await.refused(403, "Forbidden");
    refused(app.qb2().with(&ada.token).nonce().await, Code::PermissionDenied);
    let client_keys = app.client_key(&ada).await;
    let (access, refresh) = app.grant(&client_keys).await;
    for token in [access, refresh.clone()] {
        refused(app.qb2().with(&token).nonce().await, Code::PermissionDenied);
    }
    app.grant_by_refresh(&token).await.refused(401, "InvalidRefreshToken");
}

#[tokio::test]
async fn a_new_password_ends_every_other_token_of_both_doors() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (one, other) = (app.at_qb2(&ada).await, app.at_qb2(&ada).await);
    app.change_password(&ada.token, STRONG, STRONGER).await.expect(200);
    for caller in [&one, &other] {
        refused(caller.nonce().await, Code::PermissionDenied);
    }
    app.me(&ada.token).await.expect(200);

    let again = app.qb2().enter(&ada.email, STRONGER).await;
    let second = app.qb2().enter(&ada.email, STRONGER).await;
    again.update_password(STRONGER, STRONG).await.expect("changed");
    again.nonce().await.expect("the one that was used lives on");
    refused(second.nonce().await, Code::PermissionDenied);
    app.me(&ada.token).await.refused(401, "TokenInvalid");
}

#[tokio::test]
async fn a_person_sees_the_tokens_of_both_doors_and_ends_one() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let caller: Qb2 = app.at_qb2(&ada).await;
    let listed = app.get("/users/me/tokens").bearer(&ada.token).await.expect(200).json();
    let services: Vec<_> = listed.as_array().expect("a list").iter().map(|token| token["service"].clone()).collect();
    assert_eq!(services.len(), 2);
    assert!(services.contains(&json!("qb2-accounts")) && services.contains(&json!(null)), "{listed}");
    let of_qb2 =
        listed.as_array().and_then(|all| all.iter().find(|token| token["service"] == "qb2-accounts")).expect("there");
    let path = format!("/users/me/tokens/{}", of_qb2["id"].as_str().expect("an id"));
    app.delete(&path).bearer(&ada.token).await.expect(204);
    refused(caller.nonce().await, Code::PermissionDenied);
}
