//! What no client of good will sends: it gets a refusal that names the mistake, and is never an error of ours.

use axum::body::Bytes;
use axum::http::Method;
use bloq_accounts::grpc::call::METHODS;
use bloq_accounts::grpc::contract::blickfeld::secure::config::{Account, ApplicationKey};
use bloq_accounts::grpc::contract::blickfeld::secure::services::{
    AccountBlockRequest, AccountCreateRequest, AccountGetRequest, AccountStoreRequest, ApplicationKeyDeleteRequest,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tonic::Code;

use crate::harness::qb2::{ADMIN, AUTHORIZED, Said, password, refused};
use crate::harness::wire::{Told, framed};
use crate::harness::{STRONG, STRONGER, TestApp};

/// The token of the first administrator.
async fn root(app: &TestApp) -> String {
    app.qb2_admin().await.token.expect("a token")
}

/// Every method but the one that would end the token of the test.
fn harmless_methods() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|method| method.path).filter(|path| !path.ends_with("/Invalidate"))
}

/// Fails the test unless the call was refused as the client's mistake, and its event says so.
async fn is_a_mistake(app: &TestApp, told: &Told, about: &str) {
    assert_eq!((told.http, told.status()), (200, Some(Code::InvalidArgument)), "{about}: {told:?}");
    assert_eq!(app.statuses_of(told.request_id()).await, (400, Some(3)), "{about}");
}

#[tokio::test]
async fn bytes_that_are_no_message_are_a_mistake_of_the_client_at_every_method() {
    let app = TestApp::start().await;
    let token = root(&app).await;
    let nested = [0x0b].repeat(20_000);
    for method in METHODS.iter().map(|method| method.path) {
        for bytes in [&[0xff][..], &[0x0f], &[0x00, 0x01], &[0x0a, 0x7f, 0x01], &nested] {
            let told = app.wire().await.call_with(&token, method, bytes).await;
            is_a_mistake(&app, &told, method).await;
        }
    }
    app.qb2().with(&token).nonce().await.expect("nothing has changed");
}

#[tokio::test]
async fn a_field_of_another_type_or_of_no_utf_8_is_named() {
    let app = TestApp::start().await;
    let token = root(&app).await;
    let wire = app.wire().await;
    for (method, bytes, name) in [
        ("Account/Get", &[0x08, 0x01][..], "uuid"),
        ("Account/Get", &[0x0a, 0x02, 0xc3, 0x28], "uuid"),
        ("Account/Create", &[0x08, 0x01], "account"),
        ("Account/Create", &[0x0a, 0x03, 0x0a, 0x01, 0xff], "name"),
        ("Authentication/Login", &[0x0a, 0x03, 0x12, 0x01, 0xff], "password"),
    ] {
        let told = wire.call_with(&token, method, bytes).await;
        is_a_mistake(&app, &told, method).await;
        assert!(told.header("grpc-message").contains(name), "{told:?}");
    }
}

#[tokio::test]
async fn fields_that_we_do_not_know_are_nobodys_mistake() {
    let app = TestApp::start().await;
    let token = root(&app).await;
    // Field 99 of every type, and 4 of an account, which older clients send.
    let strange = [0x98, 0x06, 0x01, 0x9a, 0x06, 0x02, 0xff, 0xff, 0x9d, 0x06, 1, 2, 3, 4];
    let wire = app.wire().await;
    for method in ["Session/GetNonce", "Account/List", "Account/Get"] {
        assert_eq!(wire.call_with(&token, method, &strange).await.status(), Some(Code::Ok), "{method}");
    }
    let told = wire.call_with(&token, "Account/Create", &[0x0a, 0x07, 0x0a, 0x03, b'a', b'd', b'a', 0x20, 0x05]).await;
    assert_eq!(told.status(), Some(Code::Ok), "{told:?}");
}

#[tokio::test]
async fn a_message_without_a_field_gets_the_answer_of_its_method() {
    let app = TestApp::start().await;
    let token = root(&app).await;
    let wire = app.wire().await;
    for (method, expected) in [
        ("Account/List", Code::Ok),
        ("Account/Create", Code::InvalidArgument),
        ("Account/Block", Code::InvalidArgument),
        ("Account/Reset", Code::InvalidArgument),
        ("Account/Delete", Code::FailedPrecondition),
        ("Account/Get", Code::Ok),
        ("Account/Store", Code::Ok),
        ("ApplicationKey/List", Code::Ok),
        ("ApplicationKey/Create", Code::Ok),
        ("ApplicationKey/Delete", Code::InvalidArgument),
        ("Authentication/Login", Code::InvalidArgument),
        ("Session/GetNonce", Code::Ok),
        ("Session/Invalidate", Code::Ok),
    ] {
        let told = wire.call_with(&token, method, &[]).await;
        assert_eq!(told.status(), Some(expected), "{method}: {told:?}");
    }
}

