//! `chaosk8s.chaosmesh`: objects of Chaos Mesh, in the forms that it takes.

use serde_json::{Map, Value, json};

use super::super::{Answer, Failed, functions};
use super::crd::deleted;
use super::objects::raw;
use super::{Call, Of, Stage, object, plain};
use crate::kubernetes::refuse_protected;

const NETWORK_CHAOS: Of = ("chaos-mesh.org/v1alpha1", "NetworkChaos", "networkchaos");
const STRESS_CHAOS: Of = ("chaos-mesh.org/v1alpha1", "StressChaos", "stresschaos");

/// The least delay with which packets can overtake each other: without one they cannot.
const OVERTAKEN: &str = "10ms";

macro_rules! network {
    ($($func:ident($($required:ident),*; $($own:ident),*);)*) => {
        functions! { NETWORK_ACTIONS: "chaosk8s.chaosmesh.network.actions", Action, cluster: true {
            $($func(name $(, $required)*; $($own,)* ns, namespaces_selectors, label_selectors, annotations_selectors, mode,
                mode_value, direction, external_targets, target_mode, target_mode_value, target_namespaces_selectors,
                target_label_selectors, target_annotations_selectors) = $func;)*
            delete_network_fault(name; ns) = delete_network_fault;
        } }
    };
}

network! {
    add_latency(; latency, correlation, jitter);
    set_loss(; loss, correlation);
    duplicate_packets(; duplicate, correlation);
    reorder_packets(; reorder, correlation, gap);
    corrupt_packets(; corrupt, correlation);
    set_bandwidth(rate, limit, buffer; peakrate, minburst);
}

functions! { NETWORK_PROBES: "chaosk8s.chaosmesh.network.probes", Probe, cluster: true {
    get_network_fault(name; ns) = get_network_fault;
    get_network_faults(; ns, label_selectors) = get_network_faults;
} }

functions! { STRESS_ACTIONS: "chaosk8s.chaosmesh.stress.actions", Action, cluster: true {
    stress_cpu(name, workers, load; ns, namespaces_selectors, label_selectors, annotations_selectors, mode, mode_value,
        direction, duration, container_names, stressng_stressors) = stress_cpu;
    stress_memory(name, workers, size; oom_score, time_to_get_to_size, ns, namespaces_selectors, label_selectors,
        annotations_selectors, mode, mode_value, direction, duration, container_names, stressng_stressors) = stress_memory;
    delete_stressor(name; ns) = delete_stressor;
} }

functions! { STRESS_PROBES: "chaosk8s.chaosmesh.stress.probes", Probe, cluster: true {
    get_stressor(name; ns) = get_stressor;
    get_stressors(; ns, label_selectors) = get_stressors;
} }

/// `a=b,c=d` or a map, as a map.
fn pairs(call: &Call<'_>, name: &str) -> Result<Option<Value>, Failed> {
    let text = match call.value(name) {
        None => return Ok(None),
        Some(Value::Object(map)) => return Ok(Some(Value::Object(map.clone()))),
        Some(_) => call.required(name)?,
    };
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        Some((key.trim().to_owned(), json!(value.trim())))
    };
    let pairs = text.split(',').map(pair).collect::<Option<Map<_, _>>>();
    let pairs = pairs.ok_or_else(|| Failed(format!("argument {name:?} is {text:?}: give a=b,c=d or a map")))?;
    Ok(Some(Value::Object(pairs)))
}

/// `a,b` or a list, as a list.
fn items(call: &Call<'_>, name: &str) -> Result<Option<Value>, Failed> {
    match call.value(name) {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(json!(items))),
        Some(_) => Ok(Some(call.required(name)?.split(',').map(str::trim).collect())),
    }
}

/// Who is selected, by arguments of this prefix; `None` if none of them is given.
fn selector(call: &Call<'_>, prefix: &str) -> Result<Option<Value>, Failed> {
    let mut selector = Map::new();
    if let Some(namespaces) = items(call, &format!("{prefix}namespaces_selectors"))? {
        for namespace in namespaces.as_array().into_iter().flatten().filter_map(Value::as_str) {
            refuse_protected(namespace)?;
        }
        selector.insert("namespaces".to_owned(), namespaces);
    }
    for (argument, key) in [("label_selectors", "labelSelectors"), ("annotations_selectors", "annotationSelectors")] {
        if let Some(pairs) = pairs(call, &format!("{prefix}{argument}"))? {
            selector.insert(key.to_owned(), pairs);
        }
    }
    Ok(Some(Value::Object(selector)).filter(|selector| *selector != json!({})))
}

