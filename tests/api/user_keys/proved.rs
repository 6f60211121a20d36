//! Signatures that prove whose a key is.

use std::future::IntoFuture;

use pgp::packet::{Signature, Subpacket, SubpacketData};
use serde_json::json;

use super::made::{Owner, Word, armor_of};
use super::{SIGNED, certificate, fixture, good, refusal_of, text};
use crate::harness::{TestApp, count, together};

#[tokio::test]
async fn every_key_is_proved_by_a_signature_of_its_own_program() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for key in good() {
        let name = text(&key, "name");
        let id = app.proved_key(&ada, &name).await;
        let shown = app.get(&format!("/users/me/keys/pgp/{id}")).bearer(&ada.token).await.expect(200).json();
        assert_eq!(
            (&shown["verifiedAt"], &shown["verificationToken"]),
            (&json!("2026-03-05T12:00:00.123Z"), &json!(null)),
            "{name}"
        );
        // Again it changes nothing.
        let again = app.prove_key(&ada, &format!("pgp/{id}"), "anything").await.expect(200);
        assert_eq!(again.json(), shown);
    }
    assert_eq!(app.newest_subject(&ada.email).await, "A key was added to your account");
}

#[tokio::test]
async fn only_a_good_signature_under_exactly_the_text_proves() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let id = app.give_key(&ada, &certificate("gpg-ed25519")).await.expect(201).field("id");
    let path = format!("pgp/{id}");
    app.prove_key(&ada, &path, &fixture("gpg-ed25519.sig.asc")).await.refused(403, "InvalidSignature");
    app.ask_for_fixtures().await;
    for bad in [
        "gpg-ed25519.other.sig.asc",
        "gpg-ed25519.sha1.sig.asc",
        "gpg-ed25519.expired.sig.asc",
        "gpg-rsa2048.sig.asc",
        "sequoia-v6-ed25519.sig.asc",
    ] {
        let answer = app.prove_key(&ada, &path, &fixture(bad)).await;
        assert_eq!(refusal_of(&answer, "signature"), (403, "InvalidSignature".into()), "{bad}");
    }
    for nonsense in [
        String::new(),
        "x".into(),
        "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n".into(),
        fixture("gpg-ed25519.inline.asc"),
        fixture("gpg-ed25519.pub.asc"),
    ] {
        let answer = app.prove_key(&ada, &path, &nonsense).await;
        assert_eq!(refusal_of(&answer, "signature"), (400, "ValidationFailed".into()), "{nonsense:.60}");
    }

    let verification = format!("/users/me/keys/{path}/verification");
    let empty = app.post(&verification).bearer(&ada.token).json(&json!({})).await.refused(400, "ValidationFailed");
    assert_eq!(empty.bad_fields(), ["signature"]);
    for good in ["gpg-ed25519.sig.asc", "gpg-ed25519.text.sig.asc", "gpg-ed25519.newline.sig.asc"] {
        app.prove_key(&ada, &path, &fixture(good)).await.expect(200);
        app.delete(&format!("/users/me/keys/{path}")).bearer(&ada.token).await.expect(204);
        app.give_key(&ada, &certificate("gpg-ed25519")).await.expect(201);
        app.ask_for_fixtures().await;
    }
    app.prove_key(&ada, "pgp/0000", "x").await.refused(404, "NotFound");
    // A line end of any system stands behind many a text.
    let owner = Owner::of("gpg-ed25519");
    app.prove_key(&ada, &path, &owner.signs(&format!("{SIGNED}\n\n"))).await.refused(403, "InvalidSignature");
    app.prove_key(&ada, &path, &owner.signs(&format!("{SIGNED}\r\n"))).await.expect(200);
}

