//! What administrators make of a user, by the rules that every door shares.

use bloq_accounts::error::{Code, Error};
use bloq_accounts::grpc::contract::blickfeld::secure::config::ApplicationKey;
use bloq_accounts::origin::Origin;
use bloq_accounts::users::{
    AccessLevel, By, Login, LoginName, NewName, NewUser, Place, Search, State, UserChange, UserId, Way,
};
use chrono::TimeDelta;

use crate::harness::people::email;
use crate::harness::token::claims;
use crate::harness::{Person, STRONG, STRONGER, TestApp, qb2};

fn id(text: &str) -> UserId {
    text.parse().expect("a user id")
}

fn name(text: &str) -> LoginName {
    LoginName::parse(text).expect("a login name")
}

fn to(state: State) -> UserChange {
    UserChange { state: Some(state), ..UserChange::default() }
}

fn called(text: &str) -> UserChange {
    UserChange { name: Some(name(text)), ..UserChange::default() }
}

fn level(level: AccessLevel) -> UserChange {
    UserChange { level: Some(level), ..UserChange::default() }
}

#[track_caller]
fn refused<T>(outcome: Result<T, Error>, code: Code) {
    assert_eq!(outcome.err().map(|error| error.code()), Some(code));
}

/// What is done on the word of this person.
fn word(person: &Person) -> By {
    let token = claims(&person.token)["jti"].as_str().expect("an id").parse().expect("a UUID");
    By::Caller { id: id(&person.id), token }
}

#[tokio::test]
async fn a_blocked_user_is_unblocked_and_goes_on_where_he_was() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let blocked = app.app.users.block(id(&ada.id), By::Operator).await.expect("she is blocked");
    assert_eq!(blocked.state(), State::Blocked);
    app.me(&ada.token).await.refused(403, "UserBlocked");
    app.post("/auth").basic(&ada.email, STRONG).await.refused(403, "UserBlocked");
    app.grant_by_keys(&key.0, &key.1).await.refused(403, "UserBlocked");
    app.change_user(&ada.id, to(State::Active)).await.expect("the block is lifted");
    app.me(&ada.token).await.expect(200);
    app.grant(&key).await;
    app.log_in(&ada.email, STRONG).await;
}

#[tokio::test]
async fn a_second_block_changes_nothing_and_one_by_failures_becomes_one_by_an_administrator() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.named("ada", AccessLevel::Authorized).await, app.person("bob").await);
    app.app.users.block(id(&bob.id), By::Operator).await.expect("he is blocked");
    let before = app.user(&bob.id).await;
    app.advance(TimeDelta::hours(1));
    app.app.users.block(id(&bob.id), By::Operator).await.expect("he stays blocked");
    app.change_user(&bob.id, to(State::Blocked)).await.expect("he stays blocked");
    let after = app.user(&bob.id).await;
    assert_eq!((before.updated_at, before.version), (after.updated_at, after.version));

    app.block(&ada.id, "failures").await;
    app.change_user(&ada.id, to(State::Blocked)).await.expect("she is blocked already");
    app.me(&ada.token).await.expect(200);
    app.app.users.block(id(&ada.id), By::Operator).await.expect("she is blocked");
    app.me(&ada.token).await.refused(403, "UserBlocked");
}

#[tokio::test]
async fn an_unblocked_user_begins_with_no_failures() {
    let app = TestApp::start().await;
    let ada = app.named("ada", AccessLevel::Authorized).await;
    for _ in 0..11 {
        app.post("/auth").basic("ada", "wrong").await.refused(401, "InvalidCredentials");
    }
    assert_eq!(app.user(&ada.id).await.state(), State::Blocked);
    // A client sends back what it was shown, but for the state.
    let change = UserChange { failed_login_attempts: Some(11), name: Some(name("ada")), ..to(State::Active) };
    let user = app.change_user(&ada.id, change).await.expect("the block is lifted");
    assert_eq!((user.state(), user.failed_login_attempts), (State::Active, 0));
    app.log_in("ada", STRONG).await;
}

#[tokio::test]
async fn failures_are_counted_on_from_where_an_administrator_sets_them() {
    let app = TestApp::start().await;
    let ada = app.named("ada", AccessLevel::Authorized).await;
    let failures = |count| UserChange { failed_login_attempts: Some(count), ..UserChange::default() };
    app.change_user(&ada.id, failures(10)).await.expect("they are set");
    app.post("/auth").basic("ada", "wrong").await.refused(401, "InvalidCredentials");
    assert_eq!(app.user(&ada.id).await.state(), State::Blocked);
    for bad in [-1, 1_000_001, i32::MAX] {
        refused(app.change_user(&ada.id, failures(bad)).await, Code::ValidationFailed);
    }
    app.change_user(&ada.id, failures(1_000_000)).await.expect("they are set");
    app.post("/auth").basic("ada", "wrong").await.refused(401, "InvalidCredentials");
}

