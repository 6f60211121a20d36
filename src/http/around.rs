//! What a layer of this door is made of: an async function around the rest of the layers.
//!
//! `axum::middleware::from_fn` does the same and boxes the rest for each request and each layer; with these few layers that was a
//! tenth of what a request cost. What a future takes as an argument and awaits, it holds twice, and a box of it is filled by
//! copying: so large futures are pinned where they are made, and handed on as `Pin<&mut _>`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tower::{Layer, Service};

/// A layer.
pub trait Middleware: Clone + Send + Sync + 'static {
    /// Answers a request, with the help of `inner` as a rule.
    fn handle<S: Inner>(self, request: Request, inner: S) -> impl Future<Output = Response> + Send;
}

/// What is below a layer.
pub trait Inner: Clone + Send + Sync + 'static {
    /// Answers a request.
    fn run(self, request: Request) -> impl Future<Output = Response> + Send;
}

impl<S> Inner for S
where
    S: Service<Request, Response: IntoResponse, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
{
    fn run(mut self, request: Request) -> impl Future<Output = Response> + Send {
        // Routes are always ready. Called here and not in a future, which would have to hold the request as well.
        self.call(request).map(|answer| match answer {
            Ok(response) => response.into_response(),
            Err(never) => match never {},
        })
    }
}

/// Makes a layer of a [`Middleware`].
#[derive(Clone)]
pub struct Around<M>(pub M);

impl<M: Clone, S> Layer<S> for Around<M> {
    type Service = Layered<M, S>;

    fn layer(&self, inner: S) -> Layered<M, S> {
        Layered { middleware: self.0.clone(), inner }
    }
}

/// A [`Middleware`] and what is below.
#[derive(Clone)]
pub struct Layered<M, S> {
    middleware: M,
    inner: S,
}

impl<M: Middleware, S: Inner> Service<Request> for Layered<M, S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(self.middleware.clone().handle(request, self.inner.clone()).map(Ok))
    }
}
