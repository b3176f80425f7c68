//! The document's own rollbacks. Faults are undone after them, whatever they do.

use super::activity::Place;
use super::background::beside;
use super::entry::List;
use super::now::Part;
use super::record::Ending;
use super::status::Status;
use super::{Conductor, Halt, Level};
use crate::document::controls::{At, Spot};
use crate::experiment::{Phase, RollbackStrategy};

impl Conductor {
    /// Plays the document's rollbacks as its strategy says.
    pub(super) async fn roll_back(&self) {
        if !self.rolls_back() {
            return;
        }
        self.now.enter(Part::Rollbacks, self.clock.now());
        self.say(Level::Info, "Let's rollback...");
        if self.entry(List::Rollbacks, 0).is_none() {
            self.say(Level::Info, "No declared rollbacks, let's move on.");
        }
        let records = &self.shared.rollbacks;
        let place = (At::Rollback, &Spot::whole());
        let done = self
            .controlled(place, self.rollbacks(), |()| records.to_json(), |(), changed| records.take_over(changed))
            .await;
        if let Err(halt) = done {
            self.say(Level::Critical, &format!("{halt}: the remaining rollbacks are not run"));
            self.state().status = Some(Status::Interrupted);
        }
    }

    async fn rollbacks(&self) -> Result<(), Halt> {
        let phase = Phase::Recovery { undone: self.clock.now() };
        let records = &self.shared.rollbacks;
        beside(async |start| {
            // A control may have added some meanwhile.
            let mut number = 0;
            while let Some(entry) = self.entry(List::Rollbacks, number) {
                number += 1;
                let name = entry.activity().name().into_owned();
                self.say(Level::Info, &format!("Rollback: {name}"));
                if entry.activity().background() {
                    let work = async move {
                        let done = self.perform(&entry, records, Place::Rollbacks, phase).await;
                        if let Err(halt) = self.rolled_back(&name, done) {
                            self.say(Level::Error, &format!("a background activity ended: {halt}"));
                        }
                    };
                    // The receiver lives as long as this.
                    let _ = start.send(Box::pin(work));
                    tokio::task::yield_now().await;
                } else {
                    let done = self.perform(&entry, records, Place::Rollbacks, phase).await;
                    self.rolled_back(&name, done)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Keeps what failed. One that the original would have died of fails like any other here, and the rest are played.
    fn rolled_back(&self, name: &str, done: Result<usize, Halt>) -> Result<(), Halt> {
        let failed = match done {
            Ok(number) => {
                let records = self.shared.rollbacks.lock();
                let record = &records[number];
                if record.remarks.contains_key("skipped") {
                    return Ok(());
                }
                (record.ending == Some(Ending::Failed)).then(|| record.exception.clone().unwrap_or_default())
            }
            Err(Halt::Fatal(why)) => Some(why),
            Err(halt) => return Err(halt),
        };
        let shown = failed.as_deref().map(|why| self.shared.shown(why));
        self.run.rolled_back(&self.shared.shown(name), shown);
        if let Some(why) = failed {
            self.state().rollbacks_failed.push(format!("{name}: {why}"));
        }
        Ok(())
    }

    fn rolls_back(&self) -> bool {
        let (status, deviated) = {
            let state = self.state();
            (state.status, state.deviated)
        };
        match self.settings.rollbacks {
            RollbackStrategy::Always => {
                self.say(Level::Warning, "Rollbacks were explicitly requested to be played");
                true
            }
            RollbackStrategy::Never => {
                self.say(Level::Warning, "Rollbacks were explicitly requested to not be played");
                false
            }
            RollbackStrategy::Deviated if deviated => {
                self.say(Level::Warning, "Rollbacks will be played only because the experiment deviated");
                true
            }
            RollbackStrategy::Deviated => {
                self.say(
                    Level::Warning,
                    "Rollbacks were requested only if the experiment deviated: they are not played",
                );
                false
            }
            RollbackStrategy::Default => !matches!(status, Some(Status::Failed | Status::Interrupted)),
        }
    }
}
