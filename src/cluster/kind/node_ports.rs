//! Which ports of a kind cluster's nodes are open on this machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use super::{KindError, tools};

/// Node ports, by their number in the cluster: where they are on this machine.
pub(in crate::cluster) type Mapped = BTreeMap<u16, SocketAddr>;

/// One place of a port, as docker says it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    host_ip: String,
    host_port: String,
}

/// What docker maps for the nodes of this kind cluster.
///
/// # Errors
/// Docker does not answer.
pub(in crate::cluster) fn mapped(kind: &str) -> Result<Mapped, KindError> {
    let label = format!("label=io.x-k8s.kind.cluster={kind}");
    let docker = |args: &[&str]| tools::run(&format!("read the ports of kind cluster {kind}"), "docker", args);
    let nodes = docker(&["ps", "--quiet", "--filter", &label])?;
    let nodes: Vec<&str> = nodes.split_whitespace().collect();
    if nodes.is_empty() {
        return Ok(Mapped::new());
    }
    let mut inspect = vec!["inspect", "--format", "{{json .NetworkSettings.Ports}}"];
    inspect.extend(nodes);
    Ok(docker(&inspect)?.lines().flat_map(of_node).collect())
}

/// `{"30080/tcp":[{"HostIp":"127.0.0.1","HostPort":"30080"}]}`; a port that is not mapped has `null`.
fn of_node(json: &str) -> Vec<(u16, SocketAddr)> {
    let ports: BTreeMap<String, Option<Vec<Binding>>> = serde_json::from_str(json).unwrap_or_default();
    let one = |(port, bindings): (String, Option<Vec<Binding>>)| {
        let port = port.strip_suffix("/tcp")?.parse().ok()?;
        let binding = bindings?.into_iter().next()?;
        let ip: IpAddr = binding.host_ip.parse().ok()?;
        // Open on all addresses is open on the loopback one.
        let ip = if ip.is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { ip };
        Some((port, SocketAddr::new(ip, binding.host_port.parse().ok()?)))
    };
    ports.into_iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_words_are_understood() {
        let node = r#"{"30080/tcp":[{"HostIp":"127.0.0.1","HostPort":"31080"},{"HostIp":"::1","HostPort":"31081"}],
            "30053/udp":[{"HostIp":"127.0.0.1","HostPort":"5353"}],"80/tcp":null,
            "6443/tcp":[{"HostIp":"0.0.0.0","HostPort":"33755"}]}"#;
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(of_node(node), [(30080, at("127.0.0.1:31080")), (6443, at("127.0.0.1:33755"))]);
        assert_eq!(of_node("no such thing"), []);
    }
}
