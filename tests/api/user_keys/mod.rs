//! Public keys of users: given, proved, used.

mod bitcoin;
mod copies;
mod garbage;
mod given;
mod judged;
mod made;
mod mail;
mod proved;
mod published;
mod refused;

use serde_json::{Value, json};

use crate::harness::{Answer, Call, Person, TestApp};

/// What the signatures of the fixtures sign.
const SIGNED: &str = "The text of the fixtures";

/// A file of the fixtures.
fn fixture(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/user_keys/fixtures/");
    std::fs::read_to_string(format!("{path}{name}")).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The certificate of a fixture.
fn certificate(name: &str) -> String {
    fixture(&format!("{name}.pub.asc"))
}

/// What others say of the good certificates.
fn good() -> Vec<Value> {
    serde_json::from_str(&fixture("good.json")).expect("a list")
}

/// The user ids that are shown of a key, the primary one first.
fn user_ids(key: &Value) -> Vec<String> {
    let ids = key["userIds"].as_array().expect("a list").iter();
    ids.map(|id| id.as_str().expect("a text").to_owned()).collect()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no text {name:?} in {value}")).to_owned()
}

impl TestApp {
    /// Gives a public key.
    fn give_key(&self, person: &Person, armor: &str) -> Call {
        self.post("/users/me/keys/pgp").bearer(&person.token).json(&json!({"publicKey": armor}))
    }

    /// Brings a signature for a key.
    fn prove_key(&self, person: &Person, path: &str, signature: &str) -> Call {
        let path = format!("/users/me/keys/{path}/verification");
        self.post(&path).bearer(&person.token).json(&json!({"signature": signature}))
    }

    /// Puts the text that the fixtures have signed in the place of every text that is to be signed.
    async fn ask_for_fixtures(&self) {
        self.execute("update user_keys set challenge = 'The text of the fixtures' where challenge is not null").await;
    }

    /// A person gives the key of a fixture and proves it; answers its fingerprint.
    async fn proved_key(&self, person: &Person, name: &str) -> String {
        let id = self.give_key(person, &certificate(name)).await.expect(201).field("id");
        self.ask_for_fixtures().await;
        let signature = fixture(&format!("{name}.sig.asc"));
        self.prove_key(person, &format!("pgp/{id}"), &signature).await.expect(200);
        id
    }

    /// The keys that a person sees.
    async fn keys_of(&self, person: &Person) -> Value {
        self.get("/users/me/keys").bearer(&person.token).await.expect(200).json()
    }
}

/// The code of a refusal that names one field.
fn refusal_of(answer: &Answer, field: &str) -> (u16, String) {
    assert_eq!(answer.bad_fields(), [field], "{answer:?}");
    answer.refusal()
}