#[tokio::test]
async fn a_message_may_have_64_kib_and_not_a_byte_more() {
    let app = TestApp::start().await;
    let wire = app.wire().await;
    let mut unknown = vec![0x9a, 0x06];
    prost::encoding::encode_varint(64 * 1024 - 10, &mut unknown);
    unknown.resize(64 * 1024 - 5, 0);
    assert_eq!(wire.call("Session/GetNonce", &unknown).await.status(), Some(Code::Ok));
    for length in [64 * 1024 - 4, 5 << 20] {
        let told = wire.call("Session/GetNonce", &vec![0; length]).await;
        assert_eq!((told.status(), told.header("error-code")), (Some(Code::ResourceExhausted), "PayloadTooLarge"));
    }
    let recorded = "select count(*) from events where status = 429 and service_data->>'grpcStatus' = '8'";
    assert_eq!((app.count("select count(*) from events").await, app.count(recorded).await), (2, 1));
}

#[tokio::test]
async fn a_length_that_is_announced_is_believed_by_nobody() {
    let app = TestApp::start().await;
    let wire = app.wire().await;
    for length in ["4294967295", "18446744073709551616", "-1"] {
        let mut head = wire.head("Session/GetNonce");
        head.headers_mut().insert("content-length", length.parse().expect("a header"));
        let (answer, mut stream) = wire.begin(head).await;
        let _ = stream.send_data(Bytes::from(framed(&[])), true);
        // The library of the door may end the stream: the length is wrong.
        if let Ok(told) = Told::read(answer).await {
            assert_ne!(told.status(), Some(Code::Internal), "{told:?}");
        }
    }
    let told = wire.send(wire.head("Session/GetNonce"), vec![0, 0xff, 0xff, 0xff, 0xff]).await;
    is_a_mistake(&app, &told, "4 GiB").await;
}

#[tokio::test]
async fn a_body_that_is_not_one_plain_message_is_refused() {
    let app = TestApp::start().await;
    let wire = app.wire().await;
    let two = [framed(&[]), framed(&[])].concat();
    for body in [vec![], vec![0, 0], two, vec![0, 0, 0, 0, 9, 1], vec![1, 0, 0, 0, 0], vec![7, 0, 0, 0, 0]] {
        let about = format!("{body:?}");
        let told = wire.send(wire.head("Session/GetNonce"), body).await;
        is_a_mistake(&app, &told, &about).await;
    }
    for (encoding, flag, expected) in [
        ("identity", 0, Code::Ok),
        ("gzip", 1, Code::Unimplemented),
        ("gzip", 0, Code::Unimplemented),
        ("nonsense", 0, Code::Unimplemented),
    ] {
        let mut head = wire.head("Session/GetNonce");
        head.headers_mut().insert("grpc-encoding", encoding.parse().expect("a header"));
        let told = wire.send(head, vec![flag, 0, 0, 0, 0]).await;
        assert_eq!(told.status(), Some(expected), "{encoding} {flag}: {told:?}");
    }
}

#[tokio::test]
async fn a_request_that_is_no_call_is_told_so_in_http() {
    let app = TestApp::start().await;
    let wire = app.wire().await;
    for media_type in ["", "application/json", "application/grpc+json", "application/grpc-web", "application/grpcx"] {
        let mut head = wire.head("Session/GetNonce");
        head.headers_mut().insert("content-type", media_type.parse().expect("a header"));
        let told = wire.send(head, framed(&[])).await;
        assert_eq!((told.http, told.status()), (415, None), "{media_type}");
        assert_eq!(app.statuses_of(told.request_id()).await, (415, None), "{media_type}");
    }
    for method in [Method::GET, Method::PUT, Method::OPTIONS] {
        let mut head = wire.head("Session/GetNonce");
        *head.method_mut() = method;
        let told = wire.send(head, framed(&[])).await;
        assert_eq!((told.http, told.status()), (405, None));
    }
    for method in ["Account/Nothing", "/", "/blickfeld.secure.services.Account", "/a.b.C/D", "/users/me"] {
        let told = wire.call(method, &[]).await;
        assert_eq!((told.http, told.status()), (200, Some(Code::Unimplemented)), "{method}: {told:?}");
    }
}

