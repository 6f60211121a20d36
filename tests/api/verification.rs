//! Proving an e-mail: once, by its owner, in time.

use chrono::TimeDelta;
use serde_json::json;

use crate::harness::people::email;
use crate::harness::{STRONG, TestApp, together};
use bloq_accounts::users::NewName;

#[tokio::test]
async fn a_person_proves_the_email() {
    let app = TestApp::start().await;
    let id = app.sign_up("ada@example.com").await;
    let token = app.mailed_token("ada@example.com").await;
    app.advance(TimeDelta::hours(1));
    // As the vendor's client does it: a media type without a body.
    let answer = app.verify(&id, &token).header("content-type", "application/json").await.expect(200).json();
    let expected = json!({
        "id": id,
        "verifiedAt": "2026-03-05T13:00:00.123Z",
        "code": "UserVerified",
        "message": answer["message"],
    });
    assert_eq!(answer, expected);
    assert!(answer["message"].is_string());
    let token = app.log_in("ada@example.com", STRONG).await;
    let me = app.me(&token).await.expect(200).json();
    assert_eq!((&me["verifiedAt"], &me["updatedAt"]), (&expected["verifiedAt"], &expected["verifiedAt"]));
}

#[tokio::test]
async fn a_token_is_a_uuid_v4_of_which_only_a_hash_is_stored() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let token = app.mailed_token("ada@example.com").await;
    let uuid = uuid::Uuid::parse_str(&token).expect("a UUID");
    assert_eq!((uuid.get_version_num(), token.as_str()), (4, uuid.as_hyphenated().to_string().as_str()));
    let stored = app.text("select t::text from one_time_tokens t").await;
    assert!(!stored.contains(&token) && !stored.contains(&uuid.as_simple().to_string()), "{stored}");
}

#[tokio::test]
async fn the_user_may_be_named_by_email_and_in_any_case() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let token = app.mailed_token("ada@example.com").await;
    app.verify("ADA@Example.com", &token.to_uppercase()).await.expect(200);
    let id = app.sign_up("bob@example.com").await;
    let token = app.mailed_token("bob@example.com").await;
    app.verify(&id.to_uppercase(), &token).await.expect(200);
}

#[tokio::test]
async fn a_used_token_gets_the_same_answer() {
    let app = TestApp::start().await;
    let id = app.sign_up("ada@example.com").await;
    let token = app.mailed_token("ada@example.com").await;
    let first = app.verify(&id, &token).await.expect(200);
    app.advance(TimeDelta::days(300));
    app.sweep().await;
    let again = app.verify("ada@example.com", &token).await.expect(200);
    assert_eq!(first.text, again.text);
    assert_eq!(app.count("select count(*) from users where updated_at = created_at").await, 1, "nothing moved");
}

#[tokio::test]
async fn one_token_used_by_twenty_at_once_makes_one_change() {
    let app = TestApp::start().await;
    let id = app.sign_up("ada@example.com").await;
    let token = app.mailed_token("ada@example.com").await;
    let mut bodies: Vec<String> =
        together((0..20).map(|_| app.verify(&id, &token))).await.into_iter().map(|it| it.expect(200).text).collect();
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "one answer for all: {bodies:?}");
    assert_eq!(app.count("select count(*) from one_time_tokens where used_at is not null").await, 1);
}

#[tokio::test]
async fn everything_else_is_an_invalid_token() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let token = app.mailed_token("ada@example.com").await;
    let bob = app.person("bob").await;
    let stranger = "00000000-0000-4000-8000-000000000000";
    for (user, token) in [
        (ada.as_str(), stranger),
        (&ada, "nonsense"),
        (&ada, "%00"),
        (&ada, "%ff"),
        (&bob.id, &token),
        ("bob@example.com", &token),
        ("user-00000000-0000-4000-8000-000000000000", &token),
        ("nobody@example.com", &token),
        ("nobody", stranger),
        ("%ff", &token),
    ] {
        let answer = app.verify(user, token).await.refused(400, "InvalidToken");
        assert_eq!(answer.json().get("details"), None);
    }
    app.verify(&ada, &token).await.expect(200);
}

