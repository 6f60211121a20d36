//! Where the configuration comes from, and what is refused.

use crate::harness::program::{Done, Place, finish};

async fn with_environment(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Done {
    let mut command = place.command(arguments);
    command.envs(variables.iter().copied());
    finish(command).await
}

async fn with_file(place: &Place, text: &str) -> Done {
    let path = place.path().join("bloq.toml");
    std::fs::write(&path, text).expect("our own folder");
    place.run(&["config", "--config", path.to_str().expect("text")]).await
}

#[tokio::test]
async fn what_cargo_gives_to_programs_that_it_runs_is_no_unknown_key() {
    let place = Place::new();
    // What a build script tells the compiler, `cargo run` tells the program, and `cargo test` this test.
    let mut command = place.command(&["config"]);
    command.envs(std::env::vars_os()).env("BLOQ_ACCOUNTS_DATA_DIR", place.data_dir());
    finish(command).await.expect(0);
}

#[tokio::test]
async fn the_merged_configuration_is_printed_with_secrets_masked() {
    let place = Place::new();
    let key = "5e".repeat(32);
    let variables = [
        ("BLOQ_ACCOUNTS_SERVER__MASTER_KEY", key.as_str()),
        ("DATABASE_URL", "postgres://ada:TopSecret@db.example/accounts"),
        ("BLOQ_ACCOUNTS_MAIL__SMTP_URL", "smtps://ada:OtherSecret@mail.example"),
        ("BLOQ_ACCOUNTS_SERVER__TRUSTED_PROXIES", "10.0.0.0/8, ::1/128"),
    ];
    let printed = with_environment(&place, &["config"], &variables).await.expect(0);
    for secret in [&key, "TopSecret", "OtherSecret"] {
        assert!(!printed.stdout.contains(secret) && !printed.stderr.contains(secret), "{printed:?}");
    }
    let table: toml::Table = printed.stdout.parse().expect("TOML");
    assert_eq!(table["server"]["master_key"].as_str(), Some("***"));
    assert_eq!(table["database"]["url"].as_str(), Some("***"));
    assert_eq!(table["mail"]["smtp_url"].as_str(), Some("***"));
    assert_eq!(table["server"]["trusted_proxies"].as_array().map(Vec::len), Some(2));
    assert_eq!(table["data_dir"].as_str(), place.data_dir().to_str());
    assert_eq!(table["server"]["public_url"].as_str(), Some("http://127.0.0.1:4000"));
}

#[tokio::test]
async fn every_key_that_was_promised_is_there_with_its_default() {
    let printed = Place::new().run(&["config"]).await.expect(0);
    let table: toml::Table = printed.stdout.parse().expect("TOML");
    for (key, default) in [
        ("server.listen", "\"127.0.0.1:4000\""),
        ("server.tls_listen", "\"127.0.0.1:4443\""),
        ("server.trusted_proxies", "[]"),
        ("tls.certificate", "\"\""),
        ("tls.key", "\"\""),
        ("server.master_key", "\"\""),
        ("cors.origins", "[]"),
        ("grpc.listen", "\"127.0.0.1:50051\""),
        ("database.url", "\"\""),
        ("mail.transport", "\"file\""),
        ("events.durability", "\"strict\""),
        ("mail.smtp_url", "\"\""),
        ("password.min_entropy", "95"),
        ("password.argon2_memory_kib", "19456"),
        ("password.argon2_iterations", "2"),
        ("password.argon2_parallelism", "1"),
        ("rate_limit.enabled", "true"),
        ("rate_limit.log_ins", "300"),
        ("rate_limit.sign_ups", "60"),
        ("rate_limit.mails", "60"),
        ("rate_limit.token_grants", "3000"),
        ("rate_limit.confirmations", "300"),
        ("rate_limit.redemptions", "300"),
        ("rate_limit.failed_log_ins", "30"),
        ("rate_limit.failed_confirmations", "10"),
        ("events.retention", "\"13 months\""),
        ("events.min_free_disk", "\"1 GiB\""),
        ("log.level", "\"info\""),
        ("log.format", "\"pretty\""),
    ] {
        let (section, name) = key.split_once('.').expect("a section");
        assert_eq!(table[section][name].to_string(), default, "{key}");
    }
    for key in ["database.max_connections", "mail.from", "password.max_parallel_hashes", "tokens.issuer"] {
        let (section, name) = key.split_once('.').expect("a section");
        assert!(table[section].get(name).is_some(), "{key}");
    }
}

#[tokio::test]
async fn the_command_line_counts_more_than_the_environment_and_that_more_than_the_file() {
    let place = Place::new();
    let file = place.path().join("bloq.toml");
    let text = "[database]\nmax_connections = 31\n[password]\nmin_entropy = 31\n[server]\nlisten = \"127.0.0.1:31\"\n";
    std::fs::write(&file, format!("data_dir = \"/from/file\"\n{text}")).expect("our own folder");
    let arguments = ["--config", file.to_str().expect("text"), "config", "--data-dir", "/from/flag"];
    let variables = [("BLOQ_ACCOUNTS_PASSWORD__MIN_ENTROPY", "32"), ("BLOQ_ACCOUNTS_DATA_DIR", "/from/variable")];
    let printed = with_environment(&place, &arguments, &variables).await.expect(0);
    let table: toml::Table = printed.stdout.parse().expect("TOML");
    assert_eq!(table["database"]["max_connections"].as_integer(), Some(31));
    assert_eq!(table["password"]["min_entropy"].as_integer(), Some(32));
    assert_eq!(table["data_dir"].as_str(), Some("/from/flag"));
    assert_eq!(table["server"]["public_url"].as_str(), Some("http://127.0.0.1:31"));
}

#[tokio::test]
async fn an_unknown_key_is_refused_with_what_is_allowed() {
    let place = Place::new();
    for arguments in [&["config"][..], &["serve"], &["migrate"], &["admin", "user", "list"]] {
        let done = with_environment(&place, arguments, &[("BLOQ_ACCOUNTS_GRPC__LISTN", "x")]).await;
        done.complains(&["`grpc.listn`", "BLOQ_ACCOUNTS_GRPC__LISTN", "listen"]);
    }
    with_file(&place, "[grpc]\nlistn = \"x\"\n").await.complains(&["`grpc.listn`", "bloq.toml", "listen"]);
    with_file(&place, "[sever]\nlisten = \"x\"\n").await.complains(&["`sever`", "bloq.toml", "server"]);
    assert!(!place.data_dir().exists(), "nothing was made on the way");
}

#[tokio::test]
async fn a_bad_value_is_refused_with_the_key_and_what_is_allowed() {
    let place = Place::new();
    for (key, value, allowed) in [
        ("password.min_entropy", "much", "number"),
        ("database.max_connections", "2", "at least 3"),
        ("tokens.account_lifetime_seconds", "9000000000000000000", "at most 1000000000"),
        ("server.shutdown_grace_seconds", "1000000001", "at most 1000000000"),
        ("rate_limit.enabled", "maybe", "true or false"),
        ("server.listen", "localhost", "address"),
        ("server.tls_listen", "4443", "address"),
        ("tls.certificate", "/a.pem", "`tls.key`"),
        ("tls.key", "/a.pem", "`tls.certificate`"),
        ("server.metrics_listen", "9400", "address"),
        ("server.trusted_proxies", "10.0.0.0/99", ""),
        ("server.master_key", "abc", "64 hex digits"),
        ("server.public_url", "accounts.example", "http"),
        ("mail.transport", "pigeon", "smtp"),
        ("mail.from", "nobody", "name@example.com"),
        ("cors.origins", "https://a.example/", "\"*\" alone"),
        ("cors.origins", "https://a.example,*", "https://console.example.com"),
        ("events.durability", "loose", "relaxed"),
        ("events.retention", "13 weeks", "\"13 months\""),
        ("events.retention", "0 days", "forever"),
        ("events.min_free_disk", "much", "1 GiB"),
        ("log.format", "xml", "json"),
        ("log.level", "lots=of=noise", "debug"),
        ("log.level", "inof", "debug"),
        ("password.argon2_memory_kib", "1", "8"),
        ("password.min_entropy", "-1", "whole number"),
        ("tokens.algorithm", "none", "ES256"),
        ("database.url", "mysql://x", "postgres://"),
    ] {
        let variable = format!("BLOQ_ACCOUNTS_{}", key.to_uppercase().replace('.', "__"));
        let done = with_environment(&place, &["config"], &[(variable.as_str(), value)]).await;
        done.complains(&[key, allowed]);
    }
}

#[tokio::test]
async fn a_bad_value_of_a_file_is_refused_with_the_key_and_what_is_allowed() {
    let place = Place::new();
    with_file(&place, "[password]\nmin_entropy = \"much\"\n").await.complains(&["password.min_entropy", "number"]);
    with_file(&place, "[log]\nformat = \"xml\"\n").await.complains(&["log.format", "json"]);
    with_file(&place, "[mail\n").await.complains(&["bloq.toml", "TOML"]);
    let missing = place.run(&["config", "--config", "/nowhere/bloq.toml"]).await;
    missing.complains(&["/nowhere/bloq.toml"]);
}

#[tokio::test]
async fn mail_by_smtp_needs_a_server() {
    let place = Place::new();
    let variables = [("BLOQ_ACCOUNTS_MAIL__TRANSPORT", "smtp")];
    with_environment(&place, &["config"], &variables).await.complains(&["mail.smtp_url"]);
}

#[tokio::test]
async fn an_ordinary_user_keeps_the_data_below_the_home() {
    if nix::unistd::Uid::effective().is_root() {
        let mut command = Place::new().command(&["config"]);
        command.env_remove("BLOQ_ACCOUNTS_DATA_DIR");
        let printed = finish(command).await.expect(0);
        assert!(printed.stdout.contains("data_dir = \"/var/lib/bloq-accounts\""), "{printed:?}");
        return;
    }
    let place = Place::new();
    for (variable, folder) in
        [("XDG_DATA_HOME", "/some/data/bloq-accounts"), ("HOME", "/some/data/.local/share/bloq-accounts")]
    {
        let mut command = place.command(&["config"]);
        command.env_remove("BLOQ_ACCOUNTS_DATA_DIR").env(variable, "/some/data");
        let printed = finish(command).await.expect(0);
        assert!(printed.stdout.contains(&format!("data_dir = \"{folder}\"")), "{printed:?}");
    }
}
