//! Services, and how they are reached from outside a cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::future::BoxFuture;
use http::Uri;
use k8s_openapi::api::core::v1::Service as ServiceObject;
use kube::Api;

use super::Kubernetes;
use crate::transport::{Address, Error, Resolve};

/// A service of a namespace.
#[derive(Clone)]
pub struct Service {
    /// The cluster, where one is known: an address needs none.
    pub(super) kubernetes: Option<Kubernetes>,
    pub(super) namespace: String,
    pub(super) name: String,
    port: Option<u16>,
}

impl Service {
    /// The service `name`; that it exists is seen when it is used.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kubernetes: None, namespace: namespace.into(), name: name.into(), port: None }
    }

    /// The service of a cluster, so that faults can change it.
    pub(crate) fn of(kubernetes: Kubernetes, namespace: &str, name: &str) -> Self {
        Self { kubernetes: Some(kubernetes), ..Self::new(namespace, name) }
    }

    /// One of its ports, if it has several.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// The address of a path on it: for probes and loads.
    #[must_use]
    pub fn url(&self, path: &str) -> Address {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Address::Service { namespace: self.namespace.clone(), name: self.name.clone(), port: self.port, path }
    }
}

/// Reaches a cluster's services through their node ports on this machine, as kind's port mappings make them.
#[derive(Clone)]
pub struct NodePorts {
    kubernetes: Kubernetes,
    host: String,
    mapped: Option<BTreeMap<u16, SocketAddr>>,
}

impl NodePorts {
    /// Node ports that are open on `host`.
    #[must_use]
    pub fn new(kubernetes: Kubernetes, host: impl Into<String>) -> Self {
        Self { kubernetes, host: host.into(), mapped: None }
    }

    /// Only these node ports are open, each where it is mapped to.
    #[must_use]
    pub fn mapped(mut self, ports: BTreeMap<u16, SocketAddr>) -> Self {
        self.mapped = Some(ports);
        self
    }
}

impl Resolve for NodePorts {
    fn resolve<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Uri, Error>> {
        Box::pin(async move {
            let Address::Service { namespace, name, port, path } = address else {
                return Err(Error::Client(format!("{address} is no service")));
            };
            let why = |why: &str| Error::ServicePort {
                namespace: namespace.clone(),
                name: name.clone(),
                why: why.to_owned(),
            };
            let api: Api<ServiceObject> = Api::namespaced(self.kubernetes.client().clone(), namespace);
            let found = api.get_opt(name).await.map_err(|error| why(&format!("cannot be read: {error}")))?;
            let Some(service) = found else {
                let all = api.list(&Default::default()).await.map(|list| list.items).unwrap_or_default();
                let known: Vec<_> = all.into_iter().filter_map(|s| s.metadata.name).collect();
                let (namespace, name) = (namespace.clone(), name.clone());
                return Err(Error::NoSuchService { namespace, name, known: known.join(", ") });
            };
            let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
            let chosen = match port {
                Some(port) => {
                    ports.iter().find(|p| p.port == i32::from(*port)).ok_or_else(|| why("has no such port"))?
                }
                None if ports.len() > 1 => return Err(why("has several ports; name one with `.port(PORT)`")),
                None => ports.first().ok_or_else(|| why("has no ports"))?,
            };
            let remedy = "has no node port; use `namespace.port_of_service(..)`, or make it a Service of type NodePort on a port that kind maps to this machine";
            let node_port = chosen.node_port.and_then(|port| u16::try_from(port).ok()).ok_or_else(|| why(remedy))?;
            let at = match &self.mapped {
                None => format!("{}:{node_port}", self.host),
                Some(mapped) => {
                    let unmapped = || {
                        why(&format!(
                            "has node port {node_port}, which the kind cluster does not map to this machine; map it by `extraPortMappings` of its configuration, or use `namespace.port_of_service(..)`"
                        ))
                    };
                    mapped.get(&node_port).ok_or_else(unmapped)?.to_string()
                }
            };
            format!("http://{at}{path}").parse().map_err(|_| why("has no usable address"))
        })
    }
}
