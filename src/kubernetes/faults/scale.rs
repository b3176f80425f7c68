//! Scaling what has replicas.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::json;

use super::change;
use crate::BoxError;
use crate::experiment::{Armed, Check, Fault, Finding, Mark, Place, Proof, SEEN_WITHIN, Scene, Targets, Witness};
use crate::journal::Reason;
use crate::kubernetes::pods::refuse_protected;
use crate::kubernetes::{Deployment, Kubernetes, KubernetesError};
use crate::rollback::ObjectRef;
use crate::tolerance::Judgement;

const REPLICAS: &str = "/spec/replicas";

impl Deployment {
    /// A fault: it has this many replicas. See [`Scale`].
    pub fn scale(&self, replicas: u32) -> Scale {
        self.kubernetes.scale(self.object(), replicas)
    }
}

impl Kubernetes {
    /// A fault: a Deployment, a StatefulSet or a ReplicaSet has this many replicas. See [`Scale`].
    pub fn scale(&self, object: ObjectRef, replicas: u32) -> Scale {
        Scale { kubernetes: self.clone(), object, replicas, lasting: None, within: None }
    }
}

/// A fault: a Deployment, or what else has replicas, has another number of them.
///
/// - **Effect**: pods go, or come, until so many are ready.
/// - **Undo**: the old number is put back where ours still stands; then as many pods as before are waited for.
/// - **Needs**: get, list and patch on `deployments.apps`; list and patch on `replicasets.apps`, to which the cluster
///   copies the mark that the change leaves.
/// - **Caveats**: an autoscaler or GitOps sets the number back, which the experiment notices: the fault ended early.
///   Pods that take more than 15 s to get ready again are an error of its own: undone, but not back. Give slow ones
///   `.ready_within(..)`. The pods that come back are others.
#[derive(Clone)]
#[must_use = "a fault does nothing until it is injected: `.inject(..)`"]
pub struct Scale {
    kubernetes: Kubernetes,
    object: ObjectRef,
    replicas: u32,
    lasting: Option<Duration>,
    within: Option<Duration>,
}

impl Scale {
    /// How long its pods may take to come and to go, when it lands and when it is undone; 15 s by default.
    pub fn ready_within(mut self, duration: Duration) -> Self {
        self.within = Some(duration);
        self
    }

    /// Ends the fault by itself after this time, by the plan of the experiment.
    ///
    /// The hypothesis is judged after the method: a check of a moment, such as a request, that looks when the fault is over
    /// already is [`Inconclusive`](crate::journal::Verdict::Inconclusive). Growth, loads and what else looks back sees it.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = Some(duration);
        self
    }

    fn namespace(&self) -> &str {
        self.object.namespace.as_deref().unwrap_or_default()
    }

    /// How many replicas there are now, if a fault may change that.
    async fn before(&self) -> Result<u64, KubernetesError> {
        refuse_protected(self.namespace())?;
        let object = &self.object;
        let found = change::read(&self.kubernetes, object).await?;
        let now = found.data["spec"]["replicas"].as_u64().unwrap_or(1);
        if now == u64::from(self.replicas) {
            let already = format!("it has {now} replicas");
            return Err(KubernetesError::NothingToChange { object: object.to_string(), already });
        }
        Ok(now)
    }
}

impl Fault for Scale {
    fn describe(&self) -> String {
        let ObjectRef { kind, name, .. } = &self.object;
        format!("scale {} {name} in {} to {}", kind.to_lowercase(), self.namespace(), self.replicas)
    }

    fn places(&self) -> Vec<Place> {
        vec![Place::Namespace(self.namespace().to_owned())]
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        Box::pin(async move {
            let now = self.before().await?;
            let object = &self.object;
            Ok(Targets {
                names: vec![object.to_string()],
                rights: change::rights(object),
                notes: vec![format!("{object} has {now} replicas now"), change::COVERED.to_owned()],
            })
        })
    }

    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            let set = [(REPLICAS, json!(self.replicas))];
            change::arm(&self.kubernetes, self.object.clone(), &set, mark).await
        })
    }

    fn witness<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async move {
            let (before, on) = (self.before().await?, u64::from(self.replicas));
            let check =
                Arc::new(Ready { kubernetes: self.kubernetes.clone(), object: self.object.clone(), before, on });
            Ok(Proof::Witness(Witness { stage: None, check, blind: None, stays: false }))
        })
    }

    fn seen_within(&self) -> Duration {
        self.within.unwrap_or(SEEN_WITHIN)
    }

    fn remedy(&self) -> &'static str {
        "give its pods time by `.ready_within(..)`"
    }

    fn lasting(&self) -> Option<Duration> {
        self.lasting
    }
}

/// How many replicas are ready: as many as before, as many as the fault wants, or something between.
struct Ready {
    kubernetes: Kubernetes,
    object: ObjectRef,
    before: u64,
    on: u64,
}

impl Check for Ready {
    fn describe(&self) -> String {
        format!("the ready replicas of {} {}", self.object.kind.to_lowercase(), self.object.name)
    }

    fn check<'a>(&'a self, _: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>> {
        Box::pin(async move {
            let object = &self.object;
            let found = change::read(&self.kubernetes, object).await?;
            let ready = found.data["status"]["readyReplicas"].as_u64().unwrap_or(0);
            let expected = format!("{} ready", self.before);
            let judgement = if ready == self.before || ready == self.on {
                Judgement::of(ready == self.before, format!("{ready} ready"), &expected, ("as before", "scaled"))
            } else {
                let why = format!("{ready} are ready, between {} and {}", self.before, self.on);
                Judgement::inconclusive(Reason::NoData { what: object.to_string(), why }, &expected)
            };
            Ok(Finding { judgement, evidence: json!({"ready": ready}) })
        })
    }
}
