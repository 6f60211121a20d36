//! `admin user …`, beside a running server and without one.

use serde_json::json;

use crate::harness::people::sign_up_body;
use crate::harness::program::{Done, Place, Program};
use crate::harness::{STRONG, STRONGER};

/// The activation password of `admin user create`: all that is on stdout.
fn activation_password(done: &Done) -> String {
    let password = done.stdout.strip_prefix("activation password: ").and_then(|rest| rest.strip_suffix('\n'));
    let password = password.unwrap_or_else(|| panic!("{done:?}"));
    assert!(password.len() == 16 && password.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{done:?}");
    password.to_owned()
}

/// What `admin user list` says about the user with this name: id, level, state.
async fn listed(place: &Place, name: &str) -> Vec<String> {
    let list = place.run(&["admin", "user", "list"]).await.expect(0).stdout;
    let line = list.lines().find(|line| line.ends_with(&format!(" {name}")));
    let line = line.unwrap_or_else(|| panic!("no {name} in {list}"));
    line.split_whitespace().take(3).map(str::to_owned).collect()
}

async fn log_in(server: &Program, name: &str, password: &str) -> String {
    server.post("/auth").basic(name, password).await.expect(200).text_of("accessToken")
}

#[tokio::test]
async fn a_user_made_beside_a_running_server_activates_and_logs_in() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let made = place.run(&["admin", "user", "create", "--name", "root", "--admin"]).await.expect(0);
    let activation = activation_password(&made);
    assert!(!made.stderr.contains(&activation), "{made:?}");
    assert_eq!(listed(&place, "root").await[1..], ["admin", "waiting_for_activation"]);

    server.post("/auth").basic("root", &activation).await.refused(403, "ActivationRequired");
    let body = json!({"activationPassword": activation, "newPassword": STRONG});
    let profile = server.put("/users/root/activation").json(&body).await.expect(200);
    server.put("/users/root/activation").json(&body).await.refused(401, "InvalidCredentials");
    let token = log_in(&server, "root", STRONG).await;
    let me = server.get("/users/me").bearer(&token).await.expect(200);
    assert_eq!(me.text_of("id"), profile.text_of("id"));
    assert_eq!(listed(&place, "root").await, [profile.text_of("id"), "admin".into(), "active".into()]);
    server.get("/health/ready").await.expect(200);
    server.terminate().await;
}

#[tokio::test]
async fn an_invited_person_gets_a_mail_and_stays_waiting_until_the_e_mail_is_proved() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let made = place.run(&["admin", "user", "create", "--email", "ada@example.com"]).await.expect(0);
    let body = json!({"activationPassword": activation_password(&made), "newPassword": STRONG});
    server.put("/users/ada@example.com/activation").json(&body).await.expect(200);
    server.post("/auth").basic("ada@example.com", STRONG).await.refused(401, "InvalidCredentials");
    let letter = place.mail_to("ada@example.com").await;
    server.put(&format!("/users/{}/token/{}", letter.user_id(), letter.token())).await.expect(200);
    log_in(&server, "ada@example.com", STRONG).await;
    server.terminate().await;
}

#[tokio::test]
async fn a_password_from_stdin_is_good_at_once_and_nothing_is_printed() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let create = ["admin", "user", "create", "--name", "ada", "--password-stdin"];
    let made = place.run_with_input(&create, &format!("{STRONG}\n")).await.expect(0);
    assert_eq!(made.stdout, "");
    assert!(made.stderr.contains("user-") && !made.stderr.contains(STRONG), "{made:?}");
    log_in(&server, "ada", STRONG).await;
    assert_eq!(listed(&place, "ada").await[1..], ["authorized", "active"]);

    let taken = place.run_with_input(&create, STRONGER).await;
    taken.complains(&["login name"]);
    let weak =
        place.run_with_input(&["admin", "user", "create", "--name", "bob", "--password-stdin"], "hunter2\n").await;
    let weak = weak.complains(&["bits"]);
    assert!(!weak.stderr.contains("hunter2"), "{weak:?}");
    place
        .run_with_input(&["admin", "user", "create", "--name", "bob", "--password-stdin"], "")
        .await
        .complains(&["stdin"]);
    server.terminate().await;
}

#[tokio::test]
async fn a_sign_up_that_an_operator_verifies_may_log_in() {
    let place = Place::filled();
    let mut server = place.serve().await;
    server.post("/users").json(&sign_up_body("ada@example.com")).await.expect(201);
    assert_eq!(listed(&place, "ada@example.com").await[2], "waiting_for_activation");
    let done = place.run(&["admin", "user", "verify", "ada@example.com"]).await.expect(0);
    assert_eq!(done.stdout, "");
    log_in(&server, "ada@example.com", STRONG).await;
    assert_eq!(listed(&place, "ada@example.com").await[1..], ["authorized", "active"]);
    place.run(&["admin", "user", "verify", "bob@example.com"]).await.complains(&["bob@example.com"]);
    server.terminate().await;
}

