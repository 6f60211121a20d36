//! `GET /.well-known/jwks.json`: everything a foreign service needs to trust our tokens.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::harness::token::{claims, header};
use crate::harness::{Person, TestApp};
use bloq_accounts::app::App;
use bloq_accounts::config;
use bloq_accounts::random::Random;

/// Verifies a token with what is published and nothing else, as the Nodes service would.
async fn verified(app: &TestApp, token: &str, audience: &str) -> jsonwebtoken::errors::Result<Value> {
    let set: JwkSet =
        serde_json::from_value(app.get("/.well-known/jwks.json").await.expect(200).json()).expect("a set");
    let head = jsonwebtoken::decode_header(token)?;
    let key = set.find(head.kid.as_deref().expect("a kid")).expect("the key is published");
    let algorithm: Algorithm = key.common.key_algorithm.expect("an alg").to_string().parse()?;
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[audience]);
    validation.set_issuer(&["https://accounts.example"]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // The tests' clock stands in March 2026.
    validation.validate_exp = false;
    Ok(jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(key)?, &validation)?.claims)
}

async fn everybody_can_verify(app: &TestApp, ada: &Person) {
    let (access, refresh) = app.grant(&app.client_key(ada).await).await;
    for (token, audience) in [(&ada.token, "nodes"), (&ada.token, "connect"), (&access, "nodes"), (&refresh, "refresh")]
    {
        assert_eq!(verified(app, token, audience).await.expect("a good token"), claims(token));
    }
    assert!(verified(app, &access, "accounts").await.is_err(), "it is not for us");
    let (head, _) = ada.token.rsplit_once('.').expect("three parts");
    let (_, signature) = access.rsplit_once('.').expect("three parts");
    assert!(verified(app, &format!("{head}.{signature}"), "nodes").await.is_err(), "a signature fits one token");
}

#[tokio::test]
async fn everybody_can_verify_a_token_with_the_published_key() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    everybody_can_verify(&app, &ada).await;
}

#[tokio::test]
async fn an_operator_may_choose_eddsa() {
    let app = TestApp::start_with(|config| config.tokens.algorithm = config::Algorithm::EdDSA).await;
    let ada = app.person("ada").await;
    assert_eq!(header(&ada.token)["alg"], "EdDSA");
    let key = app.published_key().await;
    assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA")));
    everybody_can_verify(&app, &ada).await;
    app.me(&ada.token).await.expect(200);
}

#[tokio::test]
async fn the_published_key_is_public_and_complete() {
    let app = TestApp::start().await;
    let key = app.published_key().await;
    let expected = json!({
        "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": key["kid"], "x": key["x"], "y": key["y"],
    });
    assert_eq!(key, expected, "and no `d`");
    for coordinate in ["x", "y"] {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(key[coordinate].as_str().expect("a coordinate")).expect("base64url");
        assert_eq!(bytes.len(), 32);
    }
}

#[tokio::test]
async fn the_key_stays_over_a_restart_and_is_shared_by_replicas() {
    let app = TestApp::start().await;
    let key = app.published_key().await;
    let replica = app.replica().await;
    assert_eq!(replica.published_key().await, key);
    assert_eq!(app.restart().await.published_key().await, key);
}

#[tokio::test]
async fn a_key_keeps_its_algorithm_when_the_configuration_changes() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let replica = app.replica_with(|config| config.tokens.algorithm = config::Algorithm::EdDSA).await;
    replica.me(&ada.token).await.expect(200);
    assert_eq!(replica.published_key().await["alg"], "ES256");
}

#[tokio::test]
async fn the_private_key_is_stored_sealed() {
    let app = TestApp::start().await;
    let stored = app.text("select encode(sealed_private_key, 'hex') from signing_keys").await;
    // PKCS #8 begins with a sequence, version 0 and the algorithm's object identifier.
    assert!(!stored.contains("020100301306072a8648ce3d0201"), "{stored}");
    let shown = app.text("select public_jwk::text from signing_keys").await;
    assert!(!shown.contains("\"d\""), "{shown}");
}

#[tokio::test]
async fn a_server_with_another_master_key_refuses_to_start_and_says_why() {
    let app = TestApp::start().await;
    let mut config = app.config.clone();
    config.server.master_key = "0e".repeat(32).into();
    let refusal = App::build(&config, app.database_url(), app.clock.clone(), Random::default()).await;
    let message = refusal.err().map(|error| format!("{error:#}")).expect("it does not start");
    assert!(message.contains("server.master_key"), "{message}");
    assert_eq!(app.count("select count(*) from signing_keys").await, 1, "and it makes no key of its own");
}
