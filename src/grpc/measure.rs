//! Counts and times what callers see, also of those who do not wait for it.

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use tokio::time::Instant;

use super::status;
use crate::http::around::{Inner, Middleware};
use crate::metrics::Metrics;

/// Layer, outermost.
#[derive(Clone)]
pub struct Measure(pub Metrics);

impl Middleware for Measure {
    async fn handle<S: Inner>(self, request: Request, inner: S) -> Response {
        let method = request.extensions().get::<MatchedPath>().cloned();
        let mut under_way = UnderWay { metrics: self.0, method, began: Instant::now(), status: tonic::Code::Cancelled };
        let response = inner.run(request).await;
        // What was no call of gRPC has no status of it.
        under_way.status = response.extensions().get().copied().unwrap_or(tonic::Code::Unimplemented);
        if let Some(code) = status::code_in(response.headers()) {
            under_way.metrics.refused(code);
        }
        response
    }
}

/// A call that is counted when it ends, in whatever way.
struct UnderWay {
    metrics: Metrics,
    method: Option<MatchedPath>,
    began: Instant,
    status: tonic::Code,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let method = self.method.as_ref().map_or("unmatched", MatchedPath::as_str);
        self.metrics.call_ended(method, &format!("{:?}", self.status), self.began.elapsed());
    }
}
