//! Deleting pods.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Preconditions};
use serde_json::json;

use super::delete_object::{MADE_AGAIN, right_to_home, uid_of_namespace};
use crate::BoxError;
use crate::experiment::{
    Applied, Armed, Check, Fault, Finding, Mark, Place, Proof, Right, Scene, Targets, Untouched, Witness,
};
use crate::journal::Reason;
use crate::kubernetes::pods::name_of;
use crate::kubernetes::{KubernetesError, Pods};
use crate::rollback::{ObjectRef, Undo, manifest};
use crate::tolerance::Judgement;

impl Pods {
    /// A fault: these pods are deleted, once. See [`DeletePods`].
    pub fn delete(&self) -> DeletePods {
        DeletePods { pods: self.clone(), grace: None, bare: Bare::Refused, only: None }
    }
}

/// A fault: deletes pods, each only while it is the one that was selected.
///
/// - **Effect**: each pod is told to stop, and killed when its grace is over; its controller makes another. Seen by the pods
///   of these uids, which go and do not come back. If all have gone by themselves before, that is an error.
/// - **Undo**: nothing is brought back: the outcome is that the target has gone, with what shows it. A pod that was
///   not deleted after all is left alone.
/// - **Needs**: list, get and delete on `pods`.
/// - **Caveats**: pods without a controller are refused, since nothing would replace them. A disruption budget is not
///   asked. How long the system lacks the pods is up to their controllers: there is nothing to end.
#[derive(Clone)]
#[must_use = "a fault does nothing until it is injected: `.inject(..)`"]
pub struct DeletePods {
    pods: Pods,
    grace: Option<Duration>,
    bare: Bare,
    /// The uids of those that are meant.
    only: Option<BTreeSet<String>>,
}

/// What becomes of pods that no controller replaces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bare {
    Refused,
    /// They are deleted, and stay away.
    Gone,
    /// They are deleted, and made again when the fault is undone.
    MadeAgain,
}

impl DeletePods {
    /// The time that a pod has to stop, in whole seconds, in place of its own; zero kills it at once.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Deletes also pods that no controller replaces.
    pub fn allow_bare(mut self) -> Self {
        self.bare = Bare::Gone;
        self
    }

    /// Deletes also pods that no controller replaces, and makes them again, of the same manifests, when the fault is
    /// undone.
    pub fn bring_back_bare(mut self) -> Self {
        self.bare = Bare::MadeAgain;
        self
    }

    /// Of the selected pods only those with these uids, which somebody has picked; the cap counts them alone.
    pub fn only(mut self, uids: impl IntoIterator<Item = String>) -> Self {
        self.only = Some(uids.into_iter().collect());
        self
    }

    async fn targets(&self) -> Result<Vec<Pod>, KubernetesError> {
        let is_meant = |pod: &Pod| match (&self.only, &pod.metadata.uid) {
            (Some(only), Some(uid)) => only.contains(uid),
            (only, _) => only.is_none(),
        };
        let targets = self.pods.targets_of_fault_among(is_meant).await?;
        let bare: Vec<_> = targets.iter().filter(|pod| !is_controlled(pod)).map(name_of).collect();
        if self.bare == Bare::Refused && !bare.is_empty() {
            return Err(KubernetesError::BarePods { pods: bare.join(", ") });
        }
        Ok(targets)
    }
}

impl Fault for DeletePods {
    fn describe(&self) -> String {
        format!("delete {}", self.pods.describe())
    }

