//! Passwords and their hashes. Argon2 is named only here.
//!
//! Hashing is slow on purpose, so it is the cheapest way to exhaust a server. Hence no more hashes run at once than
//! configured, on threads of their own (`crew.rs`); a bounded number of requests waits for one, for a bounded time; the
//! memory of a finished hash is kept for the next.

mod crew;

use std::sync::Arc;
use std::time::Duration;

use self::crew::{Crew, Failure};
use crate::config;
use crate::error::{Code, Error, Result};
use crate::metrics::{Hashing, Metrics};
use crate::random::Random;
use anyhow::{Context, anyhow, ensure};
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash as Phc, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use secrecy::{ExposeSecret, SecretString};

/// A password as typed. `Debug` prints a placeholder.
#[derive(Clone, Debug)]
pub struct Password(SecretString);

impl Password {
    /// Longest password, bytes (decisions.md section 2).
    pub const LONGEST: usize = 1024;

    /// Wraps what was typed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// The text itself: for the rule and the hash.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether no password of ours can be this long: then there is nothing to hash.
    pub fn is_too_long(&self) -> bool {
        self.expose().len() > Self::LONGEST
    }
}

impl From<SecretString> for Password {
    fn from(text: SecretString) -> Self {
        Self(text)
    }
}

/// A hash in PHC form, `$argon2id$v=19$m=…`. `Debug` prints a placeholder.
#[derive(Clone, Debug)]
pub struct PasswordHash(SecretString);

impl PasswordHash {
    /// For the store.
    pub fn as_str(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for PasswordHash {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// Hashes and verifies, within bounds.
#[derive(Clone)]
pub struct Hasher(Arc<Inner>);

struct Inner {
    params: Params,
    crew: Crew<Vec<Block>>,
    most_running: usize,
    deadline: Duration,
    random: Random,
    metrics: Metrics,
}

/// Checks the section `[password]`.
pub fn check(config: &config::Password) -> anyhow::Result<()> {
    params(config).map(drop)
}

fn params(config: &config::Password) -> anyhow::Result<Params> {
    let (memory, passes, lanes) = (config.argon2_memory_kib, config.argon2_iterations, config.argon2_parallelism);
    ensure!((1..=64).contains(&passes), "bad value for `password.argon2_iterations`: 1 to 64 are allowed");
    ensure!((1..=64).contains(&lanes), "bad value for `password.argon2_parallelism`: 1 to 64 are allowed");
    ensure!(
        (8 * lanes..=1 << 20).contains(&memory),
        "bad value for `password.argon2_memory_kib`: {} (8 for each lane) to 1048576 (1 GiB) are allowed",
        8 * lanes,
    );
    Params::new(memory, passes, lanes, Some(Params::DEFAULT_OUTPUT_LEN))
        .map_err(|error| anyhow!("bad value in [password]: {error}"))
}

impl Hasher {
    /// A hasher with the parameters and bounds of the section `[password]`.
    pub fn new(config: &config::Password, random: Random, metrics: Metrics) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Inner {
            params: params(config)?,
            crew: Crew::new(config.max_parallel_hashes, config.max_queued_hashes),
            most_running: config.max_parallel_hashes,
            deadline: Duration::from_millis(config.queue_deadline_ms),
            random,
            metrics,
        })))
    }

    /// How busy it is right now. A hash whose client hung up runs on.
    pub fn load(&self) -> Hashing {
        let (running, waiting) = self.0.crew.load();
        Hashing { running, most: self.0.most_running, waiting }
    }

    /// Hashes a new password with the present parameters and a fresh salt.
    pub async fn hash(&self, password: &Password) -> Result<PasswordHash> {
        let salt: [u8; 16] = self.0.random.bytes();
        let params = self.0.params.clone();
        let output = self.run(password.clone(), salt.to_vec(), params.clone(), None).await?;
        Ok(phc(&params, &salt, &output)?.into())
    }

    /// Whether `password` is the one behind `stored`. Without a stored hash the same work is done on one that matches
    /// nothing, so that an unknown user costs what a known one does (docs/security.md row 1); and a hash of weaker
    /// parameters than today's costs what is missing besides.
    pub async fn verify(&self, password: &Password, stored: Option<&PasswordHash>) -> Result<bool> {
        let decoy;
        let stored = match stored {
            Some(stored) => stored.as_str(),
            None => {
                decoy = phc(&self.0.params, &self.0.random.bytes::<16>(), &self.0.random.bytes::<32>())?;
                &decoy
            }
        };
        let stored = Phc::new(stored).map_err(|error| anyhow!("a stored password hash is damaged: {error}"))?;
        let salt = stored.salt.context("a stored password hash has no salt")?;
        let expected = stored.hash.context("a stored password hash has no output")?;
        let params =
            Params::try_from(&stored).map_err(|error| anyhow!("a stored password hash is damaged: {error}"))?;
        let missing = missing(&params, &self.0.params);
        let output = self.run(password.clone(), salt.as_ref().to_vec(), params, missing).await?;
        Ok(verify_slices_are_equal(&output, expected.as_bytes()).is_ok())
    }

    /// Whether a hash was made with other parameters than today's.
    pub fn is_outdated(&self, stored: &PasswordHash) -> bool {
        let params = Phc::new(stored.as_str()).ok().and_then(|stored| Params::try_from(&stored).ok());
        let costs = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        params.is_none_or(|params| costs(&params) != costs(&self.0.params))
    }

    async fn run(&self, password: Password, salt: Vec<u8>, params: Params, decoy: Option<Params>) -> Result<Vec<u8>> {
        let hash = move |memory: &mut Vec<Block>| {
            if let Some(decoy) = decoy {
                compute(&password, &salt, &decoy, memory)?;
            }
            compute(&password, &salt, &params, memory)
        };
        match self.0.crew.run(self.0.deadline, hash).await {
            Ok(output) => Ok(output?),
            Err(Failure::Full | Failure::Late) => {
                self.0.metrics.hash_refused();
                Err(Error::Busy { code: Code::Overloaded, retry_after: Duration::from_secs(2) })
            }
            Err(Failure::Broken) => Err(anyhow!("a hash did not finish").into()),
        }
    }
}

