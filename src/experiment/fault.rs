//! What a fault is to the engine.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Check, Place, Switch};
use crate::BoxError;
use crate::clock::Timestamp;
use crate::rollback::Undo;

/// A right that a run needs, to inject or to undo.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Right {
    /// `create`.
    pub verb: String,
    /// The API group, empty for the core group.
    pub group: String,
    /// `networkpolicies`, or with its subresource `pods/log`.
    pub resource: String,
    /// Where, if the resource lies in a namespace.
    pub namespace: Option<String>,
}

impl Right {
    /// A right to one resource of a namespace.
    #[must_use]
    pub fn new(verb: &str, group: &str, resource: &str, namespace: &str) -> Self {
        let namespace = Some(namespace.to_owned());
        Self { verb: verb.into(), group: group.into(), resource: resource.into(), namespace }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => Ok(()),
        }
    }
}

/// The names that a run gives to what it makes, so that it can prove it its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The run: the value of [`RUN_LABEL`](crate::rollback::RUN_LABEL).
    pub run: String,
    /// The ledger entry: the value of [`OWNER_LABEL`](crate::rollback::OWNER_LABEL), unique for each
    /// fault and witness, and fit for the name of an object.
    pub owner: String,
    /// When that is, by the run's clock.
    pub at: Timestamp,
    /// The dead-man's switches that are on: what is created in their namespaces belongs to them.
    pub switches: Vec<Switch>,
}

/// How long a fault's effect may take to show, and to go, unless it says otherwise: a policy bites within 0.1 s on kind, a
/// pod starts within seconds.
pub const SEEN_WITHIN: Duration = Duration::from_secs(15);

/// The change was not made, for sure: what it was for had gone before, or the cluster has refused it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Untouched(pub BoxError);

/// Something that goes wrong on purpose.
///
/// A fault says what it will do and how that is undone; the engine writes the undo into the ledger, applies the
/// fault, proves it, and undoes it on every path.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no fault",
    label = "this cannot be injected, since nothing says how it is undone",
    note = "a fault is made by `pods(..).deny_ingress()` and the like; to run something without an undo, use `.act(..)` or `.act_with(name, async |scene| ..)`"
)]
pub trait Fault: Send + Sync + 'static {
    /// What it does, in a few words, free of generated names: `deny ingress to pods app=back in default`.
    fn describe(&self) -> String;

    /// Where it acts, known without a look at the cluster: what the run must hold for itself alone.
    fn places(&self) -> Vec<Place> {
        Vec::new()
    }

    /// Finds its targets. Reads, never writes.
    ///
    /// # Errors
    /// Nothing matches, a cap is exceeded, or the cluster does not answer.
    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>>;

    /// The fault under its marks, ready to be applied. Reads, never writes.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>>;

    /// How its effect is seen. `None` for a fault whose application is its own proof.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    fn witness<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>>;

    /// How long its effect may take to show, and to be gone again.
    fn seen_within(&self) -> Duration {
        SEEN_WITHIN
    }

    /// Ends the fault by itself after this time, if it should.
    fn lasting(&self) -> Option<Duration> {
        None
    }

    /// What its user can do where nothing proves it, in words: the methods that it has for that.
    fn remedy(&self) -> &'static str {
        "it has no other way to be seen: look whether the cluster is well, and what stands in the way of its effect"
    }

    /// Why it may be believed without a proof, if the user says so.
    fn trusted(&self) -> Option<String> {
        None
    }
}

/// What a fault will touch, and what it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// The targets, by name: `pod default/back-5d9-x2k4q`.
    pub names: Vec<String>,
    /// The rights to inject, to prove and to undo.
    pub rights: Vec<Right>,
    /// What a reader of the plan should know.
    pub notes: Vec<String>,
}

/// What a change made: the uids of created objects, in the order of its undos.
///
/// An error that is [`Untouched`] says that nothing was changed, so that nothing is made again.
pub type Applied = Result<Vec<Option<String>>, BoxError>;

/// Makes a change.
pub type Apply = Box<dyn FnOnce() -> BoxFuture<'static, Applied> + Send>;

/// A change that is ready to be made, with its undo.
pub struct Armed {
    /// How to take it back, in the order of the changes; undone in reverse.
    pub undo: Vec<Undo>,
    /// Makes the change. It answers when the cluster has accepted it, with the uids of created objects in the
    /// order of `undo` (`None` where the undo had it).
    pub apply: Apply,
}

/// How a fault's effect is seen.
pub enum Proof {
    /// Applying it is the proof: that the object is as the fault made it is the effect. It is read back.
    Applied,
    /// A check that is met while the fault is off and not met while it is on.
    Witness(Witness),
    /// Nothing can show it; in words, with the remedy.
    Missing(String),
}

/// A check that sees a fault, with what must be there for it to look.
pub struct Witness {
    /// What has to be created first; undone after the fault. `None` if nothing.
    pub stage: Option<Armed>,
    /// The check: met while the fault is off, not met while it is on.
    pub check: std::sync::Arc<dyn Check>,
    /// What may be the cause where the fault is on and the check does not see it, if that is known.
    pub blind: Option<&'static str>,
    /// Whether the effect stays when the fault is undone: what was deleted does not come back.
    pub stays: bool,
}
