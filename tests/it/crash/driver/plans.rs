//! The runs of the drivers: every fault by itself, and some together.

use futures_util::future::BoxFuture;
use serde_json::Value;
use steadfast::BoxError;
use steadfast::experiment::{Check, Finding, Scene};
use steadfast::prelude::*;
use steadfast::tolerance::Judgement;

/// A fault of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    DenyIngress,
    DenyEgress,
    Latency,
    Loss,
    DeletePods,
    Scale,
    Blackhole,
    Cordon,
}

use Kind::{Blackhole, Cordon, DeletePods, DenyEgress, DenyIngress, Latency, Loss, Scale};

/// What one run injects, in this order.
pub type Plan = &'static [Kind];

pub const ALONE: [Plan; 8] =
    [&[DenyIngress], &[DenyEgress], &[Latency], &[Loss], &[DeletePods], &[Scale], &[Blackhole], &[Cordon]];

pub const TOGETHER: [Plan; 4] =
    [&[DenyIngress, DenyEgress], &[Loss, Scale, Cordon], &[Blackhole, DenyIngress], &[Cordon, Latency, DeletePods]];

/// The lab's one node.
const NODE: &str = "lab-control-plane";

impl Kind {
    /// Whether it is an object that it creates.
    pub fn is_created(self) -> bool {
        matches!(self, DenyIngress | DenyEgress | Latency | Loss)
    }

    /// Whether other pods are there after it than before.
    pub fn moves_pods(self) -> bool {
        matches!(self, DeletePods | Scale)
    }
}

/// A run that holds its faults for a while.
pub fn experiment(cluster: &Cluster, plan: Plan) -> Experiment {
    let shop = cluster.namespace("default");
    let mut experiment = Experiment::new("killed", Hypothesis::new("all is well").check(Holds));
    for kind in plan {
        experiment = match kind {
            DenyIngress => experiment.inject(shop.pods("app=back").deny_ingress()),
            DenyEgress => experiment.inject(shop.pods("app=front").deny_egress()),
            Latency => experiment.inject(shop.pods("app=back").latency(millis(50))),
            Loss => experiment.inject(shop.pods("app=front").loss(100)),
            DeletePods => experiment.inject(shop.pods("app=front").delete().grace(secs(0))),
            Scale => experiment.inject(shop.deployment("back").scale(0)),
            Blackhole => experiment.inject(shop.service("front").blackhole()),
            Cordon => experiment.inject(cluster.node(NODE).cordon()),
        };
    }
    experiment.pause(secs(12))
}

/// What holds whatever happens: a run says `Met` unless it knows better of its faults.
struct Holds;

impl Check for Holds {
    fn describe(&self) -> String {
        "nothing".into()
    }

    fn check<'a>(&'a self, _: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>> {
        let judgement = Judgement::of(true, "as always", "anything", ("as always", "never"));
        Box::pin(async { Ok(Finding { judgement, evidence: Value::Null }) })
    }
}
