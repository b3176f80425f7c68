//! The method: activities in their order, some of them in the background.

use std::sync::Arc;

use tracing::Instrument;

use super::activity::Place;
use super::background::beside;
use super::entry::List;
use super::now::Part;
use super::status::Status;
use super::{Conductor, Halt, Level};
use crate::document::controls::{At, Spot};

impl Conductor {
    /// Plays the method. It ends when its background activities have.
    pub(super) async fn method(self: &Arc<Self>) -> Result<(), Halt> {
        self.now.enter(Part::Method, self.clock.now());
        self.say(Level::Info, "Playing your experiment's method now...");
        if self.entry(List::Method, 0).is_none() {
            self.say(Level::Info, "No declared activities, let's move on.");
        }
        let records = &self.shared.method;
        let place = (At::Method, &Spot::whole());
        let played = self
            .controlled(place, self.activities(), |()| records.to_json(), |(), changed| records.take_over(changed))
            .await;
        self.run.method_ended();
        played
    }

    async fn activities(self: &Arc<Self>) -> Result<(), Halt> {
        let phase = self.run.method_phase();
        let span = self.run.phase(&phase);
        beside(async |start| {
            // A control may have added some meanwhile.
            let mut number = 0;
            while let Some(entry) = self.entry(List::Method, number) {
                number += 1;
                if entry.activity().background() {
                    let work = async move {
                        // What goes wrong beside the method is in the record, and does not stop it, as in the original.
                        let done = self.perform(&entry, &self.shared.method, Place::Method, phase).await;
                        if let Err(halt) = done {
                            self.say(Level::Error, &format!("a background activity ended: {halt}"));
                        }
                    };
                    // The receiver lives as long as this.
                    let _ = start.send(Box::pin(work));
                    // It begins now, in the order of the document.
                    tokio::task::yield_now().await;
                } else {
                    self.perform(&entry, &self.shared.method, Place::Method, phase).await?;
                }
                if self.state().status.is_some_and(|status| status != Status::Completed) {
                    break;
                }
            }
            Ok(())
        })
        .instrument(span)
        .await
    }
}
