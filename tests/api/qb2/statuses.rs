//! Every row of the table of statuses that is not about rights or sessions.

use bloq_accounts::grpc::contract::blickfeld::secure::config::{Account, ApplicationKey};
use bloq_accounts::grpc::contract::blickfeld::secure::services::AccountStoreRequest;
use bloq_accounts::users::NewName;
use chrono::TimeDelta;
use tonic::Code;

use crate::harness::people::email;
use crate::harness::qb2::{ACTIVE, ADMIN, AUTHORIZED, BLOCKED, WAITING, code_of, password, refused};
use crate::harness::{STRONG, STRONGER, TestApp};

const NOBODY: &str = "0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11";

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_are_one_answer() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    root.member("ada").await;
    let ada = refused(app.qb2().login("ada", STRONGER).await, Code::Unauthenticated);
    let bob = refused(app.qb2().login("bob", STRONGER).await, Code::Unauthenticated);
    let odd = refused(app.qb2().login("b\0b ☃", STRONGER).await, Code::Unauthenticated);
    assert_eq!((ada.message(), code_of(&ada)), (bob.message(), "InvalidCredentials"));
    assert_eq!(odd.message(), bob.message());
}

#[tokio::test]
async fn an_account_has_one_password_whatever_its_name_is_called() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, _) = root.member("Ada").await;
    for name in ["ada", "ADA", &format!("user-{uuid}")] {
        app.qb2().enter(name, STRONG).await.nonce().await.expect("the same account");
    }
}

#[tokio::test]
async fn a_blocked_account_gets_in_by_no_way_and_is_out_at_once() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, ada) = root.member("ada").await;
    let (_, secret) = ada.create_key("", ApplicationKey::default()).await.expect("a key");
    let camera = app.qb2().with(&app.qb2().login_with_key(&secret).await.expect("a token"));
    let token = app.log_in("ada", STRONG).await;
    root.block(&uuid).await.expect("blocked");
    root.block(&uuid).await.expect("blocked it is");
    assert_eq!(root.account(&uuid).await.state, BLOCKED);
    for status in [
        refused(ada.nonce().await.map(drop), Code::PermissionDenied),
        refused(camera.nonce().await.map(drop), Code::PermissionDenied),
        refused(app.qb2().login("ada", STRONG).await.map(drop), Code::PermissionDenied),
        refused(app.qb2().login_with_key(&secret).await.map(drop), Code::PermissionDenied),
    ] {
        assert_eq!(code_of(&status), "UserBlocked");
    }
    refused(app.qb2().login("ada", STRONGER).await, Code::Unauthenticated);
    app.me(&token).await.refused(403, "UserBlocked");
    app.post("/auth").basic("ada", STRONG).await.refused(403, "UserBlocked");

    root.change(&uuid, |account| account.state = ACTIVE).await.expect("an administrator lifts it");
    app.qb2().login_with_key(&secret).await.expect("account and key work again");
    app.qb2().enter("ada", STRONG).await;
}

#[tokio::test]
async fn a_reset_takes_the_password_and_nothing_else() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, ada) = root.member_as(Account { name: "ada".into(), access_level: ADMIN, ..Account::default() }).await;
    let (_, secret) = ada.create_key("", ApplicationKey::default()).await.expect("a key");
    root.block(&uuid).await.expect("blocked");
    let first = root.reset(&uuid).await.expect("reset");
    let activation = root.reset(&uuid).await.expect("reset again");
    assert_eq!(root.account(&uuid).await.state, WAITING);
    refused(app.qb2().login("ada", STRONG).await, Code::Unauthenticated);
    refused(app.qb2().login("ada", &first).await, Code::Unauthenticated);
    refused(ada.nonce().await, Code::PermissionDenied);
    let status = refused(app.qb2().login_with_key(&secret).await, Code::PermissionDenied);
    assert_eq!(code_of(&status), "ActivationRequired");

    let newcomer = app.qb2().enter("ada", &activation).await;
    newcomer.update_password(&activation, STRONGER).await.expect("active");
    let account = root.account(&uuid).await;
    assert_eq!((account.state, account.access_level), (ACTIVE, ADMIN));
    app.qb2().login_with_key(&secret).await.expect("the key stayed");
}

