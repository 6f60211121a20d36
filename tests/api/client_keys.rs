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
    assert_eq!(
        key.json(),
        json!({"clientId": id, "clientSecret": secret, "label": null, "createdAt": "2026-03-05T12:00:00.123Z"})
    );
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
        {"id": second, "label": null, "createdAt": "2026-03-05T12:01:00.123Z", "lastUsedAt": null},
        {"id": first, "label": null, "createdAt": "2026-03-05T12:00:00.123Z", "lastUsedAt": null},
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
    assert_eq!(
        left,
        json!([{"id": kept.0, "label": null, "createdAt": "2026-03-05T12:00:00.123Z", "lastUsedAt": null}])
    );
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

#[tokio::test]
async fn a_person_gives_a_key_a_label_and_another_and_none() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let made =
        app.post("/users/me/client-keys").bearer(&ada.token).json(&json!({"label": "build server"})).await.expect(200);
    let path = format!("/users/me/client-keys/{}", made.field("clientId"));
    let label = async || app.get("/users/me/client-keys").bearer(&ada.token).await.json()[0]["label"].clone();
    assert_eq!((&made.json()["label"], label().await), (&json!("build server"), json!("build server")));
    let patch = |body: serde_json::Value| app.patch(&path).bearer(&ada.token).json(&body);
    assert_eq!(patch(json!({"label": "old build server"})).await.expect(200).field("label"), "old build server");
    assert_eq!(patch(json!({})).await.expect(200).field("label"), "old build server");
    assert_eq!(patch(json!({"label": null})).await.expect(200).json()["label"], json!(null));
    for bad in [json!({"label": ""}), json!({"label": "a".repeat(201)}), json!({"label": "a\nb"}), json!({"label": 7})]
    {
        assert_eq!(patch(bad.clone()).await.refused(400, "ValidationFailed").bad_fields(), ["label"], "{bad}");
        let create = app.post("/users/me/client-keys").bearer(&ada.token).json(&bad);
        assert_eq!(create.await.refused(400, "ValidationFailed").bad_fields(), ["label"], "{bad}");
    }
    assert_eq!(patch(json!({"id": "1"})).await.refused(400, "ValidationFailed").bad_fields(), ["id"]);
    let bob = app.person("bob").await;
    app.patch(&path).bearer(&bob.token).json(&json!({"label": "mine"})).await.refused(404, "NotFound");
    assert_eq!(label().await, json!(null));
}

#[tokio::test]
async fn the_last_use_of_a_key_is_known_to_the_second() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let last_use = async || {
        app.write_last_uses().await;
        app.get("/users/me/client-keys").bearer(&ada.token).await.json()[0]["lastUsedAt"].clone()
    };
    app.grant_by_keys(&key.0, "wrong").await.expect(401);
    assert_eq!(last_use().await, json!(null), "a refusal is no use");
    let (_, refresh) = app.grant(&key).await;
    assert_eq!(last_use().await, "2026-03-05T12:00:00.123Z");
    app.advance(TimeDelta::seconds(1));
    app.grant_by_refresh(&refresh).await.expect(200);
    assert_eq!(last_use().await, "2026-03-05T12:00:01.123Z");
}

#[tokio::test]
async fn a_creation_whose_answer_was_lost_is_repeated_word_for_word() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let create = |key: &str| {
        let call = app.post("/users/me/client-keys").bearer(&ada.token).header("idempotency-key", key);
        call.json(&json!({"label": "build server"}))
    };
    let first = create("request-1").await.expect(200);
    app.advance(TimeDelta::minutes(10) - TimeDelta::milliseconds(1));
    assert_eq!(create("request-1").await.expect(200).text, first.text);
    assert_eq!(app.count("select count(*) from client_keys").await, 1);
    app.grant(&(first.field("clientId"), first.field("clientSecret"))).await;
    assert_eq!(app.deliver_mail().await, 1, "one notice beside those before");

    app.advance(TimeDelta::milliseconds(1));
    assert_ne!(create("request-1").await.expect(200).text, first.text, "ten minutes are over");
    assert_ne!(create("request-2").await.expect(200).text, first.text);
    assert_eq!(app.count("select count(*) from client_keys").await, 3);
}

#[tokio::test]
async fn twenty_who_repeat_at_once_get_one_key() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let create = || app.post("/users/me/client-keys").bearer(&ada.token).header("idempotency-key", "request-1");
    let answers = together((0..20).map(|_| create())).await;
    assert_eq!(count(&answers, 200), 20, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.text == answers[0].text));
    assert_eq!(app.count("select count(*) from client_keys").await, 1);
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let create = |body: serde_json::Value| {
        app.post("/users/me/client-keys").bearer(&ada.token).header("idempotency-key", "request-1").json(&body)
    };
    create(json!({"label": "one"})).await.expect(200);
    create(json!({"label": "two"})).await.refused(409, "IdempotencyKeyReused");
    create(json!({})).await.refused(409, "IdempotencyKeyReused");
    create(json!({"label": "one"})).await.expect(200);
}

#[tokio::test]
async fn an_idempotency_key_is_one_tokens_own() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let other = app.log_in(&ada.email, &ada.password).await;
    let mut secrets = Vec::new();
    for token in [&ada.token, &other, &bob.token] {
        let call = app.post("/users/me/client-keys").bearer(token).header("idempotency-key", "request-1");
        secrets.push(call.await.expect(200).field("clientSecret"));
    }
    secrets.dedup();
    assert_eq!(secrets.len(), 3);
}

#[tokio::test]
async fn the_kept_answer_is_sealed_and_does_not_stay() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let create = || app.post("/users/me/client-keys").bearer(&ada.token).header("idempotency-key", "request-1");
    let (id, secret) = (create().await.expect(200).field("clientId"), create().await.field("clientSecret"));
    let stored = app.text("select i::text || k::text from idempotency_keys i, client_keys k").await;
    assert!(stored.contains(&id) && !stored.contains(&secret) && !stored.contains(&hex::encode(&secret)), "{stored}");
    app.advance(TimeDelta::minutes(10));
    app.sweep().await;
    assert_eq!(app.count("select count(*) from idempotency_keys").await, 0);
    create().await.expect(200);
    app.delete(&format!("/users/me/client-keys/{id}")).bearer(&ada.token).await.expect(204);
}

#[tokio::test]
async fn what_is_no_idempotency_key_is_refused() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for bad in ["", "two words", &"a".repeat(256)] {
        let call = app.post("/users/me/client-keys").bearer(&ada.token).header("idempotency-key", bad);
        assert_eq!(call.await.refused(400, "ValidationFailed").bad_fields(), ["Idempotency-Key"]);
    }
    let twice = app.post("/users/me/client-keys").bearer(&ada.token);
    let twice = twice.header("idempotency-key", "a").header("idempotency-key", "b");
    twice.await.refused(400, "ValidationFailed");
    assert_eq!(app.count("select count(*) from client_keys").await, 0);
}
