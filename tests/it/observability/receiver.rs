//! A server on loopback that keeps what it is sent, and answers as it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

/// One request.
#[derive(Clone, Debug)]
pub struct Got {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What to answer request number so-and-so; `None` for nothing at all.
type Answer = dyn Fn(usize, &Got) -> Option<Response> + Send + Sync;

#[derive(Clone)]
struct Shared {
    got: Arc<Mutex<Vec<Got>>>,
    answer: Arc<Answer>,
}

/// It ends with this value.
pub struct Receiver {
    pub url: String,
    got: Arc<Mutex<Vec<Got>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Receiver {
    pub fn answering(answer: impl Fn(usize, &Got) -> Option<Response> + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let shared = Shared { got: got.clone(), answer: Arc::new(answer) };
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(keep).with_state(shared);
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { url, got, _runtime: runtime }
    }

    /// Answers everything with an empty 200.
    pub fn new() -> Self {
        Self::answering(|_, _| Some(StatusCode::OK.into_response()))
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

async fn keep(State(shared): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let got = Got { method, path: uri.to_string(), headers, body };
    let number = {
        let mut all = shared.got.lock().unwrap();
        all.push(got.clone());
        all.len() - 1
    };
    match (shared.answer)(number, &got) {
        Some(answer) => answer,
        None => {
            tokio::time::sleep(Duration::MAX).await;
            StatusCode::OK.into_response()
        }
    }
}
