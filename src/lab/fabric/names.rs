//! Names and services.

use std::net::Ipv4Addr;
use std::sync::PoisonError;

use serde_json::Value;

use super::{Fabric, Source};
use crate::lab::resource::{ENDPOINT_SLICES, PODS, SERVICES};
use crate::lab::store::Object;
use crate::transport::NoAnswer;

/// Where a connection ends, after names and services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An address and port.
    At(Ipv4Addr, u16),
    /// A service that has no ready endpoint: it refuses.
    Nobody,
}

impl Fabric {
    /// Opens a connection by name: an address, or a service as `name`, `name.namespace`, `name.namespace.svc` or
    /// `name.namespace.svc.cluster.local`; the bare name is one of `namespace`.
    ///
    /// # Errors
    /// The name is unknown, or nobody takes the connection.
    pub async fn connect_to(
        &self,
        from: Source,
        namespace: &str,
        host: &str,
        port: u16,
    ) -> Result<tokio::io::DuplexStream, NoAnswer> {
        let unknown = || NoAnswer::NameNotResolved { name: host.to_owned() };
        match self.resolve(namespace, host, port).ok_or_else(unknown)? {
            Destination::At(ip, port) => self.connect(from, ip, port).await,
            Destination::Nobody => {
                tokio::time::sleep(super::CONNECT_LATENCY).await;
                Err(NoAnswer::Refused)
            }
        }
    }

    /// Where a name leads; `None` for an unknown one.
    #[must_use]
    pub fn resolve(&self, namespace: &str, host: &str, port: u16) -> Option<Destination> {
        if let Ok(ip) = host.parse::<Ipv4Addr>() {
            let (services, _) = self.shared.store.list(&SERVICES, None);
            let service = services.into_iter().find(|s| s["spec"]["clusterIP"] == ip.to_string().as_str());
            return Some(service.map_or(Destination::At(ip, port), |service| self.endpoint(&service, Some(port))));
        }
        let host = host.strip_suffix(".cluster.local").unwrap_or(host);
        let parts: Vec<&str> = host.split('.').collect();
        let (name, namespace) = match parts[..] {
            [name] => (name, namespace),
            [name, namespace] | [name, namespace, "svc"] => (name, namespace),
            _ => return None,
        };
        let service = self.shared.store.find(&SERVICES, namespace, name)?;
        Some(self.endpoint(&service, Some(port)))
    }

    /// Whether a pod or a service has this address.
    pub(super) fn has_address(&self, ip: &str) -> bool {
        let (pods, _) = self.shared.store.list(&PODS, None);
        let (services, _) = self.shared.store.list(&SERVICES, None);
        pods.iter().any(|pod| pod["status"]["podIP"] == ip) || services.iter().any(|s| s["spec"]["clusterIP"] == ip)
    }

    /// The service that has this node port, and its port.
    pub(super) fn node_port(&self, port: u16) -> Option<(Object, u16)> {
        let (services, _) = self.shared.store.list(&SERVICES, None);
        services.into_iter().find_map(|service| {
            let ports = service["spec"]["ports"].as_array()?;
            let found = ports.iter().find(|p| p["nodePort"].as_u64() == Some(u64::from(port)))?;
            let number = u16::try_from(found["port"].as_u64()?).ok()?;
            Some((service.clone(), number))
        })
    }

    /// Where a connection to this node port goes.
    pub(in crate::lab) fn node_port_endpoint(&self, port: u16) -> Destination {
        self.node_port(port).map_or(Destination::Nobody, |(service, port)| self.endpoint(&service, Some(port)))
    }

    /// One of the ready endpoints of a service, in turn.
    pub(super) fn endpoint(&self, service: &Value, port: Option<u16>) -> Destination {
        let text = |field: &str| service["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let wanted = match port {
            Some(port) => ports.iter().find(|p| p["port"].as_u64() == Some(u64::from(port))),
            None => ports.first(),
        };
        let Some(wanted) = wanted else { return Destination::Nobody };
        let (slices, _) = self.shared.store.list(&ENDPOINT_SLICES, Some(&namespace));
        let mut ready = Vec::new();
        for slice in slices.iter().filter(|s| s["metadata"]["labels"]["kubernetes.io/service-name"] == name.as_str()) {
            let ports = slice["ports"].as_array().into_iter().flatten();
            let Some(target) = ports
                .clone()
                .find(|p| p["name"].as_str().unwrap_or_default() == wanted["name"].as_str().unwrap_or_default())
            else {
                continue;
            };
            let Some(target) = target["port"].as_u64().and_then(|port| u16::try_from(port).ok()) else { continue };
            let endpoints = slice["endpoints"].as_array().into_iter().flatten();
            let addresses =
                endpoints.filter(|e| e["conditions"]["ready"] == true).filter_map(|e| e["addresses"][0].as_str());
            ready.extend(addresses.filter_map(|ip| Some((ip.parse::<Ipv4Addr>().ok()?, target))));
        }
        if ready.is_empty() {
            return Destination::Nobody;
        }
        let mut turns = self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.entry(format!("{namespace}/{name}")).or_default();
        let (ip, port) = ready[*turn % ready.len()];
        *turn += 1;
        Destination::At(ip, port)
    }
}
