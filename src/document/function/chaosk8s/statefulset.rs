//! `chaosk8s.statefulset` and `chaosk8s.replicaset`.

use serde_json::Value;

use super::super::{Answer, functions};
use super::ready::wait;
use super::{Call, REPLICA_SET, STATEFUL_SET, Stage, manifest, replicas};

functions! { ACTIONS: "chaosk8s.statefulset.actions", Action, cluster: true {
    create_statefulset(spec_path; ns) = create_statefulset;
    scale_statefulset(name, replicas; ns) = scale_statefulset;
    remove_statefulset(; name, ns, label_selector) = remove_statefulset;
} }

functions! { PROBES: "chaosk8s.statefulset.probes", Probe, cluster: true {
    statefulset_fully_available(name; ns, label_selector, timeout, raise_on_not_fully_available) = fully_available;
    statefulset_not_fully_available(name; ns, label_selector, timeout, raise_on_fully_available) = not_fully_available;
} }

functions! { REPLICA_SETS: "chaosk8s.replicaset.actions", Action, cluster: true {
    delete_replica_set(; name, ns, label_selector) = delete_replica_set;
} }

async fn create_statefulset(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let (object, manifest) = manifest::of_call(&call, STATEFUL_SET, true)?;
    stage.create(object, manifest).await?;
    Ok(Value::Null)
}

async fn scale_statefulset(call: Call<'_>, stage: Stage<'_>) -> Answer {
    replicas::scale(call, stage, STATEFUL_SET).await
}

async fn remove_statefulset(call: Call<'_>, stage: Stage<'_>) -> Answer {
    for set in stage.selected(&call, STATEFUL_SET, "statefulset").await? {
        stage.delete(set).await?;
    }
    Ok(Value::Null)
}

async fn fully_available(call: Call<'_>, stage: Stage<'_>) -> Answer {
    wait(&call, &stage, STATEFUL_SET, true, call.flag("raise_on_not_fully_available", true)?).await
}

async fn not_fully_available(call: Call<'_>, stage: Stage<'_>) -> Answer {
    wait(&call, &stage, STATEFUL_SET, false, call.flag("raise_on_fully_available", true)?).await
}

/// Its Deployment makes another.
pub(super) async fn delete_replica_set(call: Call<'_>, stage: Stage<'_>) -> Answer {
    for set in stage.selected(&call, REPLICA_SET, "replicaset").await? {
        stage.delete(set).await?;
    }
    Ok(Value::Null)
}
