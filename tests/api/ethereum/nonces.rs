//! What a wallet is to sign.

use chrono::TimeDelta;
use reqwest::Method;

use crate::harness::wallet::Wallet;
use crate::harness::{TestApp, together};

#[tokio::test]
async fn whoever_holds_an_enabled_address_gets_a_nonce_at_four_places() {
    let app = TestApp::start().await;
    let (ada, wallet) = (app.person("ada").await, Wallet::new(1));
    app.enable(&ada.id, &wallet).await;
    let nonce = app.nonce(&wallet).await;
    assert!(nonce.len() == 17 && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{nonce}");
    for address in [wallet.address(), wallet.lower_case()] {
        for path in [format!("/users/{address}/nonce"), format!("/auth/users/{address}/nonce")] {
            for method in [Method::POST, Method::GET] {
                let answer = app.call(method, &path).header("content-type", "application/json").await.expect(200);
                assert_eq!(answer.json(), serde_json::json!({"nonce": nonce}), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn there_is_no_nonce_for_an_address_that_is_not_enabled_known_or_not() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (unknown, linked, disabled) = (Wallet::new(1), Wallet::new(2), Wallet::new(3));
    app.link(&ada, &linked).await;
    app.enable(&ada.id, &disabled).await;
    app.nonce(&disabled).await;
    app.disable(&ada.id, &disabled).await;
    for wallet in [unknown, linked, disabled] {
        for path in ["users", "auth/users"] {
            let refused = app.post(&format!("/{path}/{}/nonce", wallet.address())).await.refused(404, "NotFound");
            assert_eq!(refused.bad_fields(), ["publicAddress"], "what is missing is said");
            app.get(&format!("/{path}/{}/nonce", wallet.address())).await.refused(404, "NotFound");
        }
    }
    assert_eq!(app.count("select count(*) from wallet_nonces").await, 0);
}

#[tokio::test]
async fn what_is_no_address_is_said_to_be_none() {
    let app = TestApp::start().await;
    let address = Wallet::new(1).address();
    for bad in [
        address.to_uppercase().replacen('X', "x", 1),
        address.to_uppercase(),
        address[2..].to_owned(),
        address[..41].to_owned(),
        format!("{address}0"),
        "ada".into(),
        "me".into(),
        "%ff".into(),
        "0x%00".into(),
    ] {
        let answer = app.post(&format!("/users/{bad}/nonce")).await.refused(400, "ValidationFailed");
        assert_eq!(answer.bad_fields(), ["publicAddress"], "{bad}");
    }
}

#[tokio::test]
async fn an_unused_nonce_is_answered_again_until_half_its_life() {
    let app = TestApp::start().await;
    let (ada, wallet) = (app.person("ada").await, Wallet::new(1));
    app.enable(&ada.id, &wallet).await;
    let first = app.nonce(&wallet).await;
    app.advance(TimeDelta::minutes(5) - TimeDelta::milliseconds(1));
    assert_eq!(app.nonce(&wallet).await, first);
    app.advance(TimeDelta::milliseconds(1));
    let second = app.nonce(&wallet).await;
    assert_ne!(second, first);
    app.sign_in(&wallet.proof(&app, &second)).await.expect(200);
    assert_ne!(app.nonce(&wallet).await, second, "a used one is over");
}

#[tokio::test]
async fn whoever_asks_takes_nothing_from_somebody_who_is_about_to_sign() {
    let app = TestApp::start().await;
    let (ada, wallet) = (app.person("ada").await, Wallet::new(1));
    app.enable(&ada.id, &wallet).await;
    for late in [TimeDelta::minutes(5), TimeDelta::minutes(10) - TimeDelta::milliseconds(1)] {
        let first = app.nonce(&wallet).await;
        app.advance(late);
        let proof = wallet.proof(&app, &first);
        assert_ne!(app.nonce(&wallet).await, first, "a stranger asks");
        assert_eq!(app.count("select count(*) from wallet_nonces").await, 1);
        app.sign_in(&proof).await.expect(200);
        app.sign_in(&proof).await.refused(403, "InvalidSignature");
    }
    let first = app.nonce(&wallet).await;
    app.advance(TimeDelta::minutes(5));
    app.nonce(&wallet).await;
    app.advance(TimeDelta::minutes(5));
    app.sign_in(&wallet.proof(&app, &first)).await.refused(403, "InvalidSignature");
}

#[tokio::test]
async fn of_two_nonces_that_live_each_is_good_for_one_token() {
    let app = TestApp::start().await;
    let (ada, wallet) = (app.person("ada").await, Wallet::new(1));
    app.enable(&ada.id, &wallet).await;
    for newer_first in [false, true] {
        let older = app.nonce(&wallet).await;
        app.advance(TimeDelta::minutes(5));
        let newer = app.nonce(&wallet).await;
        let mut proofs = [wallet.proof(&app, &older), wallet.proof(&app, &newer)];
        if newer_first {
            proofs.reverse();
        }
        for proof in &proofs {
            app.sign_in(proof).await.expect(200);
            app.sign_in(proof).await.refused(403, "InvalidSignature");
        }
        assert_eq!(app.count("select count(*) from wallet_nonces").await, 0);
    }
}

#[tokio::test]
async fn however_many_ask_there_is_one_row_and_one_nonce() {
    let app = TestApp::start_with(|config| config.rate_limit.nonces = 1000).await;
    let (ada, wallet) = (app.person("ada").await, Wallet::new(1));
    app.enable(&ada.id, &wallet).await;
    for _ in 0..3 {
        let asked = together((0..40).map(|_| app.post(&format!("/users/{}/nonce", wallet.lower_case())))).await;
        let mut nonces: Vec<String> = asked.into_iter().map(|answer| answer.expect(200).field("nonce")).collect();
        nonces.dedup();
        assert_eq!(nonces.len(), 1);
        assert_eq!(app.count("select count(*) from wallet_nonces").await, 1);
        app.advance(TimeDelta::minutes(6));
    }
    app.advance(TimeDelta::minutes(10));
    app.sweep().await;
    assert_eq!(app.count("select count(*) from wallet_nonces").await, 0);
}

#[tokio::test]
async fn whose_address_it_is_sees_who_asked_and_a_flood_is_one_row() {
    let app = TestApp::start_with(|config| config.rate_limit.nonces = 1000).await;
    let (ada, wallet) = (app.person("ada").await, Wallet::new(1));
    app.enable(&ada.id, &wallet).await;
    let path = format!("/users/{}/nonce", wallet.address());
    for _ in 0..40 {
        app.get(&path).await.expect(200);
    }
    let events = app.events_of(&ada).await;
    let rows = |path: &str| events.iter().filter(|event| event["input"]["path"] == path).collect::<Vec<_>>();
    assert_eq!(rows(&path).len(), 30);
    let crowd = rows("/users/{publicAddress}/nonce");
    assert_eq!((crowd.len(), &crowd[0]["serviceData"]["count"]), (1, &10.into()), "{crowd:?}");
}
