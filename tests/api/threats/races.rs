//! Races between two requests, made with a lock that the test holds: row 6 of the list, and our own promises.

use std::future::IntoFuture;
use std::time::Duration;

use bloq_accounts::users::AccessLevel;
use serde_json::json;

use crate::harness::program::until;
use crate::harness::{STRONG, TestApp, sign_up_body};

/// decisions.md section 1: "end every *other*" token; the one that was used stays good, at every moment.
#[tokio::test]
async fn a_token_in_use_during_its_own_change_of_password_stays_good() {
    let app = TestApp::start().await;
    let ada = app.named("ada", AccessLevel::Admin).await;
    for (lock, call) in [
        ("lock table users in access exclusive mode", app.me(&ada.token)),
        ("select from users for update", app.post("/users/me/client-keys").bearer(&ada.token)),
        ("select from users for update", app.patch("/users/ada").bearer(&ada.token).json(&json!({"level": "admin"}))),
    ] {
        let mut change = app.pool().begin().await.expect("a transaction");
        sqlx::query(lock).execute(&mut *change).await.expect("the lock");
        let call = tokio::spawn(call.into_future());
        app.until_waiting(1).await;
        // What PUT /users/me/password with this token does.
        for table in ["users", "account_tokens"] {
            let statement = sqlx::AssertSqlSafe(format!("update {table} set token_version = token_version + 1"));
            sqlx::query(statement).execute(&mut *change).await.expect("the change");
        }
        change.commit().await.expect("the change is made");
        call.await.expect("an answer").expect(200);
    }
}

/// decisions.md section 1: "the first proved keeps it and the others die", also one who is just coming in.
#[tokio::test]
async fn a_sign_up_that_meets_the_proof_of_its_email_does_not_outlive_it() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let token = app.mailed_token("ada@example.com").await;
    let mut lock = app.pool().begin().await.expect("a transaction");
    sqlx::query("lock table outbox in exclusive mode").execute(&mut *lock).await.expect("the lock");
    let stranger = tokio::spawn(app.post("/users").json(&sign_up_body("ada@example.com")).into_future());
    app.until_waiting(1).await;
    let mut proof = tokio::spawn(app.verify(&ada, &token).into_future());
    // It may wait for the stranger, or not: both are right.
    let early = tokio::select! {
        answer = &mut proof => Some(answer),
        () = app.until_waiting(2) => None,
    };
    lock.commit().await.expect("the lock is released");
    let answer = match early {
        Some(answer) => answer,
        None => tokio::time::timeout(Duration::from_secs(10), proof).await.expect("no deadlock"),
    };
    answer.expect("an answer").expect(200);
    stranger.await.expect("an answer").expect(201);
    assert_eq!(app.count("select count(*) from users").await, 1, "one user with a proved address");
}

#[tokio::test]
async fn whoever_gives_in_to_another_transaction_is_told_to_come_again() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    // What Postgres says to one of two that wait for each other.
    app.execute(
        "create function give_in() returns trigger language plpgsql as $$
         begin raise exception using errcode = 'deadlock_detected'; end $$",
    )
    .await;
    app.execute("create trigger give_in before delete on users for each row execute function give_in()").await;
    let refused = app.leave(&ada.token, STRONG).await.refused(503, "Overloaded");
    assert_eq!(refused.header("retry-after"), "1");
    app.execute("drop trigger give_in on users").await;
    app.leave(&ada.token, STRONG).await.expect(204);
}

#[tokio::test]
async fn whoever_hangs_up_leaves_no_open_transaction_to_others() {
    let app = TestApp::start().await;
    let mut beside = app.connection().await;
    let open = "select count(*) from pg_stat_activity
                where datname = current_database() and state like 'idle in transaction%'";
    // At every moment of the way to a transaction.
    for moment in (0..800).step_by(5) {
        let hangs_up = async {
            for _ in 0..moment {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = app.app.pool.begin() => {}
            () = hangs_up => {}
        }
        until("no transaction is open in the pool", async || {
            sqlx::query_scalar::<_, i64>(open).fetch_one(&mut beside).await.expect("a number") == 0
        })
        .await;
    }
}
