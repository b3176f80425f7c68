//! One activity: its pauses, its record, its provider.

use std::time::Duration;

use serde_json::{Value, json};
use tracing::{Instrument, Span};

use super::entry::Entry;
use super::record::{Ending, Records};
use super::settings::Dry;
use super::{Conductor, Halt, Level};
use crate::document::activity::{Activity, Kind};
use crate::document::controls::At;
use crate::document::provider::{Site, Trouble};
use crate::document::py;
use crate::document::substitute::Scope;
use crate::experiment::{Phase, StepBegun};

/// Where an activity stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Method,
    Hypothesis,
    Rollbacks,
}

impl Conductor {
    /// Runs an activity with its controls and keeps its record, whose number is returned.
    pub(super) async fn perform(
        &self,
        entry: &Entry,
        records: &Records,
        place: Place,
        phase: Phase,
    ) -> Result<usize, Halt> {
        if let Some(name) = entry.activity().unresolved() {
            return Err(Halt::Fatal(format!("no activity of the method or the hypothesis is named {name:?}")));
        }
        let Some(spot) = &entry.spot else { return self.done(&entry.activity(), records, place, phase).await };
        let work = async {
            // A control may have changed it.
            let entry = self.renewed(entry);
            self.done(&entry.activity(), records, place, phase).await
        };
        let told = |number: &usize| records.lock()[*number].to_json();
        let changed = |number: &mut usize, record| records.lock()[*number].take_over(record);
        self.controlled((At::Activity, spot), work, told, changed).await
    }

    async fn done(
        &self,
        activity: &Activity<'_>,
        records: &Records,
        place: Place,
        phase: Phase,
    ) -> Result<usize, Halt> {
        let probes = activity.kind() == Some(Kind::Probe);
        // In the original a `dry` of an activity's own turns its dry mode off; whoever writes it wants it not done.
        let skipped = activity.dry().is_some() || self.settings.dry.is_some_and(|dry| dry.skips(probes));
        let waits = !skipped && self.settings.dry != Some(Dry::Pause);
        self.pause(activity.pause_before(), "Pausing before next activity for", waits).await?;
        let beside = if activity.definition["background"] == true { " [in background]" } else { "" };
        self.say(Level::Info, &format!("{}: {}{beside}", if probes { "Probe" } else { "Action" }, activity.name()));
        let number = records.begin(activity.definition.clone(), self.clock.now());
        let since = self.clock.elapsed();
        let doing = self.now.doing(activity.name().into_owned(), self.clock.now(), None);
        let begun = self.step_begun(activity, place, skipped);
        let span = begun.as_ref().map_or_else(Span::current, |begun| begun.span.clone());
        let done = if skipped { Ok(Value::Null) } else { self.provide(activity, phase).instrument(span).await };
        drop(doing);
        if let Some(begun) = &begun {
            let told = done.as_ref().map(|_| ()).map_err(|trouble| self.shared.shown(&trouble.to_string()));
            self.run.step_ended(begun, told);
        }
        let remark = if skipped { None } else { self.weigh(activity, place, &done) };
        let halt = {
            let mut records = records.lock();
            let record = &mut records[number];
            record.ended = Some((self.clock.now(), self.clock.elapsed().saturating_sub(since)));
            if skipped {
                record.remarks.insert("skipped".into(), json!("dry"));
                if place != Place::Rollbacks {
                    self.state().skipped.push(activity.name().into_owned());
                }
            }
            record.remarks.extend(remark.map(|(key, why)| (key.to_owned(), json!(why))));
            match done {
                Ok(output) => {
                    (record.ending, record.output) = (Some(Ending::Succeeded), output);
                    None
                }
                Err(Trouble::Failed(why)) => {
                    self.say(Level::Error, &format!("  => failed: {why}"));
                    (record.ending, record.exception) = (Some(Ending::Failed), Some(why));
                    None
                }
                Err(Trouble::Fatal(why)) => {
                    (record.ending, record.exception) = (Some(Ending::Failed), Some(why.clone()));
                    Some(Halt::Fatal(why))
                }
                Err(Trouble::Interrupt(why)) => {
                    (record.ending, record.exception) = (Some(Ending::Failed), Some(why.clone()));
                    Some(Halt::Interrupt(why))
                }
                Err(Trouble::Exit(code)) => {
                    (record.ending, record.exception) = (Some(Ending::Failed), Some(format!("SystemExit: {code}")));
                    Some(Halt::Exit(code))
                }
            }
        };
        // After a failure too, as in the original.
        self.pause(activity.pause_after(), "Pausing after activity for", waits).await?;
        halt.map_or(Ok(number), Err)
    }

    /// Tells the engine of an activity of the method, which is a step of its journal too, and of what is not done.
    fn step_begun(&self, activity: &Activity<'_>, place: Place, skipped: bool) -> Option<StepBegun> {
        let kind = match (place, activity.kind()) {
            (Place::Hypothesis, _) => return None,
            (Place::Rollbacks, _) if !skipped => return None,
            (Place::Rollbacks, _) => "rollback",
            (Place::Method, _) if activity.background() => "background",
            (Place::Method, Some(Kind::Probe)) => "observe",
            (Place::Method, _) => "act",
        };
        let name = self.shared.shown(&activity.name());
        if skipped {
            self.run.step_passed_over(kind, &name, "not done: it was to be dry");
            return None;
        }
        Some(self.run.step_begun(kind, &name))
    }

    /// Where an activity is carried out.
    pub(super) fn site<'a>(&'a self, names: &'a Scope, activity: &Activity<'a>, phase: Phase) -> Site<'a> {
        Site {
            names,
            run: &self.run,
            scene: self.run.scene(phase),
            cluster: self.cluster.as_ref(),
            guards: &self.guards,
            // Whatever the rollbacks of the document make, nobody is to take it back.
            plain: matches!(phase, Phase::Recovery { .. }),
            leave: self.settings.leave_faults || activity.leaves().unwrap_or(self.leaves_all),
            all: activity.takes_all(),
            trust: activity.trust(),
            judged: activity.tolerance().is_some() || activity.definition.get("tolerance").is_some(),
            log: &self.log,
        }
    }

    pub(super) async fn provide(&self, activity: &Activity<'_>, phase: Phase) -> Result<Value, Trouble> {
        let names = self.names.now();
        let site = self.site(&names, activity, phase);
        self.providers.call(activity, &site).await
    }

    /// Waits as an activity asks for, before or after it.
    async fn pause(&self, asked: Result<Option<&Value>, String>, doing: &str, waits: bool) -> Result<(), Halt> {
        let Some(asked) = asked.map_err(Halt::Fatal)?.filter(|asked| py::truthy(asked)) else { return Ok(()) };
        let value = self.names.now().put_into(asked);
        self.say(Level::Info, &format!("{doing} {}s...", py::text::str(&value)));
        let seconds = value.as_f64().or_else(|| value.as_bool().map(|one| f64::from(u8::from(one))));
        let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let Some(duration) = duration else {
            return Err(Halt::Fatal(format!("a pause must be a number of seconds that is not negative, got {value}")));
        };
        if waits {
            let now = self.clock.now();
            let _waiting = self.now.doing("pause".to_owned(), now, now.checked_add(duration).ok());
            self.clock.sleep(duration).await;
        }
        Ok(())
    }
}
