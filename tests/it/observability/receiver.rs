//! A server on loopback that keeps what it is sent, and answers as it is told.

use std::sync::{Arc, Condvar, Mutex};
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

/// What came so far, and that more has come.
type Kept = Arc<(Mutex<Vec<Got>>, Condvar)>;

/// What to answer request number so-and-so; `None` for nothing at all.
type Answer = dyn Fn(usize, &Got) -> Option<Response> + Send + Sync;

#[derive(Clone)]
struct Shared {
    got: Kept,
    answer: Arc<Answer>,
}

/// It ends with this value.
pub struct Receiver {
    pub url: String,
    got: Kept,
    _runtime: tokio::runtime::Runtime,
}

impl Receiver {
    pub fn answering(answer: impl Fn(usize, &Got) -> Option<Response> + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let got = Kept::default();
        let shared = Shared { got: got.clone(), answer: Arc::new(answer) };
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(keep).with_state(shared);
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { url, got, _runtime: runtime }
    }

    /// Answers everything with an empty 200.
    #[cfg(feature = "otel")]
    pub fn new() -> Self {
        Self::answering(|_, _| Some(StatusCode::OK.into_response()))
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.0.lock().unwrap().clone()
    }

    /// Waits for the first request.
    pub fn wait_for_one(&self) {
        let none = self.got.0.lock().unwrap();
        let waited = self.got.1.wait_timeout_while(none, Duration::from_secs(60), |got| got.is_empty()).unwrap();
        assert!(!waited.1.timed_out(), "nobody asks");
    }
}

async fn keep(State(shared): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let got = Got { method, path: uri.to_string(), headers, body };
    let number = {
        let mut all = shared.got.0.lock().unwrap();
        all.push(got.clone());
        shared.got.1.notify_all();
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
