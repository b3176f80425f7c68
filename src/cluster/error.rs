//! What can be wrong with a cluster.

use std::time::Duration;

use crate::clock::BadSeed;
use crate::kubernetes::{ContextError, KubernetesError};
use crate::rollback::LedgerError;

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
    /// A test runs on another kind of cluster than it needs.
    #[error("this test needs {what}, and STEADFAST_CLUSTER says {is}; run it with STEADFAST_CLUSTER={what}")]
    OtherNeeded {
        /// What it needs.
        what: &'static str,
        /// What the variable says, `embedded` where it is not set.
        is: String,
    },
    /// A test is ignored although what it needs is required.
    #[error(
        "{test} needs {what} and is not run, though STEADFAST_REQUIRE has {what}; run it with STEADFAST_CLUSTER={what} cargo test -- --include-ignored, or with STEADFAST_IGNORED=run STEADFAST_CLUSTER={what} cargo nextest run --run-ignored all"
    )]
    LeftOut {
        /// What it needs.
        what: &'static str,
        /// The test.
        test: &'static str,
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
    /// There is nothing that outlives its process.
    #[error("{target} cannot be swept: {why}")]
    NothingToSweep {
        /// What was named.
        target: String,
        /// Why, with the remedy.
        why: &'static str,
    },
    /// The Prometheus of a set-up does not scrape what it should.
    #[error("{why}; see `kubectl -n {namespace} logs deploy/prometheus`")]
    NotScraped {
        /// What it does instead.
        why: String,
        /// The namespace that it is in.
        namespace: &'static str,
    },
    /// There is no runtime to be had.
    #[error("failed to start a runtime for the test: {0}")]
    Runtime(std::io::Error),
    /// `STEADFAST_REAL_TIME` says something unknown.
    #[error("STEADFAST_REAL_TIME={text:?} is unknown; set 1 for real time on the embedded cluster, or unset it")]
    UnknownTime {
        /// What it says.
        text: String,
    },
    /// Something else than an object was to be applied.
    #[error("cannot apply this: {why}; an object has `apiVersion`, `kind` and `metadata.name`")]
    NotAnObject {
        /// What is missing.
        why: String,
    },
}

impl ClusterError {
    /// Whether a setting is wrong, so that the remedy is to call again with another.
    #[cfg(feature = "cli")]
    pub(crate) fn is_usage(&self) -> bool {
        use crate::kubernetes::ContextError;
        match self {
            Self::UnknownTarget { .. } | Self::UnknownTime { .. } | Self::Seed(_) | Self::Switch(_) => true,
            Self::Context(error) => !matches!(error, ContextError::NotAnswering { .. } | ContextError::Refused { .. }),
            Self::NotInCluster(_) | Self::NothingToSweep { .. } => true,
            Self::Kind(error) => error.is_usage(),
            _ => false,
        }
    }
}
