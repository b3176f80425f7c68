//! The cluster that an experiment runs on: embedded, or over a network.
//!
//! Tests get a [`Cluster`] from `#[steadfast::test]` or [`block_on`]; `STEADFAST_CLUSTER` says
//! which one: `embedded` (the default), `kind[:NAME]`, `context:NAME` or `in-cluster`. It promises never to act on
//! a cluster that was not asked for, and to say how to get one that is asked for and not to be had.

mod choice;
mod environment;
mod error;
mod fixtures;
mod harness;
#[cfg(all(target_os = "linux", not(miri)))]
mod hook;
mod kind;
#[cfg(all(target_os = "linux", not(miri)))]
mod leash;
#[cfg(feature = "lab")]
mod monitoring;
mod namespace;
mod needs;
mod network;
mod queue;
#[cfg(feature = "lab")]
mod shop;
mod sweep;
#[cfg(feature = "cli")]
mod swept;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use serde::Serialize;

use crate::clock::{Clock, Seed};
use crate::kubernetes::{Beat, Holding, Kubernetes, Node};
#[cfg(feature = "lab")]
use crate::lab::Lab;
use crate::transport::Transport;

pub use choice::Target;
pub use error::ClusterError;
pub use fixtures::{ManifestError, NotYet, OwnNamespace, Port};
#[cfg(feature = "lab")]
pub use harness::block_on;
#[cfg(feature = "cli")]
pub(crate) use harness::real_time;
pub use harness::{run_test, run_test_on};
pub use kind::{Kind, KindError};
pub use namespace::Namespace;
pub use needs::not_left_out;
use network::NetworkCluster;
#[cfg(feature = "lab")]
pub use shop::{SHOP_IMAGE, SHOP_NODE_PORT, shop, shop_image, shop_in};
#[cfg(feature = "cli")]
#[cfg(test)]
pub(crate) use swept::Undone;
#[cfg(feature = "cli")]
pub(crate) use swept::{Life, RunOnCluster, SweepMode, SweepOfContext, context_to_sweep, sweep_context};

/// A cluster to experiment on. Cheap to clone; all clones are the same cluster.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    ground: Ground,
    kubernetes: Kubernetes,
    transport: Arc<dyn Transport>,
    clock: Clock,
    seed: Seed,
    outputs: std::path::PathBuf,
    beat: Beat,
    /// The process of its runs; another than this one if they reach it as from elsewhere.
    process: String,
    runs: AtomicU32,
    /// The journals that were given a name.
    journals: AtomicU32,
    /// What the last run came to that broke off: a test that fails of it shows this.
    broken: Arc<Mutex<Option<String>>>,
}

enum Ground {
    #[cfg(feature = "lab")]
    Embedded(Lab),
    Network(Box<NetworkCluster>),
}

impl Cluster {
    /// The cluster that `STEADFAST_CLUSTER` asks for, embedded by default.
    ///
    /// # Errors
    /// It is not to be had; the message names the remedy.
    pub async fn from_env() -> Result<Self, ClusterError> {
        Self::open(&Target::from_env()?, "experiment").await
    }

    /// An empty embedded cluster on the runtime of the caller. On a paused clock it lives in virtual time.
    ///
    /// # Errors
    /// `STEADFAST_SEED` is no number.
    #[cfg(feature = "lab")]
    pub fn embedded() -> Result<Self, ClusterError> {
        Self::embedded_with(Clock::real(), Seed::from_env()?, "experiment")
    }

    #[cfg(feature = "lab")]
    pub(crate) fn embedded_with(clock: Clock, seed: Seed, test: &str) -> Result<Self, ClusterError> {
        Ok(Self::on_lab(Lab::start(clock.clone(), seed), clock, seed, test))
    }

