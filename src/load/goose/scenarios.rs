//! What users do, in goose's types.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use goose::GooseError;
use goose::goose::{Scenario, Transaction, TransactionError};
use tokio::sync::mpsc::UnboundedSender;

/// What a closure for [`goose`](super::goose()) may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no scenario for goose",
    note = "return a goose `Scenario`, an array or a vector of them, or a `Result` of these with a `GooseError`"
)]
pub trait Scenarios {
    /// The scenarios in the order in which users are given to them.
    ///
    /// # Errors
    /// What goose said of a weight, a name or a wait time.
    fn scenarios(self) -> Result<Vec<Scenario>, GooseError>;
}

impl Scenarios for Scenario {
    fn scenarios(self) -> Result<Vec<Scenario>, GooseError> {
        Ok(vec![self])
    }
}

impl Scenarios for Vec<Scenario> {
    fn scenarios(self) -> Result<Vec<Scenario>, GooseError> {
        Ok(self)
    }
}

impl<const N: usize> Scenarios for [Scenario; N] {
    fn scenarios(self) -> Result<Vec<Scenario>, GooseError> {
        Ok(self.into())
    }
}

impl<S: Scenarios> Scenarios for Result<S, GooseError> {
    fn scenarios(self) -> Result<Vec<Scenario>, GooseError> {
        self.and_then(S::scenarios)
    }
}

/// A panic, on its way from a transaction to the experiment.
pub(super) type Panic = Box<dyn Any + Send>;

/// The scenario with transactions whose panics are reported: in goose a panic ends one user, and nobody learns of it.
pub(super) fn reporting(mut scenario: Scenario, panics: &UnboundedSender<Panic>) -> Scenario {
    for transaction in &mut scenario.transactions {
        report(transaction, panics.clone());
    }
    scenario
}

fn report(transaction: &mut Transaction, panics: UnboundedSender<Panic>) {
    let function = transaction.function.clone();
    transaction.function = Arc::new(move |user| {
        let (function, panics) = (function.clone(), panics.clone());
        Box::pin(async move {
            match AssertUnwindSafe(async { function(user).await }).catch_unwind().await {
                Ok(done) => done,
                Err(payload) => {
                    // Nobody listens once the attack has been stopped.
                    let _ = panics.send(payload);
                    Err(Box::new(TransactionError::Custom("it panicked".to_owned())))
                }
            }
        })
    });
}

/// The error with its details, which its own text leaves out.
pub(super) fn told(error: &GooseError) -> String {
    match error {
        GooseError::InvalidOption { option, value, detail } => format!("{option} {value:?}: {detail}"),
        GooseError::InvalidHost { host, parse_error, .. } => format!("host {host:?}: {parse_error}"),
        GooseError::InvalidWaitTime { min_wait, max_wait, detail } => {
            format!("wait time from {min_wait:?} to {max_wait:?}: {detail}")
        }
        GooseError::InvalidWeight { weight, detail } => format!("weight {weight}: {detail}"),
        GooseError::NoScenarios { detail } | GooseError::FeatureNotEnabled { detail, .. } => detail.clone(),
        other => other.to_string(),
    }
}