#[tokio::test]
async fn no_other_way_leads_from_one_state_to_another() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (invited, _) = app.invited(NewName::Name(name("bob"))).await;
    let unproved = app.sign_up("eve@example.com").await;
    refused(app.change_user(&ada.id, to(State::WaitingForActivation)).await, Code::InvalidState);
    for waiting in [&invited, &unproved] {
        refused(app.change_user(waiting, to(State::Active)).await, Code::InvalidState);
        app.change_user(waiting, to(State::WaitingForActivation)).await.expect("that is the state");
        app.change_user(waiting, to(State::Blocked)).await.expect("anybody can be blocked");
        for state in [State::Active, State::WaitingForActivation] {
            refused(app.change_user(waiting, to(state)).await, Code::InvalidState);
        }
        let (user, _) = app.app.users.reset(id(waiting), By::Operator).await.expect("a reset can");
        assert_eq!(user.state(), State::WaitingForActivation);
    }
}

#[tokio::test]
async fn a_reset_takes_the_account_out_of_every_hand() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    app.change_email(&ada.token, "new@example.com", STRONG).await.expect(202);
    let new_email = app.mailed_token("new@example.com").await;
    app.forget_password(&ada.email).await.expect(202);
    let forgotten = app.mailed_token(&ada.email).await;
    app.app.users.block(id(&ada.id), By::Operator).await.expect("she is blocked");

    let (user, activation) = app.app.users.reset(id(&ada.id), By::Operator).await.expect("she is reset");
    assert_eq!((user.state(), user.failed_login_attempts), (State::WaitingForActivation, 0));
    assert_eq!(user.email_verified_at, Some(app.now()), "the e-mail stays proved");
    app.me(&ada.token).await.refused(401, "TokenInvalid");
    app.post("/auth").basic(&ada.email, STRONG).await.refused(401, "InvalidCredentials");
    app.grant_by_keys(&key.0, &key.1).await.refused(403, "ActivationRequired");
    app.confirm_email(&ada.id, &new_email).await.refused(400, "InvalidToken");
    app.reset_password(&ada.id, &forgotten, STRONGER).await.refused(400, "InvalidToken");
    app.forget_password(&ada.email).await.expect(202);
    assert_eq!(app.deliver_mail().await, 0);

    app.activate(&ada.id, activation.expose(), STRONGER).await.expect(200);
    app.log_in(&ada.email, STRONGER).await;
    app.grant(&key).await;
    app.reset_password(&ada.id, &forgotten, STRONG).await.refused(400, "InvalidToken");
}

#[tokio::test]
async fn a_second_reset_ends_the_first_and_both_end_after_7_days() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let reset = async || app.app.users.reset(id(&ada.id), By::Operator).await.expect("she is reset").1;
    let (first, second) = (reset().await, reset().await);
    assert_eq!(second.expose().len(), 16);
    app.activate(&ada.id, first.expose(), STRONGER).await.refused(401, "InvalidCredentials");
    app.advance(TimeDelta::days(7));
    app.activate(&ada.id, second.expose(), STRONGER).await.refused(401, "InvalidCredentials");
}

#[tokio::test]
async fn nobody_is_called_like_somebody_else() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.named("ada", AccessLevel::Authorized).await, app.person("bob").await);
    refused(app.change_user(&bob.id, called("ADA")).await, Code::NameTaken);
    app.change_user(&bob.id, called("Bob")).await.expect("the name is free");
    app.log_in("bob", STRONG).await;
    refused(app.change_user(&ada.id, called("bOb")).await, Code::NameTaken);
    let renamed = app.change_user(&ada.id, called("ADA")).await.expect("it is her own");
    assert_eq!(renamed.login_name.as_deref(), Some("ADA"));
}

#[tokio::test]
async fn of_two_who_want_one_name_at_the_same_moment_one_gets_it() {
    let app = TestApp::start().await;
    let people = [app.person("ada").await, app.person("bob").await, app.person("eve").await];
    let outcomes =
        futures_util::future::join_all(people.iter().map(|person| app.change_user(&person.id, called("x")))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        refused(outcome, Code::NameTaken);
    }
}

#[tokio::test]
async fn the_last_active_administrator_stays_one() {
    let app = TestApp::start().await;
    let root = app.named("root", AccessLevel::Admin).await;
    app.app
        .users
        .create(
            NewUser {
                name: NewName::Name(name("never-came")),
                level: AccessLevel::Admin,
                read_only: false,
                password: None,
            },
            By::Operator,
        )
        .await
        .expect("the user is made");
    let users = &app.app.users;
    let read_only = UserChange { read_only: Some(true), ..UserChange::default() };
    for change in [level(AccessLevel::Authorized), read_only, to(State::Blocked)] {
        refused(app.change_user(&root.id, change).await, Code::LastAdmin);
    }
    refused(users.block(id(&root.id), By::Operator).await, Code::LastAdmin);
    refused(users.reset(id(&root.id), word(&root)).await, Code::LastAdmin);
    refused(users.remove(id(&root.id), By::Operator, &Origin::default()).await, Code::LastAdmin);
    app.get("/events").bearer(&root.token).await.expect(200);

    let other = app.named("other", AccessLevel::Admin).await;
    app.change_user(&root.id, level(AccessLevel::Authorized)).await.expect("there is another");
    app.get("/events").bearer(&root.token).await.refused(403, "Forbidden");
    users.reset(id(&other.id), By::Operator).await.expect("the command line may");
}

