//! What administrators do: enable, disable and list addresses of anybody.

use std::future::IntoFuture;

use bloq_accounts::users::{AccessLevel, By};
use serde_json::json;

use crate::harness::wallet::Wallet;
use crate::harness::{Person, TestApp, together};

impl TestApp {
    /// An administrator disables an address.
    pub async fn disable(&self, user: &str, wallet: &Wallet) {
        let user = user.parse().expect("a user id");
        self.app.ethereum.disable(user, wallet.parsed(), By::Operator).await.expect("the address is disabled");
    }

    async fn seen_by(&self, admin: &Person, user: &str) -> serde_json::Value {
        self.get(&format!("/users/{user}/addresses")).bearer(&admin.token).await.expect(200).json()
    }
}

#[tokio::test]
async fn an_administrator_enables_lists_and_disables_an_address() {
    let app = TestApp::start().await;
    let (root, ada, wallet) = (app.named("root", AccessLevel::Admin).await, app.person("ada").await, Wallet::new(1));
    let noon = "2026-03-05T12:00:00.123Z";
    let expected = json!({"address": wallet.address(), "linkedAt": null, "enabledAt": noon, "createdAt": noon});
    // Whoever is named, by id or by e-mail, in whatever case.
    for path in [
        format!("/users/{}/addresses/{}", ada.id, wallet.lower_case()),
        format!("/users/{}/addresses/{}", ada.email, wallet.address()),
    ] {
        assert_eq!(app.put(&path).bearer(&root.token).await.expect(200).json(), expected);
    }
    assert_eq!(app.seen_by(&root, &ada.email).await, json!([expected]));
    assert_eq!(app.newest_subject(&ada.email).await, "An Ethereum address can sign in to your account");
    app.stake(&wallet).await;

    let path = format!("/users/{}/addresses/{}", ada.id, wallet.address());
    app.delete(&path).bearer(&root.token).await.expect(204);
    assert_eq!(app.seen_by(&root, &ada.id).await, json!([]), "nobody has proved to hold it");
    app.delete(&path).bearer(&root.token).await.refused(404, "NotFound");

    app.link(&ada, &wallet).await;
    app.put(&path).bearer(&root.token).await.expect(200);
    app.delete(&path).bearer(&root.token).await.expect(204);
    assert_eq!(app.addresses_of(&ada).await[0]["enabledAt"], json!(null), "it stays linked");
}

#[tokio::test]
async fn a_link_that_stands_in_the_way_is_taken_off_by_an_administrator() {
    let app = TestApp::start().await;
    let (root, mallory, ada) =
        (app.named("root", AccessLevel::Admin).await, app.person("mallory").await, app.person("ada").await);
    let wallet = Wallet::new(1);
    app.link(&mallory, &wallet).await;
    app.block(&mallory.id, "admin").await;
    let path = |user: &str| format!("/users/{user}/addresses/{}", wallet.address());
    let taken = app.put(&path(&ada.id)).bearer(&root.token).await.refused(409, "AddressTaken");
    assert!(taken.field("message").contains(&mallory.id), "{taken:?}");
    app.delete(&path(&mallory.id)).bearer(&root.token).await.expect(204);
    app.delete(&path(&mallory.id)).bearer(&root.token).await.refused(404, "NotFound");
    app.put(&path(&ada.id)).bearer(&root.token).await.expect(200);
    app.stake(&wallet).await;
}

#[tokio::test]
async fn an_address_that_is_disabled_or_removed_takes_its_account_tokens_with_it() {
    let app = TestApp::start().await;
    let (ada, wallet, other) = (app.person("ada").await, Wallet::new(1), Wallet::new(2));
    for unlinked in [false, true] {
        app.enable(&ada.id, &wallet).await;
        app.enable(&ada.id, &other).await;
        let (token, kept) = (app.siwe_token(&wallet).await, app.siwe_token(&other).await);
        let listed = app.get("/users/me/tokens").bearer(&ada.token).await.expect(200).json();
        let with =
            |address: String| listed.as_array().expect("a list").iter().any(|it| it["address"] == address.as_str());
        assert!(with(wallet.address()) && with(other.address()), "{listed}");
        if unlinked {
            let path = format!("/users/me/addresses/{}", wallet.address());
            app.delete(&path).bearer(&ada.token).await.expect(204);
        } else {
            app.disable(&ada.id, &wallet).await;
        }
        app.me(&token).await.refused(401, "TokenInvalid");
        app.me(&kept).await.expect(200);
        app.me(&ada.token).await.expect(200);
    }
}

#[tokio::test]
async fn each_enabled_address_is_told_of() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for number in 1..=20 {
        app.enable(&ada.id, &Wallet::new(number)).await;
    }
    app.deliver_mail().await;
    let told = app.mailbox().to(&ada.email);
    for number in 1..=20 {
        let address = Wallet::new(number).address();
        assert_eq!(told.iter().filter(|letter| letter.text.contains(&address)).count(), 1, "{address}");
    }
}

