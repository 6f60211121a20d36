//! Addresses as people write them: all lower case, or in the mixed case of EIP-55, which is a checksum.

use std::fmt;

use alloy_primitives::Address;

/// The address of a wallet: 20 bytes, which have one value however they are spelled. Shown with the checksum of EIP-55.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct WalletAddress([u8; 20]);

/// An address, and how somebody spelled it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedAddress {
    /// The address.
    pub address: WalletAddress,
    /// As it was posted.
    pub spelling: String,
}

impl WalletAddress {
    /// Reads `0x` and 40 hex digits.
    ///
    /// # Errors
    /// What is wrong, in words for the person who sent it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 40);
        let Some(Ok(address)) = digits.map(str::parse::<Address>) else {
            return Err("must be 0x and 40 hex digits".into());
        };
        let found = Self(address.into_array());
        if text == found.lower_case() || text == found.to_string() {
            Ok(found)
        } else {
            Err("must be in lower case, or have the checksum of EIP-55, which this mix of cases is not".into())
        }
    }

    /// `0x` and 40 hex digits in lower case.
    pub fn lower_case(self) -> String {
        format!("0x{}", hex::encode(self.0))
    }
}

impl PostedAddress {
    /// Reads an address as [`WalletAddress::parse`] does.
    ///
    /// # Errors
    /// The same.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { address: WalletAddress::parse(text)?, spelling: text.to_owned() })
    }
}

impl From<Address> for WalletAddress {
    fn from(address: Address) -> Self {
        Self(address.into_array())
    }
}

impl fmt::Display for WalletAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&Address::from(self.0).to_checksum(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_in_lower_case_and_with_its_checksum() {
        // The examples of EIP-55.
        for address in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        ] {
            let parsed = WalletAddress::parse(address).expect("an address");
            assert_eq!(parsed.to_string(), address);
            assert_eq!(WalletAddress::parse(&address.to_lowercase()), Ok(parsed));
        }
    }

    #[test]
    fn another_mix_of_cases_is_a_typo() {
        for text in [
            "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0x5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED",
            "0X5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
            "5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
            "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beae",
            "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed0",
            "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaeg",
            "0x5aaeb6053f3e94c9b9a09f33669435e7ef1bea\u{e9}",
            "0x0x5aaeb6053f3e94c9b9a09f33669435e7ef1bea",
            "",
        ] {
            assert!(WalletAddress::parse(text).is_err(), "{text}");
        }
    }
}
