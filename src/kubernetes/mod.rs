//! Faults and reads on Kubernetes, through `kube::Client` alone.
//!
//! Called with a [`Kubernetes`] handle, which the embedded lab and a cluster over a network both give. It promises:
//! never to act on a context that was not named; to refuse an empty selection and one that is too large before
//! anything is touched; and to label whatever it creates, so that only that is undone.

mod access;
mod context;
mod copies;
mod deployment;
mod faults;
mod forward;
mod hold;
#[cfg(feature = "cli")]
mod let_go;
mod logs;
mod mark;
mod node;
mod pods;
mod reported;
mod selector;
mod service;
mod traced;
mod undo;
mod witness;

pub(crate) use access::WITNESS_IMAGE_VARIABLE;
pub use access::{Kubernetes, KubernetesError};
pub use context::{Context, ContextError};
pub use deployment::Deployment;
pub use faults::{
    Blackhole, ChangeObject, Cordon, CreateObject, DeleteObject, DeletePods, DenyTraffic, Direction, EvictPods, Impair,
    ObjectPatch, Scale,
};
pub(crate) use forward::{Backend, Forward};
pub use hold::{BadBeat, Beat, Fate, Holder, LeaseError, Leftover, On, fates, leftovers};
pub(crate) use hold::{Holding, PlaceHold, namespace_of};
pub use logs::{LogLine, PodLogs};
pub use mark::{deletion, metadata};
pub use node::Node;
pub use pods::Pods;
#[cfg(feature = "cli")]
pub(crate) use pods::{CAP_PERCENT, refuse_protected};
pub(crate) use reported::events;
pub use selector::{Selector, SelectorError};
pub use service::{Service, ServiceAddresses};
pub(crate) use traced::Traced;
pub use undo::KubeUndoer;
pub use witness::WITNESS_IMAGE;

pub use crate::transport::install_crypto_provider;
