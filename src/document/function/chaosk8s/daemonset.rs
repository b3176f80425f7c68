//! `chaosk8s.daemonset`. Its probes answer false where those of a deployment fail.

use serde_json::{Value, json};

use super::super::{Answer, Failed, functions};
use super::ready::{Counts, wait};
use super::{Call, DAEMON_SET, Stage, manifest, object};
use crate::kubernetes::ObjectPatch;

functions! { ACTIONS: "chaosk8s.daemonset.actions", Action, cluster: true {
    create_daemon_set(spec_path; ns) = create_daemon_set;
    delete_daemon_set(; name, ns, label_selector) = delete_daemon_set;
    update_daemon_set(name, spec; ns) = update_daemon_set;
} }

functions! { PROBES: "chaosk8s.daemonset.probes", Probe, cluster: true {
    daemon_set_available_and_healthy(name; ns, label_selector) = available_and_healthy;
    daemon_set_partially_available(name; ns, label_selector) = partially_available;
    daemon_set_fully_available(name; ns, label_selector, timeout) = fully_available;
    daemon_set_not_fully_available(name; ns, label_selector, timeout) = not_fully_available;
} }

async fn create_daemon_set(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let (object, manifest) = manifest::of_call(&call, DAEMON_SET, true)?;
    stage.create(object, manifest).await?;
    Ok(Value::Null)
}

async fn delete_daemon_set(call: Call<'_>, stage: Stage<'_>) -> Answer {
    for set in stage.selected(&call, DAEMON_SET, "daemonset").await? {
        stage.delete(set).await?;
    }
    Ok(Value::Null)
}

async fn update_daemon_set(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let (namespace, name) = (call.namespace()?, call.required("name")?);
    let spec = call.map("spec")?.ok_or_else(|| Failed("argument \"spec\" is missing: give a patch".to_owned()))?;
    let patch = ObjectPatch::Strategic(Value::Object(spec.clone()));
    stage.change(object(DAEMON_SET, Some(&namespace), &name), patch).await?;
    Ok(Value::Null)
}

async fn available_and_healthy(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let found = stage.matching(&call, DAEMON_SET, &call.namespace()?).await?;
    Ok(json!(!found.is_empty() && found.iter().all(|found| Counts::of(found).is_full())))
}

async fn partially_available(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let found = stage.matching(&call, DAEMON_SET, &call.namespace()?).await?;
    Ok(json!(found.first().is_some_and(|found| Counts::of(found).has_ready())))
}

async fn fully_available(call: Call<'_>, stage: Stage<'_>) -> Answer {
    wait(&call, &stage, DAEMON_SET, true, false).await
}

async fn not_fully_available(call: Call<'_>, stage: Stage<'_>) -> Answer {
    wait(&call, &stage, DAEMON_SET, false, false).await
}
