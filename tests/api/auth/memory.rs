//! What a server remembers is never older than the last change that was answered, on whichever server it was made.

use std::future::IntoFuture;

use bloq_accounts::secret::PlainSecret;
use bloq_accounts::users::{AccessLevel, UserChange};
use chrono::TimeDelta;
use serde_json::json;
use sqlx::Connection;

use crate::harness::{Person, STRONG, TestApp, together};

const NEW: &str = "Difference Engine 1822";

/// Two servers on one database which both remember Ada.
async fn two_servers() -> (TestApp, TestApp, Person) {
    let app = TestApp::start().await;
    let other = app.replica().await;
    let ada = app.person("ada").await;
    for _ in 0..2 {
        app.me(&ada.token).await.expect(200);
        other.me(&ada.token).await.expect(200);
    }
    (app, other, ada)
}

#[tokio::test]
async fn whoever_was_here_before_is_answered_without_a_question_to_the_database() {
    let app = TestApp::start_with(|config| config.database.max_connections = 3).await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let (_, refresh) = app.grant(&key).await;
    app.me(&ada.token).await.expect(200);
    app.grant_by_refresh(&refresh).await.expect(200);
    // The one connection of requests is held by somebody else.
    let pool = app.pool();
    let _held = pool.acquire().await.expect("the only one");
    app.me(&ada.token).await.expect(200);
    app.grant_by_keys(&key.0, &key.1).await.expect(200);
    app.grant_by_refresh(&refresh).await.expect(200);
}

#[tokio::test]
async fn a_token_that_was_ended_is_dead_at_once_on_every_server() {
    let (app, other, ada) = two_servers().await;
    let second = app.log_in(&ada.email, STRONG).await;
    for server in [&app, &other] {
        server.me(&second).await.expect(200);
    }
    other.delete("/users/me/tokens").bearer(&second).await.expect(204);
    app.me(&ada.token).await.refused(401, "TokenInvalid");
    other.me(&ada.token).await.refused(401, "TokenInvalid");

    app.me(&second).await.expect(200);
    app.delete("/auth").bearer(&second).await.expect(204);
    other.me(&second).await.refused(401, "TokenInvalid");
    app.me(&second).await.refused(401, "TokenInvalid");
}

#[tokio::test]
async fn a_new_password_ends_what_other_servers_remember() {
    let (app, other, ada) = two_servers().await;
    let second = app.log_in(&ada.email, STRONG).await;
    other.me(&second).await.expect(200);
    app.change_password(&ada.token, STRONG, NEW).await.expect(200);
    other.me(&second).await.refused(401, "TokenInvalid");
    app.me(&second).await.refused(401, "TokenInvalid");
    other.me(&ada.token).await.expect(200);
}

#[tokio::test]
async fn a_changed_profile_is_what_the_next_request_shows_on_every_server() {
    let (app, other, ada) = two_servers().await;
    for name in ["Ada King", "Countess of Lovelace"] {
        app.change_profile(&ada.token, &json!({"displayName": name})).await.expect(200);
        for server in [&other, &app] {
            assert_eq!(server.me(&ada.token).await.expect(200).text_of("displayName"), name);
        }
    }
}

#[tokio::test]
async fn whoever_is_blocked_or_gone_is_refused_at_once_on_every_server() {
    let (app, other, ada) = two_servers().await;
    let key = app.client_key(&ada).await;
    let (_, refresh) = app.grant(&key).await;
    other.grant(&key).await;
    other.grant_by_refresh(&refresh).await.expect(200);
    other.me(&ada.token).await.expect(200);
    app.block(&ada.id, "admin").await;
    for server in [&app, &other] {
        server.me(&ada.token).await.refused(403, "UserBlocked");
        server.grant_by_keys(&key.0, &key.1).await.refused(403, "UserBlocked");
        server.grant_by_refresh(&refresh).await.refused(403, "UserBlocked");
    }

    let (app, other, bob) = two_servers().await;
    app.leave(&bob.token, STRONG).await.expect(204);
    other.me(&bob.token).await.refused(401, "TokenInvalid");
    app.me(&bob.token).await.refused(401, "TokenInvalid");
}

#[tokio::test]
async fn a_token_whose_time_is_over_is_dead_wherever_it_is_remembered() {
    let (app, other, ada) = two_servers().await;
    app.advance(TimeDelta::hours(12) - TimeDelta::seconds(1));
    for server in [&app, &other] {
        server.me(&ada.token).await.expect(200);
    }
    app.advance(TimeDelta::seconds(1));
    for server in [&app, &other] {
        server.me(&ada.token).await.refused(401, "TokenExpired");
    }
}

#[tokio::test]
async fn a_refresh_token_whose_time_is_over_is_dead_wherever_it_is_remembered() {
    let (app, other, ada) = two_servers().await;
    let (_, refresh) = app.grant(&app.client_key(&ada).await).await;
    app.advance(TimeDelta::seconds(31_536_000 - 1));
    for server in [&app, &other] {
        for _ in 0..2 {
            server.grant_by_refresh(&refresh).await.expect(200);
        }
    }
    app.advance(TimeDelta::seconds(1));
    for server in [&app, &other] {
        server.grant_by_refresh(&refresh).await.refused(401, "InvalidRefreshToken");
    }
}

