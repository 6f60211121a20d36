//! Bitcoin addresses.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use bitcoin::sign_message::signed_msg_hash;
use bitcoin::{Address, CompressedPublicKey, Network, PrivateKey};
use serde_json::{Value, json};

use crate::harness::{Call, Person, TestApp};

/// The key of a test's own.
fn key() -> PrivateKey {
    PrivateKey::new(SecretKey::from_slice(&[0x42; 32]).expect("less than the order"), Network::Bitcoin)
}

/// Its address of each kind that BIP-137 knows, with the first byte of its signatures.
fn addresses() -> [(String, u8); 4] {
    let secp = Secp256k1::new();
    let public = CompressedPublicKey::from_private_key(&secp, &key()).expect("it is compressed");
    let uncompressed = bitcoin::PublicKey::new_uncompressed(public.0);
    [
        (Address::p2pkh(uncompressed, Network::Bitcoin).to_string(), 27),
        (Address::p2pkh(public, Network::Bitcoin).to_string(), 31),
        (Address::p2shwpkh(&public, Network::Bitcoin).to_string(), 35),
        (Address::p2wpkh(&public, Network::Bitcoin).to_string(), 39),
    ]
}

/// What a wallet makes of a text (BIP-137).
fn sign(text: &str, head: u8) -> String {
    let message = Message::from_digest(signed_msg_hash(text).to_byte_array());
    let (id, bytes) = Secp256k1::new().sign_ecdsa_recoverable(&message, &key().inner).serialize_compact();
    let id = u8::try_from(id.to_i32()).expect("0 to 3");
    BASE64_STANDARD.encode([&[head + id], &bytes[..]].concat())
}

/// What a wallet makes of a text with a Taproot or SegWit address (BIP-322).
fn sign_simply(address: &str, text: &str) -> String {
    bip322::sign_simple_encoded(address, text, &[&key().to_wif()], None).expect("a signature")
}

impl TestApp {
    fn give_address(&self, person: &Person, address: &str) -> Call {
        self.post("/users/me/keys/bit").bearer(&person.token).json(&json!({"address": address}))
    }
}

#[tokio::test]
async fn an_address_of_each_kind_is_given_and_proved() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let secp = Secp256k1::new();
    let (taproot, _) = key().public_key(&secp).inner.x_only_public_key();
    let taproot = Address::p2tr(&secp, taproot, None, Network::Bitcoin).to_string();
    let [plain, compressed, nested, segwit] = addresses();
    let by_bip137 = |address: &(String, u8)| {
        let (address, head) = address.clone();
        let sign: Box<dyn Fn(&str) -> String> = Box::new(move |text| sign(text, head));
        (address, sign)
    };
    let by_bip322 = |address: &str| {
        let given = address.to_owned();
        let sign: Box<dyn Fn(&str) -> String> = Box::new(move |text| sign_simply(&given, text));
        (address.to_owned(), sign)
    };
    let electrum = (segwit.0.clone(), 31);
    for (address, sign) in [
        by_bip137(&plain),
        by_bip137(&compressed),
        by_bip137(&nested),
        by_bip137(&segwit),
        by_bip137(&electrum),
        by_bip322(&segwit.0),
        by_bip322(&taproot),
    ] {
        let given = app.give_address(&ada, &address).await.expect(201).json();
        let token = given["verificationToken"].as_str().expect("a text").to_owned();
        assert!(token.starts_with(&format!("The address {address} belongs to {} of https://", ada.id)), "{token}");
        let expected = json!({
            "id": address, "address": address, "addedAt": "2026-03-05T12:00:00.123Z", "verifiedAt": null,
            "verificationToken": token,
        });
        assert_eq!(given, expected);
        let path = format!("bit/{address}");
        app.prove_key(&ada, &path, &sign("Another text")).await.refused(403, "InvalidSignature");
        let proved = app.prove_key(&ada, &path, &sign(&token)).await.expect(200).json();
        assert_eq!(proved["verifiedAt"], "2026-03-05T12:00:00.123Z");
        assert_eq!(app.keys_of(&ada).await["bitkeys"], json!([proved]));
        app.delete(&format!("/users/me/keys/{path}")).bearer(&ada.token).await.expect(204);
    }
    assert_eq!(app.count("select count(*) from user_keys").await, 0);
}

#[tokio::test]
async fn a_segwit_address_has_one_spelling() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let [.., (segwit, _)] = addresses();
    assert_eq!(app.give_address(&ada, &segwit.to_uppercase()).await.expect(201).field("id"), segwit);
    app.give_address(&ada, &segwit).await.expect(201);
    assert_eq!(app.count("select count(*) from user_keys").await, 1);
    for spelling in [segwit.clone(), segwit.to_uppercase()] {
        app.get(&format!("/users/me/keys/bit/{spelling}")).bearer(&ada.token).await.expect(200);
    }
    app.get("/users/me/keys/bit/nonsense").bearer(&ada.token).await.refused(404, "NotFound");
}

#[tokio::test]
async fn what_is_no_address_and_no_signature_is_refused() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for bad in ["", "bc1q", "14vV3aCHBeStb5bkenkNHbe2YAFinYdXgd", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"] {
        let answer = app.give_address(&ada, bad).await.refused(400, "ValidationFailed");
        assert_eq!(answer.bad_fields(), ["address"], "{bad}");
    }
    let [(plain, head), ..] = addresses();
    let token = app.give_address(&ada, &plain).await.expect(201).field("verificationToken");
    let good = sign(&token, head);
    let mut bytes = BASE64_STANDARD.decode(&good).expect("Base64");
    for (at, value) in [(0, 26), (0, 43), (0, bytes[0] + 4), (1, bytes[1] ^ 1), (40, bytes[40] ^ 1)] {
        let kept = std::mem::replace(&mut bytes[at], value);
        let bad = BASE64_STANDARD.encode(&bytes);
        app.prove_key(&ada, &format!("bit/{plain}"), &bad).await.refused(403, "InvalidSignature");
        bytes[at] = kept;
    }
    for bad in [String::new(), "%".into(), good[..80].to_owned(), "A".repeat(60_000)] {
        app.prove_key(&ada, &format!("bit/{plain}"), &bad).await.refused(403, "InvalidSignature");
    }
    app.prove_key(&ada, &format!("bit/{plain}"), &good).await.expect(200);
}

#[tokio::test]
async fn an_address_that_others_gave_is_theirs_who_prove_it() {
    let app = TestApp::start().await;
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    let [(plain, head), ..] = addresses();
    let of_eve = app.give_address(&eve, &plain).await.expect(201).json();
    let of_ada = app.give_address(&ada, &plain).await.expect(201).json();
    let signature = |given: &Value| sign(given["verificationToken"].as_str().expect("a text"), head);
    let path = format!("bit/{plain}");
    app.prove_key(&eve, &path, &signature(&of_ada)).await.refused(403, "InvalidSignature");
    app.prove_key(&ada, &path, &signature(&of_ada)).await.expect(200);
    app.prove_key(&eve, &path, &signature(&of_eve)).await.refused(409, "KeyTaken");
}
