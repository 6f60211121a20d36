//! Whose event a request is, when it succeeds and when it is refused.

use bloq_accounts::users::{AccessLevel, LoginName, NewName};
use chrono::TimeDelta;
use serde_json::json;

use crate::harness::people::{email, sign_up_body};
use crate::harness::{STRONG, STRONGER, TestApp};

const NOBODY: &str = "user-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11";
const NO_TOKEN: &str = "5cf5e1f1-53a2-4f3c-a9f6-1a0f4c7f6b1e";

#[tokio::test]
async fn an_event_belongs_to_the_user_of_the_token() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let calls = [
        app.get("/users/me").bearer(&ada.token).await.expect(200),
        app.get("/users/me/events").bearer(&ada.token).await.expect(200),
        app.get("/users/me/events?limit=0").bearer(&ada.token).await.expect(400),
        app.get("/users/me/client-keys").bearer(&ada.token).await.expect(200),
        app.post("/users/me/client-keys").bearer(&ada.token).await.expect(200),
        app.delete(&format!("/users/me/client-keys/{}", "0".repeat(40))).bearer(&ada.token).await.expect(404),
        app.put("/users/me/password").bearer(&ada.token).json(&json!({})).await.expect(400),
        app.put("/users/me/password")
            .bearer(&ada.token)
            .json(&json!({"oldPassword": "wrong", "newPassword": STRONGER}))
            .await
            .refused(400, "InvalidPassword"),
        app.call(reqwest::Method::DELETE, "/auth").bearer(&ada.token).await.expect(204),
    ];
    for answer in calls {
        assert_eq!(app.owner_of(&answer).await.as_ref(), Some(&ada.id), "{answer:?}");
    }
}

#[tokio::test]
async fn a_dead_token_still_tells_whose_event_it_is() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let other = app.log_in(&ada.email, STRONG).await;
    app.delete("/auth").bearer(&other).await.expect(204);
    let revoked = app.get("/users/me").bearer(&other).await.refused(401, "TokenInvalid");
    assert_eq!(app.owner_of(&revoked).await.as_ref(), Some(&ada.id));
    app.block(&ada.id, "admin").await;
    let blocked = app.get("/users/me").bearer(&ada.token).await.refused(403, "UserBlocked");
    assert_eq!(app.owner_of(&blocked).await.as_ref(), Some(&ada.id));
    app.advance(TimeDelta::hours(13));
    let expired = app.get("/users/me").bearer(&ada.token).await.refused(401, "TokenExpired");
    assert_eq!(app.owner_of(&expired).await.as_ref(), Some(&ada.id));

    let foreign = app.get("/users/me").bearer("a.b.c").await.refused(401, "TokenInvalid");
    assert_eq!(app.owner_of(&foreign).await, None);
    let none = app.get("/users/me").await.refused(401, "Unauthorized");
    assert_eq!(app.owner_of(&none).await, None);
}

#[tokio::test]
async fn a_token_tells_whose_event_it_is_also_where_no_handler_reads_it() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let large = "x".repeat(70 * 1024);
    let answers = [
        app.get("/users/me/nothing").bearer(&ada.token).await.expect(404),
        app.post("/users/me").bearer(&ada.token).await.expect(405),
        app.put("/users/me/password").bearer(&ada.token).body(large).await.expect(413),
    ];
    let mut nobodys = Vec::new();
    for answer in &answers {
        if app.owner_of(answer).await.as_ref() != Some(&ada.id) {
            nobodys.push(answer.status);
        }
    }
    assert_eq!(nobodys, Vec::<u16>::new());
}

#[tokio::test]
async fn a_client_token_on_an_account_route_is_an_event_of_its_owner() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let (access, refresh) = app.grant(&key).await;
    for token in [access, refresh] {
        let answer = app.get("/users/me").bearer(&token).await.refused(403, "Forbidden");
        assert_eq!(app.owner_of(&answer).await.as_ref(), Some(&ada.id));
    }
}

