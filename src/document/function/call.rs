//! What a document calls a function with, and how arguments are read.

use std::fmt;

use serde_json::{Map, Value};

use super::Failed;
use crate::BoxError;
use crate::cluster::{Cluster, ClusterError};
use crate::document::when;
use crate::experiment::{Environment, ExperimentError};
use crate::kubernetes::{KubernetesError, Selector, SelectorError};

/// What a document calls a function with: everything is substituted already.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The `arguments` of the provider.
    pub(crate) arguments: &'a Map<String, Value>,
    /// The `secrets` that the provider names.
    pub(crate) secrets: Option<&'a Map<String, Value>>,
    /// The document's configuration.
    pub(crate) configuration: &'a Map<String, Value>,
}

impl<'a> Call<'a> {
    /// An argument; null is as good as none.
    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        self.arguments.get(name).filter(|value| !value.is_null())
    }

    /// A text, if it is given. Numbers are written out: a name may look like one.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Failed> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(other) => Err(wrong(name, "a text", other)),
        }
    }

    pub(crate) fn required(&self, name: &str) -> Result<String, Failed> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| Failed(format!("argument {name:?} is missing: give it a text")))
    }

    /// The namespace, `default` unless it is given.
    pub(crate) fn namespace(&self) -> Result<String, Failed> {
        Ok(self.text("ns")?.unwrap_or_else(|| "default".to_owned()))
    }

    /// A whole number, also one in quotes.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, Failed> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let read = match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        read.map(Some).ok_or_else(|| wrong(name, "a whole number", value))
    }

    /// A number of things.
    pub(crate) fn count(&self, name: &str) -> Result<Option<u32>, Failed> {
        let Some(number) = self.integer(name)? else { return Ok(None) };
        let many = u32::try_from(number);
        many.map(Some).map_err(|_| Failed(format!("argument {name:?} is {number}: give a number from 0")))
    }

    /// Yes or no. What Python would take for true by its length alone, such as `"false"`, is refused.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, Failed> {
        match self.arguments.get(name) {
            None => Ok(default),
            Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(wrong(name, "true or false", other)),
        }
    }

    /// Seconds, as a number or as a span of time.
    pub(super) fn seconds(&self, name: &str, default: u64) -> Result<std::time::Duration, Failed> {
        let read = match self.value(name) {
            None => return Ok(std::time::Duration::from_secs(default)),
            Some(Value::Number(number)) => {
                number.as_f64().and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok())
            }
            Some(Value::String(text)) => {
                let seconds = text.trim().parse().ok().and_then(|s| std::time::Duration::try_from_secs_f64(s).ok());
                seconds.or_else(|| when::span(text).ok())
            }
            Some(_) => None,
        };
        read.ok_or_else(|| wrong(name, "a number of seconds", &self.arguments[name]))
    }

    /// A map, if it is given.
    pub(super) fn map(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, Failed> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(other) => Err(wrong(name, "a map", other)),
        }
    }

    /// A label selector, as a text or as a map of labels.
    pub(crate) fn selector(&self, name: &str) -> Result<Option<Selector>, Failed> {
        let selector: Selector = match self.value(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text.parse().map_err(|error| Failed(format!("argument {name:?}: {error}")))?,
            Some(Value::Object(labels)) => {
                let label = |(key, value): (&String, &Value)| match value {
                    Value::String(text) => Ok(format!("{key}={text}")),
                    Value::Number(number) => Ok(format!("{key}={number}")),
                    other => Err(wrong(&format!("{name}.{key}"), "a label's value", other)),
                };
                let labels = labels.iter().map(label).collect::<Result<Vec<_>, _>>()?.join(",");
                labels.parse().map_err(|error| Failed(format!("argument {name:?}: {error}")))?
            }
            Some(other) => return Err(wrong(name, "a label selector, as a text or as a map of labels,", other)),
        };
        Ok(Some(selector))
    }

    /// A secret or, where the provider names no secrets, nothing.
    fn secret(&self, name: &str) -> Option<&'a str> {
        self.secrets?.get(name)?.as_str().filter(|secret| !secret.is_empty())
    }

    /// Refuses a call whose secrets name another cluster than the one that the run is on.
    pub(super) fn is_for(&self, cluster: &Cluster) -> Result<(), Failed> {
        let at = cluster.describe();
        #[cfg(feature = "lab")]
        if cluster.lab().is_ok() {
            return Ok(());
        }
        if let Some(context) = self.secret("KUBERNETES_CONTEXT")
            && !at.contains(&format!("{context:?}"))
        {
            return Err(Failed(format!(
                "its secrets ask for the context {context:?}, but the run is on {at}; run it with `--cluster context:{context}`"
            )));
        }
        if self.secret("KUBERNETES_HOST").is_some() {
            return Err(Failed(format!(
                "its secrets name a server by KUBERNETES_HOST, but the run is on {at}; put that server into a kubeconfig \
                 and run it with `--cluster context:NAME`"
            )));
        }
        Ok(())
    }
}

fn wrong(name: &str, wanted: &str, value: &Value) -> Failed {
    Failed(format!("argument {name:?} is {value}, and no {}", wanted.strip_prefix("a ").unwrap_or(wanted)))
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<KubernetesError> for Failed {
    fn from(error: KubernetesError) -> Self {
        Self(told(&error))
    }
}

impl From<ClusterError> for Failed {
    fn from(error: ClusterError) -> Self {
        Self(error.to_string())
    }
}

impl From<SelectorError> for Failed {
    fn from(error: SelectorError) -> Self {
        Self(error.to_string())
    }
}

impl From<BoxError> for Failed {
    fn from(error: BoxError) -> Self {
        Self(error.downcast_ref().map_or_else(|| error.to_string(), told))
    }
}

impl From<ExperimentError> for Failed {
    fn from(error: ExperimentError) -> Self {
        match error {
            // Where it stands in our source says nothing to the reader of a document.
            ExperimentError::Failed { what, source, .. } => Self(format!("{what} failed: {}", Self::from(source))),
            ExperimentError::Invalid { what, source, .. } => Self(format!("{what}: {}", Self::from(source))),
            ExperimentError::NotUndone { journal } => {
                Self(format!("not undone, a fault may be left: {}", journal.not_undone().join("; ")))
            }
            ExperimentError::NotBack { journal } => {
                Self(format!("undone, but not back as it was: {}", journal.not_back().join("; ")))
            }
            other => Self(other.to_string()),
        }
    }
}

/// An error with the remedy that a document has.
fn told(error: &KubernetesError) -> String {
    match error {
        KubernetesError::TooManySelected { namespace, selector, selected, all, percent } => format!(
            "this would take {selected} of {all} pods in namespace {namespace} (selector {selector:?}), more than {percent} %; \
             narrow it, or say `\"all\": true` if it is meant"
        ),
        KubernetesError::TooManyEvicted { namespace, selected, all, percent } => format!(
            "this would evict {selected} of {all} pods in namespace {namespace}, more than {percent} %; take a node with fewer, \
             or say `\"x-steadfast\": {{\"all\": true}}` on the activity if it is meant"
        ),
        KubernetesError::ForGood { .. } => format!(
            "{error}; if it may go, say `\"x-steadfast\": {{\"leave\": true}}` on the activity, or run with `--leave-faults`"
        ),
        other => other.to_string(),
    }
}
