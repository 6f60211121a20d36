//! What our mails say: one variant a template, with exactly the variables the template uses.
//!
//! A template is plain text. The HTML part is made of the same text: paragraphs, and what is indented as something to
//! copy. So both parts always say the same.

use anyhow::Context;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior, context};
use serde::{Deserialize, Serialize};

/// A mail before it is text. Serialized and sealed, it is what waits in the outbox. It holds tokens in the clear, so it
/// has no `Debug`.
///
/// Instants are texts already; `from` is the address of whoever caused the mail, `agent` the program.
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
    /// Tells the owner of an address that somebody tried to use it for another account.
    AddressTaken {
        /// When.
        signed_up_at: String,
        /// From which address.
        signed_up_from: Option<String>,
    },
    /// Hands a token for a new password to whoever forgot the old one.
    PasswordReset {
        /// `user-<uuid>`
        user_id: String,
        /// The one-time token, in the clear.
        token: String,
        /// When it was asked for.
        asked_at: String,
        /// From which address.
        asked_from: Option<String>,
        /// Until when the token works.
        expires_at: String,
    },
    /// Invites the reader to choose the first password of an account that an administrator made.
    Invitation {
        /// `user-<uuid>`
        user_id: String,
        /// The one-time token, in the clear.
        token: String,
        /// When.
        invited_at: String,
        /// Until when the token works.
        expires_at: String,
    },
    /// Asks the reader of a new address to prove it.
    EmailChange {
        /// `user-<uuid>`
        user_id: String,
        /// The one-time token, in the clear.
        token: String,
        /// When it was asked for.
        asked_at: String,
        /// From which address.
        asked_from: Option<String>,
        /// Until when the token works.
        expires_at: String,
    },
    /// Announces to the old address that another one was asked for.
    EmailChangeAsked {
        /// When.
        at: String,
        /// From which address.
        from: Option<String>,
        /// The address as it was typed.
        new_email: String,
    },
    /// Tells the old address that another one took its place.
    EmailChanged {
        /// When.
        at: String,
        /// From which address.
        from: Option<String>,
        /// The new address.
        new_email: String,
    },
    /// Tells of a new password.
    PasswordChanged {
        /// When.
        at: String,
        /// From which address.
        from: Option<String>,
        /// Whether a token of a mail stood for the old password.
        is_reset: bool,
    },
    /// Tells of a new client key.
    NewClientKey {
        /// When.
        at: String,
        /// From which address.
        from: Option<String>,
        /// The id of the key.
        client_id: String,
        /// What its owner calls it.
        label: Option<String>,
    },
    /// Tells of a new application key.
    NewApplicationKey {
        /// When.
        at: String,
        /// From which address.
        from: Option<String>,
        /// The id of the key.
        key_id: String,
        /// What it is for.
        purpose: String,
    },
    /// Tells of a public key whose ownership was proved.
    UserKeyProved {
        /// When.
        at: String,
        /// From which address.
        from: Option<String>,
        /// The fingerprint, or the Bitcoin address.
        key_id: String,
        /// Which of the two.
        is_openpgp: bool,
        /// Whether mails can be encrypted to it.
        encrypts: bool,
    },
    /// Tells of a proved key that was deleted.
    UserKeyDeleted {
        /// When.
        at: String,
        /// From which address.
        from: Option<String>,
        /// The fingerprint, or the Bitcoin address.
        key_id: String,
        /// Which of the two.
        is_openpgp: bool,
    },
    /// Tells of an Ethereum address that was linked.
    WalletLinked {
        /// When.
        at: String,
        /// From which address of the network.
        from: Option<String>,
        /// The Ethereum address.
        address: String,
    },
    /// Tells of an Ethereum address that signs the user in from now on.
    WalletEnabled {
        /// When.
        at: String,
        /// The Ethereum address.
        address: String,
    },
    /// Tells of a log-in from somewhere new.
    NewLogIn {
        /// When.
        at: String,
        /// From which address.
        from: Option<String>,
        /// With which program.
        agent: Option<String>,
    },
    /// The last mail: the account was deleted.
    AccountDeleted {
        /// When.
        at: String,
        /// From which address.
        from: Option<String>,
        /// Whether an administrator did it; not said in mails that an older version queued.
        #[serde(default)]
        by_admin: bool,
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
    /// The template that tells an owner of a stranger.
    pub const ADDRESS_TAKEN: &str = "address_taken";

    /// The template of a reset.
    pub const PASSWORD_RESET: &str = "password_reset";

    /// The template that asks for the first proof of an address.
    pub const VERIFICATION: &str = "verification";

    /// The template that asks for the proof of another address.
    pub const EMAIL_CHANGE: &str = "email_change";

    /// The template that invites somebody.
    pub const INVITATION: &str = "invitation";

    /// The template that tells of a key to which mails are encrypted from now on.
    pub const USER_KEY_PROVED: &str = "user_key_proved";

    /// The template that tells of one to which they are not any more.
    pub const USER_KEY_DELETED: &str = "user_key_deleted";

    /// The template that tells of a new way in.
    pub const WALLET_ENABLED: &str = "wallet_enabled";

    /// The templates whose mails hand out a token: all others only tell.
    pub const WITH_TOKENS: [&str; 4] = [Self::VERIFICATION, Self::PASSWORD_RESET, Self::EMAIL_CHANGE, Self::INVITATION];

    /// The name of the template, as the outbox stores it.
    pub fn template(&self) -> &'static str {
        self.names().0
    }

    /// Whether it hands out a token: then it is encrypted to a user who has a key for that.
    pub fn has_token(&self) -> bool {
        Self::WITH_TOKENS.contains(&self.template())
    }

    fn subject(&self) -> &'static str {
        self.names().1
    }

    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Verification { .. } => (Self::VERIFICATION, "Confirm your e-mail address"),
            Self::AddressTaken { .. } => (Self::ADDRESS_TAKEN, "Somebody tried to use your e-mail address"),
            Self::PasswordReset { .. } => (Self::PASSWORD_RESET, "Choose a new password"),
            Self::Invitation { .. } => (Self::INVITATION, "An account was made for you"),
            Self::EmailChange { .. } => (Self::EMAIL_CHANGE, "Confirm your new e-mail address"),
            Self::EmailChangeAsked { .. } => ("email_change_asked", "Your e-mail address is about to change"),
            Self::EmailChanged { .. } => ("email_changed", "Your e-mail address was changed"),
            Self::PasswordChanged { .. } => ("password_changed", "Your password was changed"),
            Self::NewClientKey { .. } => ("new_client_key", "A client key was made for your account"),
            Self::NewApplicationKey { .. } => ("new_application_key", "An application key was made for your account"),
            Self::UserKeyProved { .. } => (Self::USER_KEY_PROVED, "A key was added to your account"),
            Self::UserKeyDeleted { .. } => (Self::USER_KEY_DELETED, "A key was removed from your account"),
            Self::WalletLinked { .. } => ("wallet_linked", "An Ethereum address was linked to your account"),
            Self::WalletEnabled { .. } => (Self::WALLET_ENABLED, "An Ethereum address can sign in to your account"),
            Self::NewLogIn { .. } => ("new_log_in", "A new log-in to your account"),
            Self::AccountDeleted { .. } => ("account_deleted", "Your account was deleted"),
        }
    }
}

