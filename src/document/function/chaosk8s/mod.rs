//! The functions of chaosk8s.

mod chaosmesh;
mod crd;
mod daemonset;
mod deployment;
mod drain;
mod facade;
mod manifest;
mod networking;
mod node;
mod objects;
mod plain;
mod pod;
mod ready;
mod replicas;
mod service;
mod statefulset;

use super::{Call, Failed, Function, Stage};
use crate::cluster::Cluster;
use crate::kubernetes::Kubernetes;
use crate::rollback::ObjectRef;

pub(crate) use pod::log_selector;

/// The functions, by module.
pub(super) static FUNCTIONS: &[&[Function]] = &[
    chaosmesh::NETWORK_ACTIONS,
    chaosmesh::NETWORK_PROBES,
    chaosmesh::STRESS_ACTIONS,
    chaosmesh::STRESS_PROBES,
    crd::ACTIONS,
    crd::PROBES,
    daemonset::ACTIONS,
    daemonset::PROBES,
    deployment::ACTIONS,
    deployment::PROBES,
    facade::ACTIONS,
    facade::PROBES,
    networking::ACTIONS,
    networking::PROBES,
    node::ACTIONS,
    node::PROBES,
    pod::TERMINATE,
    pod::EXEC,
    pod::LOGS,
    pod::STATE,
    pod::FOUND,
    service::ACTIONS,
    service::PROBES,
    service::SECRET_ACTIONS,
    service::SECRET_PROBES,
    service::NAMESPACE_ACTIONS,
    service::NAMESPACE_PROBES,
    service::EVENT_PROBES,
    statefulset::ACTIONS,
    statefulset::PROBES,
    statefulset::REPLICA_SETS,
];

/// A kind of object, as its address has it: api version, kind, plural.
type Of = (&'static str, &'static str, &'static str);

const DAEMON_SET: Of = ("apps/v1", "DaemonSet", "daemonsets");
const DEPLOYMENT: Of = ("apps/v1", "Deployment", "deployments");
const INGRESS: Of = ("networking.k8s.io/v1", "Ingress", "ingresses");
const NAMESPACE: Of = ("v1", "Namespace", "namespaces");
const NETWORK_POLICY: Of = ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies");
const NODE: Of = ("v1", "Node", "nodes");
const POD: Of = ("v1", "Pod", "pods");
const REPLICA_SET: Of = ("apps/v1", "ReplicaSet", "replicasets");
const SECRET: Of = ("v1", "Secret", "secrets");
const SERVICE: Of = ("v1", "Service", "services");
const STATEFUL_SET: Of = ("apps/v1", "StatefulSet", "statefulsets");

/// An object of a kind; `None` for the namespace of one that lies in none.
fn object((api_version, kind, resource): Of, namespace: Option<&str>, name: &str) -> ObjectRef {
    ObjectRef {
        api_version: api_version.into(),
        kind: kind.into(),
        resource: resource.into(),
        namespace: namespace.map(str::to_owned),
        name: name.into(),
    }
}

impl<'a> Stage<'a> {
    fn kubernetes(&self) -> &'a Kubernetes {
        self.cluster.map(Cluster::kubernetes).expect("a function that needs a cluster is refused without one")
    }
}

impl Stage<'_> {
    /// Ends the document's own fault on an object; false if it has none there, or has none there any more.
    async fn end(&self, object: &ObjectRef) -> Result<bool, Failed> {
        Ok(self.guards.end(object).await? || self.guards.has_undone(object))
    }
}
