//! Whether NetworkPolicies let a new connection through.
//!
//! Pure: it gets the objects and answers. The rules are those observed on Kubernetes 1.34 with policies enforced in
//! the kernel: policies only add up, both ends must allow, ports are the destination pod's, the node may always.
//! Objects are read once, into [`Policy`], so that a connection costs a few comparisons.

use std::net::Ipv4Addr;

use serde_json::Value;

use crate::kubernetes::Selector;

/// What is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams: questions for names.
    Udp,
}

impl Protocol {
    /// The protocol of a port; TCP where none is named, `None` for one that the lab does not carry.
    fn of(port: &Value) -> Option<Self> {
        match port["protocol"].as_str() {
            None | Some("TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some(_) => None,
        }
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Its address.
    pub ip: Ipv4Addr,
    /// The pod, if it is one that policies can select: not on the host's network, not finished.
    pub pod: Option<&'a Value>,
    /// The labels of the pod's namespace.
    pub namespace_labels: &'a Value,
}

/// A policy, read.
#[derive(Clone, Debug)]
pub struct Policy {
    namespace: String,
    /// `None` for one that slipped through the API server's checks: it selects nothing.
    pods: Option<Selector>,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
}

#[derive(Clone, Debug)]
struct Rule {
    ports: Vec<PortRule>,
    peers: Vec<Peer>,
}

#[derive(Clone, Debug)]
struct PortRule {
    protocol: Option<Protocol>,
    port: PortMatch,
}

#[derive(Clone, Debug)]
enum PortMatch {
    Any,
    Named(String),
    Range(u64, u64),
}

#[derive(Clone, Debug)]
enum Peer {
    Block { cidr: Option<Block>, except: Vec<Block> },
    Pods { namespaces: Option<Option<Selector>>, pods: Option<Option<Selector>> },
}

#[derive(Clone, Copy, Debug)]
struct Block {
    address: u32,
    mask: u32,
}

/// Where a connection goes.
#[derive(Clone, Copy, Debug)]
struct Towards<'a> {
    destination: &'a End<'a>,
    port: u16,
    protocol: Protocol,
}

impl Policy {
    /// Reads a policy.
    #[must_use]
    pub fn read(policy: &Value) -> Self {
        let spec = &policy["spec"];
        let types = list(&spec["policyTypes"]);
        let named = |word: &str| types.iter().any(|kind| kind == word);
        let ingress = types.is_empty() || named("Ingress");
        let egress = if types.is_empty() { !list(&spec["egress"]).is_empty() } else { named("Egress") };
        let rules = |rules: &Value, peers: &str| list(rules).iter().map(|rule| Rule::read(rule, peers)).collect();
        Self {
            namespace: policy["metadata"]["namespace"].as_str().unwrap_or_default().to_owned(),
            pods: Selector::from_json(&spec["podSelector"]).ok(),
            ingress: ingress.then(|| rules(&spec["ingress"], "from")),
            egress: egress.then(|| rules(&spec["egress"], "to")),
        }
    }

    fn selects(&self, pod: &Value) -> bool {
        pod["metadata"]["namespace"] == self.namespace.as_str()
            && self.pods.as_ref().is_some_and(|pods| pods.matches(&pod["metadata"]["labels"]))
    }
}

/// Whether a connection from one end to the other's `port` may be opened. `policies` are all of them.
#[must_use]
pub fn allows<'a>(
    policies: impl Iterator<Item = &'a Policy> + Clone,
    from: &End<'_>,
    to: &End<'_>,
    port: u16,
    protocol: Protocol,
) -> bool {
    let towards = Towards { destination: to, port, protocol };
    side_allows(policies.clone().map(|policy| (policy, policy.egress.as_deref())), from, to, towards)
        && side_allows(policies.map(|policy| (policy, policy.ingress.as_deref())), to, from, towards)
}

/// Whether the policies that select `of` allow it to talk with `peer`.
fn side_allows<'a>(
    policies: impl Iterator<Item = (&'a Policy, Option<&'a [Rule]>)>,
    of: &End<'_>,
    peer: &End<'_>,
    towards: Towards<'_>,
) -> bool {
    let Some(pod) = of.pod else { return true };
    let mut isolated = false;
    for (policy, rules) in policies {
        let Some(rules) = rules else { continue };
        if !policy.selects(pod) {
            continue;
        }
        isolated = true;
        if rules.iter().any(|rule| rule.allows(&policy.namespace, peer, towards)) {
            return true;
        }
    }
    !isolated
}

impl Rule {
    fn read(rule: &Value, peers: &str) -> Self {
        Self {
            ports: list(&rule["ports"]).iter().map(PortRule::read).collect(),
            peers: list(&rule[peers]).iter().map(Peer::read).collect(),
        }
    }

    fn allows(&self, namespace: &str, peer: &End<'_>, towards: Towards<'_>) -> bool {
        (self.ports.is_empty() || self.ports.iter().any(|port| port.allows(towards)))
            && (self.peers.is_empty() || self.peers.iter().any(|rule| rule.allows(namespace, peer)))
    }
}

