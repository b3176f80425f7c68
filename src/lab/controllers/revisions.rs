//! ControllerRevisions: the templates that a StatefulSet or a DaemonSet has had.

use serde_json::{Value, json};

use super::objects::{controlled, count, edit, hash, names, owner_reference, remove, same};
use crate::lab::resource::CONTROLLER_REVISIONS;
use crate::lab::store::{Object, Store};

/// How a kind labels its revisions with their hash.
pub(super) const BY_STATEFUL_SET: &str = "controller.kubernetes.io/hash";
pub(super) const BY_DAEMON_SET: &str = "controller-revision-hash";

/// The revisions of a workload, the oldest first, the one of its template made or moved to the end.
pub(super) fn sync(store: &Store, owner: &Object, label: &str) -> Vec<Object> {
    let mut revisions = controlled(store, &CONTROLLER_REVISIONS, owner);
    revisions.sort_by_key(|revision| count(&revision["revision"]));
    let next = revisions.last().map_or(1, |last| count(&last["revision"]).saturating_add(1));
    let template = &owner["spec"]["template"];
    match revisions.iter().position(|revision| same(&template_of(revision), template)) {
        Some(number) if number + 1 == revisions.len() => {}
        Some(number) => {
            let again = revisions.remove(number);
            let moved = edit(store, &CONTROLLER_REVISIONS, &again, |revision| revision["revision"] = json!(next));
            revisions.push(moved.unwrap_or(again));
        }
        None => revisions.extend(make(store, owner, label, next)),
    }
    revisions
}

fn make(store: &Store, owner: &Object, label: &str, number: i64) -> Option<Object> {
    let (namespace, name) = names(owner);
    let mut template = owner["spec"]["template"].clone();
    template["$patch"] = json!("replace");
    let mut collisions = owner["status"]["collisionCount"].as_i64();
    loop {
        let hash = hash(&owner["spec"]["template"], collisions);
        let revision = format!("{name}-{hash}");
        if store.find(&CONTROLLER_REVISIONS, namespace, &revision).is_some() {
            // Another's; the next hash is tried.
            collisions = Some(collisions.unwrap_or(0) + 1);
            continue;
        }
        let mut labels = template["metadata"]["labels"].clone();
        labels[label] = json!(hash);
        let object = json!({
            "metadata": {"name": revision, "labels": labels, "ownerReferences": [owner_reference(owner)]},
            "data": {"spec": {"template": template}}, "revision": number,
        });
        // The namespace may be going.
        return store.create(&CONTROLLER_REVISIONS, namespace, object, false).ok();
    }
}

/// The template that a revision stands for.
pub(super) fn template_of(revision: &Value) -> Value {
    let mut template = revision["data"]["spec"]["template"].clone();
    if let Some(template) = template.as_object_mut() {
        template.remove("$patch");
    }
    template
}

/// Deletes the oldest revisions that are not `used` and more than the limit.
pub(super) fn clean_up(store: &Store, owner: &Value, revisions: &[Object], used: impl Fn(&Object) -> bool) {
    let limit = usize::try_from(owner["spec"]["revisionHistoryLimit"].as_i64().unwrap_or(10)).unwrap_or(0);
    let old: Vec<&Object> = revisions.iter().filter(|revision| !used(revision)).collect();
    for revision in old.iter().take(old.len().saturating_sub(limit)) {
        remove(store, &CONTROLLER_REVISIONS, revision);
    }
}
