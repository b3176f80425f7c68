//! Scaling a Deployment.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::json;

use super::change;
use crate::BoxError;
use crate::experiment::{Armed, Check, Fault, Finding, Mark, Place, Proof, SEEN_WITHIN, Scene, Targets, Witness};
use crate::journal::Reason;
use crate::kubernetes::pods::refuse_protected;
use crate::kubernetes::{Deployment, KubernetesError};
use crate::tolerance::Judgement;

const REPLICAS: &str = "/spec/replicas";

impl Deployment {
    /// A fault: it has this many replicas. See [`Scale`].
    pub fn scale(&self, replicas: u32) -> Scale {
        Scale { deployment: self.clone(), replicas, lasting: None, within: None }
    }
}

/// A fault: a Deployment has another number of replicas.
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
    deployment: Deployment,
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
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = Some(duration);
        self
    }

    /// How many replicas there are now, if a fault may change that.
    async fn before(&self) -> Result<u64, KubernetesError> {
        refuse_protected(&self.deployment.namespace)?;
        let object = self.deployment.object();
        let found = change::read(&self.deployment.kubernetes, &object).await?;
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
        let Deployment { namespace, name, .. } = &self.deployment;
        format!("scale deployment {name} in {namespace} to {}", self.replicas)
    }

    fn places(&self) -> Vec<Place> {
        vec![Place::Namespace(self.deployment.namespace.clone())]
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        Box::pin(async move {
            let now = self.before().await?;
            let object = self.deployment.object();
            Ok(Targets {
                names: vec![object.to_string()],
                rights: change::rights(&object),
                notes: vec![format!("{object} has {now} replicas now"), change::COVERED.to_owned()],
            })
        })
    }

    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            let set = [(REPLICAS, json!(self.replicas))];
            change::arm(&self.deployment.kubernetes, self.deployment.object(), &set, mark).await
        })
    }

    fn witness<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async move {
            let (before, on) = (self.before().await?, u64::from(self.replicas));
            let check = Arc::new(Ready { deployment: self.deployment.clone(), before, on });
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
    deployment: Deployment,
    before: u64,
    on: u64,
}

impl Check for Ready {
    fn describe(&self) -> String {
        format!("the ready replicas of deployment {}", self.deployment.name)
    }

    fn check<'a>(&'a self, _: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>> {
        Box::pin(async move {
            let object = self.deployment.object();
            let found = change::read(&self.deployment.kubernetes, &object).await?;
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
