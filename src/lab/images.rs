//! What images run in the lab, and what a running pod sees of it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::task::AbortHandle;
use tower::ServiceExt;

use super::fabric::{Fabric, Listener, Source};
use super::logs::{ContainerLog, LogLine};
use crate::clock::Clock;
use crate::kubernetes::WITNESS_IMAGE;
use crate::transport::{Address, Connection, Failure, NoAnswer, Response as Answer, exchange};

/// The port of a router whose pod declares none.
const DEFAULT_PORT: u16 = 8080;

/// How long a witness waits for a connection, as the program on a real cluster does.
const WITNESS_TIMEOUT: Duration = Duration::from_secs(1);

/// How long it waits between two attempts.
const WITNESS_PAUSE: Duration = Duration::from_millis(100);

/// A program: runs to its exit code.
type Program = Arc<dyn Fn(Net) -> BoxFuture<'static, i32> + Send + Sync>;

/// The images that the lab knows, by name.
#[derive(Clone)]
pub(super) struct Images {
    programs: Arc<Mutex<BTreeMap<String, Program>>>,
}

impl Images {
    /// Those that the lab always knows.
    pub(super) fn new() -> Self {
        let images = Self { programs: Arc::default() };
        images.add(WITNESS_IMAGE, Arc::new(|net| Box::pin(witness(net))));
        images
    }

    pub(super) fn add(&self, name: &str, program: Program) {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), program);
    }

    pub(super) fn add_router(&self, name: &str, router: Arc<dyn Fn(Net) -> Router + Send + Sync>) {
        self.add(name, Arc::new(move |net| Box::pin(serve(net.clone(), router(net)))));
    }

    pub(super) fn find(&self, name: &str) -> Option<Program> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// A pod's own view of the lab: its arguments, its network, its log. Cheap to clone.
#[derive(Clone)]
pub struct Net {
    pod: Arc<Pod>,
}

struct Pod {
    fabric: Fabric,
    clock: Clock,
    namespace: String,
    name: String,
    ip: Ipv4Addr,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    ports: Vec<u16>,
    log: ContainerLog,
    tasks: Tasks,
}

/// What is known of a pod when it starts.
pub(super) struct Start {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) ip: Ipv4Addr,
    pub(super) args: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) ports: Vec<u16>,
}

impl Net {
    pub(super) fn new(fabric: Fabric, clock: Clock, log: ContainerLog, tasks: Tasks, start: Start) -> Self {
        let Start { namespace, name, ip, args, env, ports } = start;
        Self { pod: Arc::new(Pod { fabric, clock, namespace, name, ip, args, env, ports, log, tasks }) }
    }

    /// The container's arguments.
    #[must_use]
    pub fn args(&self) -> &[String] {
        &self.pod.args
    }

    /// An environment variable of the container.
    #[must_use]
    pub fn env(&self, name: &str) -> Option<&str> {
        self.pod.env.get(name).map(String::as_str)
    }

    /// The pod's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.pod.namespace
    }

    /// The pod's name.
    #[must_use]
    pub fn pod_name(&self) -> &str {
        &self.pod.name
    }

    /// The clock of the lab.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.pod.clock
    }

    /// Writes a line to the pod's log.
    pub fn log(&self, line: impl Into<String>) {
        self.pod.log.write(LogLine { at: self.pod.clock.now(), text: line.into() });
    }

    /// Runs something beside; it ends with the pod.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.pod.tasks.spawn(work);
    }

    /// Opens a connection to a service or an address.
    ///
    /// # Errors
    /// The name is unknown, or nobody takes the connection. One that a policy denies never ends: bound it in time.
    pub async fn connect(&self, host: &str, port: u16) -> Result<DuplexStream, NoAnswer> {
        let from = Source::Address(self.pod.ip);
        self.pod.fabric.connect_to(from, &self.pod.namespace, host, port).await
    }

    /// Takes connections to the pod's `port`.
    #[must_use]
    pub fn listen(&self, port: u16) -> Listener {
        self.pod.fabric.listen(self.pod.ip, port)
    }

    /// Asks for a URL on a new connection and reads the whole answer, within `timeout`.
    ///
    /// # Errors
    /// The URL is none, or there is no answer.
    pub async fn get(&self, url: &str, timeout: Duration) -> Result<Answer, Failure> {
        let address: Address = url.into();
        let Address::Url(uri) = address.checked().map_err(crate::transport::Error::from)? else {
            unreachable!("a text is a URL or malformed");
        };
        let (host, port) = (uri.host().unwrap_or_default().to_owned(), uri.port_u16().unwrap_or(80));
        let path = uri.path_and_query().map_or("/".to_owned(), ToString::to_string);
        let request =
            crate::transport::Request { timeout, ..crate::transport::Request::new(Method::GET, address.clone()) };
        let answer = async {
            let stream = self.connect(&host, port).await?;
            let connection = Connection { stream: Box::new(stream), authority: format!("{host}:{port}"), path };
            exchange(connection, &request).await
        };
        match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(NoAnswer::TimedOut { after: timeout }.into()),
        }
    }
}

/// Serves a router on every declared port, until the pod ends.
async fn serve(net: Net, router: Router) -> i32 {
    let ports = if net.pod.ports.is_empty() { vec![DEFAULT_PORT] } else { net.pod.ports.clone() };
    let listeners: Vec<Listener> = ports.into_iter().map(|port| net.listen(port)).collect();
    for mut listener in listeners {
        let (router, tasks) = (router.clone(), net.pod.tasks.clone());
        net.spawn(async move {
            while let Some(stream) = listener.accept().await {
                serve_connection(&tasks, stream, router.clone());
            }
        });
    }
    std::future::pending().await
}

/// Serves HTTP/1.1 on one stream. A handler is a task of its own: it runs to its end though its caller has gone.
pub(super) fn serve_connection(tasks: &Tasks, stream: DuplexStream, router: Router) {
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

/// `connect HOST:PORT`: opens a connection again and again, one log line for each; `listen PORT`: takes them.
async fn witness(net: Net) -> i32 {
    match net.args() {
        [verb, port] if verb == "listen" => {
            let Ok(port) = port.parse() else { return 2 };
            let mut listener = net.listen(port);
            while listener.accept().await.is_some() {}
            0
        }
        [verb, to] if verb == "connect" => {
            let Some((host, Ok(port))) = to.rsplit_once(':').map(|(host, port)| (host, port.parse())) else { return 2 };
            for attempt in 1_u64.. {
                let outcome = match tokio::time::timeout(WITNESS_TIMEOUT, net.connect(host, port)).await {
                    Ok(Ok(_)) => "open",
                    Ok(Err(NoAnswer::Refused)) => "refused",
                    Ok(Err(_)) => "no address",
                    Err(_) => "no answer",
                };
                net.log(format!("{attempt} {outcome}"));
                net.clock().sleep(WITNESS_PAUSE).await;
            }
            0
        }
        _ => 2,
    }
}

/// Tasks that end together: those of one pod, those of a listening lab.
#[derive(Clone, Default)]
pub(super) struct Tasks {
    running: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Tasks {
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let handle = tokio::spawn(work).abort_handle();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.len().is_multiple_of(64) {
            running.retain(|task| !task.is_finished());
        }
        running.push(handle);
    }

    pub(super) fn end(&self) {
        for task in self.running.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}
