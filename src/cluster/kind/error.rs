//! What can be wrong with a kind cluster.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::rollback::LedgerError;

/// A kind cluster, or an image for it, that is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KindError {
    /// A program is missing.
    #[error("{program} is not on the PATH; install it ({from}), or set STEADFAST_CLUSTER=embedded")]
    NoProgram {
        /// The program.
        program: &'static str,
        /// Where it is from.
        from: &'static str,
    },
    /// No Docker engine answers.
    #[error("no Docker engine answers ({why}); start it, or set STEADFAST_CLUSTER=embedded")]
    NoDocker {
        /// What docker said.
        why: String,
    },
    /// The name cannot be a cluster's.
    #[error("{name:?} is no name for a kind cluster; use lower case letters, digits, '-' and '.'")]
    BadName {
        /// The name.
        name: String,
    },
    /// The cluster was made from another configuration.
    #[error(
        "kind cluster {name} was made from another configuration than {config}; delete it with `kind delete cluster --name {name}` and run again"
    )]
    OtherConfig {
        /// The cluster.
        name: String,
        /// The configuration asked for.
        config: PathBuf,
    },
    /// A port of the configuration is taken.
    #[error(
        "failed to create kind cluster {name}: port {port} of this machine is taken; stop what listens there, or choose another hostPort in the kind configuration"
    )]
    PortTaken {
        /// The cluster.
        name: String,
        /// The port.
        port: String,
    },
    /// The node image cannot be had.
    #[error(
        "failed to create kind cluster {name}: its node image cannot be had ({why}); load it with `docker load`, or name one with STEADFAST_KIND_IMAGE"
    )]
    NoImage {
        /// The cluster.
        name: String,
        /// What docker said.
        why: String,
    },
    /// The node did not start.
    #[error(
        "failed to create kind cluster {name}: its node did not start ({why}); is {image} a node image of kind, and are memory and disk free?"
    )]
    NoNode {
        /// The cluster.
        name: String,
        /// The node image.
        image: String,
        /// What kind said.
        why: String,
    },
    /// The configuration cannot be read.
    #[error(
        "failed to read the kind configuration {path}: {source}; name a file that is there, or none for the built-in one"
    )]
    NoConfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration is none.
    #[error(
        "kind refuses the configuration {config} of cluster {name}: {why}; see https://kind.sigs.k8s.io/docs/user/configuration"
    )]
    BadConfig {
        /// The cluster.
        name: String,
        /// The file.
        config: PathBuf,
        /// What kind said.
        why: String,
    },
    /// The cluster did not get ready.
    #[error("kind cluster {name} was not ready within {within:?}; the machine may be short of memory")]
    NotReady {
        /// The cluster.
        name: String,
        /// How long was waited.
        within: Duration,
    },
    /// A run was killed while it made a cluster of this name; nothing proves that this is what it left.
    #[error(
        "kind cluster {name} is there, and {record} is of another of this name that was left half-made; to use the one that is there, remove that file, else delete it with `kind delete cluster --name {name}`; then run again"
    )]
    NotProved {
        /// The cluster.
        name: String,
        /// What is remembered of the other one.
        record: PathBuf,
    },
    /// Its nodes are stopped, and cannot be started.
    #[error(
        "kind cluster {name} is stopped and does not start: {why}; delete it with `kind delete cluster --name {name}` and run again"
    )]
    Stopped {
        /// The cluster.
        name: String,
        /// What docker said.
        why: String,
    },
    /// Its nodes run, its API server does not.
    #[error(
        "kind cluster {name} does not answer within {within:?}: {why}; see `docker logs {name}-control-plane`, or delete it with `kind delete cluster --name {name}` and run again"
    )]
    NotAnswering {
        /// The cluster.
        name: String,
        /// How long was waited.
        within: Duration,
        /// What was seen last.
        why: String,
    },
    /// A program failed.
    #[error("failed to {doing}: {why}")]
    Failed {
        /// What was done.
        doing: String,
        /// What the program said.
        why: String,
    },
    /// An image that is to be loaded is not on this machine.
    #[error("image {image} is not on this machine; build it, or get it with `docker pull {image}`")]
    ImageMissing {
        /// The image.
        image: String,
    },
    /// A program for an image from scratch needs a dynamic linker that the image has not.
    #[error(
        "{path} is no static program; build it with RUSTFLAGS=\"-C target-feature=+crt-static\" and an explicit --target"
    )]
    NotStatic {
        /// The program.
        path: PathBuf,
    },
    /// A file of the state folder, or a configuration, cannot be used.
    #[error("failed to {doing} {path}: {source}")]
    File {
        /// What was done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The state folder cannot be used.
    #[error("{0}")]
    State(String),
    /// There is no state folder.
    #[error(transparent)]
    NoState(#[from] LedgerError),
}

impl KindError {
    pub(super) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { doing, path, source }
    }
}

impl KindError {
    /// Whether a name or a file is wrong, so that the remedy is to call again with another.
    #[cfg(feature = "cli")]
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::BadName { .. } | Self::OtherConfig { .. } | Self::NoConfig { .. } | Self::BadConfig { .. })
    }
}
