//! What one client address may do a minute, and what one client address is.

use bloq_accounts::config::Config;
use bloq_accounts::ratelimit::{Action, Network};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{Call, STRONG, TestApp, behind_a_proxy, count, sign_up_body, together};

/// A log-in that ends before its hash: what counts here is that somebody asked.
fn knock(app: &TestApp) -> Call {
    app.post("/auth")
}

/// Three log-ins a minute, from wherever the test says.
fn three(config: &mut Config) {
    behind_a_proxy(config);
    config.rate_limit.log_ins = 3;
}

/// Uses up the three log-ins of an address.
async fn spend(app: &TestApp, address: &str) {
    for _ in 0..3 {
        knock(app).from(address).await.expect(401);
    }
    knock(app).from(address).await.refused(429, "TooManyRequests");
}

#[tokio::test]
async fn every_action_has_its_own_allowance_to_the_very_last() {
    let app = TestApp::start().await;
    let home = Network::of([127, 0, 0, 1].into());
    let calls: [(Action, u32, &dyn Fn() -> Call, u16); 8] = [
        (Action::LogIn, 300, &|| knock(&app), 401),
        (Action::SignUp, 60, &|| app.post("/users").json(&json!({})), 400),
        (Action::Mail, 60, &|| app.post("/users/nobody/token"), 202),
        (Action::TokenGrant, 3000, &|| app.post("/auth/token").json(&json!({})), 400),
        (Action::Confirmation, 300, &|| app.delete("/users/me"), 401),
        (Action::Redemption, 300, &|| app.put("/users/nobody/token/x"), 400),
        (Action::Lookup, 300, &|| app.get("/users/nobody/keys/pgp.asc"), 404),
        (Action::Nonce, 300, &|| app.get("/users/nobody/nonce"), 400),
    ];
    for (action, allowance, call, status) in calls {
        for _ in 1..allowance {
            app.app.quotas.ask(action, home).unwrap_or_else(|_| panic!("{action:?} within the allowance"));
        }
        call().await.expect(status);
        assert_eq!(call().await.refused(429, "TooManyRequests").header("retry-after"), "1", "{action:?}");
    }
    // A minute gives the whole allowance back, and not more.
    app.advance(TimeDelta::minutes(1));
    for (action, allowance, call, status) in calls {
        for _ in 1..allowance {
            app.app.quotas.ask(action, home).unwrap_or_else(|_| panic!("{action:?} after a minute"));
        }
        call().await.expect(status);
        call().await.expect(429);
    }
}

#[tokio::test]
async fn retry_after_is_true_to_the_second() {
    let app = TestApp::start_with(|config| config.rate_limit.log_ins = 6).await;
    for _ in 0..6 {
        knock(&app).await.expect(401);
    }
    let says = async |seconds: &str| {
        assert_eq!(knock(&app).await.refused(429, "TooManyRequests").header("retry-after"), seconds);
    };
    says("10").await;
    app.advance(TimeDelta::seconds(1));
    says("9").await;
    app.advance(TimeDelta::milliseconds(500));
    says("9").await;
    app.advance(TimeDelta::milliseconds(8499));
    says("1").await;
    app.advance(TimeDelta::milliseconds(1));
    knock(&app).await.expect(401);
    says("10").await;
}

#[tokio::test]
async fn a_refusal_is_an_event_and_the_others_go_on() {
    let app = TestApp::start_with(|config| config.rate_limit.log_ins = 1).await;
    let ada = app.person("ada").await;
    let refused = app.post("/auth").basic(&ada.email, STRONG).await.refused(429, "TooManyRequests");
    assert_eq!(refused.field("requestId"), refused.header("x-request-id"));
    let row = app.row_of(&refused).await;
    assert_eq!((&row["status"], &row["path"], &row["ip"]), (&json!(429), &json!("/auth"), &json!("127.0.0.1")));
    // Whom the request names is not looked up: a flood must not cost more than its events.
    assert_eq!(row["user_id"], Value::Null);
    app.me(&ada.token).await.expect(200);
    app.post("/users").json(&sign_up_body("bob@example.com")).await.expect(201);
}

