//! The client against servers that misbehave, over in-memory streams in virtual time and over sockets in real time.

mod alerts;
mod bad_input;
mod hostile;
mod native;
mod wiring;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::experiment::{Check, Faults, Finding, Phase, Remarks, Scene};
use crate::journal::Reason;
use crate::tolerance::Outcome;
use crate::transport::{Address, Connection, Failure, Network, NoAnswer, Stream, Transport};

/// Where the servers of these tests say that they are.
pub(super) const ADDRESS: &str = "http://prometheus.test:9090";

/// What a server does with a request.
#[derive(Clone)]
pub(super) enum Reply {
    /// Sends this and closes.
    Bytes(Vec<u8>),
    /// Sends this and waits for ever.
    Hangs(Vec<u8>),
    /// Sends the first, then the second again and again, so many times.
    Long(Vec<u8>, &'static [u8], usize),
    /// Takes no connection.
    Refuses,
}

/// An answer with its length.
pub(super) fn page(status: u16, headers: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Bytes(format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n{body}").into_bytes())
}

/// What Prometheus answers.
pub(super) fn success(data: &Value) -> Reply {
    page(200, "", &json!({"status": "success", "data": data}).to_string())
}

pub(super) fn refusal(status: u16, kind: &str, why: &str) -> Reply {
    page(status, "", &json!({"status": "error", "errorType": kind, "error": why}).to_string())
}

/// The data of one value.
pub(super) fn vector(value: &str) -> Value {
    json!({"resultType": "vector", "result": [{"metric": {}, "value": [1_767_225_600, value]}]})
}

/// What to do with a request, by its number and its text.
type Replies = dyn Fn(usize, &str) -> Reply + Send + Sync;

/// A server that replies as it is told.
pub(super) struct Server {
    reply: Box<Replies>,
    seen: Mutex<Vec<String>>,
    sent: AtomicUsize,
}

impl Server {
    pub(super) fn new(reply: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { reply: Box::new(reply), seen: Mutex::default(), sent: AtomicUsize::new(0) })
    }

    /// One that always does the same.
    pub(super) fn of(reply: Reply) -> Arc<Self> {
        Self::new(move |_, _| reply.clone())
    }

    /// The requests so far.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// How many bytes of bodies were taken from it.
    pub(super) fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    pub(super) async fn serve(self: Arc<Self>, mut stream: impl Stream) {
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        let text = loop {
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    break text;
                }
            }
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(read) => request.extend_from_slice(&buffer[..read]),
            }
        };
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(text.clone());
            seen.len() - 1
        };
        // Whoever has read enough closes the connection; that is no failure of the server.
        match (self.reply)(number, &text) {
            Reply::Bytes(bytes) => drop(stream.write_all(&bytes).await),
            Reply::Hangs(bytes) => {
                drop(stream.write_all(&bytes).await);
                std::future::pending::<()>().await;
            }
            Reply::Long(first, again, times) => {
                drop(stream.write_all(&first).await);
                for _ in 0..times {
                    if stream.write_all(again).await.is_err() {
                        return;
                    }
                    self.sent.fetch_add(again.len(), Ordering::SeqCst);
                }
            }
            Reply::Refuses => {}
        }
        drop(stream.shutdown().await);
    }
}

/// The way to a server in memory.
struct InMemory(Arc<Server>);

impl Transport for InMemory {
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Connection, Failure>> {
        Box::pin(async move {
            let Address::Url(uri) = address.checked().map_err(crate::transport::Error::from)? else {
                return Err(NoAnswer::Refused.into());
            };
            if matches!((self.0.reply)(usize::MAX, ""), Reply::Refuses) {
                return Err(NoAnswer::Refused.into());
            }
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(self.0.clone().serve(theirs));
            let path = uri.path_and_query().map_or("/".into(), ToString::to_string);
            let authority = uri.authority().map_or(String::new(), |authority| authority.as_str().to_owned());
            Ok(Connection { stream: Box::new(ours), authority, path })
        })
    }
}

fn scene(transport: Arc<dyn Transport>, clock: Clock, phase: Phase) -> Scene {
    let (outputs, faults, remarks) = (PathBuf::new(), Faults::default(), Remarks::default());
    let (loads, measured) = Default::default();
    Scene { phase, clock, transport, outputs, faults, remarks, loads, measured, trace: None }
}

/// A scene in virtual time from which this server is reached at any address.
pub(super) fn virtually(server: &Arc<Server>) -> Scene {
    scene(Arc::new(InMemory(server.clone())), Clock::virtual_time(), Phase::Gate)
}

/// A scene in real time, and the address of this server on a loopback port.
pub(super) async fn really(server: &Arc<Server>) -> (Scene, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    if !matches!((server.reply)(usize::MAX, ""), Reply::Refuses) {
        let server = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server.clone().serve(stream));
            }
        });
    }
    (scene(Arc::new(Network::new(None).unwrap()), Clock::real(), Phase::Gate), address)
}

/// The judgement of a check, or the error.
pub(super) async fn judged(check: &impl Check, scene: &Scene) -> Result<Finding, String> {
    check.check(scene).await.map_err(|error| error.to_string())
}

/// Why the check knows nothing, which must be that its source is not available.
pub(super) async fn unavailable(check: &impl Check, scene: &Scene) -> String {
    match judged(check, scene).await.map(|finding| finding.judgement.outcome) {
        Ok(Outcome::Inconclusive(reason @ Reason::Unavailable { .. })) => reason.to_string(),
        other => panic!("{other:?}"),
    }
}