#[tokio::test]
async fn of_administrators_who_demote_each_other_at_the_same_moment_one_stays() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.named("ada", AccessLevel::Admin).await, app.named("bob", AccessLevel::Admin).await);
    let (ada_id, bob_id) = (id(&ada.id), id(&bob.id));
    let users = &app.app.users;
    let (ada, bob) = (word(&ada), word(&bob));
    let (blocked, reset) = tokio::join!(users.block(ada_id, bob), users.reset(bob_id, ada));
    assert_ne!(blocked.is_ok(), reset.is_ok());
    assert_eq!(
        app.count("select count(*) from users where blocked_at is null and activation_expires_at is null").await,
        1
    );
}

#[tokio::test]
async fn a_removed_user_is_gone_with_all_that_was_his_and_told_by_whom() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    app.app.users.remove(id(&ada.id), By::Operator, &Origin::default()).await.expect("she is removed");
    app.me(&ada.token).await.refused(401, "TokenInvalid");
    app.grant_by_keys(&key.0, &key.1).await.refused(401, "InvalidClientCredentials");
    assert_eq!(app.newest_subject(&ada.email).await, "Your account was deleted");
    let text = app.mailbox().last_to(&ada.email).text;
    assert!(text.contains("by an administrator") && !text.contains("password"), "{text}");
    app.sign_up(&ada.email).await;
}

#[tokio::test]
async fn what_is_done_to_nobody_is_refused() {
    let app = TestApp::start().await;
    let (nobody, users) = (id("user-00000000-0000-4000-8000-000000000000"), &app.app.users);
    refused(users.change(nobody, &UserChange::default(), By::Operator).await, Code::NotFound);
    refused(users.block(nobody, By::Operator).await, Code::NotFound);
    refused(users.reset(nobody, By::Operator).await, Code::NotFound);
    refused(users.remove(nobody, By::Operator, &Origin::default()).await, Code::NotFound);
}

#[tokio::test]
async fn a_sign_up_that_died_is_nobody_before_the_sweep_as_well() {
    let app = TestApp::start().await;
    let (ada, users) = (app.sign_up("ada@example.com").await, &app.app.users);
    let ada = id(&ada);
    app.advance(TimeDelta::hours(48));
    refused(users.block(ada, By::Operator).await, Code::NotFound);
    refused(users.remove(ada, By::Operator, &Origin::default()).await, Code::NotFound);
    refused(users.reset(ada, By::Operator).await, Code::NotFound);
    let key = app.qb2_admin().await.create_key(&ada.0.to_string(), ApplicationKey::default()).await;
    qb2::refused(key, tonic::Code::NotFound);
    for text in [ada.to_string(), "ada@example.com".into()] {
        assert!(users.find_named(&Login::parse(&text)).await.expect("it answers").is_none());
    }
}

#[tokio::test]
async fn whoever_asks_for_everybody_gets_everybody_in_the_order_of_their_making() {
    let app = TestApp::start().await;
    let users = &app.app.users;
    assert!(!users.has_full_admin().await.expect("it answers"));
    let mut made = Vec::new();
    for number in 0..7 {
        // Of two made in the same millisecond the ids decide.
        app.advance(TimeDelta::milliseconds(number % 2));
        made.push(app.invited(NewName::Name(name(&format!("user.{number}")))).await.0);
    }
    let (mut found, mut place) = (Vec::<String>::new(), Some(Place::BEGINNING));
    while let Some(from) = place {
        let page = users.page(&Search::default(), Way::After(from), 2).await.expect("it answers");
        found.extend(page.users.iter().map(|user| user.id.to_string()));
        place = page.newer;
    }
    let mut sorted = (found.clone(), made);
    sorted.0.sort();
    sorted.1.sort();
    assert_eq!(sorted.0, sorted.1);
    let everybody = users.page(&Search::default(), Way::After(Place::BEGINNING), 100).await.expect("it answers").users;
    assert!(everybody.is_sorted_by_key(|user| (user.created_at, user.id.0)));
    app.named("root", AccessLevel::Admin).await;
    assert!(users.has_full_admin().await.expect("it answers"));
}

#[tokio::test]
async fn a_read_only_user_is_made_read_only() {
    let app = TestApp::start().await;
    let new = NewUser {
        name: NewName::Email(email("ada@example.com")),
        level: AccessLevel::Admin,
        read_only: true,
        password: None,
    };
    let (user, _) = app.app.users.create(new, By::Operator).await.expect("the user is made");
    assert!(user.read_only && app.user(&user.id.to_string()).await.read_only);
    assert!(!app.app.users.has_full_admin().await.expect("it answers"));
}
