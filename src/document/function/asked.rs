//! A fault as a document asks for it.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::BoxError;
use crate::experiment::{Armed, Fault, Mark, Place, Proof, Targets};

/// A fault with what a document says of it: why it may be believed without a proof, and the remedy that a document has
/// where nothing proves it.
pub(super) struct Asked<F> {
    pub(super) fault: F,
    pub(super) trust: Option<String>,
}

impl<F: Fault> Fault for Asked<F> {
    fn describe(&self) -> String {
        self.fault.describe()
    }

    fn places(&self) -> Vec<Place> {
        self.fault.places()
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        self.fault.resolve()
    }

    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        self.fault.arm(mark)
    }

    /// What is believed is not waited for; what is its own proof is read back all the same.
    fn witness<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async move {
            let proof = self.fault.witness(mark).await?;
            Ok(match (&self.trust, proof) {
                (Some(why), Proof::Witness(_)) => Proof::Missing(format!("nobody looked, it is believed: {why}")),
                (_, proof) => proof,
            })
        })
    }

    fn seen_within(&self) -> Duration {
        self.fault.seen_within()
    }

    fn lasting(&self) -> Option<Duration> {
        self.fault.lasting()
    }

    fn remedy(&self) -> &'static str {
        super::REMEDY
    }

    fn trusted(&self) -> Option<String> {
        self.fault.trusted().or_else(|| self.trust.clone())
    }
}
