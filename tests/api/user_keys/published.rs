//! Keys that their owners publish.

use pgp::composed::{Deserializable, SignedPublicKey};
use pgp::types::KeyDetails;
use serde_json::json;

use crate::harness::{Person, TestApp, count, together};

/// Where a Web Key Directory has the key of `ada@example.com`.
const ADA: &str = "/.well-known/openpgpkey/example.com/hu/huin1uygftjfco69ypidm11zuqef9jyy";

impl TestApp {
    async fn publish(&self, person: &Person, id: &str, published: bool) {
        let path = format!("/users/me/keys/pgp/{id}");
        let key = self.patch(&path).bearer(&person.token).json(&json!({"published": published})).await.expect(200);
        assert_eq!(key.json()["published"], published);
    }
}

#[tokio::test]
async fn a_proved_key_is_everybodys_when_its_owner_says_so() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let id = app.proved_key(&ada, "gpg-ed25519").await;
    let path = format!("/users/{}/keys/pgp.asc", ada.id);
    app.get(&path).await.refused(404, "NotFound");
    app.get(ADA).await.refused(404, "NotFound");

    app.publish(&ada, &id, true).await;
    let answer = app.get(&path).await.expect(200);
    assert_eq!(answer.header("content-type"), "application/pgp-keys");
    let (key, _) = SignedPublicKey::from_string(&answer.text).expect("a key");
    assert_eq!(hex::encode(key.fingerprint().as_bytes()), id);
    let wkd = reqwest::get(format!("http://{}{ADA}", app.address)).await.expect("an answer");
    assert_eq!(
        (wkd.status().as_u16(), wkd.headers()["content-type"].as_bytes()),
        (200, &b"application/octet-stream"[..])
    );
    let bytes = wkd.bytes().await.expect("a body");
    let key = SignedPublicKey::from_bytes(&bytes[..]).expect("a key without armor");
    assert_eq!(hex::encode(key.fingerprint().as_bytes()), id);

    app.publish(&ada, &id, false).await;
    app.get(&path).await.refused(404, "NotFound");
    app.get(ADA).await.refused(404, "NotFound");
    app.publish(&ada, &id, true).await;
    app.delete(&format!("/users/me/keys/pgp/{id}")).bearer(&ada.token).await.expect(204);
    app.get(&path).await.refused(404, "NotFound");
}

#[tokio::test]
async fn a_key_that_nobody_proved_is_not_published() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let id = app.give_key(&ada, &super::certificate("gpg-ed25519")).await.expect(201).field("id");
    let path = format!("/users/me/keys/pgp/{id}");
    let patch = |body| app.patch(&path).bearer(&ada.token).json(&body);
    patch(json!({"published": true})).await.refused(409, "KeyNotProved");
    patch(json!({"published": false})).await.expect(200);
    patch(json!({})).await.expect(200);
    for bad in [json!({"published": null}), json!({"published": "yes"})] {
        assert_eq!(patch(bad).await.refused(400, "ValidationFailed").bad_fields(), ["published"]);
    }
    let other = app.patch("/users/me/keys/pgp/00").bearer(&ada.token).json(&json!({"published": true}));
    other.await.refused(404, "NotFound");
}

#[tokio::test]
async fn the_directory_has_a_key_under_the_proved_e_mail_of_its_owner_alone() {
    let app = TestApp::start().await;
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    // Eve has a key that says it is Ada's, and can prove to hold it.
    let id = app.proved_key(&eve, "gpg-ed25519").await;
    app.publish(&eve, &id, true).await;
    app.get(ADA).await.refused(404, "NotFound");
    // Of Eve's own e-mail it says nothing.
    app.get("/.well-known/openpgpkey/example.com/hu/gpu8yy81rx8es4rp4uxnuftcog73i65d").await.refused(404, "NotFound");
    app.delete(&format!("/users/me/keys/pgp/{id}")).bearer(&eve.token).await.expect(204);

    let id = app.proved_key(&ada, "gpg-ed25519").await;
    app.publish(&ada, &id, true).await;
    app.get(ADA).header("accept", "*/*").await.expect(200);
    for elsewhere in [ADA.replace("example.com", "example.org"), ADA.replace("/hu/", "/hu/y")] {
        app.get(&elsewhere).await.refused(404, "NotFound");
    }
    // The direct method asks the host itself.
    let direct = ADA.replace("example.com/", "");
    app.get(&direct).await.refused(404, "NotFound");
    app.get(&direct).header("host", "example.com").await.expect(200);
    app.get(&direct).header("host", "EXAMPLE.com:443").await.expect(200);
    for policy in ["/.well-known/openpgpkey/policy", "/.well-known/openpgpkey/example.com/policy"] {
        assert_eq!(app.get(policy).await.expect(200).text, "");
    }
    // Whoever has another e-mail since has nothing under the old one.
    app.change_email(&ada.token, "countess@example.com", &ada.password).await.expect(202);
    app.execute("update users set email = 'countess@example.com', email_canonical = 'countess@example.com' where email = 'ada@example.com'").await;
    app.get(ADA).await.refused(404, "NotFound");
}

