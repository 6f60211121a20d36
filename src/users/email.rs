//! E-mail addresses: shown as given, compared in one canonical form (decisions.md section 1).

use email_address::Options;
use unicode_normalization::UnicodeNormalization;

use crate::mail;

/// Longest address, characters (RFC 5321 section 4.5.3).
const LONGEST: usize = 254;

/// An address that passed the validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailAddress {
    given: String,
    canonical: String,
}

impl EmailAddress {
    /// Reads an address: ASCII local part in its plain spelling, a domain of at least two labels, at most 254 characters.
    ///
    /// # Errors
    /// What is wrong, in words for the person who typed it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || "is not an e-mail address".to_owned();
        let (local, domain) = text.rsplit_once('@').ok_or_else(invalid)?;
        if text.chars().count() > LONGEST {
            return Err(format!("is longer than {LONGEST} characters"));
        }
        if !local.is_ascii() || text.chars().any(char::is_control) {
            return Err("has characters before the @ that are not allowed".into());
        }

        // One spelling of a domain: compatibility forms folded, then punycode. A look-alike stays another domain.
        let folded = domain.nfkc().collect::<String>().to_lowercase();
        let domain = idna::domain_to_ascii_strict(&folded).map_err(|_| invalid())?;
        // What punycode leaves out (a zero-width space, say) would still be shown.
        let shown = idna::domain_to_unicode(&domain).0;
        if !folded.is_ascii() && shown.chars().count() != folded.chars().count() {
            return Err(invalid());
        }
        let canonical = format!("{}@{domain}", local.to_ascii_lowercase());
        let options = Options::default().with_required_tld().without_domain_literal().without_display_text();
        email_address::EmailAddress::parse_with_options(&canonical, options).map_err(|_| invalid())?;
        let top = domain.rsplit('.').next().unwrap_or_default();
        let is_name = top.len() >= 2 && !top.bytes().all(|byte| byte.is_ascii_digit());
        if canonical.len() > LONGEST || !is_name {
            return Err(invalid());
        }
        // The last word has what will write the envelope: an account nobody can mail to could never be proved, and where
        // it writes another spelling (`"ada"@` and `"\ada"@` are `ada@`), one mailbox would be several accounts.
        if !mail::can_reach(&mailbox(text, &canonical)) {
            return Err(invalid());
        }
        Ok(Self { given: text.to_owned(), canonical })
    }

    /// As it was typed.
    pub fn given(&self) -> &str {
        &self.given
    }

    /// The form that is compared and unique: lower case, domain in punycode.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The part before the @, as typed.
    pub fn local_part(&self) -> &str {
        local_part(&self.given)
    }
}

/// The part of an address before the @.
pub fn local_part(address: &str) -> &str {
    address.rsplit_once('@').map_or(address, |(local, _)| local)
}

/// Where to send a mail for a stored pair of given and canonical address: the local part as its owner wrote it, because
/// its case is the receiving server's business, and the domain in ASCII, because mail servers need no SMTPUTF8 for it.
pub fn mailbox(given: &str, canonical: &str) -> String {
    let domain = canonical.rsplit_once('@').map_or("", |(_, domain)| domain);
    format!("{}@{domain}", local_part(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Result<String, String> {
        EmailAddress::parse(text).map(|address| address.canonical().to_owned())
    }

    #[test]
    fn case_and_spelling_of_a_domain_do_not_make_another_address() {
        assert_eq!(canonical("Ada@Example.COM"), Ok("ada@example.com".into()));
        assert_eq!(canonical("ada@BÜCHER.example"), Ok("ada@xn--bcher-kva.example".into()));
        assert_eq!(canonical("ada@ｅｘａｍｐｌｅ.com"), Ok("ada@example.com".into()));
    }

    #[test]
    fn a_look_alike_is_another_address_or_none() {
        assert!(canonical("mıke@example.com").is_err(), "dotless i before the @");
        assert!(canonical("ａda@example.com").is_err(), "full-width letter before the @");
        assert_ne!(canonical("ada@exаmple.com"), canonical("ada@example.com"), "cyrillic а");
    }

    #[test]
    fn what_no_mail_server_would_take_is_refused() {
        for text in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@localhost",
            "ada@example",
            "ada@.com",
            "ada@example..com",
            "a da@example.com",
            "ada@example.c",
            "ada@1.2.3.4",
            "ada@[1.2.3.4]",
            "Ada <ada@example.com>",
            "ada@example.com\r\nBcc: eve@example.com",
            ".ada@example.com",
            "a..da@example.com",
            "ada@example.com\u{200b}",
            "ada@-example.com",
            "\"a b\"@example.com",
            "\"ada\"@example.com",
            "\"a\\da\"@example.com",
            "\"a@b\"@example.com",
        ] {
            assert!(canonical(text).is_err(), "{text:?} was taken");
        }
        assert!(canonical(&format!("{}@example.com", "a".repeat(300))).is_err());
    }
}
