//! Which pods of a selection are taken.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use regex::Regex;

use super::{Call, Failed, Stage};
use crate::experiment::Environment;
use crate::kubernetes::{KubernetesError, Pods, Selector, refuse_protected};
use crate::rollback::OWNER_LABEL;

/// How pods are picked, as `terminate_pods` and `exec_in_pods` take it.
pub(in super::super) struct Pick {
    pub(super) namespace: String,
    selector: Selector,
    pattern: Option<Regex>,
    /// Every one: then the cap does not count.
    pub(super) all: bool,
    random: bool,
    amount: Amount,
    oldest: bool,
}

enum Amount {
    Fixed(usize),
    Percent(usize),
}

impl Pick {
    pub(super) fn of(call: &Call<'_>) -> Result<Self, Failed> {
        let amount = match (call.text("mode")?.as_deref().unwrap_or("fixed"), call.count("qty")?.unwrap_or(1)) {
            ("fixed", many) => Amount::Fixed(many as usize),
            ("percentage", percent) => Amount::Percent(percent as usize),
            (other, _) => return Err(Failed(format!("mode is {other:?}: give fixed or percentage"))),
        };
        let oldest = match call.text("order")?.as_deref().unwrap_or("alphabetic") {
            "alphabetic" => false,
            "oldest" => true,
            other => return Err(Failed(format!("order is {other:?}: give alphabetic or oldest"))),
        };
        Ok(Self {
            namespace: call.namespace()?,
            selector: call.selector("label_selector")?.unwrap_or_default(),
            pattern: call.text("name_pattern")?.map(|text| pattern("name_pattern", &text)).transpose()?,
            all: call.flag("all", false)?,
            random: call.flag("rand", false)?,
            amount,
            oldest,
        })
    }

    /// A selection of a namespace by a pattern of names alone, of which one is taken.
    pub(in super::super) fn one(namespace: String, selector: Selector, name: Option<&str>) -> Result<Self, Failed> {
        let pattern = name.map(|name| pattern("name", name)).transpose()?;
        Ok(Self { namespace, selector, pattern, all: false, random: false, amount: Amount::Fixed(1), oldest: false })
    }

    /// The selection as the house knows it, under the cap unless every pod was asked for.
    pub(super) fn pods(&self, stage: &Stage<'_>) -> Pods {
        let pods = stage.kubernetes().pods(&self.namespace, &self.selector.to_string());
        if self.all { pods.at_most_percent(100) } else { pods }
    }

    /// Those that are taken: not finished, not on their way out, and none of ours.
    ///
    /// # Errors
    /// None is left.
    pub(super) async fn picked(&self, stage: &Stage<'_>) -> Result<Vec<Pod>, Failed> {
        refuse_protected(&self.namespace)?;
        let mut pods = self.pods(stage).targets().await?;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        let known = names(&pods).join(", ");
        if let Some(pattern) = &self.pattern {
            pods.retain(|pod| pod.metadata.name.as_ref().is_some_and(|name| pattern.is_match(name)));
        }
        pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        if self.oldest {
            pods.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|at| at.0));
        }
        let many = match self.amount {
            _ if self.all => pods.len(),
            Amount::Fixed(many) => many.min(pods.len()),
            Amount::Percent(percent) => (pods.len() * percent).div_ceil(100).min(pods.len()),
        };
        if self.random && !self.all {
            let purpose = format!("pods at {}", stage.scene.clock.now());
            stage.cluster()?.seed().rng(&purpose).shuffle(&mut pods);
        }
        pods.truncate(many);
        if pods.is_empty() {
            let pattern = self.pattern.as_ref().map(|pattern| format!(" and name_pattern {:?}", pattern.as_str()));
            return Err(Failed(format!(
                "no pod is taken in namespace {} by selector {:?}{}; the selector matches: {}",
                self.namespace,
                self.selector.to_string(),
                pattern.unwrap_or_default(),
                if known.is_empty() { "none" } else { &known }
            )));
        }
        Ok(pods)
    }
}

fn pattern(argument: &str, text: &str) -> Result<Regex, Failed> {
    Regex::new(text).map_err(|error| Failed(format!("argument {argument:?} is no regular expression: {error}")))
}

/// The names of pods.
pub(super) fn names(pods: &[Pod]) -> Vec<String> {
    pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect()
}

/// All pods of a namespace that a selector matches, whatever becomes of them; witnesses are none of them.
pub(super) async fn list(stage: &Stage<'_>, namespace: &str, selector: &str) -> Result<Vec<Pod>, Failed> {
    let api: Api<Pod> = Api::namespaced(stage.kubernetes().client().clone(), namespace);
    let listed = api.list(&ListParams::default().labels(selector)).await;
    let mut pods = listed.map_err(KubernetesError::api(format!("list the pods of namespace {namespace}")))?.items;
    pods.retain(|pod| !pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(OWNER_LABEL)));
    if pods.is_empty()
        && let Some(error) = stage.kubernetes().no_namespace(namespace).await
    {
        return Err(error.into());
    }
    Ok(pods)
}
