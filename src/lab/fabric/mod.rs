//! The lab's network: streams in memory, with policies.
//!
//! Everything that talks in the lab talks here: pods, probes from outside, the kubelet, the scraper and witnesses.
//! As on a real cluster a denied new connection hangs until its caller gives up, an established one lives on, a
//! service without a ready endpoint refuses at once, and the node reaches every pod.

mod names;
pub mod policy;
mod transport;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use self::policy::End;
use super::resource::{NAMESPACES, NETWORK_POLICIES, PODS};
use super::store::{Object, Store};
use crate::transport::NoAnswer;

pub use names::Destination;
pub use transport::FabricTransport;
pub(super) use transport::PROMETHEUS_PORT;

/// How long opening a connection takes: a modelled value, of the order of a real one within a node.
pub const CONNECT_LATENCY: Duration = Duration::from_millis(1);

/// How many bytes one direction of a stream holds before its writer waits.
const STREAM_BUFFER: usize = 64 * 1024;

/// The address of the machine that hosts the node: where probes of a test process come from.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 1);

/// The address of the lab's node.
pub const NODE: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 2);

/// The address of the lab's Prometheus.
pub const PROMETHEUS: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 2);

/// Who opens a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The node itself, its kubelet for instance: no policy stops it.
    Node,
    /// An address: a pod's, the scraper's, or one outside the cluster.
    Address(Ipv4Addr),
}

/// Who listens where; the number tells a listener from one that has taken its place.
type Listeners = BTreeMap<(Ipv4Addr, u16), (u64, mpsc::UnboundedSender<DuplexStream>)>;

/// The network. Cheap to clone.
#[derive(Clone)]
pub struct Fabric {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    listeners: Mutex<Listeners>,
    turns: Mutex<BTreeMap<String, usize>>,
    enforced: AtomicBool,
    next: AtomicU64,
}

/// Takes the connections to one address and port.
pub struct Listener {
    fabric: Fabric,
    at: (Ipv4Addr, u16),
    number: u64,
    queue: mpsc::UnboundedReceiver<DuplexStream>,
}

impl Listener {
    /// The next connection; `None` never comes as long as the listener lives.
    pub async fn accept(&mut self) -> Option<DuplexStream> {
        self.queue.recv().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = self.fabric.listeners();
        if listeners.get(&self.at).is_some_and(|(number, _)| *number == self.number) {
            listeners.remove(&self.at);
        }
    }
}

impl Fabric {
    /// A network over these objects.
    #[must_use]
    pub fn new(store: Store) -> Self {
        let shared = Shared {
            store,
            listeners: Mutex::default(),
            turns: Mutex::default(),
            enforced: AtomicBool::new(true),
            next: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether NetworkPolicies are enforced. Switched off, the lab is a cluster whose network plug-in ignores them.
    pub fn enforce_policies(&self, enforced: bool) {
        self.shared.enforced.store(enforced, Ordering::Relaxed);
    }

    /// Takes connections to an address and port. A second listener there takes the place of the first.
    #[must_use]
    pub fn listen(&self, ip: Ipv4Addr, port: u16) -> Listener {
        let (sender, queue) = mpsc::unbounded_channel();
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        self.listeners().insert((ip, port), (number, sender));
        Listener { fabric: self.clone(), at: (ip, port), number, queue }
    }

    /// Opens a connection. One that a policy denies never ends: bound it in time.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(&self, from: Source, ip: Ipv4Addr, port: u16) -> Result<DuplexStream, NoAnswer> {
        tokio::time::sleep(CONNECT_LATENCY).await;
        if !self.allows(from, ip, port) {
            std::future::pending::<()>().await;
        }
        let listener = self.listeners().get(&(ip, port)).cloned();
        let (near, far) = tokio::io::duplex(STREAM_BUFFER);
        match listener {
            Some((_, listener)) if listener.send(far).is_ok() => Ok(near),
            _ => Err(NoAnswer::Refused),
        }
    }

    fn allows(&self, from: Source, to: Ipv4Addr, port: u16) -> bool {
        let Source::Address(from) = from else { return true };
        if !self.shared.enforced.load(Ordering::Relaxed) || from == NODE || to == NODE {
            return true;
        }
        let (policies, _) = self.shared.store.list(&NETWORK_POLICIES, None);
        policies.is_empty() || policy::allows(&policies, &self.end(from), &self.end(to), port)
    }

    fn end(&self, ip: Ipv4Addr) -> End {
        let (pods, _) = self.shared.store.list(&PODS, None);
        let text = ip.to_string();
        let pod = pods.into_iter().find(|pod| {
            pod["status"]["podIP"] == text.as_str()
                && pod["spec"]["hostNetwork"] != true
                && !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
        });
        let namespace = pod.as_ref().and_then(|pod| pod["metadata"]["namespace"].as_str());
        let namespace = namespace.and_then(|name| self.shared.store.find(&NAMESPACES, "", name));
        let namespace_labels =
            namespace.map_or(Value::Null, |namespace: Object| namespace["metadata"]["labels"].clone());
        End { ip, pod, namespace_labels }
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
