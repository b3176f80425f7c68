//! The steps of a method.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, LocalBoxFuture};
use serde_json::Value;

use super::{Action, Background, Fault, Observed, Probe, Scene};
use crate::BoxError;

/// A closure of the user, for `act_with`. Its future need not be `Send`: an async closure cannot promise that on
/// stable Rust, and the engine runs where it was called.
pub(super) type UserStep = Arc<dyn Fn(Scene) -> LocalBoxFuture<'static, Result<Value, BoxError>> + Send + Sync>;

/// One step of the method.
#[derive(Clone)]
pub(super) enum Work {
    Background(Arc<dyn Background>),
    Pause(Duration),
    Inject(Arc<dyn Fault>),
    Act(Arc<dyn Action>),
    ActWith(String, UserStep),
    Observe(Arc<dyn Observe>),
}

/// A step and where it stands in the source.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) work: Work,
    pub(super) location: &'static Location<'static>,
}

impl Step {
    pub(super) fn kind(&self) -> &'static str {
        match self.work {
            Work::Background(_) => "background",
            Work::Pause(_) => "pause",
            Work::Inject(_) => "inject",
            Work::Act(_) | Work::ActWith(..) => "act",
            Work::Observe(_) => "observe",
        }
    }

    pub(super) fn name(&self) -> String {
        match &self.work {
            Work::Background(load) => load.describe(),
            Work::Pause(duration) => format!("{duration:?}"),
            Work::Inject(fault) => fault.describe(),
            Work::Act(action) => action.describe(),
            Work::ActWith(name, _) => name.clone(),
            Work::Observe(probe) => probe.describe(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), BoxError> {
        match &self.work {
            Work::Background(load) => load.validate(),
            Work::Act(action) => action.validate(),
            Work::Observe(probe) => probe.validate(),
            Work::Pause(_) | Work::Inject(_) | Work::ActWith(..) => Ok(()),
        }
    }
}

/// A probe without judgement, its type forgotten.
pub(super) trait Observe: Send + Sync {
    fn describe(&self) -> String;
    fn validate(&self) -> Result<(), BoxError>;
    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Value, BoxError>>;
}

impl<P: Probe> Observe for P {
    fn describe(&self) -> String {
        Probe::describe(self)
    }

    fn validate(&self) -> Result<(), BoxError> {
        Probe::validate(self)
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Value, BoxError>> {
        Box::pin(async move { Ok(evidence(&Probe::observe(self, scene).await?)) })
    }
}

/// What was seen, as the journal keeps it.
pub(super) fn evidence<T: serde::Serialize>(seen: &Observed<T>) -> Value {
    match seen {
        Observed::Value(value) => serde_json::to_value(value).unwrap_or_else(|e| Value::String(e.to_string())),
        Observed::Partial { value, why } => serde_json::json!({ "known": value, "unknown": why }),
        Observed::NoAnswer(how) => serde_json::json!({ "no answer": how }),
        Observed::Inconclusive(reason) => serde_json::json!({ "inconclusive": reason }),
        Observed::NotApplicable => Value::Null,
    }
}
