//! What is believed of a key, and what of it is kept.

use chrono::TimeDelta;
use pgp::composed::{Deserializable, SignedPublicKey};
use pgp::packet::{SignatureType, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::KeyDetails;
use serde_json::json;

use super::made::{Owner, Word, armor_of, armored, bytes_of, packet};
use super::{certificate, fixture, text, user_ids};
use crate::harness::{Person, TestApp};

#[tokio::test]
async fn a_subkey_of_an_algorithm_of_tomorrow_is_in_nobodys_way() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    assert_eq!(app.give_key(&ada, &fixture("odd-future-subkey.asc")).await.expect(201).json()["algorithm"], "Ed25519");
}

#[tokio::test]
async fn what_others_have_signed_is_not_kept() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for (name, same) in [("odd-stolen-subkey.asc", "gpg-ed25519.pub.asc"), ("gpg-uid-revoked.pub.asc", "")] {
        let kept = app.give_key(&ada, &fixture(name)).await.expect(201).field("keylist");
        if !same.is_empty() {
            let clean = app.give_key(&ada, &fixture(same)).await.expect(201).field("keylist");
            assert_eq!(kept, clean);
        }
        assert!(!app.text("select string_agg(user_ids::text, '') from user_keys").await.contains("fairfax"), "{name}");
    }
}

#[tokio::test]
async fn what_nobody_has_signed_is_not_kept() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let owner = Owner::of("gpg-ed25519");
    let junk = SubpacketData::PolicyURI("https://example.com/junk".into());
    let word = || Word::on(2).primary();
    let mut keys = Vec::new();
    let id = SubpacketData::IssuerKeyId(owner.key.primary_key.legacy_key_id());
    let named = || word().with_unsigned(id.clone());
    // With who made it, which is signed as well, and without; programs look for it there.
    for word in [named(), word(), named().with_unsigned(junk.clone()), word().with_unsigned(junk)] {
        let user = owner.user("Ada <ada@example.com>", [(SignatureType::CertPositive, word)]);
        let given = app.give_key(&ada, &armor_of(&owner.with_users(vec![user]))).await.expect(201);
        let (kept, _) = SignedPublicKey::from_string(&given.field("keylist")).expect("a key");
        assert_eq!(kept.details.users[0].signatures[0].issuer_key_id(), [&owner.key.primary_key.legacy_key_id()]);
        keys.push(given.field("keylist"));
        app.delete(&format!("/users/me/keys/pgp/{}", given.field("id"))).bearer(&ada.token).await.expect(204);
    }
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[tokio::test]
async fn parts_that_nobody_can_read_here_are_left_out() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let owner = Owner::of("gpg-ed25519");
    let clean = app.give_key(&ada, &certificate("gpg-ed25519")).await.expect(201).field("keylist");
    let (user, whole) = (&owner.key.details.users[0].id, owner.key.to_bytes().expect("bytes"));
    for (what, strange) in [
        ("a subkey of version 5", packet(14, b"\x05\0\0\0\x01\x16\0\0\0\x03abc")),
        (
            "a subkey that is no point of its curve",
            packet(14, b"\x04\0\0\0\x01\x12\x05\x2b\x81\x04\0\x23\0\x0fxx\x03\x01\x0a\x09"),
        ),
        ("a packet of tomorrow", packet(45, b"abc")),
        ("a packet of one program", packet(60, b"abc")),
        ("a picture", packet(17, b"\x02\x01x")),
        ("a signature of version 5", packet(2, b"\x05\x13\x16\x08\0\0\0\0\0\0ab")),
        ("padding", packet(21, b"abc")),
    ] {
        for key in [
            [&whole[..], &strange].concat(),
            [&whole[..], &strange, &bytes_of(&owner.certifies(user, SignatureType::CertPositive, Word::on(2)))]
                .concat(),
        ] {
            let given = app.give_key(&ada, &armored(&key)).await;
            assert_eq!(given.expect(201).field("keylist"), clean, "{what}");
        }
    }
}

#[tokio::test]
async fn a_key_ends_when_its_owner_said_last() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let owner = Owner::of("gpg-ed25519");
    let (on_2nd, on_3rd) = (|| Word::on(2), || Word::on(3));
    // What GnuPG says of the same keys.
    for (first, second, end) in [
        (on_2nd(), on_3rd(), None),
        (on_2nd().ends_after(10), on_3rd(), Some(11)),
        (on_2nd(), on_3rd().ends_after(10), Some(11)),
        (on_2nd().ends_after(20), on_3rd().ends_after(10), Some(11)),
        (on_3rd().ends_after(20), on_2nd().ends_after(10), Some(21)),
        (on_2nd().primary(), on_3rd().primary().ends_after(10), Some(11)),
        (on_2nd().primary().ends_after(10), on_3rd().primary(), Some(11)),
    ] {
        let user = |id: &str, word| owner.user(id, [(SignatureType::CertPositive, word)]);
        let users = vec![user("First <first@example.com>", first), user("Second <second@example.com>", second)];
        let given = app.give_key(&ada, &armor_of(&owner.with_users(users))).await.expect(201).json();
        let expected = end.map(|day| format!("2026-03-{day}T00:00:00.000Z"));
        assert_eq!(given["expiresAt"], json!(expected), "{end:?}");
        app.delete(&format!("/users/me/keys/pgp/{}", text(&given, "id"))).bearer(&ada.token).await.expect(204);
    }
}

