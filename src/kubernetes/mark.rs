//! The marks of a run on what it creates.

use serde_json::{Value, json};

use crate::experiment::Mark;
use crate::rollback::{OWNER_LABEL, ObjectRef, RUN_LABEL, Undo};

/// The `metadata` of an object that a fault creates: it is labelled as the run's, and goes with its dead-man's switch.
#[must_use]
pub fn metadata(mark: &Mark, name: &str, namespace: Option<&str>) -> Value {
    let mut metadata = json!({"name": name, "labels": {RUN_LABEL: mark.run, OWNER_LABEL: mark.owner}});
    let Some(namespace) = namespace else { return metadata };
    metadata["namespace"] = json!(namespace);
    // Owner references do not cross namespaces.
    let here = mark.switches.iter().filter(|switch| switch.object.namespace.as_deref() == Some(namespace));
    let owners: Vec<Value> = here
        .map(|switch| {
            let object = &switch.object;
            json!({"apiVersion": object.api_version, "kind": object.kind, "name": object.name, "uid": switch.uid})
        })
        .collect();
    if !owners.is_empty() {
        metadata["ownerReferences"] = Value::Array(owners);
    }
    metadata
}

/// The undo of an object that is about to be created with this [`metadata`].
#[must_use]
pub fn deletion(mark: &Mark, object: ObjectRef) -> Undo {
    let mut here = mark.switches.iter().filter(|switch| switch.object.namespace == object.namespace);
    let switch = here.next().map(|switch| switch.uid.clone());
    Undo::Delete { object, owner: mark.owner.clone(), uid: None, switch }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::experiment::Switch;

    #[test]
    fn what_is_created_goes_with_the_switch_of_its_namespace() {
        let object = |namespace: &str| ObjectRef {
            api_version: "batch/v1".into(),
            kind: "Job".into(),
            resource: "jobs".into(),
            namespace: Some(namespace.into()),
            name: "switch".into(),
        };
        let switches = ["a", "b"].map(|namespace| Switch { object: object(namespace), uid: format!("in-{namespace}") });
        let mark = Mark { run: "r".into(), owner: "o".into(), at: Timestamp::UNIX_EPOCH, switches: switches.into() };
        let owners = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "switch", "uid": "in-b"}]);
        assert_eq!(metadata(&mark, "n", Some("b"))["ownerReferences"], owners);
        assert_eq!(metadata(&mark, "n", None)["ownerReferences"], Value::Null);
        assert_eq!(metadata(&mark, "n", Some("c"))["labels"], json!({RUN_LABEL: "r", OWNER_LABEL: "o"}));
    }
}
