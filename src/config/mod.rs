//! The configuration: what there is ([`Config`]), how it is put together (`sources.rs`), what it may say (`check.rs`).
//!
//! Nobody else reads the environment, a configuration file or a flag. A room is handed its own section.

mod check;
mod retention;
mod sources;

use std::net::SocketAddr;
use std::path::PathBuf;

use bytesize::ByteSize;
use ipnetwork::IpNetwork;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};

pub use retention::Retention;
pub use sources::Overrides;

/// Every key of `config/default.toml`, merged and checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of everything kept on disk.
    pub data_dir: PathBuf,
    /// The REST door.
    pub server: Server,
    /// The certificate of listeners with TLS.
    pub tls: Tls,
    /// Web pages that may call the REST door.
    pub cors: Cors,
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
    /// What wallets sign.
    pub wallet: Wallet,
    /// The event writer.
    pub events: Events,
    /// Rate limits.
    pub rate_limit: RateLimit,
    /// The log.
    pub log: Log,
    #[serde(skip)]
    origins: sources::Origins,
}

/// Section `[server]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address of the REST door.
    pub listen: SocketAddr,
    /// Address of the REST door with TLS; used when there is a certificate.
    pub tls_listen: SocketAddr,
    /// What links are built from; no slash at the end.
    pub public_url: String,
    /// Address of a door for metrics alone; without it they are at the REST door.
    #[serde(deserialize_with = "address_or_nothing")]
    pub metrics_listen: Option<SocketAddr>,
    /// Networks of reverse proxies.
    pub trusted_proxies: Vec<IpNetwork>,
    /// 64 hex digits, or empty for a key file.
    pub master_key: SecretString,
    /// Connections open at once.
    pub max_connections: usize,
    /// Those of them that one client address may have.
    pub max_connections_per_address: usize,
    /// Longest time until a new connection has said what it wants: for the TLS handshake, and for the first head.
    pub head_timeout_seconds: u64,
    /// Longest time without progress: an idle connection, the head of a request, an answer that nobody takes.
    pub idle_timeout_seconds: u64,
    /// Longest time a request may take.
    pub request_timeout_seconds: u64,
    /// How long to go on serving, and to say that one is not ready, before the door closes at shutdown.
    pub shutdown_delay_seconds: u64,
    /// Longest time for open requests at shutdown.
    pub shutdown_grace_seconds: u64,
}

/// Section `[tls]`. Both are there, or none.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the certificate and its chain; empty means no TLS.
    pub certificate: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

/// Section `[cors]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Exact origins such as `https://console.example.com`, or `*` alone.
    pub origins: Vec<String>,
}

/// Section `[grpc]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grpc {
    /// Address of the gRPC door, if it is to be open.
    #[serde(deserialize_with = "address_or_nothing")]
    pub listen: Option<SocketAddr>,
    /// Address of the gRPC door with TLS, if it is to be open; used when there is a certificate.
    #[serde(deserialize_with = "address_or_nothing")]
    pub tls_listen: Option<SocketAddr>,
    /// Calls under way at once on one connection.
    pub max_streams: u32,
    /// How long a connection may idle.
    pub idle_timeout_seconds: u64,
    /// When a connection is asked to end.
    pub max_connection_age_seconds: u64,
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
    /// Longest time the SMTP server may take for one mail.
    pub timeout_seconds: u64,
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

/// Section `[wallet]`: what the message of a wallet sign-in says (bloqstake-auth.md section 4, EIP-4361).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wallet {
    /// Who asks for the signature, in messages that only we put together: an authority (RFC 3986).
    pub domain: String,
    /// What is signed in to, in the same messages.
    pub uri: String,
    /// What they say to the person who signs.
    pub statement: String,
    /// EIP-155 chain id of all messages.
    pub chain_id: u64,
    /// The domain of messages that wallets put together themselves.
    pub siwe_domain: String,
    /// Whether their URI may be one of http, as that of this server is.
    #[serde(skip)]
    pub siwe_http: bool,
}

/// Algorithm of a signing key (RFC 7518).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// What an answer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Its event is on disk.
    Strict,
    /// Nothing.
    Relaxed,
}

/// Section `[events]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// Whether an answer waits for its event.
    pub durability: Durability,
    /// Events that may wait.
    pub queue: usize,
    /// Events of one statement.
    pub batch: usize,
    /// Longest wait of an answer for its event, milliseconds.
    pub commit_deadline_ms: u64,
    /// How long events are kept after the end of their month.
    pub retention: Retention,
    /// Free space of the private Postgres' disk below which there is an alarm; 0 is none.
    pub min_free_disk: ByteSize,
}

/// Section `[rate_limit]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Whether limits apply.
    pub enabled: bool,
    /// Log-ins and activations a minute from one client address.
    pub log_ins: u32,
    /// Sign-ups a minute from one client address.
    pub sign_ups: u32,
    /// Requests for a mail a minute from one client address.
    pub mails: u32,
    /// Grants of client tokens a minute to one client address.
    pub token_grants: u32,
    /// Passwords given again with a live token, a minute from one address, right or wrong.
    pub confirmations: u32,
    /// Tokens of mails to be redeemed, a minute from one address.
    pub redemptions: u32,
    /// Nonces for wallets a minute for one address.
    pub nonces: u32,
    /// Published keys a minute to one address.
    pub lookups: u32,
    /// Failed log-ins a minute to one account from one client address.
    pub failed_log_ins: u32,
    /// Wrong passwords a minute of one user who is logged in.
    pub failed_confirmations: u32,
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
        let (table, origins) = sources::merged(overrides, environment)?;
        Ok(Self { origins, ..Self::from_table(table)? })
    }

    /// The same as TOML, secrets masked: what `bloq-accounts config` prints.
    pub fn show(overrides: &Overrides) -> anyhow::Result<String> {
        let (table, _) = sources::merged(overrides, sources::environment())?;
        let config = Self::from_table(table.clone())?;
        sources::masked(table, &config)
    }

    fn from_table(table: toml::Table) -> anyhow::Result<Self> {
        let mut config: Self = serde_path_to_error::deserialize(table).map_err(|error| {
            let key = error.path().to_string();
            let reason = error.into_inner().to_string();
            let needed = match key.split('[').next().unwrap_or_default() {
                "server.listen" | "server.tls_listen" | "server.metrics_listen" | "grpc.listen" | "grpc.tls_listen" => {
                    "; an IP address and a port such as 127.0.0.1:4000 are needed"
                }
                "server.trusted_proxies" => "; networks such as 10.0.0.0/8 are needed",
                "events.min_free_disk" => "; a size such as 1 GiB, or 0, is needed",
                _ if reason.starts_with("invalid value: integer") => "; a whole number from 0 on is needed",
                _ => "",
            };
            anyhow::anyhow!("bad value for `{key}`: {}{needed}", reason.lines().next().unwrap_or_default())
        })?;
        config.fill_in()?;
        config.check()?;
        Ok(config)
    }

    /// Who set this key: a file, a variable, a flag; `None` when nobody did.
    pub fn origin(&self, key: &str) -> Option<&str> {
        self.origins.get(key).map(String::as_str)
    }

    /// What can be meant so, but hardly is; for the log at start.
    pub fn doubts(&self) -> Vec<String> {
        check::doubts(self)
    }

    /// The URL of an external Postgres, if one is configured.
    pub fn database_url(&self) -> Option<&str> {
        Some(self.database.url.expose_secret()).filter(|url| !url.is_empty())
    }
}

/// An empty text is no address.
fn address_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(de::Error::custom) }
}
