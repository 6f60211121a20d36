//! `POST /auth/siwe`: an account token for a message that a wallet has put together.

use bloq_accounts::users::AccessLevel;
use chrono::TimeDelta;
use serde_json::json;

use crate::harness::token::claims;
use crate::harness::wallet::{Wallet, now, stating, twin};
use crate::harness::{Person, TestApp, count, together};

/// Somebody with an enabled address.
async fn staker(app: &TestApp) -> (Person, Wallet) {
    let (ada, wallet) = (app.person("ada").await, Wallet::new(1));
    app.enable(&ada.id, &wallet).await;
    (ada, wallet)
}

/// The shortest message of EIP-4361.
fn text(address: &str, nonce: &str, issued_at: &str) -> String {
    format!(
        "accounts.example wants you to sign in with your Ethereum account:\n{address}\n\n\n\
         URI: https://accounts.example\nVersion: 1\nChain ID: 1\nNonce: {nonce}\nIssued At: {issued_at}"
    )
}

impl TestApp {
    /// Signs in with a message of EIP-4361; answers the account token.
    pub async fn siwe_token(&self, wallet: &Wallet) -> String {
        let message = fine(self, wallet).await;
        self.siwe(&message, &wallet.sign(&message)).await.expect(200).field("accessToken")
    }
}

/// A message that is fine, with a nonce of now.
async fn fine(app: &TestApp, wallet: &Wallet) -> String {
    text(&wallet.address(), &app.nonce(wallet).await, &now(app))
}

#[tokio::test]
async fn a_wallet_gets_an_account_token_which_the_staking_routes_take_as_well() {
    let app = TestApp::start().await;
    let (ada, wallet) = staker(&app).await;
    let message = fine(&app, &wallet).await;
    let answer = app.siwe(&message, &wallet.sign(&message)).await.expect(200);
    let token = answer.field("accessToken");
    assert_eq!(answer.json(), json!({"accessToken": token}));
    let said = claims(&token);
    assert_eq!(
        (&said["sub"], &said["aud"], &said["address"]),
        (&json!(ada.id), &json!(["accounts", "nodes", "connect", "stake"]), &json!(wallet.address()))
    );
    assert_eq!(said["exp"].as_i64().expect("a number") - said["iat"].as_i64().expect("a number"), 43_200);
    assert_eq!(app.me(&token).await.expect(200).json()["id"], ada.id.as_str());
    app.delete("/auth").bearer(&token).await.expect(204);
    app.me(&token).await.refused(401, "TokenInvalid");
}

#[tokio::test]
async fn a_token_of_a_wallet_ends_with_a_new_password_and_tells_of_an_administrator() {
    let app = TestApp::start().await;
    let (root, wallet) = (app.named("root", AccessLevel::Admin).await, Wallet::new(1));
    app.enable(&root.id, &wallet).await;
    let message = fine(&app, &wallet).await;
    let token = app.siwe(&message, &wallet.sign(&message)).await.expect(200).field("accessToken");
    assert_eq!(claims(&token)["aud"], json!(["accounts", "nodes", "connect", "manager", "stake"]));
    app.get("/users").bearer(&token).await.expect(200);
    app.change_password(&root.token, &root.password, crate::harness::STRONGER).await.expect(200);
    app.me(&token).await.refused(401, "TokenInvalid");
}

