//! `POST /users`: who may come in, and what is said to those who may not.

use serde_json::{Value, json};

use crate::harness::{STRONG, TestApp, sign_up_body, together};

fn with(changes: Value) -> Value {
    let mut body = sign_up_body("ada@example.com");
    for (name, value) in changes.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_stranger_signs_up_and_sees_the_profile() {
    let app = TestApp::start().await;
    let mut body = sign_up_body("Ada@Example.com");
    body["billingAddress"] = json!({"address": "12 Square", "zipCode": "W1", "country": "GB"});
    let answer = app.post("/users").json(&body).await.expect(201);
    let profile = answer.json();
    assert_eq!(
        profile,
        json!({
            "id": profile["id"],
            "email": "Ada@Example.com",
            "displayName": "Somebody",
            "entityType": "individual",
            "billingAddress": {"address": "12 Square", "zipCode": "W1", "country": "GB"},
            "notifications": {"passwordChanged": true, "emailChanged": true, "newClientKey": true, "newLogIn": true},
            "createdAt": "2026-03-05T12:00:00.123Z",
            "updatedAt": "2026-03-05T12:00:00.123Z",
            "verifiedAt": null,
        })
    );
    assert!(!answer.text.contains(STRONG));
    assert_eq!(app.count("select count(*) from users").await, 1);
    assert_eq!(app.count("select count(*) from events where user_id in (select id from users)").await, 1);
}

#[tokio::test]
async fn a_new_user_gets_an_id_of_the_vendors_format() {
    let app = TestApp::start().await;
    let id = app.sign_up("ada@example.com").await;
    let uuid = id.strip_prefix("user-").expect("user-<uuid>");
    let uuid = uuid::Uuid::parse_str(uuid).expect("a UUID");
    assert_eq!((uuid.get_version_num(), id), (4, format!("user-{}", uuid.as_hyphenated())));
}

#[tokio::test]
async fn a_company_signs_up_with_a_whole_address() {
    let app = TestApp::start().await;
    let address = json!({"address": "123 Abc Street", "zipCode": "12345", "state": "CA", "country": "US"});
    let body = with(json!({"entityType": "business", "billingAddress": address}));
    let profile = app.post("/users").json(&body).await.expect(201).json();
    assert_eq!((&profile["entityType"], &profile["billingAddress"]), (&json!("business"), &address));
}

#[tokio::test]
async fn a_person_without_a_billing_address_shows_null() {
    let app = TestApp::start().await;
    for body in [with(json!({})), with(json!({"billingAddress": null}))] {
        let profile = app.post("/users").json(&body).await.expect(201).json();
        assert_eq!(profile.get("billingAddress"), Some(&Value::Null));
    }
}

#[tokio::test]
async fn a_person_hears_of_every_bad_field_at_once() {
    let app = TestApp::start().await;
    let body = json!({
        "email": "ada",
        "displayName": "Ada\u{7}",
        "password": "Password1!",
        "entityType": "robot",
        "billingAddress": {"country": "gb", "zipCode": "1".repeat(201), "planet": "Earth"},
        "isAdmin": true,
    });
    let answer = app.post("/users").json(&body).await.refused(400, "ValidationFailed");
    let expected = [
        "billingAddress.country",
        "billingAddress.planet",
        "billingAddress.zipCode",
        "displayName",
        "email",
        "entityType",
        "isAdmin",
        "password",
    ];
    assert_eq!(answer.bad_fields(), expected);
    assert_eq!(app.count("select count(*) from users").await, 0);
}

#[tokio::test]
async fn a_form_without_a_field_is_refused() {
    let app = TestApp::start().await;
    let answer = app.post("/users").json(&json!({})).await.refused(400, "ValidationFailed");
    assert_eq!(answer.bad_fields(), ["displayName", "email", "password"]);
    for field in ["displayName", "email", "password"] {
        let answer = app.post("/users").json(&with(json!({field: null}))).await.refused(400, "ValidationFailed");
        assert_eq!(answer.bad_fields(), [field]);
    }
}

#[tokio::test]
async fn a_bad_value_is_named() {
    let app = TestApp::start().await;
    let address = |part: &str, value: &str| json!({"billingAddress": {part: value}});
    for (changes, field) in [
        (json!({"displayName": ""}), "displayName"),
        (json!({"displayName": "a".repeat(201)}), "displayName"),
        (json!({"displayName": "Ada\nLovelace"}), "displayName"),
        (json!({"displayName": 1}), "displayName"),
        (json!({"email": "ada@localhost"}), "email"),
        (json!({"email": format!("{}@example.com", "a".repeat(243))}), "email"),
        (json!({"email": "äda@example.com"}), "email"),
        (json!({"email": ["ada@example.com"]}), "email"),
        (json!({"entityType": "Individual"}), "entityType"),
        (json!({"password": 12}), "password"),
        (json!({"billingAddress": "here"}), "billingAddress"),
        (address("country", "XX"), "billingAddress.country"),
        (address("country", "USA"), "billingAddress.country"),
        (address("state", &"a".repeat(201)), "billingAddress.state"),
        (address("address", &"a".repeat(201)), "billingAddress.address"),
        (json!({"id": "user-1"}), "id"),
        (json!({"verifiedAt": "2026-03-05T12:00:00.123Z"}), "verifiedAt"),
    ] {
        let answer = app.post("/users").json(&with(changes.clone())).await.refused(400, "ValidationFailed");
        assert_eq!(answer.bad_fields(), [field], "{changes}");
    }
}

#[tokio::test]
async fn a_value_just_within_its_bounds_is_taken() {
    let app = TestApp::start().await;
    for changes in [
        json!({"displayName": "ä".repeat(200)}),
        json!({"displayName": "I"}),
        json!({"billingAddress": {"address": "ä".repeat(200), "zipCode": "1".repeat(200), "state": "s".repeat(200)}}),
        json!({"email": format!("{}@{}.{}.{}.example.com", "a".repeat(50), "b".repeat(63), "c".repeat(63), "d".repeat(63))}),
    ] {
        app.post("/users").json(&with(changes)).await.expect(201);
    }
}

#[tokio::test]
async fn the_vendors_defective_client_is_told_that_this_is_no_json() {
    let app = TestApp::start().await;
    let call = app.post("/users").header("content-type", "application/json").body("[object Object]");
    call.await.refused(400, "MalformedBody");
}

#[tokio::test]
async fn strangers_who_sign_up_with_one_email_at_once_are_all_welcome_and_one_of_them_stays() {
    let app = TestApp::start().await;
    let answers = together((0..20).map(|_| app.post("/users").json(&sign_up_body("ada@example.com")))).await;
    let claimants: Vec<String> = answers.into_iter().map(|answer| answer.expect(201).field("id")).collect();
    assert_eq!(app.count("select count(*) from users").await, 3, "those whose mail the caps let through");
    app.deliver_mail().await;
    let letters = app.mailbox().to("ada@example.com");
    assert_eq!(letters.len(), 3);

    let answers = together(letters.iter().map(|letter| app.verify(&letter.user_id(), &letter.token()))).await;

    let winners: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(winners.len(), 1);
    assert!(claimants.contains(&winners[0].field("id")));
    for loser in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(loser.refusal(), (400, "InvalidToken".into()));
    }
    assert_eq!(app.count("select count(*) from users").await, 1, "the others are gone");
    assert_eq!(app.count("select count(*) from users where email_verified_at is not null").await, 1);
    assert_eq!(app.count("select count(*) from one_time_tokens").await, 1, "and so are their tokens");
}