#[tokio::test]
async fn a_command_that_looks_after_a_database_makes_none() {
    let place = Place::new();
    let folder = place.data_dir().display().to_string();
    for command in [
        &["admin", "user", "list"][..],
        &["admin", "user", "verify", "ada@example.com"],
        &["admin", "user", "set-level", "ada", "admin"],
        &["admin", "user", "show", "ada"],
        &["admin", "user", "block", "ada"],
        &["admin", "user", "reset", "ada"],
        &["admin", "user", "delete", "ada"],
        &["admin", "token", "revoke"],
        &["admin", "mail", "list"],
        &["admin", "mail", "retry", "--all-failed"],
        &["admin", "events", "prune"],
        &["admin", "events", "prune", "--dry-run"],
        &["admin", "backup", "accounts.dump"],
    ] {
        place.run(command).await.complains(&["there is no database in", &folder, "--data-dir", "--config"]);
        assert!(!place.data_dir().exists(), "{command:?} made a folder");
    }
    place.run(&["migrate"]).await.expect(0);
    place.run(&["admin", "user", "list"]).await.expect(0);
}

#[tokio::test]
async fn without_a_server_every_command_starts_postgres_and_leaves_no_process() {
    let place = Place::new();
    let nothing = Vec::<i32>::new();
    let made = place.run(&["admin", "user", "create", "--name", "root", "--admin"]).await.expect(0);
    assert_eq!(place.processes(), nothing);
    let activation = activation_password(&made);
    place.run(&["admin", "user", "create", "--email", "ada@example.com"]).await.expect(0);
    place.run(&["admin", "user", "verify", "ada@example.com"]).await.expect(0);
    place.run(&["admin", "user", "set-level", "ada@example.com", "admin"]).await.expect(0);
    assert_eq!(listed(&place, "ada@example.com").await[1], "admin");
    assert_eq!(place.processes(), nothing);
    place.run(&["admin", "user", "verify", "nobody"]).await.complains(&["nobody"]);
    assert_eq!(place.processes(), nothing);

    // What was made without a server is there when one comes.
    let mut server = place.serve().await;
    let body = json!({"activationPassword": activation, "newPassword": STRONG});
    server.put("/users/root/activation").json(&body).await.expect(200);
    server.terminate().await;
}

#[tokio::test]
async fn the_last_administrator_keeps_the_rights() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let create = |name| ["admin", "user", "create", "--name", name, "--admin", "--password-stdin"];
    place.run_with_input(&create("ada"), STRONG).await.expect(0);
    let demote = ["admin", "user", "set-level", "ada", "authorized"];
    place.run(&demote).await.complains(&["last active administrator"]);
    place.run(&["admin", "user", "set-level", "ada", "admin", "--read-only"]).await.complains(&["last active"]);
    assert_eq!(listed(&place, "ada").await[1], "admin");

    // Somebody who never activated is no administrator yet.
    place.run(&["admin", "user", "create", "--name", "bob", "--admin"]).await.expect(0);
    place.run(&demote).await.complains(&["last active administrator"]);
    place.run_with_input(&create("eve"), STRONG).await.expect(0);
    place.run(&demote).await.expect(0);
    assert_eq!(listed(&place, "ada").await[1], "authorized");
    server.terminate().await;
}

#[tokio::test]
async fn names_that_cannot_be_are_refused_with_the_option() {
    let place = Place::filled();
    let create = async |option, value| place.run(&["admin", "user", "create", option, value]).await;
    create("--email", "no e-mail").await.complains(&["--email"]);
    create("--name", "ada lovelace").await.complains(&["--name", "letters"]);
    create("--name", "user-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11").await.complains(&["--name"]);
    place.run(&["admin", "user", "create", "--name", "a", "--email", "a@example.com"]).await.expect(2);
}

#[tokio::test]
async fn an_operator_revokes_a_refresh_token_without_showing_it() {
    let place = Place::filled();
    let server = place.serve().await;
    let made = place.run_with_input(&["admin", "user", "create", "--name", "ada", "--password-stdin"], STRONG).await;
    made.expect(0);
    let token = log_in(&server, "ada", STRONG).await;
    let key = server.post("/users/me/client-keys").bearer(&token).await.expect(200).json();
    let body = json!({
        "grantType": "clientCredentials", "clientId": key["clientId"], "clientSecret": key["clientSecret"],
    });
    let refresh = server.post("/auth/token").json(&body).await.expect(200).text_of("refreshToken");

    place.run_with_input(&["admin", "token", "revoke"], &format!("{refresh}\n")).await.expect(0);
    let body = json!({"grantType": "refreshToken", "refreshToken": refresh});
    server.post("/auth/token").json(&body).await.refused(401, "InvalidRefreshToken");
    place.run_with_input(&["admin", "token", "revoke"], "nonsense\n").await.complains(&["refresh token"]);
}
