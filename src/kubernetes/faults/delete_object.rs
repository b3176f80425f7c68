//! Deleting any object.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, Preconditions, PropagationPolicy};
use kube::core::DynamicObject;
use serde_json::Value;

use super::change;
use super::create_object::places;
use super::effect::Seen;
use crate::BoxError;
use crate::experiment::{Applied, Armed, Check, Fault, Mark, Place, Proof, Right, Targets, Untouched};
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
    ("ServiceAccount", "the tokens of its pods are bound to it"),
    ("Job", "made again it would run once more"),
];

/// Controllers that are known to replace what they have lost, and what that is.
const REPLACED: &[(&str, &str, &str)] = &[
    ("v1", "ReplicationController", "Pod"),
    ("apps/v1", "ReplicaSet", "Pod"),
    ("apps/v1", "StatefulSet", "Pod"),
    ("apps/v1", "DaemonSet", "Pod"),
    ("batch/v1", "Job", "Pod"),
    ("apps/v1", "Deployment", "ReplicaSet"),
    ("apps/v1", "StatefulSet", "ControllerRevision"),
    ("apps/v1", "DaemonSet", "ControllerRevision"),
    ("v1", "Service", "EndpointSlice"),
];

/// The finalizers of the garbage collector, which only say in which order objects go.
const OF_THE_COLLECTOR: &[&str] = &["foregroundDeletion", "orphan"];

impl Kubernetes {
    /// A fault: there is one object less. See [`DeleteObject`].
    pub fn delete_object(&self, object: ObjectRef) -> DeleteObject {
        DeleteObject { kubernetes: self.clone(), object, for_good: false, seen: Seen::default() }
    }
}

/// A fault: an object is deleted, and with it, in the background, what belongs to it.
///
/// - **Effect**: it goes. That is read back. What others make of its absence is not seen by that: of NetworkPolicies,
///   Ingresses and custom resources by `.witness(check)` alone.
/// - **Undo**: it is made again of its manifest, unless one of its name stands by then or its namespace is another one, and
///   must then be what it was. Where its controller is known to replace it, as with the ReplicaSets of a Deployment, nothing
///   is brought back: it is only looked at.
/// - **Needs**: get, create and delete on its kind; get on its namespace.
/// - **Caveats**: what is made again is another object by its uid, and what belonged to the old one is made anew too. A
///   Service asks for the address that it had. The manifest lies in the ledger meanwhile, and only there: neither the
///   dead-man's switch nor another machine's sweep can make the object again. What nothing brings back as it was is
///   refused: namespaces, nodes, Secrets, volumes and their claims, definitions of kinds, service accounts, Jobs;
///   StatefulSets whose claims go with them; what has finalizers, since somebody tears something down with it; and what a
///   controller has made that is not known to make it again.
#[derive(Clone)]
#[must_use = "a fault does nothing until it is injected: `.inject(..)`"]
pub struct DeleteObject {
    kubernetes: Kubernetes,
    object: ObjectRef,
    for_good: bool,
    seen: Seen,
}

impl DeleteObject {
    /// Sees the effect through this check: met while the fault is off, not met while on.
    pub fn witness(mut self, check: impl Check) -> Self {
        self.seen.witness = Some(Arc::new(check));
        self
    }

    /// Believes the fault without a proof; the journal shows why.
    pub fn trust_without_proof(mut self, why: impl Into<String>) -> Self {
        self.seen.trusted = Some(why.into());
        self
    }

    /// Deletes it for good, as whoever leaves it so at the end may: also what nothing brings back.
    #[cfg(feature = "cli")]
    pub(crate) fn for_good(mut self) -> Self {
        self.for_good = true;
        self
    }

    async fn found(&self) -> Result<DynamicObject, KubernetesError> {
        let object = &self.object;
        let namespace = if object.kind == "Namespace" { Some(&object.name) } else { object.namespace.as_ref() };
        refuse_protected(namespace.map_or("", String::as_str))?;
        let for_good = |why: &str| KubernetesError::ForGood { object: object.to_string(), why: why.to_owned() };
        let kept = FOR_GOOD.iter().filter(|_| !self.for_good);
        if let Some((_, why)) = kept.into_iter().find(|(kind, _)| *kind == object.kind) {
            return Err(for_good(why));
        }
        let found = change::read(&self.kubernetes, object).await?;
        if let Some(why) = is_for_good(object, &found).filter(|_| !self.for_good) {
            return Err(for_good(&why));
        }
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
            let mut rights = change::rights_to(&self.object, &["get", "create", "delete"]);
            let mut notes = Vec::new();
            if self.for_good {
                notes.push("what is deleted is not brought back".to_owned());
            } else if controller(&found).is_some() {
                notes.push("what is deleted is not brought back: its controller replaces it".to_owned());
            } else {
                rights.extend(self.object.namespace.as_deref().map(right_to_home));
                notes.push(MADE_AGAIN.to_owned());
            }
            if claims(&found) {
                notes.push("its volume claims stay meanwhile, as their retention policy says".to_owned());
            }
            Ok(Targets { names: vec![self.object.to_string()], rights, notes })
        })
    }

    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            let (found, object) = (self.found().await?, self.object.clone());
            let uid = found.metadata.uid.clone().unwrap_or_default();
            let (api, of) = (self.kubernetes.objects(&object), (object.clone(), uid.clone()));
            let undo = if self.for_good || controller(&found).is_some() {
                Undo::Deleted { object, uid }
            } else {
                let mut manifest = manifest(&serde_json::to_value(&found)?);
                // A client may leave them out where the address has them.
                manifest["apiVersion"] = object.api_version.clone().into();
                manifest["kind"] = object.kind.clone().into();
                let namespace = match &object.namespace {
                    Some(namespace) => Some(uid_of_namespace(&self.kubernetes, namespace).await?),
                    None => None,
                };
                Undo::Recreate { object, uid, namespace, deleted: mark.at, manifest }
            };
            let apply = Box::new(move || -> BoxFuture<'static, Applied> { Box::pin(delete(api, of.0, of.1)) });
            Ok(Armed { undo: vec![undo], apply })
        })
    }

    fn witness<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async { Ok(self.seen.proof(&self.object)) })
    }

    fn remedy(&self) -> &'static str {
        self.seen.remedy(&self.object)
    }

    fn trusted(&self) -> Option<String> {
        self.seen.trusted.clone()
    }
}

