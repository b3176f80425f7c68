//! Bad networks, in the lab.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, ListParams};
use serde_json::json;

use super::create;
use crate::BoxError;
use crate::experiment::{Armed, Check, Fault, Finding, Mark, Place, Proof, Right, Scene, Targets, Witness};
use crate::kubernetes::pods::name_of;
use crate::kubernetes::{KubernetesError, Pods};
use crate::rollback::ObjectRef;
use crate::tolerance::Judgement;
use crate::transport::Address;

/// The smallest latency that a witness tells from none.
const LEAST: Duration = Duration::from_millis(5);

/// How long a connection takes in the lab by itself.
const CONNECTING: Duration = Duration::from_millis(1);

/// When a connection that opens so late has lost a packet on the way: the first is sent again after 1 s.
const LATE: Duration = Duration::from_millis(500);

/// How unlikely it has to be that a lossy network looks whole: one in a million.
const OVERLOOKED: f64 = 1e-6;

impl Pods {
    /// A fault, in the lab only: what these pods send takes so much longer. See [`Impair`].
    pub fn latency(&self, latency: Duration) -> Impair {
        Impair::new(self.clone(), Wrong::Latency(latency))
    }

    /// A fault, in the lab only: of what these pods send, so many percent are lost. See [`Impair`].
    pub fn loss(&self, percent: u8) -> Impair {
        Impair::new(self.clone(), Wrong::Loss(percent))
    }
}

#[derive(Clone, Copy)]
enum Wrong {
    Latency(Duration),
    Loss(u8),
}

/// A fault: the network of pods is slow, or loses packets. In the embedded lab only.
///
/// - **Effect**: what the pods send, to whomever, takes longer, or is lost and sent again; on open connections too. It
///   is an object of the kind NetworkChaos of Chaos Mesh, which the lab understands.
/// - **Undo**: the object is deleted by uid and owner label, and read back.
/// - **Needs**: create, get and delete on `networkchaos.chaos-mesh.org`, list on `pods`; for the witness list on
///   `services`.
/// - **Caveats**: refused on other clusters, also where Chaos Mesh is installed: that is not supported yet. Seen by the
///   time that connections to a service of the pods take, so that there must be one, which leads to none but them. A
///   loss is seen by the first of many connections that opens late: one look in a million may overlook it.
#[derive(Clone)]
#[must_use = "a fault does nothing until it is injected: `.inject(..)`"]
pub struct Impair {
    pods: Pods,
    wrong: Wrong,
    lasting: Option<Duration>,
    witness: Option<Arc<dyn Check>>,
}

impl Impair {
    fn new(pods: Pods, wrong: Wrong) -> Self {
        Self { pods, wrong, lasting: None, witness: None }
    }

    /// Ends the fault by itself after this time, by the plan of the experiment.
    ///
    /// The hypothesis is judged after the method: a check of a moment, such as a request, that looks when the fault is over
    /// already is [`Inconclusive`](crate::journal::Verdict::Inconclusive). Growth, loads and what else looks back sees it.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = Some(duration);
        self
    }

    /// Sees the effect through this check: met while the fault is off, not met while on.
    pub fn witness(mut self, check: impl Check) -> Self {
        self.witness = Some(Arc::new(check));
        self
    }

    fn object(&self, name: &str) -> ObjectRef {
        ObjectRef {
            api_version: "chaos-mesh.org/v1alpha1".into(),
            kind: "NetworkChaos".into(),
            resource: "networkchaos".into(),
            namespace: Some(self.pods.namespace.clone()),
            name: name.to_owned(),
        }
    }

    async fn targets(&self) -> Result<Vec<Pod>, BoxError> {
        let sound = match self.wrong {
            Wrong::Latency(latency) => latency >= LEAST,
            Wrong::Loss(percent) => (1..=100).contains(&percent),
        };
        if !sound {
            return Err(
                "a latency is at least 5 ms, so that it is told from none, and a loss is between 1 and 100 percent"
                    .into(),
            );
        }
        let (is_lab, version) = self.pods.kubernetes.is_lab().await?;
        if !is_lab {
            return Err(KubernetesError::LabOnly { what: self.describe(), version }.into());
        }
        Ok(self.pods.targets_of_fault().await?)
    }

    /// A service that leads to the pods and to nobody else.
    async fn service(&self) -> Result<Option<Address>, BoxError> {
        let (client, namespace) = (self.pods.kubernetes.client().clone(), &self.pods.namespace);
        let services: Api<Service> = Api::namespaced(client.clone(), namespace);
        let listed = services.list(&ListParams::default()).await;
        let listed = listed.map_err(KubernetesError::api(format!("list the services of namespace {namespace}")))?;
        let pods: Api<Pod> = Api::namespaced(client, namespace);
        for service in listed {
            let (Some(name), Some(spec)) = (service.metadata.name, service.spec) else { continue };
            let labels: Vec<String> =
                spec.selector.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
            let port = spec.ports.iter().flatten().find_map(|port| u16::try_from(port.port).ok());
            if labels.is_empty() || port.is_none() {
                continue;
            }
            let behind = pods.list(&ListParams::default().labels(&labels.join(","))).await;
            let behind = behind.map_err(KubernetesError::api(format!("list the pods of service {name}")))?.items;
            let selector = self.pods.selector()?;
            if !behind.is_empty() && behind.iter().all(|pod| selector.matches_map(pod.metadata.labels.as_ref())) {
                return Ok(Some(Address::Service { namespace: namespace.clone(), name, port, path: "/".into() }));
            }
        }
        Ok(None)
    }
}

