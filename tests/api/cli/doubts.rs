//! What can be meant so, but hardly is: the log says it once.

use std::net::SocketAddr;

use bloq_accounts::config::{Config, Overrides};

use crate::harness::program::{Place, Program, free_address, until};

/// The keys that the doubts about this configuration name.
fn doubts(variables: &[(&str, &str)]) -> Vec<&'static str> {
    let named = |(key, value): &(&str, &str)| {
        (format!("BLOQ_ACCOUNTS_{}", key.to_uppercase().replace('.', "__")), (*value).to_owned())
    };
    let overrides = Overrides { data_dir: Some("/nowhere".into()), ..Overrides::default() };
    let config = Config::load_from(&overrides, variables.iter().map(named)).expect("a configuration");
    let first_key = |doubt: &String| {
        let keys = ["mail.transport", "server.listen", "server.tls_listen", "server.public_url"];
        keys.into_iter().find(|key| doubt.starts_with(&format!("`{key}`"))).expect("a key")
    };
    config.doubts().iter().map(first_key).collect()
}

#[test]
fn a_server_of_ones_own_leaves_no_doubt() {
    let nothing: [&str; 0] = [];
    assert_eq!(doubts(&[]), nothing);
    assert_eq!(doubts(&[("server.listen", "[::1]:4000")]), nothing);
    assert_eq!(doubts(&[("server.public_url", "http://localhost:4000")]), nothing);
}

#[test]
fn a_server_that_is_set_up_for_others_leaves_no_doubt() {
    let nothing: [&str; 0] = [];
    let smtp = [("mail.transport", "smtp"), ("mail.smtp_url", "smtps://mail.example")];
    let url = ("server.public_url", "https://accounts.example");
    assert_eq!(doubts(&[smtp[0], smtp[1], url]), nothing);
    assert_eq!(doubts(&[smtp[0], smtp[1], url, ("server.listen", "0.0.0.0:4000")]), nothing);
}

#[test]
fn a_public_server_with_settings_of_a_private_one_is_doubtful() {
    let public = ("server.listen", "0.0.0.0:4000");
    assert_eq!(
        doubts(&[public]),
        ["mail.transport", "server.listen"],
        "http://127.0.0.1:4000 is made from the address"
    );
    assert_eq!(doubts(&[public, ("server.public_url", "https://accounts.example")]), ["mail.transport"]);
    assert_eq!(doubts(&[public, ("server.public_url", "http://[::1]")]), ["mail.transport", "server.listen"]);
    assert_eq!(doubts(&[("server.listen", "[::]:4000")]), ["mail.transport", "server.listen"]);
    let tls = [("tls.certificate", "/a.pem"), ("tls.key", "/a.key"), ("server.tls_listen", "0.0.0.0:443")];
    assert_eq!(doubts(&tls), ["mail.transport", "server.tls_listen"]);
    // Behind a proxy of the same machine.
    assert_eq!(doubts(&[("server.public_url", "https://accounts.example")]), ["mail.transport"]);
}

#[test]
fn links_without_encryption_are_doubtful() {
    let smtp = [("mail.transport", "smtp"), ("mail.smtp_url", "smtps://mail.example")];
    let doubts = |more: &[(&str, &str)]| doubts(&[&smtp[..], more].concat());
    assert_eq!(doubts(&[("server.public_url", "http://accounts.example")]), ["server.public_url"]);
    assert_eq!(doubts(&[("server.listen", "203.0.113.5:4000")]), ["server.public_url"]);
}

#[tokio::test]
async fn a_doubtful_server_says_so_at_its_start() {
    let (place, port) = (Place::new(), free_address().port());
    let listen = SocketAddr::from(([0, 0, 0, 0], port)).to_string();
    let nowhere = "postgres://nobody@127.0.0.1:1/nowhere";
    let command = place.command(&["serve", "--listen", &listen, "--database-url", nowhere]);
    let program = Program::start(command, ([127, 0, 0, 1], port).into()).await;
    until("it waits for its database", async || program.said().contains("waiting for the database")).await;
    let said = program.said();
    for key in ["`mail.transport`", "`server.listen`", "`server.public_url`"] {
        assert!(said.contains(key), "{key}: {said}");
    }
    assert_eq!(said.matches("`mail.transport`").count(), 1, "{said}");
}

#[tokio::test]
async fn a_proxy_that_nobody_trusts_is_named_once() {
    let place = Place::filled();
    let program = place.serve().await;
    program.get("/nowhere").await.expect(404);
    assert!(!program.said().contains("trusted_proxies"), "{}", program.said());
    for _ in 0..3 {
        program.get("/nowhere").header("x-forwarded-for", "203.0.113.9").await.expect(404);
    }
    until("the log says so", async || program.said().contains("`server.trusted_proxies`")).await;
    program.get("/nowhere").header("x-forwarded-for", "203.0.113.77").await.expect(404);
    let said = program.said();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("`server.trusted_proxies`")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("WARN") && lines[0].contains("127.0.0.1/32"), "{}", lines[0]);
    assert!(!said.contains("203.0.113."), "what was claimed is nobody's business: {said}");
}

#[tokio::test]
async fn a_trusted_proxy_that_does_not_say_for_whom_it_asks_is_named_once() {
    let place = Place::filled();
    let trusted = [("BLOQ_ACCOUNTS_SERVER__TRUSTED_PROXIES", "127.0.0.0/8")];
    let program = place.serve_with(|command| command.envs(trusted)).await;
    program.get("/nowhere").await.expect(404);
    program.get("/nowhere").from("203.0.113.9").header("via", "1.1 proxy").await.expect(404);
    assert!(!program.said().contains("X-Forwarded-For"), "{}", program.said());
    for _ in 0..3 {
        program.get("/nowhere").header("x-real-ip", "203.0.113.9").await.expect(404);
    }
    until("the log says so", async || program.said().contains("without X-Forwarded-For")).await;
    program.get("/nowhere").header("forwarded", "for=203.0.113.77").await.expect(404);
    let said = program.said();
    assert_eq!(said.matches("without X-Forwarded-For").count(), 1, "{said}");
    assert!(said.contains("127.0.0.1/32") && !said.contains("203.0.113."), "{said}");
}
