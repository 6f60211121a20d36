//! What is inside a token, how long it lives, and how it dies.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::token::{claims, header};
use crate::harness::{STRONG, TestApp};
use bloq_accounts::users::AccessLevel;

/// Noon of the tests' day, in seconds.
const NOON: i64 = 1_772_712_000;

fn is_uuid_v4(text: &Value) -> bool {
    text.as_str().and_then(|text| uuid::Uuid::parse_str(text).ok()).is_some_and(|id| id.get_version_num() == 4)
}

#[tokio::test]
async fn an_account_token_says_for_whom_and_how_long_it_is() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let said = claims(&ada.token);
    assert_eq!(
        said,
        json!({
            "iss": "https://accounts.example",
            "sub": ada.id,
            "aud": ["accounts", "nodes", "connect"],
            "iat": NOON,
            "exp": NOON + 12 * 3600,
            "jti": said["jti"],
        })
    );
    assert!(is_uuid_v4(&said["jti"]));
    assert_eq!(app.count("select count(*) from account_tokens").await, 1, "a row for every account token");
}

#[tokio::test]
async fn an_administrators_token_tells_clients_so() {
    let app = TestApp::start().await;
    let root = app.named("root", AccessLevel::Admin).await;
    assert_eq!(claims(&root.token)["aud"], json!(["accounts", "nodes", "connect", "manager"]));
}

#[tokio::test]
async fn a_client_access_token_is_for_the_sister_services() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let (access, refresh) = app.grant(&key).await;
    let by_refresh = app.grant_by_refresh(&refresh).await.expect(200).field("accessToken");
    for token in [access, by_refresh] {
        let said = claims(&token);
        assert_eq!(
            said,
            json!({
                "iss": "https://accounts.example",
                "sub": ada.id,
                "aud": ["nodes", "connect"],
                "iat": NOON,
                "exp": NOON + 3600,
                "jti": said["jti"],
                "client_id": key.0,
            })
        );
        assert!(is_uuid_v4(&said["jti"]));
    }
    assert_eq!(app.count("select count(*) from account_tokens").await, 1, "no row for a client token");
}

#[tokio::test]
async fn a_refresh_token_is_for_nothing_else() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let (_, refresh) = app.grant(&key).await;
    let said = claims(&refresh);
    assert_eq!((&said["aud"], &said["sub"], &said["client_id"]), (&json!(["refresh"]), &json!(ada.id), &json!(key.0)));
    assert_eq!((&said["iat"], &said["exp"]), (&json!(NOON), &json!(NOON + 31_536_000)));
    assert!(is_uuid_v4(&said["jti"]));
}

#[tokio::test]
async fn every_token_names_its_key_and_algorithm() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (access, refresh) = app.grant(&app.client_key(&ada).await).await;
    let kid = app.published_key().await["kid"].clone();
    for token in [&ada.token, &access, &refresh] {
        assert_eq!(header(token), json!({"typ": "JWT", "alg": "ES256", "kid": kid}));
        assert_eq!(token.split('.').count(), 3);
    }
}

#[tokio::test]
async fn an_account_token_lives_for_12_hours() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.advance(TimeDelta::hours(12) - TimeDelta::seconds(1));
    app.sweep().await;
    app.me(&ada.token).await.expect(200);
    app.advance(TimeDelta::seconds(1));
    let answer = app.me(&ada.token).await.refused(401, "TokenExpired");
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""), "{challenge}");
    app.sweep().await;
    assert_eq!(app.count("select count(*) from account_tokens").await, 0, "purged");
    app.me(&ada.token).await.refused(401, "TokenExpired");
}

#[tokio::test]
async fn a_refresh_token_lives_for_a_year() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (access, refresh) = app.grant(&app.client_key(&ada).await).await;
    app.advance(TimeDelta::seconds(31_536_000 - 1));
    app.sweep().await;
    let fresh = app.grant_by_refresh(&refresh).await.expect(200).field("accessToken");
    assert_ne!(fresh, access);
    app.advance(TimeDelta::seconds(1));
    app.grant_by_refresh(&refresh).await.refused(401, "InvalidRefreshToken");
}

#[tokio::test]
async fn an_expired_client_token_is_expired_before_it_is_of_the_wrong_kind() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (access, _) = app.grant(&app.client_key(&ada).await).await;
    app.advance(TimeDelta::seconds(3599));
    app.me(&access).await.refused(403, "Forbidden");
    app.advance(TimeDelta::seconds(1));
    app.me(&access).await.refused(401, "TokenExpired");
}

#[tokio::test]
async fn lifetimes_and_issuer_are_configurable() {
    let app = TestApp::start_with(|config| {
        config.tokens.account_lifetime_seconds = 60;
        config.tokens.issuer = "https://issuer.example".into();
    })
    .await;
    let ada = app.person("ada").await;
    let said = claims(&ada.token);
    assert_eq!((&said["iss"], &said["exp"]), (&json!("https://issuer.example"), &json!(NOON + 60)));
    app.advance(TimeDelta::seconds(60));
    app.me(&ada.token).await.refused(401, "TokenExpired");
}

#[tokio::test]
async fn tokens_survive_a_restart() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let (_, refresh) = app.grant(&key).await;
    let revoked = app.log_in(&ada.email, STRONG).await;
    app.delete("/auth").bearer(&revoked).await.expect(204);
    let app = app.restart().await;
    app.me(&ada.token).await.expect(200);
    app.grant_by_refresh(&refresh).await.expect(200);
    app.grant(&key).await;
    app.me(&revoked).await.refused(401, "TokenInvalid");
}

