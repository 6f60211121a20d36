//! Whose account is it? Rows 6, 7, 13 to 17, 21 and 26 of the list.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{STRONG, STRONGER, TestApp, sign_up_body, together};

#[tokio::test]
async fn a_subject_in_a_body_or_a_query_is_nobody() {
    let app = TestApp::start().await;
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    for name in ["userId", "user", "sub", "id"] {
        let path = format!("/users/me/client-keys?{name}={}", ada.id);
        app.post(&path).bearer(&eve.token).json(&json!({name: ada.id})).await;
        app.post("/users/me/client-keys").json(&json!({name: ada.id})).await.refused(401, "Unauthorized");
    }
    assert_eq!(app.get("/users/me/client-keys").bearer(&ada.token).await.expect(200).json(), json!([]));
    let body = json!({"oldPassword": STRONG, "newPassword": STRONGER, "userId": ada.id});
    app.put("/users/me/password").bearer(&eve.token).json(&body).await.refused(400, "ValidationFailed");
    app.log_in(&ada.email, STRONG).await;
}

#[tokio::test]
async fn no_route_behind_an_account_opens_without_one() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.expect(200).json();
    let mut guarded = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let is_guarded = operation["security"] == json!([{"account": []}]);
            assert!(is_guarded || !path.starts_with("/users/me"), "{method} {path} is not described as guarded");
            if is_guarded {
                let method = method.to_uppercase().parse().expect("a method");
                app.call(method, &path.replace(['{', '}'], "")).await.refused(401, "Unauthorized");
                guarded += 1;
            }
        }
    }
    assert!(guarded >= 7, "{guarded}");
}

#[tokio::test]
async fn a_stolen_token_changes_no_password_without_the_old_one() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let change = |body: Value| app.put("/users/me/password").bearer(&ada.token).json(&body);
    change(json!({"newPassword": STRONGER})).await.refused(400, "ValidationFailed");
    change(json!({"oldPassword": null, "newPassword": STRONGER})).await.refused(400, "ValidationFailed");
    change(json!({"oldPassword": "", "newPassword": STRONGER})).await.refused(400, "InvalidPassword");
    app.log_in(&ada.email, STRONG).await;
}

#[tokio::test]
async fn a_stolen_token_takes_no_account_over_and_ends_none() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.change_email(&ada.token, "eve@example.com", STRONGER).await.refused(400, "InvalidPassword");
    app.leave(&ada.token, STRONGER).await.refused(400, "InvalidPassword");
    let patch = json!({"email": "eve@example.com", "password": STRONGER, "verifiedAt": "2026-03-05T12:00:00.000Z"});
    app.change_profile(&ada.token, &patch).await.refused(400, "ValidationFailed");
    assert_eq!(app.me(&ada.token).await.json()["email"], "ada@example.com");
}

#[tokio::test]
async fn a_thief_is_out_of_every_replica_after_a_reset() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.person("ada").await;
    let stolen = app.log_in(&ada.email, STRONG).await;
    replica.me(&stolen).await.expect(200);
    app.forget_password(&ada.email).await.expect(202);
    let token = app.mailed_token(&ada.email).await;
    app.reset_password(&ada.id, &token, STRONGER).await.expect(200);
    for server in [&app, &replica] {
        server.me(&stolen).await.refused(401, "TokenInvalid");
    }
}

#[tokio::test]
async fn a_token_that_was_stolen_before_the_change_is_dead_at_every_replica() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let replica = app.replica().await;
    let stolen = app.log_in(&ada.email, STRONG).await;
    replica.me(&stolen).await.expect(200);
    app.change_password(&ada.token, STRONG, STRONGER).await.expect(200);
    replica.me(&stolen).await.refused(401, "TokenInvalid");
    replica.me(&ada.token).await.expect(200);
    replica.post("/auth").basic(&ada.email, STRONG).await.refused(401, "InvalidCredentials");

    replica.delete("/auth").bearer(&ada.token).await.expect(204);
    app.me(&ada.token).await.refused(401, "TokenInvalid");
}

