//! The document says what the server does: every route, its answers, and nothing that leads nowhere.

use std::collections::BTreeSet;

use bloq_accounts::ratelimit::layer::action_of;
use serde_json::Value;

fn document() -> Value {
    serde_json::to_value(bloq_accounts::http::document()).expect("a document")
}

/// Every operation: method, path, description.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods").clone();
        methods.into_iter().map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    });
    operations.collect()
}

#[test]
fn the_routes_and_their_answers_are_these() {
    let lines: Vec<String> = operations(&document())
        .iter()
        .map(|(method, path, operation)| {
            let answers = operation["responses"].as_object().expect("answers").keys().cloned().collect::<Vec<_>>();
            format!("{method} {path} {}", answers.join(" "))
        })
        .collect();
    let expected = [
        "GET / 200 400 413",
        "GET /.well-known/jwks.json 200 400 413",
        "GET /.well-known/openpgpkey/hu/{name} 200 400 404 413 429 500 503",
        "GET /.well-known/openpgpkey/policy 200 400 413 500 503",
        "GET /.well-known/openpgpkey/{domain}/hu/{name} 200 400 404 413 429 500 503",
        "GET /.well-known/openpgpkey/{domain}/policy 200 400 413 500 503",
        "DELETE /auth 204 400 401 403 413 500 503",
        "POST /auth 200 400 401 403 413 415 429 500 503",
        "POST /auth/siwe 200 400 401 403 413 415 429 500 503",
        "POST /auth/token 200 400 401 403 413 415 429 500 503",
        "GET /auth/users/{publicAddress}/nonce 200 400 404 413 429 500 503",
        "POST /auth/users/{publicAddress}/nonce 200 400 404 413 429 500 503",
        "GET /events 200 400 401 403 413 429 500 503",
        "GET /health/live 200 413",
        "GET /health/ready 200 413 500 503",
        "GET /users 200 400 401 403 413 500 503",
        "POST /users 201 400 413 415 429 500 503",
        "POST /users/invitations 201 400 401 403 409 413 415 429 500 503",
        "DELETE /users/me 204 400 401 403 409 413 415 429 500 503",
        "GET /users/me 200 400 401 403 413 500 503",
        "PATCH /users/me 200 400 401 403 413 415 500 503",
        "GET /users/me/addresses 200 400 401 403 413 500 503",
        "POST /users/me/addresses 201 400 401 403 409 413 415 429 500 503",
        "DELETE /users/me/addresses/{address} 204 400 401 403 404 413 500 503",
        "POST /users/me/addresses/{address}/nonce 200 400 401 403 413 429 500 503",
        "GET /users/me/client-keys 200 400 401 403 413 500 503",
        "POST /users/me/client-keys 200 400 401 403 409 413 415 500 503",
        "DELETE /users/me/client-keys/{id} 204 400 401 403 404 413 500 503",
        "PATCH /users/me/client-keys/{id} 200 400 401 403 404 413 415 500 503",
        "DELETE /users/me/client-keys/{id}/tokens 204 400 401 403 404 413 500 503",
        "PUT /users/me/email 202 400 401 403 413 415 429 500 503",
        "GET /users/me/events 200 400 401 403 413 429 500 503",
        "GET /users/me/events/stream 200 400 401 403 413 429 500 503",
        "GET /users/me/export 200 400 401 403 413 429 500 503",
        "GET /users/me/keys 200 400 401 403 413 500 503",
        "GET /users/me/keys/bit 200 400 401 403 413 500 503",
        "POST /users/me/keys/bit 201 400 401 403 409 413 415 500 503",
        "DELETE /users/me/keys/bit/{id} 204 400 401 403 404 413 500 503",
        "GET /users/me/keys/bit/{id} 200 400 401 403 404 413 500 503",
        "POST /users/me/keys/bit/{id}/verification 200 400 401 403 404 409 413 415 429 500 503",
        "GET /users/me/keys/pgp 200 400 401 403 413 500 503",
        "POST /users/me/keys/pgp 201 400 401 403 409 413 415 429 500 503",
        "DELETE /users/me/keys/pgp/{id} 204 400 401 403 404 413 500 503",
        "GET /users/me/keys/pgp/{id} 200 400 401 403 404 413 500 503",
        "PATCH /users/me/keys/pgp/{id} 200 400 401 403 404 409 413 415 500 503",
        "POST /users/me/keys/pgp/{id}/verification 200 400 401 403 404 409 413 415 429 500 503",
        "PUT /users/me/password 200 400 401 403 413 415 429 500 503",
        "DELETE /users/me/tokens 204 400 401 403 413 500 503",
        "GET /users/me/tokens 200 400 401 403 413 500 503",
        "DELETE /users/me/tokens/{id} 204 400 401 403 404 413 500 503",
        "POST /users/password-reset 202 400 413 415 429 500 503",
        "GET /users/{publicAddress}/nonce 200 400 404 413 429 500 503",
        "POST /users/{publicAddress}/nonce 200 400 404 413 429 500 503",
        "DELETE /users/{userId} 204 400 401 403 404 409 413 500 503",
        "GET /users/{userId} 200 400 401 403 404 409 413 500 503",
        "PATCH /users/{userId} 200 400 401 403 404 409 413 415 500 503",
        "PUT /users/{userId}/activation 200 400 401 403 413 415 429 500 503",
        "GET /users/{userId}/addresses 200 400 401 403 404 409 413 500 503",
        "DELETE /users/{userId}/addresses/{address} 204 400 401 403 404 409 413 500 503",
        "PUT /users/{userId}/addresses/{address} 200 400 401 403 404 409 413 500 503",
        "POST /users/{userId}/block 200 400 401 403 404 409 413 500 503",
        "PUT /users/{userId}/email/{token} 200 400 403 413 429 500 503",
        "GET /users/{userId}/keys/pgp.asc 200 400 404 413 429 500 503",
        "PUT /users/{userId}/password/{token} 200 400 403 413 415 429 500 503",
        "POST /users/{userId}/reset 200 400 401 403 404 409 413 429 500 503",
        "POST /users/{userId}/token 202 400 413 429 500 503",
        "PUT /users/{userId}/token/{token} 200 400 413 429 500 503",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn what_is_done_for_strangers_has_a_limit_and_says_so() {
    for (method, path, operation) in operations(&document()) {
        let limited = action_of(&method.parse().expect("a method"), &path).is_some();
        let says_so = operation["responses"].get("429").is_some();
        // So many at once of a user (`Feed::place`, `Live::follow`).
        let bounded_by_user = ["/users/me/export", "/users/me/events", "/users/me/events/stream", "/events"];
        let is_bounded_by_user = method == "GET" && bounded_by_user.contains(&path.as_str());
        assert_eq!(says_so, limited || is_bounded_by_user, "{method} {path}");
        if says_so {
            let header = &operation["responses"]["429"]["headers"]["Retry-After"];
            assert_eq!(header["schema"]["type"], "integer", "{method} {path}");
        }
        let needs_a_token = operation["security"][0].get("account").is_some();
        assert!(limited || needs_a_token || method == "GET", "{method} {path} has no limit in ratelimit/layer.rs");
    }
}

#[test]
fn every_operation_has_a_name_of_its_own_and_says_what_it_does() {
    let document = document();
    let mut names = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = operation["operationId"].as_str().expect("a name").to_owned();
        assert!(names.insert(name.clone()), "{name} names two operations");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
    }
}

#[test]
fn every_refusal_has_the_one_error_body() {
    for (method, path, operation) in operations(&document()) {
        for (status, answer) in operation["responses"].as_object().expect("answers") {
            if status.starts_with(['4', '5']) {
                let body = &answer["content"]["application/json"]["schema"]["$ref"];
                assert_eq!(body, "#/components/schemas/ErrorBody", "{method} {path} {status}");
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn follow(document: &Value, place: &Value) {
        match place {
            Value::Object(fields) => {
                if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
                    let pointer = target.strip_prefix('#').expect("a reference inside the document");
                    assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
                }
                fields.values().for_each(|value| follow(document, value));
            }
            Value::Array(values) => values.iter().for_each(|value| follow(document, value)),
            _ => {}
        }
    }
    let document = document();
    follow(&document, &document);
}

#[test]
fn every_field_of_a_body_has_an_example() {
    let document = document();
    let has_example = |field: &Value| {
        let target = field["$ref"].as_str().or_else(|| field["oneOf"][0]["$ref"].as_str());
        field.get("example").is_some() || target.is_some() || field.get("items").is_some() || field["type"].is_null() // any JSON at all
    };
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        if schema.get("example").is_some() {
            continue;
        }
        for (field, description) in schema["properties"].as_object().into_iter().flatten() {
            assert!(has_example(description), "{name}.{field} has no example: {description}");
        }
    }
}
