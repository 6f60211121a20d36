//! What makes a new password good enough, at every door that sets one.

use serde_json::json;

use crate::harness::{STRONG, TestApp, sign_up_body};
use bloq_accounts::users::{AccessLevel, LoginName, NewName};

/// 1,024 bytes that pass the rule otherwise.
fn longest() -> String {
    "Abcdef 1".repeat(128)
}

#[tokio::test]
async fn a_weak_password_is_measured() {
    let app = TestApp::start().await;
    for (password, measured) in
        [("Password1!", "66"), ("abcdefghijklmnopqrst", "94"), ("aA1!aA1!bB2?cC", "92"), ("", "0")]
    {
        let mut body = sign_up_body("ada@example.com");
        body["password"] = json!(password);
        let answer = app.post("/users").json(&body).await.refused(400, "WeakPassword");
        assert_eq!(answer.bad_fields(), ["password"]);
        let message = answer.field("message");
        assert!(message.contains(measured) && message.contains("95"), "{message}");
    }
    assert_eq!(app.count("select count(*) from users").await, 0);
}

#[tokio::test]
async fn a_password_at_the_boundary_is_taken() {
    let app = TestApp::start().await;
    // The numbers of bloq-accounts.md section 4, the references' own sample passwords, and a whole alphabet of two bytes.
    for password in [
        "Lp2x0P1iMEPWZKaQ",
        "Old Password...",
        "abcdefghijklmnopqrstu",
        "01234567890123456789012345678",
        "пароль 😀 пароль 😀",
        &longest(),
    ] {
        let mut body = sign_up_body("ada@example.com");
        body["password"] = json!(password);
        app.post("/users").json(&body).await.expect(201);
    }
}

#[tokio::test]
async fn a_password_that_is_guessable_in_spite_of_its_entropy_is_weak() {
    let app = TestApp::start().await;
    for password in [
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "abcdeabcdeabcdeabcdeabcde",
        "my name is ADA.LOVELACE 1843",
        "the COUNTESS of engines 1843",
        &(longest() + "2"),
    ] {
        let mut body = sign_up_body("ada.lovelace@example.com");
        (body["password"], body["displayName"]) = (json!(password), json!("Countess"));
        app.post("/users").json(&body).await.refused(400, "WeakPassword");
    }
}

#[tokio::test]
async fn words_of_three_letters_occur_by_chance() {
    let app = TestApp::start().await;
    let mut body = sign_up_body("ada@example.com");
    (body["password"], body["displayName"]) = (json!("Canada has no Bob 1843"), json!("Bob"));
    app.post("/users").json(&body).await.expect(201);
}

#[tokio::test]
async fn a_change_to_a_weak_password_is_refused() {
    let app = TestApp::start().await;
    let lovelace = app.person("lovelace").await;
    for (password, reason) in [
        ("Password1!", "66"),
        (STRONG, "old"),
        ("Mrs LOVELACE and engines 1843", "contains"),
        ("SOMEBODY with engines 1843", "contains"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "distinct"),
        (&(longest() + "2"), "1024"),
    ] {
        let answer = app.change_password(&lovelace.token, STRONG, password).await.refused(400, "WeakPassword");
        assert_eq!(answer.bad_fields(), ["newPassword"]);
        assert!(answer.field("message").contains(reason), "{reason} in {answer:?}");
    }
    app.log_in("lovelace@example.com", STRONG).await;
}

#[tokio::test]
async fn a_password_with_the_login_name_is_weak() {
    let app = TestApp::start().await;
    let babbage = app.named("Babbage", AccessLevel::Authorized).await;
    let weak = "engines of BABBAGE no 2";
    app.change_password(&babbage.token, STRONG, weak).await.refused(400, "WeakPassword");

    let (id, activation) = app.invited(NewName::Name(LoginName::parse("Lovelace").expect("a name"))).await;
    app.activate(&id, &activation, "engines of LOVELACE no 2").await.refused(400, "WeakPassword");
}

#[tokio::test]
async fn the_needed_entropy_is_configurable() {
    let app = TestApp::start_with(|config| config.password.min_entropy = 38).await;
    let mut body = sign_up_body("ada@example.com");
    body["password"] = json!("password");
    app.post("/users").json(&body).await.expect(201);
}

/// decisions.md section 2: `details` lists "every bad field, the password too".
#[tokio::test]
async fn a_weak_new_password_is_listed_beside_the_other_bad_fields() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let body = json!({"newPassword": "Password1!", "colour": "red"});
    let answer = app.put("/users/me/password").bearer(&ada.token).json(&body).await.refused(400, "ValidationFailed");
    assert_eq!(answer.bad_fields(), ["colour", "newPassword", "oldPassword"]);
}
