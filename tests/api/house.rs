//! The laws of the house, held by reading the sources under `src/` (design: rooms, doors, services, stores).
//!
//! Every law is a function from one file to the lines that break it, and has a counter-check: a bad snippet that it must
//! catch, beside a good one that it must let pass.

mod laws;
mod migrations;
mod order;
mod sources;

use sources::{Law, Source, all};

/// Fails with every line of the house that breaks a law.
#[track_caller]
fn holds(law: Law) {
    let broken: Vec<String> = all().iter().flat_map(|source| source.broken(law)).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// What a law says about a snippet as if it were this file.
#[track_caller]
fn judge(law: Law, path: &str, snippet: &str) -> usize {
    Source::new(path, snippet).broken(law).len()
}

#[test]
fn the_sources_are_read() {
    let all = all();
    for path in [
        "lib.rs",
        "users/service/mod.rs",
        "tokens/service.rs",
        "users/store.rs",
        "http/mod.rs",
        "db/embedded/mod.rs",
        "cli/admin/mod.rs",
    ] {
        assert!(all.iter().any(|source| source.path == path), "{path}");
    }
    let source =
        Source::new("users/service.rs", "fn one() {} // unwrap()\n/* x */\n#[cfg(test)]\nmod tests { fn two() {} }\n");
    assert!(source.code().contains("fn one") && !source.code().contains("unwrap"), "comments are no code");
    assert!(!source.code().contains("fn two"), "tests are no part of the house");
    let texts = Source::new("a.rs", "let url = \"http://x\"; let quote = '\"'; call(\"// no comment\"); panic!();");
    assert!(texts.code().contains("panic!"), "a text is no comment: {}", texts.code());
}

#[test]
fn sql_is_written_only_in_stores_and_in_the_plumbing_of_the_database() {
    holds(laws::sql_in_stores);
    for snippet in [
        "sqlx::query!(\"select 1\")",
        "query_as!(User, \"select\")",
        "sqlx::query_scalar!(\"select\")",
        "sqlx::query_scalar::<_, bool>(\"select 1\")",
        "sqlx::query(\"select 1\").execute(pool)",
        "sqlx::raw_sql(\"select 1\")",
        "QueryBuilder::new(\"select\")",
        "use sqlx::query;",
        "use sqlx::{PgPool, query_as};",
    ] {
        assert_eq!(judge(laws::sql_in_stores, "users/service.rs", snippet), 1, "{snippet}");
        assert_eq!(judge(laws::sql_in_stores, "app.rs", snippet), 1, "{snippet}");
        assert_eq!(judge(laws::sql_in_stores, "users/store.rs", snippet), 0, "{snippet}");
        assert_eq!(judge(laws::sql_in_stores, "events/store/read.rs", snippet), 0, "{snippet}");
        assert_eq!(judge(laws::sql_in_stores, "events/http/store/read.rs", snippet), 1, "{snippet}");
        assert_eq!(judge(laws::sql_in_stores, "db/mod.rs", snippet), 0, "{snippet}");
    }
    assert_eq!(judge(laws::sql_in_stores, "events/http.rs", "RawQuery(query): RawQuery, query.take(\"x\")"), 0);
}

#[test]
fn a_transaction_is_the_one_that_notes_its_commit() {
    holds(laws::transactions_of_ours);
    for snippet in [
        "use sqlx::PgPool;",
        "let tx: sqlx::Transaction<'static, Postgres> = x;",
        "use sqlx::{Connection, PgConnection};",
        "use sqlx::Acquire;",
        "tx: &mut Transaction<'_, Postgres>",
    ] {
        assert_eq!(judge(laws::transactions_of_ours, "users/service.rs", snippet), 1, "{snippet}");
        assert_eq!(judge(laws::transactions_of_ours, "users/store.rs", snippet), 1, "{snippet}");
        assert_eq!(judge(laws::transactions_of_ours, "db/pool.rs", snippet), 0, "{snippet}");
    }
    for snippet in ["use sqlx::PgConnection;", "use crate::db::{Pool, Tx};", "let mut tx = self.pool.begin().await?;"] {
        assert_eq!(judge(laws::transactions_of_ours, "users/service.rs", snippet), 0, "{snippet}");
    }
}

#[test]
fn http_is_spoken_only_in_doors() {
    holds(laws::axum_in_doors);
    for snippet in ["use axum::Json;", "let uri: axum::http::Uri = x;", "use tower_http::trace::TraceLayer;"] {
        for path in ["users/service.rs", "users/store.rs", "config/mod.rs", "events/writer.rs", "cli/serve.rs"] {
            assert_eq!(judge(laws::axum_in_doors, path, snippet), 1, "{path}: {snippet}");
        }
        for path in ["users/http.rs", "events/layer.rs", "http/mod.rs", "server/accept.rs"] {
            assert_eq!(judge(laws::axum_in_doors, path, snippet), 0, "{path}: {snippet}");
        }
    }
    assert_eq!(judge(laws::axum_in_doors, "app.rs", "use axum::extract::FromRef;"), 0);
    assert_eq!(judge(laws::axum_in_doors, "app.rs", "use axum::Router;"), 1);
}

#[test]
fn a_door_never_reaches_for_a_store() {
    holds(laws::no_store_in_a_door);
    for path in ["users/http.rs", "users/grpc.rs", "events/layer.rs", "cli/admin.rs", "http/extract.rs"] {
        for snippet in ["super::store::find(x)", "use super::store;", "use super::{Event, store};", "store::list(x)"] {
            assert_eq!(judge(laws::no_store_in_a_door, path, snippet), 1, "{path}: {snippet}");
        }
    }
    assert_eq!(judge(laws::no_store_in_a_door, "users/service.rs", "store::find(x)"), 0);
    assert_eq!(judge(laws::no_store_in_a_door, "cli/admin.rs", "// what the store::find does\nrestore::it()"), 0);
}

#[test]
fn a_store_is_private_to_its_room() {
    holds(laws::private_stores);
    for snippet in ["pub mod store;", "pub(crate) mod store;", "pub use store::find;", "pub use self::store::{find};"] {
        assert_eq!(judge(laws::private_stores, "users/mod.rs", snippet), 1, "{snippet}");
    }
    assert_eq!(judge(laws::private_stores, "users/mod.rs", "mod store;"), 0);
    for source in all().iter().filter(|source| source.is_store()) {
        let front_page = format!("{}/mod.rs", source.room().expect("a store is in a room"));
        let mod_rs = all().into_iter().find(|other| other.path == front_page).expect("a room has a front page");
        assert!(mod_rs.code().lines().any(|line| line.trim() == "mod store;"), "{front_page}");
    }
}

#[test]
fn time_and_chance_come_from_one_place_each() {
    holds(laws::time_and_chance);
    for snippet in [
        "Utc::now()",
        "chrono::Local::now()",
        "SystemTime::now()",
        "Uuid::new_v4()",
        "Uuid::now_v7()",
        "rand::rng()",
        "use rand::Rng;",
        "OsRng.fill_bytes(x)",
        "getrandom::fill(x)",
        "std::collections::hash_map::RandomState::new()",
    ] {
        assert_eq!(judge(laws::time_and_chance, "users/service.rs", snippet), 1, "{snippet}");
    }
    assert_eq!(judge(laws::time_and_chance, "clock.rs", "Utc::now()"), 0);
    assert_eq!(judge(laws::time_and_chance, "clock.rs", "Uuid::new_v4()"), 1);
    assert_eq!(judge(laws::time_and_chance, "random.rs", "rand::rng()"), 0);
    assert_eq!(judge(laws::time_and_chance, "random.rs", "Utc::now()"), 1);
    assert_eq!(judge(laws::time_and_chance, "db/mod.rs", "self.clock.now(); let began = Instant::now();"), 0);
}

#[test]
fn no_task_that_the_server_lives_on_is_spawned_unwatched() {
    holds(laws::tasks_are_watched);
    for snippet in ["tokio::spawn(async {});", "tokio::task::spawn(work);", "let tasks = JoinSet::new();"] {
        assert_eq!(judge(laws::tasks_are_watched, "server/mod.rs", snippet), 1, "{snippet}");
        assert_eq!(judge(laws::tasks_are_watched, "stop.rs", snippet), 0, "{snippet}");
    }
    assert_eq!(judge(laws::tasks_are_watched, "users/password/mod.rs", "tokio::task::spawn_blocking(hash)"), 0);
}

#[test]
fn argon2_is_named_in_one_file() {
    holds(laws::argon2_in_one_file);
    for snippet in ["use argon2::Argon2;", "argon2::Params::new(x)", "Argon2::default()"] {
        assert_eq!(judge(laws::argon2_in_one_file, "users/service.rs", snippet), 1, "{snippet}");
        assert_eq!(judge(laws::argon2_in_one_file, "users/password/mod.rs", snippet), 0, "{snippet}");
    }
    assert_eq!(judge(laws::argon2_in_one_file, "config/mod.rs", "pub argon2_memory_kib: u32,"), 0);
}

#[test]
fn cryptography_of_others_is_named_in_one_place_each() {
    let law = laws::foreign_cryptography_in_one_place;
    holds(law);
    for (snippet, own) in [
        ("use pgp::composed::SignedPublicKey;", "openpgp/certificate.rs"),
        ("use bitcoin::{Address, Network};", "user_keys/bitcoin.rs"),
        ("bip322::verify_simple_encoded(a, b, c)", "user_keys/bitcoin.rs"),
        ("use alloy_primitives::Address;", "ethereum/address.rs"),
    ] {
        assert_eq!((judge(law, "mail/transport.rs", snippet), judge(law, own, snippet)), (1, 0), "{snippet}");
    }
}

#[test]
fn prometheus_is_named_in_one_place() {
    holds(laws::prometheus_in_one_place);
    for snippet in ["use prometheus::IntCounter;", "use prometheus::{Counter};", "prometheus::Registry::new()"] {
        assert_eq!(judge(laws::prometheus_in_one_place, "events/writer.rs", snippet), 1, "{snippet}");
        assert_eq!(judge(laws::prometheus_in_one_place, "metrics/mod.rs", snippet), 0, "{snippet}");
    }
}

#[test]
fn nothing_gives_up_without_a_reason() {
    holds(laws::no_unwrap);
    for snippet in [
        "x.unwrap()",
        "x\n    .unwrap();",
        "panic!(\"no\")",
        "todo!()",
        "unreachable!()",
        "unimplemented!()",
        "x.unwrap_err()",
    ] {
        assert_eq!(judge(laws::no_unwrap, "users/service.rs", snippet), 1, "{snippet}");
    }
    let fine = "x.unwrap_or(0); x.unwrap_or_default(); x.expect(\"a UUID is a header value\"); CatchPanicLayer";
    assert_eq!(judge(laws::no_unwrap, "users/service.rs", fine), 0);
    assert_eq!(judge(laws::no_unwrap, "users/service.rs", "#[cfg(test)]\nmod tests {\n    x.unwrap()\n}\n"), 0);
}

#[test]
fn nobody_panics_because_nobody_listens() {
    holds(laws::no_panicking_prints);
    for snippet in ["print!(\"x\")", "println!()", "eprint!(\"x\")", "std::eprintln!(\"error: {error:#}\")"] {
        assert_eq!(judge(laws::no_panicking_prints, "cli/mod.rs", snippet), 1, "{snippet}");
    }
    let fine = "output::line(text)?; let _ = writeln!(std::io::stderr(), \"{text}\"); Pretty::pretty_print(x)";
    assert_eq!(judge(laws::no_panicking_prints, "cli/mod.rs", fine), 0);
}

#[test]
fn the_environment_is_read_only_by_the_configuration() {
    holds(laws::environment);
    assert_eq!(judge(laws::environment, "mail/transport.rs", "std::env::var(\"SMTP\")"), 1);
    assert_eq!(judge(laws::environment, "config/sources.rs", "std::env::vars_os()"), 0);
    assert_eq!(judge(laws::environment, "cli/mod.rs", "env!(\"CARGO_PKG_VERSION\")"), 0);
}

#[test]
fn an_answer_with_a_secret_is_never_compressed() {
    holds(laws::no_compressed_secrets);
    let answer = |derived: &str, field: &str, kind: &str| {
        let item = format!(
            "#[derive({derived})]\n#[serde(x)]\nstruct NewThing {{\n    id: String,\n    {field}: String,\n}}\n"
        );
        let code =
            format!("{item}async fn make() -> Result<{kind}<NewThing>> {{\n    Ok({kind}(NewThing {{ id }}))\n}}\n");
        judge(laws::no_compressed_secrets, "client_keys/http.rs", &code)
    };
    for field in ["access_token", "pub client_secret", "activation_password", "token"] {
        assert_eq!(answer("Serialize", field, "Json"), 2, "{field}");
        assert_eq!(answer("Serialize", field, "SecretJson"), 0, "{field}");
        assert_eq!(answer("Clone", field, "Json"), 0, "{field}");
    }
    assert_eq!(answer("Serialize", "created_at", "Json"), 0);
}