#[tokio::test]
async fn a_deleted_key_is_dead_at_every_replica_and_after_a_restart() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let replica = app.replica().await;
    let key = app.client_key(&ada).await;
    let (_, refresh) = replica.grant(&key).await;
    app.delete(&format!("/users/me/client-keys/{}", key.0)).bearer(&ada.token).await.expect(204);
    replica.grant_by_refresh(&refresh).await.refused(401, "InvalidRefreshToken");
    replica.grant_by_keys(&key.0, &key.1).await.refused(401, "InvalidClientCredentials");
    let app = app.restart().await;
    app.grant_by_refresh(&refresh).await.refused(401, "InvalidRefreshToken");
}

#[tokio::test]
async fn a_block_holds_at_every_replica_and_at_the_next_refresh() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (_, refresh) = app.grant(&app.client_key(&ada).await).await;
    let replica = app.replica().await;
    app.block(&ada.id, "admin").await;
    replica.me(&ada.token).await.refused(403, "UserBlocked");
    replica.grant_by_refresh(&refresh).await.refused(403, "UserBlocked");
    app.restart().await.me(&ada.token).await.refused(403, "UserBlocked");
}

#[tokio::test]
async fn a_log_in_during_a_change_gives_no_token_that_outlives_it() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let change = app.change_password(&ada.token, STRONG, STRONGER);
    let log_ins = (0..10).map(|_| app.post("/auth").basic(&ada.email, STRONG));
    let answers = together(log_ins.chain([change])).await;
    assert_eq!(answers[10].status, 200, "{:?}", answers[10]);
    for answer in answers[..10].iter().filter(|answer| answer.status == 200) {
        app.me(&answer.field("accessToken")).await.refused(401, "TokenInvalid");
    }
}

#[tokio::test]
async fn expiry_needs_no_reaper() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let id = app.sign_up("bob@example.com").await;
    let token = app.mailed_token("bob@example.com").await;
    app.advance(TimeDelta::days(3));
    app.me(&ada.token).await.refused(401, "TokenExpired");
    app.verify(&id, &token).await.refused(400, "InvalidToken");
    assert_eq!(app.count("select count(*) from account_tokens").await, 1, "nobody swept");
}

#[tokio::test]
async fn a_look_alike_of_an_email_is_another_address_or_none() {
    let app = TestApp::start().await;
    let mike = app.person("mike").await;
    for (look_alike, status) in [
        ("mıke@example.com", 400),
        ("ｍike@example.com", 400),
        ("mike@example.com\u{200b}", 400),
        ("mike\0@example.com", 400),
        (" mike@example.com", 400),
        ("mike@exаmple.com", 201),
        ("mike@EXAMPLE.com", 201),
        ("MIKE@ｅｘａｍｐｌｅ.com", 201),
        ("mike@example。com", 201),
    ] {
        let answer = app.post("/users").json(&sign_up_body(look_alike)).await;
        assert_eq!(answer.status, status, "{look_alike}: {answer:?}");
    }
    let cyrillic = app.count("select count(*) from users where email_canonical like 'mike@xn--%'").await;
    assert_eq!((cyrillic, app.count("select count(*) from users").await), (1, 2));
    app.deliver_mail().await;
    assert_eq!(app.mailbox().to("mike@example.com").len(), 2, "the stored address alone: proof and one notice");
    assert_eq!(app.me(&mike.token).await.expect(200).field("email"), "mike@example.com");
}

#[tokio::test]
async fn an_email_cannot_smuggle_a_header_or_a_second_recipient() {
    let app = TestApp::start().await;
    for email in [
        "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com,eve@example.com",
        "ada@example.com eve@example.com",
        "<ada@example.com>",
        "Ada <ada@example.com>",
        "ada@example.com@evil.example",
        "ada@[127.0.0.1]",
    ] {
        let answer = app.post("/users").json(&sign_up_body(email)).await;
        assert_eq!(answer.refused(400, "ValidationFailed").bad_fields(), ["email"], "{email}");
    }
    assert_eq!(app.count("select count(*) from outbox").await, 0);
}

#[tokio::test]
async fn one_token_of_a_mail_proves_one_address_for_one_user() {
    let app = TestApp::start().await;
    let (ada, eve) = (app.sign_up("ada@example.com").await, app.sign_up("eve@example.com").await);
    let eves = app.mailed_token("eve@example.com").await;
    app.verify(&ada, &eves).await.refused(400, "InvalidToken");
    app.verify("ada@example.com", &eves).await.refused(400, "InvalidToken");
    app.verify(&eve, &eves).await.expect(200);
    app.verify(&ada, &eves).await.refused(400, "InvalidToken");
}
