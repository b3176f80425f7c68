//! Letting go of what faults did and their user wants to stay: the marks of the run go, and nothing else.

use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{Kubernetes, KubernetesError, copies};
use crate::rollback::{ORIGINAL_ANNOTATION, OWNER_LABEL, Original, RUN_LABEL, Undo};

/// How often an object is written at most: others may write it in between.
const WRITES: usize = 6;

impl Kubernetes {
    /// Takes off what these undos are about all that makes it a run's: its labels and the dead-man's switch, or the
    /// annotation with what was there before. What is not there any more, or is not the run's, is left alone.
    ///
    /// # Errors
    /// The API does not answer, or somebody else wrote the object before each attempt.
    pub(crate) async fn let_go(&self, undos: &[Undo]) -> Result<(), KubernetesError> {
        for undo in undos {
            self.let_one_go(undo).await?;
        }
        Ok(())
    }

    async fn let_one_go(&self, undo: &Undo) -> Result<(), KubernetesError> {
        let object = undo.object();
        let api = self.objects(object);
        let doing = || format!("let go of {object}");
        for attempt in 1.. {
            let found = api.get_opt(&object.name).await.map_err(KubernetesError::api(doing()))?;
            let Some(patch) = found.and_then(|found| unmarking(undo, &found)) else { break };
            match api.patch(&object.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => break,
                Err(kube::Error::Api(status)) if status.code == 409 && attempt < WRITES => {}
                Err(error) => return Err(KubernetesError::api(doing())(error)),
            }
        }
        match undo {
            Undo::Restore { by: Some(by), .. } if copies::of(object) => {
                copies::clear(self, object, by).await.map_err(KubernetesError::api(doing()))
            }
            _ => Ok(()),
        }
    }
}

/// The merge patch that takes the marks off an object that has them; what was deleted has none.
fn unmarking(undo: &Undo, found: &DynamicObject) -> Option<Value> {
    let metadata = &found.metadata;
    let mut patch = json!({"metadata": {"resourceVersion": metadata.resource_version}});
    match undo {
        Undo::Delete { owner, switch, .. } => {
            metadata.labels.as_ref()?.get(OWNER_LABEL).filter(|mark| *mark == owner)?;
            patch["metadata"]["labels"] = json!({OWNER_LABEL: null, RUN_LABEL: null});
            if let Some(owners) = &metadata.owner_references {
                let others: Vec<_> = owners.iter().filter(|owner| Some(&owner.uid) != switch.as_ref()).collect();
                patch["metadata"]["ownerReferences"] = json!(others);
            }
        }
        Undo::Restore { by: Some(by), .. } => {
            let kept = metadata.annotations.as_ref()?.get(ORIGINAL_ANNOTATION)?;
            Original::read(kept).ok().filter(|original| original.by == *by)?;
            patch["metadata"]["annotations"] = json!({ORIGINAL_ANNOTATION: null});
        }
        _ => return None,
    }
    Some(patch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollback::ObjectRef;

    #[test]
    fn only_the_marks_of_the_run_go() {
        let found = |owner: &str| {
            let owners = [("switch", "s"), ("theirs", "t")]
                .map(|(name, uid)| json!({"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid}));
            let labels = json!({OWNER_LABEL: owner, RUN_LABEL: "r", "app": "a"});
            let metadata = json!({"name": "n", "resourceVersion": "7", "labels": labels, "ownerReferences": owners});
            serde_json::from_value(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata})).unwrap()
        };
        let (owner, switch) = ("o".to_owned(), Some("s".to_owned()));
        let undo = Undo::Delete { object: ObjectRef::front(), owner, uid: None, switch };
        let patch = unmarking(&undo, &found("o")).expect("it is the run's");
        assert_eq!(patch["metadata"]["labels"], json!({OWNER_LABEL: null, RUN_LABEL: null}));
        let left = patch["metadata"]["ownerReferences"].as_array().expect("a list");
        assert!(left.len() == 1 && left[0]["name"] == "theirs", "{patch}");
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(unmarking(&undo, &found("another")), None);
    }
}