#[tokio::test]
async fn rights_are_read_from_the_row_and_not_from_the_token() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.execute("update users set read_only = true").await;
    app.post("/users/me/client-keys").bearer(&ada.token).await.refused(403, "Forbidden");
    app.execute("update users set read_only = false").await;
    app.post("/users/me/client-keys").bearer(&ada.token).await.expect(200);
}

#[tokio::test]
async fn the_token_of_a_user_who_is_gone_is_dead() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (_, refresh) = app.grant(&app.client_key(&ada).await).await;
    app.execute("delete from users").await;
    app.me(&ada.token).await.refused(401, "TokenInvalid");
    app.grant_by_refresh(&refresh).await.refused(401, "InvalidRefreshToken");
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().expect("a list").iter().map(|token| token["id"].as_str().expect("an id").to_owned()).collect()
}

fn jti(token: &str) -> String {
    claims(token)["jti"].as_str().expect("a jti").to_owned()
}

#[tokio::test]
async fn a_person_sees_the_own_live_tokens_newest_first() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    app.advance(TimeDelta::minutes(1));
    let call = app.post("/auth").basic(&ada.email, STRONG).header("user-agent", "Mallory/1.0");
    let newer = call.await.expect(200).field("accessToken");
    let answer = app.get("/users/me/tokens").bearer(&ada.token).await.expect(200);
    let expected = json!([
        {
            "id": jti(&newer), "createdAt": "2026-03-05T12:01:00.123Z", "expiresAt": "2026-03-06T00:01:00.123Z",
            "lastUsedAt": null, "ip": "127.0.0.1", "userAgent": "Mallory/1.0", "current": false,
        },
        {
            "id": jti(&ada.token), "createdAt": "2026-03-05T12:00:00.123Z", "expiresAt": "2026-03-06T00:00:00.123Z",
            "lastUsedAt": null, "ip": "127.0.0.1", "userAgent": "tests/1.0", "current": true,
        },
    ]);
    assert_eq!(answer.json(), expected);
    assert!(!answer.text.contains(&newer));
    app.me(&bob.token).await.expect(200);
    app.get("/users/me/tokens").await.refused(401, "Unauthorized");
}

#[tokio::test]
async fn the_last_use_of_a_token_is_known_to_the_minute() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let last_use = async || {
        app.write_last_uses().await;
        app.get("/users/me/tokens").bearer(&ada.token).await.json()[0]["lastUsedAt"].clone()
    };
    assert_eq!(last_use().await, Value::Null);
    assert_eq!(last_use().await, "2026-03-05T12:00:00.123Z");
    app.advance(TimeDelta::seconds(59));
    app.me(&ada.token).await.expect(200);
    assert_eq!(last_use().await, "2026-03-05T12:00:00.123Z");
    app.advance(TimeDelta::seconds(1));
    app.me(&ada.token).await.expect(200);
    assert_eq!(last_use().await, "2026-03-05T12:01:00.123Z");
}

#[tokio::test]
async fn a_dead_token_is_not_listed() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.advance(TimeDelta::hours(1));
    let newer = app.log_in(&ada.email, STRONG).await;
    app.advance(TimeDelta::hours(11));
    let list = app.get("/users/me/tokens").bearer(&newer).await.json();
    assert_eq!(ids(&list), [jti(&newer)]);
}

#[tokio::test]
async fn a_person_stops_one_token_or_all_others() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (one, two, three) = (
        app.log_in(&ada.email, STRONG).await,
        app.log_in(&ada.email, STRONG).await,
        app.log_in(&ada.email, STRONG).await,
    );
    let path = format!("/users/me/tokens/{}", jti(&one));
    app.delete(&path).bearer(&ada.token).await.expect(204);
    app.me(&one).await.refused(401, "TokenInvalid");
    app.delete(&path).bearer(&ada.token).await.refused(404, "NotFound");
    app.delete("/users/me/tokens").bearer(&two).await.expect(204);
    for dead in [&ada.token, &three] {
        app.me(dead).await.refused(401, "TokenInvalid");
    }
    // Also the one in use.
    app.delete(&format!("/users/me/tokens/{}", jti(&two))).bearer(&two).await.expect(204);
    app.me(&two).await.refused(401, "TokenInvalid");
}

#[tokio::test]
async fn nobody_stops_what_is_not_the_own() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    for id in [jti(&bob.token).as_str(), "nonsense", "0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11"] {
        app.delete(&format!("/users/me/tokens/{id}")).bearer(&ada.token).await.refused(404, "NotFound");
    }
    app.delete("/users/me/tokens").bearer(&ada.token).await.expect(204);
    app.me(&bob.token).await.expect(200);
}

#[tokio::test]
async fn all_refresh_tokens_of_a_key_end_and_new_ones_are_good() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (key, other) = (app.client_key(&ada).await, app.client_key(&ada).await);
    let ((_, first), (_, second), (_, others)) =
        (app.grant(&key).await, app.grant(&key).await, app.grant(&other).await);
    app.delete(&format!("/users/me/client-keys/{}/tokens", key.0.to_uppercase())).bearer(&ada.token).await.expect(204);
    for dead in [&first, &second] {
        app.grant_by_refresh(dead).await.refused(401, "InvalidRefreshToken");
    }
    app.grant_by_refresh(&others).await.expect(200);
    let (_, fresh) = app.grant(&key).await;
    app.grant_by_refresh(&fresh).await.expect(200);
    let bob = app.person("bob").await;
    for (id, token) in [(key.0.as_str(), &bob.token), ("nonsense", &ada.token)] {
        app.delete(&format!("/users/me/client-keys/{id}/tokens")).bearer(token).await.refused(404, "NotFound");
    }
}
