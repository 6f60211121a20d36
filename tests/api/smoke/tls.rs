//! The real binary with a certificate.

use std::net::SocketAddr;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::program::{Done, Place, Program, finish, free_address, until};
use crate::harness::tls::Authority;

pub fn variables(authority: &Authority, address: SocketAddr) -> [(String, String); 3] {
    let text = |path: std::path::PathBuf| path.to_str().expect("text").to_owned();
    [
        ("BLOQ_ACCOUNTS_TLS__CERTIFICATE".into(), text(authority.certificate())),
        ("BLOQ_ACCOUNTS_TLS__KEY".into(), text(authority.key())),
        ("BLOQ_ACCOUNTS_SERVER__TLS_LISTEN".into(), address.to_string()),
    ]
}

fn hang_up(server: &Program) {
    kill(Pid::from_raw(server.pid()), Signal::SIGHUP).expect("our own child");
}

#[tokio::test]
async fn certificates_are_renewed_without_a_restart() {
    let (authority, place, address) = (Authority::new(), Place::filled(), free_address());
    let mut server = place.serve_with(|command| command.envs(variables(&authority, address))).await;
    let greeting = server.greeting();
    assert!(greeting.contains(&format!(" listens on http://{} and https://{address},", server.address)), "{greeting}");
    authority.connect(address).await.expect("a connection").get("/", "").await.expect("an answer");

    let renewed = authority.issue(4000);
    authority.write(&renewed);
    hang_up(&server);
    let is_shown = async || authority.connect(address).await.expect("a connection").shows(&renewed);
    until("the new certificate is shown", is_shown).await;

    // What cannot be used is said once, however often we look, and the secret is not quoted.
    std::fs::write(authority.certificate(), "rubbish").expect("our own folder");
    hang_up(&server);
    let complaints = || server.said().matches("the new certificate cannot be used").count();
    until("the complaint", async || complaints() == 1).await;
    let again = authority.issue(4000);
    for _ in 0..3 {
        hang_up(&server);
        assert!(is_shown().await, "the old one stays");
    }
    authority.write(&again);
    hang_up(&server);
    let is_shown = async || authority.connect(address).await.expect("a connection").shows(&again);
    until("the next certificate is shown", is_shown).await;
    assert_eq!(complaints(), 1, "{}", server.said());
    assert!(server.said().contains("tls.certificate") && !server.said().contains("PRIVATE"), "{}", server.said());
    let (code, _) = server.terminate().await;
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn an_expired_certificate_is_shown_and_warned_of() {
    let (authority, place, address) = (Authority::new(), Place::filled(), free_address());
    authority.write(&authority.issue(2020));
    let mut server = place.serve_with(|command| command.envs(variables(&authority, address))).await;
    assert!(server.said().contains("the certificate is expired"), "{}", server.said());
    assert!(server.said().contains("2020-01-01"), "{}", server.said());
    let refused = authority.connect(address).await.err().expect("clients see it, too").to_string();
    assert!(refused.contains("expired"), "{refused}");
    server.terminate().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_refused_at_start() {
    let (authority, place) = (Authority::new(), Place::new());
    let (good, other) = (authority.issue(4000), authority.issue(4000));
    let start = async || -> Done {
        let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.envs(variables(&authority, ([127, 0, 0, 1], 0).into()));
        finish(command).await
    };
    let with = |certificate: &str, key: &str| {
        std::fs::write(authority.certificate(), certificate).expect("our own folder");
        std::fs::write(authority.key(), key).expect("our own folder");
    };
    with(&good.certificate, &other.key);
    start().await.complains(&["`tls.key`", "does not fit", "key.pem", "certificate.pem"]);
    with("", &good.key);
    start().await.complains(&["`tls.certificate`", "certificate.pem", "PEM"]);
    with(&good.key, &good.key);
    start().await.complains(&["`tls.certificate`"]);
    with(&good.certificate, "my secret");
    let refused = start().await.complains(&["`tls.key`", "key.pem", "private key in PEM"]);
    assert!(!refused.stderr.contains("my secret"), "{}", refused.stderr);
    std::fs::remove_file(authority.key()).expect("it is there");
    start().await.complains(&["`tls.key`", "key.pem", "No such file"]);
    assert!(!place.data_dir().exists(), "nothing was made on the way");
}
