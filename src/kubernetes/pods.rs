//! Pods by label.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use super::{Kubernetes, KubernetesError, PodLogs, Selector, SelectorError};

/// The most pods of a namespace that a fault may touch, in percent, unless the experiment lifts it.
pub(crate) const CAP_PERCENT: u8 = 80;

/// Namespaces of the cluster itself.
const PROTECTED: &[&str] = &["kube-system", "kube-public", "kube-node-lease"];

/// The pods of a namespace that a selector matches, whichever they are when it is used.
#[derive(Clone)]
#[must_use = "a selection does nothing by itself: call `.deny_ingress()` or `.logs()` on it"]
pub struct Pods {
    pub(super) kubernetes: Kubernetes,
    pub(super) namespace: String,
    selector: Result<Selector, SelectorError>,
    percent: u8,
}

impl Pods {
    pub(super) fn new(kubernetes: Kubernetes, namespace: String, selector: Result<Selector, SelectorError>) -> Self {
        Self { kubernetes, namespace, selector, percent: CAP_PERCENT }
    }

    /// Lifts or narrows the cap on how many of the namespace's pods a fault may touch, 80 % by default.
    pub fn at_most_percent(mut self, percent: u8) -> Self {
        self.percent = percent;
        self
    }

    /// The pods' logs, as an action that stores them.
    pub fn logs(&self) -> PodLogs {
        PodLogs::new(self.clone())
    }

    /// `pods app=back in default`.
    #[must_use]
    pub fn describe(&self) -> String {
        let selector = match &self.selector {
            Ok(selector) => selector.to_string(),
            Err(error) => error.selector().to_owned(),
        };
        format!("pods {selector} in {}", self.namespace)
    }

    pub(super) fn selector(&self) -> Result<&Selector, KubernetesError> {
        self.selector.as_ref().map_err(|error| error.clone().into())
    }

    /// The pods as they are now, by name.
    ///
    /// # Errors
    /// The selector is malformed or matches nothing, or the API does not answer.
    pub async fn targets(&self) -> Result<Vec<Pod>, KubernetesError> {
        Ok(self.select(is_live).await?.0)
    }

    /// As [`targets`](Self::targets), with those that have finished.
    pub(super) async fn with_finished(&self) -> Result<Vec<Pod>, KubernetesError> {
        Ok(self.select(|pod| !is_ours(pod)).await?.0)
    }

    /// The pods, if a fault may touch them.
    ///
    /// # Errors
    /// As [`targets`](Self::targets); the namespace is the cluster's own; they are more than the cap.
    pub(super) async fn targets_of_fault(&self) -> Result<Vec<Pod>, KubernetesError> {
        self.targets_of_fault_among(|_| true).await
    }

    /// As [`targets_of_fault`](Self::targets_of_fault), of those that are wanted alone.
    pub(super) async fn targets_of_fault_among(
        &self,
        wanted: impl Fn(&Pod) -> bool,
    ) -> Result<Vec<Pod>, KubernetesError> {
        refuse_protected(&self.namespace)?;
        let (mut targets, all) = self.select(is_live).await?;
        targets.retain(wanted);
        if targets.len() * 100 > all * usize::from(self.percent) {
            return Err(KubernetesError::TooManySelected {
                namespace: self.namespace.clone(),
                selector: self.selector()?.to_string(),
                selected: targets.len(),
                all,
                percent: self.percent,
            });
        }
        Ok(targets)
    }

    async fn select(&self, counts: impl Fn(&Pod) -> bool) -> Result<(Vec<Pod>, usize), KubernetesError> {
        let selector = self.selector()?;
        let api: Api<Pod> = Api::namespaced(self.kubernetes.client().clone(), &self.namespace);
        let all = api
            .list(&ListParams::default())
            .await
            .map_err(KubernetesError::api(format!("list the pods of namespace {}", self.namespace)))?
            .items;
        let live: Vec<Pod> = all.into_iter().filter(counts).collect();
        let count = live.len();
        let known: BTreeSet<String> =
            live.iter().flat_map(|pod| pod.metadata.labels.iter().flatten()).map(pair).collect();
        let selected: Vec<Pod> =
            live.into_iter().filter(|pod| selector.matches_map(pod.metadata.labels.as_ref())).collect();
        if selected.is_empty() {
            if count == 0
                && let Some(error) = self.kubernetes.no_namespace(&self.namespace).await
            {
                return Err(error);
            }
            let known = if known.is_empty() { "none".to_owned() } else { Vec::from_iter(known).join(", ") };
            return Err(KubernetesError::NothingSelected {
                namespace: self.namespace.clone(),
                selector: selector.to_string(),
                known,
            });
        }
        Ok((selected, count))
    }
}

/// The pods of a namespace that run, and are none of ours.
pub(super) async fn live(kubernetes: &Kubernetes, namespace: &str) -> Result<Vec<Pod>, KubernetesError> {
    let api: Api<Pod> = Api::namespaced(kubernetes.client().clone(), namespace);
    let all = api.list(&ListParams::default()).await;
    let all = all.map_err(KubernetesError::api(format!("list the pods of namespace {namespace}")))?.items;
    Ok(all.into_iter().filter(is_live).collect())
}

/// Refuses a namespace of the cluster itself.
pub(crate) fn refuse_protected(namespace: &str) -> Result<(), KubernetesError> {
    if PROTECTED.contains(&namespace) {
        return Err(KubernetesError::ProtectedNamespace { namespace: namespace.to_owned() });
    }
    Ok(())
}

fn pair((key, value): (&String, &String)) -> String {
    format!("{key}={value}")
}

/// Not finished, and not one of ours.
fn is_live(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed")) && !is_ours(pod)
}

fn is_ours(pod: &Pod) -> bool {
    pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(crate::rollback::OWNER_LABEL))
}

/// `pod default/back-5d9-x2k4q`.
pub(super) fn name_of(pod: &Pod) -> String {
    let metadata = &pod.metadata;
    format!(
        "pod {}/{}",
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default()
    )
}
