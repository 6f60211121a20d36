//! Copies of a key that is known: what they add, and what they take back.

use chrono::TimeDelta;
use pgp::composed::{ArmorOptions, Deserializable, SignedPublicKey};
use pgp::packet::SignatureType;
use pgp::ser::Serialize;
use serde_json::{Value, json};

use super::made::{Owner, Word, armor_of, armored, bytes_of};
use super::{certificate, fixture, text, user_ids};
use crate::harness::{Person, TestApp};

#[tokio::test]
async fn an_older_copy_of_a_key_takes_nothing_back() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let full = app.give_key(&ada, &certificate("gpg-two-encryption-subkeys")).await.expect(201).json();
    // What an attacker has kept: the same key without the revocation of a subkey, and without a user id.
    let mut older = SignedPublicKey::from_string(&certificate("gpg-two-encryption-subkeys")).expect("a key").0;
    for subkey in &mut older.public_subkeys {
        subkey.signatures.retain(|signature| signature.typ() != Some(SignatureType::SubkeyRevocation));
    }
    let older = older.to_armored_string(ArmorOptions::default()).expect("an armor");
    let merged = app.give_key(&ada, &older).await.expect(201).json();
    assert_eq!(packets(&merged), packets(&full));
    // And the other way round: what was missing comes.
    app.delete(&format!("/users/me/keys/pgp/{}", text(&full, "id"))).bearer(&ada.token).await.expect(204);
    let first = app.give_key(&ada, &older).await.expect(201).json();
    assert_ne!(packets(&first), packets(&full));
    let both = app.give_key(&ada, &certificate("gpg-two-encryption-subkeys")).await.expect(201).json();
    assert_eq!(packets(&both), packets(&full));
}

/// How many signatures a shown key has, by part.
fn packets(key: &Value) -> Vec<usize> {
    let (key, _) = SignedPublicKey::from_string(&text(key, "keylist")).expect("a key");
    let users = key.details.users.iter().map(|user| user.signatures.len());
    users.chain(key.public_subkeys.iter().map(|subkey| subkey.signatures.len())).collect()
}

#[tokio::test]
async fn an_older_copy_does_not_take_an_end_back_even_when_it_has_come() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let end = "2026-03-06T00:00:00.000Z";
    assert_eq!(app.give_key(&ada, &certificate("gpg-shortened")).await.expect(201).json()["expiresAt"], end);
    let older = fixture("gpg-shortened.old.asc");
    assert_eq!(app.give_key(&ada, &older).await.expect(201).json()["expiresAt"], end);
    app.advance(TimeDelta::hours(12));
    let ada = Person { token: app.log_in(&ada.email, &ada.password).await, ..ada };
    app.give_key(&ada, &older).await.refused(400, "KeyExpired");
    // To somebody who never had the newer one, it is what it says.
    let bob = app.person("bob").await;
    assert_eq!(app.give_key(&bob, &older).await.expect(201).json()["expiresAt"], json!(null));
}

#[tokio::test]
async fn a_part_that_was_revoked_stays_so_when_a_copy_has_it_twice() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let owner = Owner::of("gpg-ed25519");
    let old = owner.user("Old <old@example.com>", [(SignatureType::CertPositive, Word::on(1))]);
    let mut before = owner.key.clone();
    before.details.users.push(old.clone());
    let given = app.give_key(&ada, &armor_of(&before)).await.expect(201).json();
    assert_eq!((user_ids(&given).len(), &given["encrypts"]), (2, &json!(true)));

    let mut revoked = before.clone();
    let subkey = &mut revoked.public_subkeys[0];
    subkey.signatures.push(owner.binds(&subkey.key, SignatureType::SubkeyRevocation, Word::on(2)));
    let user = &mut revoked.details.users[1];
    user.signatures.push(owner.certifies(&user.id, SignatureType::CertRevocation, Word::on(2)));
    let now = app.give_key(&ada, &armor_of(&revoked)).await.expect(201).json();
    assert_eq!((user_ids(&now), &now["encrypts"]), (vec!["Ada Lovelace <ada@example.com>".into()], &json!(false)));

    let mut twice = before.clone();
    twice.public_subkeys.push(before.public_subkeys[0].clone());
    twice.details.users.push(old);
    let again = app.give_key(&ada, &armor_of(&twice)).await.expect(201).json();
    assert_eq!(again["keylist"], now["keylist"]);
    // One copy alone: the second time says that it is over.
    let bob = app.person("bob").await;
    let mut second = revoked.clone();
    second.public_subkeys.insert(0, before.public_subkeys[0].clone());
    second.details.users.insert(0, before.details.users[1].clone());
    let shown = app.give_key(&bob, &armor_of(&second)).await.expect(201).json();
    assert_eq!((user_ids(&shown), &shown["encrypts"]), (user_ids(&now), &json!(false)));
}

