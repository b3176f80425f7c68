//! Axum routers as the programs of containers.

use std::convert::Infallible;

use axum::Router;
use http::header::{DATE, Entry};
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::fmt::rfc2822::DateTimePrinter;
use tower::ServiceExt;

use super::{Net, Tasks};
use crate::clock::Clock;
use crate::lab::fabric::{Listener, Wire};

/// Serves a router on these ports, until the container is killed.
pub(super) async fn router(net: &Net, ports: &[u16], router: Router) -> i32 {
    let listeners: Vec<Listener> = ports.iter().map(|port| net.listen(*port)).collect();
    for mut listener in listeners {
        let (router, tasks, clock) = (router.clone(), net.container.tasks.clone(), net.clock().clone());
        net.spawn(async move {
            while let Some(stream) = listener.accept().await {
                serve_connection(&tasks, &clock, stream, router.clone());
            }
        });
    }
    std::future::pending().await
}

/// Serves HTTP/1.1 on one stream. A handler is a task of its own: it runs to its end though its caller has gone. Answers
/// are dated by the lab's clock, which a journal may hold.
pub(in crate::lab) fn serve_connection(tasks: &Tasks, clock: &Clock, stream: Wire, router: Router) {
    let (handlers, clock) = (tasks.clone(), clock.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, handlers, clock) = (router.clone(), handlers.clone(), clock.clone());
        async move {
            let (done, answer) = tokio::sync::oneshot::channel();
            handlers.spawn(async move {
                let Ok(response) = router.oneshot(request.map(axum::body::Body::new)).await;
                // The caller may have gone.
                let _ = done.send(response);
            });
            let died = || Response::builder().status(500).body(axum::body::Body::from("the handler died"));
            let mut answer = answer.await.unwrap_or_else(|_| died().unwrap_or_default());
            if let Entry::Vacant(undated) = answer.headers_mut().entry(DATE) {
                undated.insert(date(&clock));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    tasks.spawn(async move {
        let mut server = hyper::server::conn::http1::Builder::new();
        // A connection that its client cuts is no event for a server.
        let _ = server.auto_date_header(false).serve_connection(TokioIo::new(stream), service).await;
    });
}

/// The time as HTTP writes it.
fn date(clock: &Clock) -> HeaderValue {
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&clock.now());
    text.ok().and_then(|text| HeaderValue::try_from(text).ok()).expect("a lab's clock shows no year before 0")
}
