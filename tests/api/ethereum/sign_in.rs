//! The JSON body of `POST /auth`: a token for the staking routes.

use bloq_accounts::users::{LoginName, NewName};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::token::claims;
use crate::harness::wallet::{Wallet, message, now, stating, twin};
use crate::harness::{Person, TestApp, behind_a_proxy, count, together};

/// Somebody with an enabled address.
async fn staker(app: &TestApp) -> (Person, Wallet) {
    let (ada, wallet) = (app.person("ada").await, Wallet::new(1));
    app.enable(&ada.id, &wallet).await;
    (ada, wallet)
}

#[tokio::test]
async fn a_wallet_gets_a_token_for_the_staking_routes_and_for_nothing_else() {
    let app = TestApp::start().await;
    let (ada, wallet) = staker(&app).await;
    let nonce = app.nonce(&wallet).await;
    let answer = app.sign_in(&wallet.proof(&app, &nonce)).await.expect(200);
    let token = answer.field("token");
    assert_eq!(answer.json(), json!({"token": token}));
    let said = claims(&token);
    let expected = json!({
        "iss": "https://accounts.example", "sub": ada.id, "aud": ["stake"], "address": wallet.address(),
        "iat": 1_772_712_000, "exp": 1_772_712_000 + 43_200, "jti": said["jti"],
    });
    assert_eq!(said, expected);
    app.me(&token).await.refused(403, "Forbidden");
    app.delete("/auth").bearer(&token).await.refused(403, "Forbidden");
    app.grant_by_refresh(&token).await.refused(401, "InvalidRefreshToken");
    app.app.signing_keys.verifier(app.token_header().kid.as_deref().expect("a kid")).expect("the published key");
}

#[tokio::test]
async fn the_address_may_be_spelled_in_three_ways_in_message_and_body() {
    let app = TestApp::start().await;
    let (_, wallet) = staker(&app).await;
    for posted in [wallet.address(), wallet.lower_case()] {
        for written in [wallet.address(), wallet.lower_case()] {
            for end in ["", "\n"] {
                let (nonce, now) = (app.nonce(&wallet).await, now(&app));
                let signature = wallet.sign(&(message(&written, &nonce, &now) + end));
                let body = json!({"address": posted, "service": "stake", "signature": signature, "signedAt": now});
                app.sign_in(&body).await.expect(200);
            }
        }
    }
}

#[tokio::test]
async fn both_names_of_the_service_and_both_ways_to_write_v_are_taken() {
    let app = TestApp::start().await;
    let (_, wallet) = staker(&app).await;
    for service in ["stake", "staking"] {
        for small in [false, true] {
            let nonce = app.nonce(&wallet).await;
            let mut body = wallet.proof(&app, &nonce);
            body["service"] = service.into();
            if small {
                let signature = body["signature"].as_str().expect("a text").to_owned();
                let v = if signature.ends_with("1b") { "00" } else { "01" };
                body["signature"] = format!("{}{v}", &signature[..130]).into();
            }
            app.sign_in(&body).await.expect(200);
        }
    }
}

#[tokio::test]
async fn an_address_that_is_not_enabled_is_nobody() {
    let app = TestApp::start().await;
    let (ada, wallet) = staker(&app).await;
    let (stranger, linked) = (Wallet::new(2), Wallet::new(3));
    app.link(&ada, &linked).await;
    let nonce = app.nonce(&wallet).await;
    app.sign_in(&stranger.proof(&app, &nonce)).await.refused(401, "UserNotFound");
    app.sign_in(&linked.proof(&app, &nonce)).await.refused(401, "UserNotFound");
    app.disable(&ada.id, &wallet).await;
    let answer = app.sign_in(&wallet.proof(&app, &nonce)).await.refused(401, "UserNotFound");
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"bloq-accounts\"");
}

#[tokio::test]
async fn a_nonce_of_before_a_disabling_is_no_good_after_it() {
    let app = TestApp::start().await;
    let (ada, wallet) = staker(&app).await;
    let nonce = app.nonce(&wallet).await;
    app.disable(&ada.id, &wallet).await;
    app.enable(&ada.id, &wallet).await;
    app.sign_in(&wallet.proof(&app, &nonce)).await.refused(403, "InvalidSignature");
    app.stake(&wallet).await;
}