#[tokio::test]
async fn log_in_and_activation_hash_for_strangers_from_one_allowance() {
    let app = TestApp::start_with(|config| config.rate_limit.log_ins = 2).await;
    app.activate("nobody", STRONG, STRONG).await.refused(401, "InvalidCredentials");
    knock(&app).await.expect(401);
    app.activate("nobody", STRONG, STRONG).await.refused(429, "TooManyRequests");
    knock(&app).await.refused(429, "TooManyRequests");
}

#[tokio::test]
async fn one_address_spends_nothing_of_another() {
    let app = TestApp::start_with(three).await;
    spend(&app, "203.0.113.1").await;
    spend(&app, "203.0.113.2").await;
    // The proxy's own word is the last one: what stands left of it may be invented.
    knock(&app).from("198.51.100.1, 203.0.113.2").await.expect(429);
    knock(&app).from("203.0.113.2, 198.51.100.1").await.expect(401);
}

#[tokio::test]
async fn a_stranger_gets_no_new_allowance_by_inventing_addresses() {
    let app = TestApp::start_with(|config| config.rate_limit.log_ins = 3).await;
    for number in 0..3 {
        knock(&app).from(&format!("203.0.113.{number}")).await.expect(401);
    }
    knock(&app).from("203.0.113.9").await.refused(429, "TooManyRequests");
    knock(&app).from("rubbish").await.refused(429, "TooManyRequests");
}

#[tokio::test]
async fn an_address_that_a_proxy_garbled_is_refused_and_costs_nobody_anything() {
    let app = TestApp::start_with(three).await;
    for garbled in ["rubbish", "203.0.113.1, unknown", "203.0.113.256", ""] {
        for _ in 0..4 {
            knock(&app).from(garbled).await.refused(400, "ValidationFailed");
        }
    }
    // Nothing depends on where these come from.
    for path in ["/health/live", "/health/ready"] {
        app.get(path).from("rubbish").await.expect(200);
    }
    spend(&app, "203.0.113.1").await;
    spend(&app, "127.0.0.1").await;
}

#[tokio::test]
async fn rotating_through_a_64_is_one_client() {
    let app = TestApp::start_with(three).await;
    for address in ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:DB8::1:a:b:c:d"] {
        knock(&app).from(address).await.expect(401);
    }
    knock(&app).from("2001:db8:0:1:1:2:3:4").await.refused(429, "TooManyRequests");
    knock(&app).from("[2001:db8:0:1::99]:443").await.refused(429, "TooManyRequests");
    knock(&app).from("2001:db8:0:2::1").await.expect(401);
}

#[tokio::test]
async fn an_ipv4_address_is_one_client_however_it_is_spelled() {
    let app = TestApp::start_with(three).await;
    for address in ["203.0.113.1", "::ffff:203.0.113.1", "::FFFF:CB00:7101"] {
        knock(&app).from(address).await.expect(401);
    }
    knock(&app).from("0:0:0:0:0:ffff:cb00:7101").await.refused(429, "TooManyRequests");
    knock(&app).from("::ffff:203.0.113.2").await.expect(401);
}

#[tokio::test]
async fn a_crowd_at_the_same_moment_gets_exactly_the_allowance() {
    let app = TestApp::start_with(|config| config.rate_limit.log_ins = 10).await;
    let answers = together((0..40).map(|_| knock(&app))).await;
    assert_eq!((count(&answers, 401), count(&answers, 429)), (10, 30));
}

#[tokio::test]
async fn limits_that_are_switched_off_limit_nothing() {
    let app = TestApp::start_with(|config| {
        config.rate_limit.enabled = false;
        config.rate_limit.log_ins = 1;
        config.rate_limit.sign_ups = 1;
    })
    .await;
    for _ in 0..5 {
        knock(&app).await.expect(401);
        app.post("/users").json(&json!({})).await.expect(400);
    }
}

#[tokio::test]
async fn every_replica_counts_for_itself() {
    let app = TestApp::start_with(three).await;
    let other = app.replica().await;
    spend(&app, "203.0.113.1").await;
    spend(&other, "203.0.113.1").await;
}

#[tokio::test]
async fn the_sweep_forgets_no_allowance_that_is_still_spent() {
    let app = TestApp::start_with(three).await;
    spend(&app, "203.0.113.1").await;
    app.sweep().await;
    knock(&app).from("203.0.113.1").await.expect(429);
    app.advance(TimeDelta::minutes(2));
    app.sweep().await;
    spend(&app, "203.0.113.1").await;
}