#[tokio::test]
async fn an_activation_password_works_once_and_for_seven_days() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (_, activation) = root.create("ada").await.expect("made");
    assert_eq!(activation.len(), 16);
    app.advance(TimeDelta::days(7) - TimeDelta::seconds(1));
    let newcomer = app.qb2().enter("ada", &activation).await;
    app.advance(TimeDelta::seconds(1));
    refused(app.qb2().login("ada", &activation).await, Code::Unauthenticated);
    refused(newcomer.update_password(&activation, STRONG).await, Code::PermissionDenied);

    let root = app.qb2().enter("root", STRONG).await;
    let (_, activation) = root.create("bob").await.expect("made");
    let (one, two) = (app.qb2().enter("bob", &activation).await, app.qb2().enter("bob", &activation).await);
    let both = tokio::join!(one.update_password(&activation, STRONG), two.update_password(&activation, STRONGER));
    let winners = [both.0.is_ok(), both.1.is_ok()].into_iter().filter(|is_ok| *is_ok).count();
    assert_eq!(winners, 1, "{both:?}");
}

#[tokio::test]
async fn a_user_made_here_is_the_same_there_and_the_other_way_round() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, activation) = root.create("ada").await.expect("made");
    app.post("/auth").basic("ada", &activation).await.refused(403, "ActivationRequired");
    app.activate("ada", &activation, STRONG).await.expect(200);
    app.qb2().enter("ada", STRONG).await;
    let token = app.log_in("ada", STRONG).await;
    assert_eq!(app.me(&token).await.expect(200).text_of("id"), format!("user-{uuid}"));

    let bob = app.person("bob").await;
    let there = app.at_qb2(&bob).await;
    let account = there.account("").await;
    assert_eq!((account.name.as_str(), account.state, account.access_level), (bob.id.as_str(), ACTIVE, AUTHORIZED));
    there.change("", |_| {}).await.expect("to store the own id as a name changes nothing");
    assert_eq!(there.account("").await.name, bob.id);
    let uuid = bob.id.trim_start_matches("user-");
    root.change(uuid, |account| account.name = "bobby".into()).await.expect("named");
    assert_eq!(app.log_in("bobby", STRONG).await.split('.').count(), 3);
    root.reset(uuid).await.expect("reset");
    app.me(&bob.token).await.refused(401, "TokenInvalid");
}

#[tokio::test]
async fn who_has_not_proved_the_e_mail_waits_at_both_doors() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let id = app.sign_up("ada@example.com").await;
    assert_eq!(root.account(id.trim_start_matches("user-")).await.state, WAITING);
    refused(app.qb2().login("ada@example.com", STRONG).await, Code::Unauthenticated);

    let (id, activation) = app.invited(NewName::Email(email("bob@example.com"))).await;
    let newcomer = app.qb2().enter(&id, &activation).await;
    newcomer.update_password(&activation, STRONG).await.expect("a password");
    assert_eq!(root.account(id.trim_start_matches("user-")).await.state, WAITING, "no proof of an e-mail");
    refused(app.qb2().login(&id, STRONG).await, Code::Unauthenticated);
}

#[tokio::test]
async fn names_are_unique_at_both_doors_whatever_their_case() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (_, ada) = root.member("ada").await;
    assert_eq!(code_of(&refused(root.create("ADA").await, Code::AlreadyExists)), "NameTaken");
    refused(ada.change("", |account| account.name = "Root".into()).await, Code::AlreadyExists);
    ada.change("", |account| account.name = "Ada".into()).await.expect("the own name in another case");
    let together: Vec<_> = (0..8).map(|_| root.clone()).collect();
    let mut made = 0;
    let tasks: Vec<_> =
        together.into_iter().map(|root| tokio::spawn(async move { root.create("bob").await })).collect();
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(_) => made += 1,
            Err(status) => assert_eq!(status.code(), Code::AlreadyExists, "{status:?}"),
        }
    }
    assert_eq!(made, 1);
}

