//! `/openapi.json` and `/docs`: the description of the API, and Swagger UI to read it. Both are the same for everybody.

use std::io::{Read, Write};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use utoipa_swagger_ui::{Config, SwaggerFile};

use crate::error::{Code, Error, Result};

/// Swagger UI loads its own files, draws icons from `data:` URLs and calls this API; nothing else. The hash is that of the
/// style sheet inside its logo.
const SWAGGER: &str = "default-src 'none'; script-src 'self'; \
                       style-src 'self' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='; \
                       img-src 'self' data:; connect-src 'self'; \
                       base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes of this file.
pub fn router<S: Clone + Send + Sync + 'static>(document: &utoipa::openapi::OpenApi) -> Router<S> {
    let json = document.to_json().expect("the document is JSON");
    let json = Bytes::from(zip(json.as_bytes()).expect("memory takes everything"));
    // Its validator would be somebody else's server.
    let config = Arc::new(Config::from("/openapi.json").validator_url("none"));
    let file = get(async move |uri: Uri, headers: HeaderMap| file(&uri, &headers, config));
    Router::new()
        .route("/openapi.json", get(async move |headers: HeaderMap| unzipped_for(&headers, "application/json", json)))
        .route("/docs", get(async || Redirect::to("/docs/")))
        .route("/docs/", file.clone())
        .route("/docs/{*file}", file)
        .layer(from_fn(describe))
}

/// Layer: what is said about a document that is there.
async fn describe(request: Request, next: Next) -> Response {
    let is_page = request.uri().path() != "/openapi.json";
    let mut response = next.run(request).await;
    if response.status() == StatusCode::OK {
        // As for the keys: a new version of the server is seen after five minutes.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        if is_page {
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(SWAGGER));
        }
    }
    response
}

/// One file of Swagger UI.
fn file(uri: &Uri, headers: &HeaderMap, config: Arc<Config<'static>>) -> Result<Response> {
    let name = uri.path().strip_prefix("/docs/").unwrap_or_default();
    let file = utoipa_swagger_ui::serve(name, config).map_err(|error| Error::Internal(anyhow::anyhow!("{error}")))?;
    let Some(SwaggerFile { bytes, content_type, gzpipped, .. }) = file else { return Err(Code::NotFound.into()) };
    if gzpipped {
        unzipped_for(headers, &content_type, bytes.into_owned().into())
    } else {
        Ok(([(CONTENT_TYPE, content_type)], bytes).into_response())
    }
}

/// What is kept compressed: nobody can make us compress the same bytes again and again.
fn unzipped_for(headers: &HeaderMap, content_type: &str, zipped: Bytes) -> Result<Response> {
    let described = [(CONTENT_TYPE, content_type), (VARY, "accept-encoding")];
    if headers.contains_key(ACCEPT_ENCODING) {
        return Ok((described, [(CONTENT_ENCODING, "gzip")], zipped).into_response());
    }
    let mut plain = Vec::new();
    GzDecoder::new(&*zipped).read_to_end(&mut plain).map_err(|error| Error::Internal(error.into()))?;
    Ok((described, plain).into_response())
}

fn zip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}
