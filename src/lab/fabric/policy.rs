//! Whether NetworkPolicies let a new connection through.
//!
//! Pure: it gets the objects and answers. The rules are those observed on Kubernetes 1.34 with policies enforced in
//! the kernel: policies only add up, both ends must allow, ports are the destination pod's, the node may always.

use std::net::Ipv4Addr;

use serde_json::Value;

use crate::kubernetes::Selector;
use crate::lab::store::Object;

/// One end of a connection.
#[derive(Clone, Debug)]
pub struct End {
    /// Its address.
    pub ip: Ipv4Addr,
    /// The pod, if it is one that policies can select: not on the host's network, not finished.
    pub pod: Option<Object>,
    /// The labels of the pod's namespace.
    pub namespace_labels: Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

/// Whether a TCP connection from one end to the other's `port` may be opened.
#[must_use]
pub fn allows(policies: &[Object], from: &End, to: &End, port: u16) -> bool {
    // A pod always reaches itself.
    from.ip == to.ip
        || (side_allows(policies, Direction::Egress, from, to, to, port)
            && side_allows(policies, Direction::Ingress, to, from, to, port))
}

/// Whether the policies that select `of` allow it to talk with `peer`; `destination` owns the port.
fn side_allows(policies: &[Object], direction: Direction, of: &End, peer: &End, destination: &End, port: u16) -> bool {
    let Some(pod) = &of.pod else { return true };
    let mut isolated = false;
    for policy in policies.iter().filter(|policy| isolates(policy, direction, pod)) {
        isolated = true;
        let (rules, peers) = match direction {
            Direction::Ingress => ("ingress", "from"),
            Direction::Egress => ("egress", "to"),
        };
        let namespace = policy["metadata"]["namespace"].as_str().unwrap_or_default();
        let allowed = list(&policy["spec"][rules])
            .iter()
            .any(|rule| ports_allow(&rule["ports"], destination, port) && peers_allow(&rule[peers], namespace, peer));
        if allowed {
            return true;
        }
    }
    !isolated
}

fn isolates(policy: &Value, direction: Direction, pod: &Value) -> bool {
    let types = list(&policy["spec"]["policyTypes"]);
    let named = |word: &str| types.iter().any(|kind| kind == word);
    let applies = match direction {
        Direction::Ingress => types.is_empty() || named("Ingress"),
        Direction::Egress if types.is_empty() => !list(&policy["spec"]["egress"]).is_empty(),
        Direction::Egress => named("Egress"),
    };
    applies
        && policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
        && selects(&policy["spec"]["podSelector"], &pod["metadata"]["labels"])
}

fn ports_allow(ports: &Value, destination: &End, port: u16) -> bool {
    let ports = list(ports);
    ports.is_empty() || ports.iter().any(|rule| port_allows(rule, destination, port))
}

fn port_allows(rule: &Value, destination: &End, port: u16) -> bool {
    if rule["protocol"].as_str().is_some_and(|protocol| protocol != "TCP") {
        return false;
    }
    match (&rule["port"], rule["endPort"].as_u64()) {
        (Value::Null, _) => true,
        (Value::String(name), _) => named_port(destination, name) == Some(port),
        (number, None) => number.as_u64() == Some(u64::from(port)),
        (number, Some(end)) => number.as_u64().is_some_and(|first| (first..=end).contains(&u64::from(port))),
    }
}

/// The destination's own TCP container port of that name; a pod without it matches nothing.
fn named_port(destination: &End, name: &str) -> Option<u16> {
    let pod = destination.pod.as_ref()?;
    let ports = list(&pod["spec"]["containers"]).iter().flat_map(|container| list(&container["ports"]));
    let mut tcp = ports.filter(|port| port["protocol"].as_str().is_none_or(|protocol| protocol == "TCP"));
    u16::try_from(tcp.find(|port| port["name"] == name)?["containerPort"].as_u64()?).ok()
}

fn peers_allow(peers: &Value, policy_namespace: &str, peer: &End) -> bool {
    let peers = list(peers);
    peers.is_empty() || peers.iter().any(|rule| peer_allows(rule, policy_namespace, peer))
}

fn peer_allows(rule: &Value, policy_namespace: &str, peer: &End) -> bool {
    if let Some(block) = rule.get("ipBlock") {
        let within = |cidr: &Value| cidr.as_str().is_some_and(|cidr| contains(cidr, peer.ip));
        return within(&block["cidr"]) && !list(&block["except"]).iter().any(within);
    }
    let Some(pod) = &peer.pod else { return false };
    let namespace_fits = match rule.get("namespaceSelector") {
        Some(selector) => selects(selector, &peer.namespace_labels),
        None => pod["metadata"]["namespace"] == policy_namespace,
    };
    let pod_fits = rule.get("podSelector").is_none_or(|selector| selects(selector, &pod["metadata"]["labels"]));
    namespace_fits && pod_fits
}

/// Whether an IPv4 block holds the address; a block that is none, IPv6 included, holds nothing.
fn contains(cidr: &str, ip: Ipv4Addr) -> bool {
    let (address, length) = cidr.split_once('/').unwrap_or((cidr, "32"));
    match (address.parse::<Ipv4Addr>(), length.parse::<u32>()) {
        (Ok(address), Ok(length)) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            address.to_bits() & mask == ip.to_bits() & mask
        }
        _ => false,
    }
}

