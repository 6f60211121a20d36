//! `DELETE /auth`.

use crate::harness::{STRONG, TestApp, together};

#[tokio::test]
async fn a_person_logs_out_of_one_place() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let other = app.log_in(&ada.email, STRONG).await;
    let answer = app.delete("/auth").bearer(&ada.token).await.expect(204);
    assert_eq!(answer.text, "");
    app.me(&ada.token).await.refused(401, "TokenInvalid");
    app.delete("/auth").bearer(&ada.token).await.refused(401, "TokenInvalid");
    app.me(&other).await.expect(200);
}

#[tokio::test]
async fn logging_out_ends_no_client_token() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let (_, refresh) = app.grant(&key).await;
    app.delete("/auth").bearer(&ada.token).await.expect(204);
    app.grant_by_refresh(&refresh).await.expect(200);
}

#[tokio::test]
async fn nobody_logs_out_without_a_token() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.delete("/auth").await.refused(401, "Unauthorized");
    app.delete("/auth").basic(&ada.email, STRONG).await.refused(401, "Unauthorized");
    app.me(&ada.token).await.expect(200);
}

#[tokio::test]
async fn logging_out_twice_at_once_is_no_accident() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for answer in together((0..5).map(|_| app.delete("/auth").bearer(&ada.token))).await {
        assert!([204, 401].contains(&answer.status), "{answer:?}");
    }
    app.me(&ada.token).await.refused(401, "TokenInvalid");
}
