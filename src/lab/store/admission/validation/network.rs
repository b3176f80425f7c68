//! Services, their endpoints, and network policies.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::errors::{Errors, Path};
use super::{metadata, names, pod, selector};

const NO_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// The longest time that a client may stick to a pod, in seconds: a day.
const LONGEST_STICKY: i64 = 86_400;

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[][..], Vec::as_slice)
}

/// An address of IPv4 or IPv6.
pub(super) fn address(address: &str, path: &Path<'_>, errors: &mut Errors) {
    if address.parse::<IpAddr>().is_err() {
        errors.invalid_text(path, address, NO_ADDRESS);
    }
}

pub(super) fn service(service: &Value, errors: &mut Errors) {
    let (spec, path) = (&service["spec"], Path::Root.at("spec"));
    let kind = text(spec, "type");
    let headless = spec["clusterIP"] == "None";
    if list(spec, "ports").is_empty() && !headless && kind != "ExternalName" {
        errors.required(&path.at("ports"), "");
    }
    if headless && matches!(kind, "NodePort" | "LoadBalancer") {
        let why = format!("may not be set to 'None' for {kind} services");
        errors.invalid_text(&path.at("clusterIPs").item(0), "None", &why);
    }
    if kind == "ExternalName" {
        external(spec, &path, errors);
    }
    ports(spec, &path.at("ports"), errors);
    metadata::labels(&spec["selector"], &path.at("selector"), errors);
    let known = ["ClientIP", "None"];
    errors.one_of(&path.at("sessionAffinity"), &spec["sessionAffinity"], &known);
    if let Some(seconds) = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].as_i64()
        && !(1..=LONGEST_STICKY).contains(&seconds)
    {
        let path = path.at("sessionAffinityConfig");
        let path = path.at("clientIP");
        let why = format!("must be greater than 0 and less than {LONGEST_STICKY}");
        errors.invalid(&path.at("timeoutSeconds"), seconds, &why);
    }
    if kind != "ExternalName" {
        addresses(spec, &path, errors);
    }
    for (index, ip) in list(spec, "externalIPs").iter().enumerate() {
        address(ip.as_str().unwrap_or_default(), &path.at("externalIPs").item(index), errors);
    }
    if !kind.is_empty() {
        let known = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
        errors.one_of(&path.at("type"), &spec["type"], &known);
    }
    if kind == "ClusterIP" {
        for (index, port) in list(spec, "ports").iter().enumerate() {
            if port["nodePort"].as_i64().is_some_and(|port| port != 0) {
                let why = "may not be used when `type` is 'ClusterIP'";
                errors.forbidden(&path.at("ports").item(index).at("nodePort"), why);
            }
        }
    }
    if !list(spec, "loadBalancerSourceRanges").is_empty() && kind != "LoadBalancer" {
        errors.forbidden(&path.at("LoadBalancerSourceRanges"), "may only be used when `type` is 'LoadBalancer'");
    }
    traffic(spec, kind, &path, errors);
}

fn external(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    if !list(spec, "clusterIPs").is_empty() || !text(spec, "clusterIP").is_empty() {
        errors.forbidden(&path.at("clusterIPs"), "may not be set for ExternalName services");
    }
    match text(spec, "externalName") {
        "" => errors.required(&path.at("externalName"), ""),
        name => {
            let domain = name.strip_suffix('.').unwrap_or(name);
            errors.each(&path.at("externalName"), name, names::subdomain(domain));
        }
    }
}

fn ports(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let ports = list(spec, "ports");
    let mut known = BTreeSet::new();
    let mut numbers: BTreeSet<(String, i64)> = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.item(index);
        match text(port, "name") {
            "" if ports.len() > 1 => errors.required(&path.at("name"), ""),
            "" => {}
            name => {
                errors.each(&path.at("name"), name, names::label(name));
                if !known.insert(name) {
                    errors.duplicate(&path.at("name"), json!(name));
                }
            }
        }
        errors.between(&path.at("port"), port["port"].as_i64().unwrap_or(0), 1, 65_535);
        match text(port, "protocol") {
            "" => errors.required(&path.at("protocol"), ""),
            _ => errors.one_of(&path.at("protocol"), &port["protocol"], &PROTOCOLS),
        }
        pod::port(&port["targetPort"], &path.at("targetPort"), errors);
        let number = port["port"].as_i64().unwrap_or(0);
        if !numbers.insert((text(port, "protocol").to_owned(), number)) {
            let protocol = &port["protocol"];
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":{protocol},\"AppProtocol\":null,\"Port\":{number},\"TargetPort\":0,\"NodePort\":0}}"
            );
            errors.duplicate(&path, shown);
        }
    }
}

