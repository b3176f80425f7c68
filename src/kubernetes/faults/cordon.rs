//! Cordoning a node.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::json;

use super::change;
use crate::BoxError;
use crate::experiment::{Armed, Fault, Mark, Place, Proof, Targets};
use crate::kubernetes::{KubernetesError, Node};

const UNSCHEDULABLE: &str = "/spec/unschedulable";

impl Node {
    /// A fault: no new pod is put onto this node. See [`Cordon`].
    pub fn cordon(&self) -> Cordon {
        Cordon { node: self.clone(), lasting: None }
    }
}

/// A fault: a node takes no new pods, as `kubectl cordon` does it.
///
/// - **Effect**: pods that are made meanwhile, and tolerate no such node, go elsewhere or stay pending. Those on it
///   stay.
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
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = Some(duration);
        self
    }
}

impl Fault for Cordon {
    fn describe(&self) -> String {
        format!("cordon node {}", self.node.name)
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
                places: vec![Place::Node(self.node.name.clone())],
            })
        })
    }

    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            change::arm(&self.node.kubernetes, self.node.object(), &[(UNSCHEDULABLE, json!(true))], mark).await
        })
    }

    fn witness<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async { Ok(Proof::Applied) })
    }

    fn lasting(&self) -> Option<Duration> {
        self.lasting
    }
}
