//! A Service that leads nowhere.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};
use serde_json::json;

use super::change;
use crate::BoxError;
use crate::experiment::{Armed, Check, Fault, Finding, Mark, Place, Proof, Right, Scene, Targets, Witness};
use crate::kubernetes::pods::refuse_protected;
use crate::kubernetes::{Kubernetes, KubernetesError, Service};
use crate::rollback::ObjectRef;
use crate::tolerance::Judgement;

/// The key that no pod has: `steadfast.dev/blackhole`, below the selector.
const KEY: &str = "/spec/selector/steadfast.dev~1blackhole";

impl Service {
    /// A fault: nothing stands behind this service any more. See [`Blackhole`].
    pub fn blackhole(&self) -> Blackhole {
        Blackhole { service: self.clone(), lasting: None }
    }
}

/// A fault: a Service selects no pod, by one more key in its selector.
///
/// - **Effect**: connections to the service are refused at once, as when all its pods are unready. Established ones
///   live on, and so does what connects to pods without the service. The pods themselves do not notice.
/// - **Undo**: the key is taken out of the selector.
/// - **Needs**: get, list and patch on `services`; for the witness list on `endpointslices.discovery.k8s.io`.
/// - **Caveats**: GitOps takes the key out, which the experiment notices: the fault ended early. A service without
///   selector is refused. How soon each node follows is up to its proxy.
#[derive(Clone)]
#[must_use = "a fault does nothing until it is injected: `.inject(..)`"]
pub struct Blackhole {
    service: Service,
    lasting: Option<Duration>,
}

impl Blackhole {
    /// Ends the fault by itself after this time, by the plan of the experiment.
    ///
    /// The hypothesis is judged after the method: a check of a moment, such as a request, that looks when the fault is over
    /// already is [`Inconclusive`](crate::journal::Verdict::Inconclusive). Growth, loads and what else looks back sees it.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = Some(duration);
        self
    }

    fn object(&self) -> ObjectRef {
        ObjectRef {
            api_version: "v1".into(),
            kind: "Service".into(),
            resource: "services".into(),
            namespace: Some(self.service.namespace.clone()),
            name: self.service.name.clone(),
        }
    }

    fn kubernetes(&self) -> Result<&Kubernetes, KubernetesError> {
        let Service { namespace, name, .. } = &self.service;
        self.service.kubernetes.as_ref().ok_or_else(|| KubernetesError::WithoutCluster {
            what: format!("service {namespace}/{name}"),
            remedy: format!("`cluster.namespace({namespace:?}).service({name:?})`"),
        })
    }

    /// Refuses a service that a fault may not change, or not in this way.
    async fn admit(&self) -> Result<(), KubernetesError> {
        refuse_protected(&self.service.namespace)?;
        let object = self.object();
        let found = change::read(self.kubernetes()?, &object).await?;
        match found.data["spec"]["selector"].as_object() {
            Some(selector) if !selector.is_empty() => Ok(()),
            _ => Err(KubernetesError::NoSelector { object: object.to_string() }),
        }
    }
}

impl Fault for Blackhole {
    fn describe(&self) -> String {
        format!("blackhole service {} in {}", self.service.name, self.service.namespace)
    }

    fn places(&self) -> Vec<Place> {
        vec![Place::Namespace(self.service.namespace.clone())]
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        Box::pin(async move {
            self.admit().await?;
            let (object, namespace) = (self.object(), &self.service.namespace);
            let mut rights = change::rights(&object);
            rights.push(Right::new("list", "discovery.k8s.io", "endpointslices", namespace));
            Ok(Targets { names: vec![object.to_string()], rights, notes: vec![change::COVERED.to_owned()] })
        })
    }

    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            self.admit().await?;
            change::arm(self.kubernetes()?, self.object(), &[(KEY, json!(mark.owner))], mark).await
        })
    }

    fn witness<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async move {
            let slices = Api::namespaced(self.kubernetes()?.client().clone(), &self.service.namespace);
            let check = Arc::new(Endpoints { slices, service: self.service.name.clone() });
            Ok(Proof::Witness(Witness { stage: None, check, blind: None, stays: false }))
        })
    }

    fn lasting(&self) -> Option<Duration> {
        self.lasting
    }
}

/// Whether a service has a ready endpoint.
struct Endpoints {
    slices: Api<EndpointSlice>,
    service: String,
}

impl Check for Endpoints {
    fn describe(&self) -> String {
        format!("the ready endpoints of service {}", self.service)
    }

    fn check<'a>(&'a self, _: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>> {
        Box::pin(async move {
            let params = ListParams::default().labels(&format!("kubernetes.io/service-name={}", self.service));
            let found = self.slices.list(&params).await;
            let found = found.map_err(KubernetesError::api(format!("list the endpoints of {}", self.service)))?;
            let endpoints = found.items.iter().flat_map(|slice| &slice.endpoints);
            // An absent condition means ready.
            let ready = endpoints.filter(|e| e.conditions.as_ref().and_then(|c| c.ready) != Some(false)).count();
            let judgement = Judgement::of(ready > 0, format!("{ready} ready"), "any ready", ("some", "none"));
            Ok(Finding { judgement, evidence: json!({"ready": ready}) })
        })
    }
}
