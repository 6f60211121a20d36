//! The configuration: what there is ([`Config`]), how it is put together (`sources.rs`), what it may say (here).
//!
//! Nobody else reads the environment, a configuration file or a flag. A room is handed its own section.

mod sources;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use ipnetwork::IpNetwork;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

pub use sources::Overrides;

/// Every key of `config/default.toml`, merged and checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of everything kept on disk.
    pub data_dir: PathBuf,
    /// The REST door.
    pub server: Server,
    /// The gRPC door.
    pub grpc: Grpc,
    /// Postgres.
    pub database: Database,
    /// Mail transport.
    pub mail: Mail,
    /// Password rule and hashing.
    pub password: Password,
    /// Issuer, algorithm and lifetimes of tokens.
    pub tokens: Tokens,
    /// The event writer.
    pub events: Events,
    /// Rate limits.
    pub rate_limit: RateLimit,
    /// The log.
    pub log: Log,
}

/// Section `[server]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address of the REST door.
    pub listen: SocketAddr,
    /// What links are built from; no slash at the end.
    pub public_url: String,
    /// Networks of reverse proxies.
    pub trusted_proxies: Vec<IpNetwork>,
    /// 64 hex digits, or empty for a key file.
    pub master_key: SecretString,
    /// Connections open at once.
    pub max_connections: usize,
    /// Longest time without progress: an idle connection, the head of a request, an answer that nobody takes.
    pub idle_timeout_seconds: u64,
    /// Longest time a request may take.
    pub request_timeout_seconds: u64,
    /// Longest time for open requests at shutdown.
    pub shutdown_grace_seconds: u64,
}

/// Section `[grpc]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grpc {
    /// Address of the gRPC door.
    pub listen: SocketAddr,
}

/// Section `[database]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Postgres URL; empty means a private Postgres.
    pub url: SecretString,
    /// Connections of this process.
    pub max_connections: u32,
    /// Folder of PostgreSQL server binaries; empty means searching.
    pub postgres_bin: PathBuf,
}

/// Section `[mail]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// Where mails go.
    pub transport: MailTransport,
    /// The SMTP server, with credentials.
    pub smtp_url: SecretString,
    /// Sender of every mail.
    pub from: String,
}

/// Where mails go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTransport {
    /// `<data_dir>/mail/*.eml`.
    File,
    /// The server of `mail.smtp_url`.
    Smtp,
}

/// Section `[password]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Password {
    /// Least entropy of a new password, bits.
    pub min_entropy: u32,
    /// Argon2id memory, KiB.
    pub argon2_memory_kib: u32,
    /// Argon2id passes.
    pub argon2_iterations: u32,
    /// Argon2id lanes.
    pub argon2_parallelism: u32,
    /// Hashes computed at once; 0 means one per core.
    pub max_parallel_hashes: usize,
    /// Requests that may wait for a hash.
    pub max_queued_hashes: usize,
    /// How long they may wait, milliseconds.
    pub queue_deadline_ms: u64,
    /// Failed log-ins after which an account without e-mail blocks itself.
    pub max_failed_logins: i32,
}

/// Section `[tokens]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// The `iss` claim.
    pub issuer: String,
    /// Algorithm of a new signing key.
    pub algorithm: Algorithm,
    /// Life of an account token, seconds.
    pub account_lifetime_seconds: i64,
    /// Life of a client access token, seconds.
    pub client_access_lifetime_seconds: i64,
    /// Life of a client refresh token, seconds.
    pub client_refresh_lifetime_seconds: i64,
}

/// Algorithm of a signing key (RFC 7518).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// Section `[events]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// Events that may wait.
    pub queue: usize,
    /// Events of one statement.
    pub batch: usize,
    /// Longest wait of an answer for its event, milliseconds.
    pub commit_deadline_ms: u64,
}

/// Section `[rate_limit]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Whether limits apply.
    pub enabled: bool,
}

/// Section `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Level or filter.
    pub level: String,
    /// Layout of a line.
    pub format: LogFormat,
}