fn addresses(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let ips = list(spec, "clusterIPs");
    let first = ips.first().and_then(Value::as_str).unwrap_or_default();
    let ip = text(spec, "clusterIP");
    if !ips.is_empty() && !ip.is_empty() && first != ip {
        errors.invalid(&path.at("clusterIPs"), json!(ips), "first value must match `clusterIP`");
    }
    for (index, ip) in ips.iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        if ip != "None" {
            address(ip, &path.at("clusterIPs").item(index), errors);
        }
    }
    if ips.is_empty() && !ip.is_empty() && ip != "None" {
        address(ip, &path.at("clusterIPs").item(0), errors);
    }
    for (index, family) in list(spec, "ipFamilies").iter().enumerate() {
        let at = path.at("ipFamilies");
        let at = at.item(index);
        match family.as_str().unwrap_or_default() {
            "IPv4" => {}
            "IPv6" => errors.invalid(&at, family, "not configured on this cluster"),
            _ => errors.not_supported(&at, family, &["IPv4", "IPv6"]),
        }
    }
    let policy = &spec["ipFamilyPolicy"];
    if policy == "RequireDualStack" && !spec["clusterIP"].is_null() && ip != "None" {
        return;
    }
    errors.one_of(&path.at("ipFamilyPolicy"), policy, &["PreferDualStack", "RequireDualStack", "SingleStack"]);
    if policy == "RequireDualStack" && !(ip == "None" && spec["selector"].is_null()) {
        let why = "this cluster is not configured for dual-stack services";
        errors.invalid(&path.at("ipFamilyPolicy"), policy, why);
    }
}

fn traffic(spec: &Value, kind: &str, path: &Path<'_>, errors: &mut Errors) {
    let known = ["Cluster", "Local"];
    let outer = &spec["externalTrafficPolicy"];
    let reachable = matches!(kind, "NodePort" | "LoadBalancer") || !list(spec, "externalIPs").is_empty();
    if !outer.is_null() && !reachable {
        let why = "may only be set for externally-accessible services";
        errors.invalid(&path.at("externalTrafficPolicy"), outer, why);
    } else {
        errors.one_of(&path.at("externalTrafficPolicy"), outer, &known);
    }
    errors.one_of(&path.at("internalTrafficPolicy"), &spec["internalTrafficPolicy"], &known);
}

