//! The scheduler: binds pods to nodes.
//!
//! Looked at are scheduling gates, cordons, taints, node selectors and required node affinity, host ports, requests
//! of cpu, memory and others against what is allocatable, the number of pods, and required anti-affinity to pods. Of
//! the nodes that fit, the one with the fewest pods is taken, by name among equals; preferences, spread, pod affinity,
//! volumes and preemption are not looked at. A pod that fits nowhere is tried again when a node changes or a pod goes,
//! without kube-scheduler's back-off. A node that no kubelet of the lab keeps takes pods too, and never runs them.

mod placed;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use self::placed::{Here, Placed};
use super::events::{Event, Recorder};
use super::objects::{condition, deleting, finished, is_ready};
use super::{Controller, Key};
use crate::clock::{Clock, Timestamp};
use crate::kubernetes::Selector;
use crate::lab::resource::{NAMESPACES, NODES, PODS};
use crate::lab::store::admission::quantity;
use crate::lab::store::{Change, ChangeKind, Object, Part, Store, seconds};

/// Who says so in events and conditions.
const NAME: &str = "default-scheduler";

pub(super) struct Scheduler {
    clock: Clock,
    events: Recorder,
    /// The pods that fit nowhere.
    unplaced: BTreeSet<Key>,
    placed: Placed,
}

impl Scheduler {
    pub(super) fn new(clock: Clock, events: Recorder) -> Self {
        Self { clock, events, unplaced: BTreeSet::new(), placed: Placed::default() }
    }

    fn bind(&self, store: &Store, pod: &Object, node: &str) {
        let key = Key::of(pod);
        let uid = &pod["metadata"]["uid"];
        let bind = |before: &Value| {
            let mut after = before.clone();
            if before["metadata"]["uid"] == *uid && before["spec"]["nodeName"].is_null() {
                after["spec"]["nodeName"] = json!(node);
            }
            Ok(after)
        };
        self.scheduled(store, pod, json!({"status": "True", "type": "PodScheduled"}));
        if store.modify(&PODS, &key.namespace, &key.name, Part::Main, false, bind).is_ok() {
            let told = format!("Successfully assigned {}/{} to {node}", key.namespace, key.name);
            self.events.record(pod, &Event::normal(NAME, "Scheduled", told));
        }
    }

    fn refuse(&self, store: &Store, pod: &Object, reason: &str, message: &str) {
        let before = condition(&pod["status"], "PodScheduled");
        if before.is_some_and(|before| before["reason"] == reason && before["message"] == message) {
            return;
        }
        let condition = json!({"message": message, "reason": reason, "status": "False", "type": "PodScheduled"});
        self.scheduled(store, pod, condition);
        if reason == "Unschedulable" {
            self.events.record(pod, &Event::warning(NAME, "FailedScheduling", message));
        }
    }

    /// Writes the condition of that type.
    fn scheduled(&self, store: &Store, pod: &Object, mut condition: Value) {
        let key = Key::of(pod);
        let now = seconds(self.clock.now());
        let write = |before: &Value| {
            let mut after = before.clone();
            if before["metadata"]["uid"] != pod["metadata"]["uid"] {
                return Ok(after);
            }
            let mut all = before["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let old = all.iter().position(|condition| condition["type"] == "PodScheduled").map(|at| all.remove(at));
            let since = old.filter(|old| old["status"] == condition["status"]);
            condition["lastProbeTime"] = Value::Null;
            condition["lastTransitionTime"] = since.map_or(json!(now), |old| old["lastTransitionTime"].clone());
            if !before["metadata"]["generation"].is_null() {
                condition["observedGeneration"] = before["metadata"]["generation"].clone();
            }
            all.push(condition);
            after["status"]["conditions"] = json!(all);
            Ok(after)
        };
        // It may have been deleted meanwhile.
        let _ = store.modify(&PODS, &key.namespace, &key.name, Part::Status, false, write);
    }
}

impl Controller for Scheduler {
    fn affected(&self, _: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        if change.resource.is(&PODS) {
            if is_waiting(&change.object) {
                into.insert(Key::of(&change.object));
            }
            let made_room = change.kind == ChangeKind::Deleted || finished(&change.object);
            if !made_room || change.object["spec"]["nodeName"].is_null() {
                return;
            }
        } else if !change.resource.is(&NODES) {
            return;
        }
        into.extend(self.unplaced.iter().cloned());
    }

    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp> {
        self.unplaced.remove(key);
        let pod = store.find(&PODS, &key.namespace, &key.name).filter(|pod| is_waiting(pod))?;
        if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
            let message = "Scheduling is blocked due to non-empty scheduling gates";
            self.refuse(store, &pod, "SchedulingGated", message);
            return None;
        }
        let (nodes, _) = store.list(&NODES, None);
        self.placed.follow(store);
        match choose(store, &pod, &nodes, &self.placed) {
            Ok(node) => self.bind(store, &pod, &node),
            Err(message) => {
                self.unplaced.insert(key.clone());
                self.refuse(store, &pod, "Unschedulable", &message);
            }
        }
        None
    }
}