#[tokio::test]
async fn a_grant_by_keys_is_an_event_of_their_owner_also_when_refused() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (id, secret) = app.client_key(&ada).await;
    let grant = async |id: &str, secret: &str| {
        let body = json!({"grantType": "clientCredentials", "clientId": id, "clientSecret": secret});
        app.post("/auth/token").json(&body).await
    };
    let right = grant(&id, &secret).await.expect(200);
    assert_eq!(app.owner_of(&right).await.as_ref(), Some(&ada.id));
    let wrong = grant(&id, &"0".repeat(80)).await.refused(401, "InvalidClientCredentials");
    assert_eq!(app.owner_of(&wrong).await.as_ref(), Some(&ada.id));
    let unknown = grant(&"0".repeat(40), &secret).await.refused(401, "InvalidClientCredentials");
    assert_eq!(app.owner_of(&unknown).await, None);
    app.block(&ada.id, "admin").await;
    let blocked = grant(&id, &secret).await.refused(403, "UserBlocked");
    assert_eq!(app.owner_of(&blocked).await.as_ref(), Some(&ada.id));
}

#[tokio::test]
async fn a_grant_by_refresh_token_is_an_event_of_its_owner_also_when_refused() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let (_, refresh) = app.grant(&key).await;
    let grant = async |token: &str| {
        app.post("/auth/token").json(&json!({"grantType": "refreshToken", "refreshToken": token})).await
    };
    let right = grant(&refresh).await.expect(200);
    assert_eq!(app.owner_of(&right).await.as_ref(), Some(&ada.id));
    let broken = grant("a.b.c").await.refused(401, "InvalidRefreshToken");
    assert_eq!(app.owner_of(&broken).await, None);
    app.delete(&format!("/users/me/client-keys/{}", key.0)).bearer(&ada.token).await.expect(204);
    let dead = grant(&refresh).await.refused(401, "InvalidRefreshToken");
    assert_eq!(app.owner_of(&dead).await.as_ref(), Some(&ada.id));
    app.advance(TimeDelta::days(366));
    let expired = grant(&refresh).await.refused(401, "InvalidRefreshToken");
    assert_eq!(app.owner_of(&expired).await.as_ref(), Some(&ada.id));
}

#[tokio::test]
async fn a_log_in_is_an_event_of_the_user_who_is_named_also_when_refused() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let bob = app.named("bob", AccessLevel::Authorized).await;
    for (name, password, status, owner) in [
        (ada.email.as_str(), STRONG, 200, &ada.id),
        ("ADA@example.com", "wrong", 401, &ada.id),
        (&ada.id, "wrong", 401, &ada.id),
        ("Bob", "wrong", 401, &bob.id),
        ("bob", &"x".repeat(1025), 401, &bob.id),
    ] {
        let answer = app.post("/auth").basic(name, password).await.expect(status);
        assert_eq!(app.owner_of(&answer).await.as_ref(), Some(owner), "{name} {status}");
    }
    for name in ["eve@example.com", "eve", NOBODY, ""] {
        let answer = app.post("/auth").basic(name, STRONG).await.refused(401, "InvalidCredentials");
        assert_eq!(app.owner_of(&answer).await, None, "{name}");
    }
    let garbled = app.post("/auth").header("authorization", "Basic !!!").await.refused(401, "InvalidCredentials");
    assert_eq!(app.owner_of(&garbled).await, None);
    app.block(&ada.id, "admin").await;
    let blocked = app.post("/auth").basic(&ada.email, STRONG).await.refused(403, "UserBlocked");
    assert_eq!(app.owner_of(&blocked).await.as_ref(), Some(&ada.id));
}

