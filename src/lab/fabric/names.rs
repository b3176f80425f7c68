//! Names and services.

use std::net::Ipv4Addr;
use std::sync::PoisonError;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::index::{Endpoint, Index};
use super::{API_PORT, CONNECT_LATENCY, Fabric, NAME_TIMEOUT, NODE, Source, Wire};
use crate::transport::NoAnswer;

/// The address and port of the API server's service.
const API_SERVICE: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 96, 0, 1), 443);

/// How long a client keeps its endpoint where a service does not say: three hours.
const AFFINITY_SECONDS: u64 = 10_800;

/// How many aliases in a row are followed.
const ALIASES: usize = 8;

/// Where a connection ends, after names and services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An address and port.
    At(Ipv4Addr, u16),
    /// The same, by way of a service.
    ByService(Ipv4Addr, u16),
    /// A service that has no ready endpoint: it refuses.
    Nobody,
}

impl Fabric {
    /// Opens a connection by name: an address, or what [`resolve`](Self::resolve) knows, as seen from `namespace`.
    ///
    /// # Errors
    /// The name is unknown, or nobody takes the connection. Where a policy cuts the way to the DNS, a name is given
    /// up after 10 s.
    pub async fn connect_to(&self, from: Source, namespace: &str, host: &str, port: u16) -> Result<Wire, NoAnswer> {
        let unknown = || NoAnswer::NameNotResolved { name: host.to_owned() };
        if host.parse::<Ipv4Addr>().is_err() && !self.may_ask(from) {
            tokio::time::sleep(NAME_TIMEOUT).await;
            return Err(unknown());
        }
        let destination = self.resolve_for(from.address(), namespace, host, port).ok_or_else(unknown)?;
        self.connect_at(from, destination).await
    }

