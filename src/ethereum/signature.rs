//! Signatures of wallets: EIP-191 version 0x45 (`personal_sign`), secp256k1 with the public key to be recovered.

use alloy_primitives::Signature;

use super::WalletAddress;

/// The 65 bytes r, s, v that a wallet makes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WalletSignature([u8; 65]);

impl WalletSignature {
    /// Reads `0x` and 130 hex digits.
    ///
    /// # Errors
    /// What is wrong, in words for the person who sent it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 65];
        let digits = text.strip_prefix("0x").filter(|digits| hex::decode_to_slice(digits, &mut bytes).is_ok());
        digits.map(|_| Self(bytes)).ok_or_else(|| "must be 0x and 130 hex digits (r, s and v)".into())
    }

    /// The address whose key has signed this text.
    ///
    /// `None` for what is no signature: v must be 27 or 28, or 0 or 1, and s in the lower half of the order (EIP-2), because
    /// whoever has seen a signature can make its twin in the upper half.
    pub fn signer(&self, text: &str) -> Option<WalletAddress> {
        let is_odd = match self.0[64] {
            0 | 27 => false,
            1 | 28 => true,
            _ => return None,
        };
        let signature = Signature::from_bytes_and_parity(&self.0[..64], is_odd);
        if signature.normalize_s().is_some() {
            return None;
        }
        signature.recover_address_from_msg(text).ok().map(WalletAddress::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of secp256k1 (SEC 2 section 2.4.1).
    const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

    // The example of web3.js' documentation of `eth.accounts.sign`.
    const TEXT: &str = "Some data";
    const SIGNER: &str = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23";
    const R_AND_S: &str = "b91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd\
                           6007e74cd82e037b800186422fc2da167c747ef045e5d18a5f5d4300f8e1a029";

    fn signer(r_and_s: &str, v: u8, text: &str) -> Option<String> {
        let signature = WalletSignature::parse(&format!("0x{r_and_s}{v:02x}")).expect("130 digits");
        signature.signer(text).map(|address| address.to_string())
    }

    #[test]
    fn a_signature_names_its_signer_with_either_way_to_write_v() {
        assert_eq!(signer(R_AND_S, 28, TEXT).as_deref(), Some(SIGNER));
        assert_eq!(signer(R_AND_S, 1, TEXT).as_deref(), Some(SIGNER));
        assert_ne!(signer(R_AND_S, 27, TEXT).as_deref(), Some(SIGNER));
        assert_ne!(signer(R_AND_S, 28, "Some date").as_deref(), Some(SIGNER));
    }

    #[test]
    fn what_could_be_another_signature_is_none() {
        for v in [2, 3, 26, 29, 35, 37, 255] {
            assert_eq!(signer(R_AND_S, v, TEXT), None, "v {v}");
        }
        let order = alloy_primitives::U256::from_str_radix(ORDER, 16).expect("a number");
        let s = alloy_primitives::U256::from_str_radix(&R_AND_S[64..], 16).expect("a number");
        let twin = format!("{}{:064x}", &R_AND_S[..64], order - s);
        assert_eq!(signer(&twin, 27, TEXT), None, "high s");
        for s in [alloy_primitives::U256::ZERO, order, alloy_primitives::U256::MAX] {
            assert_eq!(signer(&format!("{}{s:064x}", &R_AND_S[..64]), 28, TEXT), None, "s = {s}");
        }
        for r in ["0".repeat(64), ORDER.to_owned(), "f".repeat(64)] {
            assert_eq!(signer(&format!("{r}{}", &R_AND_S[64..]), 28, TEXT), None, "r = {r}");
        }
    }

    #[test]
    fn a_signature_is_130_hex_digits() {
        for text in [
            String::new(),
            format!("0x{R_AND_S}"),
            format!("{R_AND_S}1c"),
            format!("0x{R_AND_S}1c00"),
            format!("0x{R_AND_S}1g"),
        ] {
            assert!(WalletSignature::parse(&text).is_err(), "{text}");
        }
    }
}
