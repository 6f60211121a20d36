//! What is no public key, or none that can be used.

use pgp::composed::{ArmorOptions, Deserializable, SignedPublicKey};
use pgp::packet::SignatureType;
use pgp::ser::Serialize;
use serde_json::json;

use super::made::{Owner, Word, armor_of, armored, as_if_sha1};
use super::{certificate, fixture, refusal_of};
use crate::harness::TestApp;

#[tokio::test]
async fn a_key_that_cannot_be_used_is_refused_with_a_code() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for (name, code) in [
        ("gpg-expired.pub.asc", "KeyExpired"),
        ("sequoia-v6-expired.pub.asc", "KeyExpired"),
        ("gpg-revoked.pub.asc", "KeyRevoked"),
        ("sequoia-v6-revoked.pub.asc", "KeyRevoked"),
        ("gpg-rsa1024.pub.asc", "WeakKey"),
        ("gpg-rsa2048-with-rsa1024-subkey.pub.asc", "WeakKey"),
        ("gpg-dsa.pub.asc", "WeakKey"),
        ("gpg-sha1.pub.asc", "WeakKey"),
        ("gpg-large.pub.asc", "KeyTooLarge"),
        ("gpg-secret.asc", "SecretKey"),
        ("gpg-rsa3072.sec.asc", "SecretKey"),
        ("openpgpjs-v6.sec.asc", "SecretKey"),
        ("gpg-two-keys.pub.asc", "InvalidKey"),
        ("gpg-brainpool.pub.asc", "InvalidKey"),
        ("gpg-secp256k1.pub.asc", "InvalidKey"),
        ("gpg-shortened.revoked.asc", "KeyRevoked"),
        ("odd-compressed.asc", "NestedPacket"),
        ("odd-literal.asc", "NestedPacket"),
        ("odd-bomb-nested.asc", "NestedPacket"),
        ("odd-bomb-bzip2.asc", "NestedPacket"),
        ("odd-no-selfsig.asc", "InvalidKey"),
        ("odd-foreign-selfsig.asc", "InvalidKey"),
        ("odd-truncated.asc", "InvalidKey"),
        ("odd-trailing.asc", "InvalidKey"),
        ("odd-future.asc", "InvalidKey"),
        ("odd-v3.asc", "InvalidKey"),
        ("odd-critical-notation.asc", "InvalidKey"),
        ("odd-late-revocation.asc", "KeyRevoked"),
        ("gpg-ed25519.sig.asc", "InvalidKey"),
        ("gpg-ed25519.inline.asc", "InvalidKey"),
    ] {
        let answer = app.give_key(&ada, &fixture(name)).await;
        assert_eq!(refusal_of(&answer, "publicKey"), (400, code.into()), "{name}");
    }
    assert_eq!(app.count("select count(*) from user_keys").await, 0);
}

#[tokio::test]
async fn a_key_that_would_take_long_to_look_at_is_too_large() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let owner = Owner::of("gpg-ed25519");
    // Each may be the owner's, and is not: it was made for another user id. Those of the right one and of the subkey make two more.
    let forged = |signatures: u32| {
        let words = (0..signatures).map(|number| (SignatureType::CertPositive, Word::on(2).ends_after(10 + number)));
        let mut key = owner.key.clone();
        key.details.users[0].signatures.extend(owner.user("Eve <eve@example.com>", words).signatures);
        armor_of(&key)
    };
    app.give_key(&ada, &forged(98)).await.expect(201);
    app.give_key(&ada, &forged(99)).await.refused(400, "KeyTooLarge");
    let branched = |subkeys: usize| {
        let (mut key, _) = SignedPublicKey::from_string(&certificate("gpg-ed25519")).expect("a key");
        key.public_subkeys = vec![key.public_subkeys[0].clone(); subkeys];
        key.to_armored_string(ArmorOptions::default()).expect("an armor")
    };
    app.give_key(&ada, &branched(30)).await.expect(201);
    app.give_key(&ada, &branched(31)).await.refused(400, "KeyTooLarge");
}