    #[cfg(feature = "lab")]
    pub(crate) fn on_lab(lab: Lab, clock: Clock, seed: Seed, test: &str) -> Self {
        let kubernetes = Kubernetes::new(lab.client());
        let (transport, outputs) = (lab.transport(), crate::publish::folder(test));
        let inner = Inner {
            ground: Ground::Embedded(lab),
            kubernetes,
            transport,
            clock,
            seed,
            outputs,
            beat: Beat::default(),
            process: crate::rollback::this_process().unwrap_or_default(),
            runs: AtomicU32::new(0),
            journals: AtomicU32::new(0),
            broken: Arc::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The cluster of a target; outputs go to a folder named after `test`.
    ///
    /// # Errors
    /// It is not to be had; the message names the remedy.
    pub async fn open(target: &Target, test: &str) -> Result<Self, ClusterError> {
        let context = match target {
            #[cfg(feature = "lab")]
            Target::Embedded => return Self::embedded_with(Clock::real(), Seed::from_env()?, test),
            #[cfg(not(feature = "lab"))]
            Target::Embedded => return Err(ClusterError::WithoutLab),
            Target::Kind(name) => return Self::kind(name).open(test).await,
            other => choice::context(other).await?,
        };
        Self::on_network(NetworkCluster::open(context, None).await?, test)
    }

    /// The cluster of the kubeconfig's current context, if that is clearly one for tests.
    #[cfg(feature = "cli")]
    pub(crate) async fn current(test: &str) -> Result<Self, ClusterError> {
        let context = crate::kubernetes::Context::current().await?;
        Self::on_network(NetworkCluster::open(context, None).await?, test)
    }

    /// A kind cluster on this machine, by name; see [`Kind`].
    pub fn kind(name: impl Into<String>) -> Kind {
        Kind::new(name)
    }

    fn on_network(network: NetworkCluster, test: &str) -> Result<Self, ClusterError> {
        let (kubernetes, transport) = (network.kubernetes()?, network.transport()?);
        let inner = Inner {
            ground: Ground::Network(Box::new(network)),
            kubernetes,
            transport,
            clock: Clock::real(),
            seed: Seed::from_env_or_entropy()?,
            outputs: crate::publish::folder(test),
            beat: Beat::from_env()?,
            process: crate::rollback::this_process().unwrap_or_default(),
            runs: AtomicU32::new(0),
            journals: AtomicU32::new(0),
            broken: Arc::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The name of the kind cluster, if this is one.
    #[must_use]
    pub fn kind_name(&self) -> Option<&str> {
        match &self.inner.ground {
            #[cfg(feature = "lab")]
            Ground::Embedded(_) => None,
            Ground::Network(network) => network.kind(),
        }
    }

    /// Where a node port of a kind cluster is on this machine.
    #[cfg(feature = "prometheus")]
    fn mapped(&self, node_port: u16) -> Option<std::net::SocketAddr> {
        match &self.inner.ground {
            #[cfg(feature = "lab")]
            Ground::Embedded(_) => None,
            Ground::Network(network) => network.mapped(node_port),
        }
    }

    /// Brings an image of this machine into the cluster, unless it is there. Only kind clusters can be given one.
    ///
    /// # Errors
    /// It is no kind cluster, the image is not on this machine, or kind fails.
    pub async fn load_image(&self, image: &str) -> Result<(), ClusterError> {
        let Some(name) = self.kind_name() else {
            let cluster = crate::experiment::Environment::describe(self);
            return Err(ClusterError::TakesNoImages { cluster });
        };
        Ok(kind::Images::of(name).load(image).await?)
    }

    /// Makes an image of one static program, which is what it runs, and brings it into the cluster.
    ///
    /// # Errors
    /// As [`load_image`](Self::load_image); or the program is no static one, or docker fails.
    pub async fn build_image_from_scratch(
        &self,
        image: &str,
        program: impl AsRef<std::path::Path>,
    ) -> Result<(), ClusterError> {
        let (name, program) = (image.to_owned(), program.as_ref().to_owned());
        kind::blocking(move || kind::from_scratch(&name, &program)).await?;
        self.load_image(image).await
    }

    /// A namespace of it; that it exists is seen when it is used.
    #[must_use]
    pub fn namespace(&self, name: impl Into<String>) -> Namespace {
        Namespace::new(self.clone(), name.into())
    }

    /// A node of it; that it exists is seen when it is used.
    pub fn node(&self, name: impl Into<String>) -> Node {
        Node::new(self.inner.kubernetes.clone(), name.into())
    }

    /// The API of the cluster.
    #[must_use]
    pub fn kubernetes(&self) -> &Kubernetes {
        &self.inner.kubernetes
    }

    /// A client for the API of the cluster.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.inner.kubernetes.client().clone()
    }

    /// The clock that experiments on it follow.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The embedded lab, to say what images run there.
    ///
    /// # Errors
    /// The cluster is a real one.
    #[cfg(feature = "lab")]
    pub fn lab(&self) -> Result<&Lab, ClusterError> {
        match &self.inner.ground {
            Ground::Embedded(lab) => Ok(lab),
            Ground::Network(network) => Err(ClusterError::NotTheLab { cluster: network.describe() }),
        }
    }

    /// Creates or updates an object by server-side apply: a typed object of `k8s-openapi`, or JSON.
    ///
    /// # Errors
    /// It is no object, its kind is unknown to the cluster, or the API refuses it.
    pub async fn apply(&self, object: &impl Serialize) -> Result<(), ClusterError> {
        fixtures::apply(&self.inner.kubernetes, object).await
    }

    /// What a run's hold on a place of this cluster needs.
    fn holding(&self) -> Holding {
        let (kubernetes, clock, beat) = (self.inner.kubernetes.clone(), self.inner.clock.clone(), self.inner.beat);
        let process = self.inner.process.clone();
        match &self.inner.ground {
            #[cfg(feature = "lab")]
            Ground::Embedded(_) => {
                let own = kubernetes.clone();
                Holding {
                    kubernetes,
                    clock,
                    beat,
                    process,
                    // On the lab's own runtime: there alone is its time.
                    spawn: Arc::new(|task| drop(tokio::spawn(task))),
                    aside: Arc::new(move || Ok(own.clone())),
                    sweep: self.inner.kubernetes.sweep().to_owned(),
                }
            }
            Ground::Network(network) => {
                let context = network.context().clone();
                Holding {
                    kubernetes,
                    clock,
                    beat,
                    process,
                    sweep: self.inner.kubernetes.sweep().to_owned(),
                    spawn: Arc::new(crate::rollback::on_the_reaper),
                    aside: Arc::new(move || Ok(context.connect()?)),
                }
            }
        }
    }

    /// This embedded cluster as a process elsewhere has it: runs reach it, and undo on it, through this client alone.
    /// For tests of what is left when such a process dies, or the network to it.
    ///
    /// # Errors
    /// It is a real cluster.
    #[cfg(feature = "lab")]
    #[doc(hidden)]
    pub fn from_elsewhere(&self, client: kube::Client, process: &str, beat: Beat) -> Result<Self, ClusterError> {
        let inner = Inner {
            ground: Ground::Embedded(self.lab()?.clone()),
            kubernetes: Kubernetes::new(client),
            transport: self.inner.transport.clone(),
            clock: self.inner.clock.of_another_machine(),
            seed: self.inner.seed,
            outputs: self.inner.outputs.join(process),
            beat,
            process: process.to_owned(),
            runs: AtomicU32::new(self.next_run() * 1_000),
            journals: AtomicU32::new(0),
            broken: Arc::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether runs undo through the API of the embedded cluster instead of by plain calls.
    #[cfg(feature = "lab")]
    fn is_elsewhere(&self) -> bool {
        self.inner.process != crate::rollback::this_process().unwrap_or_default()
    }

    /// `journal.json`, then `journal-2.json`.
    fn next_journal(&self) -> std::path::PathBuf {
        match self.inner.journals.fetch_add(1, Ordering::Relaxed) {
            0 => "journal.json".into(),
            before => format!("journal-{}.json", before + 1).into(),
        }
    }

    pub(crate) fn next_run(&self) -> u32 {
        self.inner.runs.fetch_add(1, Ordering::Relaxed) + 1
    }
}
