//! `POST /auth/token`: both grants.

use bloq_accounts::secret::PlainSecret;
use chrono::TimeDelta;
use serde_json::json;

use crate::harness::{STRONG, TestApp};

#[tokio::test]
async fn client_keys_give_an_access_and_a_refresh_token() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (id, secret) = app.client_key(&ada).await;
    let answer = app.grant_by_keys(&id, &secret).await.expect(200);
    let (access, refresh) = (answer.field("accessToken"), answer.field("refreshToken"));
    assert_eq!(answer.json(), json!({"accessToken": access, "refreshToken": refresh}));
    assert_ne!(access, refresh);
}

#[tokio::test]
async fn a_refresh_token_gives_a_new_access_token_and_itself() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (access, refresh) = app.grant(&app.client_key(&ada).await).await;
    for _ in 0..2 {
        let answer = app.grant_by_refresh(&refresh).await.expect(200);
        assert_ne!(answer.field("accessToken"), access);
        assert_eq!(answer.json(), json!({"accessToken": answer.field("accessToken"), "refreshToken": refresh}));
    }
}

#[tokio::test]
async fn the_authorization_header_is_ignored() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (id, secret) = app.client_key(&ada).await;
    app.advance(TimeDelta::hours(13));
    for header in [format!("Bearer {}", ada.token), "Bearer rubbish".into(), "Basic !!!".into()] {
        app.grant_by_keys(&id, &secret).header("authorization", &header).await.expect(200);
    }
}

#[tokio::test]
async fn wrong_client_keys_are_one_refusal() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (id, secret) = app.client_key(&ada).await;
    let (other_id, other_secret) = app.client_key(&ada).await;
    for (id, secret) in [
        (id.as_str(), other_secret.as_str()),
        (&other_id, &secret),
        (&id, ""),
        ("", &secret),
        (&id, &secret[..79]),
        (&id, &secret.to_uppercase()),
        (&"0".repeat(40), &secret),
        (&ada.id, STRONG),
        (&ada.email, STRONG),
    ] {
        let answer = app.grant_by_keys(id, secret).await.refused(401, "InvalidClientCredentials");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"bloq-accounts\"");
    }
}

#[tokio::test]
async fn what_is_no_live_refresh_token_is_refused() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (access, refresh) = app.grant(&app.client_key(&ada).await).await;
    let cut = &refresh[..refresh.len() - 8];
    let long = "a".repeat(5000);
    for token in [access.as_str(), &ada.token, cut, "", "a.b.c", "rubbish", &long] {
        let answer = app.grant_by_refresh(token).await.refused(401, "InvalidRefreshToken");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""), "{answer:?}");
    }
}

#[tokio::test]
async fn an_unknown_grant_is_named_so() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (id, secret) = app.client_key(&ada).await;
    for grant in ["client_credentials", "password", "", "ClientCredentials"] {
        let body = json!({"grantType": grant, "clientId": id, "clientSecret": secret});
        app.post("/auth/token").json(&body).await.refused(400, "UnsupportedGrantType");
    }
}

#[tokio::test]
async fn a_bad_form_is_listed() {
    let app = TestApp::start().await;
    for (body, fields) in [
        (json!({}), vec!["grantType"]),
        (json!({"clientId": "a", "clientSecret": "b"}), vec!["grantType"]),
        (json!({"grantType": 7}), vec!["grantType"]),
        (json!({"grantType": "clientCredentials"}), vec!["clientId", "clientSecret"]),
        (json!({"grantType": "clientCredentials", "clientId": 1, "clientSecret": "b"}), vec!["clientId"]),
        (json!({"grantType": "refreshToken"}), vec!["refreshToken"]),
        (json!({"grantType": "refreshToken", "refreshToken": "x", "scope": "all"}), vec!["scope"]),
    ] {
        let answer = app.post("/auth/token").json(&body).await.refused(400, "ValidationFailed");
        assert_eq!(answer.bad_fields(), fields, "{body}");
    }
}

#[tokio::test]
async fn a_deleted_key_ends_its_refresh_tokens_and_no_others() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (gone, kept) = (app.client_key(&ada).await, app.client_key(&ada).await);
    let ((_, dead), (_, alive)) = (app.grant(&gone).await, app.grant(&kept).await);
    app.delete(&format!("/users/me/client-keys/{}", gone.0)).bearer(&ada.token).await.expect(204);
    app.grant_by_refresh(&dead).await.refused(401, "InvalidRefreshToken");
    app.grant_by_keys(&gone.0, &gone.1).await.refused(401, "InvalidClientCredentials");
    app.grant_by_refresh(&alive).await.expect(200);
}

#[tokio::test]
async fn a_new_generation_of_a_key_ends_its_refresh_tokens() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let (_, old) = app.grant(&key).await;
    app.execute("update client_keys set generation = generation + 1").await;
    app.grant_by_refresh(&old).await.refused(401, "InvalidRefreshToken");
    let (_, fresh) = app.grant(&key).await;
    app.grant_by_refresh(&fresh).await.expect(200);
}

#[tokio::test]
async fn a_client_token_is_of_no_use_at_this_service() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (access, refresh) = app.grant(&app.client_key(&ada).await).await;
    for token in [access, refresh] {
        app.me(&token).await.refused(403, "Forbidden");
        app.get("/users/me/client-keys").bearer(&token).await.refused(403, "Forbidden");
        app.post("/users/me/client-keys").bearer(&token).await.refused(403, "Forbidden");
        app.delete("/auth").bearer(&token).await.refused(403, "Forbidden");
        app.get("/users/me/events").bearer(&token).await.refused(403, "Forbidden");
    }
}

#[tokio::test]
async fn a_grant_is_an_event_of_the_owner_also_when_it_is_refused() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (id, secret) = app.client_key(&ada).await;
    app.grant_by_keys(&id, "wrong").await.expect(401);
    app.grant_by_keys(&"0".repeat(40), &secret).await.expect(401);
    let events = app.events_of(&ada).await;
    let grants: Vec<_> = events.iter().filter(|event| event["input"]["path"] == "/auth/token").collect();
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0]["output"]["httpStatusCode"], 401);
}

#[tokio::test]
async fn an_access_token_outlives_its_key() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let (access, _) = app.grant(&key).await;
    app.delete(&format!("/users/me/client-keys/{}", key.0)).bearer(&ada.token).await.expect(204);
    // Still a good token of the wrong kind, and not a revoked one.
    app.me(&access).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn a_revoked_refresh_token_is_refused_and_the_others_of_its_key_are_not() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let ((_, leaked), (access, other)) = (app.grant(&key).await, app.grant(&key).await);
    for _ in 0..2 {
        app.app.tokens.revoke_refresh(&PlainSecret::new(leaked.as_str())).await.expect("again is no mistake");
    }
    app.grant_by_refresh(&leaked).await.refused(401, "InvalidRefreshToken");
    app.grant_by_refresh(&other).await.expect(200);
    assert!(app.app.tokens.revoke_refresh(&PlainSecret::new(access)).await.is_err(), "only refresh tokens");

    app.advance(TimeDelta::seconds(31_536_000));
    app.sweep().await;
    assert_eq!(app.count("select count(*) from revoked_tokens").await, 0, "nothing stays for ever");
}
