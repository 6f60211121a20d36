//! TLS: the certificate that listeners show, and its exchange while they run.

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ::aws_lc_rs::digest::{SHA256, digest};
use anyhow::{Context, anyhow, ensure};
use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::clock::Clock;
use crate::config::Tls;
use crate::error::Result;
use crate::worker::Worker;

/// Bytes of a file that is read at all; a long chain has 20 KiB.
const LARGEST: u64 = 1024 * 1024;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(5);

/// How soon a file is looked at again that may have been caught half written.
const SOON: Duration = Duration::from_secs(1);

/// The certificate of `[tls]`, for any number of listeners. Clones show the same one.
///
/// As a [`Worker`] it looks at the files and exchanges the certificate when they changed, for connections that come
/// after that. What cannot be used is logged once, and the old certificate stays.
#[derive(Clone, Debug)]
pub struct Certificates(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: Tls,
    clock: Clock,
    shown: RwLock<Arc<CertifiedKey>>,
    known: Mutex<Known>,
    asked: Notify,
    /// Who looks, looks alone: what was read earlier must not be taken later.
    looking: tokio::sync::Mutex<()>,
}

/// What was seen in the files, so that nothing is told twice.
#[derive(Debug)]
struct Known {
    /// Of the files that were taken or refused last.
    settled: Fingerprint,
    /// Of files that were not fit to use a moment ago.
    suspect: Option<Fingerprint>,
    validity: Validity,
    is_validity_told: bool,
}

type Fingerprint = [u8; 32];

#[derive(Debug)]
struct Validity {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl Certificates {
    /// Reads the files; `None` when none are configured.
    ///
    /// # Errors
    /// One that names the key of the configuration, the file, and what is wrong with it.
    pub fn open(files: &Tls, clock: Clock) -> anyhow::Result<Option<Self>> {
        if files.certificate.as_os_str().is_empty() {
            return Ok(None);
        }
        let (settled, loaded) = load(files);
        let (key, validity) = loaded?;
        let known = Known { settled, suspect: None, validity, is_validity_told: false };
        let shared = Shared {
            files: files.clone(),
            clock,
            shown: RwLock::new(Arc::new(key)),
            known: Mutex::new(known),
            asked: Notify::new(),
            looking: tokio::sync::Mutex::default(),
        };
        let certificates = Self(Arc::new(shared));
        certificates.check_validity();
        Ok(Some(certificates))
    }

    /// What turns a connection into a TLS one, 1.2 or newer, that speaks one of these protocols (RFC 7301).
    ///
    /// # Errors
    /// None in practice: the provider of the cryptography knows all versions that are asked for.
    pub fn acceptor(&self, protocols: &[&str]) -> anyhow::Result<TlsAcceptor> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.0.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Asks the worker to look at the files now.
    pub fn look_now(&self) {
        self.0.asked.notify_one();
    }

    /// Takes what is in the files when it is new and good; answers when to look again.
    fn take(&self, (fingerprint, loaded): (Fingerprint, anyhow::Result<(CertifiedKey, Validity)>)) -> Duration {
        let Shared { files, shown, known, .. } = &*self.0;
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if fingerprint == known.settled {
            known.suspect = None;
            return EVERY;
        }
        match loaded {
            Ok((key, validity)) => {
                tracing::info!(file = %files.certificate.display(), good_until = %validity.until, "a new certificate is shown");
                *shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                *known = Known { settled: fingerprint, suspect: None, validity, is_validity_told: false };
            }
            // Two files are not written in one moment. What is still unfit when seen again is.
            Err(_) if known.suspect != Some(fingerprint) => {
                known.suspect = Some(fingerprint);
                return SOON;
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the new certificate cannot be used; the old one stays");
                (known.settled, known.suspect) = (fingerprint, None);
            }
        }
        EVERY
    }

    /// Says once when clients will refuse the certificate for its dates.
    fn check_validity(&self) {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, Validity { from, until }) = (self.0.clock.now(), &known.validity);
        if (*from..=*until).contains(&now) || known.is_validity_told {
            return;
        }
        let file = self.0.files.certificate.display();
        tracing::warn!(%file, good_from = %from, good_until = %until, "the certificate is expired or not valid yet");
        known.is_validity_told = true;
    }
}

impl Worker for Certificates {
    const NAME: &'static str = "certificates";

    async fn step(&self) -> Result<Duration> {
        let _alone = self.0.looking.lock().await;
        let files = self.0.files.clone();
        let loaded = tokio::task::spawn_blocking(move || load(&files)).await.map_err(anyhow::Error::from)?;
        let pause = self.take(loaded);
        self.check_validity();
        Ok(pause)
    }

    async fn woken(&self) {
        self.0.asked.notified().await;
    }
}

impl ResolvesServerCert for Shared {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// What is in the files, and a fingerprint of that, be it good or not.
fn load(files: &Tls) -> (Fingerprint, anyhow::Result<(CertifiedKey, Validity)>) {
    let read = read("tls.certificate", &files.certificate)
        .and_then(|certificate| Ok((certificate, read("tls.key", &files.key)?)));
    match read {
        Ok((certificate, key)) => (fingerprint(&[&certificate, &key]), parse(files, &certificate, &key)),
        Err(error) => (fingerprint(&[format!("{error:#}").as_bytes()]), Err(error)),
    }
}

fn fingerprint(parts: &[&[u8]]) -> Fingerprint {
    let mut all = Fingerprint::default();
    all.copy_from_slice(digest(&SHA256, &parts.join(&b"\0"[..])).as_ref());
    all
}

fn read(key: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("cannot read the file of `{key}`, {}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(cannot)?;
    file.take(LARGEST).read_to_end(&mut bytes).with_context(cannot)?;
    Ok(bytes)
}

fn parse(files: &Tls, certificate: &[u8], key: &[u8]) -> anyhow::Result<(CertifiedKey, Validity)> {
    let bad = |key: &str, path: &Path, needed: &str| anyhow!("bad file of `{key}`, {}: {needed}", path.display());
    let bad_certificate =
        || bad("tls.certificate", &files.certificate, "a certificate in PEM is needed, its chain after it");
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>().map_err(|_| bad_certificate())?;
    let own = chain.first().ok_or_else(bad_certificate)?;
    let (_, own) = x509_parser::parse_x509_certificate(own).map_err(|_| bad_certificate())?;
    let instant = |time: x509_parser::time::ASN1Time| DateTime::from_timestamp_secs(time.timestamp());
    let validity = instant(own.validity().not_before).zip(instant(own.validity().not_after));
    let (from, until) = validity.ok_or_else(bad_certificate)?;

    // The library's own words might quote the file.
    let bad_key = || bad("tls.key", &files.key, "an unencrypted private key in PEM is needed");
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| bad_key())?;
    let key = provider().key_provider.load_private_key(key).map_err(|_| bad_key())?;
    let certified = CertifiedKey::new(chain, key);
    ensure!(
        certified.keys_match().is_ok(),
        "the key of `tls.key`, {}, does not fit the certificate of `tls.certificate`, {}",
        files.key.display(),
        files.certificate.display(),
    );
    Ok((certified, Validity { from, until }))
}