impl PortRule {
    fn read(rule: &Value) -> Self {
        let port = match (&rule["port"], rule["endPort"].as_u64()) {
            (Value::Null, _) => PortMatch::Any,
            (Value::String(name), _) => PortMatch::Named(name.clone()),
            (number, end) => {
                // One that is no number matches nothing.
                let first = number.as_u64().unwrap_or(u64::MAX);
                PortMatch::Range(first, end.unwrap_or(first))
            }
        };
        Self { protocol: Protocol::of(rule), port }
    }

    fn allows(&self, Towards { destination, port, protocol }: Towards<'_>) -> bool {
        self.protocol == Some(protocol)
            && match &self.port {
                PortMatch::Any => true,
                PortMatch::Named(name) => named_port(destination, name, protocol) == Some(port),
                PortMatch::Range(first, last) => (*first..=*last).contains(&u64::from(port)),
            }
    }
}

/// The destination's own container port of that name and protocol; a pod without it matches nothing.
fn named_port(destination: &End<'_>, name: &str, protocol: Protocol) -> Option<u16> {
    let containers = list(&destination.pod?["spec"]["containers"]);
    let mut ports = containers.iter().flat_map(|container| list(&container["ports"]));
    let port = ports.find(|port| port["name"] == name && Protocol::of(port) == Some(protocol))?;
    u16::try_from(port["containerPort"].as_u64()?).ok()
}

impl Peer {
    fn read(peer: &Value) -> Self {
        if let Some(block) = peer.get("ipBlock") {
            let read = |cidr: &Value| cidr.as_str().and_then(Block::read);
            return Self::Block {
                cidr: read(&block["cidr"]),
                except: list(&block["except"]).iter().filter_map(read).collect(),
            };
        }
        let selector = |field: &str| peer.get(field).map(|selector| Selector::from_json(selector).ok());
        Self::Pods { namespaces: selector("namespaceSelector"), pods: selector("podSelector") }
    }

    fn allows(&self, policy_namespace: &str, peer: &End<'_>) -> bool {
        match self {
            Self::Block { cidr, except } => {
                cidr.is_some_and(|cidr| cidr.holds(peer.ip)) && !except.iter().any(|block| block.holds(peer.ip))
            }
            Self::Pods { namespaces, pods } => {
                let Some(pod) = peer.pod else { return false };
                let fits = |selector: &Option<Selector>, labels: &Value| {
                    selector.as_ref().is_some_and(|selector| selector.matches(labels))
                };
                let namespace_fits = match namespaces {
                    Some(selector) => fits(selector, peer.namespace_labels),
                    None => pod["metadata"]["namespace"] == policy_namespace,
                };
                namespace_fits && pods.as_ref().is_none_or(|selector| fits(selector, &pod["metadata"]["labels"]))
            }
        }
    }
}

impl Block {
    /// An IPv4 block; one that is none, IPv6 included, holds nothing.
    fn read(cidr: &str) -> Option<Self> {
        let (address, length) = cidr.split_once('/').unwrap_or((cidr, "32"));
        let (address, length) = (address.parse::<Ipv4Addr>().ok()?, length.parse::<u32>().ok()?);
        let mask = u32::MAX.checked_shl(32_u32.checked_sub(length)?).unwrap_or(0);
        Some(Self { address: address.to_bits() & mask, mask })
    }

    fn holds(self, ip: Ipv4Addr) -> bool {
        ip.to_bits() & self.mask == self.address
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A pod and its namespace's labels.
    struct Pod {
        ip: Ipv4Addr,
        pod: Option<Value>,
        namespace_labels: Value,
    }

    impl Pod {
        fn end(&self) -> End<'_> {
            End { ip: self.ip, pod: self.pod.as_ref(), namespace_labels: &self.namespace_labels }
        }
    }

    fn pod(app: &str, namespace: &str, last: u8) -> Pod {
        let pod = json!({
            "metadata": {"name": app, "namespace": namespace, "labels": {"app": app}},
            "spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]},
        });
        let namespace_labels = json!({"kubernetes.io/metadata.name": namespace});
        Pod { ip: Ipv4Addr::new(10, 244, 0, last), pod: Some(pod), namespace_labels }
    }

    fn policy(spec: Value) -> Policy {
        Policy::read(&json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}))
    }

    fn allows(policies: &[Policy], from: &Pod, to: &Pod, port: u16) -> bool {
        super::allows(policies.iter(), &from.end(), &to.end(), port, Protocol::Tcp)
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
    fn outsiders_are_no_pods() {
        let deny = [policy(json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}))];
        let back = pod("back", "shop", 3);
        let outside = Pod { ip: Ipv4Addr::new(172, 18, 0, 1), pod: None, namespace_labels: Value::Null };
        assert!(!allows(&deny, &outside, &back, 8080));
        let anybody = [policy(json!({"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {}}]}]}))];
        assert!(!allows(&anybody, &outside, &back, 8080), "a selector means pods");
    }
}
