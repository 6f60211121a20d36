//! What people find in their mail: the files of the `file` transport, read back by a parser that is not ours.

use std::path::{Path, PathBuf};

use mail_parser::{MessageParser, MimeHeaders};

/// All mails sent so far, oldest first.
pub struct Mailbox(Vec<Letter>);

/// A mail as its reader sees it.
#[derive(Clone, Debug)]
pub struct Letter {
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    /// The message of OpenPGP, if it is encrypted; then there is nothing else.
    pub armor: Option<String>,
    /// All of it, as it left.
    pub raw: String,
}

impl Mailbox {
    pub fn open(folder: &Path) -> Self {
        let files = files_in(folder);
        files.iter().for_each(|path| assert!(is_mail(path), "{path:?}"));
        Self::read(files)
    }

    /// The same while a courier is at work, who may be in the middle of a draft.
    pub fn peek(folder: &Path) -> Self {
        Self::read(files_in(folder).into_iter().filter(|path| is_mail(path)).collect())
    }

    fn read(files: Vec<PathBuf>) -> Self {
        Self(files.iter().map(|path| Letter::read(&std::fs::read(path).expect("a mail"))).collect())
    }

    pub fn to(&self, address: &str) -> Vec<Letter> {
        self.0.iter().filter(|letter| letter.to == address).cloned().collect()
    }

    /// The newest mail to this address.
    pub fn last_to(&self, address: &str) -> Letter {
        self.to(address).pop().unwrap_or_else(|| panic!("no mail to {address} in {:?}", self.0))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the mail folder");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

fn is_mail(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "eml")
}

impl Letter {
    fn read(bytes: &[u8]) -> Self {
        let mail = MessageParser::default().parse(bytes).expect("a mail that a parser understands");
        let to = mail.to().and_then(|to| to.first()).and_then(|to| to.address()).expect("a recipient");
        let armor = mail.content_type().filter(|kind| kind.subtype() == Some("encrypted")).map(|kind| {
            // RFC 3156 section 4.
            assert_eq!(kind.attribute("protocol"), Some("application/pgp-encrypted"));
            let parts: Vec<_> = mail.attachments().map(|part| part.contents()).collect();
            assert_eq!((parts.len(), parts[0].trim_ascii()), (2, &b"Version: 1"[..]));
            String::from_utf8(parts[1].to_owned()).expect("ASCII armor")
        });
        let (text, html) = match &armor {
            Some(_) => (String::new(), String::new()),
            None => (
                mail.body_text(0).expect("a text part").into_owned(),
                mail.body_html(0).expect("an HTML part").into_owned(),
            ),
        };
        Self {
            to: to.to_owned(),
            subject: mail.subject().expect("a subject").to_owned(),
            text,
            html,
            armor,
            raw: String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    /// The letter inside of an encrypted one, as it was decrypted.
    pub fn opened(&self, decrypted: &[u8]) -> Self {
        let inner = MessageParser::default().parse(decrypted).expect("a mail that a parser understands");
        Self {
            text: inner.body_text(0).expect("a text part").into_owned(),
            html: inner.body_html(0).expect("an HTML part").into_owned(),
            ..self.clone()
        }
    }

    /// The word after `label` in the text.
    pub fn word_after(&self, label: &str) -> String {
        let rest = self.text.split_once(label).unwrap_or_else(|| panic!("no {label:?} in {}", self.text)).1;
        rest.split_whitespace().next().expect("a word").to_owned()
    }

    pub fn token(&self) -> String {
        self.word_after("Token:")
    }

    pub fn user_id(&self) -> String {
        self.word_after("User id:")
    }
}
