//! Where a Web Key Directory has the key of an e-mail (draft-koch-openpgp-webkey-service section 3.1).

use aws_lc_rs::digest;

/// Digits of Z-Base-32, each of five bits.
const DIGITS: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// The name under which a directory has the key of this local part: its SHA-1 in lower case as 32 digits of Z-Base-32.
pub fn name(local_part: &str) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, local_part.to_lowercase().as_bytes());
    let mut digits = String::new();
    // 160 bits are four times five bytes of eight digits each.
    for bytes in hash.as_ref().chunks(5) {
        let bits = bytes.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        digits.extend((0..8).rev().map(|place| char::from(DIGITS[(bits >> (5 * place) & 31) as usize])));
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_the_draft() {
        assert_eq!(name("Joe.Doe"), "iy9q119eutrkn8s1mk4r39qejnbu3n5q");
    }
}