#[tokio::test]
async fn a_key_says_whether_mails_can_be_encrypted_to_it() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let owner = Owner::of("gpg-ed25519");
    let subkey = owner.key.public_subkeys[0].key.clone();
    let bound = |word| armor_of(&owner.with_subkey(&subkey, [word]));
    for (key, encrypts) in [
        (certificate("gpg-rsa2048"), true),
        (certificate("gpg-sign-only"), false),
        (certificate("gpg-expired-subkey"), false),
        (certificate("gpg-brainpool-subkey"), false),
        // Nothing is said about what it is for, and it can do nothing else.
        (bound(Word::on(2)), true),
        (bound(Word::on(3).may_sign()), false),
        (bound(Word::on(4).may_encrypt().ends_after(10)), true),
    ] {
        assert_eq!(app.give_key(&ada, &key).await.expect(201).json()["encrypts"], encrypts, "{key}");
    }
    app.advance(TimeDelta::days(5));
    let ada = Person { token: app.log_in(&ada.email, &ada.password).await, ..ada };
    let of = async || app.get("/users/me/keys/pgp/1e9a81032b732c3324f5bc1cd028b8c9d26364be").bearer(&ada.token).await;
    assert_eq!(of().await.json()["encrypts"], true);
    app.advance(TimeDelta::hours(12));
    let ada = Person { token: app.log_in(&ada.email, &ada.password).await, ..ada };
    let over = app.get("/users/me/keys/pgp/1e9a81032b732c3324f5bc1cd028b8c9d26364be").bearer(&ada.token).await;
    assert_eq!(over.json()["encrypts"], false, "its subkey is over since midnight of the 11th");
}

#[tokio::test]
async fn what_its_owner_says_of_a_key_counts_wherever_it_stands() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let owner = Owner::of("gpg-ed25519");
    let mut before = owner.key.clone();
    before.details.users.push(owner.user("Old <old@example.com>", [(SignatureType::CertPositive, Word::on(1))]));
    let (user, subkey) = (&before.details.users[1], &before.public_subkeys[0]);
    let mut head = before.clone();
    head.public_subkeys.clear();
    let [head, whole, bound] = [head.to_bytes(), before.to_bytes(), subkey.to_bytes()].map(|part| part.expect("bytes"));
    let end = bytes_of(&owner.says(SignatureType::Key, Word::on(2).ends_after(10)));
    let no_user = bytes_of(&owner.certifies(&user.id, SignatureType::CertRevocation, Word::on(2)));
    let no_subkey = bytes_of(&owner.binds(&subkey.key, SignatureType::SubkeyRevocation, Word::on(2)));
    for (what, key, (end, users, encrypts)) in [
        ("nothing", whole.clone(), (json!(null), 2, true)),
        ("an end behind the subkey", [&whole[..], &end].concat(), (json!("2026-03-11T00:00:00.000Z"), 2, true)),
        ("a revocation of a user id there", [&whole[..], &no_user].concat(), (json!(null), 1, true)),
        ("that of a subkey before it", [&head[..], &no_subkey, &bound].concat(), (json!(null), 2, false)),
        ("that in both places", [&head[..], &no_subkey, &bound, &no_subkey].concat(), (json!(null), 2, false)),
    ] {
        let given = app.give_key(&ada, &armored(&key)).await.expect(201).json();
        let shown = (given["expiresAt"].clone(), user_ids(&given).len(), given["encrypts"] == true);
        assert_eq!(shown, (end, users, encrypts), "{what}");
        let again = app.give_key(&ada, &text(&given, "keylist")).await.expect(201).json();
        assert_eq!(again["keylist"], given["keylist"], "{what}");
        app.delete(&format!("/users/me/keys/pgp/{}", text(&given, "id"))).bearer(&ada.token).await.expect(204);
    }
}

#[tokio::test]
async fn what_a_signature_says_is_over_with_it() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let owner = Owner::of("gpg-ed25519");
    let words = [Word::on(2), Word::on(3).lasts(4)].map(|word| (SignatureType::CertPositive, word));
    let user = owner.user("Ada Lovelace <ada@example.com>", words);
    let given = app.give_key(&ada, &armor_of(&owner.with_users(vec![user]))).await.expect(201).json();
    assert_eq!(given["expiresAt"], "2026-03-07T00:00:00.000Z");
    let bob = app.person("bob").await;
    let subkey = owner.key.public_subkeys[0].key.clone();
    let words = [Word::on(2).may_encrypt(), Word::on(3).may_encrypt().lasts(4)];
    let given = app.give_key(&bob, &armor_of(&owner.with_subkey(&subkey, words))).await.expect(201).json();
    assert_eq!((&given["expiresAt"], &given["encrypts"]), (&json!(null), &json!(true)));
    app.advance(TimeDelta::hours(36));
    for person in [ada, bob] {
        let token = app.log_in(&person.email, &person.password).await;
        let path = format!("/users/me/keys/pgp/{}", text(&given, "id"));
        assert_eq!(app.get(&path).bearer(&token).await.expect(200).json()["encrypts"], false, "{}", person.email);
    }
}

