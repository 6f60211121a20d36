//! `admin address enable|disable|list`.

use serde_json::{Value, json};

use crate::harness::STRONG;
use crate::harness::program::{Done, Place};
use crate::harness::wallet::Wallet;

async fn run(place: &Place, command: &[&str]) -> Done {
    place.run(&[&["admin", "address"], command].concat()).await
}

#[tokio::test]
async fn an_operator_enables_lists_and_disables_addresses() {
    let place = Place::filled();
    let mut server = place.serve().await;
    for name in ["ada", "bob"] {
        let create = ["admin", "user", "create", "--name", name, "--password-stdin"];
        place.run_with_input(&create, STRONG).await.expect(0);
    }
    let (first, second) = (Wallet::new(1), Wallet::new(2));
    let enabled = run(&place, &["enable", &first.lower_case(), "--user", "ADA"]).await.expect(0);
    assert_eq!(enabled.stdout, "");
    assert!(enabled.stderr.contains(&format!("{} signs in as user-", first.address())), "{enabled:?}");
    let shown = run(&place, &["enable", &second.address(), "--user", "bob", "--json"]).await.expect(0);
    let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!((&shown["address"], &shown["linkedAt"]), (&json!(second.address()), &json!(null)));
    server.get(&format!("/users/{}/nonce", first.address())).await.expect(200);

    let all = run(&place, &["list"]).await.expect(0).stdout;
    assert_eq!(all.lines().count(), 3, "{all}");
    assert!(all.starts_with("ADDRESS") && all.contains(&first.address()) && all.contains(&second.address()), "{all}");
    let of_bob = run(&place, &["list", "--user", "bob", "--json"]).await.expect(0).stdout;
    assert_eq!(serde_json::from_str::<Value>(&of_bob).expect("JSON"), json!([shown]));

    let taken = run(&place, &["enable", &first.address(), "--user", "bob"]).await;
    taken.complains(&["belongs to user-"]);
    let nobody = run(&place, &["list", "--user", "eve"]).await.complains(&["there is no user \"eve\""]);
    assert_eq!(nobody.stdout, "");
    run(&place, &["disable", &first.address()]).await.expect(0);
    server.get(&format!("/users/{}/nonce", first.address())).await.refused(404, "NotFound");
    run(&place, &["disable", &first.address()]).await.complains(&["nobody has the address"]);
    run(&place, &["enable", &first.address(), "--user", "eve"]).await.complains(&["there is no user \"eve\""]);
    let wrong = run(&place, &["enable", "0x12", "--user", "ada"]).await.expect(2);
    assert!(wrong.stderr.contains("must be 0x and 40 hex digits"), "{wrong:?}");
    run(&place, &["disable", &second.address()]).await.expect(0);
    assert_eq!(run(&place, &["list", "--json"]).await.expect(0).stdout, "[]\n");
    server.terminate().await;
}
