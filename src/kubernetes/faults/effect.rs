//! Whether the effect of a fault on any object is the object itself, or what somebody else makes of it.

use std::sync::Arc;

use crate::experiment::{Check, Proof, Witness};
use crate::rollback::ObjectRef;

/// What a user can do where nothing proves such a fault.
pub(super) const REMEDY: &str = "give it a `.witness(check)`, or believe it by `.trust_without_proof(\"why\")`";

/// The groups whose kinds the API server, its controllers and the nodes act on: they are part of every cluster.
const OF_THE_CLUSTER: &[&str] = &[
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// The group of an object's kind; empty for the core group.
pub(super) fn group(object: &ObjectRef) -> &str {
    object.api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Who must act on an object for it to have an effect, where a cluster may be without him.
pub(super) fn actor(object: &ObjectRef) -> Option<String> {
    match (group(object), object.kind.as_str()) {
        ("networking.k8s.io", "NetworkPolicy") => Some("the network plug-in".to_owned()),
        ("networking.k8s.io", "Ingress") => Some("an ingress controller".to_owned()),
        (group, _) if OF_THE_CLUSTER.contains(&group) => None,
        (group, _) => Some(format!("the controller of {}.{group}", object.resource)),
    }
}

/// How a fault on an object is to be seen, as its user says.
#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) witness: Option<Arc<dyn Check>>,
    pub(super) trusted: Option<String>,
}

impl Seen {
    /// Whether the user says nothing of it.
    pub(super) fn is_silent(&self) -> bool {
        self.witness.is_none() && self.trusted.is_none()
    }

    /// Whether something is still to be found that sees it.
    pub(super) fn is_open(&self, object: &ObjectRef) -> bool {
        self.is_silent() && actor(object).is_some()
    }

    /// Its proof, as far as the user and the kind say it.
    pub(super) fn proof(&self, object: &ObjectRef) -> Proof {
        if let Some(check) = &self.witness {
            return Proof::Witness(Witness { stage: None, check: check.clone(), blind: None, stays: false });
        }
        match (actor(object), &self.trusted) {
            (None, _) => Proof::Applied,
            (Some(_), Some(why)) => Proof::Missing(format!("nobody looked, it is believed: {why}")),
            (Some(actor), None) => Proof::Missing(format!("nobody sees what {actor} makes of it")),
        }
    }

    /// The remedy where nothing proves it; none where the object itself is the proof.
    pub(super) fn remedy(&self, object: &ObjectRef) -> &'static str {
        if actor(object).is_some() {
            REMEDY
        } else {
            "look whether the cluster is well, and who else writes the object"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_act_on_is_not_its_own_effect() {
        let of = |api_version: &str, kind: &str, resource: &str| {
            let (api_version, kind, resource) = (api_version.into(), kind.into(), resource.into());
            actor(&ObjectRef { api_version, kind, resource, namespace: None, name: "n".into() })
        };
        assert_eq!(of("v1", "Pod", "pods"), None);
        assert_eq!(of("apps/v1", "Deployment", "deployments"), None);
        assert_eq!(of("networking.k8s.io/v1", "IngressClass", "ingressclasses"), None);
        assert!(of("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies").is_some());
        assert!(of("networking.k8s.io/v1", "Ingress", "ingresses").is_some());
        assert_eq!(
            of("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes").as_deref(),
            Some("the controller of httproutes.gateway.networking.k8s.io")
        );
        assert!(of("chaos-mesh.org/v1alpha1", "NetworkChaos", "networkchaos").is_some());
    }
}