#[tokio::test]
async fn a_signature_of_anything_else_is_invalid() {
    let app = TestApp::start().await;
    let (_, wallet) = staker(&app).await;
    let (nonce, now) = (app.nonce(&wallet).await, now(&app));
    let good = wallet.proof(&app, &nonce);
    let address = wallet.address();
    let signed = |text: &str| wallet.sign(text);
    let text = message(&address, &nonce, &now);
    let forged: [(&str, String); 12] = [
        ("another key", Wallet::new(2).sign(&text)),
        ("the twin with a high s", twin(good["signature"].as_str().expect("a text"))),
        ("nothing", format!("0x{}", "00".repeat(65))),
        ("everything", format!("0x{}", "ff".repeat(65))),
        ("a nonce of nobody", signed(&message(&address, "Qd4b6cs9OUOEoXiSx", &now))),
        ("another time", signed(&message(&address, &nonce, "2026-03-05T12:00:00.124Z"))),
        ("another address", signed(&message(&Wallet::new(2).address(), &nonce, &now))),
        ("another statement", signed(&stating("Signing In With Ethereum on Blocq", &address, &nonce, &now))),
        ("another domain", signed(&text.replacen("api.bloq.com", "api.b1oq.com", 1))),
        ("another chain", signed(&text.replace("Chain ID: 1", "Chain ID: 5"))),
        ("two line ends", signed(&format!("{text}\n\n"))),
        ("an upper-case address", signed(&message(&address.to_uppercase().replacen('X', "x", 1), &nonce, &now))),
    ];
    for (what, signature) in forged {
        let mut body = good.clone();
        body["signature"] = signature.into();
        let answer = app.sign_in(&body).await;
        assert_eq!(answer.refusal(), (403, "InvalidSignature".into()), "{what}: {answer:?}");
    }
    app.sign_in(&good).await.expect(200);
    app.sign_in(&good).await.refused(403, "InvalidSignature");
}

#[tokio::test]
async fn a_signature_is_good_for_ten_minutes_back_and_two_ahead() {
    let app = TestApp::start().await;
    let (_, wallet) = staker(&app).await;
    let minutes = |minutes: i64| TimeDelta::minutes(minutes);
    let tick = TimeDelta::milliseconds(1);
    for (away, is_good) in
        [(-minutes(10), true), (-minutes(10) - tick, false), (minutes(2), true), (minutes(2) + tick, false)]
    {
        let nonce = app.nonce(&wallet).await;
        let at = bloq_accounts::clock::Timestamp(app.now() + away).to_string();
        let signature = wallet.sign(&message(&wallet.address(), &nonce, &at));
        let body = json!({"address": wallet.address(), "service": "stake", "signature": signature, "signedAt": at});
        let answer = app.sign_in(&body).await;
        if is_good {
            answer.expect(200);
        } else {
            assert_eq!(answer.refused(403, "InvalidSignature").bad_fields(), ["signedAt"], "{away}");
        }
    }
}

#[tokio::test]
async fn a_nonce_is_over_after_ten_minutes() {
    let app = TestApp::start().await;
    let (_, wallet) = staker(&app).await;
    let nonce = app.nonce(&wallet).await;
    app.advance(TimeDelta::minutes(10) - TimeDelta::milliseconds(1));
    let kept = wallet.proof(&app, &nonce);
    app.advance(TimeDelta::milliseconds(1));
    app.sign_in(&kept).await.refused(403, "InvalidSignature");
    app.stake(&wallet).await;
}

#[tokio::test]
async fn of_twenty_who_use_one_nonce_at_once_one_gets_a_token_at_two_replicas() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let (_, wallet) = staker(&app).await;
    for _ in 0..3 {
        let nonce = app.nonce(&wallet).await;
        let proof = wallet.proof(&app, &nonce);
        let calls = (0..20).map(|number| if number % 2 == 0 { app.sign_in(&proof) } else { replica.sign_in(&proof) });
        let answers = together(calls).await;
        assert_eq!((count(&answers, 200), count(&answers, 403)), (1, 19), "{answers:?}");
    }
}

#[tokio::test]
async fn only_the_one_who_gets_the_token_was_here() {
    let app = TestApp::start().await;
    let (_, wallet) = staker(&app).await;
    let proof = wallet.proof(&app, &app.nonce(&wallet).await);
    let before = app.count("select count(*) from log_ins").await;
    let calls = (0..20).map(|number| app.sign_in(&proof).header("user-agent", &format!("agent {number}")));
    let answers = together(calls).await;
    assert_eq!(count(&answers, 200), 1, "{answers:?}");
    assert_eq!(app.count("select count(*) from log_ins").await, before + 1);
}

