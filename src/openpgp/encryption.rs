//! Messages to the owners of keys.

use pgp::composed::{ArmorOptions, MessageBuilder};
use pgp::crypto::aead::{AeadAlgorithm, ChunkSize};
use pgp::crypto::sym::SymmetricKeyAlgorithm;

use super::certificate::{Certificate, Encryption};
use crate::error::Result;
use crate::random::Random;

/// Encrypts a text to all of these keys, each of which can read it; in ASCII armor. `None` when none of them is one to encrypt to.
///
/// What every program reads (SEIPD of version 1, RFC 9580 section 5.13.1) but where all recipients are of version 6, which has the
/// authenticated version 2.
///
/// # Errors
/// When the library can encrypt to none of those to which it should.
pub fn encrypt(text: &[u8], recipients: &[Certificate], random: &Random) -> Result<Option<String>> {
    let can_read = |recipient: &&Certificate| recipient.facts().encryption != Encryption::Never;
    let recipients: Vec<&Certificate> = recipients.iter().filter(can_read).collect();
    let mut random = random.clone();
    let message = MessageBuilder::from_bytes("", text.to_vec());
    // A key to which the library cannot encrypt after all must not keep the others from reading.
    macro_rules! armored {
        ($message:expr) => {{
            let mut message = $message;
            let mut readers = 0;
            for recipient in &recipients {
                let added = match recipient.encryption_subkey() {
                    Some(subkey) => message.encrypt_to_key(&mut random, &subkey.key).map(drop),
                    None => message.encrypt_to_key(&mut random, &recipient.key.primary_key).map(drop),
                };
                match added {
                    Ok(()) => readers += 1,
                    Err(error) => tracing::warn!(key = recipient.facts().fingerprint, %error, "cannot encrypt to a key"),
                }
            }
            match readers {
                0 if recipients.is_empty() => None,
                // Who was told that such mails are encrypted must not get one that is not.
                0 => return Err(anyhow::anyhow!("nothing could be encrypted to any key").into()),
                _ => Some(message.to_armored_string(&mut random, ArmorOptions::default()).map_err(anyhow::Error::from)?),
            }
        }};
    }
    let cipher = SymmetricKeyAlgorithm::AES256;
    Ok(match recipients.iter().all(|recipient| recipient.facts().version == 6) {
        true => armored!(message.seipd_v2(&mut random, cipher, AeadAlgorithm::Ocb, ChunkSize::default())),
        false => armored!(message.seipd_v1(&mut random, cipher)),
    })
}
