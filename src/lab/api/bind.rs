//! Binding pods to nodes, as schedulers do.

use serde_json::{Value, json};

use super::answer::Answer;
use super::{ApiService, Call, Place, body};
use crate::lab::resource::PODS;
use crate::lab::status::{Cause, Status};
use crate::lab::store::{Part, seconds};

pub(super) fn pod(api: &ApiService, place: &Place, name: Option<&str>, call: &Call) -> Result<Answer, Status> {
    let dry_run = call.dry_run()?;
    let binding = body::object(call, "Binding")?;
    let sent = binding["metadata"]["name"].as_str().unwrap_or_default();
    if name.is_some_and(|name| name != sent) {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    let target = &binding["target"];
    let mut faults: Vec<Cause<'_>> = Vec::new();
    if let Some(kind) = target["kind"].as_str().filter(|kind| !["", "Node"].contains(kind)) {
        let why = format!("Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\"");
        faults.push(("FieldValueNotSupported", "target.kind", why));
    }
    let node = target["name"].as_str().unwrap_or_default();
    if node.is_empty() {
        faults.push(("FieldValueRequired", "target.name", "Required value".to_owned()));
    }
    if !faults.is_empty() {
        return Err(Status::faulty("", "Binding", sent, &faults));
    }
    let now = seconds(api.clock.now());
    api.store.modify(&PODS, place.namespace(), sent, Part::Binding, dry_run, |pod| bound(pod, sent, node, &now))?;
    let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(Answer::Json(201, done))
}

fn bound(pod: &Value, name: &str, node: &str, now: &str) -> Result<Value, Status> {
    let refused = |why: String| {
        let message = format!("Operation cannot be fulfilled on pods/binding {name:?}: {why}");
        let details = json!({"name": name, "kind": "pods/binding"});
        Err(Status { details: Some(details), ..Status::new(409, "Conflict", message) })
    };
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return refused(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if let Some(there) = pod["spec"]["nodeName"].as_str().filter(|there| !there.is_empty()) {
        return refused(format!("pod {name} is already assigned to node {there:?}"));
    }
    let mut pod = pod.clone();
    pod["spec"]["nodeName"] = json!(node);
    let condition = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
    match pod["status"]["conditions"].as_array_mut() {
        Some(conditions) => {
            conditions.retain(|condition| condition["type"] != "PodScheduled");
            conditions.push(condition);
        }
        None => pod["status"]["conditions"] = json!([condition]),
    }
    Ok(pod)
}
