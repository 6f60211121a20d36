//! `admin user show|block|reset|delete`, filters, JSON, and the advice to a server without an administrator.

use serde_json::{Value, json};

use crate::harness::people::sign_up_body;
use crate::harness::program::{Done, Place, Program, finish, until};
use crate::harness::{STRONG, STRONGER};

/// The command to type, as the log says it.
const ADVICE: &str = "admin user create --name NAME --admin";

/// A user with a password.
async fn made(place: &Place, name: &str, options: &[&str]) {
    let create = [&["admin", "user", "create", "--name", name, "--password-stdin"], options].concat();
    place.run_with_input(&create, STRONG).await.expect(0);
}

async fn run(place: &Place, command: &[&str]) -> Done {
    place.run(&[&["admin", "user"], command].concat()).await
}

fn parsed(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

async fn log_in(server: &Program, name: &str, password: &str) -> String {
    server.post("/auth").basic(name, password).await.expect(200).text_of("accessToken")
}

#[tokio::test]
async fn an_operator_blocks_resets_and_deletes_beside_a_running_server() {
    let place = Place::filled();
    let mut server = place.serve().await;
    made(&place, "root", &["--admin"]).await;
    made(&place, "ada", &[]).await;
    let token = log_in(&server, "ada", STRONG).await;

    let blocked = run(&place, &["block", "ADA"]).await.expect(0);
    assert_eq!(blocked.stdout, "");
    assert!(blocked.stderr.contains(" is blocked"), "{blocked:?}");
    server.get("/users/me").bearer(&token).await.refused(403, "UserBlocked");

    let reset = run(&place, &["reset", "ada"]).await.expect(0);
    let activation = reset.stdout.strip_prefix("activation password: ").unwrap_or_else(|| panic!("{reset:?}"));
    let activation = activation.trim_end();
    assert!(activation.len() == 16 && !reset.stderr.contains(activation), "{reset:?}");
    server.get("/users/me").bearer(&token).await.refused(401, "TokenInvalid");
    let body = json!({"activationPassword": activation, "newPassword": STRONGER});
    server.put("/users/ada/activation").json(&body).await.expect(200);
    let token = log_in(&server, "ada", STRONGER).await;

    run(&place, &["delete", "ada"]).await.expect(0);
    server.get("/users/me").bearer(&token).await.refused(401, "TokenInvalid");
    for verb in ["show", "block", "reset", "delete", "verify"] {
        let refused = run(&place, &[verb, "ada"]).await.complains(&["there is no user \"ada\""]);
        assert_eq!((refused.stdout.as_str(), refused.stderr.lines().count()), ("", 1), "{refused:?}");
    }
    server.terminate().await;
}

#[tokio::test]
async fn what_is_printed_as_json_is_what_the_rest_api_shows() {
    let place = Place::filled();
    let mut server = place.serve().await;
    assert_eq!(run(&place, &["list", "--json"]).await.expect(0).stdout, "[]\n");
    made(&place, "root", &["--admin"]).await;
    let token = log_in(&server, "root", STRONG).await;
    let made = run(&place, &["create", "--name", "ada", "--read-only", "--json"]).await.expect(0);
    let mut view = parsed(&made);
    let activation = view["activationPassword"].as_str().expect("an activation password").to_owned();
    assert!(!made.stderr.contains(&activation), "{made:?}");
    assert_eq!((&view["readOnly"], &view["state"]), (&json!(true), &json!("waiting_for_activation")));
    view.as_object_mut().expect("an object").remove("activationPassword");
    let shown_as = async |name: &str| server.get(&format!("/users/{name}")).bearer(&token).await.expect(200).json();
    let shown = async || shown_as("ada").await;
    assert_eq!(view, shown().await);
    assert_eq!(parsed(&run(&place, &["show", "ada", "--json"]).await.expect(0)), shown().await);
    for (options, read_only) in [(&[][..], true), (&["--read-only=false"], false), (&["--read-only"], true)] {
        let level = run(&place, &[&["set-level", "ada", "admin", "--json"], options].concat()).await.expect(0);
        assert_eq!((parsed(&level), &parsed(&level)["readOnly"]), (shown().await, &json!(read_only)), "{options:?}");
    }
    assert_eq!(parsed(&run(&place, &["block", "ada", "--json"]).await.expect(0)), shown().await);
    let reset = parsed(&run(&place, &["reset", "ada", "--json"]).await.expect(0));
    assert_eq!(reset["activationPassword"].as_str().map(str::len), Some(16));

    let list = run(&place, &["list", "--json"]).await.expect(0);
    let everybody = server.get("/users").bearer(&token).await.expect(200).json();
    assert_eq!(parsed(&list), everybody);
    assert_eq!(everybody.as_array().map(Vec::len), Some(2));

    let view = shown().await;
    assert_eq!(parsed(&run(&place, &["delete", "ada", "--json"]).await.expect(0)), view);
    server.post("/users").json(&sign_up_body("bob@example.com")).await.expect(201);
    let verified = parsed(&run(&place, &["verify", "bob@example.com", "--json"]).await.expect(0));
    assert_eq!((&verified, &verified["state"]), (&shown_as("bob@example.com").await, &json!("active")));
    server.terminate().await;
}

#[tokio::test]
async fn an_operator_finds_and_looks_at_users() {
    let place = Place::filled();
    let mut server = place.serve().await;
    made(&place, "root", &["--admin"]).await;
    made(&place, "ada_l", &[]).await;
    made(&place, "adam", &["--read-only"]).await;
    run(&place, &["block", "adam"]).await.expect(0);
    for (options, expected) in [
        (&["--search", "ADA"][..], &["ada_l", "adam"][..]),
        (&["--search", "_"], &["ada_l"]),
        (&["--level", "admin"], &["root"]),
        (&["--state", "blocked"], &["adam"]),
        (&["--state", "waiting_for_activation"], &[]),
        (&["--search", "ada", "--state", "active", "--level", "authorized"], &["ada_l"]),
        (&["--read-only"], &["adam"]),
        (&["--read-only=false"], &["root", "ada_l"]),
    ] {
        let list = run(&place, &[&["list"], options].concat()).await.expect(0).stdout;
        let names: Vec<_> = list.lines().skip(1).filter_map(|line| line.split_whitespace().last()).collect();
        assert_eq!(names, expected, "{options:?}: {list}");
        let list = parsed(&run(&place, &[&["list", "--json"], options].concat()).await.expect(0));
        let names: Vec<_> = list.as_array().expect("an array").iter().map(|user| user["name"].as_str()).collect();
        assert_eq!(names, expected.iter().map(|name| Some(*name)).collect::<Vec<_>>(), "{options:?}");
    }
    let shown = run(&place, &["show", "adam"]).await.expect(0).stdout;
    for (field, value) in
        [("name", "adam"), ("state", "blocked"), ("blockedBy", "admin"), ("readOnly", "true"), ("email", "-")]
    {
        let line = shown.lines().find(|line| line.split_whitespace().next() == Some(field));
        assert_eq!(line.and_then(|line| line.split_whitespace().nth(1)), Some(value), "{field} in {shown}");
    }
    run(&place, &["list", "--search", &"a".repeat(255)]).await.complains(&["--search", "254"]);
    run(&place, &["list", "--state", "Active"]).await.expect(2);
    server.terminate().await;
}

#[tokio::test]
async fn the_last_administrator_can_be_reset_by_an_operator_and_nothing_else() {
    let place = Place::filled();
    let mut server = place.serve().await;
    made(&place, "root", &["--admin"]).await;
    for verb in ["block", "delete"] {
        let refused = run(&place, &[verb, "root"]).await.complains(&["last active administrator"]);
        assert_eq!((refused.stdout.as_str(), refused.stderr.lines().count()), ("", 1), "{refused:?}");
    }
    let reset = run(&place, &["reset", "root"]).await.expect(0);
    assert!(reset.stdout.starts_with("activation password: "), "{reset:?}");
    server.terminate().await;
}

#[tokio::test]
async fn a_server_without_an_administrator_says_how_to_make_one() {
    let place = Place::filled();
    let mut server = place.serve().await;
    until("it says so", async || server.said().contains(ADVICE)).await;
    let line = server.said().lines().find(|line| line.contains(ADVICE)).expect("the line").to_owned();
    assert!(line.contains("WARN"), "{line}");
    let typed: Vec<_> = ADVICE.split(' ').map(|word| if word == "NAME" { "root" } else { word }).collect();
    place.run(&typed).await.expect(0);
    server.terminate().await;

    let mut server = place.serve().await;
    server.terminate().await;
    until("all is said", async || server.said().contains("stopping")).await;
    assert!(!server.said().contains(ADVICE), "{}", server.said());
}

#[tokio::test]
async fn what_it_says_to_type_makes_one_in_the_database_that_it_serves() {
    for is_in_a_file in [true, false] {
        let place = Place::filled();
        let (file, folder) = (place.path().join("bloq.toml"), place.data_dir().display().to_string());
        std::fs::write(&file, format!("data_dir = {folder:?}")).expect("our own folder");
        let file = file.display().to_string();
        let (given, told) = if is_in_a_file {
            (["--config", &file], format!("--config {file} --data-dir {folder} {ADVICE}"))
        } else {
            (["--data-dir", &folder], format!("--data-dir {folder} {ADVICE}"))
        };
        let mut server = place.serve_with(|command| command.env_remove("BLOQ_ACCOUNTS_DATA_DIR").args(given)).await;
        until("it says so", async || server.said().contains(ADVICE)).await;
        let said = server.said();
        let typed = said.split("`bloq-accounts ").nth(1).and_then(|rest| rest.split('`').next());
        assert_eq!(typed, Some(told.as_str()), "{said}");

        let typed: Vec<_> = told.split(' ').map(|word| if word == "NAME" { "root" } else { word }).collect();
        let mut command = place.command(&typed);
        command.env_remove("BLOQ_ACCOUNTS_DATA_DIR");
        finish(command).await.expect(0);
        let root = parsed(&run(&place, &["show", "root", "--json"]).await.expect(0));
        assert_eq!((&root["level"], &root["readOnly"]), (&json!("admin"), &json!(false)));
        server.terminate().await;
    }
}