#[tokio::test]
async fn who_has_yet_to_prove_an_e_mail_is_told_as_well() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    app.enable(&ada, &Wallet::new(1)).await;
    assert_eq!(app.newest_subject("ada@example.com").await, "An Ethereum address can sign in to your account");
}

#[tokio::test]
async fn of_a_deleted_user_no_event_knows_the_address() {
    let app = TestApp::start().await;
    let (root, ada, wallet) = (app.named("root", AccessLevel::Admin).await, app.person("ada").await, Wallet::new(1));
    app.link(&ada, &wallet).await;
    let path = format!("/users/{}/addresses/{}", ada.id, wallet.address());
    app.put(&path).bearer(&root.token).await.expect(200);
    for place in ["users", "auth/users"] {
        app.get(&format!("/{place}/{}/nonce", wallet.lower_case())).await.expect(200);
    }
    app.stake(&wallet).await;
    app.delete(&path).bearer(&root.token).await.expect(204);
    app.leave(&ada.token, &ada.password).await.expect(204);
    app.erase().await;
    let written = app.text("select coalesce(string_agg(lower(e::text), ' '), '') from events e").await;
    assert!(!written.contains(&wallet.lower_case()), "{written}");
}

#[tokio::test]
async fn only_administrators_with_full_rights_enable_also_their_own() {
    let app = TestApp::start().await;
    let (root, ada, wallet) = (app.named("root", AccessLevel::Admin).await, app.person("ada").await, Wallet::new(1));
    let path = |user: &str| format!("/users/{user}/addresses/{}", wallet.address());
    for user in [&ada.id, &root.id] {
        app.put(&path(user)).bearer(&ada.token).await.refused(403, "Forbidden");
        app.delete(&path(user)).bearer(&ada.token).await.refused(403, "Forbidden");
        app.get(&format!("/users/{user}/addresses")).bearer(&ada.token).await.refused(403, "Forbidden");
    }
    app.put(&path(&root.id)).bearer(&root.token).await.expect(200);
    app.execute("update users set read_only = true where login_name = 'root'").await;
    app.put(&path(&root.id)).bearer(&root.token).await.refused(403, "Forbidden");
    app.delete(&path(&root.id)).bearer(&root.token).await.refused(403, "Forbidden");
    assert_eq!(app.seen_by(&root, &root.id).await.as_array().map(Vec::len), Some(1), "looking is allowed");
}

#[tokio::test]
async fn an_address_of_somebody_else_or_of_nobody_is_not_enabled() {
    let app = TestApp::start().await;
    let (root, ada, bob) =
        (app.named("root", AccessLevel::Admin).await, app.person("ada").await, app.person("bob").await);
    let wallet = Wallet::new(1);
    let put = |user: &str, address: &str| app.put(&format!("/users/{user}/addresses/{address}")).bearer(&root.token);
    put("nobody", &wallet.address()).await.refused(404, "NotFound");
    let bad = put(&ada.id, "0x12").await.refused(400, "ValidationFailed");
    assert_eq!(bad.bad_fields(), ["address"]);
    app.link(&ada, &wallet).await;
    put(&bob.id, &wallet.address()).await.refused(409, "AddressTaken");
    let free = Wallet::new(2);
    let answers = together([put(&ada.id, &free.address()), put(&bob.id, &free.address())]).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{answers:?}");
    let of_bob = format!("/users/{}/addresses/{}", bob.id, wallet.address());
    app.delete(&of_bob).bearer(&root.token).await.refused(404, "NotFound");
}

#[tokio::test]
async fn who_is_disabled_while_signing_in_gets_no_token() {
    let app = TestApp::start().await;
    let (ada, wallet) = (app.person("ada").await, Wallet::new(1));
    app.enable(&ada.id, &wallet).await;
    let nonce = app.nonce(&wallet).await;
    let mut waiting = None;
    app.connection_holding("select 1 from users for no key update", async || {
        // Whoever disables comes first, and both wait for the lock of the user's row.
        let (services, user) = (app.app.clone(), ada.id.parse().expect("a user id"));
        let address = wallet.parsed();
        let disabling = tokio::spawn(async move { services.ethereum.disable(user, address, By::Operator).await });
        app.until_waiting(1).await;
        let signing = tokio::spawn(app.sign_in(&wallet.proof(&app, &nonce)).into_future());
        app.until_waiting(2).await;
        waiting = Some((disabling, signing));
    })
    .await;
    let (disabling, signing) = waiting.expect("they wait");
    assert_eq!(disabling.await.expect("no panic").expect("it is disabled"), None);
    signing.await.expect("no panic").refused(401, "UserNotFound");
    assert_eq!(app.count("select count(*) from wallet_nonces").await, 0);
}
