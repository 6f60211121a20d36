//! Application keys: made, shown once, found by their secrets, deleted.

use bloq_accounts::application_keys::{ApplicationKey, ApplicationKeys, NewApplicationKey, WithSecret};
use bloq_accounts::error::{Code, Result};
use bloq_accounts::origin::Origin;
use bloq_accounts::secret::PlainSecret;
use bloq_accounts::users::{AccessLevel, By, ShortText, UserId};
use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::harness::{Person, TestApp};

fn new(purpose: &str) -> NewApplicationKey {
    let purpose = ShortText::parse(purpose).expect("a purpose");
    NewApplicationKey { purpose, level: AccessLevel::Authorized, read_only: false, http: false }
}

fn id(person: &Person) -> UserId {
    person.id.parse().expect("a user id")
}

fn keys(app: &TestApp) -> &ApplicationKeys {
    &app.app.application_keys
}

async fn make(app: &TestApp, person: &Person, purpose: &str) -> WithSecret {
    keys(app).create(id(person), &new(purpose), By::Operator, &Origin::default()).await.expect("a key")
}

async fn ids(app: &TestApp, person: &Person) -> Vec<String> {
    keys(app).list(id(person)).await.expect("a list").into_iter().map(|key| key.id).collect()
}

#[track_caller]
fn refused<T>(outcome: Result<T>, code: Code) {
    assert_eq!(outcome.map(drop).map_err(|error| error.code()), Err(code));
}

fn is_alphanumeric(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[tokio::test]
async fn the_owner_is_told_of_a_new_key_unless_that_is_not_wanted() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    make(&app, &ada, "camera").await;
    assert_eq!(app.newest_subject(&ada.email).await, "An application key was made for your account");
    let letters = app.mailbox().to(&ada.email).len();
    let unwanted = json!({"notifications": {"newClientKey": false}});
    app.change_profile(&ada.token, &unwanted).await.expect(200);
    make(&app, &ada, "another").await;
    app.deliver_mail().await;
    assert_eq!(app.mailbox().to(&ada.email).len(), letters);
}

#[tokio::test]
async fn a_person_makes_an_application_key_and_is_found_by_its_secret() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let ask = NewApplicationKey { level: AccessLevel::Admin, read_only: true, http: true, ..new("") };
    let WithSecret { key, secret } =
        keys(&app).create(id(&ada), &ask, By::Operator, &Origin::default()).await.expect("a key");
    assert!(is_alphanumeric(&key.id) && is_alphanumeric(secret.expose()) && key.id != secret.expose(), "{key:?}");
    let ApplicationKey { user, purpose, level, read_only, http, created_at, .. } = key.clone();
    assert_eq!((user, purpose.as_str(), created_at), (id(&ada), "", app.now()));
    assert_eq!((level, read_only, http), (AccessLevel::Admin, true, true));

    let by_secret = keys(&app).find_by_secret(&secret).await.expect("an answer").expect("the key");
    let by_id = keys(&app).find(&key.id).await.expect("an answer").expect("the key");
    assert_eq!((format!("{by_secret:?}"), format!("{by_id:?}")), (format!("{key:?}"), format!("{key:?}")));
}

#[tokio::test]
async fn an_id_is_no_secret_and_a_secret_is_no_id() {
    let app = TestApp::start().await;
    let WithSecret { key, secret } = make(&app, &app.person("ada").await, "camera").await;
    for wrong in [key.id.as_str(), "", &secret.expose()[1..], &secret.expose().to_ascii_uppercase()] {
        assert!(keys(&app).find_by_secret(&PlainSecret::new(wrong)).await.expect("an answer").is_none(), "{wrong}");
    }
    assert!(keys(&app).find(secret.expose()).await.expect("an answer").is_none());
}

#[tokio::test]
async fn a_person_lists_the_keys_oldest_first() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let first = make(&app, &ada, "camera").await;
    app.advance(TimeDelta::milliseconds(1));
    let second = make(&app, &ada, "recorder").await;
    make(&app, &bob, "Bob's").await;
    assert_eq!(ids(&app, &ada).await, [first.key.id, second.key.id]);
}

#[tokio::test]
async fn of_a_secret_only_a_hash_is_stored() {
    let app = TestApp::start().await;
    let WithSecret { key, secret } = make(&app, &app.person("ada").await, "camera").await;
    let stored = app.text("select k::text from application_keys k").await;
    let secret = secret.expose();
    assert!(stored.contains(&key.id), "{stored}");
    assert!(!stored.contains(secret) && !stored.contains(&hex::encode(secret)), "{stored}");
}

#[tokio::test]
async fn a_purpose_has_at_most_200_characters_and_none_that_controls() {
    assert!(ShortText::parse(&"ä".repeat(200)).is_ok());
    for bad in [&"ä".repeat(201), "a\nb", "a\0"] {
        assert!(ShortText::parse(bad).is_err(), "{bad:?}");
    }
    let app = TestApp::start().await;
    let long = "ä".repeat(200);
    assert_eq!(make(&app, &app.person("ada").await, &long).await.key.purpose, long);
}

