//! Experiments.
mod environment;
mod fault;
mod probe;
mod scene;

pub use environment::Environment;
pub use fault::{Armed, Fault, Mark, Proof, Right, Targets, Witness};
pub use probe::{Action, Background, Check, Finding, Judged, Observed, Probe};
pub use scene::{Phase, Scene};
