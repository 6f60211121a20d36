//! What the merged values may be, and those that are made from others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use secrecy::ExposeSecret;

use super::{Config, MailTransport};

/// Seconds, or things: more is a mistake, and times so far away cannot be reckoned with.
const MOST: u64 = 1_000_000_000;

impl Config {
    /// Defaults that depend on other keys or on who we are.
    pub(super) fn fill_in(&mut self) -> anyhow::Result<()> {
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
        if let Ok(url) = self.server.public_url.parse::<url::Url>() {
            self.wallet.siwe_http = url.scheme() == "http";
            if self.wallet.siwe_domain.is_empty() {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                self.wallet.siwe_domain = format!("{}{port}", url.host_str().unwrap_or_default());
            }
        }
        if self.password.max_parallel_hashes == 0 {
            self.password.max_parallel_hashes = std::thread::available_parallelism().map_or(1, usize::from);
        }
        Ok(())
    }

    /// What no type can say: ranges, URLs, what goes with what.
    pub(super) fn check(&self) -> anyhow::Result<()> {
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
        for (set, empty, value, other) in [
            ("tls.certificate", "tls.key", &self.tls.certificate, &self.tls.key),
            ("tls.key", "tls.certificate", &self.tls.key, &self.tls.certificate),
        ] {
            let is_half = !value.as_os_str().is_empty() && other.as_os_str().is_empty();
            ensure!(!is_half, "`{set}` is set, but `{empty}` is empty: TLS needs both");
        }
        for origin in &self.cors.origins {
            ensure!(
                is_origin(origin) || (origin == "*" && self.cors.origins.len() == 1),
                "bad value for `cors.origins`: origins as browsers send them, such as https://console.example.com (lower \
                 case, no default port, no path), or \"*\" alone, are needed, not {origin:?}",
            );
        }
        ensure!(
            is_log_filter(&self.log.level),
            "bad value for `log.level`: off, error, warn, info, debug, trace or a filter such as info,sqlx=debug is \
             needed, not {:?}",
            self.log.level,
        );
        for (key, value, least) in [
            ("server.max_connections", self.server.max_connections as u64, 1),
            ("server.max_connections_per_address", self.server.max_connections_per_address as u64, 1),
            ("server.head_timeout_seconds", self.server.head_timeout_seconds, 1),
            ("server.idle_timeout_seconds", self.server.idle_timeout_seconds, 1),
            ("server.request_timeout_seconds", self.server.request_timeout_seconds, 1),
            ("server.shutdown_delay_seconds", self.server.shutdown_delay_seconds, 0),
            ("server.shutdown_grace_seconds", self.server.shutdown_grace_seconds, 0),
            ("grpc.max_streams", u64::from(self.grpc.max_streams), 1),
            ("grpc.idle_timeout_seconds", self.grpc.idle_timeout_seconds, 1),
            ("grpc.max_connection_age_seconds", self.grpc.max_connection_age_seconds, 1),
            ("database.max_connections", u64::from(self.database.max_connections), 3),
            ("mail.timeout_seconds", self.mail.timeout_seconds, 1),
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
            ("rate_limit.log_ins", self.rate_limit.log_ins.into(), 1),
            ("rate_limit.sign_ups", self.rate_limit.sign_ups.into(), 1),
            ("rate_limit.mails", self.rate_limit.mails.into(), 1),
            ("rate_limit.token_grants", self.rate_limit.token_grants.into(), 1),
            ("rate_limit.confirmations", self.rate_limit.confirmations.into(), 1),
            ("rate_limit.redemptions", self.rate_limit.redemptions.into(), 1),
            ("rate_limit.nonces", self.rate_limit.nonces.into(), 1),
            ("rate_limit.lookups", self.rate_limit.lookups.into(), 1),
            ("rate_limit.failed_log_ins", self.rate_limit.failed_log_ins.into(), 1),
            ("rate_limit.failed_confirmations", self.rate_limit.failed_confirmations.into(), 1),
        ] {
            ensure!(value >= least, "bad value for `{key}`: at least {least} is needed");
            ensure!(value <= MOST, "bad value for `{key}`: at most {MOST} is allowed");
        }
        for (key, domain) in [("wallet.domain", &self.wallet.domain), ("wallet.siwe_domain", &self.wallet.siwe_domain)]
        {
            let uri = format!("https://{domain}/").parse::<hyper::Uri>().unwrap_or_default();
            let is_whole = uri.authority().is_some_and(|given| given.as_str() == domain) && !domain.contains('@');
            ensure!(is_whole, "bad value for `{key}`: a host, or host:port, is needed, not {domain:?}");
        }
        let uri = self.wallet.uri.parse::<hyper::Uri>().unwrap_or_default();
        ensure!(
            uri.scheme().is_some() && uri.host().is_some(),
            "bad value for `wallet.uri`: a URL is needed, not {:?}",
            self.wallet.uri,
        );
        let statement = &self.wallet.statement;
        let is_line = !statement.is_empty() && statement.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        ensure!(is_line, "bad value for `wallet.statement`: one line of ASCII is needed, not {statement:?}");
        ensure!(self.wallet.chain_id > 0, "bad value for `wallet.chain_id`: at least 1 is needed");
        // A mail under way is nobody else's for five minutes.
        ensure!(self.mail.timeout_seconds <= 240, "bad value for `mail.timeout_seconds`: at most 240 is allowed");
        ensure!(
            self.mail.transport == MailTransport::File || !self.mail.smtp_url.expose_secret().is_empty(),
            "`mail.transport` is \"smtp\", but `mail.smtp_url` is empty",
        );
        Ok(())
    }
}