#[tokio::test]
async fn a_signature_of_the_owner_that_nobody_can_read_is_not_passed_over() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let owner = Owner::of("gpg-ed25519");
    let whole = owner.key.to_bytes().expect("bytes");
    for kind in [SignatureType::KeyRevocation, SignatureType::Key] {
        // Something that ends a key, and has a URI in another encoding besides.
        let uri = SubpacketData::PolicyURI("https://example.com/".into());
        let mut body = owner.says(kind, Word::on(2).ends_after(1).saying(uri)).to_bytes().expect("bytes");
        let at = body.windows(7).position(|part| part == b"example").expect("it is there");
        body[at] = 0xe9;
        let answer = app.give_key(&ada, &armored(&[&whole[..], &packet(2, &body)].concat())).await;
        assert!(answer.refused(400, "InvalidKey").field("message").contains("names it and cannot be read"));
    }
    // Read, but written in another way.
    let mut body = owner.says(SignatureType::KeyRevocation, Word::on(2).primary()).to_bytes().expect("bytes");
    let at = body.windows(3).position(|part| part == [2, 25, 1]).expect("it is there");
    body[at + 2] = 2;
    let answer = app.give_key(&ada, &armored(&[&whole[..], &packet(2, &body)].concat())).await;
    assert!(answer.refused(400, "InvalidKey").field("message").contains("names it and cannot be read"));
    // One of somebody else says nothing of it.
    let other = Owner::of("gpg-expires");
    let uri = SubpacketData::PolicyURI("https://example.com/".into());
    let mut body = other.says(SignatureType::Key, Word::on(2).saying(uri)).to_bytes().expect("bytes");
    let at = body.windows(7).position(|part| part == b"example").expect("it is there");
    body[at] = 0xe9;
    app.give_key(&ada, &armored(&[&whole[..], &packet(2, &body)].concat())).await.expect(201);
}

#[tokio::test]
async fn nothing_but_the_end_of_a_key_changes_what_was_found() {
    let app = TestApp::start().await;
    let people = [app.person("ada").await, app.person("bob").await, app.person("eve").await];
    let owner = Owner::of("gpg-ed25519");
    let positive = SignatureType::CertPositive;
    let ada = || owner.user("Ada Lovelace <ada@example.com>", [(positive, Word::on(2))]);
    // What is dated ahead would end the key, and is not kept.
    let mut ahead = owner.with_users(vec![ada()]);
    ahead.details.direct_signatures.push(owner.says(SignatureType::Key, Word::on(6).ends_after(1)));
    // The newer word is over before the end that it gives, and the older one gives another.
    let other = owner.user("Other <other@example.com>", [(positive, Word::on(1).ends_after(5))]);
    let newer = owner.user("Ada Lovelace <ada@example.com>", [(positive, Word::on(3).ends_after(90).lasts(4))]);
    let passing = owner.with_users(vec![newer, other]);
    let mut both = owner.with_users(vec![ada()]);
    both.details.direct_signatures.push(owner.says(SignatureType::Key, Word::on(3).ends_after(90).lasts(4)));
    for (person, (key, end)) in people.iter().zip([
        (ahead, None),
        (passing, Some("2026-03-07T00:00:00.000Z")),
        (both, Some("2026-03-07T00:00:00.000Z")),
    ]) {
        let given = app.give_key(person, &armor_of(&key)).await.expect(201).json();
        assert_eq!((&given["expiresAt"], &given["encrypts"]), (&json!(end), &json!(true)));
    }
    // As if each had proved it, which only one may.
    app.execute("insert into mail_certificates select user_id, id, certificate from user_keys").await;
    let is_encrypted = async || {
        let mut seen = Vec::new();
        for person in &people {
            let token = app.log_in(&person.email, &person.password).await;
            let shown = app.get("/users/me/keys").bearer(&token).await.expect(200).json();
            app.forget_password(&person.email).await.expect(202);
            app.deliver_mail().await;
            let letter = app.mailbox().last_to(&person.email);
            assert_eq!(shown["pgpkeys"][0]["encrypts"], letter.armor.is_some(), "{}", person.email);
            seen.push(letter.armor.is_some());
        }
        seen
    };
    assert_eq!(is_encrypted().await, [true, true, true]);
    app.advance(TimeDelta::days(2));
    assert_eq!(is_encrypted().await, [true, false, false]);
}
