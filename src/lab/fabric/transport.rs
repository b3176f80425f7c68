//! The transport of the test process: it stands outside the lab's cluster.

use super::names::Destination;
use super::{Fabric, OUTSIDE, PROMETHEUS, Source};
use crate::lab::resource::{NAMESPACES, SERVICES};
use crate::transport::{Address, Connection, Error, Failure, Transport};
use futures_util::future::BoxFuture;

/// The port under which the lab's Prometheus is known on the host.
pub(in crate::lab) const PROMETHEUS_PORT: u16 = 9090;

/// Reaches the lab's services, node ports and Prometheus, and nothing else.
#[derive(Clone)]
pub struct FabricTransport {
    fabric: Fabric,
}

impl FabricTransport {
    /// The way into this network from outside.
    #[must_use]
    pub fn new(fabric: Fabric) -> Self {
        Self { fabric }
    }

    fn service(&self, namespace: &str, name: &str, port: Option<u16>) -> Result<(Destination, u16), Error> {
        let store = &self.fabric.shared.store;
        let Some(service) = store.find(&SERVICES, namespace, name) else {
            let (services, _) = store.list(&SERVICES, Some(namespace));
            let known: Vec<_> = services.iter().filter_map(|s| s["metadata"]["name"].as_str()).collect();
            if known.is_empty() && store.find(&NAMESPACES, "", namespace).is_none() {
                let (all, _) = store.list(&NAMESPACES, None);
                let all: Vec<_> = all.iter().filter_map(|one| one["metadata"]["name"].as_str()).collect();
                return Err(Error::NoSuchNamespace { namespace: namespace.into(), known: all.join(", ") });
            }
            let known = if known.is_empty() { "no services".to_owned() } else { known.join(", ") };
            return Err(Error::NoSuchService { namespace: namespace.into(), name: name.into(), known });
        };
        let why = |why: &str| Error::ServicePort { namespace: namespace.into(), name: name.into(), why: why.into() };
        let ports: Vec<u64> =
            service["spec"]["ports"].as_array().into_iter().flatten().filter_map(|p| p["port"].as_u64()).collect();
        let number = match (port.map(u64::from), ports.as_slice()) {
            (Some(port), ports) if ports.contains(&port) => port,
            (Some(port), _) => return Err(why(&format!("has no port {port}; it has {ports:?}"))),
            (None, [only]) => *only,
            (None, []) => return Err(why("has no ports")),
            (None, _) => return Err(why(&format!("has several ports, {ports:?}; name one with `.port(PORT)`"))),
        };
        let number = u16::try_from(number).map_err(|_| why("has a port that is none"))?;
        Ok((self.fabric.endpoint_for(OUTSIDE, &service, number), number))
    }

    fn destination(&self, address: &Address) -> Result<(Destination, String, String), Error> {
        match address.checked()? {
            Address::Service { namespace, name, port, path } => {
                let (destination, port) = self.service(namespace, name, *port)?;
                Ok((destination, format!("{name}.{namespace}:{port}"), path.clone()))
            }
            Address::Url(uri) => {
                let host = uri.host().unwrap_or_default();
                let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
                let path = uri.path_and_query().map_or("/".to_owned(), ToString::to_string);
                let outside = || self.outside(address);
                let destination = match host {
                    "localhost" | "127.0.0.1" if port == PROMETHEUS_PORT => Destination::At(PROMETHEUS, port),
                    "localhost" | "127.0.0.1" => self.fabric.node_port(port).ok_or_else(outside)?,
                    ip if ip.parse().is_ok_and(|ip| !self.fabric.has_address(ip)) => return Err(outside()),
                    name if name.contains('.') => self.fabric.resolve("", name, port).ok_or_else(outside)?,
                    _ => return Err(outside()),
                };
                Ok((destination, format!("{host}:{port}"), path))
            }
            other @ Address::Malformed { .. } => Err(self.outside(other)),
        }
    }

    fn outside(&self, address: &Address) -> Error {
        let mut known = self.fabric.shared.index().shown();
        known.push(format!("http://localhost:{PROMETHEUS_PORT}"));
        Error::OutsideTheLab { address: address.to_string(), known: known.join(", ") }
    }
}

impl Transport for FabricTransport {
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Connection, Failure>> {
        Box::pin(async move {
            let (destination, authority, path) = self.destination(address)?;
            let stream = self.fabric.connect_at(Source::Address(OUTSIDE), destination).await?;
            Ok(Connection { stream: Box::new(stream), authority, path })
        })
    }
}