#[tokio::test]
async fn nobody_learns_by_a_name_whose_key_it_is() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let id = app.proved_key(&ada, "gpg-ed25519").await;
    app.publish(&ada, &id, true).await;
    for name in ["ada@example.com", "ada", "user-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11", "%00"] {
        app.get(&format!("/users/{name}/keys/pgp.asc")).await.refused(404, "NotFound");
    }
}

#[tokio::test]
async fn a_crowd_of_strangers_at_the_directory_keeps_nobody_out() {
    let app = TestApp::start_with(|config| config.database.max_connections = 4).await;
    let ada = app.person("ada").await;
    let id = app.proved_key(&ada, "gpg-ed25519").await;
    app.publish(&ada, &id, true).await;
    let answers = together((0..100).map(|_| app.get(ADA).header("accept", "*/*"))).await;
    assert_eq!(count(&answers, 200), 100);
    for header in ["access-control-allow-origin", "cache-control", "cross-origin-resource-policy"] {
        let expected = match header {
            "access-control-allow-origin" => "*",
            "cache-control" => "public, max-age=300",
            _ => "cross-origin",
        };
        assert_eq!(answers[0].header(header), expected);
    }
}

#[tokio::test]
async fn whoever_had_an_e_mail_before_is_in_nobodys_way() {
    let app = TestApp::start().await;
    let (eve, ada) = (app.person("eve").await, app.person("ada").await);
    let of_eve = app.proved_key(&eve, "gpg-rsa2048").await;
    app.publish(&eve, &of_eve, true).await;
    // As if Eve had had Ada's e-mail when she published her key.
    app.execute(
        "update user_keys set wkd_name = 'huin1uygftjfco69ypidm11zuqef9jyy'
         where user_id = (select id from users where email = 'eve@example.com')",
    )
    .await;
    app.get(ADA).await.refused(404, "NotFound");
    let id = app.proved_key(&ada, "gpg-ed25519").await;
    app.publish(&ada, &id, true).await;
    app.get(ADA).header("accept", "*/*").await.expect(200);
    assert_eq!(app.count("select count(*) from user_keys where wkd_name is not null").await, 1);
    app.get(&format!("/users/{}/keys/pgp.asc", eve.id)).await.expect(200);
}

#[tokio::test]
async fn what_is_published_of_a_blocked_user_is_not_shown() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let id = app.proved_key(&ada, "gpg-ed25519").await;
    app.publish(&ada, &id, true).await;
    app.block(&ada.id, "admin").await;
    app.get(ADA).await.refused(404, "NotFound");
    app.get(&format!("/users/{}/keys/pgp.asc", ada.id)).await.refused(404, "NotFound");
}

#[tokio::test]
async fn the_directory_tells_no_other_name_of_a_key() {
    let app = TestApp::start().await;
    let alan = app.person("alan").await;
    let id = app.proved_key(&alan, "gpg-rsa3072").await;
    app.publish(&alan, &id, true).await;
    let path = "/.well-known/openpgpkey/example.com/hu/18taha7a1d75rfge1fryu9xy8t36xh1p";
    let wkd = reqwest::get(format!("http://{}{path}", app.address)).await.expect("an answer");
    let key = SignedPublicKey::from_bytes(&wkd.bytes().await.expect("a body")[..]).expect("a key");
    let ids: Vec<_> = key.details.users.iter().map(|user| user.id.id().to_vec()).collect();
    assert_eq!(ids, [b"Alan Turing <alan@example.com>"]);
    assert_eq!((key.public_subkeys.len(), key.details.users[0].signatures.len()), (2, 1));
}

#[tokio::test]
async fn a_key_that_cannot_be_read_any_more_hides_no_other() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for name in ["gpg-ed25519", "gpg-rsa2048"] {
        let id = app.proved_key(&ada, name).await;
        app.publish(&ada, &id, true).await;
    }
    app.execute("update user_keys set certificate = 'nothing' where algorithm = 'RSA 2048'").await;
    app.get(ADA).header("accept", "*/*").await.expect(200);
    app.execute("update user_keys set certificate = 'nothing'").await;
    app.get(ADA).await.refused(404, "NotFound");
}

#[tokio::test]
async fn of_somebody_who_is_gone_no_event_tells_the_key() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let id = app.proved_key(&ada, "gpg-ed25519").await;
    app.publish(&ada, &id, true).await;
    assert_eq!(app.count("select count(*) from events where path like '/users/me/keys/pgp/{id}%'").await, 2);
    // As older versions wrote it.
    app.execute(
        "update events set path = replace(path, '{id}', '1e9a81032b732c3324f5bc1cd028b8c9d26364be')
         where path like '/users/me/keys/pgp/{id}%'",
    )
    .await;
    app.leave(&ada.token, &ada.password).await.expect(204);
    app.erase().await;
    assert_eq!(app.count("select count(*) from events where path like '%1e9a81032b%'").await, 0);
    assert_eq!(app.count("select count(*) from events where path like '/users/me/keys/pgp/{id}%'").await, 2);
}
