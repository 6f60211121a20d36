//! What only the master key opens: signing keys at rest and the variables of queued mails; and digests that nobody without
//! it can compute.
//!
//! AES-256-GCM with a random nonce in front of the ciphertext. The associated data names the row a sealed value belongs
//! to, so that nobody with write access to the database can move one sealed value into another row.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};

/// The 32-byte key of `server.master_key`, or of the file `master.key` in the data folder.
#[derive(Clone)]
pub struct MasterKey(Arc<Keys>);

struct Keys {
    sealing: RandomizedNonceKey,
    /// A key of its own, derived: no two algorithms share one.
    digests: hmac::Key,
}

impl MasterKey {
    /// Bytes of a master key.
    pub const LENGTH: usize = 32;

    /// Reads a key from its 64 hex digits.
    ///
    /// # Errors
    /// When it is not exactly 64 hex digits; the message does not repeat them.
    pub fn parse(text: &SecretString) -> anyhow::Result<Self> {
        Ok(Self::from_bytes(&bytes(text)?))
    }

    /// The key file of a data folder.
    pub fn file(data_dir: &Path) -> PathBuf {
        data_dir.join("master.key")
    }

    /// The configured key, or else the one in the key file of the data folder; `None` when there is neither.
    pub fn at_hand(configured: &SecretString, data_dir: &Path) -> anyhow::Result<Option<Self>> {
        match configured.expose_secret() {
            "" => Self::read(&Self::file(data_dir)),
            _ => Self::parse(configured).map(Some),
        }
    }

    /// A key from its bytes.
    pub fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), b"bloq-accounts digests");
        Self(Arc::new(Keys {
            sealing: RandomizedNonceKey::new(&AES_256_GCM, bytes).expect("AES-256 takes 32 bytes"),
            digests: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
        }))
    }

    /// Reads the key file of a data folder; `None` when there is none.
    pub fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text.into()).with_context(|| format!("{} is damaged", path.display())).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read the master key file {}", path.display())),
        }
    }

    /// Writes a copy of a key file, like [`MasterKey::write`].
    pub fn copy(from: &Path, to: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(from).with_context(|| format!("cannot read {}", from.display()))?;
        Self::write(to, &bytes(&text.into())?)
    }

    /// Writes a new key file (mode 0600), complete or not at all, and never over an existing one.
    pub fn write(path: &Path, bytes: &[u8; Self::LENGTH]) -> anyhow::Result<Self> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;

        let context = || format!("cannot write the master key file {}", path.display());
        let draft = path.with_extension("key.new");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .with_context(context)?;
        writeln!(file, "{}", hex::encode(bytes)).and_then(|()| file.sync_all()).with_context(context)?;
        // `hard_link` refuses an existing name, which `rename` would overwrite.
        std::fs::hard_link(&draft, path).with_context(context)?;
        std::fs::remove_file(&draft).with_context(context)?;
        Ok(Self::from_bytes(bytes))
    }

    /// Seals `plain` for the row that `place` names.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Vec<u8> {
        let mut sealed = plain.to_vec();
        let nonce = self
            .0
            .sealing
            .seal_in_place_append_tag(Aad::from(place.as_bytes()), &mut sealed)
            .expect("AES-GCM seals whatever fits in memory");
        [nonce.as_ref().as_slice(), &sealed].concat()
    }

    /// Opens what [`MasterKey::seal`] made for the same `place`.
    ///
    /// # Errors
    /// When the key is another one, or the value was changed or moved.
    pub fn open(&self, place: &str, sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
        let Some((nonce, ciphertext)) = sealed.split_at_checked(NONCE_LEN) else {
            bail!("a sealed value is too short")
        };
        let nonce = Nonce::try_assume_unique_for_key(nonce).expect("the split made it the right length");
        let mut buffer = ciphertext.to_vec();
        match self.0.sealing.open_in_place(nonce, Aad::from(place.as_bytes()), &mut buffer) {
            Ok(plain) => Ok(plain.to_vec()),
            Err(_) => bail!("the master key does not open this value"),
        }
    }

    /// HMAC-SHA-256 of a text: equal for equal texts, and of no use to whoever would find the text by trying.
    pub fn digest(&self, text: &str) -> [u8; 32] {
        let tag = hmac::sign(&self.0.digests, text.as_bytes());
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

fn bytes(text: &SecretString) -> anyhow::Result<[u8; MasterKey::LENGTH]> {
    let mut bytes = [0; MasterKey::LENGTH];
    hex::decode_to_slice(text.expose_secret().trim(), &mut bytes)
        .ok()
        .context("a master key is 64 hex digits (32 bytes), for example from `openssl rand -hex 32`")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_in_its_own_place_and_with_its_own_key() {
        let key = MasterKey::from_bytes(&[7; 32]);
        let sealed = key.seal("outbox:1", b"token");
        assert_eq!(key.open("outbox:1", &sealed).expect("same place"), b"token");
        assert!(key.open("outbox:2", &sealed).is_err());
        assert!(MasterKey::from_bytes(&[8; 32]).open("outbox:1", &sealed).is_err());
        assert!(key.open("outbox:1", &sealed[..5]).is_err());
    }
}
