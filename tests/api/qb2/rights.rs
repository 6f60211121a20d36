//! Who may do what: every row of the table of rights, success and refusal.

use bloq_accounts::grpc::call::METHODS;
use bloq_accounts::grpc::contract::blickfeld::secure::config::{Account, ApplicationKey};
use bloq_accounts::grpc::contract::blickfeld::secure::services::AccountStoreRequest;
use bloq_accounts::tokens::Level;
use tonic::Code;

use crate::harness::qb2::{ACTIVE, ADMIN, AUTHORIZED, Qb2, Said, code_of, refused};
use crate::harness::{STRONG, STRONGER, TestApp};

fn reader(name: &str, level: i32) -> Account {
    Account { name: name.into(), access_level: level, access_read_only: true, ..Account::default() }
}

/// Everybody there can be at this door, and what each is called.
struct Crowd {
    nobody: Qb2,
    newcomer: Qb2,
    reader: Qb2,
    user: Qb2,
    reading_admin: Qb2,
    admin: Qb2,
    /// An administrator's key that is none of an administrator.
    plain_key: Qb2,
    /// A user's key that may only read.
    reading_key: Qb2,
    /// A key of an administrator's level, of somebody who is none.
    proud_key: Qb2,
}

impl Crowd {
    async fn meet(app: &TestApp) -> Self {
        let admin = app.qb2_admin().await;
        let (_, activation) = admin.create("newcomer").await.expect("made");
        let (user_id, user) = admin.member("user").await;
        let by_key = async |owner: &str, key: ApplicationKey| {
            let (_, secret) = admin.create_key(owner, key).await.expect("a key");
            app.qb2().with(&app.qb2().login_with_key(&secret).await.expect("a token"))
        };
        let plain = ApplicationKey::default();
        Self {
            nobody: app.qb2(),
            newcomer: app.qb2().enter("newcomer", &activation).await,
            reader: admin.member_as(reader("reader", AUTHORIZED)).await.1,
            reading_admin: admin.member_as(reader("reading-admin", ADMIN)).await.1,
            plain_key: by_key("", plain.clone()).await,
            reading_key: by_key(&user_id, ApplicationKey { access_read_only: true, ..plain.clone() }).await,
            proud_key: by_key(&user_id, ApplicationKey { access_level: ADMIN, ..plain }).await,
            user,
            admin,
        }
    }

