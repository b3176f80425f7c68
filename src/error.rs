//! The root error, for tests.

use crate::BoxError;

/// Anything that a test of this crate may fail with; `?` takes the errors of all its modules.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The experiment could not be run to its end, or not be undone.
    #[error(transparent)]
    Experiment(#[from] crate::experiment::ExperimentError),
    /// The cluster is not to be had, or does not do what was asked.
    #[cfg(feature = "kubernetes")]
    #[error(transparent)]
    Cluster(#[from] crate::cluster::ClusterError),
    /// A selection or an object of Kubernetes.
    #[cfg(feature = "kubernetes")]
    #[error(transparent)]
    Kubernetes(#[from] crate::kubernetes::KubernetesError),
    /// The cluster's API, asked through a client of the test.
    #[cfg(feature = "kubernetes")]
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// A journal that cannot be stored or read.
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] crate::rollback::LedgerError),
    /// A file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A rule for the lab's Prometheus.
    #[cfg(feature = "lab")]
    #[error(transparent)]
    Rule(#[from] crate::lab::BadRule),
    /// Samples for the lab's Prometheus.
    #[cfg(feature = "lab")]
    #[error(transparent)]
    Samples(#[from] crate::lab::BadSamples),
    /// A fixture in a container.
    #[cfg(feature = "testcontainers")]
    #[error(transparent)]
    Container(#[from] crate::prometheus::ContainerError),
    /// Anything else.
    #[error("{0}")]
    Other(BoxError),
}

/// libtest prints an error by its `Debug`: people should read the message.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl From<BoxError> for Error {
    fn from(error: BoxError) -> Self {
        Self::Other(error)
    }
}

/// What a test returns.
pub type Result<T = ()> = std::result::Result<T, Error>;
