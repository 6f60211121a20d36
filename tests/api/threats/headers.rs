//! What an attacker writes into headers: rows 9 and 10 of the list.

use serde_json::json;

use crate::harness::{Person, TestApp, sign_up_body};

async fn last_ip(app: &TestApp, person: &Person) -> String {
    let event = app.events_of(person).await.pop().expect("an event");
    event["input"]["ip"].as_str().expect("an address").to_owned()
}

#[tokio::test]
async fn a_poisoned_host_header_reaches_no_mail_and_no_answer() {
    let app = TestApp::start().await;
    let poisoned = |call: crate::harness::Call| {
        call.header("host", "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-proto", "evil")
            .header("forwarded", "host=evil.example;proto=http")
            .header("x-original-url", "http://evil.example/")
            .header("origin", "https://evil.example")
            .header("referer", "https://evil.example/")
    };
    let (body, bob) = (sign_up_body("ada@example.com"), app.person("bob").await);
    for call in [
        app.post("/users").json(&body),
        app.post("/users/ada@example.com/token"),
        app.forget_password("bob@example.com"),
        app.change_email(&bob.token, "bob.new@example.com", &bob.password),
        app.get("/"),
        app.get("/nowhere"),
        app.get("/openapi.json"),
    ] {
        let answer = poisoned(call).await;
        assert!(!answer.text.contains("evil.example"), "{answer:?}");
        assert!(!format!("{:?}", answer.headers).contains("evil.example"), "{answer:?}");
    }
    app.deliver_mail().await;
    let letters =
        ["ada@example.com", "bob@example.com", "bob.new@example.com"].map(|address| app.mailbox().to(address));
    assert_eq!(letters.each_ref().map(Vec::len), [2, 3, 1]);
    for letter in letters.iter().flatten() {
        assert!(!letter.text.contains("evil") && !letter.html.contains("evil"), "{letter:?}");
        assert!(letter.text.contains("Sent by the account service at https://accounts.example."), "{letter:?}");
    }
}

#[tokio::test]
async fn a_stranger_cannot_choose_the_address_that_is_recorded() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for header in ["x-forwarded-for", "x-real-ip", "forwarded", "cf-connecting-ip", "true-client-ip"] {
        app.me(&ada.token).header(header, "203.0.113.9").await.expect(200);
        assert_eq!(last_ip(&app, &ada).await, "127.0.0.1", "{header}");
        app.events_of(&ada).await;
    }
    // Nor make us stumble: what nobody believes nobody parses.
    app.me(&ada.token).header("x-forwarded-for", "rubbish").await.expect(200);
}

#[tokio::test]
async fn what_a_trusted_proxy_garbled_is_refused_and_not_guessed() {
    let trusted = |config: &mut bloq_accounts::config::Config| {
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
    };
    let app = TestApp::start_with(trusted).await;
    let ada = app.person("ada").await;
    app.me(&ada.token).header("x-forwarded-for", "6.6.6.6, 203.0.113.9").await.expect(200);
    assert_eq!(last_ip(&app, &ada).await, "203.0.113.9", "the rightmost hop that is not ours");
    app.me(&ada.token).header("x-forwarded-for", "rubbish").await.refused(400, "ValidationFailed");
    app.me(&ada.token).header("x-forwarded-for", "203.0.113.9, unknown").await.refused(400, "ValidationFailed");
}

#[tokio::test]
async fn a_method_in_a_header_overrides_nothing() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (id, _) = app.client_key(&ada).await;
    let path = format!("/users/me/client-keys/{id}");
    app.post(&path).bearer(&ada.token).header("x-http-method-override", "DELETE").await.expect(405);
    let list = app.get("/users/me/client-keys").bearer(&ada.token).await.json();
    assert_eq!((&list[0]["id"], list.as_array().map(Vec::len)), (&json!(id), Some(1)));
}
