//! `chaosk8s.deployment`.

use serde_json::{Value, json};

use super::super::{Answer, Failed, functions};
use super::objects::{name_of, told};
use super::ready::{Counts, unless, wait};
use super::{Call, DEPLOYMENT, Stage, manifest, object, replicas};
use crate::kubernetes::ObjectPatch;

functions! { ACTIONS: "chaosk8s.deployment.actions", Action, cluster: true {
    create_deployment(spec_path; ns) = create_deployment;
    delete_deployment(; name, ns, label_selector) = delete_deployment;
    scale_deployment(name, replicas; ns) = scale_deployment;
    rollout_deployment(; name, ns) = rollout_deployment;
} }

functions! { PROBES: "chaosk8s.deployment.probes", Probe, cluster: true {
    deployment_available_and_healthy(name; ns, label_selector, raise_on_unavailable) = available_and_healthy;
    deployment_partially_available(name; ns, label_selector, raise_on_not_partially_available) = partially_available;
    deployment_fully_available(name; ns, label_selector, timeout, raise_on_not_fully_available) = fully_available;
    deployment_not_fully_available(name; ns, label_selector, timeout, raise_on_fully_available) = not_fully_available;
} }

pub(super) async fn create_deployment(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let (object, manifest) = manifest::of_call(&call, DEPLOYMENT, true)?;
    stage.create(object, manifest).await?;
    Ok(Value::Null)
}

pub(super) async fn delete_deployment(call: Call<'_>, stage: Stage<'_>) -> Answer {
    for deployment in stage.selected(&call, DEPLOYMENT, "deployment").await? {
        stage.delete(deployment).await?;
    }
    Ok(Value::Null)
}

pub(super) async fn scale_deployment(call: Call<'_>, stage: Stage<'_>) -> Answer {
    replicas::scale(call, stage, DEPLOYMENT).await
}

/// As `kubectl rollout restart`: a new template, of the same containers.
async fn rollout_deployment(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let (namespace, name) = (call.namespace()?, call.required("name")?);
    let at = stage.scene.clock.now().to_string();
    let annotations = json!({"kubectl.kubernetes.io/restartedAt": at});
    let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    stage.change(object(DEPLOYMENT, Some(&namespace), &name), ObjectPatch::Merge(patch)).await?;
    Ok(Value::Null)
}

pub(super) async fn available_and_healthy(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let raise = call.flag("raise_on_unavailable", true)?;
    let found = match found(&call, &stage).await {
        Ok(found) => found,
        Err(Failed(why)) => return unless(raise, why),
    };
    for found in found {
        let counts = Counts::of(&found);
        if !counts.is_available() {
            return unless(raise, format!("deployment {} is not healthy: {}", name_of(&found), counts.told()));
        }
    }
    Ok(json!(true))
}

async fn partially_available(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let raise = call.flag("raise_on_not_partially_available", true)?;
    let found = match found(&call, &stage).await {
        Ok(found) => found,
        Err(Failed(why)) => return unless(raise, why),
    };
    let counts = Counts::of(&found[0]);
    if counts.has_available() {
        return Ok(json!(true));
    }
    unless(raise, format!("deployment {} is not available at all: {}", name_of(&found[0]), counts.told()))
}

pub(super) async fn fully_available(call: Call<'_>, stage: Stage<'_>) -> Answer {
    wait(&call, &stage, DEPLOYMENT, true, call.flag("raise_on_not_fully_available", true)?).await
}

pub(super) async fn not_fully_available(call: Call<'_>, stage: Stage<'_>) -> Answer {
    wait(&call, &stage, DEPLOYMENT, false, call.flag("raise_on_fully_available", true)?).await
}

/// Those that a probe looks at, at least one.
async fn found(call: &Call<'_>, stage: &Stage<'_>) -> Result<Vec<Value>, Failed> {
    let namespace = call.namespace()?;
    let found = stage.matching(call, DEPLOYMENT, &namespace).await?;
    if found.is_empty() {
        return Err(Failed(format!("no deployment in namespace {namespace} matches {}", told(call))));
    }
    Ok(found)
}
