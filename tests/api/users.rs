//! Signing up, the profile, passwords, activation.

use serde_json::json;

use crate::harness::people::sign_up_body;
use crate::harness::{STRONG, TestApp};

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
            "createdAt": "2026-03-05T12:00:00.123Z",
            "updatedAt": "2026-03-05T12:00:00.123Z",
            "verifiedAt": null,
        })
    );
    assert!(!answer.text.contains(STRONG));
}

#[tokio::test]
async fn a_person_sees_the_own_profile() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let me = app.get("/users/me").bearer(&ada.token).await.expect(200).json();
    assert_eq!(me["id"], ada.id);
}
