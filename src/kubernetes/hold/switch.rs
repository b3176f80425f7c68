//! The dead-man's switch: a Job without pods that is deleted, and with it what belongs to it, unless it is extended.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::super::{Kubernetes, KubernetesError, metadata};
use super::Holding;
use crate::clock::{Timestamp, later};
use crate::experiment::{Mark, Switch};
use crate::rollback::ObjectRef;

/// A switch that is on.
#[derive(Clone)]
pub(super) struct DeadMan {
    namespace: String,
    name: String,
    uid: String,
    /// When its creation was asked for, on the run's clock: a little before the Job's own start.
    started: Duration,
    lives_until: Timestamp,
}

pub(super) fn object(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef {
        api_version: "batch/v1".into(),
        kind: "Job".into(),
        resource: "jobs".into(),
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
    }
}

impl DeadMan {
    pub(super) async fn start(ground: &Holding, namespace: &str, mark: &Mark) -> Result<Self, KubernetesError> {
        let body = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": metadata(mark, &mark.owner, Some(namespace)),
            "spec": {
                "parallelism": 0, "backoffLimit": 0, "ttlSecondsAfterFinished": 0,
                "activeDeadlineSeconds": ground.beat.ahead.as_secs(),
                // Never started: a Job must have a template.
                "template": {"spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "none", "image": "none"}],
                }},
            },
        });
        let api: Api<Job> = Api::namespaced(ground.kubernetes.short().clone(), namespace);
        let (started, asked) = (ground.clock.elapsed(), ground.clock.now());
        let doing = format!("create the dead-man's switch, job {namespace}/{}", mark.owner);
        let created = match serde_json::from_value(body) {
            Ok(body) => api.create(&PostParams::default(), &body).await,
            Err(error) => Err(kube::Error::SerdeError(error)),
        };
        let uid = created.map_err(KubernetesError::api(doing))?.metadata.uid.unwrap_or_default();
        let lives_until = later(asked, ground.beat.ahead);
        Ok(Self { namespace: namespace.to_owned(), name: mark.owner.clone(), uid, started, lives_until })
    }

    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    pub(super) fn lives_until(&self) -> Timestamp {
        self.lives_until
    }

    pub(super) fn reference(&self) -> Switch {
        Switch { object: object(&self.namespace, &self.name), uid: self.uid.clone() }
    }

    /// Puts the end off; an error, in words, if it came already.
    pub(super) async fn extend(&mut self, kubernetes: &Kubernetes, ground: &Holding) -> Result<(), String> {
        let api: Api<Job> = Api::namespaced(kubernetes.short().clone(), &self.namespace);
        let (now, at) = (ground.clock.elapsed(), ground.clock.now());
        // Seconds from its start, counted on our own clock: a wall clock may jump.
        let deadline = (now.saturating_sub(self.started) + ground.beat.ahead).as_secs();
        let patch = json!({"metadata": {"uid": self.uid}, "spec": {"activeDeadlineSeconds": deadline}});
        match api.patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(job) if job.metadata.deletion_timestamp.is_none() && !failed(&job) => {
                self.lives_until = later(at, ground.beat.ahead);
                Ok(())
            }
            Ok(_) => Err(self.gone()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => Err(self.gone()),
            // The next beat tries again, as long as there is time.
            Err(_) if at < self.lives_until => Ok(()),
            Err(error) => Err(format!("{}; the API does not answer: {error}", self.gone())),
        }
    }

    fn gone(&self) -> String {
        let end = self.lives_until;
        format!(
            "the dead-man's switch, job {}/{}, ended: the run was not heard of until {end}",
            self.namespace, self.name
        )
    }
}

fn failed(job: &Job) -> bool {
    let conditions = job.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    conditions.into_iter().any(|condition| condition.type_ == "Failed" && condition.status == "True")
}
