//! Where a mail goes: a file, or an SMTP server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use lettre::Message;
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::letter::Written;
use super::smtp::Relay;
use crate::config::{self, MailTransport};
use crate::openpgp::{self, Certificate};
use crate::random::Random;

/// A way out of the house.
pub struct Transport {
    from: Mailbox,
    out: Out,
    random: Random,
}

enum Out {
    File(PathBuf),
    Smtp(Relay),
}

/// Why a mail did not leave.
pub struct Refusal {
    /// For the operator, in the words of whoever refused; holds nothing of the mail's content.
    pub reason: String,
    /// The same for the log, without the recipient.
    pub told: String,
    /// Whether another try is pointless.
    pub is_final: bool,
}

impl Refusal {
    pub(super) fn for_good(reason: String) -> Self {
        Self { told: reason.clone(), reason, is_final: true }
    }

    pub(super) fn for_now(reason: String) -> Self {
        Self { told: reason.clone(), reason, is_final: false }
    }
}

/// Whether a mail can be addressed to this, letter by letter.
pub fn can_reach(address: &str) -> bool {
    address.parse::<Mailbox>().is_ok_and(|mailbox| AsRef::<str>::as_ref(&mailbox.email) == address)
}

/// Checks the section `[mail]` without connecting anywhere.
pub fn check(config: &config::Mail) -> anyhow::Result<()> {
    sender(config)?;
    if !config.smtp_url.expose_secret().is_empty() {
        relay(config)?;
    }
    Ok(())
}

fn sender(config: &config::Mail) -> anyhow::Result<Mailbox> {
    config.from.parse().with_context(|| {
        format!("bad value for `mail.from`: `Name <name@example.com>` is needed, not {:?}", config.from)
    })
}

/// What `mail.smtp_url` says; nothing is connected yet.
fn relay(config: &config::Mail) -> anyhow::Result<Relay> {
    Relay::parse(config.smtp_url.expose_secret(), Duration::from_secs(config.timeout_seconds)).context(
        "bad value for `mail.smtp_url`: smtp://user:password@host:587?tls=required or smtps://user:password@host is \
         needed",
    )
}

impl Transport {
    /// The transport that the section `[mail]` names.
    pub fn new(config: &config::Mail, data_dir: &Path, random: Random) -> anyhow::Result<Self> {
        let out = match config.transport {
            MailTransport::File => {
                let folder = data_dir.join("mail");
                crate::data_dir::private_folder(&folder)?;
                Out::File(folder)
            }
            MailTransport::Smtp => Out::Smtp(relay(config)?),
        };
        Ok(Self { from: sender(config)?, out, random })
    }

    /// Sends one mail, encrypted if one of `keys` is to encrypt to. Its `Message-ID` is made from `id`, so that a repeated mail can be
    /// known as such.
    pub(super) async fn send(
        &self,
        id: Uuid,
        recipient: &str,
        date: DateTime<Utc>,
        written: Written,
        keys: Vec<Certificate>,
    ) -> Result<(), Refusal> {
        let for_good = |error: &dyn std::error::Error| Refusal::for_good(error.to_string());
        let to: Mailbox = recipient.parse().map_err(|error: lettre::address::AddressError| for_good(&error))?;
        let parts = MultiPart::alternative()
            .singlepart(SinglePart::builder().header(ContentType::TEXT_PLAIN).body(unfolded(written.plain)))
            .singlepart(SinglePart::html(written.html));
        let (text, random) = (parts.formatted(), self.random.clone());
        let encrypted = tokio::task::spawn_blocking(move || openpgp::encrypt(&text, &keys, &random)).await;
        let encrypted = encrypted.map_err(|panic| Refusal::for_now(panic.to_string()))?;
        let encrypted = encrypted.map_err(|error| Refusal::for_now(error.reason()))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(written.subject)
            .date(date.into())
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .multipart(encrypted.map_or(parts, |armor| envelope(&armor)))
            .map_err(|error| for_good(&error))?;
        match &self.out {
            Out::File(folder) => {
                let (path, text) = (folder.join(format!("{id}.eml")), message.formatted());
                let written = tokio::task::spawn_blocking(move || write(&path, &text)).await;
                written
                    .unwrap_or_else(|panic| Err(std::io::Error::other(panic)))
                    .map_err(|error| Refusal::for_now(format!("cannot write the mail file: {error}")))
            }
            Out::Smtp(relay) => relay.send(&message).await,
        }
    }
}

/// What carries an encrypted message (RFC 3156 section 4).
fn envelope(armor: &str) -> MultiPart {
    let part = |kind: &str, body: &str| {
        let kind = ContentType::parse(kind).expect("a media type");
        SinglePart::builder().header(kind).body(unfolded(body.to_owned()))
    };
    MultiPart::encrypted("application/pgp-encrypted".to_owned())
        .singlepart(part("application/pgp-encrypted", "Version: 1\n"))
        .singlepart(part("application/octet-stream", armor))
}

/// The text as it is where mail allows that (RFC 5322 section 2.1.1): the library would fold lines of more than 76
/// characters, and nobody can copy a folded command from the file.
fn unfolded(text: String) -> Body {
    if text.is_ascii() && text.lines().all(|line| line.len() <= 998) {
        let lines = text.lines().flat_map(|line| [line, "\r\n"]).collect::<String>();
        Body::dangerous_pre_encoded(lines.into_bytes(), ContentTransferEncoding::SevenBit)
    } else {
        Body::new(text)
    }
}

/// Whoever watches the folder sees complete files only.
fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let draft = path.with_extension("eml.new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}