/// Who undoes it.
pub(super) const MADE_AGAIN: &str =
    "what is deleted is made again from the ledger: covered by engine, drop, signals, leash and sweep on this machine";

/// What it takes to know a namespace again.
pub(super) fn right_to_home(namespace: &str) -> Right {
    Right::new("get", "", "namespaces", namespace)
}

/// The uid of a namespace: what is made again there must not lie in another one of that name.
pub(super) async fn uid_of_namespace(kubernetes: &Kubernetes, namespace: &str) -> Result<String, KubernetesError> {
    let api: Api<Namespace> = Api::all(kubernetes.short().clone());
    let found = api.get(namespace).await.map_err(KubernetesError::api(format!("read namespace {namespace}")))?;
    Ok(found.metadata.uid.unwrap_or_default())
}

/// Its controller.
fn controller(found: &DynamicObject) -> Option<&OwnerReference> {
    found.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Whether it is a set whose pods have volume claims of their own.
fn claims(found: &DynamicObject) -> bool {
    found.data["spec"]["volumeClaimTemplates"].as_array().is_some_and(|claims| !claims.is_empty())
}

/// Why nothing brings it back as it was, if that is so.
fn is_for_good(object: &ObjectRef, found: &DynamicObject) -> Option<String> {
    if let Some(OwnerReference { api_version, kind, name, .. }) = controller(found) {
        let replaced = REPLACED.contains(&(api_version.as_str(), kind.as_str(), object.kind.as_str()));
        return (!replaced).then(|| format!("{} {name} has made it and may do so again, or not", kind.to_lowercase()));
    }
    let mut finalizers = found.metadata.finalizers.iter().flatten();
    if let Some(finalizer) = finalizers.find(|finalizer| !OF_THE_COLLECTOR.contains(&finalizer.as_str())) {
        return Some(format!("what its finalizer {finalizer} tears down with it"));
    }
    let with_it: &Value = &found.data["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"];
    (claims(found) && with_it == "Delete").then(|| "its volume claims, and their data, go with it".to_owned())
}

async fn delete(api: Api<DynamicObject>, object: ObjectRef, uid: String) -> Applied {
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.clone()), resource_version: None }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    match api.delete(&object.name, &params).await {
        Ok(_) => Ok(vec![Some(uid)]),
        Err(error) => {
            let refused = is_refused(&error);
            let error = KubernetesError::api(format!("delete {object}"))(error).into();
            // Whoever deleted it may want it to be away.
            Err(if refused { Untouched(error).into() } else { error })
        }
    }
}

/// Whether the API says that it has not done what it was asked for: it is not there any more, or may not be.
fn is_refused(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 408)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn why(kind: &str, found: Value) -> Option<String> {
        let mut object = ObjectRef::front();
        object.kind = kind.to_owned();
        is_for_good(&object, &serde_json::from_value(found).expect("an object"))
    }

    #[test]
    fn what_nothing_brings_back_as_it_was_is_refused() {
        let owned = |version: &str, kind: &str| {
            let owner = json!({"apiVersion": version, "kind": kind, "name": "o", "uid": "u", "controller": true});
            json!({"metadata": {"name": "x", "ownerReferences": [owner]}})
        };
        assert_eq!(why("ReplicaSet", owned("apps/v1", "Deployment")), None);
        let unknown = why("Deployment", owned("example.com/v1", "Database"));
        assert_eq!(unknown.as_deref(), Some("database o has made it and may do so again, or not"));
        assert!(why("Pod", owned("example.com/v1", "ReplicaSet")).is_some(), "only by its name");
        let held = |by: &str| json!({"metadata": {"name": "x", "finalizers": [by]}});
        assert_eq!(why("Service", held("foregroundDeletion")), None);
        let torn = why("Service", held("service.kubernetes.io/load-balancer-cleanup")).expect("it is refused");
        assert!(torn.contains("load-balancer-cleanup tears down"), "{torn}");
        let set = |when: &str| {
            json!({"metadata": {"name": "x"}, "spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}],
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": when}}})
        };
        assert_eq!(why("StatefulSet", set("Retain")), None);
        assert!(why("StatefulSet", set("Delete")).is_some_and(|why| why.contains("data")));
    }
}