#[tokio::test]
async fn what_is_unknown_is_not_found() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    refused(root.get(NOBODY).await, Code::NotFound);
    refused(root.block(NOBODY).await, Code::NotFound);
    refused(root.reset(NOBODY).await, Code::NotFound);
    refused(root.delete(NOBODY).await, Code::NotFound);
    let account = Some(Account { name: "ada".into(), ..Account::default() });
    let request = AccountStoreRequest { uuid: NOBODY.into(), account, ..AccountStoreRequest::default() };
    refused(root.store(request).await, Code::NotFound);
    refused(root.keys(NOBODY).await, Code::NotFound);
    refused(root.create_key(NOBODY, ApplicationKey::default()).await, Code::NotFound);
    refused(root.delete_key(&"a".repeat(32)).await, Code::NotFound);
    refused(app.qb2().login_with_key(&"a".repeat(32)).await, Code::NotFound);
}

#[tokio::test]
async fn there_is_always_an_administrator() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let uuid = root.get("").await.expect("the own account").uuid;
    let stays = |status: tonic::Status| assert_eq!(code_of(&status), "LastAdmin");
    let failed = Code::FailedPrecondition;
    stays(refused(root.block(&uuid).await, failed));
    stays(refused(root.reset(&uuid).await, failed));
    stays(refused(root.delete(&uuid).await, failed));
    stays(refused(root.delete("").await, failed));
    stays(refused(root.change("", |account| account.access_level = AUTHORIZED).await, failed));
    stays(refused(root.change("", |account| account.access_read_only = true).await, failed));
    stays(refused(root.change("", |account| account.state = BLOCKED).await, failed));

    let second = Account { name: "second".into(), access_level: ADMIN, ..Account::default() };
    let (other, second) = root.member_as(second).await;
    let both = tokio::join!(root.block(&other), second.block(&uuid));
    assert!(both.0.is_ok() != both.1.is_ok(), "one of them: {both:?}");
}

#[tokio::test]
async fn a_state_that_only_the_owner_can_reach_is_not_stored() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, _) = root.create("ada").await.expect("made");
    let odd = |status: tonic::Status| assert_eq!(code_of(&status), "InvalidState");
    odd(refused(root.change(&uuid, |account| account.state = ACTIVE).await, Code::FailedPrecondition));
    root.block(&uuid).await.expect("blocked");
    odd(refused(root.change(&uuid, |account| account.state = ACTIVE).await, Code::FailedPrecondition));
    let (uuid, _) = root.member("bob").await;
    odd(refused(root.change(&uuid, |account| account.state = WAITING).await, Code::FailedPrecondition));
    root.change(&uuid, |account| account.state = BLOCKED).await.expect("a block");
    assert_eq!(root.account(&uuid).await.state, BLOCKED);
}

#[tokio::test]
async fn an_account_blocks_itself_after_too_many_failures_and_its_keys_go_on() {
    let app = TestApp::start_with(|config| config.rate_limit.enabled = false).await;
    let root = app.qb2_admin().await;
    let (uuid, ada) = root.member("ada").await;
    let (_, secret) = ada.create_key("", ApplicationKey::default()).await.expect("a key");
    for count in 1..=10 {
        refused(app.qb2().login("ada", "wrong").await, Code::Unauthenticated);
        assert_eq!(root.account(&uuid).await.failed_login_attempts, count);
    }
    app.qb2().enter("ada", STRONG).await;
    assert_eq!(root.account(&uuid).await.failed_login_attempts, 0, "a success forgets them");
    for _ in 0..11 {
        refused(app.qb2().login("ada", "wrong").await, Code::Unauthenticated);
    }
    assert_eq!(root.account(&uuid).await.state, BLOCKED);
    refused(app.qb2().login("ada", STRONG).await, Code::PermissionDenied);
    ada.nonce().await.expect("live tokens go on");
    app.qb2().login_with_key(&secret).await.expect("keys go on");
    root.reset(&uuid).await.expect("reset");
    assert_eq!(root.account(&uuid).await.failed_login_attempts, 0);

    for _ in 0..20 {
        refused(app.qb2().login("root", "wrong").await, Code::Unauthenticated);
    }
    app.qb2().enter("root", STRONG).await;
    let bob = app.person("bob").await;
    for _ in 0..20 {
        refused(app.qb2().login(&bob.email, "wrong").await, Code::Unauthenticated);
    }
    app.at_qb2(&bob).await;
}