#[tokio::test]
async fn who_speaks_an_older_http_is_heard_out_by_nobody() {
    let app = TestApp::start().await;
    let mut stream = TcpStream::connect(app.qb2_address()).await.expect("a connection");
    stream
        .write_all(b"POST /blickfeld.secure.services.Session/GetNonce HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("open");
    let mut heard = Vec::new();
    let end = tokio::time::timeout(crate::harness::program::DEADLINE, stream.read_to_end(&mut heard)).await;
    assert!(end.is_ok(), "it is closed");
    assert!(!heard.starts_with(b"HTTP/1.1 200"), "{heard:?}");
    app.qb2().nonce().await.expect("the others go on");
}

#[tokio::test]
async fn a_time_that_is_none_is_named() {
    let app = TestApp::start().await;
    let wire = app.wire().await;
    for timeout in ["", "1", "S", "-1S", "1.5S", "123456789S", "1s"] {
        let mut head = wire.head("Session/GetNonce");
        head.headers_mut().insert("grpc-timeout", timeout.parse().expect("a header"));
        let told = wire.send(head, framed(&[])).await;
        is_a_mistake(&app, &told, timeout).await;
        assert!(told.header("grpc-message").contains("grpc-timeout"), "{told:?}");
    }
}

#[tokio::test]
async fn what_is_no_token_is_a_bad_token() {
    let app = TestApp::start().await;
    let token = root(&app).await;
    let wire = app.wire().await;
    let long = "x".repeat(10_000);
    for bad in [&b""[..], b"\xff\xfe\x80", b" ", long.as_bytes(), format!("Bearer {token}").as_bytes()] {
        let mut head = wire.head("Session/GetNonce");
        head.headers_mut().insert("token", axum::http::HeaderValue::from_bytes(bad).expect("a header"));
        let told = wire.send(head, framed(&[])).await;
        assert_eq!(told.status(), Some(Code::PermissionDenied), "{told:?}");
        assert_eq!(app.statuses_of(told.request_id()).await, (403, Some(7)));
    }
}

#[tokio::test]
async fn a_uuid_has_one_spelling_and_any_case() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, _) = root.member("ada").await;
    root.get(&uuid.to_uppercase()).await.expect("the same account");
    for bad in [
        format!("{{{uuid}}}"),
        format!("urn:uuid:{uuid}"),
        uuid.replace('-', ""),
        format!("user-{uuid}"),
        format!(" {uuid}"),
        format!("{}g", &uuid[..35]),
        "\0".repeat(36),
        "ü".repeat(18),
    ] {
        let get: Said<()> = root.call("Account/Get", AccountGetRequest { uuid: bad.clone() }).await;
        let block: Said<()> = root.call("Account/Block", AccountBlockRequest { uuid: bad.clone() }).await;
        for said in [get, block, root.keys(&bad).await.map(drop)] {
            assert!(refused(said, Code::InvalidArgument).message().contains("uuid"), "{bad:?}");
        }
    }
    for bad in ["", "x", &"a".repeat(31), &"a".repeat(33), &"-".repeat(32), &"ä".repeat(16), &uuid] {
        let request = ApplicationKeyDeleteRequest { uuid: bad.to_owned() };
        let said: Said<()> = root.call("ApplicationKey/Delete", request).await;
        assert!(refused(said, Code::InvalidArgument).message().contains("uuid"), "{bad:?}");
        refused(app.qb2().login_with_key(bad).await, Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_name_is_letters_digits_dots_and_dashes_and_no_id() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let reserved = "user-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11";
    let long = "a".repeat(101);
    for bad in [
        "",
        " ",
        "a b",
        "a\0b",
        "a\n",
        "Ada Lovelace",
        "ädä",
        "a@b.c",
        "a:b",
        reserved,
        "USER-0B7C3F0E-90F1-4A8E-8D8A-6A2B1F0C9D11",
        &long,
    ] {
        let status = refused(root.create(bad).await, Code::InvalidArgument);
        assert!(status.message().contains("account.name"), "{bad:?}: {status:?}");
        let status = refused(root.change("", |account| account.name = bad.to_owned()).await, Code::InvalidArgument);
        assert!(status.message().contains("account.name"), "{bad:?}: {status:?}");
    }
    for good in ["a", ".", "-_.", "0", &"a".repeat(100)] {
        root.create(good).await.expect("it is a name");
    }
}

#[tokio::test]
async fn levels_states_and_counts_are_those_of_the_contract() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (uuid, _) = root.member("ada").await;
    // PUBLIC, SUPPORT, PRODUCTION, DEVELOPER, and what nobody has ever heard of.
    for level in [1, 4, 5, 6, 99, -1, i32::MIN, i32::MAX] {
        let wanted = Account { name: "bob".into(), access_level: level, ..Account::default() };
        let status = refused(root.create_as(wanted).await, Code::InvalidArgument);
        assert!(status.message().contains("account.access_level"), "{status:?}");
        refused(root.change(&uuid, |account| account.access_level = level).await, Code::InvalidArgument);
        let key = ApplicationKey { access_level: level, ..ApplicationKey::default() };
        let status = refused(root.create_key("", key).await, Code::InvalidArgument);
        assert!(status.message().contains("application_key.access_level"), "{status:?}");
    }
    for state in [4, 99, -1, i32::MAX] {
        let status = refused(root.change(&uuid, |account| account.state = state).await, Code::InvalidArgument);
        assert!(status.message().contains("account.state"), "{status:?}");
    }
    for count in [1_000_001, u32::MAX] {
        let change = |account: &mut Account| account.failed_login_attempts = count;
        let status = refused(root.change(&uuid, change).await, Code::InvalidArgument);
        assert!(status.message().contains("account.failed_login_attempts"), "{status:?}");
    }
    let all_at_once = Account {
        name: "a b".into(),
        access_level: 99,
        state: 99,
        failed_login_attempts: u32::MAX,
        ..Account::default()
    };
    let request = AccountStoreRequest { account: Some(all_at_once), ..AccountStoreRequest::default() };
    let status = refused(root.store(request).await, Code::InvalidArgument);
    for field in ["name", "access_level", "state", "failed_login_attempts"] {
        assert!(status.message().contains(&format!("account.{field}")), "{status:?}");
    }
    assert_eq!((root.account(&uuid).await.access_level, root.account("").await.access_level), (AUTHORIZED, ADMIN));
}

