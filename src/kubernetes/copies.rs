//! What a cluster copies of our mark on a Deployment.
//!
//! The Deployment controller copies all annotations of a Deployment to its ReplicaSet and takes none away again;
//! `kubectl rollout undo` would bring ours back from there.

use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::Kubernetes;
use crate::experiment::Right;
use crate::rollback::{Author, ORIGINAL_ANNOTATION, ObjectRef, Original};

/// How long the controller may take to see the Deployment without the mark: until then it copies it once more.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Whether marks of objects of this kind are copied.
pub(super) fn of(object: &ObjectRef) -> bool {
    (object.api_version.as_str(), object.kind.as_str()) == ("apps/v1", "Deployment")
}

/// The rights to take the copies away.
pub(super) fn rights(namespace: &str) -> [Right; 2] {
    ["list", "patch"].map(|verb| Right::new(verb, "apps", "replicasets", namespace))
}

/// Takes the copies of one ledger entry's mark away, once the Deployment has it no more. Who may not do that leaves
/// them: the fault is gone all the same.
pub(super) async fn clear(kubernetes: &Kubernetes, deployment: &ObjectRef, by: &Author) -> Result<(), kube::Error> {
    let copies = all(kubernetes, deployment).await?;
    let ours: Vec<_> = copies.into_iter().filter(|(_, original)| original.by == *by).collect();
    if ours.is_empty() {
        return Ok(());
    }
    seen(kubernetes, deployment).await?;
    let api = kubernetes.objects(&sets(deployment));
    for (set, _) in ours {
        let patch = json!({"metadata": {"uid": set.metadata.uid, "annotations": {ORIGINAL_ANNOTATION: null}}});
        let name = set.metadata.name.unwrap_or_default();
        match api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {}
            patched => drop(patched?),
        }
    }
    Ok(())
}

/// Whose marks, of a run, are left as copies alone.
pub(super) async fn left(
    kubernetes: &Kubernetes,
    deployment: &ObjectRef,
    uid: &str,
    run: &str,
) -> Result<Vec<Author>, kube::Error> {
    let copies = all(kubernetes, deployment).await?.into_iter().map(|(_, original)| original);
    Ok(copies.filter(|original| original.uid == uid && original.by.run == run).map(|original| original.by).collect())
}

fn sets(deployment: &ObjectRef) -> ObjectRef {
    let (kind, resource) = ("ReplicaSet".into(), "replicasets".into());
    ObjectRef { kind, resource, name: String::new(), ..deployment.clone() }
}

/// The ReplicaSets with a copy of the mark of a Deployment that they belong to.
async fn all(kubernetes: &Kubernetes, deployment: &ObjectRef) -> Result<Vec<(DynamicObject, Original)>, kube::Error> {
    let found = match kubernetes.objects(&sets(deployment)).list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 403 => return Ok(Vec::new()),
        found => found?,
    };
    let copied = |set: DynamicObject| {
        let original = Original::read(set.metadata.annotations.as_ref()?.get(ORIGINAL_ANNOTATION)?).ok()?;
        let mut owners = set.metadata.owner_references.iter().flatten();
        let of_it = owners.any(|owner| owner.uid == original.uid && owner.name == deployment.name);
        of_it.then_some((set, original))
    };
    Ok(found.into_iter().filter_map(copied).collect())
}

/// Waits until the controller has seen the Deployment as it is now.
async fn seen(kubernetes: &Kubernetes, deployment: &ObjectRef) -> Result<(), kube::Error> {
    let api = kubernetes.objects(deployment);
    let deadline = tokio::time::Instant::now() + SEEN_WITHIN;
    loop {
        let Some(now) = api.get_opt(&deployment.name).await? else { return Ok(()) };
        let generation = |value: &Value| value.as_i64().unwrap_or(0);
        let seen = generation(&now.data["status"]["observedGeneration"]) >= now.metadata.generation.unwrap_or(0);
        if seen || tokio::time::Instant::now() >= deadline {
            return Ok(());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