#[tokio::test]
async fn a_subkey_proves_nothing_for_a_key_that_it_does_not_know() {
    let app = TestApp::start().await;
    let eve = app.person("eve").await;
    // Eve claims the signing subkey of Alan's key as hers.
    let (owner, alan) = (Owner::of("gpg-ed25519"), Owner::of("gpg-rsa3072"));
    let stolen = alan.key.public_subkeys[0].key.clone();
    let key = owner.with_subkey(&stolen, [Word::on(2).may_sign()]);
    let given = app.give_key(&eve, &armor_of(&key)).await.expect(201);
    let path = format!("pgp/{}", given.field("id"));
    let signature = alan.signs_by_subkey(&given.field("verificationToken"));
    let answer = app.prove_key(&eve, &path, &signature).await.refused(403, "InvalidSignature");
    assert!(answer.field("message").contains("does not say itself"), "{answer:?}");
    let given = app.give_key(&eve, &armor_of(&alan.key)).await.expect(201);
    let signature = alan.signs_by_subkey(&given.field("verificationToken"));
    app.prove_key(&eve, &format!("pgp/{}", given.field("id")), &signature).await.expect(200);
}

#[tokio::test]
async fn a_key_may_wait_at_several_users_and_one_of_them_proves_it() {
    let app = TestApp::start().await;
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    let id = app.give_key(&eve, &certificate("gpg-ed25519")).await.expect(201).field("id");
    app.give_key(&ada, &certificate("gpg-ed25519")).await.expect(201);
    app.ask_for_fixtures().await;
    let (path, signature) = (format!("pgp/{id}"), fixture("gpg-ed25519.sig.asc"));
    let answers = together([&ada, &eve].map(|person| app.prove_key(person, &path, &signature))).await;
    assert_eq!((count(&answers, 200), count(&answers, 409)), (1, 1), "{answers:?}");
    let (winner, loser) = if answers[0].status == 200 { (&ada, &eve) } else { (&eve, &ada) };
    app.prove_key(loser, &path, &signature).await.refused(409, "KeyTaken");
    app.delete(&format!("/users/me/keys/{path}")).bearer(&winner.token).await.expect(204);
    app.prove_key(loser, &path, &signature).await.expect(200);
}

#[tokio::test]
async fn the_same_key_again_is_proved_as_it_was() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let id = app.proved_key(&ada, "gpg-ed25519").await;
    let again = app.give_key(&ada, &certificate("gpg-ed25519")).await.expect(201).json();
    assert_eq!((&again["id"], &again["verifiedAt"]), (&json!(id), &json!("2026-03-05T12:00:00.123Z")));
    assert_eq!(app.count("select count(*) from mail_certificates").await, 1);
    app.leave(&ada.token, &ada.password).await.expect(204);
    assert_eq!(
        app.count("select (select count(*) from mail_certificates) + (select count(*) from user_keys)").await,
        0
    );
}

#[tokio::test]
async fn a_key_that_names_a_revoker_keeps_its_end_and_is_proved() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let id = app.proved_key(&ada, "gpg-revoker").await;
    let key = app.get(&format!("/users/me/keys/pgp/{id}")).bearer(&ada.token).await.expect(200).json();
    assert_eq!(key["expiresAt"], "2027-03-01T00:00:00.000Z");
}

