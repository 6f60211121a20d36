//! Whatever somebody sends as a key or a signature: never a panic, and whatever is taken can be written, read and used again.

#![no_main]

use bloq_accounts::openpgp::{Certificate, encrypt};
use bloq_accounts::random::Random;
use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;

/// When the seeds are good: 2026-03-05T12:00:00Z.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_712_000, 0).expect("in range")
}

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Certificate::parse(text, now());
    }
    let Ok(certificate) = Certificate::read(data, now()) else { return };
    let armor = certificate.to_armor().expect("what was read can be written");
    for again in [
        Certificate::parse(&armor, now()),
        Certificate::parse_beside(&armor, &armor, now()),
        Certificate::reread(&armor, now()),
    ] {
        let again = again.expect("what was written can be read");
        assert_eq!(certificate.facts(), again.facts());
        assert_eq!(certificate.to_bytes().expect("bytes"), again.to_bytes().expect("bytes"));
    }
    Certificate::of_email(&armor, "ada@example.com").expect("what was written can be sorted");
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = certificate.verify("text", text, now());
    }
    encrypt(b"text", &[certificate], &Random::default()).expect("it is encrypted or it is not");
});
