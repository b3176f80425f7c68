//! `chaosk8s.node`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::{Answer, Failed, functions};
use super::objects::{name_of, raw};
use super::{Call, NODE, POD, Stage, drain, manifest, object, plain};
use crate::experiment::Environment;
use crate::kubernetes::ObjectPatch;

functions! { ACTIONS: "chaosk8s.node.actions", Action, cluster: true {
    create_node(; meta, spec) = create_node;
    delete_nodes(; label_selector, all, rand, count, grace_period_seconds, pod_label_selector, pod_namespace)
        = delete_nodes;
    cordon_node(; name, label_selector) = cordon_node;
    uncordon_node(; name, label_selector) = uncordon_node;
    drain_nodes(; name, label_selector, delete_pods_with_local_storage, timeout, count, pod_label_selector, pod_namespace)
        = drain::drain_nodes;
} }

functions! { PROBES: "chaosk8s.node.probes", Probe, cluster: true {
    get_nodes(; label_selector) = get_nodes;
    get_all_node_status_conditions(; label_selector) = get_all_node_status_conditions;
    all_nodes_must_be_ready_to_schedule(; label_selector) = all_nodes_must_be_ready_to_schedule;
    verify_nodes_condition(; condition_type, condition_value, label_selector) = verify_nodes_condition;
    nodes_must_be_healthy(; label_selector) = nodes_must_be_healthy;
} }

/// How many nodes a call takes away unasked.
const AT_MOST: usize = 1;

/// The conditions of a node that tell that it is ill when they are true; Ready when it is not.
const ILL: &[&str] = &[
    "FrequentKubeletRestart",
    "FrequentDockerRestart",
    "FrequentContainerdRestart",
    "ReadonlyFilesystem",
    "KernelDeadlock",
    "CorruptDockerOverlay2",
    "FrequentUnregisterNetDevice",
    "NetworkUnavailable",
    "MemoryPressure",
    "DiskPressure",
    "PIDPressure",
];

/// The nodes that a call selects, each once: by name, by their labels, by the pods on them. A call that selects by
/// nothing would mean the whole cluster, and is refused; so is one that selects none.
pub(super) async fn selected(call: &Call<'_>, stage: &Stage<'_>) -> Result<Vec<Value>, Failed> {
    let by = ["name", "label_selector", "pod_label_selector", "pod_namespace"];
    if by.iter().all(|by| call.value(by).is_none()) && !call.flag("all", false)? {
        return Err(Failed(
            "nothing says which nodes, which would mean the whole cluster: give a name or label_selector".into(),
        ));
    }
    let labels = call.selector("label_selector")?.unwrap_or_default().to_string();
    let (name, mut nodes) = (call.text("name")?, stage.list(NODE, None, &labels).await?);
    nodes.retain(|node| name.as_deref().is_none_or(|name| name_of(node) == name));
    match (call.selector("pod_label_selector")?, call.text("pod_namespace")?) {
        (None, None) => {}
        (Some(labels), Some(namespace)) => {
            let pods = stage.list(POD, Some(&namespace), &labels.to_string()).await?;
            let on: BTreeSet<&str> = pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str()).collect();
            nodes.retain(|node| on.contains(name_of(node)));
        }
        _ => return Err(Failed("pod_label_selector and pod_namespace go together: give both".to_owned())),
    }
    let random = call.flag("rand", false)?;
    let count = call.count("count")?.map(|count| count as usize).or(random.then_some(1));
    if let Some(count) = count {
        let purpose = format!("nodes at {}", stage.scene.clock.now());
        stage.cluster()?.seed().rng(&purpose).shuffle(&mut nodes);
        nodes.truncate(count);
    }
    if nodes.is_empty() {
        return Err(Failed("no node is selected".to_owned()));
    }
    Ok(nodes)
}

/// As [`selected`], for what takes nodes away: one, unless the call or the document says that more are meant.
pub(super) async fn taken(call: &Call<'_>, stage: &Stage<'_>) -> Result<Vec<Value>, Failed> {
    let nodes = selected(call, stage).await?;
    let said = stage.all || call.flag("all", false)? || call.value("count").is_some();
    if nodes.len() > AT_MOST && !said {
        let names: Vec<&str> = nodes.iter().map(name_of).collect();
        return Err(Failed(format!(
            "this would take {} nodes ({}), and a call takes one; name one, or say `\"x-steadfast\": {{\"all\": true}}` on the \
             activity if they are meant",
            names.len(),
            names.join(", ")
        )));
    }
    Ok(nodes)
}

fn names(nodes: &[Value]) -> Value {
    nodes.iter().map(name_of).collect()
}

async fn create_node(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let empty = Map::new();
    let meta = manifest::camel_keys(call.map("meta")?.unwrap_or(&empty));
    let spec = manifest::camel_keys(call.map("spec")?.unwrap_or(&empty));
    let (node, manifest) = manifest::named(NODE, None, json!({"metadata": meta, "spec": spec}))?;
    stage.create(node.clone(), manifest).await?;
    plain::done(&stage, &node).await
}