fn selects(selector: &Value, labels: &Value) -> bool {
    // The API server has checked it; one that slipped through selects nothing.
    Selector::from_json(selector).is_ok_and(|selector| selector.matches(labels))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn pod(app: &str, namespace: &str, last: u8) -> End {
        let pod = json!({
            "metadata": {"name": app, "namespace": namespace, "labels": {"app": app}},
            "spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]},
        });
        let namespace_labels = json!({"kubernetes.io/metadata.name": namespace});
        End { ip: Ipv4Addr::new(10, 244, 0, last), pod: Some(Arc::new(pod)), namespace_labels }
    }

    fn policy(spec: Value) -> Object {
        Arc::new(json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}))
    }

    /// Whether `front` reaches `back` on port 8080 under a policy of the shop's namespace.
    fn front_to_back(spec: Value) -> bool {
        allows(&[policy(spec)], &pod("front", "shop", 2), &pod("back", "shop", 3), 8080)
    }

    #[test]
    fn a_policy_isolates_what_it_selects_and_rules_add_up() {
        let back = json!({"matchLabels": {"app": "back"}});
        let front = json!({"podSelector": {"matchLabels": {"app": "front"}}});
        let other = json!({"podSelector": {"matchLabels": {"app": "other"}}});
        assert!(allows(&[], &pod("front", "shop", 2), &pod("back", "shop", 3), 8080));
        assert!(!front_to_back(json!({"podSelector": back})));
        assert!(!front_to_back(json!({"podSelector": back, "ingress": []})));
        assert!(front_to_back(json!({"podSelector": back, "ingress": [{}]})));
        assert!(front_to_back(json!({"podSelector": {"matchLabels": {"app": "other"}}})));
        assert!(front_to_back(json!({"podSelector": back, "ingress": [{"from": [front]}]})));
        assert!(!front_to_back(json!({"podSelector": back, "ingress": [{"from": [other]}]})));
        let deny = policy(json!({"podSelector": {}, "policyTypes": ["Ingress"]}));
        let allow = policy(json!({"podSelector": back, "ingress": [{"from": [front]}]}));
        assert!(allows(&[deny, allow], &pod("front", "shop", 2), &pod("back", "shop", 3), 8080));
    }

    #[test]
    fn policy_types_say_which_direction_is_isolated() {
        let front = json!({"matchLabels": {"app": "front"}});
        let back = json!({"matchLabels": {"app": "back"}});
        assert!(!front_to_back(json!({"podSelector": front, "policyTypes": ["Egress"]})));
        assert!(front_to_back(json!({"podSelector": back, "policyTypes": ["Egress"], "ingress": []})));
        assert!(!front_to_back(json!({"podSelector": back, "egress": [{}]})), "ingress is always isolated by default");
        assert!(!front_to_back(json!({"podSelector": front, "egress": [{"ports": [{"port": 53}]}]})));
    }

    #[test]
    fn selectors_in_one_peer_are_and_in_two_are_or() {
        let (from, to) = (pod("front", "other", 2), pod("back", "shop", 3));
        let in_other = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}});
        let reaches = |peers: Value| {
            allows(&[policy(json!({"podSelector": {}, "ingress": [{"from": peers}]}))], &from, &to, 8080)
        };
        assert!(!reaches(json!([{"podSelector": {"matchLabels": {"app": "front"}}}])), "its own namespace only");
        assert!(reaches(json!([in_other])));
        assert!(reaches(json!([{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "front"}}}])));
        assert!(!reaches(json!([{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "x"}}}])));
        assert!(reaches(json!([{"podSelector": {"matchLabels": {"app": "x"}}}, in_other])));
    }

    #[test]
    fn ports_are_the_destination_pods() {
        let reaches = |port: Value| front_to_back(json!({"podSelector": {}, "ingress": [{"ports": [port]}]}));
        assert!(reaches(json!({"port": 8080})));
        assert!(!reaches(json!({"port": 80})));
        assert!(reaches(json!({"port": 8000, "endPort": 8080})));
        assert!(!reaches(json!({"port": 8081, "endPort": 8090})));
        assert!(reaches(json!({"port": "web"})));
        assert!(!reaches(json!({"port": "api"})));
        assert!(reaches(json!({"protocol": "TCP"})));
        assert!(!reaches(json!({"protocol": "UDP", "port": 8080})));
    }

    #[test]
    fn address_blocks_match_pods_too_and_except_narrows_its_own_peer() {
        let reaches = |peers: Value| front_to_back(json!({"podSelector": {}, "ingress": [{"from": peers}]}));
        assert!(reaches(json!([{"ipBlock": {"cidr": "10.244.0.0/24"}}])));
        assert!(!reaches(json!([{"ipBlock": {"cidr": "10.244.0.0/24", "except": ["10.244.0.2/32"]}}])));
        let both = json!([
            {"ipBlock": {"cidr": "10.244.0.0/24", "except": ["10.244.0.2/32"]}}, {"podSelector": {}},
        ]);
        assert!(reaches(both));
        assert!(!reaches(json!([{"ipBlock": {"cidr": "10.96.0.0/16"}}])));
        assert!(!reaches(json!([{"ipBlock": {"cidr": "::/0"}}])));
        assert!(reaches(json!([{"ipBlock": {"cidr": "0.0.0.0/0"}}])));
    }

    #[test]
    fn a_pod_reaches_itself_and_outsiders_are_no_pods() {
        let deny = [policy(json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}))];
        let back = pod("back", "shop", 3);
        assert!(allows(&deny, &back, &back, 8080));
        let outside = End { ip: Ipv4Addr::new(172, 18, 0, 1), pod: None, namespace_labels: Value::Null };
        assert!(!allows(&deny, &outside, &back, 8080));
        let anybody = [policy(json!({"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {}}]}]}))];
        assert!(!allows(&anybody, &outside, &back, 8080), "a selector means pods");
    }
}
