//! Creating any object.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::create;
use crate::BoxError;
use crate::experiment::{Armed, Check, Fault, Finding, Mark, Place, Proof, Scene, Targets, Witness};
use crate::journal::Reason;
use crate::kubernetes::pods::refuse_protected;
use crate::kubernetes::{Kubernetes, KubernetesError};
use crate::rollback::ObjectRef;
use crate::tolerance::Judgement;

impl Kubernetes {
    /// A fault: there is one object more, made of this manifest under the name and in the namespace of `object`. See
    /// [`CreateObject`].
    pub fn create_object(&self, object: ObjectRef, manifest: Value) -> CreateObject {
        CreateObject { kubernetes: self.clone(), object, manifest, condition: None, lasting: None }
    }
}

/// A fault: an object is created of a manifest, for instance a policy, or a fault of another tool's kind.
///
/// - **Effect**: what the cluster makes of such an object. That it stands is all that is seen of it.
/// - **Undo**: it is deleted by uid and owner label, in the background what belongs to it, and read back.
/// - **Needs**: create, get and delete on its kind.
/// - **Caveats**: its labels and owners get ours beside its own. One of that name already is refused, and its owner
///   told. Where the kind lies in no namespace it does not go with the dead-man's switch.
#[derive(Clone)]
#[must_use = "a fault does nothing until it is injected: `.inject(..)`"]
pub struct CreateObject {
    kubernetes: Kubernetes,
    object: ObjectRef,
    manifest: Value,
    condition: Option<&'static str>,
    lasting: Option<Duration>,
}

impl CreateObject {
    /// Ends the fault by itself after this time, by the plan of the experiment.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = Some(duration);
        self
    }

    /// It is seen to be on by this condition of its status, which somebody sets to True once it is.
    pub fn seen_by_condition(mut self, condition: &'static str) -> Self {
        self.condition = Some(condition);
        self
    }

    async fn admit(&self) -> Result<(), KubernetesError> {
        refuse_protected(self.object.namespace.as_deref().unwrap_or_default())?;
        create::refuse_existing(&self.kubernetes, &self.object).await
    }
}

impl Fault for CreateObject {
    fn describe(&self) -> String {
        format!("create {}", self.object)
    }

    fn places(&self) -> Vec<Place> {
        places(&self.object)
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        Box::pin(async move {
            self.admit().await?;
            Ok(Targets {
                names: vec![self.object.to_string()],
                rights: super::change::rights_to(&self.object, &["create", "get", "delete"]),
                notes: Vec::new(),
            })
        })
    }

    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            self.admit().await?;
            create::arm_manifest(&self.kubernetes, self.object.clone(), &self.manifest, mark)
        })
    }

    fn witness<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async move {
            let Some(condition) = self.condition else { return Ok(Proof::Applied) };
            let check = Arc::new(Off { kubernetes: self.kubernetes.clone(), object: self.object.clone(), condition });
            Ok(Proof::Witness(Witness { stage: None, check, blind: None, stays: false }))
        })
    }

    fn lasting(&self) -> Option<Duration> {
        self.lasting
    }
}

/// Whether an object is away, or has a condition.
struct Off {
    kubernetes: Kubernetes,
    object: ObjectRef,
    condition: &'static str,
}

impl Check for Off {
    fn describe(&self) -> String {
        format!("the condition {} of {}", self.condition, self.object)
    }

    fn check<'a>(&'a self, _: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>> {
        Box::pin(async move {
            let found = self.kubernetes.objects(&self.object).get_opt(&self.object.name).await;
            let found = found.map_err(KubernetesError::api(format!("read {}", self.object)))?;
            let told = found.as_ref().map(|found| {
                let mut all = found.data["status"]["conditions"].as_array().into_iter().flatten();
                let status = all.find(|one| one["type"] == self.condition).and_then(|one| one["status"].as_str());
                status.unwrap_or("absent").to_owned()
            });
            let (expected, evidence) = ("the object is away", json!({"stands": found.is_some(), "condition": told}));
            let judgement = match told.as_deref() {
                None => Judgement::of(true, "away", expected, ("away", "on")),
                Some("True") => Judgement::of(false, "True", expected, ("away", "on")),
                Some(other) => {
                    let why = format!("{} is {other}", self.condition);
                    Judgement::inconclusive(Reason::NoData { what: self.object.to_string(), why }, expected)
                }
            };
            Ok(Finding { judgement, evidence })
        })
    }
}

/// Where a fault on an object acts.
pub(super) fn places(object: &ObjectRef) -> Vec<Place> {
    match &object.namespace {
        Some(namespace) => vec![Place::Namespace(namespace.clone())],
        None if object.kind == "Node" => vec![Place::Node(object.name.clone())],
        None => Vec::new(),
    }
}
