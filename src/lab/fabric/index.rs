//! What a connection needs to know of the objects, kept up with the store change by change.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::Value;

use super::policy::{End, Policy};
use crate::lab::resource::{ENDPOINT_SLICES, NAMESPACES, NETWORK_POLICIES, PODS, Resource, SERVICES};
use crate::lab::store::{ChangeKind, Object, Store};

/// A namespace and a name.
pub(super) type Name = (String, String);

/// The objects, by what connections ask for.
#[derive(Default)]
pub(super) struct Index {
    /// The version of the store that it shows.
    version: u64,
    /// Pods that have an address of their own.
    pods: BTreeMap<Ipv4Addr, Object>,
    namespaces: BTreeMap<String, Object>,
    policies: BTreeMap<Name, Policy>,
    services: BTreeMap<Name, Object>,
    cluster_ips: BTreeMap<Ipv4Addr, Name>,
    /// The service of a node port, and its port.
    node_ports: BTreeMap<u16, (Name, u16)>,
    /// By service, then by the slice's own name.
    slices: BTreeMap<Name, BTreeMap<String, Vec<Endpoint>>>,
}

/// One ready endpoint of a service, for one of its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) ip: Ipv4Addr,
    /// The service's name of the port, empty for the only one; `None` if the slice has no ports.
    pub(super) port: Option<(String, u16)>,
    /// What the pod is called below a headless service.
    pub(super) hostname: Option<String>,
}

impl Index {
    /// Brings it up to the store.
    pub(super) fn follow(&mut self, store: &Store) {
        if store.version() == self.version {
            return;
        }
        let Ok(changes) = store.changes_since(self.version) else {
            *self = Self::default();
            self.version = store.version();
            for (resource, object) in store.everything() {
                self.put(resource, &object);
            }
            return;
        };
        for change in changes {
            self.version = change.version;
            if let Some(before) = &change.before {
                self.remove(change.resource, before);
            }
            if change.kind != ChangeKind::Deleted {
                self.put(change.resource, &change.object);
            }
        }
    }

    fn put(&mut self, resource: &'static Resource, object: &Object) {
        if resource.is(&PODS) {
            if let Some(ip) = address(object) {
                self.pods.insert(ip, object.clone());
            }
        } else if resource.is(&NAMESPACES) {
            self.namespaces.insert(name(object).1, object.clone());
        } else if resource.is(&NETWORK_POLICIES) {
            self.policies.insert(name(object), Policy::read(object));
        } else if resource.is(&SERVICES) {
            for ip in cluster_ips(object) {
                self.cluster_ips.insert(ip, name(object));
            }
            for (node_port, port) in node_ports(object) {
                self.node_ports.insert(node_port, (name(object), port));
            }
            self.services.insert(name(object), object.clone());
        } else if resource.is(&ENDPOINT_SLICES)
            && let Some((service, slice)) = slice(object)
        {
            self.slices.entry(service).or_default().insert(slice, endpoints(object));
        }
    }

    fn remove(&mut self, resource: &'static Resource, object: &Object) {
        if resource.is(&PODS) {
            if let Some(ip) = address(object)
                && self.pods.get(&ip).is_some_and(|pod| pod["metadata"]["uid"] == object["metadata"]["uid"])
            {
                self.pods.remove(&ip);
            }
        } else if resource.is(&NAMESPACES) {
            self.namespaces.remove(&name(object).1);
        } else if resource.is(&NETWORK_POLICIES) {
            self.policies.remove(&name(object));
        } else if resource.is(&SERVICES) {
            for ip in cluster_ips(object) {
                self.cluster_ips.remove(&ip);
            }
            for (node_port, _) in node_ports(object) {
                self.node_ports.remove(&node_port);
            }
            self.services.remove(&name(object));
        } else if resource.is(&ENDPOINT_SLICES)
            && let Some((service, slice)) = slice(object)
            && let Some(slices) = self.slices.get_mut(&service)
        {
            slices.remove(&slice);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
    }

    /// The pod that has this address as its own.
    pub(super) fn pod(&self, ip: Ipv4Addr) -> Option<&Value> {
        self.pods.get(&ip).map(|pod| &**pod)
    }

    pub(super) fn end(&self, ip: Ipv4Addr) -> End<'_> {
        let pod = self.pod(ip);
        let namespace = pod.and_then(|pod| self.namespaces.get(pod["metadata"]["namespace"].as_str()?));
        let namespace_labels = namespace.map_or(&Value::Null, |namespace| &namespace["metadata"]["labels"]);
        End { ip, pod, namespace_labels }
    }

