//! Creating any object.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::deny::{WITNESSED, witness_rights};
use super::effect::{self, Seen};
use super::{create, policy};
use crate::BoxError;
use crate::experiment::{Armed, Check, Fault, Finding, Mark, Place, Proof, Scene, Targets, Witness};
use crate::journal::Reason;
use crate::kubernetes::pods::refuse_protected;
use crate::kubernetes::{Kubernetes, KubernetesError, Pods, Selector};
use crate::rollback::ObjectRef;
use crate::tolerance::Judgement;

/// The group of Chaos Mesh, whose faults are kinds that end in Chaos.
const CHAOS_MESH: &str = "chaos-mesh.org";

/// The condition by which Chaos Mesh says that a fault is on at all its targets.
const INJECTED: &str = "AllInjected";

impl Kubernetes {
    /// A fault: there is one object more, made of this manifest under the name and in the namespace of `object`. See
    /// [`CreateObject`].
    pub fn create_object(&self, object: ObjectRef, manifest: Value) -> CreateObject {
        CreateObject {
            kubernetes: self.clone(),
            object,
            manifest,
            condition: None,
            seen: Seen::default(),
            lasting: None,
        }
    }
}

/// A fault: an object is created of a manifest, for instance a policy, or a fault of another tool's kind.
///
/// - **Effect**: what the cluster makes of such an object. That it stands is all that is seen of kinds which every cluster
///   acts on. What others act on shows nothing by that: a NetworkPolicy is seen by the witness of a denial where it would
///   cut that off, a fault of Chaos Mesh by its condition `AllInjected`, and all else, such as an Ingress or a custom
///   resource, by `.witness(check)` alone.
/// - **Undo**: it is deleted by uid and owner label, in the background what belongs to it, and read back.
/// - **Needs**: create, get and delete on its kind; of a NetworkPolicy's witness as for [`DenyTraffic`](super::DenyTraffic).
/// - **Caveats**: its labels and owners get ours beside its own. One of that name already is refused, and its owner
///   told. Where the kind lies in no namespace it does not go with the dead-man's switch.
#[derive(Clone)]
#[must_use = "a fault does nothing until it is injected: `.inject(..)`"]
pub struct CreateObject {
    kubernetes: Kubernetes,
    object: ObjectRef,
    manifest: Value,
    condition: Option<&'static str>,
    seen: Seen,
    lasting: Option<Duration>,
}

impl CreateObject {
    /// Ends the fault by itself after this time, by the plan of the experiment.
    ///
    /// The hypothesis is judged after the method: a check of a moment, such as a request, that looks when the fault is over
    /// already is [`Inconclusive`](crate::journal::Verdict::Inconclusive). Growth, loads and what else looks back sees it.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = Some(duration);
        self
    }

    /// It is seen to be on by this condition of its status, which somebody sets to True once it is.
    pub fn seen_by_condition(mut self, condition: &'static str) -> Self {
        self.condition = Some(condition);
        self
    }

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

    /// Whether a witness pod is staged for it.
    fn has_witness_pod(&self) -> bool {
        self.object.kind == "NetworkPolicy" && self.condition.is_none() && self.seen.is_open(&self.object)
    }

    /// The condition by which it is seen.
    fn by_condition(&self) -> Option<&'static str> {
        let of_chaos_mesh = effect::group(&self.object) == CHAOS_MESH && self.object.kind.ends_with("Chaos");
        self.condition.or(of_chaos_mesh.then_some(INJECTED))
    }

    /// The proof of a kind that others act on.
    async fn seen_by_kind(&self, mark: &Mark) -> Result<Proof, BoxError> {
        if self.has_witness_pod() {
            let namespace = self.object.namespace.as_deref().unwrap_or_default();
            return policy::proof(&self.kubernetes, namespace, &self.manifest["spec"], mark).await;
        }
        let Some(condition) = self.by_condition() else { return Ok(self.seen.proof(&self.object)) };
        if self.condition.is_none() && self.kubernetes.is_lab().await?.0 {
            return self.seen_in_lab().await;
        }
        let check = Arc::new(Off { kubernetes: self.kubernetes.clone(), object: self.object.clone(), condition });
        Ok(Proof::Witness(Witness { stage: None, check, blind: None, stays: false }))
    }

    /// The lab's network does at once what such an object says, to the pods that it selects, and tells no condition.
    async fn seen_in_lab(&self) -> Result<Proof, BoxError> {
        let selector = &self.manifest["spec"]["selector"];
        let own = [json!(self.object.namespace)];
        let namespaces = selector["namespaces"].as_array().map_or(&own[..], Vec::as_slice);
        let labels = json!({
            "matchLabels": selector["labelSelectors"], "matchExpressions": selector["expressionSelectors"],
        });
        for namespace in namespaces.iter().filter_map(Value::as_str) {
            let pods = Pods::new(self.kubernetes.clone(), namespace.to_owned(), Selector::from_json(&labels));
            match pods.targets().await {
                Ok(_) => return Ok(Proof::Applied),
                Err(KubernetesError::NothingSelected { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Proof::Missing("it selects no pod".to_owned()))
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
            let mut rights = super::change::rights_to(&self.object, &["create", "get", "delete"]);
            let mut notes = Vec::new();
            if self.has_witness_pod() {
                rights.extend(witness_rights(self.object.namespace.as_deref().unwrap_or_default()));
                notes.push(WITNESSED.to_owned());
            }
            Ok(Targets { names: vec![self.object.to_string()], rights, notes })
        })
    }

    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            self.admit().await?;
            create::arm_manifest(&self.kubernetes, self.object.clone(), &self.manifest, mark)
        })
    }

    fn witness<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async move {
            if self.seen.is_open(&self.object) || (self.condition.is_some() && self.seen.is_silent()) {
                return self.seen_by_kind(mark).await;
            }
            Ok(self.seen.proof(&self.object))
        })
    }

    fn remedy(&self) -> &'static str {
        self.seen.remedy(&self.object)
    }

    fn trusted(&self) -> Option<String> {
        self.seen.trusted.clone()
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
