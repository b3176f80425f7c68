//! A fault that is on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::life::Life;
use super::recorder::Recorder;
use super::{ExperimentError, Fault};
#[cfg(feature = "cli")]
use crate::BoxError;
use crate::journal::{FaultEnd, SightingTime};
use crate::rollback::LedgerError;
#[cfg(feature = "cli")]
use crate::rollback::Undo;

/// A fault that is on, until [`rollback`](FaultGuard::rollback) or the end of its scope.
///
/// Dropped, it undoes the fault and blocks until that is verified, at most 5 s; what happened is then in the
/// journal, and on standard error if it failed. Prefer the explicit rollback, which reports an error.
#[must_use = "a fault guard that is dropped at once undoes its fault at once; bind it to a name"]
pub struct FaultGuard {
    /// Dropped with its last holder; somebody who is ending it right now ends it also when dropped.
    life: Arc<Mutex<Life>>,
    expiry: Option<tokio::task::AbortHandle>,
}

impl FaultGuard {
    pub(super) async fn inject(
        recorder: &Arc<Recorder>,
        fault: &dyn Fault,
        location: String,
    ) -> Result<Self, ExperimentError> {
        let what = fault.describe();
        let failed = |source| ExperimentError::Failed { what: what.clone(), location: location.clone(), source };
        let places = fault.places();
        let targets = match fault.resolve().await {
            Err(_) if recorder.clear(&places).await? => fault.resolve().await,
            resolved => resolved,
        };
        let targets = targets.map_err(failed)?;
        recorder.may(&targets.rights, &places).await?;
        recorder.heed_signals();
        recorder.hold(&places).await.map_err(|error| recorder.or_stopped(error))?;
        let life = Arc::new(Mutex::new(Life::begin(recorder, fault, targets)));
        {
            // Known before it is made: whoever stops the run waits for it, and has it undone.
            let mut making = life.lock().await;
            recorder.lives.add(&life);
            let landed = tokio::select! {
                biased;
                landed = making.land(fault, &failed) => landed,
                () = recorder.lives.stopped() => Err(ExperimentError::Ledger(LedgerError::Closing)),
            };
            if let Err(error) = landed {
                // What may have been made of it is undone, and how that went is in the journal.
                making.end(FaultEnd::Rollback).await;
                return Err(recorder.or_stopped(error));
            }
        }
        let expiry = fault.lasting().map(|duration| expire(&life, duration));
        Ok(Self { life, expiry })
    }

    /// Takes the fault back, verifies it, and waits until its witness sees it gone.
    ///
    /// # Errors
    /// It is not known to be gone, and the ledger keeps it for the sweep; or it is, but its effect is still seen.
    pub async fn rollback(self) -> Result<(), ExperimentError> {
        let mut life = self.life.lock().await;
        life.end(FaultEnd::Rollback).await;
        life.outcome()
    }

    /// Leaves it on for good, by its user's choice, once `let_go` has taken off it what makes it the run's.
    ///
    /// # Errors
    /// It could not be let go of, and was undone.
    #[cfg(feature = "cli")]
    pub(crate) async fn leave<F>(self, let_go: impl FnOnce(Vec<Undo>) -> F) -> Result<(), BoxError>
    where
        F: Future<Output = Result<(), BoxError>>,
    {
        self.life.lock().await.leave(let_go).await
    }

    /// Undoes, without a look whether the effect has gone too.
    pub(super) async fn undo(&self, by: FaultEnd) {
        self.life.lock().await.undo(by).await;
    }

    /// Undoes. What has ended already stays as it was recorded.
    pub(super) async fn end(&self, by: FaultEnd) {
        self.life.lock().await.end(by).await;
    }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        if let Some(expiry) = &self.expiry {
            expiry.abort();
        }
    }
}

/// Ends the fault by itself after its time. It holds no strong reference: the guard's drop must be the last.
fn expire(life: &Arc<Mutex<Life>>, duration: Duration) -> tokio::task::AbortHandle {
    let life = Arc::downgrade(life);
    let task = tokio::spawn(async move {
        tokio::time::sleep(duration).await;
        if let Some(life) = life.upgrade() {
            let mut life = life.lock().await;
            life.confirm(SightingTime::BeforePlannedEnd).await;
            life.end(FaultEnd::Plan).await;
        }
    });
    task.abort_handle()
}
