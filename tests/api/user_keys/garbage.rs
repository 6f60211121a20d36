//! Whatever somebody sends as a key or a signature, it is refused, and nothing breaks.

use bloq_accounts::openpgp::{Certificate, encrypt};
use bloq_accounts::random::Random;
use bloq_accounts::user_keys::BitcoinAddress;
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use super::{fixture, good, text};
use crate::harness::TestApp;

/// When the fixtures are good.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_712_000, 0).expect("in range")
}

/// The same cases every time: a failure that cannot be repeated is worth nothing.
fn config() -> Config {
    Config { cases: 400, failure_persistence: None, rng_seed: RngSeed::Fixed(1843), ..Config::default() }
}

/// The certificates of the fixtures without armor.
fn certificates() -> Vec<Vec<u8>> {
    let read = |name: String| Certificate::parse(&fixture(&format!("{name}.pub.asc")), now()).expect("a good one");
    good().iter().map(|key| read(text(key, "name")).to_bytes().expect("bytes")).collect()
}

/// Bytes that were changed, left out, doubled or put in somewhere.
fn damaged(bytes: &[u8], wounds: &[(usize, u8, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_owned();
    for (place, kind, value) in wounds {
        let at = place % bytes.len().max(1);
        match kind % 4 {
            _ if bytes.is_empty() => return bytes,
            0 => bytes[at] = *value,
            1 => bytes.insert(at, *value),
            2 => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

#[test]
fn a_damaged_key_is_refused_or_good_for_something() {
    let certificates = certificates();
    let wounds = prop::collection::vec((any::<usize>(), any::<u8>(), any::<u8>()), 1..4);
    let mut taken = 0;
    let cases = (0..certificates.len(), wounds);
    let mut runner = prop::test_runner::TestRunner::new(config());
    let outcome = runner.run(&cases, |(number, wounds)| {
        let bytes = damaged(&certificates[number], &wounds);
        if let Ok(certificate) = Certificate::read(&bytes, now()) {
            let armor = certificate.to_armor().expect("what was read can be written");
            let again = Certificate::parse(&armor, now()).expect("what was written can be read");
            let unverified = Certificate::reread(&armor, now()).expect("what was written can be read");
            prop_assert_eq!(certificate.facts(), again.facts());
            prop_assert_eq!(certificate.facts(), unverified.facts());
            let _ = again.verify("text", &fixture("gpg-ed25519.sig.asc"), now());
            encrypt(b"text", &[again], &Random::seeded(1)).expect("it is encrypted or it is not");
        }
        Ok(())
    });
    outcome.expect("no damage breaks anything");
    for bytes in &certificates {
        taken += usize::from(Certificate::read(bytes, now()).is_ok());
    }
    assert_eq!(taken, certificates.len(), "what is not damaged is good");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn noise_is_no_key_and_no_signature(noise in prop::collection::vec(any::<u8>(), 0..300), words in ".{0,200}") {
        prop_assert!(Certificate::read(&noise, now()).is_err());
        prop_assert!(Certificate::parse(&words, now()).is_err());
        prop_assert!(BitcoinAddress::parse(&words).is_err());
        let segwit = BitcoinAddress::parse("bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l").expect("an address");
        prop_assert!(!segwit.has_signed("text", &words));
    }
}

#[tokio::test]
async fn a_hundred_damaged_keys_are_answered_and_none_with_a_500() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let armor = fixture("gpg-rsa3072.pub.asc");
    for number in 0..100 {
        // Somewhere within the Base64, a letter is another.
        let at = 60 + number * 37 % (armor.len() - 120);
        let mut bytes = armor.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let damaged = String::from_utf8(bytes).expect("ASCII");
        let answer = app.give_key(&ada, &damaged).await;
        assert!([201, 400].contains(&answer.status), "{answer:?}");
    }
}
