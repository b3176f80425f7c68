//! Evicting pods.

use std::time::Duration;

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, EvictParams, Preconditions};
use tokio::time::Instant;

use crate::BoxError;
use crate::experiment::{Applied, Armed, Fault, Mark, Place, Proof, Right, Targets};
use crate::kubernetes::pods::{CAP_PERCENT, live, refuse_protected};
use crate::kubernetes::{Kubernetes, KubernetesError};
use crate::rollback::{ObjectRef, Undo};

/// How often a pod that a disruption budget keeps is tried again, as kubectl does it.
const AGAIN_EVERY: Duration = Duration::from_secs(5);

/// How often it is looked whether they have gone.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Kubernetes {
    /// A fault: these pods, of these uids, are evicted. See [`EvictPods`].
    pub fn evict(&self, pods: Vec<(ObjectRef, String)>, within: Duration) -> EvictPods {
        EvictPods { kubernetes: self.clone(), pods, within, percent: CAP_PERCENT }
    }
}

/// A fault: pods are evicted, as by the drain of a node.
///
/// - **Effect**: each pod is told to stop, as soon as its disruption budget lets it; its controller makes another. The
///   fault lands when all have gone; until its time is up, what a budget keeps is tried again.
/// - **Undo**: nothing is brought back: the outcome is that the target has gone.
/// - **Needs**: list and get on `pods`, create on `pods/eviction`.
/// - **Caveats**: more than 80 % of the pods of a namespace are refused unless that cap is lifted. What has no controller stays away. If the time is over, some have gone and some have not.
#[derive(Clone)]
#[must_use = "a fault does nothing until it is injected: `.inject(..)`"]
pub struct EvictPods {
    kubernetes: Kubernetes,
    /// With their uids.
    pods: Vec<(ObjectRef, String)>,
    within: Duration,
    percent: u8,
}

impl EvictPods {
    /// Lifts or narrows the cap on how many of a namespace's pods it may take, 80 % by default.
    pub fn at_most_percent(mut self, percent: u8) -> Self {
        self.percent = percent;
        self
    }

    /// Refuses too many pods, and those of the cluster itself.
    pub(crate) async fn admit(&self) -> Result<(), KubernetesError> {
        for namespace in self.namespaces() {
            refuse_protected(&namespace)?;
            let all = live(&self.kubernetes, &namespace).await?;
            let is_meant = |pod: &&Pod| self.pods.iter().any(|(_, uid)| pod.metadata.uid.as_ref() == Some(uid));
            let (selected, all, percent) = (all.iter().filter(is_meant).count(), all.len(), self.percent);
            if selected * 100 > all * usize::from(percent) {
                return Err(KubernetesError::TooManyEvicted { namespace, selected, all, percent });
            }
        }
        Ok(())
    }

    fn namespaces(&self) -> Vec<String> {
        let mut all: Vec<_> = self.pods.iter().filter_map(|(pod, _)| pod.namespace.clone()).collect();
        all.sort();
        all.dedup();
        all
    }
}

impl Fault for EvictPods {
    fn describe(&self) -> String {
        format!("evict {} pods of {}", self.pods.len(), self.namespaces().join(", "))
    }

    fn places(&self) -> Vec<Place> {
        self.namespaces().into_iter().map(Place::Namespace).collect()
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        Box::pin(async move {
            self.admit().await?;
            let mut rights = Vec::new();
            for namespace in self.namespaces() {
                rights.push(Right::new("list", "", "pods", &namespace));
                rights.push(Right::new("get", "", "pods", &namespace));
                rights.push(Right::new("create", "", "pods/eviction", &namespace));
            }
            Ok(Targets {
                names: self.pods.iter().map(|(pod, _)| pod.to_string()).collect(),
                rights,
                notes: vec!["evicted pods are not brought back: their controllers replace them".to_owned()],
            })
        })
    }

    fn arm<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            self.admit().await?;
            let undo = self.pods.iter().map(|(pod, uid)| Undo::Deleted { object: pod.clone(), uid: uid.clone() });
            let undo = undo.collect();
            let this = self.clone();
            let apply = Box::new(move || -> BoxFuture<'static, Applied> { Box::pin(evict(this)) });
            Ok(Armed { undo, apply })
        })
    }

    fn witness<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async { Ok(Proof::Applied) })
    }
}

/// Asks for all of them, again where a budget says no, and waits until they have gone.
async fn evict(fault: EvictPods) -> Applied {
    let end = Instant::now() + fault.within;
    let client = fault.kubernetes.client();
    let api =
        |pod: &ObjectRef| -> Api<Pod> { Api::namespaced(client.clone(), pod.namespace.as_deref().unwrap_or_default()) };
    let mut left: Vec<&(ObjectRef, String)> = fault.pods.iter().collect();
    let mut going = Vec::new();
    while !left.is_empty() {
        let (mut kept, mut why) = (Vec::new(), String::new());
        for of in left {
            let (pod, uid) = of;
            let preconditions = Some(Preconditions { uid: Some(uid.clone()), resource_version: None });
            let delete_options = Some(DeleteParams { preconditions, ..DeleteParams::default() });
            match api(pod).evict(&pod.name, &EvictParams { delete_options, ..EvictParams::default() }).await {
                Ok(_) => going.push(of),
                // It has gone by itself, or another one has its name.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(kube::Error::Api(status)) if status.code == 429 => {
                    why = format!("{pod}: {}", status.message);
                    kept.push(of);
                }
                Err(error) => return Err(KubernetesError::api(format!("evict {pod}"))(error).into()),
            }
        }
        left = kept;
        if !left.is_empty() {
            if Instant::now() + AGAIN_EVERY > end {
                return Err(format!("{} pods could not be evicted within {:?}; {why}", left.len(), fault.within).into());
            }
            tokio::time::sleep(AGAIN_EVERY).await;
        }
    }
    for (pod, uid) in going {
        loop {
            let now = api(pod).get_opt(&pod.name).await.map_err(KubernetesError::api(format!("read {pod}")))?;
            if now.is_none_or(|now| now.metadata.uid.as_ref() != Some(uid)) {
                break;
            }
            if Instant::now() >= end {
                return Err(format!("{pod} was evicted, but has not gone within {:?}", fault.within).into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(vec![None; fault.pods.len()])
}
