//! What makes a new password good enough. Pure; never asked at log-in.

use super::password::Password;

/// The rule: enough entropy, enough distinct characters, not too long, nothing that everybody knows of the user.
#[derive(Clone, Copy, Debug)]
pub struct PasswordRule {
    /// Least entropy, bits.
    pub min_entropy: u32,
}

/// Least number of distinct characters: `aaaaaaaaaaaaaaaaaaaaaaaa` has entropy by the formula and none in fact.
const LEAST_DISTINCT: usize = 6;

/// Words about the user shorter than this are not looked for: they occur by chance.
const SHORTEST_WORD: usize = 4;

impl PasswordRule {
    /// Judges a new password of a user who is known by these words (e-mail local part, display name, login name).
    ///
    /// # Errors
    /// What is wrong, with the measured and the needed number.
    pub fn judge<'a>(self, password: &Password, known_words: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
        let text = password.expose();
        if text.len() > Password::LONGEST {
            return Err(format!("it has {} bytes, at most {} are allowed", text.len(), Password::LONGEST));
        }
        let entropy = entropy(text);
        if entropy < self.min_entropy {
            return Err(format!("its entropy is {entropy} bits, at least {} are needed", self.min_entropy));
        }
        let distinct = text.chars().collect::<std::collections::HashSet<_>>().len();
        if distinct < LEAST_DISTINCT {
            return Err(format!("it has {distinct} distinct characters, at least {LEAST_DISTINCT} are needed"));
        }
        let folded = text.to_lowercase();
        let gives_away = |word: &str| word.chars().count() >= SHORTEST_WORD && folded.contains(&word.to_lowercase());
        if known_words.into_iter().any(gives_away) {
            return Err("it contains the e-mail, the display name or the login name".into());
        }
        Ok(())
    }
}

/// The entropy number of the vendor's client, in bits (bloq-accounts.md section 4): the size of the alphabet that the
/// password draws from, and its length in UTF-16 code units.
fn entropy(text: &str) -> u32 {
    let size_if = |is_member: fn(char) -> bool, size: u32| if text.chars().any(is_member) { size } else { 0 };
    let alphabet = size_if(|letter| letter.is_ascii_lowercase(), 26)
        + size_if(|letter| letter.is_ascii_uppercase(), 26)
        + size_if(|letter| letter.is_ascii_digit(), 10)
        + size_if(|letter| !letter.is_ascii_alphanumeric(), 33);
    if alphabet == 0 {
        return 0;
    }
    let length = text.encode_utf16().count() as f64;
    // Positive and, for 1,024 bytes, below 7,000.
    (length * f64::from(alphabet).ln() / std::f64::consts::LN_2 + 0.5).floor() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_number_is_the_one_the_vendors_client_computes() {
        for (password, bits) in [
            ("", 0),
            ("1234", 13),
            ("password", 38),
            ("Password1!", 66),
            ("Lp2x0P1iMEPWZKaQ", 95),
            ("Old Password...", 96),
            ("New Password...", 96),
            ("abcdefghijklmnopqrst", 94),
            ("abcdefghijklmnopqrstu", 99),
            ("aA1!aA1!aA1!aA", 92),
            ("aA1!aA1!aA1!aA1", 99),
            ("😀", 10),
        ] {
            assert_eq!(entropy(password), bits, "{password}");
        }
    }

    #[test]
    fn a_password_that_gives_its_owner_away_is_weak() {
        let rule = PasswordRule { min_entropy: 95 };
        let judge = |password: &str| rule.judge(&Password::new(password), ["lovelace", "Al"]);
        assert!(judge("Analytical Engine 1843").is_ok());
        assert!(judge("LoveLace loves engines").is_err());
        assert!(judge("Algorithms of the Analyst").is_ok(), "two letters occur by chance");
        assert!(judge("ababababababababababababab").is_err_and(|reason| reason.contains("2 distinct")));
        assert!(judge(&"Abcdefg 1".repeat(114)).is_err_and(|reason| reason.contains("1026 bytes")));
    }

    proptest! {
        #![proptest_config(crate::http::tests::config())]

        #[test]
        fn any_text_is_judged_and_a_longer_one_is_no_weaker(text in "\\PC{0,200}", more in any::<char>()) {
            let longer = format!("{text}{more}");
            prop_assert!(entropy(&longer) >= entropy(&text));
            let judged = PasswordRule { min_entropy: 95 }.judge(&Password::new(text.as_str()), [text.as_str()]);
            // Whoever is called as the password gives it away.
            prop_assert!(judged.is_err());
        }
    }
}