#[tokio::test]
async fn who_is_deleted_while_signing_in_is_nobody() {
    let app = TestApp::start().await;
    let (_, wallet) = staker(&app).await;
    let proof = wallet.proof(&app, &app.nonce(&wallet).await);
    let mut waiting = None;
    let mut connection = app.connection().await;
    let mut closed = sqlx::Connection::begin(&mut connection).await.expect("a transaction");
    sqlx::query("delete from users").execute(&mut *closed).await.expect("it is deleted");
    waiting.replace(tokio::spawn(std::future::IntoFuture::into_future(app.sign_in(&proof))));
    app.until_waiting(1).await;
    closed.commit().await.expect("it is gone");
    waiting.expect("it waits").await.expect("no panic").refused(401, "UserNotFound");
}

#[tokio::test]
async fn a_blocked_or_waiting_user_is_told_so_after_a_good_signature_only() {
    let app = TestApp::start().await;
    let (ada, wallet) = staker(&app).await;
    let nonce = app.nonce(&wallet).await;
    let mut forged = wallet.proof(&app, &nonce);
    forged["signature"] = Wallet::new(2).sign("x").into();
    app.block(&ada.id, "admin").await;
    app.sign_in(&forged).await.refused(403, "InvalidSignature");
    app.sign_in(&wallet.proof(&app, &nonce)).await.refused(403, "UserBlocked");
    app.execute("update users set blocked_at = null, block_cause = null").await;
    app.sign_in(&wallet.proof(&app, &nonce)).await.expect(200);

    let (id, _) = app.invited(NewName::Name(LoginName::parse("bob").expect("a name"))).await;
    let bobs = Wallet::new(3);
    app.enable(&id, &bobs).await;
    let nonce = app.nonce(&bobs).await;
    app.sign_in(&bobs.proof(&app, &nonce)).await.refused(403, "ActivationRequired");
}

#[tokio::test]
async fn a_block_by_failures_bars_the_password_and_not_the_wallet() {
    let app = TestApp::start().await;
    let (ada, wallet) = staker(&app).await;
    app.block(&ada.id, "failures").await;
    app.stake(&wallet).await;
}

#[tokio::test]
async fn failures_are_throttled_by_wallet_and_client_and_shut_out_nobody_else() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let (_, wallet) = staker(&app).await;
    let other = Wallet::new(2);
    app.enable(&app.sign_up("bob@example.com").await, &other).await;
    let nonce = app.nonce(&wallet).await;
    let mut forged = wallet.proof(&app, &nonce);
    forged["signature"] = other.sign("x").into();
    for number in 0..30 {
        // The same wallet, however it is spelled.
        forged["address"] = if number % 2 == 0 { wallet.address() } else { wallet.lower_case() }.into();
        app.sign_in(&forged).from("192.0.2.1").await.refused(403, "InvalidSignature");
    }
    let proof = wallet.proof(&app, &nonce);
    let refused = app.sign_in(&proof).from("192.0.2.1").await.refused(429, "TooManyRequests");
    assert_eq!(refused.header("retry-after"), "2");
    let others = other.proof(&app, &app.nonce(&other).await);
    app.sign_in(&others).from("192.0.2.1").await.refused(403, "ActivationRequired");
    app.sign_in(&proof).from("192.0.2.2").await.expect(200);
    app.advance(TimeDelta::seconds(2));
    let again = wallet.proof(&app, &app.nonce(&wallet).await);
    app.sign_in(&again).from("192.0.2.1").await.expect(200);
}

