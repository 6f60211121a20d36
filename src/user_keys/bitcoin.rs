//! Bitcoin addresses of the main network, and who has signed with one: BIP-137 where a public key can be recovered, BIP-322 for
//! Taproot and as the newer way for the others. Pure.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bip322::Verification;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use bitcoin::secp256k1::{Message, Secp256k1};
use bitcoin::sign_message::signed_msg_hash;
use bitcoin::{Address, AddressType, CompressedPublicKey, Network, PublicKey};

/// Characters of an address at most (BIP-173).
const LONGEST: usize = 90;

/// Characters of a signature at most; those of Taproot have some hundred.
const LONGEST_SIGNATURE: usize = 1000;

/// An address of a kind that can sign a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitcoinAddress(Address);

impl BitcoinAddress {
    /// Reads an address: Base58 (`1…`, `3…`), P2WPKH (`bc1q…`) or Taproot (`bc1p…`).
    ///
    /// # Errors
    /// What is wrong, in words for the person who sent it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed = if text.len() <= LONGEST { Address::from_str(text).ok() } else { None };
        let address = parsed.and_then(|address| address.require_network(Network::Bitcoin).ok());
        let address = address.ok_or("must be an address of Bitcoin's main network")?;
        match address.address_type() {
            Some(AddressType::P2pkh | AddressType::P2sh | AddressType::P2wpkh | AddressType::P2tr) => Ok(Self(address)),
            _ => Err("must be of a kind that one key can sign with: Base58, P2WPKH or Taproot".into()),
        }
    }

    /// Whether whoever holds the key of this address has signed exactly this text; a line end behind it is nobody's fault.
    pub fn has_signed(&self, text: &str, signature: &str) -> bool {
        let signature = signature.trim();
        let texts = [text.to_owned(), format!("{text}\n")];
        let is_good =
            |text: &String| self.has_signed_bip137(text, signature) || self.has_signed_bip322(text, signature);
        signature.len() <= LONGEST_SIGNATURE && texts.iter().any(is_good)
    }

    /// BIP-137: 65 bytes, the first of which says which public key to recover. It also says which kind of address is meant; wallets
    /// disagree about that, so every address of the key will do.
    fn has_signed_bip137(&self, text: &str, signature: &str) -> bool {
        let recover = || {
            let bytes = BASE64_STANDARD.decode(signature).ok().filter(|bytes| bytes.len() == 65)?;
            let head = bytes[0].checked_sub(27).filter(|head| *head < 16)?;
            let id = RecoveryId::from_i32((head & 3).into()).ok()?;
            let signature = RecoverableSignature::from_compact(&bytes[1..], id).ok()?;
            let message = Message::from_digest(signed_msg_hash(text).to_byte_array());
            let key = Secp256k1::verification_only().recover_ecdsa(&message, &signature).ok()?;
            Some(PublicKey { inner: key, compressed: head >= 4 })
        };
        let Some(key) = recover() else { return false };
        let mut addresses = vec![Address::p2pkh(key, Network::Bitcoin)];
        if let Ok(key) = CompressedPublicKey::try_from(key) {
            addresses.push(Address::p2shwpkh(&key, Network::Bitcoin));
            addresses.push(Address::p2wpkh(&key, Network::Bitcoin));
        }
        addresses.contains(&self.0)
    }

    /// BIP-322, the simple variant: what a transaction that spends nothing would need as its witness.
    fn has_signed_bip322(&self, text: &str, signature: &str) -> bool {
        let verified = bip322::verify_simple_encoded(&self.0.to_string(), text, signature);
        matches!(verified, Ok(Verification::Valid { .. }))
    }
}

impl fmt::Display for BitcoinAddress {
    /// As everybody writes it: Bech32 in lower case.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_checksum_a_network_and_a_kind() {
        for address in [
            "14vV3aCHBeStb5bkenkNHbe2YAFinYdXgc",
            "3HSVzEhCFuH9Z3wvoWTexy7BMVVp3PjS6f",
            "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l",
            "bc1ppv609nr0vr25u07u95waq5lucwfm6tde4nydujnu8npg4q75mr5sxq8lt3",
        ] {
            assert_eq!(BitcoinAddress::parse(address).map(|address| address.to_string()).as_deref(), Ok(address));
        }
        let upper = BitcoinAddress::parse("BC1Q9VZA2E8X573NCZRLZMS0WVX3GSQJX7VAVGKX0L").expect("an address");
        assert_eq!(upper.to_string(), "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l");
        for text in [
            "",
            "bc1",
            "14vV3aCHBeStb5bkenkNHbe2YAFinYdXgd",
            "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0m",
            "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
            "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
            // P2WSH
            "bc1qg8r3cl47rrr75dwvr7jhzdukptegnmq8v0nmjd2jdn4qvlczqkts0rqtav",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        ] {
            assert!(BitcoinAddress::parse(text).is_err(), "{text}");
        }
        assert!(BitcoinAddress::parse(&"1".repeat(100_000)).is_err());
    }

    #[test]
    fn the_vectors_of_bip_322_are_signatures() {
        // bip-0322/basic-test-vectors, simple variant.
        let segwit = BitcoinAddress::parse("bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l").expect("an address");
        let empty = "AkcwRAIgM2gBAQqvZX15ZiysmKmQpDrG83avLIT492QBzLnQIxYCIBaTpOaD20qRlEylyxFSeEA2ba9YOixpX8z46TSDtS40ASECx/EgAxlkQpQ9hYjgGu6EBCPMVPwVIVJqO4XCsMvViHI=";
        let hello = "AkcwRAIgZRfIY3p7/DoVTty6YZbWS71bc5Vct9p9Fia83eRmw2QCICK/ENGfwLtptFluMGs2KsqoNSk89pO7F29zJLUx9a/sASECx/EgAxlkQpQ9hYjgGu6EBCPMVPwVIVJqO4XCsMvViHI=";
        assert!(segwit.has_signed("", empty) && segwit.has_signed("Hello World", hello));
        assert!(!segwit.has_signed("Hello World", empty) && !segwit.has_signed("", hello));
        let other = BitcoinAddress::parse("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4").expect("an address");
        assert!(!other.has_signed("Hello World", hello));
        for nonsense in ["", "AA==", "%", "AkcwRAIg", &"A".repeat(5000)] {
            assert!(!segwit.has_signed("Hello World", nonsense));
        }
    }
}
