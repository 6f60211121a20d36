//! The text that a wallet signs, in the layout of EIP-4361: ours, which is never sent and only made anew (bloqstake-auth.md section
//! 4), and any other, which is taken apart. Pure: no row, no clock.

use chrono::{DateTime, Utc};

use super::{LARGEST_LEAD, NONCE_LENGTH, OLDEST_SIGNATURE, PostedAddress, WalletAddress};
use crate::config;
use crate::users::UserId;

/// Characters of an instant at most; `2022-07-11T18:23:22.513Z` has 24.
const LONGEST_INSTANT: usize = 40;

/// How the first line ends.
const INVITATION: &str = " wants you to sign in with your Ethereum account:";

/// How the statement of a message begins that links an address.
const LINK: &str = "Link this address to Bloq account";

/// When a message was signed, as the wallet wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedAt {
    text: String,
    at: DateTime<Utc>,
}

impl SignedAt {
    /// Reads an instant of RFC 3339 such as `2022-07-11T18:23:22.513Z`.
    ///
    /// # Errors
    /// What is wrong, in words for the person who sent it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let at = instant(text).ok_or("must be a time such as 2022-07-11T18:23:22.513Z")?;
        Ok(Self { text: text.to_owned(), at })
    }

    /// Whether somebody may just have signed.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, now: DateTime<Utc>) -> Result<(), String> {
        if self.at < now - OLDEST_SIGNATURE {
            Err("is more than 10 minutes ago".into())
        } else if self.at > now + LARGEST_LEAD {
            Err("is more than 2 minutes ahead".into())
        } else {
            Ok(())
        }
    }
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    let parsed = (text.len() <= LONGEST_INSTANT).then(|| DateTime::parse_from_rfc3339(text))?;
    parsed.ok().map(|at| at.to_utc())
}

/// What the statement of a message says when a user links an address (decisions.md section 5).
pub fn link_statement(user: UserId) -> String {
    format!("{LINK} {user}")
}

/// Whether a URI (RFC 3986) is at this place of the web, letter by letter: nothing is made canonical that a person was shown.
fn is_at(uri: &str, scheme: &str, authority: &str) -> bool {
    let rest = uri.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
    let Some((given, rest)) = rest.and_then(|rest| rest.split_at_checked(authority.len())) else { return false };
    let is_path = rest.is_empty() || rest.starts_with(['/', '?', '#']);
    given.eq_ignore_ascii_case(authority) && is_path && rest.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Every text that somebody may have signed for this: people put the address into it as they posted it, in lower case or with its
/// checksum, and what is copied from a page may end a line.
pub fn candidates(
    terms: &config::Wallet,
    statement: &str,
    posted: &PostedAddress,
    nonce: &str,
    signed_at: &SignedAt,
) -> Vec<String> {
    let mut spellings = vec![posted.spelling.clone(), posted.address.to_string(), posted.address.lower_case()];
    spellings.sort();
    spellings.dedup();
    let config::Wallet { domain, uri, chain_id, .. } = terms;
    let texts = spellings.into_iter().flat_map(|address| {
        let text = format!(
            "{domain}{INVITATION}\n{address}\n\n{statement}\n\nURI: {uri}\nVersion: 1\nChain ID: {chain_id}\n\
             Nonce: {nonce}\nIssued At: {}",
            signed_at.text
        );
        let with_line_end = format!("{text}\n");
        [text, with_line_end]
    });
    texts.collect()
}

/// A message that a wallet has composed itself (EIP-4361).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInMessage {
    /// All of it, as it was signed.
    pub text: String,
    /// Who signs in.
    pub address: WalletAddress,
    /// What we gave out for this.
    pub nonce: String,
    scheme: Option<String>,
    domain: String,
    statement: Option<String>,
    uri: String,
    chain_id: u64,
    issued_at: SignedAt,
    expiration_time: Option<DateTime<Utc>>,
    not_before: Option<DateTime<Utc>>,
}

