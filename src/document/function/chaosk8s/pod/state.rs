//! `chaosk8s.pod.probes`: what becomes of pods.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::super::super::{Answer, Failed, functions};
use super::super::ready::unless;
use super::logs::selector_of;
use super::pick::{list, names};
use super::{Call, Stage};

functions! { PROBES: "chaosk8s.pod.probes", Probe, cluster: true {
    pods_in_phase(label_selector; phase, ns, raise_on_invalid_phase) = pods_in_phase;
    pods_not_in_phase(label_selector; phase, ns, raise_on_in_phase) = pods_not_in_phase;
    pods_in_conditions(label_selector, conditions; ns, raise_on_invalid_conditions) = pods_in_conditions;
    count_pods(label_selector; phase, ns) = count_pods;
    count_min_pods(label_selector; phase, min_count, ns) = count_min_pods;
    pod_is_not_available(name; ns, label_selector, raise_on_is_available) = pod_is_not_available;
    all_pods_healthy(; ns, raise_on_any_unhealthy) = all_pods_healthy;
} }

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Unknown")
}

/// The pods that a call selects, and the phase that it asks for.
async fn of(call: &Call<'_>, stage: &Stage<'_>) -> Result<Vec<Pod>, Failed> {
    let selector = call.selector("label_selector")?.unwrap_or_default().to_string();
    list(stage, &call.namespace()?, &selector).await
}

fn nobody(call: &Call<'_>) -> Result<String, Failed> {
    let selector = call.selector("label_selector")?.unwrap_or_default().to_string();
    Ok(format!("no pod in namespace {} matches {selector:?}", call.namespace()?))
}

/// `back-1 is Pending`, of all but those that are as they should be.
fn others<'a>(pods: &'a [Pod], is_so: impl Fn(&Pod) -> bool + 'a) -> String {
    let told = |pod: &Pod| format!("{} is {}", pod.metadata.name.as_deref().unwrap_or_default(), phase(pod));
    pods.iter().filter(|pod| !is_so(pod)).map(told).collect::<Vec<_>>().join(", ")
}

async fn pods_in_phase(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let raise = call.flag("raise_on_invalid_phase", true)?;
    let (wanted, pods) = (call.text("phase")?.unwrap_or_else(|| "Running".to_owned()), of(&call, &stage).await?);
    if pods.is_empty() {
        return unless(raise, nobody(&call)?);
    }
    let wrong = others(&pods, |pod| phase(pod) == wanted);
    if wrong.is_empty() { Ok(json!(true)) } else { unless(raise, format!("not all are {wanted}: {wrong}")) }
}

async fn pods_not_in_phase(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let raise = call.flag("raise_on_in_phase", true)?;
    let (wanted, pods) = (call.text("phase")?.unwrap_or_else(|| "Running".to_owned()), of(&call, &stage).await?);
    if pods.is_empty() {
        return unless(raise, nobody(&call)?);
    }
    let wrong = others(&pods, |pod| phase(pod) != wanted);
    if wrong.is_empty() { Ok(json!(true)) } else { unless(raise, format!("some are {wanted}: {wrong}")) }
}

async fn pods_in_conditions(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let raise = call.flag("raise_on_invalid_conditions", true)?;
    let wanted = call.value("conditions").and_then(Value::as_array);
    let wanted = wanted.filter(|wanted| wanted.iter().all(|one| one["type"].is_string() && one["status"].is_string()));
    let Some(wanted) = wanted else {
        let form = "argument \"conditions\" is a list of {\"type\": \"Ready\", \"status\": \"True\"}";
        return Err(Failed(form.to_owned()));
    };
    let pods = of(&call, &stage).await?;
    if pods.is_empty() {
        return unless(raise, nobody(&call)?);
    }
    for pod in &pods {
        let conditions = || pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        for one in wanted {
            if !conditions().any(|c| one["type"] == c.type_.as_str() && one["status"] == c.status.as_str()) {
                let now = conditions().find(|c| one["type"] == c.type_.as_str()).map_or("absent", |c| &c.status);
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                let why = format!("the condition {} of pod {name} is {now}, not {}", one["type"], one["status"]);
                return unless(raise, why);
            }
        }
    }
    Ok(json!(true))
}

async fn count(call: &Call<'_>, stage: &Stage<'_>, wanted: Option<String>) -> Result<usize, Failed> {
    let pods = of(call, stage).await?;
    Ok(pods.iter().filter(|pod| wanted.as_deref().is_none_or(|wanted| phase(pod) == wanted)).count())
}

async fn count_pods(call: Call<'_>, stage: Stage<'_>) -> Answer {
    Ok(json!(count(&call, &stage, call.text("phase")?).await?))
}

async fn count_min_pods(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let wanted = call.text("phase")?.unwrap_or_else(|| "Running".to_owned());
    let least = call.count("min_count")?.unwrap_or(2);
    Ok(json!(count(&call, &stage, Some(wanted)).await? >= least as usize))
}

pub(in super::super) async fn pod_is_not_available(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let raise = call.flag("raise_on_is_available", true)?;
    let pods = list(&stage, &call.namespace()?, &selector_of(&call)?).await?;
    let running: Vec<Pod> = pods.into_iter().filter(|pod| phase(pod) == "Running").collect();
    if running.is_empty() {
        return Ok(json!(true));
    }
    unless(raise, format!("some are running: {}", names(&running).join(", ")))
}

pub(in super::super) async fn all_pods_healthy(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let raise = call.flag("raise_on_any_unhealthy", true)?;
    let pods = list(&stage, &call.namespace()?, "").await?;
    let wrong = others(&pods, |pod| matches!(phase(pod), "Running" | "Succeeded"));
    if wrong.is_empty() { Ok(json!(true)) } else { unless(raise, format!("the system is unhealthy: {wrong}")) }
}
