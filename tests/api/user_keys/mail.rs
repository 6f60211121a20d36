//! Mails that hand out a token, to people who have proved a key.

use chrono::TimeDelta;
use pgp::composed::{Deserializable, Message, SignedSecretKey};

use super::{certificate, fixture};
use crate::harness::mailbox::Letter;
use crate::harness::{STRONGER, TestApp};

/// What the owner of a fixture's secret key reads.
fn decrypted(letter: &Letter, name: &str) -> Option<Letter> {
    let (key, _) = SignedSecretKey::from_string(&fixture(&format!("{name}.sec.asc"))).expect("a secret key");
    let armor = letter.armor.as_deref().unwrap_or_else(|| panic!("it is not encrypted: {letter:?}"));
    let (message, _) = Message::from_string(armor).expect("a message");
    let mut message = message.decrypt(&"".into(), &key).ok()?;
    Some(letter.opened(&message.as_data_vec().expect("what was encrypted")))
}

#[tokio::test]
async fn a_new_password_is_mailed_so_that_only_the_key_reads_its_token() {
    let app = TestApp::start().await;
    for (number, name) in [
        "gpg-ed25519",
        "gpg-rsa2048",
        "gpg-rsa3072",
        "gpg-nistp256",
        "gpg-expires",
        "gpg-two-encryption-subkeys",
        "proton-v4",
        "openpgpjs-v6",
        "sequoia-v4",
        "sequoia-v6-ed25519",
        "sequoia-v6-p256",
    ]
    .into_iter()
    .enumerate()
    {
        let person = app.person(&format!("person{number}")).await;
        app.proved_key(&person, name).await;
        app.forget_password(&person.email).await.expect(202);
        app.deliver_mail().await;
        let letter = app.mailbox().last_to(&person.email);
        assert_eq!(letter.subject, "Choose a new password");
        assert!(!letter.raw.contains("Token:") && !letter.raw.contains(&person.id), "{}", letter.raw);
        let opened = decrypted(&letter, name).unwrap_or_else(|| panic!("{name} cannot read it"));
        assert!(opened.html.contains(&opened.token()), "{name}");
        app.reset_password(&person.id, &opened.token(), STRONGER).await.expect(200);
        let other = if name == "gpg-ed25519" { "gpg-rsa2048" } else { "gpg-ed25519" };
        assert!(decrypted(&letter, other).is_none(), "{other} reads it");
    }
}

#[tokio::test]
async fn another_address_is_asked_for_with_an_encrypted_mail_and_notices_stay_plain() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.proved_key(&ada, "gpg-ed25519").await;
    app.change_email(&ada.token, "countess@example.com", &ada.password).await.expect(202);
    app.deliver_mail().await;
    let letter = app.mailbox().last_to("countess@example.com");
    let token = decrypted(&letter, "gpg-ed25519").expect("it is readable").token();
    let notice = app.mailbox().last_to(&ada.email);
    assert_eq!((notice.subject.as_str(), notice.armor), ("Your e-mail address is about to change", None));
    app.confirm_email(&ada.id, &token).await.expect(200);
}

#[tokio::test]
async fn every_proved_key_of_a_person_reads_a_mail() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for name in ["gpg-ed25519", "sequoia-v6-ed25519", "gpg-rsa2048"] {
        app.proved_key(&ada, name).await;
    }
    app.forget_password(&ada.email).await.expect(202);
    app.deliver_mail().await;
    let letter = app.mailbox().last_to(&ada.email);
    for name in ["gpg-ed25519", "sequoia-v6-ed25519", "gpg-rsa2048"] {
        assert!(decrypted(&letter, name).is_some(), "{name}");
    }
}

#[tokio::test]
async fn a_key_to_which_nothing_can_be_encrypted_keeps_no_other_from_reading() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for name in ["gpg-brainpool-subkey", "gpg-ed25519"] {
        app.proved_key(&ada, name).await;
    }
    app.forget_password(&ada.email).await.expect(202);
    app.deliver_mail().await;
    assert!(decrypted(&app.mailbox().last_to(&ada.email), "gpg-ed25519").is_some());
}

#[tokio::test]
async fn without_a_key_that_can_be_used_a_mail_stays_plain() {
    let app = TestApp::start().await;
    let mail = async |email: &str| {
        app.forget_password(email).await.expect(202);
        app.deliver_mail().await;
        app.mailbox().last_to(email)
    };
    // Given, and proved by nobody.
    let ada = app.person("ada").await;
    app.give_key(&ada, &certificate("gpg-ed25519")).await.expect(201);
    assert_eq!(mail(&ada.email).await.armor, None);
    for (name, person) in [("gpg-sign-only", "bob"), ("gpg-expired-subkey", "carl"), ("gpg-brainpool-subkey", "emil")] {
        let person = app.person(person).await;
        app.proved_key(&person, name).await;
        assert_eq!(mail(&person.email).await.armor, None, "{name}");
    }
    // Expired since, and deleted.
    let dora = app.person("dora").await;
    let id = app.proved_key(&dora, "gpg-expires").await;
    assert!(mail(&dora.email).await.armor.is_some());
    app.advance(TimeDelta::days(361));
    assert_eq!(mail(&dora.email).await.armor, None);
    let token = app.log_in(&dora.email, &dora.password).await;
    app.delete(&format!("/users/me/keys/pgp/{id}")).bearer(&token).await.expect(204);
    assert_eq!(app.count("select count(*) from mail_certificates where fingerprint like '59ef%'").await, 0);
}

#[tokio::test]
async fn a_mail_waits_when_a_key_cannot_be_read_rather_than_leave_in_the_clear() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.proved_key(&ada, "gpg-ed25519").await;
    app.deliver_mail().await;
    let before = app.mailbox().to(&ada.email).len();
    app.execute("update mail_certificates set certificate = overlay(certificate placing '????' from 200)").await;
    app.forget_password(&ada.email).await.expect(202);
    app.deliver_mail().await;
    assert_eq!(app.mailbox().to(&ada.email).len(), before);
    app.give_key(&ada, &certificate("gpg-ed25519")).await.expect(201);
    app.advance(TimeDelta::minutes(1));
    app.deliver_mail().await;
    assert!(decrypted(&app.mailbox().last_to(&ada.email), "gpg-ed25519").is_some());
}

#[tokio::test]
async fn who_proves_a_key_is_told_whether_mails_are_encrypted_to_it() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for (name, told) in
        [("gpg-ed25519", "From now on mails"), ("gpg-sign-only", "has no part to which mails can be encrypted")]
    {
        app.proved_key(&ada, name).await;
        app.deliver_mail().await;
        let letter = app.mailbox().last_to(&ada.email);
        assert!(letter.text.contains(told), "{}", letter.text);
    }
}
