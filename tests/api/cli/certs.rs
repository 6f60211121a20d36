//! `admin certs create`: a private authority for trials, and clients that trust it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bloq_accounts::clock::Clock;
use tokio_rustls::rustls::ALL_VERSIONS;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use x509_parser::pem::parse_x509_pem;

use crate::harness::program::{Done, Place, free_address};
use crate::harness::tls::connect;

const FILES: [&str; 3] = ["ca.pem", "server.key", "server.pem"];

fn certs(place: &Place) -> PathBuf {
    place.data_dir().join("certs")
}

async fn create(place: &Place, options: &[&str]) -> Done {
    place.run(&[&["admin", "certs", "create"], options].concat()).await
}

/// What is in a folder, hidden files as well.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| (entry.file_name().into_string().expect("text"), fs::read(entry.path()).expect("a file")))
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn authority(folder: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(folder.join("ca.pem")).expect("a certificate")
}

#[tokio::test]
async fn a_server_shows_a_certificate_that_clients_of_the_authority_trust() {
    let (place, other, address) = (Place::new(), Place::new(), free_address());
    let made = create(&place, &[]).await.expect(0);
    create(&other, &[]).await.expect(0);
    let file = place.path().join("config.toml");
    fs::write(&file, &made.stdout).expect("our own folder");
    let mut server = place
        .serve_with(|command| {
            command.arg("--config").arg(&file).env("BLOQ_ACCOUNTS_SERVER__TLS_LISTEN", address.to_string())
        })
        .await;
    let connect = async |name, root| connect(address, name, root, ALL_VERSIONS, &["http/1.1"]).await;
    for name in ["localhost", "127.0.0.1", "::1"] {
        let mut line = connect(name, authority(&certs(&place))).await.expect(name);
        assert!(line.get("/", "").await.expect("an answer").starts_with("HTTP/1.1 200"), "{name}");
    }
    for (name, folder) in
        [("accounts.example", certs(&place)), ("127.0.0.2", certs(&place)), ("localhost", certs(&other))]
    {
        assert!(connect(name, authority(&folder)).await.is_err(), "{name} {}", folder.display());
    }
    server.terminate().await;
}

#[tokio::test]
async fn the_certificates_keep_every_rule_that_openssl_knows() {
    let place = Place::new();
    create(&place, &["--host", "accounts.example", "--host", "2001:db8::7"]).await.expect(0);
    let verify = |options: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["verify", "-x509_strict", "-check_ss_sig", "-CAfile", "ca.pem"]).args(options);
        command.current_dir(certs(&place)).output().map(|output| (output.status.success(), output))
    };
    if verify(&["ca.pem"]).is_err() {
        return; // there is no openssl here
    }
    for (options, is_good) in [
        (&["ca.pem"][..], true),
        (&["-purpose", "sslserver", "-verify_hostname", "accounts.example", "server.pem"], true),
        (&["-purpose", "sslserver", "-verify_ip", "2001:db8::7", "server.pem"], true),
        (&["-verify_hostname", "localhost", "server.pem"], false),
        (&["-purpose", "sslclient", "server.pem"], false),
    ] {
        let (success, output) = verify(options).expect("it was there a moment ago");
        assert_eq!(success, is_good, "{options:?}: {output:?}");
    }
}

#[tokio::test]
async fn the_key_of_the_server_is_private_and_that_of_the_authority_is_gone() {
    let place = Place::new();
    let made = create(&place, &[]).await.expect(0);
    let files = contents(&certs(&place));
    assert_eq!(files.keys().collect::<Vec<_>>(), FILES);
    assert_eq!((mode(&certs(&place)), mode(&certs(&place).join("server.key"))), (0o700, 0o600));
    let text = files.values().map(|bytes| String::from_utf8_lossy(bytes)).collect::<String>();
    assert_eq!((text.matches("PRIVATE KEY-----").count(), text.matches("BEGIN CERT").count()), (2, 2), "begin and end");
    assert!(!made.stdout.contains("PRIVATE") && !made.stderr.contains("PRIVATE"), "{made:?}");

    assert!(made.stdout.contains(&format!("clients trust \"{}\"", certs(&place).join("ca.pem").display())), "{made:?}");
    assert_eq!(contents_of_data(&place), ["certs"], "and no database was made");
}

