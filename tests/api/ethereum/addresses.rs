//! The own addresses: linked by a signature, listed, removed.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::wallet::{Wallet, message, now, stating};
use crate::harness::{Call, Person, TestApp, count, together};

/// The message that links an address to an account.
fn linking(user: &str, wallet: &Wallet, nonce: &str, at: &str) -> String {
    stating(&format!("Link this address to Bloq account {user}"), &wallet.address(), nonce, at)
}

impl TestApp {
    /// What a wallet is to sign to be linked to this account.
    pub async fn link_nonce(&self, person: &Person, wallet: &Wallet) -> String {
        let path = format!("/users/me/addresses/{}/nonce", wallet.address());
        self.post(&path).bearer(&person.token).await.expect(200).field("nonce")
    }

    /// Asks to link what signed this text.
    fn ask_to_link(&self, person: &Person, wallet: &Wallet, text: &str) -> Call {
        let body = json!({"address": wallet.address(), "signature": wallet.sign(text), "signedAt": now(self)});
        self.post("/users/me/addresses").bearer(&person.token).json(&body)
    }

    /// Links an address by a signature.
    pub async fn link(&self, person: &Person, wallet: &Wallet) -> Value {
        let nonce = self.link_nonce(person, wallet).await;
        let text = linking(&person.id, wallet, &nonce, &now(self));
        self.ask_to_link(person, wallet, &text).await.expect(201).json()
    }

    /// The addresses that a person sees.
    pub async fn addresses_of(&self, person: &Person) -> Value {
        self.get("/users/me/addresses").bearer(&person.token).await.expect(200).json()
    }
}

#[tokio::test]
async fn a_person_links_an_address_which_an_administrator_has_to_enable() {
    let app = TestApp::start().await;
    let (ada, wallet) = (app.person("ada").await, Wallet::new(1));
    assert_eq!(app.addresses_of(&ada).await, json!([]));
    let linked = app.link(&ada, &wallet).await;
    let noon = "2026-03-05T12:00:00.123Z";
    let expected = json!({"address": wallet.address(), "linkedAt": noon, "enabledAt": null, "createdAt": noon});
    assert_eq!(linked, expected);
    assert_eq!(app.addresses_of(&ada).await, json!([expected]));
    assert_eq!(app.newest_subject(&ada.email).await, "An Ethereum address was linked to your account");
    app.post(&format!("/users/{}/nonce", wallet.address())).await.refused(404, "NotFound");

    app.enable(&ada.id, &wallet).await;
    app.stake(&wallet).await;
    assert_eq!(app.addresses_of(&ada).await[0]["enabledAt"], noon);
    app.advance(TimeDelta::minutes(1));
    assert_eq!(app.link(&ada, &wallet).await["linkedAt"], noon, "once more changes nothing");
}

#[tokio::test]
async fn only_a_signature_for_this_account_and_purpose_links() {
    let app = TestApp::start().await;
    let (ada, eve, wallet) = (app.person("ada").await, app.person("eve").await, Wallet::new(1));
    let (nonce, now) = (app.link_nonce(&ada, &wallet).await, now(&app));
    let text = linking(&ada.id, &wallet, &nonce, &now);
    // Eve has seen the signature, and asks first.
    app.ask_to_link(&eve, &wallet, &text).await.refused(403, "InvalidSignature");
    app.link_nonce(&eve, &wallet).await;
    app.ask_to_link(&eve, &wallet, &text).await.refused(403, "InvalidSignature");
    for other in [
        linking(&eve.id, &wallet, &nonce, &now),
        linking(&ada.id, &wallet, "Qd4b6cs9OUOEoXiSx", &now),
        message(&wallet.address(), &nonce, &now),
    ] {
        app.ask_to_link(&ada, &wallet, &other).await.refused(403, "InvalidSignature");
    }
    app.ask_to_link(&ada, &wallet, &text).await.expect(201);
    app.ask_to_link(&ada, &wallet, &text).await.refused(403, "InvalidSignature");
    assert_eq!(app.addresses_of(&eve).await, json!([]));
}

#[tokio::test]
async fn one_address_is_one_users() {
    let app = TestApp::start().await;
    let (ada, bob, wallet) = (app.person("ada").await, app.person("bob").await, Wallet::new(1));
    // Both hold the key, and ask at the same moment.
    let mut calls = Vec::new();
    for person in [&ada, &bob] {
        let nonce = app.link_nonce(person, &wallet).await;
        calls.push(app.ask_to_link(person, &wallet, &linking(&person.id, &wallet, &nonce, &now(&app))));
    }
    let answers = together(calls).await;
    assert_eq!((count(&answers, 201), count(&answers, 409)), (1, 1), "{answers:?}");
    let (loser, winner) = if answers[0].status == 409 { (&ada, &bob) } else { (&bob, &ada) };
    let nonce = app.link_nonce(loser, &wallet).await;
    let again = app.ask_to_link(loser, &wallet, &linking(&loser.id, &wallet, &nonce, &now(&app)));
    again.await.refused(409, "AddressTaken");
    let path = format!("/users/me/addresses/{}", wallet.lower_case());
    app.delete(&path).bearer(&loser.token).await.refused(404, "NotFound");
    app.delete(&path).bearer(&winner.token).await.expect(204);
    app.delete(&path).bearer(&winner.token).await.refused(404, "NotFound");
    app.link(loser, &wallet).await;
}