/// Layout of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Merges defaults, file, environment and command line, in this order, and checks the result.
    ///
    /// # Errors
    /// One that names the key, where it was set, and what is allowed.
    pub fn load(overrides: &Overrides) -> anyhow::Result<Self> {
        Self::load_from(overrides, sources::environment())
    }

    /// [`Config::load`] with an environment of one's own.
    pub fn load_from(
        overrides: &Overrides,
        environment: impl Iterator<Item = (String, String)>,
    ) -> anyhow::Result<Self> {
        Self::from_table(sources::merged(overrides, environment)?)
    }

    /// The same as TOML, secrets masked: what `bloq-accounts config` prints.
    pub fn show(overrides: &Overrides) -> anyhow::Result<String> {
        let table = sources::merged(overrides, sources::environment())?;
        let config = Self::from_table(table.clone())?;
        sources::masked(table, &config)
    }

    fn from_table(table: toml::Table) -> anyhow::Result<Self> {
        let mut config: Self = serde_path_to_error::deserialize(table).map_err(|error| {
            let key = error.path().to_string();
            let reason = error.into_inner().to_string();
            let needed = match key.split('[').next().unwrap_or_default() {
                "server.listen" | "grpc.listen" => "; an IP address and a port such as 127.0.0.1:4000 are needed",
                "server.trusted_proxies" => "; networks such as 10.0.0.0/8 are needed",
                _ if reason.starts_with("invalid value: integer") => "; a whole number from 0 on is needed",
                _ => "",
            };
            anyhow::anyhow!("bad value for `{key}`: {}{needed}", reason.lines().next().unwrap_or_default())
        })?;
        config.fill_in()?;
        config.check()?;
        Ok(config)
    }

    /// Defaults that depend on other keys or on who we are.
    fn fill_in(&mut self) -> anyhow::Result<()> {
        if self.data_dir.as_os_str().is_empty() {
            self.data_dir = default_data_dir()?;
        }
        self.data_dir = std::path::absolute(&self.data_dir)
            .with_context(|| format!("bad value for `data_dir`: {}", self.data_dir.display()))?;
        if self.tokens.issuer.is_empty() {
            // Not the address we listen on: tokens should outlive a change of port.
            let issuer = if self.server.public_url.is_empty() { "bloq-accounts" } else { &self.server.public_url };
            self.tokens.issuer = issuer.trim_end_matches('/').to_owned();
        }
        if self.server.public_url.is_empty() {
            let mut address = self.server.listen;
            // "Every address" is one to listen on, not one to go to.
            match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
                IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
                _ => {}
            }
            self.server.public_url = format!("http://{address}");
        }
        self.server.public_url.truncate(self.server.public_url.trim_end_matches('/').len());
        if self.password.max_parallel_hashes == 0 {
            self.password.max_parallel_hashes = std::thread::available_parallelism().map_or(1, usize::from);
        }
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        let url = &self.server.public_url;
        ensure!(
            url.parse::<hyper::Uri>()
                .is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()),
            "bad value for `server.public_url`: an http:// or https:// URL is needed, not {url:?}",
        );
        if !self.server.master_key.expose_secret().is_empty() {
            crate::sealing::MasterKey::parse(&self.server.master_key).context("bad value for `server.master_key`")?;
        }
        if let Some(reason) = self.database_url().and_then(|url| crate::db::check_url(url).err()) {
            bail!("bad value for `database.url`: {reason}; postgres://user:password@host/database is needed");
        }
        ensure!(
            is_log_filter(&self.log.level),
            "bad value for `log.level`: off, error, warn, info, debug, trace or a filter such as info,sqlx=debug is \
             needed, not {:?}",
            self.log.level,
        );
        for (key, value, least) in [
            ("server.max_connections", self.server.max_connections as u64, 1),
            ("server.idle_timeout_seconds", self.server.idle_timeout_seconds, 1),
            ("server.request_timeout_seconds", self.server.request_timeout_seconds, 1),
            ("database.max_connections", u64::from(self.database.max_connections), 2),
            ("password.max_queued_hashes", self.password.max_queued_hashes as u64, 1),
            ("password.queue_deadline_ms", self.password.queue_deadline_ms, 1),
            ("password.max_failed_logins", self.password.max_failed_logins.try_into().unwrap_or(0), 1),
            ("tokens.account_lifetime_seconds", self.tokens.account_lifetime_seconds.try_into().unwrap_or(0), 1),
            (
                "tokens.client_access_lifetime_seconds",
                self.tokens.client_access_lifetime_seconds.try_into().unwrap_or(0),
                1,
            ),
            (
                "tokens.client_refresh_lifetime_seconds",
                self.tokens.client_refresh_lifetime_seconds.try_into().unwrap_or(0),
                1,
            ),
            ("events.queue", self.events.queue as u64, 1),
            ("events.batch", self.events.batch as u64, 1),
            ("events.commit_deadline_ms", self.events.commit_deadline_ms, 1),
        ] {
            ensure!(value >= least, "bad value for `{key}`: at least {least} is needed");
        }
        ensure!(
            self.mail.transport == MailTransport::File || !self.mail.smtp_url.expose_secret().is_empty(),
            "`mail.transport` is \"smtp\", but `mail.smtp_url` is empty",
        );
        Ok(())
    }

    /// The URL of an external Postgres, if one is configured.
    pub fn database_url(&self) -> Option<&str> {
        Some(self.database.url.expose_secret()).filter(|url| !url.is_empty())
    }
}

/// The library takes any bare word for the name of a module, and "inof" would silence the log.
fn is_log_filter(text: &str) -> bool {
    let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let is_directive = |part: &str| part.contains(['=', '[']) || is_level(part.trim());
    text.split(',').all(is_directive) && tracing_subscriber::EnvFilter::try_new(text).is_ok()
}

fn default_data_dir() -> anyhow::Result<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Ok("/var/lib/bloq-accounts".into());
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(Path::new(".local/share"))))
        .map(|base| base.join("bloq-accounts"))
        .context("neither XDG_DATA_HOME nor HOME is set: name the data folder with --data-dir")
}
