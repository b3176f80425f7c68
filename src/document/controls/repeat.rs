//! `chaosaddons.controls.repeat`: an activity again, as often as it is said.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{At, Given, Hooks, Moment, Trouble, When};
use crate::document::run::log::{Level, Log};

/// Which repetition an activity is.
pub(super) const INDEX: &str = "iteration_index";

pub(super) struct Repeat {
    pub(super) log: Log,
}

impl Hooks for Repeat {
    fn hook<'a>(
        &'a self,
        at: At,
        when: When,
        given: &'a Given,
        moment: &'a mut Moment,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            if (at, when) == (At::Activity, When::After) {
                self.repeat(given, moment)?;
            }
            Ok(())
        })
    }
}

impl Repeat {
    fn repeat(&self, given: &Given, moment: &mut Moment) -> Result<(), Trouble> {
        let argument = |name: &str| given.arguments.get(name).unwrap_or(&Value::Null);
        let count = match argument("repeat_count") {
            Value::Null => 0,
            count => count
                .as_i64()
                .ok_or_else(|| Trouble::Failed(format!("repeat_count must be a whole number, got {count}")))?,
        };
        let failed = moment.state["status"] != "succeeded";
        let Some(activity) = moment.context().cloned().filter(|activity| activity.get(INDEX).is_none()) else {
            return Ok(());
        };
        let name = &activity["name"];
        if argument("break_if_previous_iteration_failed") == &Value::Bool(true) && failed {
            (self.log)(Level::Debug, &format!("{name} failed, so it is not repeated"));
            return Ok(());
        }
        for list in ["/steady-state-hypothesis/probes", "/method", "/rollbacks"] {
            let Some(activities) = moment.experiment.pointer_mut(list).and_then(Value::as_array_mut) else { continue };
            let Some(first) = activities.iter().position(|one| &one["name"] == name) else { continue };
            let copies = (1..count).map(|index| {
                let mut copy = activity.clone();
                copy[INDEX] = json!(index);
                copy
            });
            activities.splice(first + 1..first + 1, copies.collect::<Vec<_>>());
        }
        Ok(())
    }
}
