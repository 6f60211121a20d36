//! What people find in their mail: the files of the `file` transport, read back by a parser that is not ours.

use std::path::{Path, PathBuf};

use mail_parser::MessageParser;

/// All mails sent so far, oldest first.
pub struct Mailbox(Vec<Letter>);

/// A mail as its reader sees it.
#[derive(Clone, Debug)]
pub struct Letter {
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
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
        Self {
            to: to.to_owned(),
            subject: mail.subject().expect("a subject").to_owned(),
            text: mail.body_text(0).expect("a text part").into_owned(),
            html: mail.body_html(0).expect("an HTML part").into_owned(),
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
