//! The cluster that a document acts on.

use crate::Error;
use crate::clock::{Clock, Seed};
use crate::cluster::{Cluster, ClusterError, Target, real_time};

/// Where a document is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// The document acts on no cluster.
    None,
    /// The embedded one, in virtual time unless `STEADFAST_REAL_TIME` says otherwise.
    Embedded {
        /// Whether time is the machine's.
        real: bool,
    },
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
            Some(text) => Ok(match text.parse()? {
                Target::Embedded => Self::Embedded { real: real_time()? },
                target => Self::Target(target),
            }),
            None if needed => Ok(Self::Current),
            None => Ok(Self::None),
        }
    }

    /// Whether it runs in virtual time.
    pub(super) fn is_virtual(&self) -> bool {
        *self == Self::Embedded { real: false }
    }

    /// Opens it. The embedded one has the shop in `default`.
    pub(super) async fn open(&self) -> Result<Option<Cluster>, Error> {
        match self {
            Self::None => Ok(None),
            Self::Embedded { real } => {
                let seed = Seed::from_env().map_err(ClusterError::from)?;
                let clock = if *real { Clock::real() } else { Clock::virtual_time() };
                let cluster = Cluster::embedded_with(clock, seed, "run")?;
                crate::shop(&cluster).await?;
                Ok(Some(cluster))
            }
            Self::Target(target) => Ok(Some(Cluster::open(target, "run").await?)),
            Self::Current => Ok(Some(Cluster::current("run").await?)),
        }
    }
}
