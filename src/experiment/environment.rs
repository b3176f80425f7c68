//! What the engine asks of a cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Hold, Place, Right};
use crate::BoxError;
use crate::clock::{Clock, Seed, Timestamp};
use crate::journal::{ClusterEvent, FaultWindow, Journal, Trace};
use crate::rollback::{Ledger, Undoer};
use crate::transport::Transport;

/// A cluster, as the engine sees it.
pub trait Environment: Send + Sync {
    /// What it is, in words: `embedded lab`, `kind cluster "steadfast"`.
    fn describe(&self) -> String;

    /// Its clock.
    fn clock(&self) -> Clock;

    /// What names and random choices derive from.
    fn seed(&self) -> Seed;

    /// A name for a new run, fit for a label: unique in the cluster.
    fn new_run(&self) -> String;

    /// The way to the system under test.
    fn transport(&self) -> Arc<dyn Transport>;

    /// Who undoes.
    fn undoer(&self) -> Arc<dyn Undoer>;

    /// The ledger of one run: on disk for a cluster over a network, in memory for one that dies with this process.
    fn ledger<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<Ledger, BoxError>>;

    /// Which of these rights the user does not have.
    fn lacking<'a>(&'a self, rights: &'a [Right]) -> BoxFuture<'a, Result<Vec<Right>, BoxError>>;

    /// Which layers stand ready to undo, in words, each for the death of the one before.
    fn undo_layers(&self) -> Vec<String>;

    /// The command with which a person sweeps what a dead run left, and the kubeconfig that is needed for it, if it is not
    /// the one that tools take by themselves; `None` where everything dies with this process.
    fn sweep(&self) -> Option<(String, Option<PathBuf>)> {
        None
    }

    /// How a place is held for one run alone; `None` where nobody else can come.
    fn hold(&self, place: &Place) -> Option<Arc<dyn Hold>> {
        let _ = place;
        None
    }

    /// The rights that holding a place needs, and those without which it has no dead-man's switch.
    fn hold_rights(&self, place: &Place) -> (Vec<Right>, Vec<Right>) {
        let _ = place;
        (Vec::new(), Vec::new())
    }

    /// The folder for journals, plots and reports.
    fn outputs(&self) -> PathBuf;

    /// The file in it for the journal of one more run: another one each time, so that none is overwritten.
    fn journal_file(&self) -> PathBuf {
        PathBuf::from("journal.json")
    }

    /// What the cluster itself reported of these places since `from`, for reports, in the order of time.
    fn reported<'a>(
        &'a self,
        places: &'a [Place],
        from: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<ClusterEvent>, BoxError>> {
        let _ = (places, from);
        Box::pin(async { Ok(Vec::new()) })
    }

    /// The trace that a run of an experiment, which starts now, is part of; `None` where none is told to anybody.
    fn trace(&self, run: &str, experiment: &str, now: Timestamp) -> Option<Trace> {
        let _ = (run, experiment, now);
        None
    }

    /// The window of a fault of a run has changed, now: it was sent, is effective, is being undone, or is undone.
    fn fault_changed(&self, run: &str, experiment: &str, number: usize, window: &FaultWindow) {
        let _ = (run, experiment, number, window);
    }

    /// A run has begun, and its journal is stored there for the first time: it is found even if this process dies.
    fn began(&self, journal: &Path) {
        let _ = journal;
    }

    /// A run has ended, its journal is stored and its ledger finished: what else is made of it. Called on every path, also
    /// by the thread that answers a signal, which waits 5 s at most for one that is called already; the process may end
    /// as soon as it returns.
    fn ended(&self, journal: &Journal) {
        let _ = journal;
    }
}