/// Whether this is an origin of the web exactly as a browser writes it (RFC 6454 section 6.2): they are compared as text.
fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<hyper::Uri>() else { return false };
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else { return false };
    let is_default = matches!((scheme, uri.port_u16()), ("http", Some(80)) | ("https", Some(443)));
    let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    matches!(scheme, "http" | "https") && !is_default && text == format!("{scheme}://{}{port}", host.to_lowercase())
}

/// What can be meant so, but hardly is, each with the key to change. A server on the loopback address that calls itself
/// localhost is somebody's own and may do as it likes.
pub(super) fn doubts(config: &Config) -> Vec<String> {
    let Config { server, mail, tls, grpc, .. } = config;
    let is_public = |address: SocketAddr| !address.ip().to_canonical().is_loopback();
    let private = Some(("server.tls_listen", server.tls_listen)).filter(|_| !tls.certificate.as_os_str().is_empty());
    let listeners = [Some(("server.listen", server.listen)), private];
    let public = listeners.into_iter().flatten().find(|(_, address)| is_public(*address));
    let url = &server.public_url;
    let uri = url.parse::<hyper::Uri>().unwrap_or_default();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());

    let mut doubts = Vec::new();
    if mail.transport == MailTransport::File && (public.is_some() || !is_local) {
        doubts.push(format!(
            "`mail.transport` is \"file\": nobody but this machine's operator gets the mails of {url}; set it to \"smtp\""
        ));
    }
    if let (Some((key, address)), true) = (public, is_local) {
        doubts.push(format!(
            "`{key}` is {address}, but links in mails begin with {url}, which leads other people to their own \
             machine; set `server.public_url`"
        ));
    }
    if !is_local && uri.scheme_str() == Some("http") {
        doubts.push(format!(
            "`server.public_url` is {url}: passwords and tokens cross the network unencrypted; use TLS, here or \
             in front, and https://"
        ));
    }
    if let Some(address) = grpc.listen.filter(|address| is_public(*address)) {
        doubts.push(format!(
            "`grpc.listen` is {address}: passwords and tokens cross the network unencrypted; leave it on the loopback address, \
             and use `grpc.tls_listen`"
        ));
    }
    doubts
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for origin in ["https://a.example", "http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:5173"] {
            assert!(is_origin(origin), "{origin}");
        }
        for text in [
            "",
            "null",
            "a.example",
            "https://a.example/",
            "https://a.example:443",
            "http://a.example:80",
            "https://A.example",
            "HTTPS://a.example",
            "https://ada@a.example",
            "https://*.example/x",
            "ftp://a.example",
            "https://a.example, https://b.example",
            "https://a.example:08443",
        ] {
            assert!(!is_origin(text), "{text}");
        }
    }
}