impl SignInMessage {
    /// Takes a message apart. Statement, request id and resources are the wallet's and its user's affair.
    ///
    /// # Errors
    /// What is wrong, in words for the person who sent it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = Lines(text.strip_suffix('\n').unwrap_or(text).split('\n').peekable());
        let place = lines.next()?.strip_suffix(INVITATION);
        let place = place.ok_or_else(|| {
            format!("must begin with a line that ends with `{}` (and LF, not CR LF)", INVITATION.trim())
        })?;
        let (scheme, domain) = match place.split_once("://") {
            Some((scheme, domain)) => (Some(scheme.to_owned()), domain.to_owned()),
            None => (None, place.to_owned()),
        };
        let address = WalletAddress::parse(lines.next()?).map_err(|reason| format!("has an address that {reason}"))?;
        lines.empty()?;
        let statement = Some(lines.next()?).filter(|statement| !statement.is_empty()).map(str::to_owned);
        match &statement {
            Some(_) => lines.empty()?,
            // What `siwe` makes of an empty statement.
            None => drop(lines.0.next_if_eq(&"")),
        }
        let uri = lines.field("URI")?.to_owned();
        let version = lines.field("Version")?;
        if version != "1" {
            return Err("must be of version 1".into());
        }
        let chain_id = lines.field("Chain ID")?;
        let is_plain = chain_id.bytes().all(|byte| byte.is_ascii_digit()) && !chain_id.starts_with('0');
        let chain_id = chain_id.parse().ok().filter(|_| is_plain).ok_or("has a chain id that is no number")?;
        let nonce = lines.field("Nonce")?;
        let issued_at = lines.field("Issued At")?;
        let issued_at = SignedAt::parse(issued_at).map_err(|reason| format!("has an `Issued At` that {reason}"))?;
        let expiration_time = lines.instant("Expiration Time")?;
        let not_before = lines.instant("Not Before")?;
        lines.optional("Request ID");
        if lines.0.peek() == Some(&"Resources:") {
            lines.next()?;
            while lines.0.next_if(|line| line.starts_with("- ")).is_some() {}
        }
        if let Some(line) = lines.0.next() {
            return Err(format!("has a line that does not belong there: {line:.100}"));
        }
        if nonce.len() != NONCE_LENGTH || !nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("has a nonce that is none of ours".into());
        }
        let (text, nonce) = (text.to_owned(), nonce.to_owned());
        Ok(Self {
            text,
            address,
            nonce,
            scheme,
            domain,
            statement,
            uri,
            chain_id,
            issued_at,
            expiration_time,
            not_before,
        })
    }

    /// Whether it is meant for us, and for now.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, terms: &config::Wallet, now: DateTime<Utc>) -> Result<(), String> {
        let ours = &terms.siwe_domain;
        let schemes: &[&str] = if terms.siwe_http { &["https", "http"] } else { &["https"] };
        let at = schemes.iter().find(|scheme| is_at(&self.uri, scheme, ours));
        let is_of_other_door = terms.domain.eq_ignore_ascii_case(ours)
            && self.statement.as_ref().is_some_and(|said| *said == terms.statement || said.starts_with(LINK));
        if !self.domain.eq_ignore_ascii_case(ours) {
            Err(format!("is for another domain than {ours}"))
        } else if at.is_none() {
            Err(format!("has a URI that is not at {}://{ours}", schemes.join(&format!("://{ours} or "))))
        } else if self.scheme.as_deref().is_some_and(|scheme| Some(&scheme) != at) {
            Err("has two schemes, of its domain and of its URI".into())
        } else if is_of_other_door {
            Err("says that it is for something else".into())
        } else if self.chain_id != terms.chain_id {
            Err(format!("is for another chain than {}", terms.chain_id))
        } else if self.expiration_time.is_some_and(|end| end <= now) {
            Err("has expired".into())
        } else if self.not_before.is_some_and(|start| start > now) {
            Err("is not valid yet".into())
        } else {
            self.issued_at.judge(now).map_err(|reason| format!("has an `Issued At` that {reason}"))
        }
    }
}

/// The lines of a message that were not read yet.
struct Lines<'a>(std::iter::Peekable<std::str::Split<'a, char>>);

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<&'a str, String> {
        self.0.next().ok_or_else(|| "ends too early for a message of EIP-4361".into())
    }

    fn empty(&mut self) -> Result<(), String> {
        let line = self.next()?;
        if line.is_empty() { Ok(()) } else { Err(format!("has a line where an empty one belongs: {line:.100}")) }
    }

    fn field(&mut self, name: &str) -> Result<&'a str, String> {
        self.optional(name).ok_or_else(|| format!("must have a line `{name}: …` in its place"))
    }

    fn optional(&mut self, name: &str) -> Option<&'a str> {
        let value = self.0.peek()?.strip_prefix(name)?.strip_prefix(": ")?;
        self.0.next();
        Some(value)
    }

    fn instant(&mut self, name: &str) -> Result<Option<DateTime<Utc>>, String> {
        let Some(text) = self.optional(name) else { return Ok(None) };
        instant(text)
            .map(Some)
            .ok_or_else(|| format!("has a `{name}` that is no time such as 2022-07-11T18:23:22.513Z"))
    }
}