#[tokio::test]
async fn a_purpose_has_at_most_200_characters_which_can_be_printed() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let key = |purpose: &str| ApplicationKey { purpose: purpose.to_owned(), ..ApplicationKey::default() };
    for good in ["", "ä camera ☃", &"ä".repeat(200)] {
        root.create_key("", key(good)).await.expect("it is a purpose");
    }
    for bad in ["a\0b", "line\nbreak", "\u{7f}", &"ä".repeat(201)] {
        let status = refused(root.create_key("", key(bad)).await, Code::InvalidArgument);
        assert!(status.message().contains("application_key.purpose"), "{status:?}");
    }
}

#[tokio::test]
async fn a_password_has_at_most_1024_bytes_and_is_repeated_by_nobody() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let longest = format!("{STRONGER}{}", "x".repeat(1024 - STRONGER.len()));
    let too_long = format!("{longest}x");
    let field = |status: tonic::Status, name: &str| {
        assert!(status.message().contains(name), "{status:?}");
        assert!(!status.message().contains("xxxx"), "{status:?}");
    };
    field(refused(root.update_password(STRONG, &too_long).await, Code::InvalidArgument), "password_update.new");
    field(refused(root.update_password(&too_long, STRONGER).await, Code::InvalidArgument), "password_update.current");
    field(refused(root.update_password("", STRONGER).await, Code::InvalidArgument), "password_update.current");
    field(refused(app.qb2().login("root", &too_long).await, Code::InvalidArgument), "user.password");
    field(refused(app.qb2().login("root", "").await, Code::InvalidArgument), "user.password");
    field(refused(app.qb2().login("", STRONG).await, Code::InvalidArgument), "user.name");
    field(refused(app.qb2().login(&"x".repeat(101), STRONG).await, Code::InvalidArgument), "user.name");
    refused(app.qb2().login(&"ä".repeat(100), STRONG).await, Code::Unauthenticated);
    root.update_password(STRONG, &longest).await.expect("it is good");
    app.qb2().login("root", &longest).await.expect("the same one");
    for odd in ["a\0b", "\u{202e}", "\n"] {
        refused(app.qb2().login("root", odd).await, Code::Unauthenticated);
    }
}

