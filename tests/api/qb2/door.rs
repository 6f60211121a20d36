//! The door itself: events, figures, limits, health, reflection, TLS.

use bloq_accounts::events::GRPC;
use bloq_accounts::grpc::contract::blickfeld::secure::config::ApplicationKey;
use bloq_accounts::users::AccessLevel;
use serde_json::json;
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::harness::qb2::{Said, refused};
use crate::harness::tls::Authority;
use crate::harness::{STRONG, TestApp};

#[tokio::test]
async fn a_call_is_an_event_in_the_shape_of_the_contract() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let caller = app.at_qb2(&ada).await;
    let mut request = tonic::Request::new(());
    request.metadata_mut().insert("x-request-id", "my-call".parse().expect("ASCII"));
    let answer: tonic::Response<()> = caller.send("Session/GetNonce", request).await.expect("a nonce");
    assert_eq!(answer.metadata().get("x-request-id").map(|id| id.as_encoded_bytes()), Some(&b"my-call"[..]));
    let event = app.events_of(&ada).await.pop().expect("an event");
    let agent = event["input"]["userAgent"].as_str().expect("an agent");
    assert!(agent.starts_with("qb2-tests/1.0"), "{agent}");
    let expected = json!({
        "method": "/blickfeld.secure.services.Session/GetNonce",
        "path": "/blickfeld.secure.services.Session/GetNonce",
        "ip": "127.0.0.1",
        "userAgent": agent,
        "requestId": "my-call",
    });
    assert_eq!((&event["service"], &event["input"]), (&json!(GRPC), &expected));
    assert_eq!((&event["output"]["httpStatusCode"], &event["serviceData"]), (&json!(200), &json!({"grpcStatus": 0})));
    assert!(event["output"]["bytesOut"].as_i64().expect("a number") > 64, "{event}");
}

#[tokio::test]
async fn a_refusal_is_an_event_of_who_was_named() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    let ada = app.named("ada", AccessLevel::Authorized).await;
    refused(app.qb2().login("ada", "wrong").await, Code::Unauthenticated);
    refused(app.at_qb2(&ada).await.list().await, Code::PermissionDenied);
    let events = app.events_of(&ada).await;
    let told: Vec<_> = events
        .iter()
        .filter(|event| event["service"] == GRPC)
        .map(|event| (event["output"]["httpStatusCode"].clone(), event["serviceData"]["grpcStatus"].clone()))
        .collect();
    assert_eq!(told, [(json!(401), json!(16)), (json!(200), json!(0)), (json!(403), json!(7))]);

    let (uuid, activation) = root.create("bob").await.expect("made");
    root.block(&uuid).await.expect("blocked");
    refused(app.qb2().login("bob", &activation).await, Code::PermissionDenied);
    refused(app.qb2().login("nobody", STRONG).await, Code::Unauthenticated);
    let key = root.create_key(&uuid, ApplicationKey::default()).await.expect("a key").0;
    root.keys(&uuid).await.expect("the keys");
    root.delete_key(&key).await.expect("it goes");
    root.get(&uuid).await.expect("an account");
    let who: String = app
        .text("select string_agg(service_data ->> 'user', ',' order by id) from events where service_data ? 'user'")
        .await;
    assert_eq!(who, vec![format!("user-{uuid}"); 6].join(","), "whom an administrator made, blocked and looked at");
    let secrets = app.count("select count(*) from events where events::text ~* 'wrong|analytical|eyJ'").await;
    assert_eq!(secrets, 0);
}

#[tokio::test]
async fn an_unknown_method_is_told_so_and_leaves_no_name_behind() {
    let app = TestApp::start().await;
    let said: Said<()> = app.qb2().call("Account/Promote", ()).await;
    refused(said, Code::Unimplemented);
    let said: Said<()> = app.qb2().call("Secret0d29971f687991a2/Get", ()).await;
    refused(said, Code::Unimplemented);
    let kept = app.text("select string_agg(path || ' ' || status, ',' order by id) from events").await;
    assert_eq!(kept, "/{…}/{…} 501,/{…}/{…} 501");
}

