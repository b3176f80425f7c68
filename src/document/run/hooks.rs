//! Where the controls of a document are called: before and after each part of a run.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

use serde_json::Value;

use super::{Conductor, Halt, Level};
use crate::document::controls::{At, Spot, Stop};

/// The parts of a run that have begun and not ended.
pub(super) type Open = BTreeMap<u64, (At, Spot)>;

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Interrupt(why) => Self::Interrupt(why),
            Stop::Exit(code) => Self::Exit(code),
        }
    }
}

impl Conductor {
    /// Does a part of the run between its controls, which are called after it however it ended. `told` is what they are
    /// then told of what came of it, and `changed` takes over what they made of that.
    pub(super) async fn controlled<T>(
        &self,
        (at, spot): (At, &Spot),
        work: impl Future<Output = Result<T, Halt>>,
        told: impl FnOnce(&T) -> Value,
        changed: impl FnOnce(&mut T, Value),
    ) -> Result<T, Halt> {
        let number = self.begun(at, spot);
        let mut done = match self.controls.before(at, spot).await {
            Ok(()) => {
                self.hide();
                work.await
            }
            Err(stop) => Err(stop.into()),
        };
        self.open().remove(&number);
        let was = done.as_ref().map_or(Value::Null, told);
        let mut state = was.clone();
        let ended = self.controls.after(at, spot, &mut state).await;
        self.hide();
        if let Ok(done) = &mut done
            && state != was
        {
            changed(done, state);
        }
        ended?;
        done
    }

    fn begun(&self, at: At, spot: &Spot) -> u64 {
        let mut open = self.open();
        let number = open.last_key_value().map_or(0, |(last, _)| last + 1);
        open.insert(number, (at, spot.clone()));
        number
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the controls after all that was cut, innermost first. The run is over: whatever they ask for comes too late.
    pub(super) async fn close_what_was_cut(&self) {
        loop {
            let last = self.open().pop_last();
            let Some((_, (at, spot))) = last else { break };
            if let Err(stop) = self.controls.after(at, &spot, &mut Value::Null).await {
                self.say(Level::Debug, &format!("a control asks for an end after it: {stop}"));
            }
        }
    }

    /// Calls the controls after the run, which may change its journal, and cleans up.
    pub(super) async fn after_the_run(&self) {
        let journal = self.shared.told(&self.run.evidence());
        let mut changed = journal.clone();
        // As in the original: what has ended cannot be interrupted.
        if let Err(stop) = self.controls.after(At::Experiment, &Spot::whole(), &mut changed).await {
            self.say(Level::Debug, &format!("a control asks for an end after it: {stop}"));
        }
        self.hide();
        self.shared.changed(journal, changed);
        self.controls.cleanup().await;
    }

    /// Keeps what controls have made secrets out of whatever is shown.
    pub(super) fn hide(&self) {
        self.shared.hide(&self.names.secrets());
    }
}
