//! How a NetworkPolicy of any shape is seen: by the witnesses of a denial, where it would cut them off.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::BoxError;
use crate::experiment::{Mark, Proof};
use crate::kubernetes::witness::{LISTEN_PORT, WitnessPods, port};
use crate::kubernetes::{Direction, Kubernetes, KubernetesError, Pods, Selector, metadata};

/// The proof of a policy: one direction that it cuts is enough, for it shows that the network plug-in enforces it.
///
/// # Errors
/// The API does not answer.
pub(super) async fn proof(
    kubernetes: &Kubernetes,
    namespace: &str,
    spec: &Value,
    mark: &Mark,
) -> Result<Proof, BoxError> {
    let selector = Selector::from_json(&spec["podSelector"]);
    let pods = Pods::new(kubernetes.clone(), namespace.to_owned(), selector).at_most_percent(100);
    let targets = match pods.targets_of_fault().await {
        Err(KubernetesError::NothingSelected { selector, .. }) => {
            return Ok(Proof::Missing(format!("no pod in namespace {namespace} matches {selector:?}")));
        }
        targets => targets?,
    };
    let image = kubernetes.witness_image();
    let labels = metadata(mark, &mark.owner, Some(namespace))["labels"].clone();
    Ok(match cut(spec, &labels, &targets) {
        Some(Direction::Ingress) => WitnessPods::of_ingress(&pods, &targets, image, mark)?,
        Some(Direction::Egress) => WitnessPods::of_egress(&pods, &targets, image, mark)?,
        None => Proof::Missing("it lets the connections of a witness through, so that none can see it".to_owned()),
    })
}

/// The direction in which a policy cuts off a witness with these labels.
fn cut(spec: &Value, labels: &Value, targets: &[Pod]) -> Option<Direction> {
    let list = |key: &str| spec[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let types = list("policyTypes");
    let has = |word: &str, default: bool| if types.is_empty() { default } else { types.iter().any(|one| one == word) };
    let ports: Vec<i32> = targets.iter().filter_map(port).collect();
    let lets_in = |rule: &Value| ports.iter().any(|port| admits(rule, "from", labels, *port));
    if has("Ingress", true) && !ports.is_empty() && !list("ingress").iter().any(lets_in) {
        return Some(Direction::Ingress);
    }
    let lets_out = |rule: &Value| admits(rule, "to", labels, i32::from(LISTEN_PORT));
    let egress = has("Egress", spec.get("egress").is_some());
    (egress && !list("egress").iter().any(lets_out)).then_some(Direction::Egress)
}

/// Whether a rule may let a connection through whose other end has these labels. What cannot be told from the policy alone
/// may: addresses, other namespaces, ports by their names.
fn admits(rule: &Value, peers: &str, labels: &Value, port: i32) -> bool {
    let list = |key: &str| rule[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let peer = |peer: &Value| {
        let selected = || Selector::from_json(&peer["podSelector"]).map_or(true, |selector| selector.matches(labels));
        peer.get("ipBlock").is_some() || selected()
    };
    let at = |one: &Value| {
        let tcp = one["protocol"].as_str().is_none_or(|protocol| protocol == "TCP");
        let port = i64::from(port);
        let within = match (one["port"].as_i64(), one["endPort"].as_i64()) {
            (Some(first), last) => (first..=last.unwrap_or(first)).contains(&port),
            (None, _) => true,
        };
        tcp && within
    };
    let (peers, ports) = (list(peers), list("ports"));
    (peers.is_empty() || peers.iter().any(peer)) && (ports.is_empty() || ports.iter().any(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_policy_is_seen_in_the_direction_in_which_it_cuts_a_stranger_off() {
        let pod = json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 8000}]}]}});
        let targets: Vec<Pod> = vec![serde_json::from_value(pod).expect("a pod")];
        let of = |spec: Value| cut(&spec, &json!({"steadfast.dev/owner": "o"}), &targets);
        let (ingress, egress) = (Some(Direction::Ingress), Some(Direction::Egress));
        assert_eq!(of(json!({"podSelector": {}})), ingress);
        assert_eq!(of(json!({"policyTypes": ["Egress"]})), egress);
        assert_eq!(of(json!({"policyTypes": ["Ingress", "Egress"], "ingress": [{}]})), egress);
        assert_eq!(of(json!({"ingress": [{}]})), None);
        let from = |peer: Value| of(json!({"policyTypes": ["Ingress"], "ingress": [{"from": [peer]}]}));
        assert_eq!(from(json!({"podSelector": {"matchLabels": {"app": "front"}}})), ingress);
        assert_eq!(from(json!({"podSelector": {}})), None);
        assert_eq!(
            from(json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}})),
            None
        );
        assert_eq!(from(json!({"namespaceSelector": {}})), None);
        assert_eq!(from(json!({"ipBlock": {"cidr": "10.0.0.0/8"}})), None);
        let ports = |ports: Value| of(json!({"policyTypes": ["Ingress"], "ingress": [{"ports": ports}]}));
        assert_eq!(ports(json!([{"port": 9000}])), ingress);
        assert_eq!(ports(json!([{"port": 7000, "endPort": 9000}])), None);
        assert_eq!(ports(json!([{"port": "http"}])), None);
        assert_eq!(ports(json!([{"protocol": "UDP"}])), ingress);
        // As that which allows DNS.
        let dns =
            json!([{"to": [{"namespaceSelector": {}}], "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]}]);
        assert_eq!(of(json!({"policyTypes": ["Egress"], "egress": dns})), egress);
    }
}