/// The templates, parsed once, and the URL that every link starts with.
pub struct Stationery {
    templates: Environment<'static>,
    public_url: String,
}

/// A part of the text between empty lines.
#[derive(Serialize)]
struct Part<'a> {
    text: &'a str,
    /// Whether it is indented: a command, say.
    is_to_copy: bool,
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
            ("layout.txt", include_str!("templates/layout.txt")),
            ("verification.txt", include_str!("templates/verification.txt")),
            ("address_taken.txt", include_str!("templates/address_taken.txt")),
            ("password_reset.txt", include_str!("templates/password_reset.txt")),
            ("invitation.txt", include_str!("templates/invitation.txt")),
            ("email_change.txt", include_str!("templates/email_change.txt")),
            ("email_change_asked.txt", include_str!("templates/email_change_asked.txt")),
            ("email_changed.txt", include_str!("templates/email_changed.txt")),
            ("password_changed.txt", include_str!("templates/password_changed.txt")),
            ("new_client_key.txt", include_str!("templates/new_client_key.txt")),
            ("new_application_key.txt", include_str!("templates/new_application_key.txt")),
            ("user_key_deleted.txt", include_str!("templates/user_key_deleted.txt")),
            ("user_key_proved.txt", include_str!("templates/user_key_proved.txt")),
            ("wallet_linked.txt", include_str!("templates/wallet_linked.txt")),
            ("wallet_enabled.txt", include_str!("templates/wallet_enabled.txt")),
            ("new_log_in.txt", include_str!("templates/new_log_in.txt")),
            ("account_deleted.txt", include_str!("templates/account_deleted.txt")),
        ] {
            templates.add_template(name, text).with_context(|| format!("mail template {name}"))?;
        }
        Ok(Self { templates, public_url: public_url.to_owned() })
    }

    /// Writes a letter out, as text and as HTML.
    pub fn write(&self, letter: &Letter) -> anyhow::Result<Written> {
        let (subject, url) = (letter.subject(), &self.public_url);
        let render = |name: &str, values: Value| self.templates.get_template(name)?.render(values);
        let values = context! { url, ..Value::from(Serde(letter)) };
        let body = render(&format!("{}.txt", letter.template()), values)?;
        let parts = body.split("\n\n").map(|text| Part { text: text.trim(), is_to_copy: text.starts_with("    ") });
        let parts: Vec<Part> = parts.collect();
        let html = render("layout.html", context! { subject, url, parts => Value::from(Serde(&parts)) })?;
        Ok(Written { subject, plain: render("layout.txt", context! { url, body })?, html })
    }
}
