//! What our mails say: one variant a template, with exactly the variables the template uses.

use anyhow::Context;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior, context};
use serde::{Deserialize, Serialize};

/// A mail before it is text. Serialized and sealed, it is what waits in the outbox. It holds tokens in the clear, so it has
/// no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "template", rename_all = "snake_case")]
pub enum Letter {
    /// Asks the reader to prove the address.
    Verification {
        /// `user-<uuid>`
        user_id: String,
        /// The one-time token, in the clear.
        token: String,
        /// When the account was asked for.
        signed_up_at: String,
        /// From which address it was asked for; `None` when an operator made it.
        signed_up_from: Option<String>,
        /// Until when the token works.
        expires_at: String,
    },
    /// Tells the owner of an address that somebody tried to sign up with it.
    AddressTaken {
        /// When.
        signed_up_at: String,
        /// From which address.
        signed_up_from: Option<String>,
    },
}

/// A mail as text.
pub struct Written {
    /// The subject line.
    pub subject: &'static str,
    /// The text part.
    pub plain: String,
    /// The HTML part.
    pub html: String,
}

impl Letter {
    /// The name of the template, as the outbox stores it.
    pub fn template(&self) -> &'static str {
        match self {
            Self::Verification { .. } => "verification",
            Self::AddressTaken { .. } => "address_taken",
        }
    }

    fn subject(&self) -> &'static str {
        match self {
            Self::Verification { .. } => "Confirm your e-mail address",
            Self::AddressTaken { .. } => "Somebody tried to sign up with your e-mail address",
        }
    }
}

/// The templates, parsed once, and the URL that every link starts with.
pub struct Stationery {
    templates: Environment<'static>,
    public_url: String,
}

impl Stationery {
    /// Parses the compiled-in templates.
    ///
    /// # Errors
    /// When one of them is not a template: a mistake of ours, found at the first start.
    pub fn new(public_url: &str) -> anyhow::Result<Self> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, text) in [
            ("layout.html", include_str!("templates/layout.html")),
            ("verification.txt", include_str!("templates/verification.txt")),
            ("verification.html", include_str!("templates/verification.html")),
            ("address_taken.txt", include_str!("templates/address_taken.txt")),
            ("address_taken.html", include_str!("templates/address_taken.html")),
        ] {
            templates.add_template(name, text).with_context(|| format!("mail template {name}"))?;
        }
        Ok(Self { templates, public_url: public_url.to_owned() })
    }

    /// Writes a letter out, as text and as HTML.
    pub fn write(&self, letter: &Letter) -> anyhow::Result<Written> {
        let render = |extension: &str| {
            let subject = letter.subject();
            let values = context! { subject, url => &self.public_url, ..Value::from(Serde(letter)) };
            self.templates.get_template(&format!("{}.{extension}", letter.template()))?.render(values)
        };
        Ok(Written { subject: letter.subject(), plain: render("txt")?, html: render("html")? })
    }
}
