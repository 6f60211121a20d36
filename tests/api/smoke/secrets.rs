//! What must never be written down: passwords, tokens and secrets, in no log and in no event.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::{EMAIL, Place, ada};
use crate::harness::{STRONG, STRONGER};

const WRONG: &str = "A wrong password 4711";

#[tokio::test]
async fn no_secret_is_logged_or_recorded_even_at_level_trace() {
    let place = Place::filled();
    let mut server = place.serve_with(|command| command.env("BLOQ_ACCOUNTS_LOG__LEVEL", "trace")).await;
    let ada = ada(&place, &server).await;
    let mailed = place.mail_to(EMAIL).await.token();
    let bearer = &ada.token;

    // What goes right.
    let change = json!({"oldPassword": STRONG, "newPassword": STRONGER});
    server.put("/users/me/password").bearer(bearer).json(&change).await.expect(200);
    let key = server.post("/users/me/client-keys").bearer(bearer).await.expect(200);
    let (id, secret) = (key.text_of("clientId"), key.text_of("clientSecret"));
    let by_keys = json!({"grantType": "clientCredentials", "clientId": id, "clientSecret": secret});
    let granted = server.post("/auth/token").json(&by_keys).await.expect(200);
    let (access, refresh) = (granted.text_of("accessToken"), granted.text_of("refreshToken"));
    let by_refresh = json!({"grantType": "refreshToken", "refreshToken": refresh});
    server.post("/auth/token").json(&by_refresh).await.expect(200);
    // What goes wrong.
    server.post("/auth").basic(EMAIL, WRONG).await.refused(401, "InvalidCredentials");
    server.post("/auth").basic(WRONG, EMAIL).await.refused(401, "InvalidCredentials");
    server.get("/users/me").bearer(&access).await.refused(403, "Forbidden");
    server.get(&format!("/users/me?token={bearer}")).await.refused(401, "Unauthorized");
    server.get(&format!("/users/{}/tokens/{mailed}", ada.id)).await.refused(404, "NotFound");
    server.get(&format!("/{refresh}")).await.refused(404, "NotFound");
    server.put(&format!("/users/{}/token/{secret}", ada.id)).await.refused(400, "InvalidToken");
    let swapped = json!({"grantType": "clientCredentials", "clientId": secret, "clientSecret": id});
    server.post("/auth/token").json(&swapped).await.refused(401, "InvalidClientCredentials");
    let broken = json!({"grantType": "refreshToken", "refreshToken": format!("{refresh}x")});
    server.post("/auth/token").json(&broken).await.refused(401, "InvalidRefreshToken");
    let unknown = json!({"oldPassword": WRONG, "newPassword": STRONG, "hint": STRONG});
    server.put("/users/me/password").bearer(bearer).json(&unknown).await.refused(400, "ValidationFailed");
    let (name, value) = ("content-type", "application/json");
    let garbage = format!("{{\"password\": \"{WRONG}\"");
    server.post("/users").header(name, value).body(garbage).await.refused(400, "MalformedBody");

    let mut database = place.database().await;
    let events: Vec<String> = sqlx::query_scalar("select row_to_json(events)::text from events")
        .fetch_all(&mut database)
        .await
        .expect("rows");
    assert!(events.len() >= 18, "{}", events.len());
    let master_key = std::fs::read_to_string(place.data_dir().join("master.key")).expect("it was made");
    server.terminate().await;
    let said = server.said();
    assert!(said.contains("TRACE") && said.contains("DEBUG"), "the log is at level trace: {said:.300}");

    let basic = |name: &str, password: &str| BASE64_STANDARD.encode(format!("{name}:{password}"));
    let mut secrets = vec![STRONG.to_owned(), STRONGER.into(), WRONG.into(), secret, mailed, master_key.trim().into()];
    secrets.extend([basic(EMAIL, STRONG), basic(EMAIL, WRONG), basic(WRONG, EMAIL)]);
    // A token is given away by its signature; the rest is anybody's to read.
    let signature = |token: &String| token.rsplit('.').next().expect("a JWT").to_owned();
    secrets.extend([bearer, &access, &refresh].map(signature));
    let postgres_log = std::fs::read_to_string(place.data_dir().join("postgres.log")).expect("Postgres has a log");
    for secret in secrets {
        for (place, text) in [("the log", &said), ("an event", &events.join("\n")), ("postgres.log", &postgres_log)] {
            let found = text.lines().find(|line| line.contains(&secret));
            assert_eq!(found, None, "{secret} is in {place}");
        }
    }
}