#[tokio::test]
async fn a_message_for_somebody_else_or_another_time_is_refused_with_the_reason() {
    let app = TestApp::start().await;
    let (_, wallet) = staker(&app).await;
    let message = fine(&app, &wallet).await;
    let swap = |from: &str, to: &str| {
        let changed = message.replacen(from, to, 1);
        assert_ne!(changed, message, "{from}");
        changed
    };
    for (changed, reason) in [
        (swap("accounts.example wants", "accounts.examp1e wants"), "another domain"),
        (swap("accounts.example wants", "accounts.example:4000 wants"), "another domain"),
        (swap("accounts.example wants", "accounts.example@evil.example wants"), "another domain"),
        (swap("accounts.example wants", "http://accounts.example wants"), "two schemes"),
        (
            swap("URI: https://accounts.example", "URI: https://evil.example"),
            "a URI that is not at https://accounts.example",
        ),
        (swap("URI: https://accounts.example", "URI: http://accounts.example"), "a URI"),
        (swap("URI: https://accounts.example", "URI: https://u:p@accounts.example"), "a URI"),
        (swap("URI: https://accounts.example", "URI: https:\\\\accounts.example"), "a URI"),
        (swap("URI: https://accounts.example", "URI: https://accounts.example/ x"), "a URI"),
        (swap("URI: https://accounts.example", "URI: accounts"), "a URI"),
        (swap("URI: https://accounts.example", "URI: https://accounts.example.evil.example"), "a URI"),
        (swap("URI: https://accounts.example", "URI: https://accounts.example:8443"), "a URI"),
        (swap("URI: https://accounts.example", "URI: urn:accounts.example"), "a URI"),
        (swap("Chain ID: 1", "Chain ID: 5"), "another chain than 1"),
        (swap("12:00:00.123Z", "11:49:00.000Z"), "more than 10 minutes ago"),
        (swap("12:00:00.123Z", "12:03:00.000Z"), "more than 2 minutes ahead"),
        (format!("{message}\nExpiration Time: 2026-03-05T12:00:00.123Z"), "has expired"),
        (format!("{message}\nNot Before: 2026-03-05T12:00:00.124Z"), "not valid yet"),
    ] {
        let answer = app.siwe(&changed, &wallet.sign(&changed)).await.refused(403, "InvalidSignature");
        assert_eq!(answer.bad_fields(), ["message"], "{changed}");
        assert!(answer.field("message").contains(reason), "{reason}: {answer:?}");
    }
    app.siwe(&message, &wallet.sign(&message)).await.expect(200);
}

#[tokio::test]
async fn what_is_no_message_of_eip_4361_is_refused_with_the_reason() {
    let app = TestApp::start().await;
    let (_, wallet) = staker(&app).await;
    let message = fine(&app, &wallet).await;
    let swap = |from: &str, to: &str| message.replacen(from, to, 1);
    for changed in [
        String::new(),
        "\n".into(),
        "nonsense".into(),
        message[..message.len() - 40].to_owned(),
        swap("Version: 1", "Version: 2"),
        swap("Version: 1\n", ""),
        swap("URI: https://accounts.example\n", ""),
        swap("Chain ID: 1", "Chain ID: one"),
        swap("Chain ID: 1", "Chain ID: +1"),
        swap("Chain ID: 1", "Chain ID: 01"),
        swap("Chain ID: 1", "Chain ID: 99999999999999999999999999"),
        swap("Nonce: ", "Nonce: short"),
        swap("Nonce: ", "Nonce:"),
        swap("2026-03-05T12:00:00.123Z", "now"),
        swap("\n\n\n", "\n\n"),
        swap("\n\n\n", "\n\nOne\nTwo\n\n"),
        swap("\n", "\r\n"),
        swap(&wallet.address(), &wallet.address().to_uppercase().replacen('X', "x", 1)),
        format!("{message}\nResource: https://evil.example"),
        format!("{message}\nExpiration Time: tomorrow"),
        format!("{message}\nRequest ID: 1\nExpiration Time: 2026-03-05T13:00:00Z"),
        format!("{message}\n\n"),
        "a\n".repeat(20_000),
    ] {
        let answer = app.siwe(&changed, &wallet.sign(&changed)).await.refused(400, "ValidationFailed");
        assert_eq!(answer.bad_fields(), ["message"], "{changed}");
        assert!(answer.text.len() < 1000, "{answer:?}");
    }
    app.siwe(&message, "0x").await.refused(400, "ValidationFailed");
    app.post("/auth/siwe").json(&json!({"message": message})).await.refused(400, "ValidationFailed");
    app.post("/auth/siwe").json(&json!({"message": 1, "signature": 2, "x": 3})).await.refused(400, "ValidationFailed");
    app.siwe(&message, &wallet.sign(&message)).await.expect(200);
}

