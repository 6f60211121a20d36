//! Makes, opens and hands out signing keys.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, ensure};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use sqlx::PgConnection;

use super::store::{self, KeyRow};
use crate::config;
use crate::db::embedded::Tables;
use crate::random::Random;
use crate::sealing::MasterKey;

/// The opened key ring.
#[derive(Clone)]
pub struct SigningKeys(Arc<Ring>);

struct Ring {
    header: Header,
    signer: EncodingKey,
    verifiers: HashMap<String, (Algorithm, DecodingKey)>,
    jwks: JwkSet,
}

/// What [`establish`] found or made.
pub struct Established {
    /// The key ring.
    pub signing_keys: SigningKeys,
    /// The key that opened it, which also seals queued mails.
    pub master_key: MasterKey,
}

/// Opens the key ring, or makes its first key. To be called under the start-up lock.
///
/// The master key comes from `server.master_key`, else from `<data_dir>/master.key`; the file is made only while no
/// signing key exists, because a key made later could open nothing.
///
/// # Errors
/// When the signing key cannot be opened; the message names `server.master_key`.
pub async fn establish(
    connection: &mut PgConnection,
    config: &config::Config,
    random: &Random,
    now: DateTime<Utc>,
) -> anyhow::Result<Established> {
    let path = MasterKey::file(&config.data_dir);
    let mut rows = store::list(connection).await.context("cannot read the signing keys")?;
    let given = MasterKey::at_hand(&config.server.master_key, &config.data_dir)?;

    let master_key = match given {
        Some(key) => key,
        None => {
            ensure!(
                rows.is_empty(),
                "the signing key in the database was sealed with a master key that is not here: set server.master_key \
                 (BLOQ_ACCOUNTS_SERVER__MASTER_KEY), or bring the file {} of the server that made it",
                path.display(),
            );
            MasterKey::write(&path, &random.bytes())?
        }
    };
    if rows.is_empty() {
        let row = generate(config.tokens.algorithm, &master_key)?;
        store::insert(connection, &row, now).await.context("cannot store the signing key")?;
        tracing::info!(kid = row.kid, algorithm = row.algorithm, "made the signing key");
        rows.push(row);
    }
    Ok(Established { signing_keys: SigningKeys::open(&rows, &master_key)?, master_key })
}

/// The table that [`check_backup`] reads.
pub const TABLE: &str = "signing_keys";

/// Checks that `master_key` opens every signing key of a backup.
///
/// # Errors
/// When it does not, or when there is no signing key: then it is no backup of ours.
pub fn check_backup(tables: &Tables, master_key: &MasterKey) -> anyhow::Result<()> {
    let keys = tables.rows(TABLE, ["kid", "sealed_private_key"])?;
    ensure!(!keys.is_empty(), "there is no signing key in the backup: it is none of bloq-accounts");
    for [kid, sealed] in keys {
        let sealed = sealed.strip_prefix("\\x").and_then(|digits| hex::decode(digits).ok());
        let sealed = sealed.context("a signing key of the backup cannot be read")?;
        master_key.open(&place(&kid), &sealed).context("cannot open the signing key in the backup")?;
    }
    Ok(())
}

impl SigningKeys {
    fn open(rows: &[KeyRow], master_key: &MasterKey) -> anyhow::Result<Self> {
        let newest = rows.first().context("there is no signing key")?;
        let algorithm = newest.algorithm.parse().context("unknown algorithm of a signing key")?;
        let private = master_key.open(&place(&newest.kid), &newest.sealed_private_key).context(
            "cannot open the signing key in the database: server.master_key (or the file master.key in the data \
             folder) is not the one that sealed it",
        )?;
        let mut ring = Ring {
            header: Header { kid: Some(newest.kid.clone()), ..Header::new(algorithm) },
            signer: encoding_key(algorithm, &private),
            verifiers: HashMap::new(),
            jwks: JwkSet { keys: Vec::new() },
        };
        for row in rows {
            let jwk: Jwk = serde_json::from_value(row.public_jwk.clone()).context("a public key is damaged")?;
            let algorithm = row.algorithm.parse().context("unknown algorithm of a signing key")?;
            ring.verifiers.insert(row.kid.clone(), (algorithm, DecodingKey::from_jwk(&jwk)?));
            ring.jwks.keys.push(jwk);
        }
        Ok(Self(Arc::new(ring)))
    }

    /// What signs a new token: the header to use (with `alg` and `kid`) and the key.
    pub fn signer(&self) -> (&Header, &EncodingKey) {
        (&self.0.header, &self.0.signer)
    }

    /// What verifies a token with this `kid`: the one algorithm its key is for, and the key.
    pub fn verifier(&self, kid: &str) -> Option<(Algorithm, &DecodingKey)> {
        self.0.verifiers.get(kid).map(|(algorithm, key)| (*algorithm, key))
    }

    /// The public halves (RFC 7517).
    pub fn jwks(&self) -> &JwkSet {
        &self.0.jwks
    }
}

fn generate(algorithm: config::Algorithm, master_key: &MasterKey) -> anyhow::Result<KeyRow> {
    let failed = |_| anyhow::anyhow!("cannot generate a signing key");
    let (algorithm, private) = match algorithm {
        config::Algorithm::ES256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
            (Algorithm::ES256, pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec())
        }
        config::Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::generate().map_err(failed)?;
            (Algorithm::EdDSA, pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec())
        }
    };
    let mut jwk = Jwk::from_encoding_key(&encoding_key(algorithm, &private), algorithm)?;
    // RFC 7638: the name of a key is a hash of the key, so two keys can never share one.
    let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
    jwk.common.key_id = Some(kid.clone());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok(KeyRow {
        sealed_private_key: master_key.seal(&place(&kid), &private),
        kid,
        algorithm: format!("{algorithm:?}"),
        public_jwk: serde_json::to_value(jwk)?,
    })
}

fn encoding_key(algorithm: Algorithm, private: &[u8]) -> EncodingKey {
    match algorithm {
        Algorithm::EdDSA => EncodingKey::from_ed_der(private),
        _ => EncodingKey::from_ec_der(private),
    }
}

/// Where a sealed private key belongs, see [`MasterKey::seal`].
fn place(kid: &str) -> String {
    format!("signing_keys:{kid}")
}