#[tokio::test]
async fn rights_that_were_given_or_taken_hold_at_once_on_every_server() {
    let (app, other, ada) = two_servers().await;
    app.named("root", AccessLevel::Admin).await;
    for (level, status) in [(AccessLevel::Admin, 200), (AccessLevel::Authorized, 403)] {
        let change = UserChange { level: Some(level), ..UserChange::default() };
        app.change_user(&ada.id, change).await.expect("she is changed");
        for server in [&other, &app] {
            server.get("/events").bearer(&ada.token).await.expect(status);
        }
    }
}

#[tokio::test]
async fn whoever_is_blocked_is_not_remembered() {
    let (app, _, ada) = two_servers().await;
    app.block(&ada.id, "admin").await;
    for _ in 0..2 {
        app.me(&ada.token).await.refused(403, "UserBlocked");
    }
    app.connection_holding("lock table account_tokens in access exclusive mode", async || {
        let refused = tokio::spawn(app.me(&ada.token).into_future());
        tokio::select! {
            () = app.somebody_waits_for_a_lock() => {}
            answer = refused => panic!("answered from memory: {answer:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_done_to_a_client_key_holds_at_once_on_every_server() {
    let (app, other, ada) = two_servers().await;
    let key = app.client_key(&ada).await;
    let (_, refresh) = app.grant(&key).await;
    let (_, revoked) = app.grant(&key).await;
    for server in [&app, &other] {
        for _ in 0..2 {
            server.grant(&key).await;
            server.grant_by_refresh(&refresh).await.expect(200);
            server.grant_by_refresh(&revoked).await.expect(200);
        }
    }
    app.app.tokens.revoke_refresh(&PlainSecret::new(revoked.as_str())).await.expect("one of ours");
    for server in [&other, &app] {
        server.grant_by_refresh(&revoked).await.refused(401, "InvalidRefreshToken");
        server.grant_by_refresh(&refresh).await.expect(200);
    }
    app.delete(&format!("/users/me/client-keys/{}/tokens", key.0)).bearer(&ada.token).await.expect(204);
    for server in [&other, &app] {
        server.grant_by_refresh(&refresh).await.refused(401, "InvalidRefreshToken");
        server.grant(&key).await;
    }
    app.delete(&format!("/users/me/client-keys/{}", key.0)).bearer(&ada.token).await.expect(204);
    for server in [&other, &app] {
        server.grant_by_keys(&key.0, &key.1).await.refused(401, "InvalidClientCredentials");
    }
}

#[tokio::test]
async fn what_an_operator_types_into_the_database_holds_at_once() {
    let (app, other, ada) = two_servers().await;
    app.execute("update users set display_name = 'Typed by hand'").await;
    assert_eq!(other.me(&ada.token).await.expect(200).text_of("displayName"), "Typed by hand");
    app.execute("delete from account_tokens").await;
    other.me(&ada.token).await.refused(401, "TokenInvalid");
    app.me(&ada.token).await.refused(401, "TokenInvalid");
}

#[tokio::test]
async fn an_answer_that_was_made_again_is_one_event_which_tells_what_the_client_was_told() {
    let (app, other, ada) = two_servers().await;
    let key = app.client_key(&ada).await;
    app.grant(&key).await;
    app.block(&ada.id, "admin").await;
    let before = app.count("select count(*) from events").await;
    other.me(&ada.token).await.refused(403, "UserBlocked");
    app.grant_by_keys(&key.0, &key.1).await.refused(403, "UserBlocked");
    assert_eq!(app.count("select count(*) from events").await, before + 2);
    assert_eq!(app.count("select count(*) from events where status = 403 and user_id is not null").await, 2);
}

#[tokio::test]
async fn in_a_crowd_of_readers_nobody_sees_an_older_name_than_the_one_that_was_answered() {
    let (app, other, ada) = two_servers().await;
    for round in 0..20 {
        let name = format!("Ada {round:02}");
        let readers = (0..6).map(|reader| if reader % 2 == 0 { app.me(&ada.token) } else { other.me(&ada.token) });
        let readers = tokio::spawn(together(readers.collect::<Vec<_>>()));
        app.change_profile(&ada.token, &json!({"displayName": name})).await.expect(200);
        for server in [&other, &app] {
            assert_eq!(server.me(&ada.token).await.expect(200).text_of("displayName"), name);
        }
        readers.await.expect("no panic").into_iter().for_each(|answer| drop(answer.expect(200)));
    }
}

/// The request that was under way when the change began may be answered either way; the one that began after it may not.
#[tokio::test]
async fn a_change_that_is_not_committed_yet_holds_nobody_up() {
    let (app, other, ada) = two_servers().await;
    let known_as = other.me(&ada.token).await.expect(200).text_of("displayName");
    let mut operator = app.connection().await;
    let mut change = operator.begin().await.expect("a transaction");
    sqlx::query("update users set display_name = 'Later'").execute(&mut *change).await.expect("a change");
    assert_eq!(other.me(&ada.token).await.expect(200).text_of("displayName"), known_as);
    change.commit().await.expect("a commit");
    assert_eq!(other.me(&ada.token).await.expect(200).text_of("displayName"), "Later");
}