#[tokio::test]
async fn what_is_no_key_at_all_is_said_to_be_none() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let good = certificate("gpg-ed25519");
    let (head, rest) = good.split_at(60);
    for nonsense in [
        String::new(),
        "nonsense".into(),
        good.replace("PUBLIC", "PRIVATE").replace("PRIVATE", "MESSAGE"),
        good.replace("-----BEGIN", "-----BEGUN"),
        good.lines().take(6).collect::<Vec<_>>().join("\n"),
        format!("{head}????{rest}"),
        format!("{good}{good}"),
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n".into(),
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n".into(),
        format!("-----BEGIN PGP PUBLIC KEY BLOCK-----\n{}", "Comment: x\n".repeat(5000)),
    ] {
        let answer = app.give_key(&ada, &nonsense).await;
        assert_eq!(refusal_of(&answer, "publicKey"), (400, "InvalidKey".into()), "{nonsense:.80}");
    }
    // Whoever sends both by mistake is told about the one that matters.
    let both = format!("{good}{}", fixture("gpg-ed25519.sec.asc"));
    app.give_key(&ada, &both).await.refused(400, "SecretKey");
    let post = |body| app.post("/users/me/keys/pgp").bearer(&ada.token).json(&body);
    assert_eq!(post(json!({})).await.refused(400, "ValidationFailed").bad_fields(), ["publicKey"]);
    assert_eq!(post(json!({"publicKey": 1})).await.refused(400, "ValidationFailed").bad_fields(), ["publicKey"]);
    let unknown = post(json!({"publicKey": good, "email": "ada@example.com"})).await.refused(400, "ValidationFailed");
    assert_eq!(unknown.bad_fields(), ["email"]);
}

#[tokio::test]
async fn a_key_may_come_in_a_body_of_128_kib_and_nothing_else_may() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let padded = |bytes: usize| format!("{}{}", certificate("gpg-ed25519"), "\n".repeat(bytes / 2));
    app.give_key(&ada, &padded(120 * 1024)).await.expect(201);
    app.give_key(&ada, &padded(132 * 1024)).await.refused(413, "PayloadTooLarge");
    let body = json!({"address": "1".repeat(70 * 1024)});
    app.post("/users/me/keys/bit").bearer(&ada.token).json(&body).await.refused(413, "PayloadTooLarge");
}

#[tokio::test]
async fn a_secret_key_reaches_neither_table_nor_event() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let secret = fixture("gpg-ed25519.sec.asc");
    app.give_key(&ada, &secret).await.refused(400, "SecretKey");
    let line = secret.lines().nth(3).expect("a line");
    let events = app.text("select coalesce(string_agg(e::text, ' '), '') from events e").await;
    assert!(!events.contains(line));
}

#[tokio::test]
async fn a_revocation_that_cannot_be_checked_is_not_passed_over() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let owner = Owner::of("gpg-ed25519");
    let (user, subkey) = (&owner.key.details.users[0], &owner.key.public_subkeys[0]);
    for revocation in [
        owner.says(SignatureType::KeyRevocation, Word::on(2)),
        owner.certifies(&user.id, SignatureType::CertRevocation, Word::on(2)),
        owner.binds(&subkey.key, SignatureType::SubkeyRevocation, Word::on(2)),
    ] {
        let key = SignedPublicKey { public_subkeys: Vec::new(), ..owner.key.clone() };
        let parts = [key.to_bytes(), subkey.to_bytes()].map(|part| part.expect("bytes"));
        let weak = as_if_sha1(&revocation);
        let whole = match revocation.typ() {
            Some(SignatureType::SubkeyRevocation) => [&parts[0][..], &parts[1], &weak].concat(),
            _ => [&parts[0][..], &weak, &parts[1]].concat(),
        };
        let answer = app.give_key(&ada, &armored(&whole)).await.refused(400, "WeakKey");
        assert!(answer.field("message").contains("is revoked"), "{answer:?}");
    }
}

#[tokio::test]
async fn whose_user_ids_are_all_over_is_told_why() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let owner = Owner::of("gpg-ed25519");
    let (positive, revoked) = (SignatureType::CertPositive, SignatureType::CertRevocation);
    for (words, reason) in [
        (vec![(positive, Word::on(2)), (revoked, Word::on(3))], "its owner has not revoked"),
        // He has said that he will.
        (vec![(positive, Word::on(2)), (revoked, Word::on(20))], "its owner has not revoked"),
        (vec![(positive, Word::on(20))], "in the future"),
        (vec![], "no valid signature"),
    ] {
        let user = owner.user("Ada <ada@example.com>", words);
        let answer = app.give_key(&ada, &armor_of(&owner.with_users(vec![user]))).await.refused(400, "InvalidKey");
        assert!(answer.field("message").contains(reason), "{reason}: {answer:?}");
    }
    let over = owner.user("Ada <ada@example.com>", [(positive, Word::on(1)), (positive, Word::on(2).lasts(1))]);
    app.give_key(&ada, &armor_of(&owner.with_users(vec![over]))).await.refused(400, "KeyExpired");
}
