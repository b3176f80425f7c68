//! A witness: a short-lived pod that opens TCP connections and says whether they open.
//!
//! A probe through the system under test would make the very failures that are being counted, and a process
//! outside the cluster cannot reach a pod. The pod's log has one line for each attempt, `N open`, `N refused` or
//! `N no answer`; a look waits for an attempt that began after it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams, PostParams};
use serde_json::{Value, json};

use super::{Kubernetes, KubernetesError, Pods, deletion, metadata};
use crate::BoxError;
use crate::experiment::{Applied, Armed, Check, Finding, Mark, Proof, Scene, Witness};
use crate::journal::Reason;
use crate::rollback::ObjectRef;
use crate::tolerance::Judgement;

/// The image of witness pods, which the lab always knows.
pub const WITNESS_IMAGE: &str = "steadfast-witness:1";

/// Where the listener of an egress witness listens.
pub(super) const LISTEN_PORT: u16 = 7007;

/// How long a look waits for two attempts; one takes at most 1.1 s.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// What a connection that opens under a policy may mean.
const NOT_ENFORCED: &str = "the network plug-in may not enforce NetworkPolicies, or another policy allows it";

/// How often the log is read meanwhile.
const READ_EVERY: Duration = Duration::from_millis(250);

/// The label by which a Deployment's ReplicaSets select.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// The labels by which Jobs select.
const JOB_UIDS: &[&str] = &["batch.kubernetes.io/controller-uid", "controller-uid"];

/// The labels that a witness must not carry: whose pods have them takes it for one of its own, and may delete it.
const OF_CONTROLLERS: &[&str] = &[TEMPLATE_HASH, JOB_UIDS[0], JOB_UIDS[1]];

/// The condition that a witness never meets, so that no Service takes it for one of its pods.
const READINESS_GATE: &str = "steadfast.dev/never-ready";

pub(super) struct WitnessPods;

impl WitnessPods {
    /// A pod of no labels of theirs that connects to the first target.
    pub(super) fn of_ingress(pods: &Pods, targets: &[Pod], image: &str, mark: &Mark) -> Result<Proof, BoxError> {
        let stays = |pod: &&&Pod| pod.metadata.deletion_timestamp.is_none();
        let (ready, others): (Vec<&Pod>, Vec<&Pod>) =
            targets.iter().filter(|pod| stays(&pod)).partition(|pod| is_ready(pod));
        let addressed = ready.into_iter().chain(others).find_map(|pod| Some((pod, ip(pod)?, port(pod)?)));
        let Some((target, ip, port)) = addressed else {
            let why = "no target has both an address and a declared TCP container port to connect to; declare one as `containerPort`";
            return Ok(Proof::Missing(why.to_owned()));
        };
        let to = format!("{ip}:{port}");
        let pod = body(&pods.namespace, &mark.owner, mark, image, &["connect", &to], json!({}));
        let target = target.metadata.name.clone().unwrap_or_default();
        Ok(proof(pods, mark, vec![pod], "the targets", target))
    }

    /// A pod with the targets' labels that connects to one without.
    pub(super) fn of_egress(pods: &Pods, targets: &[Pod], image: &str, mark: &Mark) -> Result<Proof, BoxError> {
        if let Some(adopter) = targets.iter().find_map(adopter) {
            let why = format!(
                "{adopter} would take a witness of its labels for its own, and have one pod too many; give a check by `.witness(..)`"
            );
            return Ok(Proof::Missing(why));
        }
        let Some(labels) = targets.first().map(|pod| pod.metadata.labels.clone().unwrap_or_default()) else {
            return Ok(Proof::Missing("there is no target whose labels a witness could carry".into()));
        };
        let labels: serde_json::Map<String, Value> = labels
            .into_iter()
            .filter(|(key, _)| !OF_CONTROLLERS.contains(&key.as_str()))
            .map(|(key, value)| (key, Value::String(value)))
            .collect();
        let listener = format!("{}-listener", mark.owner);
        let listen = ["listen", &LISTEN_PORT.to_string()];
        let pods_to_make = vec![
            body(&pods.namespace, &listener, mark, image, &listen, json!({})),
            // The listener's address is known only once it runs: see `create`.
            body(&pods.namespace, &mark.owner, mark, image, &["connect", ""], Value::Object(labels)),
        ];
        Ok(proof(pods, mark, pods_to_make, "another pod", listener))
    }
}