#[tokio::test]
async fn a_refusal_repeats_no_secret_and_neither_does_its_event() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let (typed, token) = ("Sesame4711Sesame4711Sesame4711ab", root.token.clone().expect("a token"));
    let (_, key) = root.create_key("", ApplicationKey::default()).await.expect("a key");
    let wire = app.wire().await;
    let mut said = String::new();
    // Where they do not belong, in a message, in the path, in metadata.
    for status in [
        refused(app.qb2().login(typed, STRONG).await, Code::Unauthenticated),
        refused(app.qb2().login_with_key(typed).await, Code::NotFound),
        refused(app.qb2().login_with_key(&format!("{key}x")).await, Code::InvalidArgument),
        refused(root.create(&format!("{typed} ")).await, Code::InvalidArgument),
        refused(root.get(typed).await, Code::InvalidArgument),
        refused(root.delete_key(&key).await, Code::NotFound),
        refused(root.update_password(typed, STRONGER).await, Code::PermissionDenied),
        refused(root.with(typed).nonce().await, Code::PermissionDenied),
    ] {
        said += &format!("{status:?}");
    }
    for told in [
        wire.call(&format!("/{typed}/{key}"), &[]).await,
        wire.call(&format!("/{token}"), &[]).await,
        wire.call_with(&token, "Account/Store", &[&[0x1a, 0x22, 0x0a, 0x20], typed.as_bytes(), &[0xff]].concat()).await,
    ] {
        said += &format!("{told:?}");
    }
    said += &app.text("select string_agg(events::text, ' ') from events").await;
    assert!(said.contains("Authentication/Login"), "the net has fish");
    for secret in [typed, &key, &token, STRONG, STRONGER] {
        assert!(!said.contains(secret), "{secret} is repeated in {said}");
    }
}

/// Bytes, and what looks like the messages of the contract.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let text = || "[a-zA-Z0-9._-]{0,12}|\\PC{0,8}|\\x00";
    let account =
        (text(), any::<i32>(), any::<u32>(), any::<bool>()).prop_map(|(name, number, count, access_read_only)| {
            Account {
                name,
                access_level: number % 8,
                failed_login_attempts: count,
                state: number % 5,
                access_read_only,
            }
        });
    let uuid = || prop_oneof!["[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", "", text()];
    let store = (uuid(), prop::option::of(account), text(), text()).prop_map(|(uuid, account, current, new)| {
        let password_update = Some(password(&current, &new));
        AccountStoreRequest { uuid, account: account.clone(), password_update }.encode_to_vec()
    });
    let created = (text(), any::<i32>()).prop_map(|(name, access_level)| {
        AccountCreateRequest { account: Some(Account { name, access_level, ..Account::default() }) }.encode_to_vec()
    });
    let bytes = prop::collection::vec(any::<u8>(), 0..60);
    let tagged = (prop::sample::select(vec![0x08u8, 0x0a, 0x12, 0x1a, 0x20, 0x0b, 0x0c]), bytes.clone())
        .prop_map(|(tag, bytes)| [&[tag, u8::try_from(bytes.len()).expect("a few")], &bytes[..]].concat());
    prop_oneof![bytes, tagged, store, created, uuid().prop_map(|uuid| AccountGetRequest { uuid }.encode_to_vec()),]
}

#[test]
fn any_bytes_at_any_method_get_an_answer_and_never_a_failure() {
    let runtime = Runtime::new().expect("a runtime");
    let (app, token, wire) = runtime.block_on(async {
        let app = TestApp::start_with(|config| config.rate_limit.enabled = false).await;
        let (token, wire) = (root(&app).await, app.wire().await);
        (app, token, wire)
    });
    let methods: Vec<&str> = harmless_methods().collect();
    let frame = prop_oneof![9 => Just(true), 1 => Just(false)];
    let strategy = (prop::sample::select(methods), message(), any::<bool>(), frame);
    let config = Config { cases: 600, failure_persistence: None, rng_seed: RngSeed::Fixed(1843), ..Config::default() };
    TestRunner::new(config)
        .run(&strategy, |(method, message, has_token, is_framed)| {
            let mut head = wire.head(method);
            if has_token {
                head.headers_mut().insert("token", token.parse().expect("a header"));
            }
            let body = if is_framed { framed(&message) } else { message };
            let told = runtime.block_on(wire.send(head, body));
            let status = told.status();
            let is_ours = matches!(status, None | Some(Code::Unknown | Code::Internal | Code::DataLoss));
            prop_assert!(told.http == 200 && !is_ours, "{:?}", told);
            prop_assert!(status == Some(Code::Ok) || told.code().is_some(), "{:?}", told);
            Ok(())
        })
        .expect("the property holds");
    let failures =
        "select count(*) from events where status in (500, 501, 502) or service_data->>'grpcStatus' in ('2', '13')";
    assert_eq!(runtime.block_on(app.count(failures)), 0);
    runtime.block_on(async { app.qb2().with(&token).nonce().await }).expect("the token is as good as before");
}