#[tokio::test]
async fn a_copy_whose_revocation_was_damaged_on_the_way_takes_none_back() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let owner = Owner::of("gpg-ed25519");
    let subkey = &owner.key.public_subkeys[0];
    let revocation = owner.binds(&subkey.key, SignatureType::SubkeyRevocation, Word::on(2));
    let head = owner.key.to_bytes().expect("bytes");
    let good = bytes_of(&revocation);
    app.give_key(&ada, &armored(&[&head[..], &good].concat())).await.expect(201);
    // The beginning of the hash stands behind what is signed, and says nothing but that the rest is worth a look.
    let mut damaged = good.clone();
    let at = good.len() - 2 * 34 - 2;
    damaged[at] ^= 1;
    let shown = app.give_key(&ada, &armored(&[&head[..], &damaged].concat())).await.expect(201).json();
    assert_eq!(shown["encrypts"], false);
}

#[tokio::test]
async fn two_copies_have_no_more_between_them_than_one_may_have() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let owner = Owner::of("gpg-ed25519");
    let id = app.proved_key(&ada, "gpg-ed25519").await;
    let users = |from: usize| {
        let long = |number: usize| format!("{} {number}", "x".repeat(8200 + from));
        let own = owner.key.details.users.clone();
        let all = (0..4).map(|number| owner.user(&long(number), [(SignatureType::CertPositive, Word::on(2))]));
        armor_of(&owner.with_users(own.into_iter().chain(all).collect()))
    };
    app.give_key(&ada, &users(0)).await.expect(201);
    app.give_key(&ada, &users(1)).await.refused(400, "KeyTooLarge");
    let kept = app.get(&format!("/users/me/keys/pgp/{id}")).bearer(&ada.token).await.expect(200).json();
    assert_eq!(user_ids(&kept).len(), 5);
    app.give_key(&ada, &certificate("gpg-ed25519")).await.expect(201);
    app.forget_password(&ada.email).await.expect(202);
    app.deliver_mail().await;
    assert!(app.mailbox().last_to(&ada.email).armor.is_some());
}

#[tokio::test]
async fn the_end_of_a_key_in_use_is_kept_also_when_it_has_come() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let owner = Owner::of("gpg-ed25519");
    let id = app.proved_key(&ada, "gpg-ed25519").await;
    let id = id.as_str();
    let over = owner.user("Ada Lovelace <ada@example.com>", [(SignatureType::CertPositive, Word::on(3).ends_after(3))]);
    app.give_key(&ada, &armor_of(&owner.with_users(vec![over]))).await.refused(400, "KeyExpired");
    let kept = app.get(&format!("/users/me/keys/pgp/{id}")).bearer(&ada.token).await.expect(200).json();
    assert_eq!((&kept["expiresAt"], &kept["encrypts"]), (&json!("2026-03-04T00:00:00.000Z"), &json!(false)));
    app.forget_password(&ada.email).await.expect(202);
    app.deliver_mail().await;
    assert_eq!(app.mailbox().last_to(&ada.email).armor, None);
    // Of a key that nobody has here there is nothing to keep.
    let bob = app.person("bob").await;
    let over = owner.user("Ada Lovelace <ada@example.com>", [(SignatureType::CertPositive, Word::on(3).ends_after(3))]);
    app.give_key(&bob, &armor_of(&owner.with_users(vec![over]))).await.refused(400, "KeyExpired");
    assert_eq!(app.keys_of(&bob).await["pgpkeys"], json!([]));
}
