//! `drain_nodes`.

use serde_json::{Value, json};

use super::super::{Answer, Failed};
use super::node::{cordon, taken};
use super::objects::name_of;
use super::{Call, NODE, POD, Stage, object};
use crate::kubernetes::{CAP_PERCENT, refuse_protected};
use crate::rollback::{OWNER_LABEL, ObjectRef};

/// What becomes of a pod of a node that is drained.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Evicted,
    /// It stays, for it would come back, or is the cluster's own.
    Stays,
    /// Nothing would replace it, or its data would be lost.
    Refused(&'static str),
}

/// Cordons nodes and evicts what runs there. What cannot be evicted is found before anything is touched; what is evicted is
/// looked for once no more can come.
pub(super) async fn drain_nodes(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let (within, local) = (call.seconds("timeout", 120)?, call.flag("delete_pods_with_local_storage", false)?);
    let nodes = taken(&call, &stage).await?;
    let names: Vec<&str> = nodes.iter().map(name_of).collect();
    let evicted = async || -> Result<_, Failed> {
        let pods = on_them(&stage, &names, local).await?;
        let objects: Vec<ObjectRef> = pods.iter().map(|(object, _)| object.clone()).collect();
        let fault = stage.kubernetes().evict(pods, within).at_most_percent(if stage.all { 100 } else { CAP_PERCENT });
        fault.admit().await?;
        Ok((fault, objects))
    };
    // Nothing is touched yet.
    drop(evicted().await?);
    let mut cordoned = Vec::new();
    for name in &names {
        let node = object(NODE, None, name);
        let was = stage.guards.holds(&node);
        cordon(&stage, name).await?;
        cordoned.extend(Some(node).filter(|_| !was));
    }
    match evicted().await {
        Ok((_, objects)) if objects.is_empty() => {}
        Ok((fault, objects)) => stage.inject(fault, objects).await?,
        Err(why) => {
            for node in cordoned.iter().rev() {
                stage.guards.end(node).await?;
            }
            return Err(why);
        }
    }
    Ok(json!(names))
}

/// The pods of nodes that are evicted, with their uids.
///
/// # Errors
/// One of them cannot be.
async fn on_them(stage: &Stage<'_>, names: &[&str], local: bool) -> Result<Vec<(ObjectRef, String)>, Failed> {
    let is_on_them = |pod: &&Value| pod["spec"]["nodeName"].as_str().is_some_and(|node| names.contains(&node));
    let all = stage.list(POD, None, "").await?;
    let (mut evicted, mut refused) = (Vec::new(), Vec::new());
    for pod in all.iter().filter(is_on_them) {
        let (namespace, name) = (pod["metadata"]["namespace"].as_str().unwrap_or_default(), name_of(pod));
        match fate(pod, local) {
            Fate::Evicted => evicted.push((object(POD, Some(namespace), name), uid(pod))),
            Fate::Stays => {}
            Fate::Refused(why) => refused.push(format!("pod {namespace}/{name} {why}")),
        }
    }
    if refused.is_empty() { Ok(evicted) } else { Err(Failed(format!("nothing is drained: {}", refused.join("; ")))) }
}

fn uid(pod: &Value) -> String {
    pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

fn fate(pod: &Value, local: bool) -> Fate {
    let metadata = &pod["metadata"];
    let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
    let controller = owners.into_iter().find(|owner| owner["controller"] == true);
    let is_mirror = !metadata["annotations"]["kubernetes.io/config.mirror"].is_null();
    let protected = refuse_protected(metadata["namespace"].as_str().unwrap_or_default()).is_err();
    let of_daemon_set = controller.is_some_and(|owner| owner["kind"] == "DaemonSet");
    let ours = !metadata["labels"][OWNER_LABEL].is_null();
    if is_mirror || protected || of_daemon_set || ours || !metadata["deletionTimestamp"].is_null() {
        return Fate::Stays;
    }
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        return Fate::Stays;
    }
    if controller.is_none() {
        return Fate::Refused("has no controller, so that nothing would bring it back");
    }
    let mut volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    if !local && volumes.any(|volume| volume.get("emptyDir").is_some()) {
        return Fate::Refused(
            "has an emptyDir, which goes with it; say `\"delete_pods_with_local_storage\": true` if it may",
        );
    }
    Fate::Evicted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(changes: &Value) -> Value {
        let owner = json!([{"kind": "ReplicaSet", "name": "back-1", "controller": true}]);
        let mut pod = json!({"metadata": {"namespace": "shop", "name": "back", "ownerReferences": owner}});
        for (pointer, value) in changes.as_object().into_iter().flatten() {
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
            let mut at = &mut pod;
            for key in parent.split('/').skip(1) {
                at = &mut at[key];
            }
            at[key] = value.clone();
        }
        pod
    }

    #[test]
    fn a_pod_is_evicted_if_it_comes_back_elsewhere() {
        let with = |changes: Value| fate(&pod(&changes), false);
        assert_eq!(with(json!({})), Fate::Evicted);
        assert_eq!(with(json!({"/metadata/namespace": "kube-system"})), Fate::Stays);
        assert_eq!(with(json!({"/status/phase": "Succeeded"})), Fate::Stays);
        let of = json!([{"kind": "DaemonSet", "controller": true}]);
        assert_eq!(with(json!({"/metadata/ownerReferences": of})), Fate::Stays);
        assert!(matches!(with(json!({"/metadata/ownerReferences": []})), Fate::Refused(_)));
        let volumes = json!({"/spec/volumes": [{"name": "cache", "emptyDir": {}}]});
        assert!(matches!(with(volumes.clone()), Fate::Refused(_)));
        assert_eq!(fate(&pod(&volumes), true), Fate::Evicted);
    }
}