impl Fault for Impair {
    fn describe(&self) -> String {
        match self.wrong {
            Wrong::Latency(latency) => format!("latency of {latency:?} from {}", self.pods.describe()),
            Wrong::Loss(percent) => format!("loss of {percent} % from {}", self.pods.describe()),
        }
    }

    fn places(&self) -> Vec<Place> {
        vec![Place::Namespace(self.pods.namespace.clone())]
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        Box::pin(async move {
            let targets = self.targets().await?;
            let namespace = &self.pods.namespace;
            let mut rights: Vec<Right> = ["create", "get", "delete"]
                .map(|verb| Right::new(verb, "chaos-mesh.org", "networkchaos", namespace))
                .into();
            rights.extend(["pods", "services"].map(|resource| Right::new("list", "", resource, namespace)));
            Ok(Targets {
                names: targets.iter().map(name_of).collect(),
                rights,
                notes: vec!["works in the lab only".to_owned()],
            })
        })
    }

    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            let object = self.object(&mark.owner);
            let labels = self.pods.selector()?.to_json();
            let mut selector = json!({"namespaces": [self.pods.namespace]});
            for (ours, theirs) in [("matchLabels", "labelSelectors"), ("matchExpressions", "expressionSelectors")] {
                if !labels[ours].is_null() {
                    selector[theirs] = labels[ours].clone();
                }
            }
            let mut spec = json!({"mode": "all", "direction": "to", "selector": selector});
            match self.wrong {
                Wrong::Latency(latency) => {
                    spec["action"] = json!("delay");
                    spec["delay"] = json!({"latency": format!("{}us", latency.as_micros())});
                }
                Wrong::Loss(percent) => {
                    spec["action"] = json!("loss");
                    spec["loss"] = json!({"loss": percent.to_string()});
                }
            }
            create::arm(&self.pods.kubernetes, object, &spec, mark)
        })
    }

    fn witness<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async move {
            if let Some(check) = &self.witness {
                return Ok(Proof::Witness(Witness { stage: None, check: check.clone(), blind: None, stays: false }));
            }
            let Some(service) = self.service().await? else {
                let why = "no service leads to the pods and to them alone, so that nobody can time their connections; give a check by `.witness(..)`";
                return Ok(Proof::Missing(why.to_owned()));
            };
            let (late, attempts) = match self.wrong {
                Wrong::Latency(latency) => (latency / 2 + CONNECTING, 1),
                Wrong::Loss(percent) => (LATE, attempts(percent)),
            };
            let check = Arc::new(Connecting { service, late, attempts });
            Ok(Proof::Witness(Witness { stage: None, check, blind: None, stays: false }))
        })
    }

    fn remedy(&self) -> &'static str {
        "give it a `.witness(check)`"
    }

    fn lasting(&self) -> Option<Duration> {
        self.lasting
    }
}

/// After how many connections in time a loss would be overlooked so rarely.
fn attempts(percent: u8) -> u32 {
    let passes = 1.0 - f64::from(percent.min(99)) / 100.0;
    // At one percent they are 1,375.
    (OVERLOOKED.ln() / passes.ln()).ceil() as u32
}

/// Whether connections to a service all open in time.
struct Connecting {
    service: Address,
    late: Duration,
    attempts: u32,
}

impl Check for Connecting {
    fn describe(&self) -> String {
        format!("the time to connect to {}", self.service)
    }

    fn check<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>> {
        Box::pin(async move {
            let (mut in_time, mut made) = (true, 0_u32);
            for _ in 0..self.attempts {
                made += 1;
                match tokio::time::timeout(self.late, scene.transport.connect(&self.service)).await {
                    Ok(connected) => drop(connected?),
                    Err(_) => {
                        in_time = false;
                        break;
                    }
                }
            }
            let seen = if in_time { "in time" } else { "late" };
            let judgement = Judgement::of(in_time, seen, &format!("within {:?}", self.late), ("in time", "late"));
            Ok(Finding {
                judgement,
                evidence: json!({"connections": made, "all_within": self.late, "in_time": in_time}),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::attempts;

    #[test]
    fn a_small_loss_needs_many_connections() {
        assert_eq!([1, 10, 50, 100].map(attempts), [1375, 132, 20, 3]);
    }
}
