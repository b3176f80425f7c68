//! Axum routers as the programs of containers.

use std::convert::Infallible;

use axum::Router;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tower::ServiceExt;

use super::{Net, Tasks};
use crate::lab::fabric::{Listener, Wire};

/// Serves a router on these ports, until the container is killed.
pub(super) async fn router(net: &Net, ports: &[u16], router: Router) -> i32 {
    let listeners: Vec<Listener> = ports.iter().map(|port| net.listen(*port)).collect();
    for mut listener in listeners {
        let (router, tasks) = (router.clone(), net.container.tasks.clone());
        net.spawn(async move {
            while let Some(stream) = listener.accept().await {
                serve_connection(&tasks, stream, router.clone());
            }
        });
    }
    std::future::pending().await
}

/// Serves HTTP/1.1 on one stream. A handler is a task of its own: it runs to its end though its caller has gone.
pub(in crate::lab) fn serve_connection(tasks: &Tasks, stream: Wire, router: Router) {
    let handlers = tasks.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, handlers) = (router.clone(), handlers.clone());
        async move {
            let (done, answer) = tokio::sync::oneshot::channel();
            handlers.spawn(async move {
                let Ok(response) = router.oneshot(request.map(axum::body::Body::new)).await;
                // The caller may have gone.
                let _ = done.send(response);
            });
            let died = || Response::builder().status(500).body(axum::body::Body::from("the handler died"));
            Ok::<_, Infallible>(answer.await.unwrap_or_else(|_| died().unwrap_or_default()))
        }
    });
    tasks.spawn(async move {
        // A connection that its client cuts is no event for a server.
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
}