    /// Everybody but the administrator, with what a method of the rights of an administrator tells them.
    fn others(&self) -> [(&'static str, &Qb2, Code); 8] {
        let denied = Code::PermissionDenied;
        [
            ("nobody", &self.nobody, Code::Unauthenticated),
            ("newcomer", &self.newcomer, denied),
            ("reader", &self.reader, denied),
            ("user", &self.user, denied),
            ("reading admin", &self.reading_admin, denied),
            ("an administrator's plain key", &self.plain_key, denied),
            ("reading key", &self.reading_key, denied),
            ("proud key", &self.proud_key, denied),
        ]
    }
}

#[tokio::test]
async fn what_changes_accounts_is_for_administrators_who_may_do_more_than_read() {
    let app = TestApp::start().await;
    let crowd = Crowd::meet(&app).await;
    let (uuid, _) = crowd.admin.create("ada").await.expect("made");
    for (who, caller, code) in crowd.others() {
        println!("{who}");
        refused(caller.create("bob").await, code);
        refused(caller.block(&uuid).await, code);
        refused(caller.reset(&uuid).await, code);
        refused(caller.delete(&uuid).await, code);
        refused(caller.delete("").await, code);
        refused(caller.invalidate().await, code);
    }
    crowd.admin.block(&uuid).await.expect("allowed");
    crowd.admin.reset(&uuid).await.expect("allowed");
    crowd.admin.delete(&uuid).await.expect("allowed");
    crowd.admin.invalidate().await.expect("allowed");
}

#[tokio::test]
async fn administrators_see_every_account_also_those_who_may_only_read() {
    let app = TestApp::start().await;
    let crowd = Crowd::meet(&app).await;
    let (uuid, _) = crowd.admin.create("ada").await.expect("made");
    for (who, caller, code) in crowd.others() {
        println!("{who}");
        if who == "reading admin" {
            assert_eq!(caller.list().await.expect("allowed").len(), 6);
            assert_eq!(caller.account(&uuid).await.name, "ada");
            caller.keys(&uuid).await.expect("allowed");
            continue;
        }
        refused(caller.list().await, code);
        refused(caller.get(&uuid).await, code);
        refused(caller.keys(&uuid).await, code);
    }
    assert_eq!(crowd.admin.list().await.expect("allowed").len(), 6);
}

#[tokio::test]
async fn everybody_but_newcomers_sees_and_renames_the_own_account_and_looks_after_its_keys() {
    let app = TestApp::start().await;
    let crowd = Crowd::meet(&app).await;
    for (number, (who, caller, _)) in crowd.others().into_iter().enumerate() {
        println!("{who}");
        let code = match who {
            "nobody" => Code::Unauthenticated,
            "newcomer" => Code::PermissionDenied,
            _ => {
                let mut account = caller.account("").await;
                account.name = format!("name-{number}");
                let request = AccountStoreRequest { account: Some(account), ..AccountStoreRequest::default() };
                caller.store(request).await.expect("the own name");
                assert_eq!(caller.account("").await.name, format!("name-{number}"));
                let (key, _) = caller.create_key("", ApplicationKey::default()).await.expect("an own key");
                assert!(caller.keys("").await.expect("the own keys").contains_key(&key));
                caller.delete_key(&key).await.expect("an own key");
                continue;
            }
        };
        refused(caller.get("").await, code);
        let account = Some(Account { name: "other".into(), ..Account::default() });
        refused(caller.store(AccountStoreRequest { account, ..AccountStoreRequest::default() }).await, code);
        refused(caller.keys("").await, code);
        refused(caller.create_key("", ApplicationKey::default()).await, code);
        refused(caller.delete_key(&"k".repeat(32)).await, code);
    }
}

#[tokio::test]
async fn everybody_gets_a_nonce_and_may_log_in_whatever_is_shown() {
    let app = TestApp::start().await;
    let crowd = Crowd::meet(&app).await;
    for (who, caller, _) in crowd.others().into_iter().chain([("admin", &crowd.admin, Code::Ok)]) {
        println!("{who}");
        caller.nonce().await.expect("everybody may");
        caller.login("user", STRONG).await.expect("everybody may");
    }
}

#[tokio::test]
async fn a_newcomer_may_store_a_password_and_nothing_else() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, activation) = root.create("ada").await.expect("made");
    let newcomer = app.qb2().enter("ada", &activation).await;
    newcomer.nonce().await.expect("everybody may");
    let update = |uuid: &str, account: Option<Account>| AccountStoreRequest {
        uuid: uuid.into(),
        account,
        password_update: Some(crate::harness::qb2::password(&activation, STRONG)),
    };
    refused(newcomer.store(update(&uuid, None)).await, Code::PermissionDenied);
    let account = Account { name: "ada".into(), ..Account::default() };
    refused(newcomer.store(update("", Some(account))).await, Code::PermissionDenied);
    newcomer.store(update("", None)).await.expect("allowed");
    app.qb2().enter("ada", STRONG).await;
}

#[tokio::test]
async fn nobody_gets_more_rights_by_storing_them() {
    let app = TestApp::start().await;
    let crowd = Crowd::meet(&app).await;
    let (other, _) = crowd.admin.create("ada").await.expect("made");
    let own = async |caller: &Qb2, change: &dyn Fn(&mut Account)| -> Said<()> { caller.change("", change).await };
    for caller in
        [&crowd.user, &crowd.reader, &crowd.reading_key, &crowd.proud_key, &crowd.reading_admin, &crowd.plain_key]
    {
        let before = caller.account("").await;
        let level = if before.access_level == ADMIN { AUTHORIZED } else { ADMIN };
        refused(own(caller, &|account| account.access_level = level).await, Code::PermissionDenied);
        refused(own(caller, &|account| account.state = 3).await, Code::PermissionDenied);
        refused(own(caller, &|account| account.failed_login_attempts = 7).await, Code::PermissionDenied);
        if before.access_read_only {
            // Not told from a flag that is left out, so it is no refusal; and it changes nothing.
            own(caller, &|account| account.access_read_only = false).await.expect("nothing to refuse");
        } else {
            refused(own(caller, &|account| account.access_read_only = true).await, Code::PermissionDenied);
        }
        let account = Some(Account { name: "other".into(), ..Account::default() });
        let request = AccountStoreRequest { uuid: other.clone(), account, ..AccountStoreRequest::default() };
        refused(caller.store(request).await, Code::PermissionDenied);
        assert_eq!(caller.account("").await, before);
    }
}

