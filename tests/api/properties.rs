//! Every parser of outside text, against texts that nobody thought of: nothing panics, nothing is a 5xx, and what is taken
//! has the form it should have. The same texts every time.

use std::collections::BTreeMap;
use std::future::IntoFuture;

use bloq_accounts::client_keys::IdempotencyKey;
use bloq_accounts::config::{Config, Overrides};
use bloq_accounts::events::EventId;
use bloq_accounts::sealing::MasterKey;
use bloq_accounts::users::{
    AccessLevel, Country, DisplayName, EmailAddress, EntityType, Login, LoginName, ShortText, UserId,
};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, RngSeed, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::harness::{Answer, Person, TestApp};

fn cases(cases: u32) -> Cases {
    Cases { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(1843), ..Cases::default() }
}

/// Texts that look a little like addresses, and texts that do not at all.
fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,60}",
        "[a-zA-Z0-9._+\"\\\\ -]{0,20}@[a-zA-Z0-9.-]{0,30}",
        "[a-z]{1,10}@\\PC{1,10}\\.[a-z]{2,5}",
        "[a-zA-Z]{1,70}@([a-z]{1,63}\\.){1,4}[a-zA-Z]{2,10}",
    ]
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn an_address_that_is_taken_has_one_canonical_form(text in address()) {
        if let Ok(address) = EmailAddress::parse(&text) {
            let canonical = address.canonical();
            prop_assert!(canonical.is_ascii() && canonical.len() <= 254 && canonical.contains('@'), "{canonical}");
            prop_assert_eq!(canonical, canonical.to_ascii_lowercase());
            prop_assert!(!canonical.chars().any(char::is_control));
            let again = EmailAddress::parse(canonical).expect("the canonical form is an address");
            prop_assert_eq!(again.canonical(), canonical);
            let shouted = EmailAddress::parse(&text.to_ascii_uppercase()).expect("case is no matter");
            prop_assert_eq!(shouted.canonical(), canonical);
            prop_assert_eq!(address.given(), text);
        }
    }

    #[test]
    fn whatever_is_typed_names_somebody_or_nobody(text in prop_oneof![address(), Just("user-".to_owned()), "[Uu]ser-[0-9a-fA-F-]{30,40}"]) {
        match Login::parse(&text) {
            Login::Id(id) => prop_assert_eq!(id.to_string(), text.to_ascii_lowercase()),
            Login::Name(name) => prop_assert_eq!(name.as_str(), text),
            Login::Email(email) => prop_assert_eq!(email.given(), text),
            Login::Nobody => {}
        }
    }

    #[test]
    fn a_login_name_has_the_form_of_the_contract(text in prop_oneof!["[a-zA-Z0-9._-]{0,110}", "(User-)?[0-9a-fA-F]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "\\PC{0,20}"]) {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        let folded = text.to_ascii_lowercase();
        let is_id = Uuid::try_parse(folded.strip_prefix("user-").unwrap_or(&folded)).is_ok();
        let expected = (1..=100).contains(&text.len()) && text.chars().all(is_plain) && !is_id;
        prop_assert_eq!(LoginName::parse(&text).is_ok(), expected);
    }

    #[test]
    fn an_id_is_read_back_as_it_was_written(bits in any::<u128>()) {
        let (user, event) = (UserId(Uuid::from_u128(bits)), EventId(Uuid::from_u128(bits)));
        prop_assert_eq!(user.to_string().to_uppercase().parse(), Ok(user));
        prop_assert_eq!(event.to_string().parse(), Ok(event));
    }

    #[test]
    fn what_is_no_id_is_refused(text in "(user-|event-)?[0-9a-g{}-]{0,40}|\\PC{0,50}") {
        if let Ok(id) = text.parse::<UserId>() {
            prop_assert_eq!(id.to_string(), text.to_ascii_lowercase());
        }
        if let Ok(id) = text.parse::<EventId>() {
            prop_assert_eq!(id.to_string(), text.to_ascii_lowercase());
        }
    }

    #[test]
    fn texts_of_a_profile_are_short_and_printable(text in "\\PC{0,210}|[\\x00-\\x20]{0,3}|.{0,5}") {
        let fits = text.chars().count() <= 200 && !text.chars().any(char::is_control);
        prop_assert_eq!(ShortText::parse(&text).is_ok(), fits);
        prop_assert_eq!(DisplayName::parse(&text).is_ok(), fits && !text.trim().is_empty());
        if let Ok(country) = Country::parse(&text) {
            prop_assert!(country.0.len() == 2 && country.0.bytes().all(|byte| byte.is_ascii_uppercase()));
        }
        if EntityType::parse(&text).is_ok() {
            prop_assert!(text == "individual" || text == "business");
        }
        let is_key = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        prop_assert_eq!(IdempotencyKey::parse(&text).is_ok(), is_key);
    }

    #[test]
    fn a_master_key_is_64_hex_digits(text in "[0-9a-fA-F]{60,66}|\\PC{0,70}") {
        let trimmed = text.trim();
        let expected = trimmed.len() == 64 && trimmed.bytes().all(|byte| byte.is_ascii_hexdigit());
        prop_assert_eq!(MasterKey::parse(&text.into()).is_ok(), expected);
    }

    #[test]
    fn a_variable_of_the_environment_is_taken_or_named(name in "[A-Z]{1,8}__[A-Z_]{1,12}|SERVER__TRUSTED_PROXIES|SERVER__LISTEN|PASSWORD__MIN_ENTROPY", value in "\\PC{0,30}") {
        let name = format!("BLOQ_ACCOUNTS_{name}");
        let overrides = Overrides { data_dir: Some("/tmp/nowhere".into()), ..Overrides::default() };
        let variables = BTreeMap::from([(name.clone(), value)]);
        if let Err(error) = Config::load_from(&overrides, variables.into_iter()) {
            let (said, key) = (format!("{error:#}"), name.trim_start_matches("BLOQ_ACCOUNTS_").to_lowercase().replace("__", "."));
            prop_assert!(said.contains(&name) || said.contains(&key), "{said}");
        }
    }
}