#[tokio::test]
async fn a_signature_of_another_key_text_or_nonce_is_invalid() {
    let app = TestApp::start().await;
    let (_, wallet) = staker(&app).await;
    let (message, other) = (fine(&app, &wallet).await, Wallet::new(2));
    let signature = wallet.sign(&message);
    app.siwe(&message, &other.sign(&message)).await.refused(403, "InvalidSignature");
    app.siwe(&message, &twin(&signature)).await.refused(403, "InvalidSignature");
    app.siwe(&format!("{message}\n"), &signature).await.refused(403, "InvalidSignature");
    let strange = text(&wallet.address(), "Qd4b6cs9OUOEoXiSx", &now(&app));
    app.siwe(&strange, &wallet.sign(&strange)).await.refused(403, "InvalidSignature");
    let unknown = text(&other.address(), "Qd4b6cs9OUOEoXiSx", &now(&app));
    app.siwe(&unknown, &other.sign(&unknown)).await.refused(401, "UserNotFound");
    app.siwe(&message, &signature).await.expect(200);
    app.siwe(&message, &signature).await.refused(403, "InvalidSignature");
}

#[tokio::test]
async fn of_twenty_who_use_one_nonce_at_either_place_one_gets_a_token() {
    let app = TestApp::start().await;
    let (_, wallet) = staker(&app).await;
    let nonce = app.nonce(&wallet).await;
    let message = text(&wallet.address(), &nonce, &now(&app));
    let (signature, proof) = (wallet.sign(&message), wallet.proof(&app, &nonce));
    let calls =
        (0..20).map(|number| if number % 2 == 0 { app.sign_in(&proof) } else { app.siwe(&message, &signature) });
    let answers = together(calls).await;
    assert_eq!((count(&answers, 200), count(&answers, 403)), (1, 19), "{answers:?}");
}

#[tokio::test]
async fn a_nonce_for_linking_signs_nobody_in() {
    let app = TestApp::start().await;
    let (ada, wallet) = staker(&app).await;
    let nonce = app.link_nonce(&ada, &wallet).await;
    let message = text(&wallet.address(), &nonce, &now(&app));
    app.siwe(&message, &wallet.sign(&message)).await.refused(403, "InvalidSignature");
    app.sign_in(&wallet.proof(&app, &nonce)).await.refused(403, "InvalidSignature");
}

#[tokio::test]
async fn an_empty_statement_is_none() {
    let app = TestApp::start().await;
    let (_, wallet) = staker(&app).await;
    let message = fine(&app, &wallet).await.replacen("\n\n\n", "\n\n\n\n", 1);
    app.siwe(&message, &wallet.sign(&message)).await.expect(200);
}

#[tokio::test]
async fn where_both_ways_name_one_domain_a_signature_for_one_is_none_for_the_other() {
    let app = TestApp::start_with(|config| config.wallet.siwe_domain = "api.bloq.com".into()).await;
    let (ada, wallet) = staker(&app).await;
    let nonce = app.nonce(&wallet).await;
    for statement in ["Signing In With Ethereum on Bloq", &format!("Link this address to Bloq account {}", ada.id)] {
        let text = stating(statement, &wallet.address(), &nonce, &now(&app));
        let answer = app.siwe(&text, &wallet.sign(&text)).await.refused(403, "InvalidSignature");
        assert!(answer.field("message").contains("for something else"), "{answer:?}");
    }
    let text = stating("Sign in to your account", &wallet.address(), &nonce, &now(&app));
    app.siwe(&text, &wallet.sign(&text)).await.expect(200);
}

#[tokio::test]
async fn the_times_of_a_message_hold_to_the_millisecond() {
    let app = TestApp::start().await;
    let (_, wallet) = staker(&app).await;
    let message = fine(&app, &wallet).await;
    let limited = format!("{message}\nExpiration Time: 2026-03-05T12:05:00.000Z\nNot Before: 2026-03-05T12:00:01.123Z");
    let signature = wallet.sign(&limited);
    app.siwe(&limited, &signature).await.refused(403, "InvalidSignature");
    app.advance(TimeDelta::seconds(1));
    app.siwe(&limited, &signature).await.expect(200);
}
