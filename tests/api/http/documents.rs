//! `/openapi.json` and `/docs`: they describe what is there, and nothing else is there.

use reqwest::Method;
use serde_json::Value;

use crate::harness::TestApp;

async fn document(app: &TestApp) -> Value {
    app.get("/openapi.json").await.expect(200).json()
}

/// Every route of the document: method, path, description.
fn routes(document: &Value) -> Vec<(Method, String, Value)> {
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let method = method.to_uppercase().parse().expect("a method");
            routes.push((method, path.clone(), operation.clone()));
        }
    }
    routes
}

#[tokio::test]
async fn the_document_is_openapi_3_1() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")), "{}", document["openapi"]);
}

#[tokio::test]
async fn the_document_knows_every_route_of_the_contract() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    let mut found: Vec<String> = routes(&document).iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    found.sort();
    for route in [
        "GET /",
        "POST /users",
        "PUT /users/{userId}/token/{token}",
        "POST /users/{userId}/token",
        "PUT /users/{userId}/activation",
        "POST /auth",
        "DELETE /auth",
        "POST /auth/token",
        "GET /users/me",
        "PUT /users/me/password",
        "POST /users/me/client-keys",
        "GET /users/me/client-keys",
        "DELETE /users/me/client-keys/{id}",
        "GET /users/me/events",
        "GET /.well-known/jwks.json",
        "GET /health/live",
        "GET /health/ready",
    ] {
        assert!(found.iter().any(|known| known == route), "{route} in {found:?}");
    }
}

#[tokio::test]
async fn every_route_of_the_document_is_there() {
    let app = TestApp::start().await;
    for (method, path, _) in routes(&document(&app).await) {
        let path = path.replace(['{', '}'], "");
        let answer = app.call(method.clone(), &path).await;
        assert!(![405, 500].contains(&answer.status), "{method} {path}: {answer:?}");
        if answer.status == 404 {
            // There is such a route, and nothing with this name.
            let nobodys = Method::from_bytes(b"PURGE").expect("a method");
            app.call(nobodys, &path).await.refused(405, "MethodNotAllowed");
        }
    }
}

#[tokio::test]
async fn every_route_has_answers_with_descriptions_and_examples() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    for (method, path, operation) in routes(&document) {
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
        for (status, response) in responses {
            let description = response["description"].as_str().unwrap_or_default();
            assert!(!description.is_empty(), "{method} {path} {status}");
        }
        if operation["security"].as_array().is_some_and(|schemes| schemes.iter().any(|it| it.get("account").is_some()))
        {
            assert!(["401", "403"].iter().all(|status| responses.contains_key(*status)), "{method} {path}");
        }
        if operation.get("requestBody").is_some() {
            assert!(["400", "413", "415"].iter().all(|status| responses.contains_key(*status)), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_pages_are_served_by_the_binary_itself() {
    let app = TestApp::start().await;
    let page = app.get("/docs/").await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
    assert!(page.text.contains("swagger-ui"));
    for address in ["http://", "https://", "src=\"//"] {
        assert!(!page.text.contains(address), "nothing is loaded from elsewhere: {}", page.text);
    }
    app.get("/docs").await.expect(200);
    app.get("/docs/swagger-ui-bundle.js").await.expect(200);
}
