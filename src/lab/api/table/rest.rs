//! The rows of services, nodes, events and all that makes no pods.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::age::since;
use super::{Cells, count, labels, list, name, none_if_empty, or_none, selector, text};
use crate::clock::Timestamp;

/// How many addresses or ports a cell names.
const SHOWN: usize = 3;

fn age(object: &Value, now: Timestamp) -> Value {
    json!(since(&object["metadata"]["creationTimestamp"], now))
}

fn size(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}

pub(super) fn plain(object: &Value, now: Timestamp) -> Cells {
    vec![name(object), age(object, now)]
}

pub(super) fn config_map(object: &Value, now: Timestamp) -> Cells {
    vec![name(object), json!(size(&object["data"]) + size(&object["binaryData"])), age(object, now)]
}

pub(super) fn secret(object: &Value, now: Timestamp) -> Cells {
    vec![name(object), json!(text(&object["type"])), json!(size(&object["data"])), age(object, now)]
}

pub(super) fn service_account(object: &Value, now: Timestamp) -> Cells {
    vec![name(object), json!(list(&object["secrets"]).len()), age(object, now)]
}

pub(super) fn namespace(object: &Value, now: Timestamp) -> Cells {
    vec![name(object), json!(text(&object["status"]["phase"])), age(object, now)]
}

pub(super) fn service(object: &Value, now: Timestamp) -> Cells {
    let spec = &object["spec"];
    let port = |port: &Value| match count(&port["nodePort"]) {
        0 => format!("{}/{}", count(&port["port"]), text(&port["protocol"])),
        node => format!("{}:{node}/{}", count(&port["port"]), text(&port["protocol"])),
    };
    let ports: Vec<String> = list(&spec["ports"]).iter().map(port).collect();
    let mut outside: BTreeSet<&str> = BTreeSet::new();
    let kind = text(&spec["type"]);
    if kind == "LoadBalancer" {
        for ingress in list(&object["status"]["loadBalancer"]["ingress"]) {
            let address = [text(&ingress["ip"]), text(&ingress["hostname"])].into_iter().find(|a| !a.is_empty());
            outside.extend(address);
        }
    }
    let outside: Vec<&str> = outside.into_iter().chain(list(&spec["externalIPs"]).iter().map(text)).collect();
    let outside = match kind {
        "ExternalName" => text(&spec["externalName"]).to_owned(),
        "LoadBalancer" if outside.is_empty() => "<pending>".to_owned(),
        _ => none_if_empty(outside.join(",")),
    };
    vec![
        name(object),
        json!(kind),
        json!(or_none(text(&spec["clusterIP"]))),
        json!(outside),
        json!(none_if_empty(ports.join(","))),
        age(object, now),
        json!(labels(&spec["selector"])),
    ]
}

/// The first few of `all`, and how many more there are.
fn some(all: &[String]) -> String {
    let shown = all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(",");
    if all.len() > SHOWN { format!("{shown} + {} more...", all.len() - SHOWN) } else { shown }
}

pub(super) fn endpoints(object: &Value, now: Timestamp) -> Cells {
    let subsets = list(&object["subsets"]);
    let mut all = Vec::new();
    for subset in subsets {
        let addresses = list(&subset["addresses"]).iter().map(|address| text(&address["ip"]));
        let ports = list(&subset["ports"]);
        if ports.is_empty() {
            all.extend(addresses.clone().map(str::to_owned));
        }
        for port in ports {
            all.extend(addresses.clone().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{}", count(&port["port"])),
                false => format!("{ip}:{}", count(&port["port"])),
            }));
        }
    }
    let shown = if subsets.is_empty() { "<none>".to_owned() } else { some(&all) };
    vec![name(object), json!(shown), age(object, now)]
}

pub(super) fn endpoint_slice(object: &Value, now: Timestamp) -> Cells {
    let port = |port: &Value| match (port["port"].as_u64(), text(&port["name"])) {
        (Some(number), _) => number.to_string(),
        (None, "") => "*".to_owned(),
        (None, name) => name.to_owned(),
    };
    let ports: Vec<String> = list(&object["ports"]).iter().map(port).collect();
    let addresses = list(&object["endpoints"]).iter().flat_map(|endpoint| list(&endpoint["addresses"]));
    let addresses: Vec<String> = addresses.map(|address| text(address).to_owned()).collect();
    let shown = |all: &[String]| if all.is_empty() { "<unset>".to_owned() } else { some(all) };
    let kind = json!(text(&object["addressType"]));
    vec![name(object), kind, json!(shown(&ports)), json!(shown(&addresses)), age(object, now)]
}