#[tokio::test]
async fn a_user_has_at_most_50_keys_however_fast_they_are_made() {
    let app = TestApp::start().await;
    let (ada, bob, other) = (app.person("ada").await, app.person("bob").await, app.replica().await);
    let made = join_all((0..60).map(|turn| {
        let keys = keys(if turn % 2 == 0 { &app } else { &other });
        async { keys.create(id(&ada), &new("camera"), By::Operator, &Origin::default()).await }
    }))
    .await;
    assert_eq!(made.iter().filter(|outcome| outcome.is_ok()).count(), 50);
    for outcome in made.into_iter().filter(Result::is_err) {
        refused(outcome, Code::TooManyApplicationKeys);
    }
    assert_eq!(ids(&app, &ada).await.len(), ApplicationKeys::MOST);
    make(&app, &bob, "Bob's").await;

    keys(&app).delete(Some(id(&ada)), &ids(&app, &ada).await[0], By::Operator).await.expect("it is gone");
    make(&app, &ada, "another").await;
}

#[tokio::test]
async fn a_user_has_one_key_for_http_however_fast_they_are_made() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let ask = NewApplicationKey { http: true, ..new("camera") };
    let nowhere = Origin::default();
    let made = join_all((0..10).map(|_| keys(&app).create(id(&ada), &ask, By::Operator, &nowhere))).await;
    assert_eq!(made.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in made.into_iter().filter(Result::is_err) {
        refused(outcome, Code::HttpKeyExists);
    }
    keys(&app).create(id(&bob), &ask, By::Operator, &Origin::default()).await.expect("Bob's own");
    make(&app, &ada, "not for http").await;

    let first = keys(&app).list(id(&ada)).await.expect("a list").into_iter().find(|key| key.http).expect("a key");
    keys(&app).delete(Some(id(&ada)), &first.id, By::Operator).await.expect("it is gone");
    keys(&app).create(id(&ada), &ask, By::Operator, &Origin::default()).await.expect("another one");
}

#[tokio::test]
async fn nobody_unknown_gets_a_key() {
    let app = TestApp::start().await;
    refused(
        keys(&app).create(UserId(Uuid::nil()), &new("camera"), By::Operator, &Origin::default()).await,
        Code::NotFound,
    );
}

#[tokio::test]
async fn a_person_deletes_an_own_key_and_an_administrator_anybodys() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let (one, two) = (make(&app, &ada, "one").await, make(&app, &ada, "two").await);
    refused(keys(&app).delete(Some(id(&bob)), &one.key.id, By::Operator).await, Code::NotFound);
    keys(&app).delete(Some(id(&ada)), &one.key.id, By::Operator).await.expect("it is gone");
    refused(keys(&app).delete(Some(id(&ada)), &one.key.id, By::Operator).await, Code::NotFound);
    assert!(keys(&app).find_by_secret(&one.secret).await.expect("an answer").is_none());

    keys(&app).delete(None, &two.key.id, By::Operator).await.expect("it is gone");
    for unknown in [two.key.id.as_str(), "", "nonsense"] {
        refused(keys(&app).delete(None, unknown, By::Operator).await, Code::NotFound);
    }
    assert_eq!(ids(&app, &ada).await, [""; 0]);
}

#[tokio::test]
async fn of_deletions_at_the_same_moment_one_wins() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let made = make(&app, &ada, "camera").await;
    let outcomes = join_all((0..20).map(|_| keys(&app).delete(None, &made.key.id, By::Operator))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        refused(outcome, Code::NotFound);
    }
}

#[tokio::test]
async fn who_leaves_takes_the_keys_along() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let (gone, kept) = (make(&app, &ada, "camera").await, make(&app, &bob, "Bob's").await);
    app.leave(&ada.token, &ada.password).await.expect(204);
    assert!(keys(&app).find_by_secret(&gone.secret).await.expect("an answer").is_none());
    assert!(keys(&app).find_by_secret(&kept.secret).await.expect("an answer").is_some());
    refused(keys(&app).create(id(&ada), &new("late"), By::Operator, &Origin::default()).await, Code::NotFound);
}

#[tokio::test]
async fn a_key_that_comes_or_goes_is_another_version_of_its_user() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let version = async || app.count("select version from users").await;
    let mut seen = vec![version().await];
    let made = make(&app, &ada, "camera").await;
    seen.push(version().await);
    app.execute("update application_keys set read_only = true").await;
    seen.push(version().await);
    keys(&app).delete(None, &made.key.id, By::Operator).await.expect("it is gone");
    seen.push(version().await);
    // Postgres truncates no table that another one refers to.
    app.execute("alter table account_tokens drop constraint account_tokens_application_key_fkey").await;
    app.execute("truncate application_keys").await;
    seen.push(version().await);
    seen.dedup();
    assert_eq!(seen.len(), 5);
}
