//! Messages and signatures that were made with the npm packages `siwe`, `viem` and `ethers`.

use bloq_accounts::ethereum::{SignInMessage, WalletAddress, WalletSignature};
use bloq_accounts::users::By;
use serde_json::{Value, json};

use crate::harness::{Person, TestApp};

fn fixtures() -> Value {
    serde_json::from_str(include_str!("fixtures.json")).expect("JSON")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().expect("a text")
}

/// A server on which the address of the fixtures is enabled, with the nonce that they have signed.
async fn waiting(fixtures: &Value) -> (TestApp, Person) {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let address = WalletAddress::parse(text(fixtures, "address")).expect("an address");
    let user = ada.id.parse().expect("an id");
    app.app.ethereum.enable(user, address, By::Operator).await.expect("it is enabled");
    (app, ada)
}

/// Puts the nonce of the fixtures in its place.
async fn give_out(app: &TestApp, fixtures: &Value) {
    app.post(&format!("/users/{}/nonce", text(fixtures, "address"))).await.expect(200);
    sqlx::query("update wallet_nonces set nonce = $1")
        .bind(text(fixtures, "nonce"))
        .execute(&app.pool())
        .await
        .expect("the nonce of the fixtures");
}

#[tokio::test]
async fn what_ethers_and_viem_have_signed_gets_a_token_for_the_staking_routes() {
    let fixtures = fixtures();
    let (app, _) = waiting(&fixtures).await;
    let made = fixtures["stake"].as_array().expect("a list");
    assert_eq!(made.len(), 10);
    for one in made {
        give_out(&app, &fixtures).await;
        let signed_at = text(&fixtures, "at");
        let body = json!({
            "address": one["posted"], "service": "stake", "signature": one["signature"], "signedAt": signed_at,
        });
        let answer = app.sign_in(&body).await;
        assert_eq!(answer.status, 200, "{one}: {answer:?}");
    }
}

#[tokio::test]
async fn what_siwe_and_viem_have_put_together_signs_in() {
    let fixtures = fixtures();
    let (app, ada) = waiting(&fixtures).await;
    let made = fixtures["siwe"].as_array().expect("a list");
    assert_eq!(made.len(), 6);
    for one in made {
        give_out(&app, &fixtures).await;
        let answer = app.siwe(text(one, "text"), text(one, "signature")).await;
        assert_eq!(answer.status, 200, "{one}: {answer:?}");
        assert_eq!(app.me(&answer.field("accessToken")).await.json()["id"], ada.id.as_str());
    }
}

#[test]
fn no_letter_of_a_message_can_be_changed() {
    let fixtures = fixtures();
    let address = WalletAddress::parse(text(&fixtures, "address")).expect("an address");
    for one in fixtures["siwe"].as_array().expect("a list") {
        let signature = WalletSignature::parse(text(one, "signature")).expect("a signature");
        let message = SignInMessage::parse(text(one, "text")).expect("a message");
        assert_eq!((signature.signer(&message.text), message.address), (Some(address), address), "{one}");
        for at in 0..message.text.len() {
            let mut changed = message.text.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).expect("ASCII");
            // Whether or not that can still be read, nobody has signed it.
            assert_ne!(signature.signer(&changed), Some(address), "{changed}");
        }
    }
}
