//! A fault as a document asks for it.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::BoxError;
use crate::experiment::{Armed, Fault, Mark, Place, Proof, Right, Targets};
use crate::rollback::ObjectRef;

/// A fault with what a document says of it: why it may be believed without a proof, and the remedy that a document has
/// where nothing proves it.
pub(super) struct Asked<F> {
    pub(super) fault: F,
    pub(super) trust: Option<String>,
    /// What it makes and is to be left: the marks of the run are taken off it then.
    pub(super) unmarks: Option<ObjectRef>,
}

impl<F: Fault> Fault for Asked<F> {
    fn describe(&self) -> String {
        self.fault.describe()
    }

    fn places(&self) -> Vec<Place> {
        self.fault.places()
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        Box::pin(async move {
            let mut targets = self.fault.resolve().await?;
            if let Some(ObjectRef { api_version, resource, namespace, .. }) = &self.unmarks {
                let group = api_version.split_once('/').map_or("", |(group, _)| group).to_owned();
                let (verb, resource, namespace) = ("patch".to_owned(), resource.clone(), namespace.clone());
                targets.rights.push(Right { verb, group, resource, namespace });
            }
            Ok(targets)
        })
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
