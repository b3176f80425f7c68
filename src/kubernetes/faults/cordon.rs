//! Cordoning a node.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::change;
use crate::BoxError;
use crate::experiment::{Armed, Check, Fault, Finding, Mark, Place, Proof, Scene, Targets, Witness};
use crate::journal::Reason;
use crate::kubernetes::{KubernetesError, Node};
use crate::tolerance::Judgement;

const UNSCHEDULABLE: &str = "/spec/unschedulable";

/// The taint that the cluster gives to such a node, and takes away again.
const TAINT: &str = "node.kubernetes.io/unschedulable";

impl Node {
    /// A fault: no new pod is put onto this node. See [`Cordon`].
    pub fn cordon(&self) -> Cordon {
        Cordon { node: self.clone(), lasting: None }
    }
}

/// A fault: a node takes no new pods, as `kubectl cordon` does it.
///
/// - **Effect**: pods that are made meanwhile, and tolerate no such node, go elsewhere or stay pending. Those on it
///   stay. Seen by the node's taint, which the cluster sets.
/// - **Undo**: the node is made schedulable again where our mark still stands.
/// - **Needs**: get, list and patch on `nodes`, of the whole cluster.
/// - **Caveats**: by itself it does nothing; delete pods or scale while it is on. A node that is cordoned already is
///   refused: an uncordoning would not be ours.
#[derive(Clone)]
#[must_use = "a fault does nothing until it is injected: `.inject(..)`"]
pub struct Cordon {
    node: Node,
    lasting: Option<Duration>,
}

impl Cordon {
    /// Ends the fault by itself after this time, by the plan of the experiment.
    ///
    /// The hypothesis is judged after the method: a check of a moment, such as a request, that looks when the fault is over
    /// already is [`Inconclusive`](crate::journal::Verdict::Inconclusive). Growth, loads and what else looks back sees it.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = Some(duration);
        self
    }
}

impl Fault for Cordon {
    fn describe(&self) -> String {
        format!("cordon node {}", self.node.name)
    }

    fn places(&self) -> Vec<Place> {
        vec![Place::Node(self.node.name.clone())]
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        Box::pin(async move {
            let object = self.node.object();
            let found = change::read(&self.node.kubernetes, &object).await?;
            if found.data["spec"]["unschedulable"] == true {
                return Err(KubernetesError::NothingToChange {
                    object: object.to_string(),
                    already: "it is cordoned".into(),
                }
                .into());
            }
            Ok(Targets {
                names: vec![object.to_string()],
                rights: change::rights(&object),
                notes: vec![change::COVERED.to_owned()],
            })
        })
    }

    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            change::arm(&self.node.kubernetes, self.node.object(), &[(UNSCHEDULABLE, json!(true))], mark).await
        })
    }

    fn witness<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async move {
            let check = Arc::new(Schedulable { node: self.node.clone() });
            Ok(Proof::Witness(Witness { stage: None, check, blind: None, stays: false }))
        })
    }

    fn lasting(&self) -> Option<Duration> {
        self.lasting
    }
}

/// Whether a node takes pods: neither its spec nor its taint says that it does not.
struct Schedulable {
    node: Node,
}

impl Check for Schedulable {
    fn describe(&self) -> String {
        format!("whether node {} takes pods", self.node.name)
    }

    fn check<'a>(&'a self, _: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>> {
        Box::pin(async move {
            let object = self.node.object();
            let found = change::read(&self.node.kubernetes, &object).await?;
            let spec = &found.data["spec"];
            let taints = spec["taints"].as_array().into_iter().flatten();
            let (marked, tainted) = (
                spec["unschedulable"] == true,
                taints.into_iter().any(|taint: &Value| taint["key"] == TAINT && taint["effect"] == "NoSchedule"),
            );
            let seen = format!("unschedulable: {marked}, tainted: {tainted}");
            let judgement = if marked == tainted {
                Judgement::of(!marked, seen, "neither", ("it does", "it does not"))
            } else {
                // The one follows the other within a moment.
                Judgement::inconclusive(Reason::NoData { what: object.to_string(), why: seen }, "neither")
            };
            Ok(Finding { judgement, evidence: json!({"unschedulable": marked, "tainted": tainted}) })
        })
    }
}
