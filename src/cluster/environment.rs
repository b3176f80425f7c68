//! What the engine asks of a cluster.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use futures_util::future::BoxFuture;

use super::{Cluster, Ground};
use crate::BoxError;
use crate::clock::{Clock, Seed, Time, Timestamp};
use crate::experiment::{Environment, Hold, Place, Right};
use crate::journal::{ClusterEvent, Ended, FaultWindow, Journal, Trace};
#[cfg(feature = "lab")]
use crate::kubernetes::KubeUndoer;
use crate::kubernetes::{PlaceHold, events, namespace_of};
use crate::observability;
use crate::publish;
use crate::rollback::{Ledger, Undoer, leash_is_on};
use crate::transport::Transport;

/// The letters of a run's name.
const NAME_LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";

impl Environment for Cluster {
    fn describe(&self) -> String {
        match &self.inner.ground {
            #[cfg(feature = "lab")]
            Ground::Embedded(_) => "the embedded lab".to_owned(),
            Ground::Network(network) => network.describe(),
        }
    }

    fn clock(&self) -> Clock {
        self.inner.clock.clone()
    }

    fn seed(&self) -> Seed {
        self.inner.seed
    }

    fn new_run(&self) -> String {
        let mut rng = self.inner.seed.rng(&format!("run {}", self.next_run()));
        (0..8).map(|_| char::from(NAME_LETTERS[rng.usize(..NAME_LETTERS.len())])).collect()
    }

    fn transport(&self) -> Arc<dyn Transport> {
        self.inner.transport.clone()
    }

    fn undoer(&self) -> Arc<dyn Undoer> {
        match &self.inner.ground {
            #[cfg(feature = "lab")]
            Ground::Embedded(_) if self.is_elsewhere() => Arc::new(KubeUndoer::new(
                self.inner.kubernetes.clone(),
                Arc::new(|| Box::pin(async { Err("a process elsewhere that was killed undoes nothing".to_owned()) })),
            )),
            #[cfg(feature = "lab")]
            Ground::Embedded(lab) => lab.undoer(),
            Ground::Network(network) => network.undoer(&self.inner.kubernetes),
        }
    }

    fn ledger<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<Ledger, BoxError>> {
        Box::pin(async move {
            match &self.inner.ground {
                #[cfg(feature = "lab")]
                Ground::Embedded(_) => Ok(Ledger::memory(run)),
                Ground::Network(network) => Ok(network.ledger(run, &self.inner.clock)?),
            }
        })
    }

    fn lacking<'a>(&'a self, rights: &'a [Right]) -> BoxFuture<'a, Result<Vec<Right>, BoxError>> {
        Box::pin(async move { Ok(self.inner.kubernetes.lacking(rights).await?) })
    }

    fn undo_layers(&self) -> Vec<String> {
        let layers: &[&str] = match &self.inner.ground {
            #[cfg(feature = "lab")]
            Ground::Embedded(_) => &["the engine", "the guard's drop", "the lab's end, with this process"],
            Ground::Network(_) => {
                let leash = if leash_is_on() { "the leash" } else { "leash off" };
                &["the engine", "the guard's drop (reaper)", "signals", leash, "the ledger, for a sweep"]
            }
        };
        layers.iter().map(ToString::to_string).collect()
    }

    fn hold(&self, place: &Place) -> Option<Arc<dyn Hold>> {
        Some(PlaceHold::new(self.holding(), place.clone()))
    }

    fn hold_rights(&self, place: &Place) -> (Vec<Right>, Vec<Right>) {
        (PlaceHold::rights(place), PlaceHold::switch_rights(place).unwrap_or_default())
    }

    fn reported<'a>(
        &'a self,
        places: &'a [Place],
        from: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<ClusterEvent>, BoxError>> {
        Box::pin(async move {
            // What befalls a node is an event where its lease lies.
            let namespaces: BTreeSet<_> = places.iter().map(namespace_of).collect();
            let mut all = Vec::new();
            for namespace in namespaces {
                all.extend(events(&self.inner.kubernetes, namespace, from).await?);
            }
            all.sort_by_key(|event| event.at);
            Ok(all)
        })
    }

    fn outputs(&self) -> PathBuf {
        self.inner.outputs.clone()
    }

    fn fault_changed(&self, run: &str, experiment: &str, number: usize, window: &FaultWindow) {
        // In virtual time it has no time that anybody else could show.
        if self.inner.clock.time() == Time::Real {
            observability::fault_changed(run, experiment, number, window);
        }
    }

    fn trace(&self, run: &str, experiment: &str, now: Timestamp) -> Option<Trace> {
        let place = self.inner.outputs.file_name().unwrap_or_default().to_string_lossy();
        observability::trace(self.inner.seed, &place, run, experiment, now)
    }

    fn journal_file(&self) -> PathBuf {
        self.next_journal()
    }

    fn sweep(&self) -> Option<(String, Option<PathBuf>)> {
        match &self.inner.ground {
            #[cfg(feature = "lab")]
            Ground::Embedded(_) => None,
            Ground::Network(network) => Some(network.sweep()),
        }
    }

    fn began(&self, journal: &Path) {
        publish::began(&publish::root(), journal);
    }

    fn ended(&self, journal: &Journal) {
        publish::ended(&publish::root(), journal);
        observability::ended(journal);
        if !matches!(journal.ended, Ended::Completed | Ended::GateMissed) {
            *self.inner.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(journal.summary());
        }
    }
}
