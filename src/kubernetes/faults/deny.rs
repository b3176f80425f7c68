//! Cutting pods off by a NetworkPolicy.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::json;

use super::create;
use crate::BoxError;
use crate::experiment::{Armed, Check, Fault, Mark, Place, Proof, Right, Targets, Witness};
use crate::kubernetes::pods::name_of;
use crate::kubernetes::witness::WitnessPods;
use crate::kubernetes::{KubernetesError, Pods};
use crate::rollback::ObjectRef;

/// What the plan says where a witness pod is staged.
pub(super) const WITNESSED: &str = "a witness pod that only opens TCP connections proves the effect";

/// The rights that a witness pod takes.
pub(super) fn witness_rights(namespace: &str) -> Vec<Right> {
    let mut rights: Vec<Right> =
        ["create", "get", "list", "delete"].map(|verb| Right::new(verb, "", "pods", namespace)).into();
    rights.push(Right::new("get", "", "pods/log", namespace));
    rights
}

/// Which connections are denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those that others open to the pods.
    Ingress,
    /// Those that the pods open.
    Egress,
}

impl Direction {
    fn word(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl Pods {
    /// A fault: no new connection reaches these pods. See [`DenyTraffic`].
    pub fn deny_ingress(&self) -> DenyTraffic {
        DenyTraffic::new(self.clone(), Direction::Ingress)
    }

    /// A fault: these pods open no new connection. See [`DenyTraffic`].
    pub fn deny_egress(&self) -> DenyTraffic {
        DenyTraffic::new(self.clone(), Direction::Egress)
    }
}

/// A fault: denies all new connections to or from pods, by a NetworkPolicy.
///
/// - **Effect**: new connections in that direction are dropped, so that their callers hang until their own
///   time-out. Established connections live on; the node's own traffic, probes of the kubelet included, passes.
/// - **Undo**: the policy is deleted by uid and owner label, and read back.
/// - **Needs**: create, get and delete on `networkpolicies.networking.k8s.io`; for the witness create, get and
///   delete on `pods` and get on `pods/log`. A network plug-in that enforces policies.
/// - **Caveats**: where the plug-in enforces nothing, the witness says so and the verdict is inconclusive. Another
///   policy that allows the traffic adds up with this one and wins. Denied egress also cuts DNS; its witness carries the
///   labels of the pods, so that a DaemonSet, a bare ReplicaSet and what else would adopt it need `.witness(check)`. So does
///   a plug-in that rejects what others drop: a refused connection is no proof.
#[derive(Clone)]
#[must_use = "a fault does nothing until it is injected: `.inject(..)`"]
pub struct DenyTraffic {
    pods: Pods,
    direction: Direction,
    lasting: Option<Duration>,
    witness: Option<Arc<dyn Check>>,
    image: Option<String>,
    trusted: Option<String>,
    name: Option<String>,
}

impl DenyTraffic {
    fn new(pods: Pods, direction: Direction) -> Self {
        Self { pods, direction, lasting: None, witness: None, image: None, trusted: None, name: None }
    }

    /// Ends the fault by itself after this time, by the plan of the experiment.
    ///
    /// The hypothesis is judged after the method: a check of a moment, such as a request, that looks when the fault is over
    /// already is [`Inconclusive`](crate::journal::Verdict::Inconclusive). Growth, loads and what else looks back sees it.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = Some(duration);
        self
    }

    /// Sees the effect through this check instead of a witness pod: met while the fault is off, not met while on.
    pub fn witness(mut self, check: impl Check) -> Self {
        self.witness = Some(Arc::new(check));
        self
    }

    /// The image of the witness pod, if it is not the one that the cluster knows.
    pub fn witness_image(mut self, image: impl Into<String>) -> Self {
        self.image = Some(image.into());
        self
    }

    /// The policy's name, in place of one of its own: others find it by that, and two of one name are refused.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    fn object(&self, name: &str) -> ObjectRef {
        ObjectRef {
            api_version: "networking.k8s.io/v1".into(),
            kind: "NetworkPolicy".into(),
            resource: "networkpolicies".into(),
            namespace: Some(self.pods.namespace.clone()),
            name: name.to_owned(),
        }
    }

    /// A name that others may know must be free.
    async fn is_free(&self) -> Result<(), KubernetesError> {
        match &self.name {
            Some(name) => create::refuse_existing(&self.pods.kubernetes, &self.object(name)).await,
            None => Ok(()),
        }
    }

    /// Believes the fault without a proof; the journal shows why.
    pub fn trust_without_proof(mut self, why: impl Into<String>) -> Self {
        self.trusted = Some(why.into());
        self
    }
}

impl Fault for DenyTraffic {
    fn describe(&self) -> String {
        let way = match self.direction {
            Direction::Ingress => "to",
            Direction::Egress => "from",
        };
        format!("deny {} {way} {}", self.direction.word(), self.pods.describe())
    }

    fn places(&self) -> Vec<Place> {
        vec![Place::Namespace(self.pods.namespace.clone())]
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        Box::pin(async move {
            let targets = self.pods.targets_of_fault().await?;
            self.is_free().await?;
            let namespace = &self.pods.namespace;
            let policies = ["create", "get", "delete"]
                .map(|verb| Right::new(verb, "networking.k8s.io", "networkpolicies", namespace));
            let mut rights = Vec::from(policies);
            let mut notes = Vec::new();
            if self.witness.is_none() && self.trusted.is_none() {
                rights.extend(witness_rights(namespace));
                notes.push(WITNESSED.to_owned());
            } else {
                rights.push(Right::new("list", "", "pods", namespace));
            }
            Ok(Targets { names: targets.iter().map(name_of).collect(), rights, notes })
        })
    }

    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            self.is_free().await?;
            let object = self.object(self.name.as_ref().unwrap_or(&mark.owner));
            let kind = match self.direction {
                Direction::Ingress => "Ingress",
                Direction::Egress => "Egress",
            };
            let spec = json!({"podSelector": self.pods.selector()?.to_json(), "policyTypes": [kind]});
            create::arm(&self.pods.kubernetes, object, &spec, mark)
        })
    }

    fn witness<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async move {
            if let Some(check) = &self.witness {
                return Ok(Proof::Witness(Witness { stage: None, check: check.clone(), blind: None, stays: false }));
            }
            if let Some(why) = &self.trusted {
                return Ok(Proof::Missing(format!("nobody looked, it is believed: {why}")));
            }
            let image = self.image.as_deref().unwrap_or(self.pods.kubernetes.witness_image());
            let targets = self.pods.targets_of_fault().await?;
            Ok(match self.direction {
                Direction::Ingress => WitnessPods::of_ingress(&self.pods, &targets, image, mark)?,
                Direction::Egress => WitnessPods::of_egress(&self.pods, &targets, image, mark)?,
            })
        })
    }

    fn lasting(&self) -> Option<Duration> {
        self.lasting
    }

    fn remedy(&self) -> &'static str {
        "give it a `.witness(check)`, or believe it by `.trust_without_proof(\"why\")`"
    }

    fn trusted(&self) -> Option<String> {
        self.trusted.clone()
    }
}
