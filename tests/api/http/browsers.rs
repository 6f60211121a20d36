//! What browsers are told: security headers on every answer, and CORS for the pages that an operator names.

use aws_lc_rs::digest::{SHA256, digest};
use base64::prelude::{BASE64_STANDARD, Engine};
use bloq_accounts::config::Config;
use bloq_accounts::server::Door;
use bloq_accounts::stop::Stop;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;

use crate::harness::{Answer, Call, TestApp, sign_up_body};

const CONSOLE: &str = "https://console.example";

/// Scripts of the console may call this server.
fn with_console(config: &mut Config) {
    config.cors.origins = vec![CONSOLE.into(), "http://localhost:3000".into()];
}

/// The headers that every answer must have.
#[track_caller]
fn is_guarded(answer: &Answer) {
    for (name, value) in [
        ("content-security-policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), value, "{name} of {answer:?}");
        assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{name} of {answer:?}");
    }
}

/// One answer of every kind, good and bad.
async fn answers_of_every_kind(app: &TestApp, change: impl Fn(Call) -> Call) -> Vec<Answer> {
    let ada = app.person("ada").await;
    let large = "x".repeat(70 * 1024);
    let (kind, json) = ("content-type", "application/json");
    let calls = [
        (200, app.get("/")),
        (200, app.get("/health/ready")),
        (200, app.me(&ada.token)),
        (200, app.post("/users/me/client-keys").bearer(&ada.token)),
        (201, app.post("/users").json(&sign_up_body("bob@example.com"))),
        (204, app.delete("/auth").bearer(&ada.token)),
        (400, app.post("/users").header(kind, json).body("{")),
        (401, app.get("/users/me")),
        (404, app.get("/nowhere")),
        (404, app.get("/docs/nothing.js")),
        (405, app.delete("/users")),
        (413, app.post("/users").header(kind, json).body(large)),
        (415, app.post("/users").header(kind, "text/plain").body("hello")),
    ];
    let mut answers = Vec::new();
    for (status, call) in calls {
        answers.push(change(call).await.expect(status));
    }
    app.pool().close().await;
    answers.push(change(app.me(&ada.token)).await.expect(503));
    answers
}

#[tokio::test]
async fn every_answer_tells_browsers_to_load_show_and_keep_nothing() {
    let app = TestApp::start().await;
    for answer in answers_of_every_kind(&app, |call| call).await {
        is_guarded(&answer);
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000", "the public URL is https");
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn a_panic_and_a_timeout_are_guarded_too() {
    let app = TestApp::start_with(|config| {
        with_console(config);
        config.server.request_timeout_seconds = 1;
    })
    .await;
    let ada = app.person("ada").await;
    let mut lock = app.connection().await;
    sqlx::raw_sql("begin; lock table client_keys").execute(&mut lock).await.expect("it is locked");
    let slow = app.get("/users/me/client-keys").bearer(&ada.token).header("origin", CONSOLE).await;
    is_guarded(&slow);
    assert_eq!((slow.refusal(), slow.header("access-control-allow-origin")), ((503, "Timeout".into()), CONSOLE));
    sqlx::raw_sql("rollback").execute(&mut lock).await.expect("it is free");

    // Near the end of time the life of a token cannot be told: a panic.
    app.advance(DateTime::<Utc>::MAX_UTC - app.now() - TimeDelta::hours(1));
    let broken = app.post("/auth").basic(&ada.email, &ada.password).header("origin", CONSOLE).await;
    is_guarded(&broken);
    assert_eq!((broken.status, broken.header("access-control-allow-origin")), (500, CONSOLE));
}

#[tokio::test]
async fn without_https_nobody_is_promised_https() {
    let app = TestApp::start_with(|config| config.server.public_url = "http://127.0.0.1:4000".into()).await;
    let answer = app.get("/").await.expect(200);
    is_guarded(&answer);
    assert_eq!(answer.header("strict-transport-security"), "");
}

#[tokio::test]
async fn a_server_that_is_still_starting_answers_browsers_like_one_that_runs() {
    let app = TestApp::start_with(with_console).await;
    let stop = Stop::new(&app.config.server);
    let door = Door::open(&app.config, app.clock.clone(), stop.clone()).await.expect("a free port");
    let url = format!("http://{}", door.addresses().rest);
    for (path, status) in [("/health/live", 200), ("/users/me", 503)] {
        let call = Call(reqwest::Client::new().get(format!("{url}{path}")).header("origin", CONSOLE));
        let answer = call.await.expect(status);
        is_guarded(&answer);
        assert_eq!(answer.header("access-control-allow-origin"), CONSOLE);
    }
    stop.ask();
    door.closed().await;
}

#[tokio::test]
async fn public_documents_may_be_kept_for_five_minutes() {
    let app = TestApp::start().await;
    for path in ["/.well-known/jwks.json", "/openapi.json", "/docs/", "/docs/swagger-ui.css"] {
        assert_eq!(app.get(path).await.expect(200).header("cache-control"), "public, max-age=300", "{path}");
    }
    app.pool().close().await;
    assert_eq!(app.get("/.well-known/nothing").await.expect(404).header("cache-control"), "no-store");
}

#[tokio::test]
async fn the_pages_of_swagger_may_load_their_own_files_and_call_this_server() {
    let app = TestApp::start().await;
    let page = app.get("/docs/").await.expect(200);
    let policy = page.header("content-security-policy");
    for rule in ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    // Style sheets that scripts make are known by their hashes.
    let mut made = 0;
    for script in ["swagger-ui-bundle.js", "swagger-ui-standalone-preset.js"] {
        let code = app.get(&format!("/docs/{script}")).await.expect(200).text;
        for rest in code.split("createElement(\"style\",null,\"").skip(1) {
            let style = rest.split('"').next().unwrap_or_default();
            let hash = BASE64_STANDARD.encode(digest(&SHA256, style.as_bytes()));
            assert!(policy.contains(&format!("'sha256-{hash}'")), "{hash} of {style}");
            made += 1;
        }
    }
    assert_eq!(made, 1, "the logo's");
    let settings = app.get("/docs/swagger-initializer.js").await.expect(200).text;
    assert!(settings.contains("\"validatorUrl\": \"none\"") && !settings.contains("http"), "{settings}");
    // What the policy forbids must not be needed.
    for part in page.text.split("<script").skip(1) {
        let (attributes, rest) = part.split_once('>').expect("a tag");
        assert!(attributes.contains("src=\"./"), "{attributes}");
        assert!(rest.split("</script>").next().is_some_and(|code| code.trim().is_empty()), "{rest}");
    }
    assert!(!page.text.contains("<style") && !page.text.contains("style=") && !page.text.contains("onload="));
}

#[tokio::test]
async fn a_script_of_a_named_page_can_read_every_answer_also_refusals() {
    let app = TestApp::start_with(with_console).await;
    for answer in answers_of_every_kind(&app, |call| call.header("origin", CONSOLE)).await {
        is_guarded(&answer);
        assert_eq!(answer.header("access-control-allow-origin"), CONSOLE, "{answer:?}");
        assert!(answer.headers.get_all("vary").iter().any(|value| value.to_str().unwrap().contains("origin")));
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        let exposed = answer.header("access-control-expose-headers");
        for name in ["x-request-id", "link", "location", "retry-after", "www-authenticate"] {
            assert!(exposed.contains(name), "{name} in {exposed}");
        }
    }
}

#[tokio::test]
async fn a_script_of_any_other_page_reads_nothing() {
    let app = TestApp::start_with(with_console).await;
    for origin in [
        "https://evil.example",
        "http://console.example",
        "https://console.example:8443",
        "https://console.example.evil.example",
        "https://CONSOLE.example",
        "null",
        "",
    ] {
        let answer = app.get("/").header("origin", origin).await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
        let preflight = app.call(Method::OPTIONS, "/users/me").header("origin", origin);
        let preflight = preflight.header("access-control-request-method", "GET").await;
        assert_eq!(preflight.header("access-control-allow-origin"), "", "{origin}");
    }
}

#[tokio::test]
async fn a_preflight_is_answered_at_the_door_and_is_no_event() {
    let app = TestApp::start_with(with_console).await;
    for path in ["/users/me", "/auth", "/nowhere"] {
        let preflight = app.call(Method::OPTIONS, path).header("origin", "http://localhost:3000");
        let preflight = preflight.header("access-control-request-method", "DELETE");
        let answer = preflight.header("access-control-request-headers", "authorization,content-type").await.expect(200);
        is_guarded(&answer);
        assert_eq!(answer.text, "");
        assert_eq!(answer.header("access-control-allow-origin"), "http://localhost:3000");
        assert_eq!(answer.header("access-control-allow-methods"), "GET,HEAD,POST,PUT,PATCH,DELETE");
        assert_eq!(answer.header("access-control-max-age"), "600");
        let allowed = answer.header("access-control-allow-headers");
        for name in ["authorization", "content-type", "idempotency-key", "last-event-id", "x-request-id"] {
            assert!(allowed.contains(name), "{name} in {allowed}");
        }
    }
    assert_eq!(app.count("select count(*) from events").await, 0);
}

#[tokio::test]
async fn without_named_pages_there_is_no_cors_and_options_is_a_method_like_others() {
    let app = TestApp::start().await;
    let preflight = app.call(Method::OPTIONS, "/users/me/events").header("origin", CONSOLE);
    let answer = preflight.header("access-control-request-method", "GET").await.refused(405, "MethodNotAllowed");
    assert_eq!(answer.header("allow"), "GET,HEAD");
    assert!(!format!("{:?}", answer.headers).contains("access-control"), "{answer:?}");
}

#[tokio::test]
async fn a_star_opens_the_door_to_every_page_but_never_with_credentials() {
    let app = TestApp::start_with(|config| config.cors.origins = vec!["*".into()]).await;
    let answer = app.get("/users/me").header("origin", "https://anywhere.example").await.expect(401);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-credentials"), "");
}
