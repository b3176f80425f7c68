//! The lab's network: streams in memory, with names, services, policies and impairments.
//!
//! Everything that talks in the lab talks here: pods, probes from outside, the kubelet, the scraper and witnesses.
//! As on a real cluster a denied new connection hangs until its caller gives up, an established one lives on, a
//! service without a ready endpoint refuses at once, the node reaches every pod, and a program that is killed resets
//! its connections. What goes to a service is carried to one of its ready endpoints by chance, each connection anew.
//! Simplified: only streams are carried; a policy bites and lets go as soon as it is stored; an address that nobody
//! has refuses. Names are resolved by a DNS that is no object: to policies it is a pod with the label
//! `k8s-app: kube-dns` in `kube-system`, port 53.

mod impair;
mod index;
mod names;
pub mod policy;
mod transport;
mod wire;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::impair::Impairments;
use self::index::{Index, Name};
use self::policy::{End, Protocol};
use self::wire::Cable;
use super::store::Store;
use crate::clock::Seed;
use crate::transport::NoAnswer;

pub use impair::{Impaired, Impairment, Peers};
pub use names::Destination;
pub use transport::FabricTransport;
pub(super) use transport::PROMETHEUS_PORT;
pub use wire::Wire;

/// How long opening a connection takes: a modelled value, of the order of a real one within a node.
pub const CONNECT_LATENCY: Duration = Duration::from_millis(1);

/// When an unanswered opening is tried again for the first time; each further wait is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// How often it is tried again: `net.ipv4.tcp_syn_retries`.
const RETRIES: u32 = 6;

/// How long a question for a name waits in vain: two attempts of 5 s, as in glibc.
const NAME_TIMEOUT: Duration = Duration::from_secs(10);

/// The address of the machine that hosts the node: where probes of a test process come from.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 1);

/// The address of the lab's node.
pub const NODE: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 2);

/// The address of the lab's Prometheus.
pub const PROMETHEUS: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 2);

/// The address of the lab's DNS.
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 3);

/// The API server's own port on the node.
pub const API_PORT: u16 = 6443;

/// Who opens a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The node itself, its kubelet for instance: no policy stops it.
    Node,
    /// An address: a pod's, the scraper's, or one outside the cluster.
    Address(Ipv4Addr),
    /// A container of the pod with this address.
    Container(Ipv4Addr, Owner),
}

impl Source {
    fn address(self) -> Ipv4Addr {
        match self {
            Self::Node => NODE,
            Self::Address(ip) | Self::Container(ip, _) => ip,
        }
    }

    fn owner(self) -> Option<Owner> {
        match self {
            Self::Container(_, owner) => Some(owner),
            Self::Node | Self::Address(_) => None,
        }
    }
}

/// One run of a program: whose connections are reset when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner(u64);

struct Listening {
    /// Tells a listener from one that has taken its place.
    number: u64,
    owner: Option<Owner>,
    queue: mpsc::UnboundedSender<Wire>,
}

/// The network. Cheap to clone.
#[derive(Clone)]
pub struct Fabric {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    index: Mutex<Index>,
    listeners: Mutex<BTreeMap<(Ipv4Addr, u16), Listening>>,
    cables: Mutex<BTreeMap<u64, Weak<Cable>>>,
    impairments: Impairments,
    choices: Mutex<Choices>,
    enforced: AtomicBool,
    next: AtomicU64,
    /// What policies see of the DNS.
    dns: Value,
}

/// What was chosen among endpoints.
struct Choices {
    rng: fastrand::Rng,
    /// By service and client, for those with session affinity: the endpoint, and when it was last asked for.
    kept: BTreeMap<(Name, Ipv4Addr), (Ipv4Addr, Instant)>,
}

/// Takes the connections to one address and port.
pub struct Listener {
    fabric: Fabric,
    at: (Ipv4Addr, u16),
    number: u64,
    queue: mpsc::UnboundedReceiver<Wire>,
}

impl Listener {
    /// The next connection; `None` once another listener has taken this one's place.
    pub async fn accept(&mut self) -> Option<Wire> {
        self.queue.recv().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = self.fabric.listeners();
        if listeners.get(&self.at).is_some_and(|listening| listening.number == self.number) {
            listeners.remove(&self.at);
        }
    }
}

