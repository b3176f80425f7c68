//! Which cluster.

use std::fmt;
use std::str::FromStr;

use super::ClusterError;
use crate::kubernetes::Context;

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
        crate::variables::text("STEADFAST_CLUSTER").map_or(Ok(Self::Embedded), |text| text.parse())
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