#[tokio::test]
async fn a_token_lives_for_48_hours() {
    let app = TestApp::start().await;
    // An operator's user: it does not die, so only the token can.
    let (id, _) = app.invited(NewName::Email(email("ada@example.com"))).await;
    let token = app.mailed_token("ada@example.com").await;
    app.advance(TimeDelta::hours(48));
    app.verify(&id, &token).await.refused(400, "InvalidToken");

    app.post(&format!("/users/{id}/token")).await.expect(202);
    let token = app.mailed_token("ada@example.com").await;
    app.advance(TimeDelta::hours(48) - TimeDelta::milliseconds(1));
    app.verify(&id, &token).await.expect(200);
}

#[tokio::test]
async fn a_proof_lifts_no_block() {
    let app = TestApp::start().await;
    let id = app.sign_up("ada@example.com").await;
    let token = app.mailed_token("ada@example.com").await;
    app.block(&id, "admin").await;
    app.verify(&id, &token).await;
    app.post("/auth").basic(&id, STRONG).await.refused(403, "UserBlocked");
}

#[tokio::test]
async fn a_fresh_token_is_sent_to_whoever_still_has_something_to_prove() {
    let app = TestApp::start().await;
    let id = app.sign_up("ada@example.com").await;
    let first = app.mailed_token("ada@example.com").await;
    for user in [id.as_str(), "ADA@example.com"] {
        app.post(&format!("/users/{user}/token")).header("content-type", "application/json").await.expect(202);
        let fresh = app.mailed_token("ada@example.com").await;
        assert_ne!(fresh, first);
    }
    let newest = app.mailed_token("ada@example.com").await;
    app.verify(&id, &newest).await.expect(200);
    app.verify(&id, &first).await.refused(400, "InvalidToken");
}

#[tokio::test]
async fn asking_for_a_fresh_token_tells_nothing() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let blocked = app.sign_up("eve@example.com").await;
    app.block(&blocked, "admin").await;
    let waiting = app.sign_up("bob@example.com").await;
    let sent = app.deliver_mail().await;
    assert_eq!(sent, 2, "eve's and bob's");
    let mut bodies = Vec::new();
    for user in [&waiting, &ada.id, &ada.email, &blocked, "nobody@example.com", "nonsense", "%ff"] {
        let answer = app.post(&format!("/users/{user}/token")).await.expect(202);
        assert!(answer.json()["message"].is_string());
        bodies.push(answer.text);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    assert_eq!(app.deliver_mail().await, 1, "only bob's");
}

#[tokio::test]
async fn a_verification_is_an_event_without_its_token() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.post("/users/ada@example.com/token").await.expect(202);
    let events = app.events_of(&ada).await;
    let paths: Vec<_> = events.iter().map(|event| event["input"]["path"].as_str().expect("a path")).collect();
    let shown = format!("/users/{}/token/{{token}}", ada.id);
    assert_eq!(paths, ["/users", &shown, "/auth", "/users/{userId}/token"]);
}

#[tokio::test]
async fn a_proof_and_the_sweep_do_not_wait_for_each_other() {
    let app = TestApp::start().await;
    let id = app.sign_up("ada@example.com").await;
    let token = app.mailed_token("ada@example.com").await;
    // As the sweep does it: the user first, and with the user the tokens.
    let mut sweep = app.pool().begin().await.expect("a transaction");
    sqlx::query("select from users for update").execute(&mut *sweep).await.expect("the row is locked");
    let bury = async {
        app.until_waiting(1).await;
        sqlx::query("delete from users").execute(&mut *sweep).await.expect("no deadlock");
        sweep.commit().await.expect("it is done");
    };
    let (answer, ()) = tokio::join!(app.verify(&id, &token).into_future(), bury);
    answer.refused(400, "InvalidToken");
}