pub(super) fn network_policy(object: &Value, now: Timestamp) -> Cells {
    vec![name(object), json!(none_if_empty(selector(&object["spec"]["podSelector"]))), age(object, now)]
}

pub(super) fn lease(object: &Value, now: Timestamp) -> Cells {
    vec![name(object), json!(text(&object["spec"]["holderIdentity"])), age(object, now)]
}

pub(super) fn created_at(object: &Value, _: Timestamp) -> Cells {
    vec![name(object), json!(text(&object["metadata"]["creationTimestamp"]))]
}

pub(super) fn binding(object: &Value, now: Timestamp) -> Cells {
    let subjects = |kind: &str| {
        let of_kind = list(&object["subjects"]).iter().filter(|subject| subject["kind"] == kind);
        let names = of_kind.map(|subject| match (kind, text(&subject["namespace"])) {
            ("ServiceAccount", namespace) => format!("{namespace}/{}", text(&subject["name"])),
            _ => text(&subject["name"]).to_owned(),
        });
        json!(names.collect::<Vec<_>>().join(", "))
    };
    let role = &object["roleRef"];
    let role = json!(format!("{}/{}", text(&role["kind"]), text(&role["name"])));
    let [users, groups, accounts] = ["User", "Group", "ServiceAccount"].map(subjects);
    vec![name(object), role, age(object, now), users, groups, accounts]
}

