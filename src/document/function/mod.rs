//! The Python functions of documents that are implemented natively.
//!
//! The validator asks [`find`] for a function and its arguments; the runner calls it with a [`Call`] on a [`Stage`]. A
//! function that changes something injects a fault of the house, whose guard it gives to the [`Guards`] of the document:
//! they outlive the activity, and an activity of the document's own rollbacks ends the guard of what it takes back.

mod asked;
mod call;
pub(crate) mod chaosk8s;
pub(crate) mod chaosprometheus;
mod guards;
mod planned;
#[cfg(all(test, feature = "lab"))]
mod tests;

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::experiment::{Fault, Run, Scene};
use crate::rollback::ObjectRef;

use super::unknown;
pub(crate) use super::validate::Parameter as Argument;
use asked::Asked;
pub(crate) use call::Call;
pub(crate) use chaosk8s::log_selector;
pub(crate) use guards::Guards;
pub(crate) use planned::{Change, Planned};

/// What a document can do where nothing shows that what it did had its effect.
pub(crate) const REMEDY: &str =
    "if it is known to work all the same, say `\"x-steadfast\": {\"trust\": \"why\"}` on the activity";

/// As what a function may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It does something.
    Action,
    /// It looks.
    Probe,
}

/// What carries a function out.
pub(crate) type Native = for<'a> fn(Call<'a>, Stage<'a>) -> BoxFuture<'a, Answer>;

/// What a function returned: the value that the original returns.
pub(crate) type Answer = Result<Value, Failed>;

/// A function of the table.
pub(crate) struct Function {
    /// Its module: `chaosk8s.pod.actions`.
    pub(crate) module: &'static str,
    /// Its name.
    pub(crate) func: &'static str,
    /// What it is.
    pub(crate) kind: Kind,
    /// Its arguments, in their order.
    pub(crate) arguments: &'static [Argument],
    /// Whether it speaks to the cluster's API.
    pub(crate) needs_cluster: bool,
    call: Native,
}

/// The function could not do what it was asked to, or what it looked for is not so: the original's `ActivityFailed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed(pub(crate) String);

/// By whom what a function changes is changed.
#[derive(Clone, Copy)]
pub(crate) enum Hand<'a> {
    /// By the run, which injects faults.
    Run(&'a Run),
    /// By nobody: what would be changed is kept, and what was changed before is taken to be so.
    Plan(&'a Planned),
}

/// Where a function is carried out.
#[derive(Clone, Copy)]
pub(crate) struct Stage<'a> {
    /// By whom what is to be changed is changed.
    pub(crate) hand: Hand<'a>,
    /// The cluster, unless none was needed.
    pub(crate) cluster: Option<&'a Cluster>,
    /// The clock, the way to the system under test, and the outputs.
    pub(crate) scene: &'a Scene,
    /// The faults that the document has on.
    pub(crate) guards: &'a Guards,
    /// Changes as the original does: no fault, which nobody undoes. So are the activities of the document's own rollbacks
    /// carried out.
    pub(crate) plain: bool,
    /// Leaves its faults at the end of the run, as the user may ask; all else that faults have they have too.
    pub(crate) leave: bool,
    /// Whether the document says that all that is selected is meant, whatever the caps are.
    pub(crate) all: bool,
    /// Why a fault may be believed without a proof, if the document says so.
    pub(crate) trust: Option<&'a str>,
}

impl Function {
    /// Its whole name.
    fn name(&self) -> String {
        format!("{}.{}", self.module, self.func)
    }

    /// Carries it out.
    ///
    /// # Errors
    /// What the original calls a failed activity, in our words.
    pub(crate) async fn call(&self, call: Call<'_>, stage: Stage<'_>) -> Answer {
        if self.needs_cluster {
            call.is_for(stage.cluster()?)?;
        }
        (self.call)(call, stage).await
    }
}

impl<'a> Stage<'a> {
    /// The cluster of a function that needs one.
    fn cluster(&self) -> Result<&'a Cluster, Failed> {
        self.cluster.ok_or_else(|| Failed("it needs a cluster: name one with --cluster".to_owned()))
    }

    /// Injects a fault on these objects and keeps its guard.
    async fn inject(&self, fault: impl Fault, objects: Vec<ObjectRef>) -> Result<(), Failed> {
        self.inject_as(Asked { fault, trust: self.trust.map(str::to_owned), unmarks: None }, objects).await
    }

    /// Injects a fault that makes an object, and keeps its guard.
    async fn inject_made(&self, fault: impl Fault, object: ObjectRef) -> Result<(), Failed> {
        let unmarks = self.leave.then(|| object.clone());
        self.inject_as(Asked { fault, trust: self.trust.map(str::to_owned), unmarks }, vec![object]).await
    }

    async fn inject_as(&self, fault: Asked<impl Fault>, objects: Vec<ObjectRef>) -> Result<(), Failed> {
        let guard = match self.hand {
            Hand::Run(run) => Some(run.inject(fault).await?),
            Hand::Plan(planned) => {
                planned.fault(&fault, self.leave).await?;
                None
            }
        };
        let left = self.cluster.filter(|_| self.leave).map(|cluster| cluster.kubernetes().clone());
        self.guards.keep(objects, guard, left);
        Ok(())
    }

    /// What is planned, if nothing is to be done.
    fn planned(&self) -> Option<&'a Planned> {
        match self.hand {
            Hand::Run(_) => None,
            Hand::Plan(planned) => Some(planned),
        }
    }

    /// Ends the document's own fault on an object, where nothing is done and what it did cannot be looked at.
    async fn ended_in_plan(&self, object: &ObjectRef) -> Result<bool, Failed> {
        Ok(self.planned().is_some() && self.guards.end(object).await?)
    }
}

/// All functions, by module.
fn all() -> impl Iterator<Item = &'static Function> {
    chaosk8s::FUNCTIONS.iter().copied().chain([chaosprometheus::FUNCTIONS]).flatten()
}

/// The native function of that name, if there is one.
pub(crate) fn find(module: &str, func: &str) -> Option<&'static Function> {
    all().find(|function| function.module == module && function.func == func)
}

/// The functions of a module, for a hint at what may have been meant.
pub(crate) fn of_module(module: &str) -> impl Iterator<Item = &'static Function> {
    all().filter(move |function| function.module == module)
}

/// The function that was likely meant by a name that there is not: one that is a slip or two away, or is called the same in
/// another module of its package.
pub(crate) fn meant(module: &str, func: &str) -> Option<String> {
    let package = |module: &str| module.split('.').next().map(str::to_owned);
    let names: Vec<String> = all().map(Function::name).collect();
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let near = unknown::meant(&format!("{module}.{func}"), &known).map(str::to_owned);
    near.or_else(|| all().find(|one| one.func == func && package(one.module) == package(module)).map(Function::name))
}

/// A module's part of the table: `name(required; optional) = what carries it out`.
macro_rules! functions {
    ($table:ident: $module:literal, $kind:ident, cluster: $cluster:literal {
        $($func:ident($($required:ident),*; $($optional:ident),*) = $native:path;)*
    }) => {
        pub(in $crate::document::function) static $table: &[$crate::document::function::Function] = &[$($crate::document::function::Function {
            module: $module,
            func: stringify!($func),
            kind: $crate::document::function::Kind::$kind,
            arguments: &[
                $($crate::document::function::Argument { name: stringify!($required), required: true },)*
                $($crate::document::function::Argument { name: stringify!($optional), required: false },)*
            ],
            needs_cluster: $cluster,
            call: |call, stage| Box::pin($native(call, stage)),
        },)*];
    };
}
pub(crate) use functions;