/// Only where they are left: nothing but its kubelet brings a node back.
async fn delete_nodes(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let nodes = taken(&call, &stage).await?;
    for node in &nodes {
        stage.delete(object(NODE, None, name_of(node))).await?;
    }
    Ok(names(&nodes))
}

async fn cordon_node(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let nodes = taken(&call, &stage).await?;
    for node in &nodes {
        cordon(&stage, name_of(node)).await?;
    }
    Ok(names(&nodes))
}

pub(super) async fn cordon(stage: &Stage<'_>, name: &str) -> Result<(), Failed> {
    let node = object(NODE, None, name);
    // A node that the document has made is held too, and not cordoned by that.
    let is_on = stage.guards.holds(&node)
        && (stage.planned().is_some()
            || plain::read(stage.kubernetes(), &node).await?["spec"]["unschedulable"] == true);
    if is_on {
        return Ok(());
    }
    if stage.plain {
        let patch = ObjectPatch::Merge(json!({"spec": {"unschedulable": true}}));
        return plain::patch(stage, &node, &patch).await.map(drop);
    }
    stage.inject(stage.cluster()?.node(name).cordon(), vec![node]).await
}

/// Without a selection those that the document has cordoned, and no others.
async fn uncordon_node(call: Call<'_>, stage: Stage<'_>) -> Answer {
    if call.value("name").is_none() && call.value("label_selector").is_none() {
        let ours: Vec<_> = stage.guards.objects().into_iter().filter(|object| object.kind == "Node").collect();
        for node in &ours {
            stage.end(node).await?;
        }
        return Ok(ours.into_iter().map(|node| node.name).collect());
    }
    let nodes = selected(&call, &stage).await?;
    for node in &nodes {
        let node = object(NODE, None, name_of(node));
        stage.end(&node).await?;
        if plain::read(stage.kubernetes(), &node).await?["spec"]["unschedulable"] == true {
            stage.change(node, ObjectPatch::Merge(json!({"spec": {"unschedulable": null}}))).await?;
        }
    }
    Ok(names(&nodes))
}

async fn of(call: &Call<'_>, stage: &Stage<'_>) -> Result<Vec<Value>, Failed> {
    stage.list(NODE, None, &call.selector("label_selector")?.unwrap_or_default().to_string()).await
}

/// Those that a probe looks at: with none of them it would be met by nothing.
async fn some(call: &Call<'_>, stage: &Stage<'_>) -> Result<Vec<Value>, Failed> {
    let nodes = of(call, stage).await?;
    if nodes.is_empty() { Err(Failed("no node is selected".to_owned())) } else { Ok(nodes) }
}

/// The list as the API gives it.
async fn get_nodes(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let labels = call.selector("label_selector")?.unwrap_or_default().to_string();
    raw(&stage, &object(NODE, None, ""), &labels).await
}

/// Type and status.
fn conditions(node: &Value) -> impl Iterator<Item = (&str, &str)> {
    let all = node["status"]["conditions"].as_array().into_iter().flatten();
    all.filter_map(|condition| Some((condition["type"].as_str()?, condition["status"].as_str()?)))
}

async fn get_all_node_status_conditions(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let all = of(&call, &stage).await?;
    let told = all.iter().map(|node| {
        let mut told = Map::new();
        told.insert("name".to_owned(), json!(name_of(node)));
        told.extend(conditions(node).map(|(condition, status)| (condition.to_owned(), json!(status))));
        Value::Object(told)
    });
    Ok(told.collect())
}

fn has(node: &Value, condition: &str, status: &str) -> bool {
    conditions(node).any(|has| has == (condition, status))
}

/// Ready, and not cordoned.
async fn all_nodes_must_be_ready_to_schedule(call: Call<'_>, stage: Stage<'_>) -> Answer {
    for node in some(&call, &stage).await? {
        if !has(&node, "Ready", "True") {
            return Err(Failed(format!("node {} is not ready", name_of(&node))));
        }
        if node["spec"]["unschedulable"] == true {
            return Err(Failed(format!("node {} is cordoned", name_of(&node))));
        }
    }
    Ok(json!(true))
}

async fn verify_nodes_condition(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let condition = call.text("condition_type")?.unwrap_or_else(|| "PIDPressure".to_owned());
    let status = call.text("condition_value")?.unwrap_or_else(|| "False".to_owned());
    for node in some(&call, &stage).await? {
        if !has(&node, &condition, &status) {
            return Err(Failed(format!("the condition {condition} of node {} is not {status}", name_of(&node))));
        }
    }
    Ok(json!(true))
}

async fn nodes_must_be_healthy(call: Call<'_>, stage: Stage<'_>) -> Answer {
    for node in some(&call, &stage).await? {
        let ill = conditions(&node).find(|(condition, status)| {
            (ILL.contains(condition) && *status != "False") || (*condition == "Ready" && *status != "True")
        });
        if let Some((condition, status)) = ill {
            return Err(Failed(format!("node {} is not healthy: {condition} is {status}", name_of(&node))));
        }
    }
    Ok(json!(true))
}
