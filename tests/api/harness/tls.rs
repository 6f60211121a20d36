//! A private certificate authority, and clients that trust it and nobody else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion};

/// The name on every certificate.
const NAME: &str = "accounts.example";

/// Signs certificates, and keeps the two files that a server reads.
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key, both PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// A new authority with a first pair in its files.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a root");
        let authority = Self { root, folder: tempfile::tempdir().expect("a folder") };
        authority.write(&authority.issue(4000));
        authority
    }

    /// Issues a certificate that is good until this year.
    pub fn issue(&self, until: i32) -> Pair {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.root).expect("a certificate");
        Pair { certificate: format!("{}{}", certificate.pem(), self.root.pem()), key: key.serialize_pem() }
    }

    /// Puts a pair where the server looks.
    pub fn write(&self, pair: &Pair) {
        std::fs::write(self.certificate(), &pair.certificate).expect("our own folder");
        std::fs::write(self.key(), &pair.key).expect("our own folder");
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// Connects to a server as one that trusts this authority.
    pub async fn connect(&self, address: SocketAddr) -> std::io::Result<Line> {
        self.connect_by(address, ALL_VERSIONS, &["h2", "http/1.1"]).await
    }

    /// The same with these versions of TLS and these protocols.
    pub async fn connect_by(
        &self,
        address: SocketAddr,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> std::io::Result<Line> {
        connect(address, NAME, self.root.der().clone(), versions, protocols).await
    }
}

/// Connects to a server under a name, as one that trusts this authority and nobody else.
pub async fn connect(
    address: SocketAddr,
    name: &'static str,
    root: CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
) -> std::io::Result<Line> {
    let mut roots = RootCertStore::empty();
    roots.add(root).expect("a root");
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = name.try_into().expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    Ok(Line(BufStream::new(stream)))
}

/// An open connection.
pub struct Line(BufStream<TlsStream<TcpStream>>);

impl Line {
    /// The certificate that the server showed, as its PEM file has it.
    pub fn shows(&self, pair: &Pair) -> bool {
        let (_, session) = self.0.get_ref().get_ref();
        let shown = session.peer_certificates().and_then(|chain| chain.first()).expect("a certificate");
        let (_, own) = x509_parser::pem::parse_x509_pem(pair.certificate.as_bytes()).expect("PEM");
        own.contents == shown.as_ref()
    }

    /// Version of TLS and protocol that both agreed on.
    pub fn agreed(&self) -> (String, String) {
        let (_, session) = self.0.get_ref().get_ref();
        let protocol = String::from_utf8_lossy(session.alpn_protocol().unwrap_or_default()).into_owned();
        (format!("{:?}", session.protocol_version().expect("it is open")), protocol)
    }

    /// Asks for this path and waits for the whole answer: head and body.
    pub async fn get(&mut self, path: &str, headers: &str) -> std::io::Result<String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\n{headers}\r\n");
        self.0.write_all(request.as_bytes()).await?;
        self.0.flush().await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(self.0.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&answer).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body).await?;
        Ok(head + &String::from_utf8_lossy(&body))
    }

    /// Waits until the server ends the connection.
    pub async fn ended(&mut self) {
        self.0.read_to_end(&mut Vec::new()).await.ok();
    }
}