fn contents_of_data(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.data_dir()).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect()
}

#[tokio::test]
async fn the_certificates_expire_on_the_day_that_was_asked_for() {
    let place = Place::new();
    for (options, days) in [(&[][..], 365), (&["--days", "1", "--force"], 1), (&["--days", "800", "--force"], 800)] {
        let before = Clock::System.now().timestamp();
        let made = create(&place, options).await.expect(0);
        let after = Clock::System.now().timestamp();
        for name in ["ca.pem", "server.pem"] {
            let (_, pem) = parse_x509_pem(&contents(&certs(&place))[name]).expect("PEM");
            let validity = pem.parse_x509().expect("a certificate").validity().clone();
            let until = validity.not_after.timestamp() - days * 24 * 60 * 60;
            assert!((before..=after).contains(&until), "{name}");
            assert!(validity.not_before.timestamp() < before, "it is good at once, also where a clock is behind");
        }
        assert!(made.stderr.contains("good until 20"), "{made:?}");
    }
}

#[tokio::test]
async fn what_is_there_is_replaced_only_by_force() {
    let place = Place::new();
    create(&place, &[]).await.expect(0);
    let first = contents(&certs(&place));
    create(&place, &[]).await.complains(&["ca.pem exists", "--force"]);
    assert_eq!(contents(&certs(&place)), first);
    // One of them is enough.
    fs::remove_file(certs(&place).join("ca.pem")).expect("our own file");
    fs::remove_file(certs(&place).join("server.pem")).expect("our own file");
    create(&place, &[]).await.complains(&["server.key exists", "--force"]);
    assert_eq!(contents(&certs(&place)).keys().collect::<Vec<_>>(), ["server.key"]);

    create(&place, &["--force"]).await.expect(0);
    let second = contents(&certs(&place));
    assert!(FILES.iter().all(|name| second[*name] != first[*name]));
    assert_eq!(second.len(), 3);
}

#[tokio::test]
async fn a_folder_of_the_operators_choice_is_made_or_left_as_it_is() {
    let place = Place::new();
    let (new, old) = (place.path().join("a/new one"), place.path().join("old"));
    fs::create_dir(&old).expect("our own folder");
    fs::set_permissions(&old, PermissionsExt::from_mode(0o755)).expect("our own folder");
    for (folder, expected) in [(&new, 0o700), (&old, 0o755)] {
        let made = create(&place, &["--out", folder.to_str().expect("text")]).await.expect(0);
        assert_eq!(contents(folder).keys().collect::<Vec<_>>(), FILES);
        assert_eq!((mode(folder), mode(&folder.join("server.key"))), (expected, 0o600));
        assert!(made.stdout.contains(folder.to_str().expect("text")), "{made:?}");
    }
    assert!(!place.data_dir().exists());
    let file = old.join("ca.pem");
    create(&place, &["--out", file.to_str().expect("text")]).await.complains(&["cannot make the folder", "ca.pem"]);
}

#[tokio::test]
async fn names_and_days_that_no_certificate_can_have_are_refused() {
    let place = Place::new();
    for (option, value) in [
        ("--host", ""),
        ("--host", "*.example.com"),
        ("--host", "two words"),
        ("--host", "https://accounts.example"),
        ("--host", "256.1.1.1"),
        ("--host", "käse.example"),
        ("--host", &"a.".repeat(200)),
        ("--days", "0"),
        ("--days", "801"),
        ("--days", "soon"),
    ] {
        let refused = create(&place, &[option, value]).await.expect(2);
        assert!(refused.stderr.contains(option), "{refused:?}");
    }
    create(&place, &["--host", "localhost"].repeat(101)).await.complains(&["--host", "100"]);
    assert!(!place.data_dir().exists(), "nothing was made on the way");
    create(&place, &["--host", "accounts.example."]).await.expect(0);
}
