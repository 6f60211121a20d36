//! Keys that are given to us, and how they are shown.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::json;

use super::{SIGNED, certificate, fixture, good, text, user_ids};
use crate::harness::{Person, TestApp, count, together};

#[tokio::test]
async fn keys_of_gnupg_sequoia_and_protonmail_are_taken_as_what_they_are() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let all = good();
    assert_eq!(all.len(), 19);
    for expected in all {
        let name = text(&expected, "name");
        let answer = app.give_key(&ada, &certificate(&name)).await;
        assert_eq!(answer.status, 201, "{name}: {answer:?}");
        let key = answer.json();
        for field in ["fingerprint", "algorithm", "createdAt", "expiresAt"] {
            assert_eq!(key[field], expected[field], "{field} of {name}");
        }
        // The primary one first; programs disagree about the order of the others.
        let (shown, named) = (user_ids(&key), user_ids(&expected));
        assert_eq!((&shown[0], BTreeSet::from_iter(&shown)), (&named[0], BTreeSet::from_iter(&named)), "{name}");
        assert_eq!((&key["id"], &key["verifiedAt"]), (&key["fingerprint"], &json!(null)), "{name}");
        assert!(key["keylist"].as_str().expect("an armor").starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----\n"));
        let path = format!("/users/me/keys/pgp/{}", text(&key, "id").to_uppercase());
        assert_eq!(app.get(&path).bearer(&ada.token).await.expect(200).json(), key, "{name}");
        app.delete(&path).bearer(&ada.token).await.expect(204);
        app.get(&path).bearer(&ada.token).await.refused(404, "NotFound");
        app.delete(&path).bearer(&ada.token).await.refused(404, "NotFound");
    }
}

#[tokio::test]
async fn a_person_sees_keys_by_type_as_the_vendors_client_reads_them() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    assert_eq!(app.keys_of(&ada).await, json!({"pgpkeys": [], "bitkeys": []}));
    let given = app.give_key(&ada, &certificate("gpg-ed25519")).await.expect(201).json();
    let id = "1e9a81032b732c3324f5bc1cd028b8c9d26364be";
    let token = text(&given, "verificationToken");
    let (before, after) = token.split_once(" (").expect("a nonce");
    assert_eq!(before, format!("The key {id} belongs to {} of https://accounts.example", ada.id));
    assert!(after.len() == 23 && after.ends_with(')'), "{token}");
    let expected = json!({
        "id": id, "fingerprint": id, "email": "ada@example.com", "userIds": ["Ada Lovelace <ada@example.com>"],
        "algorithm": "Ed25519", "createdAt": "2026-03-01T00:00:00.000Z", "expiresAt": null,
        "addedAt": "2026-03-05T12:00:00.123Z", "verifiedAt": null, "encrypts": true, "published": false, "verificationToken": token,
    });
    assert_eq!(app.keys_of(&ada).await, json!({"pgpkeys": [expected], "bitkeys": []}));
    let of = async |path: &str| app.get(&format!("/users/me/keys/{path}")).bearer(&ada.token).await.expect(200).json();
    assert_eq!(of("pgp").await, json!({"pgpkeys": [expected]}));
    assert_eq!(of("bit").await, json!({"bitkeys": []}));
    app.get("/users/me/keys/ssh").bearer(&ada.token).await.refused(404, "NotFound");
    let export = app.get("/users/me/export").bearer(&ada.token).await.expect(200).json();
    assert_eq!(export["userKeys"]["pgpkeys"], json!([expected]));
}

#[tokio::test]
async fn a_text_to_sign_is_over_after_a_day_and_renewed_by_giving_the_key_again() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let give = async || app.give_key(&ada, &certificate("gpg-ed25519")).await.expect(201).json();
    let first = text(&give().await, "verificationToken");
    assert_eq!(text(&give().await, "verificationToken"), first, "it is not over");
    app.ask_for_fixtures().await;
    app.advance(TimeDelta::hours(24));
    let again = app.log_in(&ada.email, &ada.password).await;
    let ada = Person { token: again, ..ada.clone() };
    let shown = app.keys_of(&ada).await;
    assert_eq!(shown["pgpkeys"][0]["verificationToken"], json!(null));
    let id = text(&shown["pgpkeys"][0], "id");
    let late = app.prove_key(&ada, &format!("pgp/{id}"), &fixture("gpg-ed25519.sig.asc"));
    late.await.refused(400, "ChallengeExpired");
    let renewed = app.give_key(&ada, &certificate("gpg-ed25519")).await.expect(201);
    assert!(![SIGNED, &first].contains(&renewed.field("verificationToken").as_str()));
}

#[tokio::test]
async fn a_user_has_at_most_20_keys_however_fast_they_come() {
    let app = TestApp::start_with(|config| config.database.max_connections = 20).await;
    let ada = app.person("ada").await;
    for key in &good()[..18] {
        app.give_key(&ada, &certificate(&text(key, "name"))).await.expect(201);
    }
    let addresses = [
        "14vV3aCHBeStb5bkenkNHbe2YAFinYdXgc",
        "3HSVzEhCFuH9Z3wvoWTexy7BMVVp3PjS6f",
        "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l",
        "bc1ppv609nr0vr25u07u95waq5lucwfm6tde4nydujnu8npg4q75mr5sxq8lt3",
    ];
    let give = |address: &&str| app.post("/users/me/keys/bit").bearer(&ada.token).json(&json!({"address": address}));
    let answers = together(addresses.iter().map(give)).await;
    assert_eq!((count(&answers, 201), count(&answers, 409)), (2, 2), "{answers:?}");
    assert_eq!(app.count("select count(*) from user_keys").await, 20);
    // One that is there already takes no place.
    app.give_key(&ada, &certificate("gpg-ed25519")).await.expect(201);
}

#[tokio::test]
async fn a_read_only_user_looks_and_changes_nothing() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let id = app.proved_key(&ada, "gpg-ed25519").await;
    app.execute("update users set read_only = true").await;
    app.get(&format!("/users/me/keys/pgp/{id}")).bearer(&ada.token).await.expect(200);
    app.give_key(&ada, &certificate("gpg-rsa2048")).await.refused(403, "Forbidden");
    let path = format!("/users/me/keys/pgp/{id}");
    app.patch(&path).bearer(&ada.token).json(&json!({"published": true})).await.refused(403, "Forbidden");
    app.delete(&path).bearer(&ada.token).await.refused(403, "Forbidden");
    let bit = json!({"address": "14vV3aCHBeStb5bkenkNHbe2YAFinYdXgc"});
    app.post("/users/me/keys/bit").bearer(&ada.token).json(&bit).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn a_user_id_is_shown_without_what_harms_whoever_looks() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let given = app.give_key(&ada, &fixture("odd-user-id.asc")).await;
    let shown = given.expect(201).json();
    assert_eq!(user_ids(&shown), ["A\u{fffd}da\u{fffd}[31m \u{fffd}<ada@example.com>"]);
    assert_eq!(shown["email"], "ada@example.com");
}

#[tokio::test]
async fn blanks_that_a_mail_program_adds_are_nobodys_fault() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for end in [" \n", "\t\n", "\r\n", " \r\n"] {
        app.give_key(&ada, &certificate("gpg-ed25519").replace('\n', end)).await.expect(201);
    }
}
