//! Deleting any object.

use futures_util::future::BoxFuture;
use kube::api::{Api, DeleteParams, Preconditions, PropagationPolicy};
use kube::core::DynamicObject;

use super::change;
use super::create_object::places;
use crate::BoxError;
use crate::experiment::{Applied, Armed, Fault, Mark, Place, Proof, Targets};
use crate::kubernetes::pods::refuse_protected;
use crate::kubernetes::{Kubernetes, KubernetesError};
use crate::rollback::{OWNER_LABEL, ObjectRef, Undo, manifest};

/// The kinds that nothing can bring back, and why.
const FOR_GOOD: &[(&str, &str)] = &[
    ("Namespace", "what lies in it goes with it"),
    ("Node", "only its kubelet can register it again"),
    ("Secret", "its data would have to be kept in a file meanwhile"),
    ("PersistentVolumeClaim", "its data may go with it"),
    ("PersistentVolume", "its data may go with it"),
    ("CustomResourceDefinition", "all objects of its kind go with it"),
];

impl Kubernetes {
    /// A fault: there is one object less. See [`DeleteObject`].
    pub fn delete_object(&self, object: ObjectRef) -> DeleteObject {
        DeleteObject { kubernetes: self.clone(), object }
    }
}

/// A fault: an object is deleted, and with it, in the background, what belongs to it.
///
/// - **Effect**: it goes. That is read back.
/// - **Undo**: it is made again of its manifest, unless one of its name stands by then. Where its controller replaces it,
///   as with the ReplicaSets of a Deployment, nothing is brought back: it is only looked at.
/// - **Needs**: get, create and delete on its kind.
/// - **Caveats**: what is made again is another object by its uid, and what belonged to the old one is made anew too. A
///   Service asks for the address that it had. The manifest lies in the ledger meanwhile, and only there: neither the
///   dead-man's switch nor another machine's sweep can make the object again. Namespaces, nodes, Secrets, volumes and
///   definitions of kinds are refused, since nothing brings them back.
#[derive(Clone)]
#[must_use = "a fault does nothing until it is injected: `.inject(..)`"]
pub struct DeleteObject {
    kubernetes: Kubernetes,
    object: ObjectRef,
}

impl DeleteObject {
    async fn found(&self) -> Result<DynamicObject, KubernetesError> {
        let object = &self.object;
        refuse_protected(object.namespace.as_deref().unwrap_or_default())?;
        if let Some((_, why)) = FOR_GOOD.iter().find(|(kind, _)| *kind == object.kind) {
            return Err(KubernetesError::ForGood { object: object.to_string(), why: (*why).to_owned() });
        }
        let found = change::read(&self.kubernetes, object).await?;
        if found.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(OWNER_LABEL)) {
            let whose = "a run has made it, and undoes it itself".to_owned();
            return Err(KubernetesError::Exists { object: object.to_string(), whose });
        }
        Ok(found)
    }
}

impl Fault for DeleteObject {
    fn describe(&self) -> String {
        format!("delete {}", self.object)
    }

    fn places(&self) -> Vec<Place> {
        places(&self.object)
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        Box::pin(async move {
            let found = self.found().await?;
            let note = match is_controlled(&found) {
                true => "what is deleted is not brought back: its controller replaces it",
                false => {
                    "what is deleted is made again from the ledger: covered by engine, drop, signals, leash and sweep on \
                          this machine"
                }
            };
            Ok(Targets {
                names: vec![self.object.to_string()],
                rights: change::rights_to(&self.object, &["get", "create", "delete"]),
                notes: vec![note.to_owned()],
            })
        })
    }

    fn arm<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            let (found, object) = (self.found().await?, self.object.clone());
            let uid = found.metadata.uid.clone().unwrap_or_default();
            let (api, of) = (self.kubernetes.objects(&object), (object.clone(), uid.clone()));
            let undo = if is_controlled(&found) {
                Undo::Deleted { object, uid }
            } else {
                let mut manifest = manifest(&serde_json::to_value(&found)?);
                // A client may leave them out where the address has them.
                manifest["apiVersion"] = object.api_version.clone().into();
                manifest["kind"] = object.kind.clone().into();
                Undo::Recreate { object, uid, manifest }
            };
            let apply = Box::new(move || -> BoxFuture<'static, Applied> { Box::pin(delete(api, of.0, of.1)) });
            Ok(Armed { undo: vec![undo], apply })
        })
    }

    fn witness<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async { Ok(Proof::Applied) })
    }
}

fn is_controlled(found: &DynamicObject) -> bool {
    found.metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true))
}

async fn delete(api: Api<DynamicObject>, object: ObjectRef, uid: String) -> Applied {
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid), resource_version: None }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    let deleted = api.delete(&object.name, &params).await;
    deleted.map_err(KubernetesError::api(format!("delete {object}")))?;
    Ok(vec![None])
}
