//! The cluster that a document acts on.

use crate::Error;
use crate::clock::{Clock, Seed};
use crate::cluster::{Cluster, ClusterError, Target};

/// Where a document is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// The document acts on no cluster.
    None,
    /// What `--cluster` or `STEADFAST_CLUSTER` says.
    Target(Target),
    /// The kubeconfig's current context, if it is clearly one for tests.
    Current,
}

impl Chosen {
    /// What was asked for, else what the environment says, else the current context, if a cluster is needed at all.
    pub(super) fn of(asked: Option<&str>, needed: bool) -> Result<Self, ClusterError> {
        let environment = crate::variables::text("STEADFAST_CLUSTER");
        match asked.map(str::to_owned).or(environment) {
            Some(text) => Ok(Self::Target(text.parse()?)),
            None if needed => Ok(Self::Current),
            None => Ok(Self::None),
        }
    }

    /// Whether it runs in virtual time.
    pub(super) fn is_virtual(&self) -> bool {
        *self == Self::Target(Target::Embedded)
    }

    /// Opens it. The embedded one has the shop in `default`.
    pub(super) async fn open(&self) -> Result<Option<Cluster>, Error> {
        match self {
            Self::None => Ok(None),
            Self::Target(Target::Embedded) => {
                let seed = Seed::from_env().map_err(ClusterError::from)?;
                let cluster = Cluster::embedded_with(Clock::virtual_time(), seed, "run")?;
                crate::shop(&cluster).await?;
                Ok(Some(cluster))
            }
            Self::Target(target) => Ok(Some(Cluster::open(target, "run").await?)),
            Self::Current => Ok(Some(Cluster::current("run").await?)),
        }
    }
}