    /// The labels of a namespace.
    pub(super) fn namespace_labels(&self, name: &str) -> &Value {
        self.namespaces.get(name).map_or(&Value::Null, |namespace| &namespace["metadata"]["labels"])
    }

    pub(super) fn policies(&self) -> impl Iterator<Item = &Policy> + Clone {
        self.policies.values()
    }

    pub(super) fn has_policies(&self) -> bool {
        !self.policies.is_empty()
    }

    pub(super) fn service(&self, namespace: &str, name: &str) -> Option<&Object> {
        self.services.get(&(namespace.to_owned(), name.to_owned()))
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &Object> {
        self.services.values()
    }

    /// The service with this cluster address.
    pub(super) fn at_cluster_ip(&self, ip: Ipv4Addr) -> Option<&Object> {
        self.services.get(self.cluster_ips.get(&ip)?)
    }

    /// The service with this node port, and its own port.
    pub(super) fn at_node_port(&self, port: u16) -> Option<(&Object, u16)> {
        let (name, port) = self.node_ports.get(&port)?;
        Some((self.services.get(name)?, *port))
    }

    /// The ready endpoints of a service, in the order of its slices.
    pub(super) fn endpoints(&self, namespace: &str, name: &str) -> impl Iterator<Item = &Endpoint> {
        let slices = self.slices.get(&(namespace.to_owned(), name.to_owned()));
        slices.into_iter().flat_map(BTreeMap::values).flatten()
    }
}

fn name(object: &Value) -> Name {
    let part = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (part("namespace"), part("name"))
}

/// The address of a pod that still has one of its own.
fn address(pod: &Value) -> Option<Ipv4Addr> {
    let finished = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if finished || pod["spec"]["hostNetwork"] == true {
        return None;
    }
    pod["status"]["podIP"].as_str()?.parse().ok()
}

fn cluster_ips(service: &Value) -> impl Iterator<Item = Ipv4Addr> + '_ {
    service["spec"]["clusterIP"].as_str().and_then(|ip| ip.parse().ok()).into_iter()
}

fn node_ports(service: &Value) -> impl Iterator<Item = (u16, u16)> + '_ {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let number = |port: &Value, field: &str| port[field].as_u64().and_then(|port| u16::try_from(port).ok());
    ports.filter_map(move |port| Some((number(port, "nodePort")?, number(port, "port")?)))
}

/// The service of a slice, and the slice's own name.
fn slice(slice: &Value) -> Option<(Name, String)> {
    let (namespace, own) = name(slice);
    let service = slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str()?;
    Some(((namespace, service.to_owned()), own))
}

fn endpoints(slice: &Value) -> Vec<Endpoint> {
    let ports = slice["ports"].as_array().into_iter().flatten();
    let ports: Vec<_> = ports
        .filter(|port| port["protocol"].as_str().is_none_or(|protocol| protocol == "TCP"))
        .filter_map(|port| {
            let number = u16::try_from(port["port"].as_u64()?).ok()?;
            Some(Some((port["name"].as_str().unwrap_or_default().to_owned(), number)))
        })
        .collect();
    let ports = if ports.is_empty() { vec![None] } else { ports };
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let mut ready = Vec::new();
    // An absent condition means ready.
    for endpoint in endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false) {
        let Some(ip) = endpoint["addresses"][0].as_str().and_then(|ip| ip.parse().ok()) else { continue };
        let hostname = endpoint["hostname"].as_str().map(str::to_owned);
        ready.extend(ports.iter().map(|port| Endpoint { ip, port: port.clone(), hostname: hostname.clone() }));
    }
    ready
}
