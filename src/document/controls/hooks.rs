//! What a control is: hooks, what they see and may change, and how they end.

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use crate::document::python::Ended;

/// Where in a run controls apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Experiment,
    Hypothesis,
    Method,
    Rollback,
    Activity,
}

impl At {
    /// As in the names of the hooks.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Experiment => "experiment",
            Self::Hypothesis => "hypothesis",
            Self::Method => "method",
            Self::Rollback => "rollback",
            Self::Activity => "activity",
        }
    }
}

/// Before or after what happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
}

impl When {
    /// As in the names of the hooks.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// What a hook sees, and may change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Moment {
    /// The whole document.
    pub(crate) experiment: Value,
    /// A JSON pointer to what the control is called for: an activity, the hypothesis; empty for the whole document.
    pub(crate) pointer: String,
    /// After something: the journal, the state of the hypothesis, the list of records, the record. Else null.
    pub(crate) state: Value,
    pub(crate) configuration: Value,
    pub(crate) secrets: Value,
}

impl Moment {
    /// What the control is called for.
    pub(crate) fn context(&mut self) -> Option<&mut Value> {
        self.experiment.pointer_mut(&self.pointer)
    }
}

/// Why the run is not to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A control interrupts it, for this reason.
    Interrupt(String),
    /// A control ends the process with this code: 30 means without rollbacks.
    Exit(i64),
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Interrupt(why) => f.write_str(why),
            Self::Exit(code) => write!(f, "SystemExit: {code}"),
        }
    }
}

/// What a hook ends with when it does not go well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It failed, which changes nothing.
    Failed(String),
    Stop(Stop),
}

impl From<Ended> for Trouble {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Failed(why) => Self::Failed(why),
            Ended::Interrupted(why) => Self::Stop(Stop::Interrupt(why)),
            Ended::Exit(code) => Self::Stop(Stop::Exit(code)),
            Ended::Returned(value) => Self::Failed(format!("it returned {value}")),
        }
    }
}

/// What a hook is called with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// The control's own arguments, substituted.
    pub(crate) arguments: Map<String, Value>,
    /// The settings of the user; null if there are none.
    pub(crate) settings: Value,
}

/// What a control does; each does nothing unless it is said.
pub(crate) trait Hooks: Send + Sync {
    /// Once, before the run. One that fails is not called any more, if it applies to all documents.
    fn configure<'a>(&'a self, given: &'a Given, moment: &'a mut Moment) -> BoxFuture<'a, Result<(), Trouble>> {
        let _ = (given, moment);
        Box::pin(async { Ok(()) })
    }

    /// Before or after something.
    fn hook<'a>(
        &'a self,
        at: At,
        when: When,
        given: &'a Given,
        moment: &'a mut Moment,
    ) -> BoxFuture<'a, Result<(), Trouble>>;

    /// Around the loading of the document, which `state` is after it.
    fn loading<'a>(
        &'a self,
        when: When,
        given: &'a Given,
        source: &'a str,
        state: &'a mut Value,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        let _ = (when, given, source, state);
        Box::pin(async { Ok(()) })
    }

    /// Whether the control is declared as it should be.
    fn validate<'a>(&'a self, control: &'a Value) -> BoxFuture<'a, Result<(), Trouble>> {
        let _ = control;
        Box::pin(async { Ok(()) })
    }

    /// Once, after the run.
    fn cleanup(&self) -> BoxFuture<'_, Result<(), Trouble>> {
        Box::pin(async { Ok(()) })
    }
}