#[tokio::test]
async fn a_newcomer_who_was_guessed_at_too_often_is_blocked_with_an_open_token_as_well() {
    let app = TestApp::start_with(|config| config.rate_limit.enabled = false).await;
    let root = app.qb2_admin().await;
    let (uuid, activation) = root.create("ada").await.expect("made");
    let newcomer = app.qb2().enter("ada", &activation).await;
    for _ in 0..11 {
        refused(app.qb2().login("ada", "wrong").await, Code::Unauthenticated);
    }
    let status = refused(newcomer.update_password(&activation, STRONG).await, Code::PermissionDenied);
    assert_eq!(code_of(&status), "UserBlocked");
    app.activate("ada", &activation, STRONG).await.refused(403, "UserBlocked");
    assert_eq!(root.account(&uuid).await.state, BLOCKED);
}

#[tokio::test]
async fn nobody_is_called_what_another_one_is_known_by() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, _) = root.member("ada").await;
    let (_, eve) = root.member("eve").await;
    for name in [uuid.clone(), uuid.to_uppercase(), uuid.replace('-', ""), format!("user-{uuid}")] {
        refused(eve.change("", |account| account.name = name.clone()).await, Code::InvalidArgument);
        refused(root.create(&name).await, Code::InvalidArgument);
    }
    app.qb2().enter(&uuid, STRONG).await.nonce().await.expect("the bare uuid names the user");
}

#[tokio::test]
async fn strangers_who_sign_up_keep_no_administrator_from_seeing_the_accounts() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, _) = root.member("ada").await;
    app.execute(
        "insert into users (id, email, email_canonical, password_hash, created_at, updated_at)
         select gen_random_uuid(), n || '@example.com', n || '@example.com', '', '2026-03-05 11:00Z', '2026-03-05 11:00Z'
         from generate_series(1, 1500) n",
    )
    .await;
    let listed = root.list().await.expect("the list");
    assert!(listed.contains_key(&uuid) && listed.len() == 1002, "{}", listed.len());
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it_and_the_new_one_is_strong() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (_, ada) = root.member("ada").await;
    let status = refused(ada.update_password("wrong", STRONGER).await, Code::PermissionDenied);
    assert!(status.message().contains("password_update.current"), "{status:?}");
    let status = refused(ada.update_password(STRONG, "short").await, Code::InvalidArgument);
    assert!(code_of(&status) == "WeakPassword" && status.message().contains("password_update.new"), "{status:?}");
    refused(ada.update_password(STRONG, STRONG).await, Code::InvalidArgument);

    let account = |name: &str| Some(Account { name: name.into(), ..Account::default() });
    let both = |name: &str, current: &str, new: &str| AccountStoreRequest {
        account: account(name),
        password_update: Some(password(current, new)),
        ..AccountStoreRequest::default()
    };
    refused(ada.store(both("lovelace", "wrong", STRONGER)).await, Code::PermissionDenied);
    assert_eq!(ada.account("").await.name, "ada", "both or nothing");
    refused(ada.store(both("root", STRONG, STRONGER)).await, Code::AlreadyExists);
    app.qb2().enter("ada", STRONG).await;
    let named_alike = both("Wolkenbruch99", STRONG, "Wolkenbruch99 and rain");
    assert_eq!(code_of(&refused(ada.store(named_alike).await, Code::InvalidArgument)), "WeakPassword");
    ada.store(both("lovelace", STRONG, STRONGER)).await.expect("both");
    app.qb2().enter("lovelace", STRONGER).await;
}

#[tokio::test]
async fn keys_are_fifty_at_the_most_and_one_of_them_for_http() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let http = ApplicationKey { access_http: true, ..ApplicationKey::default() };
    root.create_key("", http.clone()).await.expect("the first");
    assert_eq!(code_of(&refused(root.create_key("", http).await, Code::AlreadyExists)), "HttpKeyExists");
    for _ in 0..49 {
        root.create_key("", ApplicationKey::default()).await.expect("one more");
    }
    refused(root.create_key("", ApplicationKey::default()).await, Code::ResourceExhausted);
}
