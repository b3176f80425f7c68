//! A span of `tracing` for each request to a cluster's API.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument, debug_span};

/// Wraps a client's service, so that each of its requests has a span `request` below whatever asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traced;

impl<S> Layer<S> for Traced {
    type Service = TracedService<S>;

    fn layer(&self, inner: S) -> TracedService<S> {
        TracedService(inner)
    }
}

/// What [`Traced`] makes of a service.
#[derive(Clone, Debug)]
pub(crate) struct TracedService<S>(S);

impl<S, B, A> Service<Request<B>> for TracedService<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<A>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Without the query: selectors are long, and there is no other secret's place in a path of the API.
        let span = debug_span!(
            "request",
            http.request.method = %request.method(),
            url.path = request.uri().path(),
            http.response.status_code = Empty
        );
        let answer = self.0.call(request).instrument(span.clone());
        Box::pin(async move {
            let answer = answer.await?;
            span.record("http.response.status_code", answer.status().as_u16());
            Ok(answer)
        })
    }
}
