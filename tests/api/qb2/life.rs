//! From the first password to the last.

use bloq_accounts::grpc::contract::blickfeld::secure::config::{Account, ApplicationKey};
use tonic::Code;

use crate::harness::qb2::{ACTIVE, AUTHORIZED, WAITING, code_of, refused};
use crate::harness::{STRONG, STRONGER, TestApp};

#[tokio::test]
async fn an_account_lives_from_its_making_to_its_end() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, activation) = root.create("ada").await.expect("it is made");
    let expected = Account { name: "ada".into(), access_level: AUTHORIZED, state: WAITING, ..Account::default() };
    assert_eq!(root.account(&uuid).await, expected);
    assert_eq!(root.list().await.expect("the list")[&uuid], expected);

    let newcomer = app.qb2().enter("ada", &activation).await;
    refused(newcomer.get("").await, Code::PermissionDenied);
    newcomer.update_password(&activation, STRONG).await.expect("activated");
    refused(newcomer.nonce().await, Code::PermissionDenied);
    refused(app.qb2().login("ada", &activation).await, Code::Unauthenticated);

    let ada = app.qb2().enter("ada", STRONG).await;
    let own = ada.get("").await.expect("the own account");
    assert_eq!((own.uuid.as_str(), own.account), (uuid.as_str(), Some(Account { state: ACTIVE, ..expected })));
    ada.update_password(STRONG, STRONGER).await.expect("another password");
    ada.nonce().await.expect("the token that was used lives on");
    ada.change("", |account| account.name = "lovelace".into()).await.expect("another name");
    assert_eq!(ada.account("").await.name, "lovelace");

    let (key, secret) = ada
        .create_key("", ApplicationKey { purpose: "camera".into(), ..ApplicationKey::default() })
        .await
        .expect("a key");
    let camera = app.qb2().with(&app.qb2().login_with_key(&secret).await.expect("a token"));
    assert_eq!(camera.account("").await.name, "lovelace");
    assert_eq!(camera.keys("").await.expect("the keys").keys().collect::<Vec<_>>(), [&key]);
    ada.delete_key(&key).await.expect("it is there");
    refused(camera.nonce().await, Code::PermissionDenied);
    refused(app.qb2().login_with_key(&secret).await, Code::NotFound);

    root.delete(&uuid).await.expect("it goes");
    refused(ada.nonce().await, Code::PermissionDenied);
    let status = refused(root.get(&uuid).await, Code::NotFound);
    assert_eq!(code_of(&status), "NotFound");
    refused(app.qb2().login("lovelace", STRONGER).await, Code::Unauthenticated);
}
