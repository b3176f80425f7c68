//! Whether a cluster that was there answers, and has started again all that it ran before it was stopped.

use std::time::Duration;

use jiff::{Timestamp, Unit};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use super::KindError;
use crate::cluster::ClusterError;
use crate::kubernetes::{Context, Kubernetes};

/// How long one that runs may take to answer: another process may have started it just now.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// How long one request may take: a paused node accepts connections and says nothing.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);

/// How often is asked.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Waits until its API server answers.
pub(super) async fn answers(name: &str, context: &Context) -> Result<(), ClusterError> {
    let kubernetes = context.connect()?;
    eventually(name, ANSWERS_WITHIN, async || kubernetes.cluster_uid().await.map(drop).map_err(|e| e.to_string())).await
}

/// Waits until a cluster whose nodes were started at `since` answers and its pods are those of after.
pub(super) async fn again(
    name: &str,
    context: &Context,
    since: Timestamp,
    within: Duration,
) -> Result<(), ClusterError> {
    let kubernetes = context.connect()?;
    eventually(name, within, async || settled(&kubernetes, since).await).await
}

async fn eventually(
    name: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<(), String>,
) -> Result<(), ClusterError> {
    let mut seen = format!("no answer within {REQUEST_WITHIN:?}");
    let asking = async {
        loop {
            match tokio::time::timeout(REQUEST_WITHIN, look()).await {
                Ok(Ok(())) => return,
                Ok(Err(why)) => seen = why,
                Err(_) => seen = format!("no answer within {REQUEST_WITHIN:?}"),
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    };
    match tokio::time::timeout(within, asking).await {
        Ok(()) => Ok(()),
        Err(_) => Err(KindError::NotAnswering { name: name.into(), within, why: seen }.into()),
    }
}

async fn settled(kubernetes: &Kubernetes, since: Timestamp) -> Result<(), String> {
    let pods: Api<Pod> = Api::all(kubernetes.client().clone());
    let pods = pods.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
    match pods.iter().find_map(|pod| unsettled(pod, since)) {
        Some(why) => Err(why),
        None => Ok(()),
    }
}

/// Why a pod does not yet say how it is: until the kubelet has looked it claims to be as it was before.
fn unsettled(pod: &Pod, since: Timestamp) -> Option<String> {
    // Containers have whole seconds.
    let since = since.round(Unit::Second).ok()? - Duration::from_secs(1);
    let metadata = &pod.metadata;
    let named = || {
        format!(
            "{}/{}",
            metadata.namespace.as_deref().unwrap_or_default(),
            pod.metadata.name.as_deref().unwrap_or_default()
        )
    };
    let status = pod.status.as_ref()?;
    let is_true = |kind: &str| status.conditions.iter().flatten().any(|c| c.type_ == kind && c.status == "True");
    let started = |c: &k8s_openapi::api::core::v1::ContainerStatus| {
        Some(c.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0)
    };
    let of_before = status.container_statuses.iter().flatten().filter_map(started).any(|started| started < since);
    if of_before {
        return Some(format!("pod {} has not been looked at since", named()));
    }
    let system = metadata.namespace.as_deref() == Some("kube-system");
    (system && !is_true("Ready")).then(|| format!("pod {} is not ready", named()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(namespace: &str, started: &str, ready: &str) -> Pod {
        let value = json!({
            "metadata": {"name": "p", "namespace": namespace},
            "status": {
                "conditions": [{"type": "Ready", "status": ready}],
                "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
                    "state": {"running": {"startedAt": started}}}],
            },
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_pod_from_before_the_stop_says_nothing() {
        let since: Timestamp = "2026-01-01T10:00:00.7Z".parse().unwrap();
        let why = |pod: Pod| unsettled(&pod, since);
        assert_eq!(
            why(pod("shop", "2026-01-01T09:59:00Z", "True")).unwrap(),
            "pod shop/p has not been looked at since"
        );
        assert_eq!(why(pod("shop", "2026-01-01T10:00:00Z", "True")), None);
        assert_eq!(
            why(pod("shop", "2026-01-01T10:00:09Z", "False")),
            None,
            "a broken one of the user's holds up nothing"
        );
        assert_eq!(why(pod("kube-system", "2026-01-01T10:00:09Z", "False")).unwrap(), "pod kube-system/p is not ready");
    }
}
