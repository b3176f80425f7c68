//! Which cluster, and what is wrong with it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde::Serialize;

use crate::clock::BadSeed;
use crate::kubernetes::{Context, ContextError, Kubernetes, KubernetesError};
use crate::rollback::{LedgerError, ObjectRef};

/// The manager that server-side apply records for fixtures.
const FIELD_MANAGER: &str = "steadfast";

/// What `STEADFAST_CLUSTER` can say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// `embedded`: the lab in this process.
    Embedded,
    /// `kind` or `kind:NAME`: a kind cluster on this machine, `steadfast` by default.
    Kind(String),
    /// `context:NAME`: that context of the kubeconfig.
    Context(String),
    /// `in-cluster`: the cluster that this process runs in.
    InCluster,
}

impl Target {
    /// What `STEADFAST_CLUSTER` says; embedded if it is not set.
    ///
    /// # Errors
    /// It says something else.
    pub fn from_env() -> Result<Self, ClusterError> {
        match std::env::var("STEADFAST_CLUSTER") {
            Ok(text) if !text.is_empty() => text.parse(),
            _ => Ok(Self::Embedded),
        }
    }
}

impl FromStr for Target {
    type Err = ClusterError;

    fn from_str(text: &str) -> Result<Self, ClusterError> {
        match text.split_once(':') {
            None if text == "embedded" => Ok(Self::Embedded),
            None if text == "kind" => Ok(Self::Kind("steadfast".into())),
            None if text == "in-cluster" => Ok(Self::InCluster),
            Some(("kind", name)) if !name.is_empty() => Ok(Self::Kind(name.into())),
            Some(("context", name)) if !name.is_empty() => Ok(Self::Context(name.into())),
            _ => Err(ClusterError::UnknownTarget { text: text.into() }),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Kind(name) => write!(f, "kind:{name}"),
            Self::Context(name) => write!(f, "context:{name}"),
            Self::InCluster => f.write_str("in-cluster"),
        }
    }
}

impl ClusterError {
    /// Whether a setting is wrong, so that the remedy is to call again with another.
    #[cfg(feature = "cli")]
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::UnknownTarget { .. } | Self::UnknownTime { .. } | Self::Seed(_) | Self::Switch(_))
    }
}

