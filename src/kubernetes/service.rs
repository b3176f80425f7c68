//! Services, and how they are reached from outside a cluster.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::Uri;
use k8s_openapi::api::core::v1::{Node, Service as ServiceObject, ServicePort};
use kube::{Api, ResourceExt};
use tokio::sync::OnceCell;

use super::{Kubernetes, KubernetesError};
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

/// Finds where a cluster's services are reached.
#[derive(Clone)]
pub struct ServiceAddresses {
    kubernetes: Kubernetes,
    from: Standpoint,
}

/// Where the services are to be reached from.
#[derive(Clone)]
enum Standpoint {
    /// A machine on which node ports are open as they are.
    NodesMachine,
    /// The machine of a kind cluster: these node ports are open, where they are mapped to.
    KindsMachine(BTreeMap<u16, SocketAddr>),
    /// A machine that may be a node's, or have a tunnel to one, once that is known.
    Loopback(Arc<OnceCell<bool>>),
    /// Anywhere else.
    Afar,
    /// A pod of the cluster.
    Inside,
}

impl ServiceAddresses {
    /// For a machine on which the node ports are open on 127.0.0.1.
    #[must_use]
    pub fn on_this_machine(kubernetes: Kubernetes) -> Self {
        Self { kubernetes, from: Standpoint::NodesMachine }
    }

    /// For the machine of a kind cluster: only these node ports are open, each where it is mapped to.
    #[must_use]
    pub fn of_kind(kubernetes: Kubernetes, mapped: BTreeMap<u16, SocketAddr>) -> Self {
        Self { kubernetes, from: Standpoint::KindsMachine(mapped) }
    }

    /// For a machine from which the API server is on loopback: a cluster of this machine, or a tunnel to another one. Its
    /// node ports are those of this machine where a node has an address of it; else it is [`from_afar`](Self::from_afar).
    #[must_use]
    pub fn on_loopback(kubernetes: Kubernetes) -> Self {
        Self { kubernetes, from: Standpoint::Loopback(Arc::default()) }
    }

    /// For a machine that has nothing to do with the cluster: by its load balancers.
    #[must_use]
    pub fn from_afar(kubernetes: Kubernetes) -> Self {
        Self { kubernetes, from: Standpoint::Afar }
    }

    /// For a pod of the cluster: by names of its DNS.
    #[must_use]
    pub fn inside(kubernetes: Kubernetes) -> Self {
        Self { kubernetes, from: Standpoint::Inside }
    }

    /// Whether an address of a node is one of this machine. Who may not look at nodes has none of them here.
    async fn has_node_here(&self) -> bool {
        let nodes: Api<Node> = Api::all(self.kubernetes.short().clone());
        let Ok(nodes) = nodes.list(&Default::default()).await else { return false };
        let addresses = nodes.into_iter().filter_map(|node| node.status?.addresses).flatten();
        let mut addresses = addresses.filter_map(|address| address.address.parse::<IpAddr>().ok());
        // The kernel lets a socket have an address of this machine alone.
        addresses.any(|address| UdpSocket::bind((address, 0)).is_ok())
    }

    /// The host and port of one port of a service, or what is in the way.
    fn at(&self, service: &ServiceObject, port: &ServicePort) -> Result<String, String> {
        const ELSE: &str = "use `namespace.port_of_service(..)`, which forwards it";
        let node_port = port.node_port.and_then(|port| u16::try_from(port).ok());
        match (&self.from, node_port) {
            (Standpoint::Inside, _) => {
                let (name, namespace) = (service.name_any(), service.namespace().unwrap_or_default());
                Ok(format!("{name}.{namespace}.svc:{}", port.port))
            }
            // What is not known to be a node's machine is not.
            (Standpoint::Loopback(here), Some(node_port)) if here.get() == Some(&true) => {
                Ok(format!("127.0.0.1:{node_port}"))
            }
            (Standpoint::Afar | Standpoint::Loopback(_), _) => {
                let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
                let ingress = status.and_then(|balancer| balancer.ingress.as_ref()?.first());
                let host = ingress.and_then(|ingress| ingress.ip.clone().or_else(|| ingress.hostname.clone()));
                let host = host.map(|host| if host.contains(':') { format!("[{host}]") } else { host });
                let none = || {
                    format!("has no load balancer by which it is reached from outside; {ELSE}, or name its URL as text")
                };
                host.map(|host| format!("{host}:{}", port.port)).ok_or_else(none)
            }
            (Standpoint::NodesMachine, Some(node_port)) => Ok(format!("127.0.0.1:{node_port}")),
            (Standpoint::NodesMachine, None) => {
                Err(format!("has no node port; {ELSE}, or make it a Service of type NodePort"))
            }
            (Standpoint::KindsMachine(_), None) => Err(format!(
                "has no node port; {ELSE}, or make it a Service of type NodePort on a port that kind maps to this machine"
            )),
            (Standpoint::KindsMachine(mapped), Some(node_port)) => {
                let unmapped = || {
                    format!(
                        "has node port {node_port}, which the kind cluster does not map to this machine; map it by `extraPortMappings` of its configuration, or {ELSE}"
                    )
                };
                mapped.get(&node_port).map(ToString::to_string).ok_or_else(unmapped)
            }
        }
    }
}

impl Resolve for ServiceAddresses {
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
                if known.is_empty()
                    && let Some(KubernetesError::NoSuchNamespace { namespace, known }) =
                        self.kubernetes.no_namespace(namespace).await
                {
                    return Err(Error::NoSuchNamespace { namespace, known });
                }
                let (namespace, name) = (namespace.clone(), name.clone());
                return Err(Error::NoSuchService { namespace, name, known: known.join(", ") });
            };
            let ports = service.spec.as_ref().and_then(|spec| spec.ports.clone()).unwrap_or_default();
            let chosen = match port {
                Some(port) => {
                    ports.iter().find(|p| p.port == i32::from(*port)).ok_or_else(|| why("has no such port"))?
                }
                None if ports.len() > 1 => return Err(why("has several ports; name one with `.port(PORT)`")),
                None => ports.first().ok_or_else(|| why("has no ports"))?,
            };
            if let Standpoint::Loopback(here) = &self.from {
                here.get_or_init(|| self.has_node_here()).await;
            }
            let at = self.at(&service, chosen).map_err(|error| why(&error))?;
            format!("http://{at}{path}").parse().map_err(|_| why("has no usable address"))
        })
    }
}
