//! Somebody deletes a fault's object and makes another of the same name and labels: that is theirs, whatever it says.

use serde_json::{Value, json};
use steadfast::lab::resource::{DEPLOYMENTS, Resource, SERVICES};
use steadfast::lab::store::{Deletion, Object, Part, Propagation};
use steadfast::prelude::*;
use steadfast::rollback::{ORIGINAL_ANNOTATION, OWNER_LABEL};

use super::world::{KINDS_CHANGED, is_of_app, kinds_created, store};

/// What somebody made.
#[derive(Clone, Debug)]
pub struct Decoy {
    resource: &'static Resource,
    made: Object,
}

/// Swaps an object that a fault or witness made or changed, if there is one.
pub fn swap(cluster: &Cluster, rng: &mut fastrand::Rng) -> Option<Decoy> {
    let store = store(cluster);
    let all = |kind: &'static Resource| store.list(kind, None).0.into_iter().map(move |object| (kind, object));
    let ours = |object: &Value| !object["metadata"]["labels"][OWNER_LABEL].is_null();
    let held = |object: &Value| !object["metadata"]["annotations"][ORIGINAL_ANNOTATION].is_null();
    let created = kinds_created(&store).into_iter().flat_map(all).filter(|(_, object)| ours(object));
    let changed = KINDS_CHANGED.into_iter().flat_map(all).filter(|(_, object)| held(object));
    let candidates: Vec<_> = created.chain(changed).collect();
    let (kind, object) = candidates.get(rng.usize(..candidates.len().max(1)))?;
    Some(swapped(cluster, kind, object))
}

fn swapped(cluster: &Cluster, resource: &'static Resource, object: &Value) -> Decoy {
    let (store, metadata) = (store(cluster), &object["metadata"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
    let how = Deletion { grace: Some(0), propagation: Some(Propagation::Background), ..Deletion::default() };
    store.remove(resource, &namespace, &name, &how).expect("it was there");
    let mut same = json!({"name": name, "labels": metadata["labels"]});
    if !metadata["annotations"].is_null() {
        same["annotations"] = metadata["annotations"].clone();
    }
    let mut spec = object["spec"].clone();
    spec.as_object_mut().expect("a spec").retain(|field, _| !matches!(field.as_str(), "nodeName" | "taints"));
    let mut made = json!({"metadata": same, "spec": spec});
    if object["kind"] == "Node" {
        made["status"] = object["status"].clone();
    }
    let made = store.create(resource, &namespace, made, false).expect("the name is free");
    Decoy { resource, made }
}

impl Decoy {
    pub fn is(&self, object: &Value) -> bool {
        self.made["metadata"]["uid"] == object["metadata"]["uid"]
    }

    /// Whether an object would be another without it.
    pub fn concerns(&self, object: &Value) -> bool {
        let named = |object: &Value| (object["kind"].clone(), object["metadata"]["name"].clone());
        let metadata = &self.made["metadata"];
        let of_app = self.resource.is(&DEPLOYMENTS) || self.resource.is(&SERVICES);
        // The witness of what pods send carries their labels.
        let app = if of_app { &metadata["name"] } else { &metadata["labels"]["app"] };
        // Their node takes no pods, so that those that are made again wait.
        let waits = self.made["kind"] == "Node" && ["front", "back"].iter().any(|app| is_of_app(object, app));
        named(object) == named(&self.made) || app.as_str().is_some_and(|app| is_of_app(object, app)) || waits
    }

    /// Whether it is there, as it was made.
    pub fn survives(&self, cluster: &Cluster) -> bool {
        let metadata = &self.made["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let found = store(cluster).find(self.resource, &text(&metadata["namespace"]), &text(&metadata["name"]));
        let Some(found) = found.filter(|found| self.is(found)) else { return false };
        let same = |part: fn(&Value) -> &Value| part(&found) == part(&self.made);
        let mut spec = found["spec"].clone();
        // A pod is put onto a node, and an unschedulable node is tainted, whoever made them.
        spec.as_object_mut().expect("a spec").retain(|field, _| !matches!(field.as_str(), "nodeName" | "taints"));
        found["metadata"]["deletionTimestamp"].is_null()
            && spec == self.made["spec"]
            && same(|object| &object["metadata"]["labels"])
            && same(|object| &object["metadata"]["annotations"][ORIGINAL_ANNOTATION])
    }
}

/// Deletes and puts back whatever is labelled as ours, as a tool does that does not look at uids.
pub fn blunt(cluster: &Cluster) {
    let store = store(cluster);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for kind in kinds_created(&store) {
        let all = store.list(kind, None).0;
        for object in all.iter().filter(|object| !object["metadata"]["labels"][OWNER_LABEL].is_null()) {
            let metadata = &object["metadata"];
            let how = Deletion { grace: Some(0), ..Deletion::default() };
            store.remove(kind, &text(&metadata["namespace"]), &text(&metadata["name"]), &how).expect("it was there");
        }
    }
    for kind in KINDS_CHANGED {
        let all = store.list(kind, None).0;
        for object in all.iter().filter(|object| !object["metadata"]["annotations"][ORIGINAL_ANNOTATION].is_null()) {
            let metadata = &object["metadata"];
            let unmarked = |before: &Value| {
                let mut after = before.clone();
                after["metadata"]["annotations"].as_object_mut().expect("a map").remove(ORIGINAL_ANNOTATION);
                Ok(after)
            };
            let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
            store.modify(kind, &namespace, &name, Part::Main, false, unmarked).expect("it was there");
        }
    }
}