/// How many of those that are selected: the modes with a number need it.
fn mode(call: &Call<'_>, prefix: &str, spec: &mut Map<String, Value>) -> Result<(), Failed> {
    let mode = call.text(&format!("{prefix}mode"))?.unwrap_or_else(|| "one".to_owned());
    let value = call.text(&format!("{prefix}mode_value"))?;
    if matches!(mode.as_str(), "fixed" | "fixed-percent" | "random-max-percent") {
        let why = || Failed(format!("the mode {mode} needs a number: give {prefix}mode_value"));
        spec.insert("value".to_owned(), json!(value.ok_or_else(why)?));
    }
    spec.insert("mode".to_owned(), json!(mode));
    Ok(())
}

/// What selects the targets of a fault, of every kind.
fn spec(call: &Call<'_>) -> Result<Map<String, Value>, Failed> {
    let mut spec = Map::new();
    mode(call, "", &mut spec)?;
    let selector = match selector(call, "")? {
        Some(selector) => selector,
        None => json!({"namespaces": [call.namespace()?]}),
    };
    spec.insert("selector".to_owned(), selector);
    Ok(spec)
}

/// The arguments of these names that are given, as texts, under the keys that Chaos Mesh has for them.
fn texts(call: &Call<'_>, names: &[&str]) -> Result<Map<String, Value>, Failed> {
    let mut texts = Map::new();
    for name in names {
        if let Some(text) = call.text(name)? {
            texts.insert((*name).to_owned(), json!(text));
        }
    }
    Ok(texts)
}

/// A NetworkChaos of this action. Towards whom only if the call says it: of itself it is all.
async fn network(call: Call<'_>, stage: Stage<'_>, action: &str, what: Map<String, Value>) -> Answer {
    let mut spec = spec(&call)?;
    spec.insert("action".to_owned(), json!(action));
    spec.insert(action.to_owned(), Value::Object(what));
    spec.insert("direction".to_owned(), json!(call.text("direction")?.unwrap_or_else(|| "to".to_owned())));
    if let Some(targets) = items(&call, "external_targets")? {
        spec.insert("externalTargets".to_owned(), targets);
    }
    if let Some(selector) = selector(&call, "target_")? {
        let mut target = Map::from_iter([("selector".to_owned(), selector)]);
        mode(&call, "target_", &mut target)?;
        spec.insert("target".to_owned(), Value::Object(target));
    }
    create(call, stage, NETWORK_CHAOS, spec).await
}

/// Creates it, and waits until Chaos Mesh says that it is on.
async fn create(call: Call<'_>, stage: Stage<'_>, of: Of, spec: Map<String, Value>) -> Answer {
    let chaos = object(of, Some(&call.namespace()?), &call.required("name")?);
    let manifest = json!({"spec": spec});
    if stage.plain {
        return plain::create(&stage, &chaos, &manifest).await;
    }
    stage.inject_made(stage.kubernetes().create_object(chaos.clone(), manifest), chaos.clone()).await?;
    plain::done(&stage, &chaos).await
}

async fn add_latency(call: Call<'_>, stage: Stage<'_>) -> Answer {
    call.required("latency")?;
    network(call, stage, "delay", texts(&call, &["latency", "correlation", "jitter"])?).await
}

async fn set_loss(call: Call<'_>, stage: Stage<'_>) -> Answer {
    call.required("loss")?;
    network(call, stage, "loss", texts(&call, &["loss", "correlation"])?).await
}

async fn duplicate_packets(call: Call<'_>, stage: Stage<'_>) -> Answer {
    call.required("duplicate")?;
    network(call, stage, "duplicate", texts(&call, &["duplicate", "correlation"])?).await
}

async fn corrupt_packets(call: Call<'_>, stage: Stage<'_>) -> Answer {
    call.required("corrupt")?;
    network(call, stage, "corrupt", texts(&call, &["corrupt", "correlation"])?).await
}

