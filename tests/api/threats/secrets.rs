//! What is left lying about: rows 18, 19, 22 and 23 of the list.

use crate::harness::people::email;
use crate::harness::{STRONG, STRONGER, TestApp};
use bloq_accounts::users::NewName;

/// Every row of every table, as text.
const EVERYTHING: &str = "select concat_ws(' ',
    (select string_agg(t::text, ' ') from users t), (select string_agg(t::text, ' ') from one_time_tokens t),
    (select string_agg(t::text, ' ') from outbox t), (select string_agg(t::text, ' ') from account_tokens t),
    (select string_agg(t::text, ' ') from client_keys t), (select string_agg(t::text, ' ') from idempotency_keys t),
    (select string_agg(t::text, ' ') from events t))";

#[tokio::test]
async fn whoever_reads_the_database_finds_no_secret() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (id, secret) = app.client_key(&ada).await;
    let (access, refresh) = app.grant(&(id.clone(), secret.clone())).await;
    app.change_password(&ada.token, STRONG, STRONGER).await.expect(200);
    let (invited, activation) = app.invited(NewName::Email(email("bob@example.com"))).await;
    app.activate(&invited, "a wrong guess of it", STRONG).await.expect(401);
    // People type passwords where names belong, and names where passwords belong.
    app.post("/auth").basic("a password typed too early", STRONGER).await.expect(401);
    app.grant_by_keys(&id, "a wrong secret of mine").await.expect(401);
    app.put("/users/eve@example.com/token/0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11").await.expect(400);
    app.get("/users/me?token=a-token-in-a-query").await;

    let bob = app.person("robert").await;
    let repeated = app.post("/users/me/client-keys").bearer(&bob.token).header("idempotency-key", "once");
    let repeated = repeated.await.expect(200).field("clientSecret");
    app.forget_password(&bob.email).await.expect(202);

    let before = app.text(EVERYTHING).await;
    let reset = app.mailed_token(&bob.email).await;
    app.change_email(&bob.token, "bobby@example.com", STRONG).await.expect(202);
    let change = app.mailed_token("bobby@example.com").await;
    app.reset_password(&bob.email, &reset, STRONGER).await.expect(200);
    let token = app.mailed_token("bob@example.com").await;
    let stored = before + &app.text(EVERYTHING).await;
    assert!(stored.contains(&id) && stored.contains("ada@example.com"), "the net has fish");
    for hidden in [
        STRONG,
        STRONGER,
        &secret,
        &access,
        &refresh,
        &ada.token,
        &activation,
        &token,
        &repeated,
        &reset,
        &change,
        "a wrong guess of it",
        "typed too early",
        "a wrong secret of mine",
        "0b7c3f0e-90f1-4a8e",
        "eve@example.com",
        "a-token-in-a-query",
    ] {
        assert!(!stored.contains(hidden), "{hidden} is stored");
    }
}

#[tokio::test]
async fn no_answer_repeats_a_secret() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let secret = "Password7!Password";
    for call in [
        app.change_password(&ada.token, secret, secret),
        app.change_password(&ada.token, STRONG, "Password7!"),
        app.post("/auth").basic(&ada.email, secret),
        app.grant_by_keys(secret, secret),
        app.activate(&ada.id, secret, secret),
        app.verify(&ada.id, secret),
        app.post("/users/Password7!/token"),
    ] {
        let answer = call.await;
        assert!(!answer.text.contains("Password7!"), "{answer:?}");
    }
}

#[tokio::test]
async fn no_secret_can_be_printed() {
    let app = TestApp::start().await;
    let (_, activation) = app.invited(NewName::Email(email("bob@example.com"))).await;
    let password = bloq_accounts::users::password::Password::new(activation.clone());
    let token = bloq_accounts::secret::PlainSecret::new(activation.clone());
    for printed in [format!("{password:?}"), format!("{token:?}"), format!("{:?}", app.config)] {
        assert!(!printed.contains(&activation) && !printed.contains(&"0f".repeat(32)), "{printed}");
    }
}

#[tokio::test]
async fn a_body_that_nests_without_end_exhausts_nothing() {
    let app = TestApp::start().await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let body = format!("{}1{}", open.repeat(9_000), close.repeat(9_000));
        let call = app.post("/users").header("content-type", "application/json").body(body);
        call.await.refused(400, "MalformedBody");
    }
    app.get("/health/live").await.expect(200);
}

#[tokio::test]
async fn a_client_secret_is_right_whole_or_not_at_all() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (id, secret) = app.client_key(&ada).await;
    for length in [0, 1, 40, 79] {
        app.grant_by_keys(&id, &secret[..length]).await.refused(401, "InvalidClientCredentials");
    }
    app.grant_by_keys(&id, &format!("{secret}0")).await.refused(401, "InvalidClientCredentials");
    app.grant_by_keys(&id, &format!(" {secret}")).await.refused(401, "InvalidClientCredentials");
}