/// Whether this scheduler has to bind it.
fn is_waiting(pod: &Value) -> bool {
    let ours = pod["spec"]["schedulerName"].as_str().is_none_or(|name| name == NAME);
    ours && pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty) && !deleting(pod) && !finished(pod)
}

/// Why a node does not do, and whether it might if pods went.
type Unfit = (Vec<String>, bool);

/// The node for a pod, or the scheduler's message that there is none.
fn choose(store: &Store, pod: &Value, nodes: &[Object], placed: &Placed) -> Result<String, String> {
    if nodes.is_empty() {
        return Err("no nodes available to schedule pods".to_owned());
    }
    let mut best: Option<(usize, &str)> = None;
    let nobody = Here::default();
    let (mut reasons, mut helpless, mut victims) = (BTreeMap::<String, usize>::new(), 0, 0);
    for node in nodes {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        let here = placed.on(name).unwrap_or(&nobody);
        match fits(store, pod, node, here) {
            Ok(()) if best.is_none_or(|(count, _)| here.pods.len() < count) => best = Some((here.pods.len(), name)),
            Ok(()) => {}
            Err((why, might)) => {
                for why in why {
                    *reasons.entry(why).or_default() += 1;
                }
                *(if might { &mut victims } else { &mut helpless }) += 1;
            }
        }
    }
    if let Some((_, name)) = best {
        return Ok(name.to_owned());
    }
    let mut told: Vec<String> = reasons.into_iter().map(|(why, count)| format!("{count} {why}")).collect();
    told.sort();
    let mut preemption = Vec::new();
    if victims > 0 {
        preemption.push(format!("{victims} No preemption victims found for incoming pod"));
    }
    if helpless > 0 {
        preemption.push(format!("{helpless} Preemption is not helpful for scheduling"));
    }
    preemption.sort();
    let (all, told, preemption) = (nodes.len(), told.join(", "), preemption.join(", "));
    Err(format!(
        "0/{all} nodes are available: {told}. no new claims to deallocate, preemption: 0/{all} nodes are available: {preemption}."
    ))
}

/// Whether a pod fits on a node, in the order of the scheduler's filters.
fn fits(store: &Store, pod: &Value, node: &Value, here: &Here) -> Result<(), Unfit> {
    let never = |why: String| Err((vec![why], false));
    let spec = &pod["spec"];
    let tolerations = spec["tolerations"].as_array().map_or(&[][..], Vec::as_slice);
    let tolerates = |taint: &Value| tolerations.iter().any(|toleration| tolerated(toleration, taint));
    let cordon = json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"});
    if node["spec"]["unschedulable"] == true && !tolerates(&cordon) {
        return never("node(s) were unschedulable".to_owned());
    }
    let mut taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    if !is_ready(node) {
        // What the node controller puts on it.
        taints.push(json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}));
    }
    let repels = |taint: &&Value| matches!(taint["effect"].as_str(), Some("NoSchedule" | "NoExecute"));
    if let Some(taint) = taints.iter().filter(repels).find(|taint| !tolerates(taint)) {
        let text = |field: &str| taint[field].as_str().unwrap_or_default();
        return never(format!("node(s) had untolerated taint {{{}: {}}}", text("key"), text("value")));
    }
    let labels = &node["metadata"]["labels"];
    let selector = json!({"matchLabels": spec["nodeSelector"].as_object().cloned().unwrap_or_default()});
    let selected = Selector::from_json(&selector).is_ok_and(|selector| selector.matches(labels));
    let affinity = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let mut terms = affinity["nodeSelectorTerms"].as_array().into_iter().flatten();
    if !selected || !(affinity.is_null() || terms.any(|term| takes(term, node))) {
        return never("node(s) didn't match Pod's node affinity/selector".to_owned());
    }
    if !here.leaves(&host_ports(pod)) {
        return Err((vec!["node(s) didn't have free ports for the requested pod ports".to_owned()], true));
    }
    resources(pod, node, here)?;
    anti_affinity(store, pod, here)
}

pub(super) fn tolerated(toleration: &Value, taint: &Value) -> bool {
    let text = |field: &str| toleration[field].as_str().unwrap_or_default();
    let effect = text("effect").is_empty() || toleration["effect"] == taint["effect"];
    let exists = text("operator") == "Exists";
    let key = (text("key").is_empty() && exists) || toleration["key"] == taint["key"];
    effect && key && (exists || text("value") == taint["value"].as_str().unwrap_or_default())
}

