//! The one axis of time of a run: everything that is drawn stands on it.

use std::fmt::{Result, Write};

use crate::clock::Timestamp;
use crate::journal::{FaultWindow, Journal};
use crate::page::chart::Frame;

/// The room for the names of lanes, and the width of what is drawn, in the SVG's units.
const LEFT: f64 = 112.0;
const ACROSS: f64 = 944.0;

/// What lies before the run's start or after its end takes so much of the run's length at most.
const BESIDE: f64 = 0.25;

/// A journal with the axis of its run.
pub(super) struct Axis<'a> {
    pub journal: &'a Journal,
    pub frame: Frame,
}

/// The four instants of a fault, in seconds from the run's start; the later ones at the end of the run where unknown.
pub(super) struct Shade {
    pub requested: f64,
    pub effective: f64,
    pub undo_requested: f64,
    pub undone: f64,
    /// Whether its effect was ever seen.
    pub seen: bool,
}

impl<'a> Axis<'a> {
    pub(super) fn new(journal: &'a Journal) -> Self {
        let at = |at: Timestamp| seconds(journal, at);
        let events = journal.events.iter().map(|event| at(event.at));
        let steps = journal.steps.iter().filter_map(|step| step.ended.map(at));
        let judged = journal.evaluations.iter().map(|evaluation| at(evaluation.ended));
        let faults = journal.faults.iter().map(|fault| at(fault.window.undone.unwrap_or(fault.window.requested)));
        let run = events.chain(steps).chain(judged).chain(faults).fold(at(journal.finished), f64::max).max(0.001);
        let samples = || journal.telemetry.series.iter().flat_map(|series| series.samples.iter().map(|(at, _)| *at));
        let from = samples().fold(0.0, f64::min).max(-BESIDE * run);
        let end = samples().fold(run, f64::max).min((1.0 + BESIDE) * run);
        Self { journal, frame: Frame { left: LEFT, across: ACROSS, from, end } }
    }

    /// An instant in seconds from the run's start.
    pub(super) fn at(&self, at: Timestamp) -> f64 {
        seconds(self.journal, at)
    }

    /// Whether an instant is on the axis.
    pub(super) fn holds(&self, at: f64) -> bool {
        (self.frame.from..=self.frame.end).contains(&at)
    }

    pub(super) fn shade(&self, window: &FaultWindow) -> Shade {
        let end = self.frame.end;
        let undo_requested = window.undo_requested.or(window.undone).map_or(end, |at| self.at(at));
        Shade {
            requested: self.at(window.requested),
            effective: window.effective.map_or(undo_requested, |at| self.at(at)),
            undo_requested,
            undone: window.undone.map_or(end, |at| self.at(at)),
            seen: window.effective.is_some(),
        }
    }

    /// The faults through a drawing from `top` to `bottom`, on a frame of the same times.
    pub(super) fn shades(&self, out: &mut String, frame: &Frame, top: f64, bottom: f64) -> Result {
        for fault in self.journal.faults.iter().take(super::lanes::MOST_LANES) {
            let shade = self.shade(&fault.window);
            let parts = [
                ("hatch", shade.requested, shade.effective),
                ("band", shade.effective, shade.undo_requested),
                ("hatch", shade.undo_requested, shade.undone),
            ];
            for (class, from, to) in parts.into_iter().filter(|(_, from, to)| to > from) {
                let (x, wide) = (frame.x(from), frame.x(to) - frame.x(from));
                let tall = bottom - top;
                writeln!(
                    out,
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{tall:.1}\"/>"
                )?;
            }
        }
        Ok(())
    }
}

fn seconds(journal: &Journal, at: Timestamp) -> f64 {
    at.duration_since(journal.started).as_secs_f64()
}