    /// Opens a connection to where a name led.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_at(&self, from: Source, destination: Destination) -> Result<Wire, NoAnswer> {
        match destination {
            Destination::At(ip, port) => self.open(from, ip, port, false).await,
            Destination::ByService(ip, port) => self.open(from, ip, port, true).await,
            Destination::Nobody => {
                tokio::time::sleep(CONNECT_LATENCY).await;
                Err(NoAnswer::Refused)
            }
        }
    }

    /// Where a name leads; `None` for an unknown one. Known are addresses; services as `name`, `name.namespace`,
    /// `name.namespace.svc` or `name.namespace.svc.cluster.local`, the bare name being one of `namespace`; pods of
    /// headless services by their hostname before that; and `10-244-0-5.namespace.pod.cluster.local`.
    #[must_use]
    pub fn resolve(&self, namespace: &str, host: &str, port: u16) -> Option<Destination> {
        self.resolve_for(super::OUTSIDE, namespace, host, port)
    }

    fn resolve_for(&self, client: Ipv4Addr, namespace: &str, host: &str, port: u16) -> Option<Destination> {
        if let Ok(ip) = host.parse::<Ipv4Addr>() {
            return Some(self.translate(client, ip, port));
        }
        let mut host = host.strip_suffix('.').unwrap_or(host).to_owned();
        for _ in 0..ALIASES {
            // The search list of a pod's resolv.conf, then the name as it is.
            let tried = [format!("{host}.{namespace}.svc.cluster.local"), format!("{host}.svc.cluster.local")];
            let tried = tried.into_iter().chain([format!("{host}.cluster.local"), host.clone()]);
            match tried.into_iter().find_map(|name| self.look_up(client, &name, port))? {
                Found::Alias(name) => host = name,
                Found::At(destination) => return Some(destination),
            }
        }
        None
    }

    /// A whole name.
    fn look_up(&self, client: Ipv4Addr, name: &str, port: u16) -> Option<Found> {
        let name = name.strip_suffix(".cluster.local")?;
        let index = self.shared.index();
        if let Some(pod) = name.strip_suffix(".pod") {
            let (ip, _) = pod.split_once('.')?;
            let ip = ip.replace('-', ".").parse().ok()?;
            return Some(Found::At(Destination::At(ip, port)));
        }
        let parts: Vec<&str> = name.strip_suffix(".svc")?.split('.').collect();
        let (hostname, service, namespace) = match parts[..] {
            [service, namespace] => (None, service, namespace),
            [hostname, service, namespace] => (Some(hostname), service, namespace),
            _ => return None,
        };
        if (hostname, service, namespace) == (None, "kubernetes", "default") {
            drop(index);
            return Some(Found::At(self.translate(client, API_SERVICE.0, port)));
        }
        let found = index.service(namespace, service)?.clone();
        if let Some(alias) = found["spec"]["externalName"].as_str().filter(|_| found["spec"]["type"] == "ExternalName")
        {
            return hostname.is_none().then(|| Found::Alias(alias.to_owned()));
        }
        let headless = found["spec"]["clusterIP"] == "None";
        if !headless {
            drop(index);
            return hostname.is_none().then(|| Found::At(self.endpoint_for(client, &found, port)));
        }
        let called = |endpoint: &&Endpoint| {
            hostname.is_none_or(|hostname| {
                endpoint.hostname.as_deref() == Some(hostname)
                    || index.pod(endpoint.ip).is_some_and(|pod| is_called(pod, hostname, service))
            })
        };
        let mut ips: Vec<Ipv4Addr> = index.endpoints(namespace, service).filter(called).map(|e| e.ip).collect();
        ips.dedup();
        drop(index);
        Some(Found::At(Destination::At(self.any(&ips)?, port)))
    }

    /// Where a connection to an address goes: on from a service's own, from a node port, else just there.
    fn translate(&self, client: Ipv4Addr, ip: Ipv4Addr, port: u16) -> Destination {
        if (ip, port) == API_SERVICE {
            return Destination::At(NODE, API_PORT);
        }
        let index = self.shared.index();
        let service = match index.at_cluster_ip(ip) {
            Some(service) => Some((service.clone(), port)),
            None if ip == NODE => index.at_node_port(port).map(|(service, port)| (service.clone(), port)),
            None => None,
        };
        drop(index);
        service.map_or(Destination::At(ip, port), |(service, port)| self.endpoint_for(client, &service, port))
    }

    /// Whether a pod or a service has this address.
    pub(super) fn has_address(&self, ip: Ipv4Addr) -> bool {
        let index = self.shared.index();
        ip == NODE || index.pod(ip).is_some() || index.at_cluster_ip(ip).is_some()
    }

    /// Where a connection from outside to this node port goes.
    pub(in crate::lab) fn node_port(&self, port: u16) -> Option<Destination> {
        let (service, port) = {
            let index = self.shared.index();
            let (service, port) = index.at_node_port(port)?;
            (service.clone(), port)
        };
        Some(self.endpoint_for(super::OUTSIDE, &service, port))
    }

    /// One of the ready endpoints of a service's port.
    pub(super) fn endpoint_for(&self, client: Ipv4Addr, service: &Value, port: u16) -> Destination {
        let text = |field: &str| service["metadata"][field].as_str().unwrap_or_default();
        let (namespace, name) = (text("namespace"), text("name"));
        let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
        let wanted = ports.find(|p| {
            p["port"].as_u64() == Some(u64::from(port))
                && p["protocol"].as_str().is_none_or(|protocol| protocol == "TCP")
        });
        let Some(wanted) = wanted else { return Destination::Nobody };
        let port_name = wanted["name"].as_str().unwrap_or_default();
        let ready: Vec<(Ipv4Addr, u16)> = {
            let index = self.shared.index();
            let ports = index.endpoints(namespace, name).filter_map(|endpoint| {
                let (name, port) = endpoint.port.as_ref()?;
                (name == port_name).then_some((endpoint.ip, *port))
            });
            ports.collect()
        };
        let affinity = (service["spec"]["sessionAffinity"] == "ClientIP").then(|| {
            let seconds = service["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].as_u64();
            Duration::from_secs(seconds.unwrap_or(AFFINITY_SECONDS))
        });
        let chosen = match affinity {
            Some(kept_for) => self.same(((namespace.to_owned(), name.to_owned()), client), &ready, kept_for),
            None => self.any(&ready),
        };
        chosen.map_or(Destination::Nobody, |(ip, port)| Destination::ByService(ip, port))
    }

    fn any<T: Copy>(&self, of: &[T]) -> Option<T> {
        match of {
            [] => None,
            [only] => Some(*only),
            several => {
                let mut choices = self.shared.choices.lock().unwrap_or_else(PoisonError::into_inner);
                Some(several[choices.rng.usize(..several.len())])
            }
        }
    }

    /// The endpoint that the client had before, if it is still ready and not forgotten.
    fn same(
        &self,
        key: (super::Name, Ipv4Addr),
        ready: &[(Ipv4Addr, u16)],
        kept_for: Duration,
    ) -> Option<(Ipv4Addr, u16)> {
        let now = Instant::now();
        let before = {
            let choices = self.shared.choices.lock().unwrap_or_else(PoisonError::into_inner);
            choices.kept.get(&key).filter(|(_, used)| now - *used < kept_for).map(|(ip, _)| *ip)
        };
        let chosen = ready.iter().copied().find(|(ip, _)| Some(*ip) == before).or_else(|| self.any(ready))?;
        let mut choices = self.shared.choices.lock().unwrap_or_else(PoisonError::into_inner);
        choices.kept.insert(key, (chosen.0, now));
        Some(chosen)
    }
}

enum Found {
    At(Destination),
    Alias(String),
}

/// Whether a pod has this hostname below that headless service.
fn is_called(pod: &Value, hostname: &str, service: &str) -> bool {
    let own = pod["spec"]["hostname"].as_str().or_else(|| pod["metadata"]["name"].as_str());
    pod["spec"]["subdomain"] == service && own == Some(hostname)
}

impl Index {
    /// What a person may call from outside: `http://front.default:8000`, and node ports.
    pub(super) fn shown(&self) -> Vec<String> {
        self.services().map(|service| shown(service)).collect()
    }
}

/// `http://front.default:8000` for each of its ports, and its node ports.
fn shown(service: &Value) -> String {
    let text = |field: &str| service["metadata"][field].as_str().unwrap_or_default();
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let of = |port: &Value| {
        let number = port["port"].as_u64().filter(|number| *number != 80).map(|number| format!(":{number}"));
        let node = port["nodePort"].as_u64().map(|port| format!(", http://localhost:{port}"));
        let (number, node) = (number.unwrap_or_default(), node.unwrap_or_default());
        format!("http://{}.{}{number}{node}", text("name"), text("namespace"))
    };
    let addresses: Vec<_> = ports.map(of).collect();
    // A name alone has no address to ask at.
    if addresses.is_empty() {
        format!("{}.{} (no port)", text("name"), text("namespace"))
    } else {
        addresses.join(", ")
    }
}