/// Whether a term of a node selector takes a node: all of its expressions, and at least one.
pub(super) fn takes(term: &Value, node: &Value) -> bool {
    let of = |field: &str| term[field].as_array().cloned().unwrap_or_default();
    let (expressions, fields) = (of("matchExpressions"), of("matchFields"));
    let label = |key: &str| node["metadata"]["labels"][key].as_str();
    let field = |key: &str| (key == "metadata.name").then(|| node["metadata"]["name"].as_str()).flatten();
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|expression| holds(expression, label))
        && fields.iter().all(|expression| holds(expression, field))
}

fn holds<'a>(expression: &Value, value: impl Fn(&str) -> Option<&'a str>) -> bool {
    let found = value(expression["key"].as_str().unwrap_or_default());
    let values: Vec<&str> = expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let numbers = || Some((found?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match expression["operator"].as_str().unwrap_or_default() {
        "In" => found.is_some_and(|found| values.contains(&found)),
        "NotIn" => found.is_none_or(|found| !values.contains(&found)),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => numbers().is_some_and(|(found, than)| found > than),
        "Lt" => numbers().is_some_and(|(found, than)| found < than),
        _ => false,
    }
}

fn host_ports(pod: &Value) -> BTreeSet<(u64, String)> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let ports = containers.filter_map(|container| container["ports"].as_array()).flatten();
    let host = pod["spec"]["hostNetwork"] == true;
    ports
        .filter_map(|port| {
            let number = port["hostPort"].as_u64().or_else(|| port["containerPort"].as_u64().filter(|_| host))?;
            Some((number, port["protocol"].as_str().unwrap_or("TCP").to_owned()))
        })
        .collect()
}

fn resources(pod: &Value, node: &Value, here: &Here) -> Result<(), Unfit> {
    let room = &node["status"]["allocatable"];
    let mut short = Vec::new();
    let mut might = true;
    let pods = amount(&room["pods"]).map_or(110, |nanos| nanos / 1_000_000_000);
    if here.pods.len() as i128 + 1 > pods {
        short.push("Too many pods".to_owned());
    }
    for (name, wanted) in requests(pod) {
        let all = amount(&room[&name]).unwrap_or(0);
        if wanted > 0 && wanted > all - here.used(&name) {
            short.push(format!("Insufficient {name}"));
            might &= wanted <= all;
        }
    }
    if short.is_empty() { Ok(()) } else { Err((short, might)) }
}

/// What a pod asks for, in billionths: all containers together, or the most demanding init container.
fn requests(pod: &Value) -> BTreeMap<String, i128> {
    let mut sum = BTreeMap::new();
    let of = |list: &Value| -> Vec<BTreeMap<String, i128>> {
        let containers = list.as_array().into_iter().flatten();
        let requests = containers.map(|container| {
            let mut all = BTreeMap::new();
            for field in ["limits", "requests"] {
                for (name, value) in container["resources"][field].as_object().into_iter().flatten() {
                    all.insert(name.clone(), amount(value).unwrap_or(0));
                }
            }
            all
        });
        requests.collect()
    };
    for container in of(&pod["spec"]["containers"]) {
        for (name, value) in container {
            *sum.entry(name).or_insert(0) += value;
        }
    }
    for container in of(&pod["spec"]["initContainers"]) {
        for (name, value) in container {
            let all = sum.entry(name).or_insert(0);
            *all = (*all).max(value);
        }
    }
    sum
}

/// An amount in billionths, exact: a tenth and two tenths are three.
fn amount(value: &Value) -> Option<i128> {
    quantity::nanos(value.as_str()?)
}

/// Required anti-affinity, of the pod against those here and of those here against it. The lab knows no topology but
/// the node: any key means it.
fn anti_affinity(store: &Store, pod: &Value, here: &Here) -> Result<(), Unfit> {
    if !terms(pod).is_empty() && here.pods.values().any(|other| avoids(store, pod, other)) {
        return Err((vec!["node(s) didn't match pod anti-affinity rules".to_owned()], true));
    }
    if here.avoiding().any(|other| avoids(store, other, pod)) {
        return Err((vec!["node(s) didn't satisfy existing pods anti-affinity rules".to_owned()], true));
    }
    Ok(())
}

/// The terms of a pod's required anti-affinity.
fn terms(pod: &Value) -> &[Value] {
    let terms = &pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    terms.as_array().map_or(&[], Vec::as_slice)
}

fn avoids(store: &Store, pod: &Value, other: &Value) -> bool {
    let namespace = other["metadata"]["namespace"].as_str().unwrap_or_default();
    terms(pod).iter().any(|term| {
        let named = term["namespaces"].as_array().map_or(&[][..], Vec::as_slice);
        let by_labels = term.get("namespaceSelector").filter(|selector| !selector.is_null()).is_some_and(|selector| {
            let labels = store.find(&NAMESPACES, "", namespace).map(|found| found["metadata"]["labels"].clone());
            Selector::from_json(selector).is_ok_and(|selector| selector.matches(&labels.unwrap_or_default()))
        });
        let own = named.is_empty() && term["namespaceSelector"].is_null() && pod["metadata"]["namespace"] == namespace;
        (own || by_labels || named.iter().any(|name| name == namespace))
            && !term["labelSelector"].is_null()
            && Selector::from_json(&term["labelSelector"])
                .is_ok_and(|selector| selector.matches(&other["metadata"]["labels"]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Seed;

    fn told(pod: Value, node: Value, placed: &[Value]) -> String {
        let store = Store::new(Clock::virtual_time(), Seed(0));
        let ready = json!({
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3"},
        });
        let mut node =
            json!({"metadata": {"name": "n", "labels": node["labels"]}, "spec": node["spec"], "status": ready});
        if node["spec"].is_null() {
            node["spec"] = json!({});
        }
        let pod = json!({"metadata": {"namespace": "a", "labels": {"app": "x"}}, "spec": pod});
        let mut there = Placed::default();
        for (number, spec) in placed.iter().enumerate() {
            let mut spec = spec.clone();
            spec["nodeName"] = json!("n");
            let metadata = json!({"namespace": "a", "name": format!("p{number}"), "labels": {"app": "x"}});
            there.put(&Object::new(json!({"metadata": metadata, "spec": spec})));
        }
        choose(&store, &pod, &[Object::new(node)], &there).unwrap_or_else(|why| why)
    }

    fn no(why: &str, preemption: &str) -> String {
        format!(
            "0/1 nodes are available: 1 {why}. no new claims to deallocate, preemption: 0/1 nodes are available: 1 {preemption}."
        )
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_is_told_in_the_schedulers_words() {
        let (never, maybe) =
            ("Preemption is not helpful for scheduling", "No preemption victims found for incoming pod");
        let cpu = |n: &str| json!({"containers": [{"resources": {"requests": {"cpu": n}}}]});
        assert_eq!(told(json!({}), json!({}), &[]), "n");
        let selected = json!({"nodeSelector": {"disk": "ssd"}});
        assert_eq!(told(selected.clone(), json!({"labels": {"disk": "ssd"}}), &[]), "n");
        assert_eq!(
            told(selected, json!({"labels": {}}), &[]),
            no("node(s) didn't match Pod's node affinity/selector", never)
        );
        let cordoned = json!({"spec": {"unschedulable": true}});
        assert_eq!(told(json!({}), cordoned.clone(), &[]), no("node(s) were unschedulable", never));
        assert_eq!(told(json!({"tolerations": [{"operator": "Exists"}]}), cordoned, &[]), "n");
        let tainted = json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}});
        assert_eq!(told(json!({}), tainted.clone(), &[]), no("node(s) had untolerated taint {k: v}", never));
        assert_eq!(told(json!({"tolerations": [{"key": "k", "value": "v"}]}), tainted, &[]), "n");
        assert_eq!(told(cpu("100"), json!({}), &[]), no("Insufficient cpu", never));
        assert_eq!(told(cpu("1500m"), json!({}), &[cpu("1")]), no("Insufficient cpu", maybe));
        assert_eq!(told(cpu("1"), json!({}), &[cpu("1")]), "n");
        assert_eq!(told(cpu("300m"), json!({}), &[cpu("1100m"), cpu("600m")]), "n", "to the last thousandth");
        assert_eq!(told(json!({}), json!({}), &[json!({}), json!({}), json!({})]), no("Too many pods", maybe));
        let apart = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "kubernetes.io/hostname"}]}}});
        assert_eq!(
            told(apart.clone(), json!({}), &[json!({})]),
            no("node(s) didn't match pod anti-affinity rules", maybe)
        );
        assert_eq!(
            told(json!({}), json!({}), &[apart]),
            no("node(s) didn't satisfy existing pods anti-affinity rules", maybe)
        );
    }

    #[test]
    fn node_selector_terms_are_or_and_expressions_are_and() {
        let node = json!({"metadata": {"name": "n", "labels": {"a": "1", "n": "5"}}});
        let is = |operator: &str, values: Value| {
            takes(&json!({"matchExpressions": [{"key": "n", "operator": operator, "values": values}]}), &node)
        };
        assert!(is("In", json!(["5"])) && !is("NotIn", json!(["5"])) && is("Exists", json!([])));
        assert!(is("Gt", json!(["4"])) && !is("Gt", json!(["5"])) && is("Lt", json!(["6"])));
        assert!(!takes(&json!({}), &node), "an empty term takes nothing");
        assert!(takes(&json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}), &node));
    }
}
