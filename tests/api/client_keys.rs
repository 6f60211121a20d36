//! Client keys: made, shown once, listed, deleted.

use chrono::TimeDelta;
use serde_json::json;

use crate::harness::{TestApp, count, together};

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[tokio::test]
async fn a_person_makes_a_client_key() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    // As the vendor's client does it: a media type without a body.
    let call = app.post("/users/me/client-keys").bearer(&ada.token).header("content-type", "application/json");
    let key = call.await.expect(200);
    let (id, secret) = (key.field("clientId"), key.field("clientSecret"));
    assert!(is_hex(&id, 40) && is_hex(&secret, 80), "{key:?}");
    assert_eq!(key.json(), json!({"clientId": id, "clientSecret": secret, "createdAt": "2026-03-05T12:00:00.123Z"}));
    app.grant(&(id, secret)).await;
}

#[tokio::test]
async fn a_person_lists_the_keys_newest_first_and_without_secrets() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let list = || async { app.get("/users/me/client-keys").bearer(&ada.token).await.expect(200).json() };
    assert_eq!(list().await, json!([]));
    let (first, _) = app.client_key(&ada).await;
    app.advance(TimeDelta::minutes(1));
    let (second, _) = app.client_key(&ada).await;
    let expected = json!([
        {"id": second, "createdAt": "2026-03-05T12:01:00.123Z"},
        {"id": first, "createdAt": "2026-03-05T12:00:00.123Z"},
    ]);
    assert_eq!(list().await, expected);
}

#[tokio::test]
async fn a_new_key_leaves_the_others_good() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (first, second) = (app.client_key(&ada).await, app.client_key(&ada).await);
    app.grant(&first).await;
    app.grant(&second).await;
}

#[tokio::test]
async fn of_a_secret_only_a_hash_is_stored() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (id, secret) = app.client_key(&ada).await;
    let stored = app.text("select k::text from client_keys k").await;
    assert!(stored.contains(&id) && !stored.contains(&secret), "{stored}");
}

#[tokio::test]
async fn a_person_deletes_a_key() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (gone, kept) = (app.client_key(&ada).await, app.client_key(&ada).await);
    let path = format!("/users/me/client-keys/{}", gone.0);
    let answer = app.delete(&path).bearer(&ada.token).header("content-type", "application/json").await.expect(204);
    assert_eq!(answer.text, "");
    app.delete(&path).bearer(&ada.token).await.refused(404, "NotFound");
    app.grant_by_keys(&gone.0, &gone.1).await.refused(401, "InvalidClientCredentials");
    let left = app.get("/users/me/client-keys").bearer(&ada.token).await.json();
    assert_eq!(left, json!([{"id": kept.0, "createdAt": "2026-03-05T12:00:00.123Z"}]));
}

#[tokio::test]
async fn nobody_deletes_what_is_not_there_or_not_the_own() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let (id, secret) = app.client_key(&ada).await;
    for unknown in [id.as_str(), &"0".repeat(40), "nonsense", "%00", "%ff"] {
        let path = format!("/users/me/client-keys/{unknown}");
        app.delete(&path).bearer(&bob.token).await.refused(404, "NotFound");
    }
    app.grant_by_keys(&id, &secret).await.expect(200);
}

#[tokio::test]
async fn of_deletions_at_the_same_moment_one_wins() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (id, _) = app.client_key(&ada).await;
    let path = format!("/users/me/client-keys/{id}");
    let answers = together((0..20).map(|_| app.delete(&path).bearer(&ada.token))).await;
    assert_eq!((count(&answers, 204), count(&answers, 404)), (1, 19));
}

#[tokio::test]
async fn a_user_has_at_most_50_keys_however_fast_they_are_made() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let answers = together((0..60).map(|_| app.post("/users/me/client-keys").bearer(&ada.token))).await;
    assert_eq!(count(&answers, 200), 50);
    for answer in answers.into_iter().filter(|answer| answer.status != 200) {
        answer.refused(409, "TooManyClientKeys");
    }
    let list = app.get("/users/me/client-keys").bearer(&ada.token).await.expect(200).json();
    assert_eq!(list.as_array().map(Vec::len), Some(50));
    app.client_key(&bob).await;

    let path = format!("/users/me/client-keys/{}", list[0]["id"].as_str().expect("an id"));
    app.delete(&path).bearer(&ada.token).await.expect(204);
    app.client_key(&ada).await;
}

#[tokio::test]
async fn a_read_only_user_neither_makes_nor_deletes_keys() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (id, _) = app.client_key(&ada).await;
    app.execute("update users set read_only = true").await;
    app.post("/users/me/client-keys").bearer(&ada.token).await.refused(403, "Forbidden");
    app.delete(&format!("/users/me/client-keys/{id}")).bearer(&ada.token).await.refused(403, "Forbidden");
    assert_eq!(app.count("select count(*) from client_keys").await, 1);
}