impl Fabric {
    /// A network over these objects, with its chances from `seed`.
    #[must_use]
    pub fn new(store: Store, seed: Seed) -> Self {
        let shared = Shared {
            store,
            index: Mutex::default(),
            listeners: Mutex::default(),
            cables: Mutex::default(),
            impairments: Impairments::new(seed.rng("impairments")),
            choices: Mutex::new(Choices { rng: seed.rng("service endpoints"), kept: BTreeMap::new() }),
            enforced: AtomicBool::new(true),
            next: AtomicU64::new(0),
            dns: json!({
                "metadata": {"namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
                "spec": {"containers": [{"ports": [
                    {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
                ]}]},
            }),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether NetworkPolicies are enforced. Switched off, the lab is a cluster whose network plug-in ignores them.
    pub fn enforce_policies(&self, enforced: bool) {
        self.shared.enforced.store(enforced, Ordering::Relaxed);
    }

    /// A name for a program's run.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner(self.shared.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes connections to an address and port. A second listener there takes the place of the first.
    #[must_use]
    pub fn listen(&self, ip: Ipv4Addr, port: u16) -> Listener {
        self.take(None, ip, port)
    }

    /// As [`listen`](Self::listen), for a program that may be killed.
    #[must_use]
    pub fn listen_as(&self, owner: Owner, ip: Ipv4Addr, port: u16) -> Listener {
        self.take(Some(owner), ip, port)
    }

    fn take(&self, owner: Option<Owner>, ip: Ipv4Addr, port: u16) -> Listener {
        let (sender, queue) = mpsc::unbounded_channel();
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        self.listeners().insert((ip, port), Listening { number, owner, queue: sender });
        Listener { fabric: self.clone(), at: (ip, port), number, queue }
    }

    /// Resets every connection of a program, and takes its listeners away: it was killed.
    pub fn kill(&self, owner: Owner) {
        self.listeners().retain(|_, listening| listening.owner != Some(owner));
        let cables: Vec<_> = self.shared.cables().values().filter_map(Weak::upgrade).collect();
        for cable in cables.iter().filter(|cable| cable.owners.contains(&Some(owner))) {
            cable.reset();
        }
    }

    /// Opens a connection to an address, without services. One that a policy denies is tried again for 127 s, so that
    /// it is open if the policy goes meanwhile: bound it in time.
    ///
    /// # Errors
    /// Nobody listens there, or nothing has answered for 127 s.
    pub async fn connect(&self, from: Source, ip: Ipv4Addr, port: u16) -> Result<Wire, NoAnswer> {
        self.open(from, ip, port, false).await
    }

    async fn open(&self, from: Source, ip: Ipv4Addr, port: u16, by_service: bool) -> Result<Wire, NoAnswer> {
        let way = [from.address(), ip];
        let mut wait = FIRST_RETRY;
        tokio::time::sleep(CONNECT_LATENCY).await;
        for _ in 0..=RETRIES {
            if self.allows(from, ip, port, by_service)
                && let Some([there, back]) = self.shared.impairments.round_trip(&self.shared, way)
            {
                pause(there).await;
                let taken = self.deliver(from, way, port);
                pause(back).await;
                return taken;
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Err(NoAnswer::TimedOut { after: FIRST_RETRY * (2_u32.pow(RETRIES + 1) - 1) })
    }

    fn deliver(&self, from: Source, way: [Ipv4Addr; 2], port: u16) -> Result<Wire, NoAnswer> {
        let listeners = self.listeners();
        let listening = listeners.get(&(way[1], port)).ok_or(NoAnswer::Refused)?;
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let ([near, far], cable) = wire::pair(number, &self.shared, way, [from.owner(), listening.owner]);
        self.shared.cables().insert(number, cable);
        let sent = listening.queue.send(far);
        drop(listeners);
        // What was not taken is dropped here, without a lock.
        sent.map_err(|_| NoAnswer::Refused)?;
        Ok(near)
    }

    fn allows(&self, from: Source, to: Ipv4Addr, port: u16, by_service: bool) -> bool {
        let from = from.address();
        // A pod always reaches itself, unless it goes by its service.
        if !self.shared.enforced.load(Ordering::Relaxed) || from == NODE || to == NODE || (from == to && !by_service) {
            return true;
        }
        let index = self.shared.index();
        !index.has_policies() || policy::allows(index.policies(), &index.end(from), &index.end(to), port, Protocol::Tcp)
    }

    /// Whether questions for names reach the DNS.
    fn may_ask(&self, from: Source) -> bool {
        let from = from.address();
        let index = self.shared.index();
        if !self.shared.enforced.load(Ordering::Relaxed) || !index.has_policies() || index.pod(from).is_none() {
            return true;
        }
        let dns = End { ip: DNS, pod: Some(&self.shared.dns), namespace_labels: index.namespace_labels("kube-system") };
        policy::allows(index.policies(), &index.end(from), &dns, 53, Protocol::Udp)
    }

    fn listeners(&self) -> MutexGuard<'_, BTreeMap<(Ipv4Addr, u16), Listening>> {
        self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// The index, up to the store.
    fn index(&self) -> MutexGuard<'_, Index> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.follow(&self.store);
        index
    }

    fn cables(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<Cable>>> {
        self.cables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks again at what partitions hold back.
    fn retime(&self) {
        let cables: Vec<_> = self.cables().values().filter_map(Weak::upgrade).collect();
        for cable in cables {
            cable.retime(|way, sent| self.impairments.again(self, way, sent));
        }
    }
}

async fn pause(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    pub(super) fn fabric() -> Fabric {
        Fabric::new(Store::new(Clock::virtual_time(), Seed(0)), Seed(0))
    }
}
