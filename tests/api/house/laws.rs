//! Laws that one line can break.

use super::sources::Source;

fn none_of(source: &Source, words: &[&str], is_allowed: bool) -> Vec<String> {
    if is_allowed { Vec::new() } else { source.lines_with(words) }
}

/// SQL belongs to the store of a room and to `db/`.
pub fn sql_in_stores(source: &Source) -> Vec<String> {
    let is_allowed = source.path.starts_with("db/") || source.is_store();
    let words = [
        "query!",
        "query_as!",
        "query_scalar!",
        "query_file!",
        "query_with",
        "sqlx::query",
        "sqlx::query_as",
        "sqlx::query_scalar",
        "raw_sql",
        "QueryBuilder",
    ];
    let mut broken = none_of(source, &words, is_allowed);
    if !is_allowed {
        let imports = source.code().lines().filter(|line| line.trim_start().starts_with("use sqlx::{"));
        let takes = |line: &&str| line.split(['{', ',', '}', ';', ' ']).any(|name| name.starts_with("query"));
        broken.extend(imports.filter(takes).map(str::to_owned));
    }
    broken
}

/// Outside of `db/` a transaction is a `db::Tx`: sqlx has its own, whose commits nobody would note.
pub fn transactions_of_ours(source: &Source) -> Vec<String> {
    let is_ours = source.path.starts_with("db/");
    let mut broken = none_of(source, &["PgPool", "Transaction<", "sqlx::Connection", "Acquire"], is_ours);
    if !is_ours {
        let imports = source.code().lines().filter(|line| line.trim_start().starts_with("use sqlx::{"));
        let takes = |line: &&str| line.split(['{', ',', '}', ' ']).any(|name| name == "Connection");
        broken.extend(imports.filter(takes).map(str::to_owned));
    }
    broken
}

/// `axum` and `tower_http` belong to doors, to what doors share, and to the listener; `app.rs` may derive `FromRef`.
pub fn axum_in_doors(source: &Source) -> Vec<String> {
    let plumbing = ["http/", "grpc/", "server/"];
    let is_allowed = source.is_room_door() || plumbing.iter().any(|folder| source.path.starts_with(folder));
    let mut broken = none_of(source, &["axum::", "axum::{", "tower_http"], is_allowed);
    if source.path == "app.rs" {
        broken.retain(|line| line != "use axum::extract::FromRef;");
    }
    broken
}

/// A door calls services.
pub fn no_store_in_a_door(source: &Source) -> Vec<String> {
    if !source.is_door() {
        return Vec::new();
    }
    let mut broken = source.lines_with(&["store::", "::store"]);
    let imports = source.code().lines().filter(|line| line.trim_start().starts_with("use ") && line.contains('{'));
    let takes = |line: &&str| line.split(['{', ',', '}', ';', ' ']).any(|name| name == "store");
    broken.extend(imports.filter(takes).map(str::to_owned));
    broken
}

/// `mod store;` is private, and nothing of it is handed on.
pub fn private_stores(source: &Source) -> Vec<String> {
    let code = source.code().lines().map(str::trim).filter(|line| line.starts_with("pub"));
    let is_broken = |line: &&str| {
        line.ends_with("mod store;")
            || (line.contains(" use ") && (line.contains("store::") || line.contains("store;")))
    };
    code.filter(is_broken).map(str::to_owned).collect()
}

/// Services hold a `Clock` and a `Random`. `Instant` is no time of day and may measure anywhere.
pub fn time_and_chance(source: &Source) -> Vec<String> {
    let mut broken = none_of(source, &["Utc::now", "Local::now", "SystemTime::now"], source.path == "clock.rs");
    let chance =
        ["new_v4", "now_v7", "rand::", "OsRng", "getrandom", "thread_rng", "RandomState", "SystemRandom", "fastrand"];
    broken.extend(none_of(source, &chance, source.path == "random.rs"));
    broken
}

/// A task that the server lives on is watched: `Stop::watch` spawns it. Of the others one says good-bye to a mail server,
/// one begins a transaction, and one looks after Postgres, also for commands; a server watches its end.
pub fn tasks_are_watched(source: &Source) -> Vec<String> {
    let others = ["stop.rs", "mail/smtp.rs", "db/pool.rs", "db/embedded/mod.rs"];
    none_of(source, &["tokio::spawn", "task::spawn(", "JoinSet"], others.contains(&source.path.as_str()))
}

/// Passwords are hashed in one place.
pub fn argon2_in_one_file(source: &Source) -> Vec<String> {
    none_of(source, &["argon2::", "Argon2"], source.path == "users/password/mod.rs")
}

/// What strangers send as OpenPGP is judged in one place, and so are Bitcoin and Ethereum.
pub fn foreign_cryptography_in_one_place(source: &Source) -> Vec<String> {
    let mut broken =
        none_of(source, &["pgp::composed", "pgp::packet", "pgp::armor"], source.path.starts_with("openpgp/"));
    broken.extend(none_of(
        source,
        &["bitcoin::{", "bitcoin::secp256k1", "bip322::"],
        source.path == "user_keys/bitcoin.rs",
    ));
    broken.extend(none_of(source, &["alloy_primitives"], source.path.starts_with("ethereum/")));
    broken
}

/// Counters are verbs to everybody but those who write the page.
pub fn prometheus_in_one_place(source: &Source) -> Vec<String> {
    none_of(source, &["prometheus::", "prometheus::{"], source.path.starts_with("metrics/"))
}

/// An `expect` says why it holds; the rest has no excuse.
pub fn no_unwrap(source: &Source) -> Vec<String> {
    let words = [".unwrap()", ".unwrap_err()", "panic!", "todo!", "unimplemented!", "unreachable!", "dbg!"];
    source.lines_with(&words)
}

/// These panic when nobody can be told: `cli::output` prints, `tracing` logs.
pub fn no_panicking_prints(source: &Source) -> Vec<String> {
    source.lines_with(&["print!", "println!", "eprint!", "eprintln!"])
}

/// Nobody but the configuration reads the environment. The private Postgres may: it looks for programs in `PATH` and for
/// the place of temporary files.
pub fn environment(source: &Source) -> Vec<String> {
    let is_allowed = source.path.starts_with("config/") || source.path.starts_with("db/embedded/");
    none_of(source, &["env::var", "env::var_os", "env::vars", "env::vars_os", "env::args"], is_allowed)
}

/// An answer with a token or a secret is a `SecretJson`, which is never compressed. A field is known by its name.
pub fn no_compressed_secrets(source: &Source) -> Vec<String> {
    if !source.is_room_door() {
        return Vec::new();
    }
    let is_secret = |field: &str| {
        let name = field.trim().trim_start_matches("pub ").split(':').next().unwrap_or_default();
        ["token", "secret", "password"].iter().any(|word| name == *word || name.ends_with(&format!("_{word}")))
    };
    let structs = source.code().split("#[derive(").skip(1).filter_map(|item| {
        let (derived, rest) = item.split_once(")]")?;
        let (name, fields) = rest.split_once("struct ")?.1.split_once('{')?;
        let fields = fields.split_once("\n}").map_or(fields, |(fields, _)| fields);
        (derived.contains("Serialize") && fields.lines().any(is_secret)).then(|| name.trim().to_owned())
    });
    structs.flat_map(|name| source.lines_with(&[&format!("Json<{name}>"), &format!("Json({name}")])).collect()
}