#[tokio::test]
async fn what_a_person_removes_signs_nobody_in_any_more() {
    let app = TestApp::start().await;
    let (ada, wallet) = (app.person("ada").await, Wallet::new(1));
    app.link(&ada, &wallet).await;
    app.enable(&ada.id, &wallet).await;
    let nonce = app.nonce(&wallet).await;
    let path = format!("/users/me/addresses/{}", wallet.address());
    app.delete(&path).bearer(&ada.token).await.expect(204);
    assert_eq!(app.addresses_of(&ada).await, json!([]));
    app.sign_in(&wallet.proof(&app, &nonce)).await.refused(401, "UserNotFound");
    app.link(&ada, &wallet).await;
    app.sign_in(&wallet.proof(&app, &nonce)).await.refused(401, "UserNotFound");
}

#[tokio::test]
async fn a_user_has_at_most_20_addresses_and_20_begun_links() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for number in 1..=20 {
        app.enable(&ada.id, &Wallet::new(number)).await;
    }
    let one_more = Wallet::new(21);
    let nonce = app.link_nonce(&ada, &one_more).await;
    let text = linking(&ada.id, &one_more, &nonce, &now(&app));
    app.ask_to_link(&ada, &one_more, &text).await.refused(409, "TooManyAddresses");
    for number in 22..=60 {
        app.link_nonce(&ada, &Wallet::new(number)).await;
    }
    assert_eq!(app.count("select count(*) from wallet_nonces where purpose = 'link'").await, 20);
    assert_eq!(app.count("select count(*) from wallets").await, 20);
}

#[tokio::test]
async fn a_user_who_begins_many_links_at_once_keeps_20_and_holds_nobody_up() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let paths = (0..120).map(|number| format!("/users/me/addresses/{}/nonce", Wallet::new(1 + number / 2).address()));
    let begun = together(paths.map(|path| app.post(&path).bearer(&ada.token))).await;
    begun.into_iter().for_each(|answer| drop(answer.expect(200)));
    assert_eq!(app.count("select count(*) from wallet_nonces").await, 20);
}

#[tokio::test]
async fn a_read_only_user_looks_and_signs_in_and_changes_nothing() {
    let app = TestApp::start().await;
    let (ada, wallet) = (app.person("ada").await, Wallet::new(1));
    app.link(&ada, &wallet).await;
    app.enable(&ada.id, &wallet).await;
    app.execute("update users set read_only = true").await;
    assert_eq!(app.addresses_of(&ada).await.as_array().map(Vec::len), Some(1));
    app.stake(&wallet).await;
    let path = format!("/users/me/addresses/{}", wallet.address());
    app.delete(&path).bearer(&ada.token).await.refused(403, "Forbidden");
    app.post(&format!("{path}/nonce")).bearer(&ada.token).await.refused(403, "Forbidden");
    app.ask_to_link(&ada, &wallet, "x").await.refused(403, "Forbidden");
}

#[tokio::test]
async fn what_is_wrong_with_a_link_is_said_field_by_field() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let post = |body: Value| app.post("/users/me/addresses").bearer(&ada.token).json(&body);
    let answer = post(json!({"service": "stake"})).await.refused(400, "ValidationFailed");
    assert_eq!(answer.bad_fields(), ["address", "service", "signature", "signedAt"]);
    let path = "/users/me/addresses/0x1/nonce";
    let answer = app.post(path).bearer(&ada.token).await.refused(400, "ValidationFailed");
    assert_eq!(answer.bad_fields(), ["address"]);
}

#[tokio::test]
async fn addresses_are_in_the_export_and_end_with_their_user() {
    let app = TestApp::start().await;
    let (ada, wallet) = (app.person("ada").await, Wallet::new(1));
    app.link(&ada, &wallet).await;
    let export = app.get("/users/me/export").bearer(&ada.token).await.expect(200).json();
    assert_eq!(export["addresses"], app.addresses_of(&ada).await);
    app.leave(&ada.token, &ada.password).await.expect(204);
    assert_eq!(app.count("select count(*) from wallets").await, 0);
    let bob = app.person("bob").await;
    app.link(&bob, &wallet).await;
}