#[tokio::test]
async fn a_key_that_its_owner_revokes_is_the_owners_no_more() {
    let app = TestApp::start().await;
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    app.proved_key(&ada, "gpg-shortened").await;
    app.give_key(&eve, &certificate("gpg-shortened")).await.expect(201);
    let answer = app.give_key(&ada, &fixture("gpg-shortened.revoked.asc")).await.refused(400, "KeyRevoked");
    assert!(answer.field("message").contains("none of your keys any more"), "{answer:?}");
    assert_eq!(app.keys_of(&ada).await["pgpkeys"], json!([]));
    assert_eq!(app.count("select count(*) from mail_certificates").await, 0);
    assert_eq!(app.newest_subject(&ada.email).await, "A key was removed from your account");
    assert_eq!(app.keys_of(&eve).await["pgpkeys"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn each_proved_key_is_told_of_and_so_is_the_end_of_it() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let mut ids = Vec::new();
    for key in &good()[..8] {
        ids.push(app.proved_key(&ada, &text(key, "name")).await);
    }
    app.deliver_mail().await;
    let told = |subject: &str, id: &str| {
        let letters = app.mailbox().to(&ada.email);
        letters.iter().filter(|letter| letter.subject == subject && letter.text.contains(id)).count()
    };
    for id in &ids {
        assert_eq!(told("A key was added to your account", id), 1, "{id}");
    }
    for id in &ids {
        app.delete(&format!("/users/me/keys/pgp/{id}")).bearer(&ada.token).await.expect(204);
        app.deliver_mail().await;
        assert_eq!(told("A key was removed from your account", id), 1, "{id}");
    }
}

#[tokio::test]
async fn one_key_at_a_time_is_looked_at_for_a_user() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let calls = (0..20).map(|_| app.give_key(&ada, &certificate("gpg-nistp521")));
    let (crowd, other) = tokio::join!(together(calls), app.give_key(&bob, &certificate("gpg-ed25519")).into_future());
    assert!(crowd.iter().all(|answer| [201, 429, 503].contains(&answer.status)), "{crowd:?}");
    assert!(count(&crowd, 201) >= 1, "{crowd:?}");
    other.expect(201);
}

#[tokio::test]
async fn keys_of_many_people_at_once_wait_for_each_other_and_not_for_long() {
    let app = TestApp::start_with(|config| config.database.max_connections = 20).await;
    let mut people = Vec::new();
    for number in 0..50 {
        people.push(app.person(&format!("person{number}")).await);
    }
    let answers = together(people.iter().map(|person| app.give_key(person, &certificate("gpg-nistp521")))).await;
    assert!(count(&answers, 201) >= 33, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!((answer.refusal(), answer.header("retry-after")), ((503, "Overloaded".into()), "1"));
    }
    for person in &people {
        app.give_key(person, &certificate("gpg-nistp521")).await.expect(201);
    }
}

#[tokio::test]
async fn what_was_damaged_of_a_signing_subkey_is_mended_by_a_good_copy() {
    let app = TestApp::start().await;
    let alan = app.person("alan").await;
    let owner = Owner::of("gpg-rsa3072");
    let subkey = owner.key.public_subkeys[0].key.clone();
    let bound = |back: Option<Signature>| {
        let word = Word::on(2).may_sign();
        let word = match back {
            Some(back) => word.with_unsigned(SubpacketData::EmbeddedSignature(Box::new(back))),
            None => word,
        };
        armor_of(&owner.with_subkey(&subkey, [word]))
    };
    let sign = async |status| {
        let key = &app.keys_of(&alan).await["pgpkeys"][0];
        let signature = owner.signs_by_subkey(&text(key, "verificationToken"));
        app.prove_key(&alan, &format!("pgp/{}", text(key, "id")), &signature).await.expect(status);
    };
    let without = app.give_key(&alan, &bound(None)).await.expect(201).field("keylist");
    sign(403).await;
    // What it says of another key is worth nothing here, and not kept.
    let damaged = Owner::of("gpg-rsa3072").beside(&Owner::of("gpg-ed25519")).back(1);
    let kept = app.give_key(&alan, &bound(Some(damaged))).await.expect(201).field("keylist");
    assert_eq!(kept, without);
    sign(403).await;
    let good = app.give_key(&alan, &bound(Some(owner.back(1)))).await.expect(201).field("keylist");
    // What is not signed of it is not kept, and what is made for another time does not take its place.
    let mut loud = owner.back(1);
    let junk = SubpacketData::PolicyURI("https://example.com/junk".into());
    loud.unhashed_subpacket_push(Subpacket::regular(junk).expect("it fits")).expect("a length");
    for copy in [loud, owner.back(20)] {
        assert_eq!(app.give_key(&alan, &bound(Some(copy))).await.expect(201).field("keylist"), good);
    }
    sign(200).await;
}
