//! Tokens that an attacker makes or bends: rows 4 and 5 of the list.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::harness::token::{claims, encode, header};
use crate::harness::{Person, TestApp};

/// Nothing of this service takes the token.
async fn is_refused_everywhere(app: &TestApp, token: &str) {
    app.me(token).await.refused(401, "TokenInvalid");
    app.grant_by_refresh(token).await.refused(401, "InvalidRefreshToken");
}

/// A signature of HMAC over the person's own claims.
fn hmac(ada: &Person, header: &Header, secret: &[u8]) -> String {
    jsonwebtoken::encode(header, &claims(&ada.token), &EncodingKey::from_secret(secret)).expect("a token")
}

#[tokio::test]
async fn the_public_key_does_not_serve_as_an_hmac_secret() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.published_key().await;
    let bytes = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(key[name].as_str().expect("base64url")).expect("base64url");
    let point = [&[4], bytes("x").as_slice(), &bytes("y")].concat();
    // RFC 5480: what `openssl pkey -pubout` prints is this prefix and the point.
    let prefix = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").expect("hex");
    let der = [prefix, point.clone()].concat();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::prelude::BASE64_STANDARD.encode(&der)
    );
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let header = Header { alg: algorithm, ..app.token_header() };
        for secret in [&point, &der, pem.as_bytes(), key.to_string().as_bytes(), &bytes("x"), b""] {
            is_refused_everywhere(&app, &hmac(&ada, &header, secret)).await;
        }
    }
}

#[tokio::test]
async fn a_token_without_a_signature_is_none() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (said, mut head) = (claims(&ada.token), header(&ada.token));
    let signature = ada.token.rsplit('.').next().expect("a signature").to_owned();
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        head["alg"] = json!(algorithm);
        for signature in ["", &signature] {
            is_refused_everywhere(&app, &format!("{}.{}.{signature}", encode(&head), encode(&said))).await;
        }
    }
    let (unsigned, _) = ada.token.rsplit_once('.').expect("three parts");
    for bent in [unsigned.to_owned(), format!("{unsigned}."), format!("{unsigned}.AAAA")] {
        is_refused_everywhere(&app, &bent).await;
    }
}

#[tokio::test]
async fn a_changed_claim_breaks_the_signature() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let mut said = claims(&ada.token);
    said["sub"] = json!(bob.id);
    let parts: Vec<&str> = ada.token.split('.').collect();
    is_refused_everywhere(&app, &format!("{}.{}.{}", parts[0], encode(&said), parts[2])).await;
}

#[tokio::test]
async fn a_key_of_the_attackers_own_is_foreign_whatever_it_is_called() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    // Another installation's key, made by our own code.
    let other = TestApp::start().await;
    let (foreign, signer) = other.app.signing_keys.signer();
    let sign = |header: &Header| jsonwebtoken::encode(header, &claims(&ada.token), signer).expect("a token");
    is_refused_everywhere(&app, &sign(foreign)).await;
    is_refused_everywhere(&app, &sign(&app.token_header())).await;
    for kid in [None, Some(""), Some("../../etc/passwd"), Some("' or 1=1 --")] {
        is_refused_everywhere(&app, &sign(&Header { kid: kid.map(Into::into), ..app.token_header() })).await;
    }
    // Keys that a token brings along or points to count for nothing (RFC 7515 sections 4.1.2 and 4.1.3).
    let jwk = other.app.signing_keys.jwks().keys[0].clone();
    is_refused_everywhere(&app, &sign(&Header { jwk: Some(jwk.clone()), kid: None, ..app.token_header() })).await;
    is_refused_everywhere(&app, &sign(&Header { jwk: Some(jwk), ..app.token_header() })).await;
    let jku = format!("http://{}/.well-known/jwks.json", other.address);
    is_refused_everywhere(&app, &sign(&Header { jku: Some(jku), ..foreign.clone() })).await;
}

#[tokio::test]
async fn a_token_of_another_issuer_is_foreign_even_under_our_key() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for issuer in [json!("https://evil.example"), json!("https://accounts.example/"), json!(null), json!(7)] {
        let token = app.resigned(&ada, &json!({"iss": issuer}));
        app.me(&token).await.refused(401, "TokenInvalid");
    }
    app.me(&app.resigned(&ada, &json!({}))).await.expect(200);
}

#[tokio::test]
async fn a_claim_of_a_wrong_type_is_not_an_absent_claim() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for changes in [
        json!({"exp": "9999999999"}),
        json!({"exp": null}),
        json!({"exp": 1e300}),
        json!({"exp": [9_999_999_999_i64]}),
        json!({"iat": "0"}),
        json!({"iat": null}),
        json!({"sub": null}),
        json!({"sub": 7}),
        json!({"sub": "admin"}),
        json!({"jti": null}),
        json!({"jti": "not-a-uuid"}),
        json!({"aud": null}),
        json!({"aud": 7}),
    ] {
        let answer = app.me(&app.resigned(&ada, &changes)).await;
        assert_eq!(answer.refusal(), (401, "TokenInvalid".into()), "{changes}");
    }
}

#[tokio::test]
async fn a_token_for_somebody_else_opens_nothing_here() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for audience in
        [json!(["qb2"]), json!(["stake"]), json!(["nodes"]), json!(["refresh"]), json!(["manager"]), json!([])]
    {
        let token = app.resigned(&ada, &json!({"aud": audience}));
        app.me(&token).await.refused(403, "Forbidden");
    }
}

#[tokio::test]
async fn a_token_whose_row_is_another_users_opens_nothing() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    for changes in [
        json!({"sub": bob.id}),
        json!({"jti": claims(&bob.token)["jti"]}),
        json!({"jti": "00000000-0000-4000-8000-000000000000"}),
        json!({"sub": "user-00000000-0000-4000-8000-000000000000"}),
    ] {
        app.me(&app.resigned(&ada, &changes)).await.refused(401, "TokenInvalid");
    }
}

#[tokio::test]
async fn an_account_token_dressed_as_a_refresh_token_needs_a_live_key() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let (bobs_key, _) = app.client_key(&bob).await;
    let refresh = |client: &Value, generation: Value| {
        app.resigned(&ada, &json!({"aud": ["refresh"], "client_id": client, "generation": generation}))
    };
    for token in [
        refresh(&json!(null), json!(0)),
        refresh(&json!("0".repeat(40)), json!(0)),
        refresh(&json!(bobs_key), json!(0)),
        refresh(&json!(bobs_key), json!("0")),
    ] {
        app.grant_by_refresh(&token).await.refused(401, "InvalidRefreshToken");
    }
    let (adas_key, _) = app.client_key(&ada).await;
    for generation in [json!(null), json!(-1), json!(1)] {
        app.grant_by_refresh(&refresh(&json!(adas_key), generation)).await.refused(401, "InvalidRefreshToken");
    }
}
