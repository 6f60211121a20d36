//! `admin certs …`: certificates for trials, where nobody else's authority is at hand.

use std::fs::{DirBuilder, File, Permissions};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use tokio_rustls::rustls::pki_types::ServerName;

use super::backup::put_in_place;
use crate::cli::output;
use crate::clock::{Clock, minute};
use crate::config::Config;
use crate::data_dir;

/// Names that a certificate may be for: one with more is too large for some clients.
const MOST_HOSTS: usize = 100;

/// For devices whose clocks are behind.
const SLACK: TimeDelta = TimeDelta::hours(1);

#[derive(Subcommand)]
pub enum Command {
    /// Make a private certificate authority and a certificate of it for this server, for trials
    ///
    /// Writes ca.pem, which clients trust, and server.pem and server.key, which the server shows; prints what to put into the
    /// configuration. The key of the authority is not kept: nobody can issue another certificate in its name.
    Create(Create),
}

#[derive(Args)]
pub struct Create {
    /// Name or address under which clients reach the server; any number of times [default: localhost, 127.0.0.1 and ::1]
    #[arg(long = "host", value_name = "NAME_OR_IP", value_parser = host)]
    hosts: Vec<SanType>,
    /// Days until the certificates expire; there are clients that refuse one of more than 825
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=800))]
    days: u16,
    /// Folder to write into instead of `certs` in the data folder
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Replace the files if they exist
    #[arg(long)]
    force: bool,
}

/// Does one command.
pub fn run(config: &Config, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(options) => create(config, options),
    }
}

fn create(config: &Config, Create { hosts, days, out, force }: Create) -> anyhow::Result<()> {
    ensure!(hosts.len() <= MOST_HOSTS, "--host may be given {MOST_HOSTS} times at the most");
    let hosts = if hosts.is_empty() { this_machine()? } else { hosts };
    let now = Clock::System.now();
    let until = now + TimeDelta::days(days.into());
    let made = issue(hosts, now, until).context("cannot make certificates")?;
    let folder = folder(config, out)?;
    let place = |name| folder.join(name);
    let (authority, certificate, key) = (place("ca.pem"), place("server.pem"), place("server.key"));
    let configuration = configuration(&authority, &certificate, &key)?;
    let cannot_write = || format!("cannot write in {}", folder.display());
    let mut drafts = Vec::new();
    for (file, text, mode) in
        [(&authority, &made.authority, 0o644), (&certificate, &made.certificate, 0o644), (&key, &made.key, 0o600)]
    {
        ensure!(force || file.symlink_metadata().is_err(), "{} exists: --force replaces it", file.display());
        drafts.push((file, draft(&folder, text, mode).with_context(cannot_write)?));
    }
    // Not before all are written.
    for (file, draft) in drafts {
        put_in_place(draft, file, force)?;
    }
    File::open(&folder).and_then(|folder| folder.sync_all()).with_context(cannot_write)?;
    output::note(format_args!("good until {}; for trials, not for strangers", minute(until)));
    output::line(configuration)
}

/// What was made, all PEM.
struct Made {
    authority: String,
    certificate: String,
    key: String,
}

/// An authority that signs one certificate, and is forgotten.
fn issue(hosts: Vec<SanType>, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<Made, rcgen::Error> {
    let params = |name: String| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = SystemTime::from(now - SLACK).into();
        params.not_after = SystemTime::from(until).into();
        params
    };
    // Whoever trusts several sees which is which.
    let mut authority = params(format!("bloq-accounts trial authority of {}", minute(now)));
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?;

    let mut server = params("bloq-accounts".to_owned());
    server.is_ca = IsCa::ExplicitNoCa;
    server.subject_alt_names = hosts;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = server.signed_by(&key, &authority)?;
    Ok(Made { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Reads `--host`.
fn host(text: &str) -> Result<SanType, String> {
    let wrong = || "must be a DNS name such as accounts.example.com (no wildcard), or an IP address".to_owned();
    // The dot that ends a full name is no part of it in certificates (RFC 5280 section 4.2.1.6).
    match ServerName::try_from(text.strip_suffix('.').unwrap_or(text)).map_err(|_| wrong())? {
        ServerName::DnsName(name) => Ok(SanType::DnsName(name.as_ref().try_into().map_err(|_| wrong())?)),
        ServerName::IpAddress(address) => Ok(SanType::IpAddress(address.into())),
        _ => Err(wrong()),
    }
}

fn this_machine() -> anyhow::Result<Vec<SanType>> {
    let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let name = SanType::DnsName("localhost".try_into()?);
    Ok(std::iter::once(name).chain(addresses.map(SanType::IpAddress)).collect())
}

/// The usual folder of certificates.
pub fn usual_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("certs")
}

/// The folder to write into. One that is there is its owner's, who may have others look into it; a new one is closed to them.
fn folder(config: &Config, out: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let folder = match out {
        Some(folder) => folder,
        None => usual_folder(&data_dir::prepare(&config.data_dir)?),
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.and_then(|()| folder.canonicalize()).with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// A file that is not in place yet. It is removed on every way out but a SIGKILL.
fn draft(folder: &Path, text: &str, mode: u32) -> std::io::Result<tempfile::NamedTempFile> {
    let mut draft = tempfile::Builder::new().prefix(".bloq-accounts-certs-").tempfile_in(folder)?;
    draft.write_all(text.as_bytes())?;
    draft.as_file().set_permissions(Permissions::from_mode(mode))?;
    draft.as_file().sync_all()?;
    Ok(draft)
}

/// What to put into the configuration; all of it may be appended to the file.
fn configuration(authority: &Path, certificate: &Path, key: &Path) -> anyhow::Result<String> {
    let text = |path: &Path| {
        let path =
            path.to_str().with_context(|| format!("{} is no UTF-8, as a configuration must be", path.display()))?;
        anyhow::Ok(toml::Value::from(path))
    };
    Ok(format!(
        "# clients trust {}\n[tls]\ncertificate = {}\nkey = {}",
        text(authority)?,
        text(certificate)?,
        text(key)?
    ))
}