pub(super) fn endpoints(endpoints: &Value, errors: &mut Errors) {
    for (index, subset) in list(endpoints, "subsets").iter().enumerate() {
        let path = Path::Root.at("subsets");
        let path = path.item(index);
        if list(subset, "addresses").is_empty() && list(subset, "notReadyAddresses").is_empty() {
            errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for field in ["addresses", "notReadyAddresses"] {
            for (index, endpoint) in list(subset, field).iter().enumerate() {
                let path = path.at(field);
                let path = path.item(index);
                endpoint_address(text(endpoint, "ip"), &path.at("ip"), errors);
            }
        }
        for (index, port) in list(subset, "ports").iter().enumerate() {
            let path = path.at("ports");
            let path = path.item(index);
            let name = text(port, "name");
            if !name.is_empty() {
                errors.each(&path.at("name"), name, names::label(name));
            } else if list(subset, "ports").len() > 1 {
                errors.required(&path.at("name"), "");
            }
            errors.between(&path.at("port"), port["port"].as_i64().unwrap_or(0), 1, 65_535);
            errors.one_of(&path.at("protocol"), &port["protocol"], &PROTOCOLS);
        }
    }
}

fn endpoint_address(ip: &str, path: &Path<'_>, errors: &mut Errors) {
    match ip.parse::<IpAddr>() {
        Err(_) => errors.invalid_text(path, ip, NO_ADDRESS),
        Ok(parsed) if parsed.is_loopback() => {
            errors.invalid_text(path, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
        }
        Ok(parsed) if parsed.is_unspecified() => {
            errors.invalid_text(path, ip, &format!("may not be unspecified ({ip})"));
        }
        Ok(_) => {}
    }
}

pub(super) fn endpoint_slice(slice: &Value, errors: &mut Errors) {
    let root = Path::Root;
    match text(slice, "addressType") {
        "" => errors.required(&root.at("addressType"), ""),
        _ => errors.one_of(&root.at("addressType"), &slice["addressType"], &["FQDN", "IPv4", "IPv6"]),
    }
    for (index, endpoint) in list(slice, "endpoints").iter().enumerate() {
        let path = root.at("endpoints");
        let path = path.item(index);
        if list(endpoint, "addresses").is_empty() {
            errors.required(&path.at("addresses"), "must contain at least 1 address");
        }
        for (index, ip) in list(endpoint, "addresses").iter().enumerate() {
            let path = path.at("addresses");
            if matches!(text(slice, "addressType"), "IPv4" | "IPv6") {
                endpoint_address(ip.as_str().unwrap_or_default(), &path.item(index), errors);
            }
        }
        if let Some(name) = endpoint["hostname"].as_str() {
            errors.each(&path.at("hostname"), name, names::label(name));
        }
    }
    let mut known = BTreeSet::new();
    for (index, port) in list(slice, "ports").iter().enumerate() {
        let path = root.at("ports");
        let path = path.item(index);
        let name = text(port, "name");
        if !name.is_empty() {
            errors.each(&path.at("name"), name, names::label(name));
        }
        if !known.insert(name) {
            errors.duplicate(&path.at("name"), json!(name));
        }
        errors.one_of(&path.at("protocol"), &port["protocol"], &PROTOCOLS);
    }
}

pub(super) fn policy(policy: &Value, errors: &mut Errors) {
    let (spec, path) = (&policy["spec"], Path::Root.at("spec"));
    selector::validate(&spec["podSelector"], &path.at("podSelector"), errors);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in list(spec, direction).iter().enumerate() {
            let path = path.at(direction);
            let path = path.item(index);
            for (index, port) in list(rule, "ports").iter().enumerate() {
                policy_port(port, &path.at("ports").item(index), errors);
            }
            for (index, peer) in list(rule, peers).iter().enumerate() {
                policy_peer(peer, &path.at(peers).item(index), errors);
            }
        }
    }
    let types = list(spec, "policyTypes");
    if types.len() > 2 {
        errors.invalid(&path.at("policyTypes"), json!(types), "may not specify more than two policyTypes");
        return;
    }
    for (index, kind) in types.iter().enumerate() {
        errors.one_of(&path.at("policyTypes").item(index), kind, &["Ingress", "Egress"]);
    }
}

fn policy_port(port: &Value, path: &Path<'_>, errors: &mut Errors) {
    errors.one_of(&path.at("protocol"), &port["protocol"], &["TCP", "UDP", "SCTP"]);
    let (number, end) = (&port["port"], &port["endPort"]);
    if !number.is_null() {
        pod::port(number, &path.at("port"), errors);
    }
    let Some(last) = end.as_i64() else { return };
    let path = path.at("endPort");
    match number {
        Value::Null => errors.invalid(&path, last, "may not be specified when `port` is not specified"),
        Value::String(_) => errors.invalid(&path, last, "may not be specified when `port` is non-numeric"),
        number => {
            if number.as_i64().is_some_and(|first| last < first) {
                // The real server names the port here, not its end.
                errors.invalid(&path, number, "must be greater than or equal to `port`");
            }
            errors.between(&path, last, 1, 65_535);
        }
    }
}

fn policy_peer(peer: &Value, path: &Path<'_>, errors: &mut Errors) {
    let mut count = 0;
    for kind in ["podSelector", "namespaceSelector"] {
        if !peer[kind].is_null() {
            count += 1;
            selector::validate(&peer[kind], &path.at(kind), errors);
        }
    }
    let block = &peer["ipBlock"];
    if !block.is_null() {
        ip_block(block, &path.at("ipBlock"), errors);
        if count > 0 {
            errors.forbidden(path, "may not specify both ipBlock and another peer");
        }
    } else if count == 0 {
        errors.required(path, "must specify a peer");
    }
}

/// An address and the length of its prefix.
fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, length) = text.split_once('/')?;
    let ip: IpAddr = ip.parse().ok()?;
    let length: u8 = length.parse().ok()?;
    (length <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, length))
}

/// The address with all bits after the prefix cleared.
fn base(ip: IpAddr, length: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((u32::from(ip) & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((u128::from(ip) & mask).into())
        }
    }
}

const NO_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

pub(super) fn is_cidr(text: &str, path: &Path<'_>, errors: &mut Errors) {
    if cidr(text).is_none() {
        errors.invalid_text(path, text, NO_CIDR);
    }
}