pub(super) fn node(object: &Value, now: Timestamp) -> Cells {
    let status = &object["status"];
    let ready = list(&status["conditions"]).iter().find(|condition| condition["type"] == "Ready");
    let mut state = match ready {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if object["spec"]["unschedulable"] == true {
        state.push_str(",SchedulingDisabled");
    }
    let marks = object["metadata"]["labels"].as_object().into_iter().flatten();
    let roles: BTreeSet<&str> = marks
        .filter_map(|(label, value)| match label.strip_prefix("node-role.kubernetes.io/") {
            None if label == "kubernetes.io/role" => value.as_str(),
            role => role,
        })
        .filter(|role| !role.is_empty())
        .collect();
    let roles = roles.into_iter().collect::<Vec<_>>().join(",");
    let address = |kind: &str| {
        let found = list(&status["addresses"]).iter().find(|address| address["type"] == kind);
        json!(or_none(found.map_or("", |address| text(&address["address"]))))
    };
    let info = |field: &str| match text(&status["nodeInfo"][field]) {
        "" => json!("<unknown>"),
        known => json!(known),
    };
    vec![
        name(object),
        json!(state),
        json!(none_if_empty(roles)),
        age(object, now),
        json!(text(&status["nodeInfo"]["kubeletVersion"])),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

pub(super) fn event(object: &Value, now: Timestamp) -> Cells {
    let told = |field: &str| Some(since(&object[field], now)).filter(|_| !object[field].is_null());
    let first = told("firstTimestamp").unwrap_or_else(|| since(&object["eventTime"], now));
    let (last, times) = match &object["series"] {
        Value::Null => (told("lastTimestamp").unwrap_or_else(|| first.clone()), count(&object["count"]).max(1)),
        series => (since(&series["lastObservedTime"], now), count(&series["count"])),
    };
    let about = &object["involvedObject"];
    let kind = text(&about["kind"]).to_lowercase();
    let target = if text(&about["name"]).is_empty() { kind } else { format!("{kind}/{}", text(&about["name"])) };
    let either = |a: &Value, b: &Value| [text(a), text(b)].into_iter().find(|t| !t.is_empty()).unwrap_or("").to_owned();
    let mut source = either(&object["source"]["component"], &object["reportingComponent"]);
    let place = either(&object["source"]["host"], &object["reportingInstance"]);
    if !place.is_empty() {
        source = format!("{source}, {place}");
    }
    vec![
        json!(last),
        json!(text(&object["type"])),
        json!(text(&object["reason"])),
        json!(target),
        json!(text(&about["fieldPath"])),
        json!(source),
        json!(text(&object["message"]).trim()),
        json!(first),
        json!(times),
        name(object),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a valid instant")
    }

    #[test]
    fn a_service_shows_its_addresses_and_ports() {
        let service = |spec: Value| {
            let row = service(&json!({"metadata": {"name": "s"}, "spec": spec}), at(0));
            [2, 3, 4, 6].map(|index| row[index].as_str().unwrap_or_default().to_owned())
        };
        let ports = json!([{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]);
        let node_port =
            json!({"type": "NodePort", "clusterIP": "10.96.0.9", "ports": ports, "selector": {"app": "a", "b": "c"}});
        assert_eq!(service(node_port), ["10.96.0.9", "<none>", "80:30080/TCP,53/UDP", "app=a,b=c"]);
        assert_eq!(service(json!({"type": "ClusterIP", "clusterIP": "None"})), ["None", "<none>", "<none>", "<none>"]);
        assert_eq!(service(json!({"type": "LoadBalancer"}))[1], "<pending>");
        assert_eq!(
            service(json!({"type": "ExternalName", "externalName": "example.org"}))[..2],
            ["<none>", "example.org"]
        );
    }

    #[test]
    fn three_endpoints_are_named_and_the_others_counted() {
        let address = |n: u8| json!({"ip": format!("10.0.0.{n}")});
        let addresses: Vec<Value> = (1..=5).map(address).collect();
        let shown = |subsets: Value| endpoints(&json!({"subsets": subsets}), at(0))[1].clone();
        let subset = json!([{"addresses": addresses, "ports": [{"port": 80}]}]);
        assert_eq!(shown(subset), "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...");
        assert_eq!(shown(Value::Null), "<none>");
        assert_eq!(shown(json!([{"notReadyAddresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}])), "");
        let slice = json!({"addressType": "IPv4", "ports": [{"port": 80}, {"name": "any"}, {}], "endpoints": null});
        assert_eq!(endpoint_slice(&slice, at(0))[1..4], [json!("IPv4"), json!("80,any,*"), json!("<unset>")]);
    }

    #[test]
    fn a_cordoned_node_says_so() {
        let labels = json!({"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge", "a": "b"});
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let object = json!({"metadata": {"name": "n", "labels": labels}, "spec": {"unschedulable": true},
            "status": {"conditions": ready, "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}});
        let row = node(&object, at(0));
        assert_eq!(row[1..3], [json!("Ready,SchedulingDisabled"), json!("edge,worker")]);
        assert_eq!(row[5..8], [json!("10.0.0.1"), json!("<none>"), json!("<unknown>")]);
        assert_eq!(node(&json!({}), at(0))[1..3], [json!("Unknown"), json!("<none>")]);
    }

    #[test]
    fn an_event_is_dated_by_its_series_its_last_or_its_own_time() {
        let row = |event_object: Value| {
            let row = event(&event_object, at(100));
            [0, 5, 7, 8].map(|index| row[index].clone())
        };
        let old = json!({"firstTimestamp": "1970-01-01T00:00:40Z", "lastTimestamp": "1970-01-01T00:01:30Z", "count": 3,
            "source": {"component": "kubelet", "host": "n"}});
        assert_eq!(row(old), [json!("10s"), json!("kubelet, n"), json!("60s"), json!(3)]);
        let new = json!({"eventTime": "1970-01-01T00:01:20.000000Z", "reportingComponent": "scheduler",
            "firstTimestamp": null, "lastTimestamp": null});
        assert_eq!(row(new), [json!("20s"), json!("scheduler"), json!("20s"), json!(1)]);
        let series = json!({"eventTime": "1970-01-01T00:00:00.000000Z",
            "series": {"count": 7, "lastObservedTime": "1970-01-01T00:01:39.000000Z"}});
        assert_eq!(row(series), [json!("1s"), json!(""), json!("100s"), json!(7)]);
    }

    #[test]
    fn a_binding_lists_whom_it_binds() {
        let subjects = json!([{"kind": "User", "name": "u"}, {"kind": "User", "name": "v"},
            {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]);
        let row = binding(&json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": subjects}), at(0));
        assert_eq!(row[1], "Role/r");
        assert_eq!(row[3..], [json!("u, v"), json!(""), json!("n/s")]);
    }
}