/// A server for many requests of one property.
struct Door {
    runtime: Runtime,
    app: TestApp,
    ada: Person,
    root: Person,
}

impl Door {
    fn open() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (app, ada, root) = runtime.block_on(async {
            let app = TestApp::start().await;
            let (ada, root) = (app.person("ada").await, app.named("root", AccessLevel::Admin).await);
            (app, ada, root)
        });
        Self { runtime, app, ada, root }
    }

    /// Sends it; what comes back is no failure of ours, and a refusal is written as every refusal is.
    fn holds(&self, call: crate::harness::Call) -> Result<(), TestCaseError> {
        let Some(answer): Option<Answer> = self.runtime.block_on(call.attempt()) else { return Ok(()) };
        prop_assert!(answer.status < 500, "{answer:?}");
        if answer.status >= 400 {
            let body: Value =
                serde_json::from_str(&answer.text).map_err(|_| TestCaseError::fail(format!("{answer:?}")))?;
            let is_whole = ["code", "message", "requestId"].iter().all(|name| body[*name].is_string());
            prop_assert!(is_whole, "{answer:?}");
        }
        Ok(())
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,30}|.{0,10}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z]{0,8}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// Names that some request knows.
fn any_body() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "email",
        "displayName",
        "password",
        "entityType",
        "billingAddress",
        "country",
        "notifications",
        "newLogIn",
        "label",
        "grantType",
        "clientId",
        "clientSecret",
        "refreshToken",
        "oldPassword",
        "newPassword",
        "activationPassword",
        "name",
        "level",
        "readOnly",
        "state",
        "failedLoginAttempts",
        "other",
    ]);
    prop_oneof![any_json(), prop::collection::btree_map(name, any_json(), 0..6).prop_map(|map| json!(map)),]
}

#[test]
fn any_body_gets_an_answer_and_never_a_failure() {
    let door = Door::open();
    let routes = [
        (Method::POST, "/users"),
        (Method::POST, "/auth/token"),
        (Method::POST, "/users/password-reset"),
        (Method::PATCH, "/users/me"),
        (Method::PUT, "/users/me/password"),
        (Method::PUT, "/users/me/email"),
        (Method::POST, "/users/me/client-keys"),
        (Method::DELETE, "/users/me"),
        (Method::PUT, "/users/ada@example.com/activation"),
        (Method::PUT, "/users/ada@example.com/password/0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11"),
    ];
    let strategy = (prop::sample::select(routes.to_vec()), any_body());
    TestRunner::new(cases(400))
        .run(&strategy, |((method, path), body)| {
            door.holds(door.app.call(method, path).bearer(&door.ada.token).json(&body))
        })
        .expect("the property holds");
}

#[test]
fn any_body_of_an_administrator_gets_an_answer_and_never_a_failure() {
    let door = Door::open();
    let routes = [
        (Method::POST, "/users/invitations"),
        (Method::PATCH, "/users/root"),
        (Method::PATCH, "/users/ada@example.com"),
        (Method::PATCH, "/users/nobody"),
    ];
    let strategy = (prop::sample::select(routes.to_vec()), any_body());
    TestRunner::new(cases(300))
        .run(&strategy, |((method, path), body)| {
            door.holds(door.app.call(method, path).bearer(&door.root.token).json(&body))
        })
        .expect("the property holds");
}