fn ip_block(block: &Value, path: &Path<'_>, errors: &mut Errors) {
    let whole = text(block, "cidr");
    if whole.is_empty() {
        errors.required(&path.at("cidr"), "");
        return;
    }
    let Some((ip, length)) = cidr(whole) else {
        errors.invalid_text(&path.at("cidr"), whole, NO_CIDR);
        return;
    };
    for (index, except) in list(block, "except").iter().enumerate() {
        let path = path.at("except");
        let path = path.item(index);
        let except = except.as_str().unwrap_or_default();
        match cidr(except) {
            None => errors.invalid_text(&path, except, NO_CIDR),
            Some((inner, inner_length)) => {
                let within =
                    inner_length > length && inner.is_ipv4() == ip.is_ipv4() && base(inner, length) == base(ip, length);
                if !within {
                    errors.invalid_text(&path, except, "must be a strict subset of `cidr`");
                }
            }
        }
    }
}

/// Blocks whose address has bits after its prefix.
pub(super) fn policy_warnings(policy: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (outer, rule) in list(&policy["spec"], direction).iter().enumerate() {
            for (index, peer) in list(rule, peers).iter().enumerate() {
                let text = text(&peer["ipBlock"], "cidr");
                let Some((ip, length)) = cidr(text) else { continue };
                let base = base(ip, length);
                if base != ip {
                    let path = format!("spec.{direction}[{outer}].{peers}[{index}].ipBlock.cidr");
                    let full = if ip.is_ipv4() { 32 } else { 128 };
                    found.push(format!(
                        "{path}: CIDR value {text:?} is ambiguous in this context (should be \"{base}/{length}\" or \"{ip}/{full}\"?)"
                    ));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::errors::Errors;
    use crate::lab::resource::{NETWORK_POLICIES, SERVICES};

    fn faults(check: fn(&Value, &mut Errors), object: Value) -> Vec<String> {
        let mut errors = Errors::default();
        check(&object, &mut errors);
        let Err(status) = errors.finish(&NETWORK_POLICIES, "x") else { return Vec::new() };
        let causes = status.details.unwrap()["causes"].as_array().unwrap().clone();
        let of = |cause: &Value, field: &str| cause[field].as_str().unwrap().to_owned();
        causes.iter().map(|cause| format!("{}: {}", of(cause, "field"), of(cause, "message"))).collect()
    }

    #[test]
    fn blocks_of_addresses_lie_in_each_other() {
        let except = json!(["11.0.0.0/8", "x", "10.0.0.0/8", "10.1.0.0/16"]);
        let block = json!({"cidr": "10.0.0.0/8", "except": except});
        let found = faults(super::policy, json!({"spec": {"ingress": [{"from": [{"ipBlock": block}]}]}}));
        let path = "spec.ingress[0].from[0].ipBlock.except";
        let wanted = [
            format!("{path}[0]: Invalid value: \"11.0.0.0/8\": must be a strict subset of `cidr`"),
            format!("{path}[1]: Invalid value: \"x\": {}", super::NO_CIDR),
            format!("{path}[2]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`"),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn ranges_of_ports_have_a_numeric_beginning() {
        let ports = json!([{"port": 80, "endPort": 70}, {"port": "http", "endPort": 70}, {"endPort": 70}, {"port": 0}]);
        let found = faults(super::policy, json!({"spec": {"egress": [{"ports": ports}]}}));
        let path = "spec.egress[0].ports";
        let wanted = [
            format!("{path}[0].endPort: Invalid value: 80: must be greater than or equal to `port`"),
            format!("{path}[1].endPort: Invalid value: 70: may not be specified when `port` is non-numeric"),
            format!("{path}[2].endPort: Invalid value: 70: may not be specified when `port` is not specified"),
            format!("{path}[3].port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn several_ports_need_names() {
        let spec = json!({"type": "ClusterIP", "ports": [
            {"port": 80, "targetPort": 80, "protocol": "TCP"}, {"port": 0, "targetPort": "A_", "protocol": "TCP", "nodePort": 30001},
        ]});
        let found = faults(super::service, json!({"kind": SERVICES.kind, "spec": spec}));
        let wanted = [
            "spec.ports[0].name: Required value",
            "spec.ports[1].name: Required value",
            "spec.ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[1].targetPort: Invalid value: \"A_\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
            "spec.ports[1].targetPort: Invalid value: \"A_\": must contain at least one letter (a-z)",
            "spec.ports[1].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ];
        assert_eq!(found, wanted);
    }
}