#[tokio::test]
async fn calls_are_counted_by_method_and_status() {
    let app = TestApp::start().await;
    let root = app.qb2_admin().await;
    root.nonce().await.expect("a nonce");
    refused(app.qb2().list().await, Code::Unauthenticated);
    let said: Said<()> = app.qb2().call("Account/Promote", ()).await;
    refused(said, Code::Unimplemented);
    let page = app.metrics().await;
    let counted =
        |method: &str, status: &str| page.value(&format!(r#"grpc_calls_total{{method="{method}",status="{status}"}}"#));
    assert_eq!(counted("/blickfeld.secure.services.Session/GetNonce", "Ok"), 1.0);
    assert_eq!(counted("/blickfeld.secure.services.Account/List", "Unauthenticated"), 1.0);
    assert_eq!(counted("unmatched", "Unimplemented"), 1.0);
    assert_eq!(page.value(r#"refusals_total{code="Unauthorized"}"#), 1.0);
    let timed = r#"grpc_call_duration_seconds_count{method="/blickfeld.secure.services.Session/GetNonce"}"#;
    assert_eq!(page.value(timed), 1.0);
}

#[tokio::test]
async fn log_ins_of_both_doors_use_up_one_allowance() {
    let app = TestApp::start_with(|config| config.rate_limit.log_ins = 4).await;
    let ada = app.person("ada").await;
    app.at_qb2(&ada).await;
    app.log_in(&ada.email, STRONG).await;
    app.at_qb2(&ada).await;
    let status = refused(app.qb2().login(&ada.email, STRONG).await, Code::ResourceExhausted);
    let pause = status.metadata().get("grpc-retry-pushback-ms").map(|pause| pause.as_encoded_bytes().to_owned());
    assert_eq!(pause.as_deref(), Some(&b"15001"[..]));
    app.post("/auth").basic(&ada.email, STRONG).await.refused(429, "TooManyRequests");
}

#[tokio::test]
async fn wrong_passwords_of_both_doors_are_counted_together() {
    let app = TestApp::start_with(|config| config.rate_limit.failed_confirmations = 3).await;
    let ada = app.person("ada").await;
    let caller = app.at_qb2(&ada).await;
    refused(caller.update_password("wrong", STRONG).await, Code::PermissionDenied);
    app.change_password(&ada.token, "wrong", STRONG).await.refused(400, "InvalidPassword");
    refused(caller.update_password("wrong", STRONG).await, Code::PermissionDenied);
    refused(caller.update_password(STRONG, STRONG).await, Code::ResourceExhausted);
    app.change_password(&ada.token, STRONG, STRONG).await.refused(429, "TooManyRequests");
}

#[tokio::test]
async fn health_is_asked_and_watched() {
    let app = TestApp::start().await;
    let mut doctor = HealthClient::new(app.qb2().channel());
    let about = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", "blickfeld.secure.services.Account"] {
        let answer = doctor.check(about(service)).await.expect("an answer").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    refused(doctor.check(about("blickfeld.secure.services.Firewall")).await.map(drop), Code::NotFound);
    let mut news = doctor.watch(about("")).await.expect("a stream").into_inner();
    let mut next = async || news.next().await.map(|told| told.expect("news").status());
    assert_eq!(next().await, Some(ServingStatus::Serving));
    let ((), last, end) = tokio::join!(app.stop(), async { next().await }, async { None::<()> });
    assert_eq!((last, end), (Some(ServingStatus::NotServing), None));
}

#[tokio::test]
async fn what_can_be_called_is_told() {
    let app = TestApp::start().await;
    let mut client = ServerReflectionClient::new(app.qb2().channel());
    let mut ask = async |message_request: MessageRequest| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
        let mut answers =
            client.server_reflection_info(tokio_stream::once(request)).await.expect("a stream").into_inner();
        let ServerReflectionResponse { message_response, .. } = answers.next().await.expect("one").expect("an answer");
        message_response.expect("something")
    };
    let MessageResponse::ListServicesResponse(listed) = ask(MessageRequest::ListServices(String::new())).await else {
        panic!("no list")
    };
    let mut names: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "blickfeld.secure.services.Account",
            "blickfeld.secure.services.ApplicationKey",
            "blickfeld.secure.services.Authentication",
            "blickfeld.secure.services.Session",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ]
    );
    let symbol = MessageRequest::FileContainingSymbol("blickfeld.secure.config.Account".into());
    assert!(matches!(ask(symbol).await, MessageResponse::FileDescriptorResponse(_)));
    assert_eq!(app.count("select count(*) from events").await, 0, "these are no events");
}

#[tokio::test]
async fn behind_tls_this_door_speaks_h2_and_nothing_else() {
    let authority = Authority::new();
    let app = TestApp::start_with(|config| {
        config.tls.certificate = authority.certificate();
        config.tls.key = authority.key();
    })
    .await;
    let address = app.addresses.grpc_tls.expect("a door with TLS");
    let line = authority.connect(address).await.expect("a connection");
    assert_eq!(line.agreed(), ("TLSv1_3".into(), "h2".into()));
    let only_old = authority.connect_by(address, tokio_rustls::rustls::ALL_VERSIONS, &["http/1.1"]).await;
    assert!(only_old.is_err());
}