#[test]
fn any_question_for_users_gets_an_answer_and_never_a_failure() {
    let door = Door::open();
    let strategy = "(search|level|state|readOnly|limit|after|before)=[a-zA-Z0-9%:+.-]{0,50}(&(search|after|before|limit)=[a-z0-9%-]{0,50}){0,3}";
    TestRunner::new(cases(300))
        .run(&strategy, |query| door.holds(door.app.get(&format!("/users?{query}")).bearer(&door.root.token)))
        .expect("the property holds");
}

#[test]
fn whatever_is_a_part_of_a_name_finds_its_user_and_means_nothing_else() {
    let door = Door::open();
    let strategy = ("\\PC{0,10}", "\\PC{1,10}|[\\\\\\[\\](){}*+?.^$|%_'\"]{1,6}|[a-zäöüßσςéА-я]{1,6}", "\\PC{0,10}");
    TestRunner::new(cases(150))
        .run(&strategy, |(before, part, after)| {
            let whole = format!("{before}{part}{after}");
            prop_assume!(DisplayName::parse(&whole).is_ok());
            let changed = door.app.change_profile(&door.ada.token, &json!({"displayName": whole}));
            prop_assert_eq!(door.runtime.block_on(changed.into_future()).status, 200);
            for (text, is_part) in [(part.clone(), true), (format!("{whole}#"), false)] {
                let query: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
                let call = door.app.get(&format!("/users?search={query}")).bearer(&door.root.token);
                let answer = door.runtime.block_on(call.into_future());
                let found =
                    answer.json().as_array().is_some_and(|users| users.iter().any(|user| user["id"] == door.ada.id));
                prop_assert_eq!(found, is_part, "{} in {}", text, whole);
            }
            Ok(())
        })
        .expect("the property holds");
}

#[test]
fn any_bytes_for_a_body_get_an_answer_and_never_a_failure() {
    let door = Door::open();
    let strategy = prop::collection::vec(any::<u8>(), 0..200);
    TestRunner::new(cases(200))
        .run(&strategy, |bytes| {
            door.holds(door.app.post("/users").header("content-type", "application/json").body(bytes))
        })
        .expect("the property holds");
}

#[test]
fn any_credentials_get_an_answer_and_never_a_failure() {
    let door = Door::open();
    let strategy = prop_oneof![
        "(Basic|Bearer|basic|BEARER|Digest)? ?[ -~]{0,80}",
        "\\PC{0,40}:\\PC{0,40}"
            .prop_map(|pair| format!("Basic {}", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, pair))),
        "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,40}".prop_map(|token| format!("Bearer {token}")),
    ];
    let routes =
        prop::sample::select(vec![(Method::POST, "/auth"), (Method::GET, "/users/me"), (Method::GET, "/nowhere")]);
    TestRunner::new(cases(300))
        .run(&(routes, strategy), |((method, path), header)| {
            prop_assume!(reqwest::header::HeaderValue::try_from(&header).is_ok());
            door.holds(door.app.call(method, path).header("authorization", &header))
        })
        .expect("the property holds");
}

#[test]
fn any_path_and_query_get_an_answer_and_never_a_failure() {
    let door = Door::open();
    let segment = "[a-zA-Z0-9@.%_~:-]{0,40}|%[0-9A-F]{2}(%[0-9A-F]{2}){0,6}";
    let path = prop_oneof![
        prop::collection::vec(segment, 0..6).prop_map(|segments| format!("/{}", segments.join("/"))),
        (segment, segment).prop_map(|(user, token)| format!("/users/{user}/token/{token}")),
        segment.prop_map(|id| format!("/users/me/tokens/{id}")),
        segment.prop_map(|user| format!("/users/{user}")),
        (segment, "block|reset").prop_map(|(user, verb)| format!("/users/{user}/{verb}")),
        segment.prop_map(|id| format!("/users/me/client-keys/{id}")),
        ("[a-z]{0,8}=[a-zA-Z0-9%:+.-]{0,30}(&(limit|before|after|since|until|service|status|order)=[a-zA-Z0-9%:+.-]{0,30}){0,4}")
            .prop_map(|query| format!("/users/me/events?{query}")),
    ];
    let methods = prop::sample::select(vec![Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH]);
    TestRunner::new(cases(500))
        .run(&(methods, path), |(method, path)| {
            // What would end the token is left out: the rest of the run needs it.
            prop_assume!(!(method == Method::DELETE && path.starts_with("/users/me/tokens")));
            for person in [&door.ada, &door.root] {
                door.holds(door.app.call(method.clone(), &path).bearer(&person.token))?;
            }
            Ok(())
        })
        .expect("the property holds");
}
