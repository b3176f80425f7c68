//! What images run in the lab, and what a running container sees of it.
//!
//! Those that are known are present on the node and in every registry; any other is absent: with pull policy `Never`
//! it fails with `ErrImageNeverPull`, else with `ErrImagePull` and `ImagePullBackOff`. Nothing is executed: a known
//! image is a program of this process. One that a user registers takes `command` and `args` as its arguments; the
//! lab's own have no shell and no other program, so that a `command` fails to start, as in an image FROM scratch.

mod reference;
mod serve;
mod witness;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use futures_util::future::BoxFuture;
use http::Method;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::fabric::{Fabric, Listener, Owner, Source, Wire};
use super::logs::{ContainerLog, LogLine};
use crate::clock::Clock;
use crate::kubernetes::WITNESS_IMAGE;
use crate::transport::{Address, Connection, Failure, NoAnswer, Response as Answer, exchange};

pub(super) use reference::Reference;
pub(super) use serve::serve_connection;

/// What a node of Kubernetes 1.34 always holds: the program that keeps a pod's namespaces.
const PAUSE_IMAGE: &str = "registry.k8s.io/pause:3.10.1";

/// The port of a router whose container declares none.
const DEFAULT_PORT: u16 = 8080;

/// A program: runs to its exit code.
pub(super) type Program = Arc<dyn Fn(Net) -> BoxFuture<'static, i32> + Send + Sync>;

/// An image that is present.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) program: Program,
    /// Whether a container's `command` is taken as arguments; else there is no such file.
    pub(super) takes_commands: bool,
}

/// The images that the lab knows, by their whole name.
#[derive(Clone)]
pub(super) struct Images {
    known: Arc<Mutex<BTreeMap<String, Image>>>,
}

impl Images {
    /// Those that the lab always knows.
    pub(super) fn new() -> Self {
        let images = Self { known: Arc::default() };
        images.add(WITNESS_IMAGE, true, Arc::new(|net| Box::pin(witness::run(net))));
        let pause = async |net: Net| {
            net.terminated().await;
            0
        };
        images.add(PAUSE_IMAGE, false, Arc::new(move |net| Box::pin(pause(net))));
        images
    }

    pub(super) fn add(&self, name: &str, takes_commands: bool, program: Program) {
        let name = Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.whole());
        let image = Image { program, takes_commands };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name, image);
    }

    pub(super) fn add_router(
        &self,
        name: &str,
        takes_commands: bool,
        router: Arc<dyn Fn(Net) -> Router + Send + Sync>,
    ) {
        let program = move |net: Net| {
            let router = router(net.clone());
            Box::pin(async move { net.serve(router).await }) as BoxFuture<'static, i32>
        };
        self.add(name, takes_commands, Arc::new(program));
    }

    pub(super) fn find(&self, name: &Reference) -> Option<Image> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&name.whole()).cloned()
    }
}

/// A container's own view of the lab: its arguments, its network, its log. Cheap to clone.
#[derive(Clone)]
pub struct Net {
    container: Arc<Container>,
}

struct Container {
    fabric: Fabric,
    clock: Clock,
    owner: Owner,
    start: Start,
    log: ContainerLog,
    tasks: Tasks,
    terminated: watch::Receiver<bool>,
}

/// What is known of a container when it starts.
pub(super) struct Start {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) ip: Ipv4Addr,
    pub(super) args: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    /// The TCP ports that it declares.
    pub(super) ports: Vec<u16>,
}

impl Net {
    pub(super) fn new(
        fabric: Fabric,
        clock: Clock,
        owner: Owner,
        start: Start,
        log: ContainerLog,
        tasks: Tasks,
        terminated: watch::Receiver<bool>,
    ) -> Self {
        Self { container: Arc::new(Container { fabric, clock, owner, start, log, tasks, terminated }) }
    }

    /// The container's arguments: its `command`, if it has one, then its `args`.
    #[must_use]
    pub fn args(&self) -> &[String] {
        &self.container.start.args
    }

    /// An environment variable of the container.
    #[must_use]
    pub fn env(&self, name: &str) -> Option<&str> {
        self.container.start.env.get(name).map(String::as_str)
    }

    /// The pod's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.container.start.namespace
    }

    /// The pod's name.
    #[must_use]
    pub fn pod_name(&self) -> &str {
        &self.container.start.pod
    }

    /// The pod's address; the node's for a pod on the host's network.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.container.start.ip
    }

    /// The clock of the lab.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.container.clock
    }

    /// Writes a line to the container's log.
    pub fn log(&self, line: impl Into<String>) {
        self.container.log.write(LogLine { at: self.container.clock.now(), text: line.into() });
    }

    /// Runs something beside; it ends with the container.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.container.tasks.spawn(work);
    }

    /// Waits until the container is told to end, as by SIGTERM. A program that does not care runs on, and serves, until
    /// the pod's grace period is over, as the first process of a container without a handler does.
    pub async fn terminated(&self) {
        let mut told = self.container.terminated.clone();
        // The kubelet has gone, and with it all programs.
        if told.wait_for(|told| *told).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Opens a connection to a service or an address.
    ///
    /// # Errors
    /// The name is unknown, or nobody takes the connection. One that a policy denies is given up after 127 s, as on
    /// Linux: bound it in time.
    pub async fn connect(&self, host: &str, port: u16) -> Result<Wire, NoAnswer> {
        let Container { fabric, owner, start, .. } = &*self.container;
        fabric.connect_to(Source::Container(start.ip, *owner), &start.namespace, host, port).await
    }

    /// Takes connections to the pod's `port`.
    #[must_use]
    pub fn listen(&self, port: u16) -> Listener {
        self.container.fabric.listen_as(self.container.owner, self.container.start.ip, port)
    }

    /// Serves a router on every TCP port that the container declares (8080 if it declares none), until it is killed.
    /// A handler runs to its end though its caller has gone.
    pub async fn serve(&self, router: Router) -> i32 {
        let declared = &self.container.start.ports;
        let ports = if declared.is_empty() { &[DEFAULT_PORT][..] } else { declared };
        self.serve_on(ports, router).await
    }

    /// As [`serve`](Self::serve), on ports of the program's own choice.
    pub async fn serve_on(&self, ports: &[u16], router: Router) -> i32 {
        serve::router(self, ports, router).await
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

/// Tasks that end together: those of one container, those of a listening lab.
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