/// The controller of a pod that takes every other pod for its own which carries that one's labels but `OF_CONTROLLERS`.
fn adopter(pod: &Pod) -> Option<String> {
    let owners = pod.metadata.owner_references.iter().flatten();
    let controller = owners.into_iter().find(|owner| owner.controller == Some(true))?;
    let selects_by = |keys: &[&str]| pod.metadata.labels.iter().flatten().any(|(key, _)| keys.contains(&key.as_str()));
    let safe = match controller.kind.as_str() {
        "ReplicaSet" => selects_by(&[TEMPLATE_HASH]),
        "Job" => selects_by(JOB_UIDS),
        // It knows its pods by their names too.
        "StatefulSet" => true,
        _ => false,
    };
    (!safe).then(|| format!("{} {}", controller.kind.to_lowercase(), controller.name))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn proof(pods: &Pods, mark: &Mark, bodies: Vec<Value>, to: &'static str, target: String) -> Proof {
    let object = |name: &str| ObjectRef {
        api_version: "v1".into(),
        kind: "Pod".into(),
        resource: "pods".into(),
        namespace: Some(pods.namespace.clone()),
        name: name.to_owned(),
    };
    let names: Vec<String> =
        bodies.iter().map(|b| b["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect();
    let undo = names.iter().map(|name| deletion(mark, object(name))).collect();
    let check = Attempts {
        kubernetes: pods.kubernetes.clone(),
        namespace: pods.namespace.clone(),
        pod: mark.owner.clone(),
        to,
        target,
    };
    let api: Api<Pod> = Api::namespaced(pods.kubernetes.client().clone(), &pods.namespace);
    let apply = Box::new(move || -> BoxFuture<'static, Applied> { Box::pin(create(api, bodies)) });
    let blind = Some(NOT_ENFORCED);
    Proof::Witness(Witness { stage: Some(Armed { undo, apply }), check: Arc::new(check), blind, stays: false })
}

/// Creates the pods one by one; a connector without an address gets that of the pod before it.
async fn create(api: Api<Pod>, bodies: Vec<Value>) -> Applied {
    let mut uids = Vec::new();
    let mut listener: Option<String> = None;
    for mut body in bodies {
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if body["spec"]["containers"][0]["args"][1] == "" {
            let listener = listener.clone().unwrap_or_default();
            let address = address(&api, &listener).await?;
            body["spec"]["containers"][0]["args"][1] = json!(format!("{address}:{LISTEN_PORT}"));
        }
        let pod: Pod = serde_json::from_value(body)?;
        let created = api.create(&PostParams::default(), &pod).await;
        uids.push(created.map_err(KubernetesError::api(format!("create witness pod {name}")))?.metadata.uid);
        listener = Some(name);
    }
    Ok(uids)
}

/// Waits until a pod runs and has an address.
async fn address(api: &Api<Pod>, name: &str) -> Result<String, BoxError> {
    const WITHIN: Duration = Duration::from_secs(30);
    let running = async {
        loop {
            let pod = api.get(name).await.map_err(KubernetesError::api(format!("read witness pod {name}")))?;
            let phase = pod.status.as_ref().and_then(|s| s.phase.clone());
            match (ip(&pod), phase.as_deref()) {
                (Some(ip), Some("Running")) => return Ok(ip),
                _ => tokio::time::sleep(READ_EVERY).await,
            }
        }
    };
    match tokio::time::timeout(WITHIN, running).await {
        Ok(found) => found,
        Err(_) => Err(format!("witness pod {name} does not run after {WITHIN:?}; is its image on the node?").into()),
    }
}

fn body(namespace: &str, name: &str, mark: &Mark, image: &str, args: &[&str], labels: Value) -> Value {
    let mut metadata = metadata(mark, name, Some(namespace));
    if let (Some(ours), Value::Object(theirs)) = (metadata["labels"].as_object_mut(), labels) {
        for (key, value) in theirs {
            ours.entry(key).or_insert(value);
        }
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "readinessGates": [{"conditionType": READINESS_GATE}],
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "witness",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "args": args,
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
}

fn ip(pod: &Pod) -> Option<String> {
    pod.status.as_ref()?.pod_ip.clone()
}

/// The first port that a pod declares for TCP.
pub(super) fn port(pod: &Pod) -> Option<i32> {
    let containers = &pod.spec.as_ref()?.containers;
    let mut ports = containers.iter().flat_map(|c| c.ports.iter().flatten());
    ports.find(|p| p.protocol.as_deref().is_none_or(|p| p == "TCP")).map(|p| p.container_port)
}

/// Whether the witness' connections open, as its log says.
struct Attempts {
    kubernetes: Kubernetes,
    namespace: String,
    pod: String,
    to: &'static str,
    /// The pod that it connects to.
    target: String,
}

/// The newest attempt in a log: its number and how it went.
fn newest(log: &str) -> Option<(u64, &str)> {
    let (number, outcome) = log.lines().last()?.split_once(' ')?;
    Some((number.parse().ok()?, outcome))
}

impl Attempts {
    async fn read(&self) -> Result<String, kube::Error> {
        let api: Api<Pod> = Api::namespaced(self.kubernetes.client().clone(), &self.namespace);
        api.logs(&self.pod, &LogParams { tail_lines: Some(1), ..Default::default() }).await
    }

    /// What an attempt says. One that hangs is denied, as long as there is somebody to answer.
    async fn judge(&self, outcome: &str) -> Result<Judgement, BoxError> {
        let unknown = |why: String| {
            let what = format!("witness pod {}/{}", self.namespace, self.pod);
            Judgement::inconclusive(Reason::NoData { what, why }, "open")
        };
        let judged = Judgement::of(outcome == "open", outcome, "open", ("open", "denied"));
        match outcome {
            "open" => Ok(judged),
            "no answer" => {
                let api: Api<Pod> = Api::namespaced(self.kubernetes.client().clone(), &self.namespace);
                let doing = format!("read pod {}/{}", self.namespace, self.target);
                let target = api.get_opt(&self.target).await.map_err(KubernetesError::api(doing))?;
                let stands = target.is_some_and(|pod| pod.metadata.deletion_timestamp.is_none());
                let why = || format!("no answer, but pod {} is not there any more to give one", self.target);
                Ok(if stands { judged } else { unknown(why()) })
            }
            _ => Ok(unknown(format!(
                "{outcome}, which is no denial: the target itself may be dead, or the network plug-in rejects where others \
                 drop; then give a check by `.witness(check)`"
            ))),
        }
    }
}

impl Check for Attempts {
    fn describe(&self) -> String {
        format!("a connection of a witness to {}", self.to)
    }

    fn check<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>> {
        Box::pin(async move {
            let until = scene.clock.elapsed() + LOOK_WITHIN;
            let mut first = None;
            loop {
                let log = self.read().await;
                let seen = log.as_ref().ok().and_then(|log| newest(log));
                if first.is_none() {
                    first = Some(seen.map_or(0, |(number, _)| number));
                }
                // The attempt after the one in flight when the look began is the first that began after it.
                if let (Some((number, outcome)), Some(first)) = (seen, first)
                    && number >= first + 2
                {
                    let evidence = json!({"attempt": outcome, "to": self.target});
                    return Ok(Finding { judgement: self.judge(outcome).await?, evidence });
                }
                if scene.clock.elapsed() >= until {
                    let why = match log {
                        Ok(_) => format!("it made no two attempts within {LOOK_WITHIN:?}"),
                        Err(error) => error.to_string(),
                    };
                    let what = format!("witness pod {}/{}", self.namespace, self.pod);
                    let judgement = Judgement::inconclusive(Reason::NoData { what, why }, "open");
                    return Ok(Finding { judgement, evidence: Value::Null });
                }
                scene.clock.sleep(READ_EVERY).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn the_newest_attempt_is_the_last_line() {
        assert_eq!(newest("1 refused\n2 open\n"), Some((2, "open")));
        assert_eq!(newest("7 no answer"), Some((7, "no answer")));
        assert_eq!(newest(""), None);
        assert_eq!(newest("standard_init: exec format error"), None);
    }
}
