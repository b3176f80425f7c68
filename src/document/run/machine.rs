//! Where a document runs that acts on no cluster: this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::clock::{Clock, Seed, Timestamp};
use crate::experiment::{Environment, ExperimentError, Right};
use crate::journal::{Journal, Trace};
use crate::rollback::{InDrop, Ledger, Standing, Undo, UndoOutcome, Undoer};
use crate::transport::{OnDemand, Transport};
use crate::{BoxError, observability, publish};

/// This machine, without a cluster: nothing can be injected here.
pub(crate) struct Machine {
    clock: Clock,
    seed: Seed,
    network: Arc<OnDemand>,
}

impl Machine {
    pub(crate) fn new() -> Result<Self, ExperimentError> {
        let cluster = |source: BoxError| ExperimentError::Cluster {
            doing: "set up the network",
            cluster: "this machine".to_owned(),
            source,
        };
        let seed = Seed::from_env_or_entropy().map_err(|error| cluster(error.into()))?;
        Ok(Self { clock: Clock::real(), seed, network: Arc::default() })
    }
}

impl Environment for Machine {
    fn describe(&self) -> String {
        "this machine, no cluster".to_owned()
    }

    fn clock(&self) -> Clock {
        self.clock.clone()
    }

    fn seed(&self) -> Seed {
        self.seed
    }

    fn new_run(&self) -> String {
        let mut rng = self.seed.rng("run");
        std::iter::repeat_with(|| rng.lowercase()).take(8).collect()
    }

    fn transport(&self) -> Arc<dyn Transport> {
        self.network.clone()
    }

    fn undoer(&self) -> Arc<dyn Undoer> {
        Arc::new(Nothing)
    }

    fn ledger<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<Ledger, BoxError>> {
        Box::pin(async move { Ok(Ledger::memory(run)) })
    }

    fn lacking<'a>(&'a self, _: &'a [Right]) -> BoxFuture<'a, Result<Vec<Right>, BoxError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn undo_layers(&self) -> Vec<String> {
        Vec::new()
    }

    fn outputs(&self) -> PathBuf {
        PathBuf::from(".")
    }

    fn trace(&self, run: &str, experiment: &str, now: Timestamp) -> Option<Trace> {
        observability::trace(self.seed, "", run, experiment, now)
    }

    fn began(&self, journal: &Path) {
        publish::began(&publish::root(), journal);
    }

    fn ended(&self, journal: &Journal) {
        publish::ended(&publish::root(), journal);
        observability::ended(journal);
    }
}

/// There is nothing to undo.
struct Nothing;

const NOTHING: &str = "there is no cluster here";

impl Undoer for Nothing {
    fn undo<'a>(&'a self, _: &'a Undo) -> BoxFuture<'a, UndoOutcome> {
        Box::pin(async { UndoOutcome::Unverified { why: NOTHING.to_owned() } })
    }

    fn stands<'a>(&'a self, _: &'a Undo) -> BoxFuture<'a, Result<Standing, String>> {
        Box::pin(async { Err(NOTHING.to_owned()) })
    }

    fn in_drop(&self) -> InDrop {
        InDrop::Inline
    }
}