#[tokio::test]
async fn a_key_gives_no_more_than_its_maker_has() {
    let app = TestApp::start().await;
    let crowd = Crowd::meet(&app).await;
    let wanted = ApplicationKey { access_level: ADMIN, ..ApplicationKey::default() };
    for caller in [&crowd.user, &crowd.reader, &crowd.reading_key, &crowd.proud_key, &crowd.plain_key] {
        refused(caller.create_key("", wanted.clone()).await, Code::PermissionDenied);
    }
    for caller in [&crowd.reader, &crowd.reading_key, &crowd.reading_admin] {
        let (key, _) = caller.create_key("", ApplicationKey::default()).await.expect("a key");
        assert!(caller.keys("").await.expect("the keys")[&key].access_read_only);
    }
    let admin = crowd.admin.get("").await.expect("the own account").uuid;
    refused(crowd.reading_admin.create_key(&admin, ApplicationKey::default()).await, Code::PermissionDenied);
    let (key, _) = crowd.admin.create_key("", wanted).await.expect("a key");
    for caller in [&crowd.user, &crowd.reading_admin] {
        refused(caller.delete_key(&key).await, Code::NotFound);
    }
    let (key, _) = crowd.user.create_key("", ApplicationKey::default()).await.expect("a key");
    crowd.admin.delete_key(&key).await.expect("an administrator may");
}

#[tokio::test]
async fn the_rights_of_a_key_are_those_of_its_account_at_the_moment() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, ada) = root.member_as(Account { name: "ada".into(), access_level: ADMIN, ..Account::default() }).await;
    let wanted = ApplicationKey { access_level: ADMIN, ..ApplicationKey::default() };
    let (_, secret) = ada.create_key("", wanted).await.expect("a key");
    let key = app.qb2().with(&app.qb2().login_with_key(&secret).await.expect("a token"));
    key.list().await.expect("an administrator");
    root.change(&uuid, |account| account.access_read_only = true).await.expect("changed");
    key.list().await.expect("may read");
    refused(key.create("bob").await, Code::PermissionDenied);
    root.change(&uuid, |account| account.access_level = AUTHORIZED).await.expect("changed");
    refused(key.list().await, Code::PermissionDenied);
    refused(ada.list().await, Code::PermissionDenied);
    root.change(&uuid, |account| (account.access_level, account.access_read_only) = (ADMIN, false))
        .await
        .expect("changed");
    key.create("bob").await.expect("an administrator again");
}

#[tokio::test]
async fn an_administrator_changes_everything_about_an_account() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, ada) = root.member("ada").await;
    root.change(&uuid, |account| {
        *account = Account {
            name: "lovelace".into(),
            access_level: ADMIN,
            failed_login_attempts: 3,
            access_read_only: true,
            ..Account::default()
        }
    })
    .await
    .expect("changed");
    let expected = Account {
        name: "lovelace".into(),
        access_level: ADMIN,
        failed_login_attempts: 3,
        state: ACTIVE,
        access_read_only: true,
    };
    assert_eq!(ada.account("").await, expected);
    ada.update_password(STRONG, STRONGER).await.expect("who may only read may change the own password");
}

#[tokio::test]
async fn without_a_token_nothing_but_the_nonce_and_a_log_in_is_to_be_had() {
    let app = TestApp::start().await;
    let stranger = app.qb2();
    for method in &METHODS {
        let path = method.path.trim_start_matches("/blickfeld.secure.services.");
        let said: Said<()> = stranger.call(path, ()).await;
        match path {
            "Session/GetNonce" => said.expect("everybody may"),
            "Authentication/Login" => drop(refused(said, Code::InvalidArgument)),
            _ => {
                let status = refused(said, Code::Unauthenticated);
                assert_eq!(code_of(&status), "Unauthorized", "{path}");
            }
        }
        assert!(method.level > Level::Public || method.is_for_readers, "{path}");
    }
}