    fn places(&self) -> Vec<Place> {
        vec![Place::Namespace(self.pods.namespace.clone())]
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        Box::pin(async move {
            let targets = self.targets().await?;
            let namespace = &self.pods.namespace;
            let mut rights: Vec<_> =
                ["list", "get", "delete"].map(|verb| Right::new(verb, "", "pods", namespace)).into();
            let mut notes = vec!["deleted pods are not brought back: their controllers replace them".to_owned()];
            if self.bare == Bare::MadeAgain && !targets.iter().all(is_controlled) {
                rights.extend([Right::new("create", "", "pods", namespace), right_to_home(namespace)]);
                notes.push(format!("of pods without a controller, {MADE_AGAIN}; what they kept in themselves is lost"));
            }
            Ok(Targets { names: targets.iter().map(name_of).collect(), rights, notes })
        })
    }

    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            let namespace = &self.pods.namespace;
            let targets = self.targets().await?;
            let home = match self.bare == Bare::MadeAgain && !targets.iter().all(is_controlled) {
                true => Some(uid_of_namespace(&self.pods.kubernetes, namespace).await?),
                false => None,
            };
            let undo = targets.into_iter().map(|pod| {
                let object = ObjectRef {
                    api_version: "v1".into(),
                    kind: "Pod".into(),
                    resource: "pods".into(),
                    namespace: Some(namespace.clone()),
                    name: pod.metadata.name.clone().unwrap_or_default(),
                };
                let uid = pod.metadata.uid.clone().unwrap_or_default();
                if self.bare == Bare::MadeAgain && !is_controlled(&pod) {
                    let manifest = manifest(&serde_json::to_value(&pod)?);
                    return Ok(Undo::Recreate { object, uid, namespace: home.clone(), deleted: mark.at, manifest });
                }
                Ok(Undo::Deleted { object, uid })
            });
            let undo: Vec<Undo> = undo.collect::<Result<_, serde_json::Error>>()?;
            let pods: Vec<Undo> = undo.clone();
            let api: Api<Pod> = Api::namespaced(self.pods.kubernetes.client().clone(), namespace);
            let grace = self.grace.map(|grace| u32::try_from(grace.as_secs()).unwrap_or(u32::MAX));
            let apply = Box::new(move || -> BoxFuture<'static, Applied> { Box::pin(delete(api, pods, grace)) });
            Ok(Armed { undo, apply })
        })
    }

    fn witness<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async move {
            let api = Api::namespaced(self.pods.kubernetes.client().clone(), &self.pods.namespace);
            let pods = self.targets().await?.into_iter();
            let pods = pods.map(|pod| (pod.metadata.name.unwrap_or_default(), pod.metadata.uid)).collect();
            let check = Arc::new(Stand { api, pods, describe: self.pods.describe() });
            Ok(Proof::Witness(Witness { stage: None, check, blind: None, stays: true }))
        })
    }
}

/// Whether something replaces it.
fn is_controlled(pod: &Pod) -> bool {
    pod.metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true))
}

/// Whether these very pods stand: all of them, or none.
struct Stand {
    api: Api<Pod>,
    /// Name and uid.
    pods: Vec<(String, Option<String>)>,
    describe: String,
}

impl Check for Stand {
    fn describe(&self) -> String {
        format!("the {} that were selected", self.describe)
    }

    fn check<'a>(&'a self, _: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>> {
        Box::pin(async move {
            let (mut standing, mut stopping, mut gone) = (0, 0, 0);
            for (name, uid) in &self.pods {
                let found = self.api.get_opt(name).await.map_err(KubernetesError::api(format!("read pod {name}")))?;
                match found.filter(|pod| pod.metadata.uid == *uid) {
                    None => gone += 1,
                    Some(pod) if pod.metadata.deletion_timestamp.is_some() => stopping += 1,
                    Some(_) => standing += 1,
                }
            }
            let seen = format!("{standing} standing, {stopping} stopping, {gone} gone");
            let judgement = if standing == 0 || standing == self.pods.len() {
                Judgement::of(standing > 0, seen, "all standing", ("standing", "gone"))
            } else {
                Judgement::inconclusive(Reason::NoData { what: Check::describe(self), why: seen }, "all standing")
            };
            Ok(Finding { judgement, evidence: json!({"standing": standing, "stopping": stopping, "gone": gone}) })
        })
    }
}

/// Deletes the pods one by one, and reads each back.
///
/// # Errors
/// One cannot be deleted, or there was none left to be.
async fn delete(api: Api<Pod>, pods: Vec<Undo>, grace: Option<u32>) -> Applied {
    let mut deleted = vec![None; pods.len()];
    for (pod, deleted) in pods.iter().zip(&mut deleted) {
        let (Undo::Deleted { object, uid } | Undo::Recreate { object, uid, .. }) = pod else { continue };
        let preconditions = Some(Preconditions { uid: Some(uid.clone()), resource_version: None });
        let params = DeleteParams { grace_period_seconds: grace, preconditions, ..DeleteParams::default() };
        match api.delete(&object.name, &params).await {
            Ok(_) => *deleted = Some(uid.clone()),
            // It has gone by itself since it was selected, or another one has its name.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => continue,
            Err(error) => return Err(KubernetesError::api(format!("delete {object}"))(error).into()),
        }
        let back = api.get_opt(&object.name).await.map_err(KubernetesError::api(format!("read {object}")))?;
        let stays =
            back.is_some_and(|now| now.metadata.uid.as_ref() == Some(uid) && now.metadata.deletion_timestamp.is_none());
        if stays {
            return Err(format!("{object} was deleted by the API's word, but is still there").into());
        }
    }
    if deleted.iter().all(Option::is_none) {
        let all: Vec<_> = pods.iter().map(|pod| pod.object().to_string()).collect();
        let why = format!("none of the pods was deleted: all had gone since they were selected ({})", all.join(", "));
        return Err(Untouched(why.into()).into());
    }
    Ok(deleted)
}