#[tokio::test]
async fn a_body_that_is_no_sign_in_is_refused_field_by_field() {
    let app = TestApp::start().await;
    let (_, wallet) = staker(&app).await;
    let good = wallet.proof(&app, &app.nonce(&wallet).await);
    for (field, bad) in [
        ("address", json!("0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed")),
        ("address", json!("ada@example.com")),
        ("address", Value::Null),
        ("service", json!("nodes")),
        ("service", json!(1)),
        ("signature", json!("0x00")),
        ("signature", json!(good["signature"].as_str().expect("a text")[2..])),
        ("signedAt", json!("yesterday")),
        ("signedAt", json!(1_772_712_000)),
        ("signedAt", json!("2026-03-05T12:00:00.123Z\nResources:")),
        ("password", json!("x")),
    ] {
        let mut body = good.clone();
        body[field] = bad.clone();
        let answer = app.sign_in(&body).await.refused(400, "ValidationFailed");
        assert_eq!(answer.bad_fields(), [field], "{bad}");
    }
    let answer = app.sign_in(&json!({})).await.refused(400, "ValidationFailed");
    assert_eq!(answer.bad_fields(), ["address", "service", "signature", "signedAt"]);
    let with = |body: &'static str| app.post("/auth").header("content-type", "application/json").body(body);
    with("{\"address\": ").await.refused(400, "MalformedBody");
    with("[]").await.refused(400, "ValidationFailed");
    with("").await.refused(401, "InvalidCredentials");
    app.post("/auth").body("address=0x").await.refused(415, "UnsupportedMediaType");
    app.post("/auth").header("authorization", "Basic ???").json(&good).await.refused(401, "InvalidCredentials");
    app.sign_in(&good).bearer("not looked at").await.expect(200);
}

#[tokio::test]
async fn a_body_beside_a_password_is_not_looked_at() {
    let app = TestApp::start().await;
    let (ada, wallet) = staker(&app).await;
    let proof = wallet.proof(&app, &app.nonce(&wallet).await);
    let answer = app.sign_in(&proof).basic(&ada.email, &ada.password).await.expect(200);
    assert_eq!(claims(&answer.field("accessToken"))["aud"], json!(["accounts", "nodes", "connect"]));
    app.sign_in(&proof).basic(&ada.email, "wrong").await.refused(401, "InvalidCredentials");
    app.sign_in(&proof).await.expect(200);
}

#[tokio::test]
async fn a_sign_in_is_an_event_of_the_user_also_when_it_is_refused() {
    let app = TestApp::start().await;
    let (ada, wallet) = staker(&app).await;
    let nonce = app.nonce(&wallet).await;
    let proof = wallet.proof(&app, &nonce);
    for status in [200, 403] {
        app.sign_in(&proof).await.expect(status);
    }
    let events = app.events_of(&ada).await;
    let told: Vec<_> = events.iter().filter(|event| event["input"]["path"] == "/auth").collect();
    let statuses: Vec<_> = told.iter().map(|event| event["output"]["httpStatusCode"].clone()).collect();
    assert_eq!(statuses, [200, 200, 403], "{told:?}");
    let written = app.text("select coalesce(string_agg(e::text, ' '), '') from events e").await;
    let signature = proof["signature"].as_str().expect("a text");
    assert!(!written.contains(&nonce) && !written.contains(&signature[2..20]), "{written}");
}

#[tokio::test]
async fn whoever_tries_an_address_is_seen_by_its_user_whatever_the_answer() {
    let app = TestApp::start().await;
    let (ada, enabled) = staker(&app).await;
    let linked = Wallet::new(7);
    app.link(&ada, &linked).await;
    let mut forged = enabled.proof(&app, &app.nonce(&enabled).await);
    forged["signature"] = linked.sign("x").into();
    for _ in 0..30 {
        app.sign_in(&forged).await.refused(403, "InvalidSignature");
    }
    app.sign_in(&forged).await.refused(429, "TooManyRequests");
    app.get(&format!("/users/{}/nonce", linked.address())).await.refused(404, "NotFound");
    app.sign_in(&linked.proof(&app, "Qd4b6cs9OUOEoXiSx")).await.refused(401, "UserNotFound");
    let seen: Vec<_> =
        app.events_of(&ada).await.iter().map(|event| event["output"]["httpStatusCode"].clone()).collect();
    for status in [429, 404, 401] {
        assert!(seen.contains(&json!(status)), "{status}: {seen:?}");
    }
}

#[tokio::test]
async fn a_sign_in_from_somewhere_new_is_told_to_the_user() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let (ada, wallet) = staker(&app).await;
    app.deliver_mail().await;
    let proof = wallet.proof(&app, &app.nonce(&wallet).await);
    app.sign_in(&proof).from("198.51.100.7").await.expect(200);
    assert_eq!(app.newest_subject(&ada.email).await, "A new log-in to your account");
}