#[tokio::test]
async fn a_sign_up_is_the_first_event_of_the_new_user() {
    let app = TestApp::start().await;
    let answer = app.post("/users").json(&sign_up_body("ada@example.com")).await.expect(201);
    assert_eq!(app.owner_of(&answer).await, Some(answer.text_of("id")));
    let unproved = app.post("/auth").basic("ada@example.com", STRONG).await.refused(401, "InvalidCredentials");
    assert_eq!(app.owner_of(&unproved).await, Some(answer.text_of("id")));
    let refused = app.post("/users").json(&json!({"email": "bob@example.com"})).await.expect(400);
    assert_eq!(app.owner_of(&refused).await, None);
}

#[tokio::test]
async fn a_sign_up_with_a_taken_e_mail_is_an_event_of_its_owner() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let answer = app.post("/users").json(&sign_up_body("Ada@Example.com")).await.expect(201);
    assert_ne!(answer.text_of("id"), ada.id);
    assert_eq!(app.owner_of(&answer).await.as_ref(), Some(&ada.id));
}

#[tokio::test]
async fn a_verification_is_an_event_of_the_user_concerned_also_when_refused() {
    let app = TestApp::start().await;
    let id = app.sign_up("ada@example.com").await;
    let token = app.mailed_token("ada@example.com").await;
    let verify = async |user: &str, token: &str| app.put(&format!("/users/{user}/token/{token}")).await;
    let wrong = verify(&id, NO_TOKEN).await.refused(400, "InvalidToken");
    assert_eq!(app.owner_of(&wrong).await.as_ref(), Some(&id));
    let unknown = verify(NOBODY, NO_TOKEN).await.refused(400, "InvalidToken");
    assert_eq!(app.owner_of(&unknown).await, None);
    let right = verify("ada@example.com", &token).await.expect(200);
    assert_eq!(app.owner_of(&right).await.as_ref(), Some(&id));
    let again = verify(&id, &token).await.expect(200);
    assert_eq!(app.owner_of(&again).await.as_ref(), Some(&id));
}

#[tokio::test]
async fn a_resend_is_an_event_of_the_user_concerned() {
    let app = TestApp::start().await;
    let id = app.sign_up("ada@example.com").await;
    for name in [id.as_str(), "ada@example.com"] {
        let answer = app.post(&format!("/users/{name}/token")).await.expect(202);
        assert_eq!(app.owner_of(&answer).await.as_ref(), Some(&id), "{name}");
    }
    let unknown = app.post("/users/eve@example.com/token").await.expect(202);
    assert_eq!(app.owner_of(&unknown).await, None);
}

#[tokio::test]
async fn an_activation_is_an_event_of_the_user_concerned_also_when_refused() {
    let app = TestApp::start().await;
    let (id, password) = app.invited(NewName::Email(email("ada@example.com"))).await;
    let (bob, _) = app.invited(NewName::Name(LoginName::parse("bob").expect("a name"))).await;
    let activate = async |user: &str, password: &str| {
        let body = json!({"activationPassword": password, "newPassword": STRONG});
        app.put(&format!("/users/{user}/activation")).json(&body).await
    };
    for (name, owner) in [(id.as_str(), &id), ("ada@example.com", &id), ("bob", &bob)] {
        let wrong = activate(name, "wrong").await.refused(401, "InvalidCredentials");
        assert_eq!(app.owner_of(&wrong).await.as_ref(), Some(owner), "{name}");
    }
    let required = app.post("/auth").basic("ada@example.com", &password).await.refused(403, "ActivationRequired");
    assert_eq!(app.owner_of(&required).await.as_ref(), Some(&id));
    let right = activate(&id, &password).await.expect(200);
    assert_eq!(app.owner_of(&right).await.as_ref(), Some(&id));
    let unknown = activate(NOBODY, &password).await.refused(401, "InvalidCredentials");
    assert_eq!(app.owner_of(&unknown).await, None);
}

#[tokio::test]
async fn a_person_sees_only_the_own_events() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    app.get("/users/me").bearer(&bob.token).await.expect(200);
    let events = app.events_of(&ada).await;
    assert_eq!(events.len(), 3, "sign-up, verification, log-in: {events:?}");
    assert!(events.iter().all(|event| event["user"] == ada.id.as_str()));
}