/// Chaos Mesh has it as a part of a delay.
async fn reorder_packets(call: Call<'_>, stage: Stage<'_>) -> Answer {
    call.required("reorder")?;
    let mut reorder = texts(&call, &["reorder", "correlation"])?;
    if let Some(gap) = call.integer("gap")? {
        reorder.insert("gap".to_owned(), json!(gap));
    }
    let delay = json!({"latency": OVERTAKEN, "reorder": reorder});
    network(call, stage, "delay", delay.as_object().cloned().unwrap_or_default()).await
}

async fn set_bandwidth(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let mut bandwidth = texts(&call, &["rate"])?;
    for name in ["limit", "buffer", "peakrate", "minburst"] {
        if let Some(number) = call.integer(name)? {
            bandwidth.insert(name.to_owned(), json!(number));
        }
    }
    network(call, stage, "bandwidth", bandwidth).await
}

/// What the stressors of both kinds share.
async fn stress(call: Call<'_>, stage: Stage<'_>, stressor: &str, what: Map<String, Value>) -> Answer {
    let mut spec = spec(&call)?;
    let mut what = what;
    let workers = call.count("workers")?.ok_or_else(|| Failed("argument \"workers\" is missing".to_owned()))?;
    what.insert("workers".to_owned(), json!(workers));
    spec.insert("stressors".to_owned(), json!({stressor: what}));
    spec.insert("duration".to_owned(), json!(call.text("duration")?.unwrap_or_else(|| "30s".to_owned())));
    if let Some(containers) = items(&call, "container_names")? {
        spec.insert("containerNames".to_owned(), containers);
    }
    if let Some(own) = call.text("stressng_stressors")? {
        spec.insert("stressngStressors".to_owned(), json!(own));
    }
    create(call, stage, STRESS_CHAOS, spec).await
}

async fn stress_cpu(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let load = call.integer("load")?.ok_or_else(|| Failed("argument \"load\" is missing".to_owned()))?;
    stress(call, stage, "cpu", Map::from_iter([("load".to_owned(), json!(load))])).await
}

async fn stress_memory(call: Call<'_>, stage: Stage<'_>) -> Answer {
    if call.value("time_to_get_to_size").is_some() {
        let why = "time_to_get_to_size is given, which Chaos Mesh does not know any more: leave it out";
        return Err(Failed(why.to_owned()));
    }
    let mut what = texts(&call, &["size"])?;
    if let Some(score) = call.integer("oom_score")? {
        what.insert("oomScoreAdj".to_owned(), json!(score));
    }
    stress(call, stage, "memory", what).await
}

async fn delete_network_fault(call: Call<'_>, stage: Stage<'_>) -> Answer {
    delete(call, stage, NETWORK_CHAOS).await
}

async fn delete_stressor(call: Call<'_>, stage: Stage<'_>) -> Answer {
    delete(call, stage, STRESS_CHAOS).await
}

/// The end of a fault, so that it is none itself.
async fn delete(call: Call<'_>, stage: Stage<'_>, of: Of) -> Answer {
    let chaos = object(of, Some(&call.namespace()?), &call.required("name")?);
    if !stage.end(&chaos).await? {
        plain::delete(&stage, &chaos).await?;
    }
    Ok(deleted())
}

async fn get_network_fault(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let chaos = object(NETWORK_CHAOS, Some(&call.namespace()?), &call.required("name")?);
    plain::read(stage.kubernetes(), &chaos).await
}

async fn get_stressor(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let chaos = object(STRESS_CHAOS, Some(&call.namespace()?), &call.required("name")?);
    plain::read(stage.kubernetes(), &chaos).await
}

async fn get_network_faults(call: Call<'_>, stage: Stage<'_>) -> Answer {
    list(call, stage, NETWORK_CHAOS).await
}

async fn get_stressors(call: Call<'_>, stage: Stage<'_>) -> Answer {
    list(call, stage, STRESS_CHAOS).await
}

async fn list(call: Call<'_>, stage: Stage<'_>, of: Of) -> Answer {
    let labels = call.selector("label_selectors")?.unwrap_or_default().to_string();
    raw(&stage, &object(of, Some(&call.namespace()?), ""), &labels).await
}
