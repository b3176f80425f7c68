//! Services, their endpoints, and network policies.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::validation::errors::{Errors, Path};
use super::{inner, maps, or, or_nonzero};
use crate::lab::store::Object;

/// Where node ports are taken from.
const NODE_PORTS: std::ops::RangeInclusive<u64> = 30_000..=32_767;

/// Where cluster addresses are taken from: 10.96.0.0/16.
const RANGE: [u8; 2] = [10, 96];

/// The addresses that are given out when nobody asks for one begin here, in the range.
const FIRST: u32 = 10;

/// Seconds that a client sticks to a pod, where the service wants that.
const STICKY: i64 = 10_800;

pub(super) fn service(object: &mut Map<String, Value>) {
    let Some(spec) = inner(object, "spec") else { return };
    or(spec, "sessionAffinity", || json!("None"));
    or(spec, "type", || json!("ClusterIP"));
    if spec["sessionAffinity"] == "ClientIP" {
        if let Some(client) = inner(spec, "sessionAffinityConfig").and_then(|config| inner(config, "clientIP")) {
            or(client, "timeoutSeconds", || json!(STICKY));
        }
    } else if spec["sessionAffinity"] == "None" {
        spec.remove("sessionAffinityConfig");
    }
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    if matches!(&*kind, "NodePort" | "LoadBalancer") {
        or(spec, "externalTrafficPolicy", || json!("Cluster"));
    }
    if matches!(&*kind, "ClusterIP" | "NodePort" | "LoadBalancer") {
        or(spec, "internalTrafficPolicy", || json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        or(spec, "allocateLoadBalancerNodePorts", || json!(true));
    }
    for port in maps(spec, "ports") {
        or(port, "protocol", || json!("TCP"));
        or(port, "port", || json!(0));
        let number = port["port"].clone();
        if port.get("targetPort").is_none_or(|target| target == 0 || target == "") {
            port.insert("targetPort".to_owned(), number);
        }
    }
}

pub(super) fn endpoints(object: &mut Map<String, Value>) {
    for subset in maps(object, "subsets") {
        for port in maps(subset, "ports") {
            or(port, "protocol", || json!("TCP"));
        }
    }
}

pub(super) fn endpoint_slice(object: &mut Map<String, Value>) {
    or(object, "endpoints", || Value::Null);
    or(object, "ports", || Value::Null);
    for endpoint in maps(object, "endpoints") {
        inner(endpoint, "conditions");
    }
    for port in maps(object, "ports") {
        or(port, "name", || json!(""));
        or(port, "protocol", || json!("TCP"));
    }
}

/// Without `policyTypes` a policy isolates ingress, and egress only if it has egress rules.
pub(super) fn policy(object: &mut Map<String, Value>) {
    let Some(spec) = inner(object, "spec") else { return };
    inner(spec, "podSelector");
    let egress = spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
    or(spec, "policyTypes", || if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    for direction in ["ingress", "egress"] {
        for rule in maps(spec, direction) {
            for port in maps(rule, "ports") {
                or(port, "protocol", || json!("TCP"));
            }
        }
    }
}

/// Gives a service its cluster address and its node ports, where it needs them and has none. `turn` spreads what
/// is given to services that are made at the same time.
pub(in crate::lab::store::admission) fn allocate(
    service: &mut Value,
    services: &[Object],
    turn: u32,
    errors: &mut Errors,
) {
    let own = service["metadata"]["uid"].clone();
    let others: Vec<&Value> =
        services.iter().map(|other| &**other).filter(|other| other["metadata"]["uid"] != own).collect();
    let Some(spec) = service["spec"].as_object_mut() else { return };
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind == "ExternalName" {
        return;
    }
    or(spec, "ipFamilyPolicy", || json!("SingleStack"));
    or(spec, "ipFamilies", || json!(["IPv4"]));
    address(spec, &others, turn, errors);
    let wants_ports = match &*kind {
        "NodePort" => true,
        "LoadBalancer" => spec.get("allocateLoadBalancerNodePorts") != Some(&json!(false)),
        _ => false,
    };
    if wants_ports {
        node_ports(spec, &others, turn, errors);
    }
}

fn address(spec: &mut Map<String, Value>, others: &[&Value], turn: u32, errors: &mut Errors) {
    let path = Path::Root.at("spec");
    let taken: BTreeSet<&str> = others.iter().filter_map(|other| other["spec"]["clusterIP"].as_str()).collect();
    if let Some(ip) = spec.get("clusterIP").and_then(Value::as_str).map(str::to_owned) {
        or(spec, "clusterIPs", || json!([ip]));
        let in_range = ip.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.octets()[..2] == RANGE);
        let why = if ip == "None" {
            return;
        } else if !in_range {
            let [a, b] = RANGE;
            format!("the provided IP ({ip}) is not in the valid range. The range of valid IPs is {a}.{b}.0.0/16")
        } else if taken.contains(&*ip) {
            "provided IP is already allocated".to_owned()
        } else {
            return;
        };
        errors.invalid(&path.at("clusterIPs"), json!([ip]), &format!("failed to allocate IP {ip}: {why}"));
        return;
    }
    let named = |number: u32| {
        let number = FIRST + number % (65_536 - FIRST - 1);
        format!("{}.{}.{}.{}", RANGE[0], RANGE[1], number / 256, number % 256)
    };
    // Most often nothing is taken beyond the turn, so that this is one step.
    if let Some(free) = (turn..).take(65_536).map(named).find(|ip| !taken.contains(&**ip)) {
        spec.insert("clusterIP".to_owned(), json!(free));
        spec.insert("clusterIPs".to_owned(), json!([free]));
    }
}

fn node_ports(spec: &mut Map<String, Value>, others: &[&Value], turn: u32, errors: &mut Errors) {
    let path = Path::Root.at("spec");
    let path = path.at("ports");
    let all = others.iter().filter_map(|other| other["spec"]["ports"].as_array()).flatten();
    let mut taken: BTreeSet<u64> = all.filter_map(|port| port["nodePort"].as_u64()).collect();
    for (index, port) in maps(spec, "ports").enumerate() {
        let Some(wanted) = port.get("nodePort").and_then(Value::as_u64).filter(|port| *port > 0) else { continue };
        let path = path.item(index);
        if !NODE_PORTS.contains(&wanted) {
            let why = "provided port is not in the valid range. The range of valid ports is 30000-32767";
            errors.invalid(&path.at("nodePort"), wanted, why);
        } else if !taken.insert(wanted) {
            errors.invalid(&path.at("nodePort"), wanted, "provided port is already allocated");
        }
    }
    let count = NODE_PORTS.end() - NODE_PORTS.start() + 1;
    for port in maps(spec, "ports") {
        if port.get("nodePort").is_none_or(|there| there == 0) {
            let turns = (0..count).map(|step| NODE_PORTS.start() + (u64::from(turn) + step) % count);
            if let Some(free) = turns.into_iter().find(|port| !taken.contains(port)) {
                taken.insert(free);
                or_nonzero(port, "nodePort", i64::try_from(free).unwrap_or_default());
            }
        }
    }
}

/// What a service that changes keeps of itself where the client says nothing, and what its new type has no use for.
pub(in crate::lab::store::admission) fn carry_over(before: &Value, after: &mut Value) {
    let (old, Some(new)) = (&before["spec"], after["spec"].as_object_mut()) else { return };
    let needs = |spec: &Value| matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer"));
    let (kind, was) = (new.get("type").cloned().unwrap_or_default(), old["type"].clone());
    if kind == "ExternalName" {
        // The address goes back, unless the client changed it: that is told by the validation.
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            if new.get(field) == old.get(field) {
                new.remove(field);
            }
        }
        return;
    }
    if was == "ExternalName" {
        return;
    }
    // A client that changes the one address means both fields.
    if let Some(ip) = new.get("clusterIP").cloned()
        && ip != old["clusterIP"]
        && new.get("clusterIPs") == old.get("clusterIPs")
    {
        new.insert("clusterIPs".to_owned(), json!([ip]));
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if let Some(kept) = old.get(field) {
            or(new, field, || kept.clone());
        }
    }
    let new_needs = matches!(kind.as_str(), Some("NodePort" | "LoadBalancer"));
    if needs(old) && !new_needs {
        let unchanged = new.get("externalTrafficPolicy") == old.get("externalTrafficPolicy");
        if unchanged {
            new.remove("externalTrafficPolicy");
        }
        if kind == "ClusterIP" {
            new.remove("allocateLoadBalancerNodePorts");
        }
    }
    let old_ports = old["ports"].as_array().map_or(&[][..], Vec::as_slice);
    for port in maps(new, "ports") {
        let same =
            old_ports.iter().find(|old| Some(&old["port"]) == port.get("port") && old["protocol"] == port["protocol"]);
        let Some(number) = same.and_then(|old| old.get("nodePort")) else { continue };
        if new_needs {
            or(port, "nodePort", || number.clone());
        } else if port.get("nodePort") == Some(number) {
            port.remove("nodePort");
        }
    }
}
