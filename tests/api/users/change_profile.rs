//! `PATCH /users/me`: a JSON merge patch (RFC 7396).

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{TestApp, together};
use bloq_accounts::users::UserChange;

#[tokio::test]
async fn a_person_changes_the_name_and_nothing_else() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let before = app.me(&ada.token).await.json();
    app.advance(TimeDelta::minutes(1));
    let after = app.change_profile(&ada.token, &json!({"displayName": "Ada King"})).await.expect(200).json();
    let mut expected = before;
    expected["displayName"] = json!("Ada King");
    expected["updatedAt"] = json!("2026-03-05T12:01:00.123Z");
    assert_eq!(after, expected);
    assert_eq!(app.me(&ada.token).await.json(), expected);
}

#[tokio::test]
async fn what_is_absent_stays_and_null_removes() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let address = async |patch: Value| {
        app.change_profile(&ada.token, &json!({ "billingAddress": patch })).await.expect(200).json()["billingAddress"]
            .clone()
    };
    assert_eq!(
        address(json!({"address": "12 Square", "country": "GB"})).await,
        json!({"address": "12 Square", "country": "GB"})
    );
    assert_eq!(address(json!({"address": null, "zipCode": "W1"})).await, json!({"zipCode": "W1", "country": "GB"}));
    assert_eq!(address(Value::Null).await, Value::Null);
    app.change_profile(&ada.token, &json!({"entityType": "business"})).await.expect(200);
    let profile = app.change_profile(&ada.token, &json!({"entityType": null})).await.expect(200).json();
    assert_eq!(profile["entityType"], "individual");
}

#[tokio::test]
async fn a_patch_that_changes_nothing_leaves_the_time_of_the_last_change() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let before = app.me(&ada.token).await.json();
    app.advance(TimeDelta::minutes(1));
    for patch in
        [json!({}), json!({"displayName": "Somebody"}), json!({"billingAddress": null}), json!({"notifications": {}})]
    {
        assert_eq!(app.change_profile(&ada.token, &patch).await.expect(200).json(), before, "{patch}");
    }
}

#[tokio::test]
async fn both_media_types_are_taken_and_no_other() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let patch = |media_type: &str| {
        let call = app.patch("/users/me").bearer(&ada.token).header("content-type", media_type);
        call.body("{\"displayName\": \"Ada\"}")
    };
    patch("application/merge-patch+json").await.expect(200);
    patch("application/json;charset=utf-8").await.expect(200);
    patch("application/json-patch+json").await.refused(415, "UnsupportedMediaType");
    patch("text/plain").await.refused(415, "UnsupportedMediaType");
    // The other routes take no patch for a body.
    let call = app.post("/users").header("content-type", "application/merge-patch+json").body("{}");
    call.await.refused(415, "UnsupportedMediaType");
}

#[tokio::test]
async fn every_bad_member_is_named() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let patch = json!({
        "displayName": null,
        "entityType": "robot",
        "billingAddress": {"country": "Atlantis", "planet": "Mars"},
        "notifications": {"newLogIn": "yes", "newMoon": true},
        "email": "eve@example.com",
        "id": "user-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11",
        "verifiedAt": null,
    });
    let answer = app.change_profile(&ada.token, &patch).await.refused(400, "ValidationFailed");
    assert_eq!(
        answer.bad_fields(),
        [
            "billingAddress.country",
            "billingAddress.planet",
            "displayName",
            "email",
            "entityType",
            "id",
            "notifications.newLogIn",
            "notifications.newMoon",
            "verifiedAt",
        ]
    );
    for body in ["[]", "\"text\"", "null"] {
        let call = app.patch("/users/me").bearer(&ada.token).header("content-type", "application/json").body(body);
        call.await.refused(400, "ValidationFailed");
    }
}

#[tokio::test]
async fn two_patches_at_once_both_count() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let patches = [
        json!({"displayName": "Ada King"}),
        json!({"entityType": "business"}),
        json!({"billingAddress": {"country": "GB"}}),
        json!({"billingAddress": {"zipCode": "W1"}}),
        json!({"notifications": {"newLogIn": false}}),
        json!({"notifications": {"newClientKey": false}}),
    ];
    for answer in together(patches.iter().map(|patch| app.change_profile(&ada.token, patch))).await {
        answer.expect(200);
    }
    let profile = app.me(&ada.token).await.json();
    assert_eq!(profile["displayName"], "Ada King");
    assert_eq!(profile["entityType"], "business");
    assert_eq!(profile["billingAddress"], json!({"country": "GB", "zipCode": "W1"}));
    let expected = json!({"passwordChanged": true, "emailChanged": true, "newClientKey": false, "newLogIn": false});
    assert_eq!(profile["notifications"], expected);
}

#[tokio::test]
async fn a_read_only_user_changes_nothing() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let change = UserChange { read_only: Some(true), ..UserChange::default() };
    app.change_user(&ada.id, change).await.expect("she is changed");
    app.change_profile(&ada.token, &json!({"displayName": "Eve"})).await.refused(403, "Forbidden");
    app.leave(&ada.token, &ada.password).await.refused(403, "Forbidden");
    app.change_email(&ada.token, "eve@example.com", &ada.password).await.refused(403, "Forbidden");
    app.me(&ada.token).await.expect(200);
}

#[tokio::test]
async fn nobody_changes_a_profile_without_a_token() {
    let app = TestApp::start().await;
    app.patch("/users/me").json(&json!({})).await.refused(401, "Unauthorized");
}
