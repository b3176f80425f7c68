//! `chaosk8s.pod.actions`: what deletes pods.

use std::time::Duration;

use serde_json::json;

use super::super::super::{Answer, functions};
use super::super::{POD, object};
use super::pick::{Pick, names};
use super::{Call, Stage};

functions! { ACTIONS: "chaosk8s.pod.actions", Action, cluster: true {
    terminate_pods(; label_selector, name_pattern, all, rand, mode, qty, grace_period, ns, order) = terminate_pods;
    delete_pods(; name, ns, label_selector) = delete_pods;
} }

async fn terminate_pods(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let grace = call.integer("grace_period")?.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    terminate(&Pick::of(&call)?, grace, stage).await
}

/// Of those whose name matches, one.
async fn delete_pods(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let selector = call.selector("label_selector")?.unwrap_or_default();
    terminate(&Pick::one(call.namespace()?, selector, call.text("name")?.as_deref())?, None, stage).await
}

pub(in super::super) async fn terminate(pick: &Pick, grace: Option<Duration>, stage: Stage<'_>) -> Answer {
    let picked = pick.picked(&stage).await?;
    let deleted = names(&picked);
    let objects = deleted.iter().map(|name| object(POD, Some(&pick.namespace), name)).collect();
    let mut fault = pick.pods(&stage).delete().only(picked.into_iter().filter_map(|pod| pod.metadata.uid));
    fault = if stage.plain || stage.leave { fault.allow_bare() } else { fault.bring_back_bare() };
    if let Some(grace) = grace {
        fault = fault.grace(grace);
    }
    stage.inject(fault, objects).await?;
    Ok(json!(deleted))
}