fn compute(password: &Password, salt: &[u8], params: &Params, memory: &mut Vec<Block>) -> anyhow::Result<Vec<u8>> {
    memory.resize(params.block_count(), Block::new());
    let mut output = vec![0; params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN)];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password.expose().as_bytes(), salt, &mut output, &mut memory[..])
        .map_err(|error| anyhow!("argon2: {error}"))?;
    Ok(output)
}

/// Parameters of a hash that costs what `stored` costs less than `todays`: memory times passes.
fn missing(stored: &Params, todays: &Params) -> Option<Params> {
    let cost = |params: &Params| u64::from(params.m_cost()) * u64::from(params.t_cost());
    let missing = cost(todays).checked_sub(cost(stored)).filter(|missing| *missing > 0)?;
    // No more memory than today's hashes take.
    let passes = missing.div_ceil(u64::from(todays.m_cost()));
    let memory = u32::try_from(missing / passes).ok()?.max(Params::MIN_M_COST);
    Params::new(memory, u32::try_from(passes).ok()?, 1, Some(Params::DEFAULT_OUTPUT_LEN)).ok()
}

/// Writes a hash in PHC form.
fn phc(params: &Params, salt: &[u8], output: &[u8]) -> anyhow::Result<String> {
    let write = || -> Result<String, argon2::password_hash::phc::Error> {
        Ok(Phc {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(params).map_err(|_| argon2::password_hash::phc::Error::ParamValueInvalid)?,
            salt: Some(Salt::new(salt)?),
            hash: Some(Output::new(output)?),
        }
        .to_string())
    };
    write().map_err(|error| anyhow!("cannot write a password hash: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_hash_and_its_decoy_cost_what_todays_costs() {
        let params = |memory, passes| Params::new(memory, passes, 1, None).expect("allowed");
        let cost = |params: &Params| params.m_cost() * params.t_cost();
        let todays = params(32 * 1024, 2);
        for stored in [params(19 * 1024, 2), params(8, 1), params(32 * 1024, 1), params(47 * 1024, 1)] {
            let decoy = missing(&stored, &todays).expect("something is missing");
            assert_eq!(cost(&stored) + cost(&decoy), cost(&todays), "{stored:?} {decoy:?}");
            assert!(decoy.m_cost() <= todays.m_cost());
        }
        for stored in [todays.clone(), params(64 * 1024, 2)] {
            assert!(missing(&stored, &todays).is_none(), "{stored:?}");
        }
    }
}
