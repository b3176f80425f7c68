//! The timeline.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What kind of thing.
    pub kind: EventKind,
    /// What it is about: a step, a check, a fault.
    pub subject: String,
    /// More of it in words, possibly empty.
    pub detail: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if !self.subject.is_empty() {
            write!(f, ": {}", self.subject)?;
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $words:literal;)*) => {
        /// The kinds of events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum EventKind { $($(#[$doc])* $name,)* }

        impl fmt::Display for EventKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $words,)* })
            }
        }
    };
}

kinds! {
    /// The run began.
    RunStarted = "run started";
    /// The hypothesis is about to be judged.
    EvaluationStarted = "hypothesis";
    /// A check was judged.
    CheckJudged = "check";
    /// The hypothesis was judged.
    EvaluationEnded = "hypothesis judged";
    /// A safeguard was looked at, and is not as it was.
    SafeguardLooked = "safeguard";
    /// A safeguard stopped the run.
    SafeguardBroken = "safeguard broken";
    /// The method began.
    MethodStarted = "method started";
    /// A background activity began.
    BackgroundStarted = "background";
    /// A background activity ended.
    BackgroundEnded = "background ended";
    /// A step began.
    StepStarted = "step";
    /// A step ended.
    StepEnded = "step ended";
    /// The run has a place for itself alone.
    Held = "holding";
    /// A witness looked at a fault.
    FaultSighted = "witness";
    /// A fault was sent to the cluster.
    FaultRequested = "fault";
    /// A fault was proved effective.
    FaultEffective = "fault on";
    /// A fault ended before its time.
    FaultEndedEarly = "fault ended early";
    /// The method ended.
    MethodEnded = "method ended";
    /// The undo of a fault was asked for.
    UndoRequested = "undo";
    /// A fault was undone.
    Undone = "undone";
    /// A fault could not be undone.
    UndoFailed = "undo failed";
    /// A step of `finally` ended.
    FinallyEnded = "finally";
    /// A signal arrived.
    Interrupted = "interrupted";
    /// The run ended.
    RunEnded = "run ended";
}
