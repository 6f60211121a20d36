//! People with wallets: a key, its address, and what is signed with it.

use alloy_primitives::{Address, U256, eip191_hash_message};
use bloq_accounts::clock::Timestamp;
use bloq_accounts::ethereum::WalletAddress;
use bloq_accounts::users::By;
use k256::ecdsa::SigningKey;
use serde_json::{Value, json};

use super::{Call, TestApp};

/// The order of secp256k1 (SEC 2 section 2.4.1).
const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

/// The key pair of an externally owned account.
pub struct Wallet(SigningKey);

impl Wallet {
    /// A wallet of its own for each number.
    pub fn new(number: u8) -> Self {
        let mut secret = [0x42; 32];
        secret[31] = number;
        Self(SigningKey::from_slice(&secret).expect("less than the order"))
    }

    /// The address with its checksum.
    pub fn address(&self) -> String {
        Address::from_private_key(&self.0).to_checksum(None)
    }

    /// The address in lower case.
    pub fn lower_case(&self) -> String {
        self.address().to_lowercase()
    }

    pub fn parsed(&self) -> WalletAddress {
        WalletAddress::parse(&self.address()).expect("an address")
    }

    /// `personal_sign`: r, s, and v as 27 or 28.
    pub fn sign(&self, text: &str) -> String {
        let (signature, v) =
            self.0.sign_prehash_recoverable(eip191_hash_message(text).as_slice()).expect("a signature");
        format!("0x{}{:02x}", hex::encode(signature.to_bytes()), 27 + v.to_byte())
    }

    /// The body of `POST /auth` for a message that was signed now.
    pub fn proof(&self, app: &TestApp, nonce: &str) -> Value {
        let (address, now) = (self.address(), now(app));
        let signature = self.sign(&message(&address, nonce, &now));
        json!({"address": address, "service": "stake", "signature": signature, "signedAt": now})
    }
}

/// The other signature that the same key could have made of the same text: s in the upper half of the order.
pub fn twin(signature: &str) -> String {
    let order = U256::from_str_radix(ORDER, 16).expect("a number");
    let s = U256::from_str_radix(&signature[66..130], 16).expect("a number");
    let v = if signature.ends_with("1b") { "1c" } else { "1b" };
    format!("{}{:064x}{v}", &signature[..66], order - s)
}

/// The present instant as a wallet writes it.
pub fn now(app: &TestApp) -> String {
    Timestamp(app.now()).to_string()
}

/// The message that signs in (bloqstake-auth.md section 4).
pub fn message(address: &str, nonce: &str, issued_at: &str) -> String {
    stating("Signing In With Ethereum on Bloq", address, nonce, issued_at)
}

/// The same with another statement.
pub fn stating(statement: &str, address: &str, nonce: &str, issued_at: &str) -> String {
    format!(
        "api.bloq.com wants you to sign in with your Ethereum account:\n{address}\n\n{statement}\n\n\
         URI: https://api.bloq.com\nVersion: 1\nChain ID: 1\nNonce: {nonce}\nIssued At: {issued_at}"
    )
}

impl TestApp {
    /// An administrator enables the address of a wallet for a user.
    pub async fn enable(&self, user: &str, wallet: &Wallet) {
        let user = user.parse().expect("a user id");
        self.app.ethereum.enable(user, wallet.parsed(), By::Operator).await.expect("the address is enabled");
    }

    /// What a wallet is to sign.
    pub async fn nonce(&self, wallet: &Wallet) -> String {
        self.post(&format!("/users/{}/nonce", wallet.address())).await.expect(200).field("nonce")
    }

    /// Signs in with what a wallet has signed.
    pub fn sign_in(&self, proof: &Value) -> Call {
        self.post("/auth").json(proof)
    }

    /// Signs in with a wallet; answers the token for the staking routes.
    pub async fn stake(&self, wallet: &Wallet) -> String {
        let nonce = self.nonce(wallet).await;
        self.sign_in(&wallet.proof(self, &nonce)).await.expect(200).field("token")
    }

    /// Signs in with a message that a wallet has put together.
    pub fn siwe(&self, message: &str, signature: &str) -> Call {
        self.post("/auth/siwe").json(&json!({"message": message, "signature": signature}))
    }
}