/// A cluster that is not to be had, or does not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// `STEADFAST_CLUSTER` says something unknown.
    #[error("STEADFAST_CLUSTER={text:?} is unknown; set embedded, kind[:NAME], context:NAME or in-cluster")]
    UnknownTarget {
        /// What it says.
        text: String,
    },
    /// The crate was built without the lab.
    #[error("the embedded cluster needs the feature `lab`; turn it on, or set STEADFAST_CLUSTER to a real cluster")]
    WithoutLab,
    /// The lab's own call on a real cluster.
    #[error("{cluster} is not the embedded lab; guard lab-only set-up with `if let Ok(lab) = cluster.lab()`")]
    NotTheLab {
        /// The cluster, in words.
        cluster: String,
    },
    /// A cluster that takes no images from this machine.
    #[error(
        "{cluster} takes no images from here: on the embedded lab say `cluster.lab()?.image(..)`, elsewhere push to a registry"
    )]
    TakesNoImages {
        /// The cluster, in words.
        cluster: String,
    },
    /// The context cannot or must not be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The process is in no cluster.
    #[error("STEADFAST_CLUSTER=in-cluster, but this process runs in no cluster: {0}")]
    NotInCluster(String),
    /// The kind cluster is not to be had.
    #[error(transparent)]
    Kind(#[from] super::KindError),
    /// The API answers with an error.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// Another test of this user has the cluster for too long.
    #[error(
        "waited {within:?} for the cluster, which {holder} has; end it, or name another cluster with STEADFAST_CLUSTER"
    )]
    Busy {
        /// Who has it.
        holder: String,
        /// How long was waited.
        within: Duration,
    },
    /// The queue for the cluster cannot be used.
    #[error("failed to queue at {path}: {source}; set STEADFAST_STATE_DIR to a folder that can be written")]
    Queue {
        /// The lock.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] super::ManifestError),
    /// An object did not become what was waited for.
    #[error(transparent)]
    NotYet(#[from] Box<super::NotYet>),
    /// A namespace of a test is still there.
    #[error("namespace {namespace} is still there: {why}; delete it with `kubectl delete namespace {namespace}`")]
    NamespaceLeft {
        /// The namespace.
        namespace: String,
        /// How its deletion ended.
        why: String,
    },
    /// There is no ledger to write an undo into.
    #[error("failed to begin a ledger: {why}")]
    NoLedger {
        /// Why.
        why: crate::BoxError,
    },
    /// The network cannot be used.
    #[error(transparent)]
    Transport(#[from] crate::transport::Error),
    /// The state folder cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// `STEADFAST_SEED` is no number.
    #[error(transparent)]
    Seed(#[from] BadSeed),
    /// `STEADFAST_SWITCH` says something unknown.
    #[error(transparent)]
    Switch(#[from] crate::kubernetes::BadBeat),
    /// `STEADFAST_REAL_TIME` says something unknown.
    #[error("STEADFAST_REAL_TIME={text:?} is unknown; set 1 for real time on the embedded cluster, or unset it")]
    UnknownTime {
        /// What it says.
        text: String,
    },
    /// Deployments that do not get ready.
    #[error("deployments in namespace {namespace} are not ready after {within:?}: {seen}; see `kubectl describe pods`")]
    NotReady {
        /// The namespace.
        namespace: String,
        /// How long was waited.
        within: std::time::Duration,
        /// How far each has come.
        seen: String,
    },
    /// Something else than an object was to be applied.
    #[error("cannot apply this: {why}; an object has `apiVersion`, `kind` and `metadata.name`")]
    NotAnObject {
        /// What is missing.
        why: String,
    },
}

/// The context of a target over a network.
pub(super) async fn context(target: &Target) -> Result<Context, ClusterError> {
    match target {
        Target::Context(name) => {
            let remedy = "See `kubectl config get-contexts`, or set STEADFAST_CLUSTER=embedded.";
            Ok(Context::named(name, remedy).await?)
        }
        Target::InCluster => Context::in_cluster().map_err(|why| ClusterError::NotInCluster(why.to_string())),
        Target::Embedded | Target::Kind(_) => Err(ClusterError::WithoutLab),
    }
}

/// Server-side apply of one object.
pub(super) async fn apply(kubernetes: &Kubernetes, object: &impl Serialize) -> Result<(), ClusterError> {
    let no_object = |why: String| ClusterError::NotAnObject { why };
    let value = serde_json::to_value(object).map_err(|e| no_object(e.to_string()))?;
    let text = |pointer: &str| value.pointer(pointer).and_then(serde_json::Value::as_str);
    let needed =
        |pointer: &str| text(pointer).map(str::to_owned).ok_or_else(|| no_object(format!("it has no {pointer}")));
    let (api_version, kind, name) = (needed("/apiVersion")?, needed("/kind")?, needed("/metadata/name")?);
    let namespace = text("/metadata/namespace").map(str::to_owned);
    let resource = kubernetes.plural(&api_version, &kind).await?;
    let object = ObjectRef { api_version, kind, resource, namespace, name };
    kubernetes.apply(&object, &value, FIELD_MANAGER).await?;
    Ok(())
}

/// Asks again and again: a watch would have to be begun anew whenever it ends.
pub(super) async fn wait_for_deployments(
    cluster: &super::Cluster,
    namespace: &str,
    names: &[&str],
    within: Duration,
) -> Result<(), ClusterError> {
    const ASK_EVERY: Duration = Duration::from_millis(50);
    let api: Api<Deployment> = Api::namespaced(cluster.client(), namespace);
    let deadline = cluster.clock().elapsed() + within;
    loop {
        let mut waiting = Vec::new();
        for name in names {
            let doing = format!("read deployment {namespace}/{name}");
            let deployment = api.get(name).await.map_err(KubernetesError::api(doing))?;
            let wanted = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
            let status = deployment.status.unwrap_or_default();
            let ready = status.ready_replicas.unwrap_or(0);
            if ready < wanted || status.observed_generation < deployment.metadata.generation {
                waiting.push(format!("{name} has {ready} of {wanted} replicas ready"));
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        if cluster.clock().elapsed() >= deadline {
            let seen = waiting.join(", ");
            return Err(ClusterError::NotReady { namespace: namespace.to_owned(), within, seen });
        }
        cluster.clock().sleep(ASK_EVERY).await;
    }
}
