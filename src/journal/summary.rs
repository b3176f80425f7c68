//! The verdict as sentences, with its evidence.

use std::fmt::Write;

use super::text::printed;
use super::{Breach, Ended, FaultRecord, Journal, SafeguardRecord, Source, Verdict, WATCHED};
use crate::clock::Timestamp;

/// The most letters of one text of others.
const MOST: usize = 2_000;

impl Journal {
    /// The verdict and its evidence in a few sentences: what each check saw, from when to when each fault was on,
    /// how it was proved, and how its undo was verified. Times are seconds since the start of the run.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut out = String::new();
        self.write_summary(&mut out).expect("writing to a string cannot fail");
        out
    }

    /// Seconds since the run's start: `12.3 s`.
    #[must_use]
    pub fn offset(&self, at: Timestamp) -> String {
        format!("{:.1} s", at.duration_since(self.started).as_secs_f64())
    }

    fn write_summary(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{}: {}", plain(&self.experiment), self.verdict)?;
        if let Some(reason) = &self.reason {
            writeln!(out, "  because {}", plain(&reason.to_string()))?;
        }
        match &self.ended {
            Ended::Completed | Ended::GateMissed => {}
            Ended::Running => writeln!(out, "  The run has not ended.")?,
            Ended::Failed { error } => writeln!(out, "  The run failed: {}", plain(error))?,
            Ended::Panicked { message } => writeln!(out, "  A closure panicked: {}", plain(message))?,
            Ended::Interrupted { signal } => writeln!(out, "  The run was interrupted by {}.", plain(signal))?,
            Ended::Stopped { by } => writeln!(out, "  The run was stopped and undone by {}.", plain(by))?,
            Ended::Cancelled => writeln!(out, "  The run was dropped before its end.")?,
        }
        for evaluation in self.told() {
            let over = !evaluation.checks.is_empty() && evaluation.checks.iter().all(|check| check.faults_over);
            writeln!(
                out,
                "  {} (from {} to {}), {}: {}",
                if over { "After the fault".to_owned() } else { capital(&plain(&evaluation.phase)) },
                self.offset(evaluation.started),
                self.offset(evaluation.ended),
                plain(self.hypothesis.as_deref().unwrap_or("the hypothesis")),
                evaluation.verdict
            )?;
            for check in &evaluation.checks {
                let over = if check.faults_over && !over { " (no fault was on any more)" } else { "" };
                writeln!(out, "    - {}: {}{over}", plain(&check.check), plain(&check.phrase))?;
                for warning in &check.warnings {
                    writeln!(out, "      warning: {}", plain(warning))?;
                }
            }
        }
        for safeguard in &self.safeguards {
            self.write_safeguard(out, safeguard)?;
        }
        for fault in &self.faults {
            self.write_fault(out, fault)?;
        }
        for step in self.finally.iter().filter(|step| step.error.is_some()) {
            writeln!(
                out,
                "  Finally, {} failed: {}",
                plain(&step.name),
                plain(step.error.as_deref().unwrap_or_default())
            )?;
        }
        if let Some(path) = &self.path {
            writeln!(out, "  journal: {}", plain(&path.to_string_lossy()))?;
        }
        match self.source {
            Source::ChaosToolkit if self.steps.is_empty() => Ok(()),
            // There may have been faults; what is known is that there are none in the journal.
            Source::ChaosToolkit => {
                writeln!(out, "  Nothing shows whether its actions had an effect: Chaos Toolkit does not look.")
            }
            _ => writeln!(out, "  To run it again as it was: STEADFAST_SEED={}", self.seed.0),
        }
    }

    /// The evaluations worth telling: all single ones, and of the repeated ones those that were not met.
    fn told(&self) -> impl Iterator<Item = &super::Evaluation> {
        self.evaluations.iter().filter(|e| e.phase != WATCHED || e.verdict != Verdict::Met)
    }

    fn write_safeguard(&self, out: &mut String, safeguard: &SafeguardRecord) -> std::fmt::Result {
        let SafeguardRecord { check, looks, unknown, held_at, broken, .. } = safeguard;
        write!(out, "  The safeguard \"{}\", looked at {looks} times", plain(check))?;
        if *unknown > 0 {
            write!(out, " ({unknown} without evidence)")?;
        }
        match held_at {
            Some(at) => write!(out, ", held at {}", self.offset(*at))?,
            None => write!(out, ", was never seen to hold")?,
        }
        let Some(Breach { since, at, look }) = broken else { return writeln!(out, ".") };
        let (since, at, phrase) = (self.offset(*since), self.offset(*at), plain(&look.phrase));
        let found = if look.outcome == "not-met" { "broken" } else { "not known" };
        writeln!(out, " and was {found} since {since}: {phrase}; it stopped the run at {at}.")?;
        for warning in &look.warnings {
            writeln!(out, "      warning: {}", plain(warning))?;
        }
        Ok(())
    }

    fn write_fault(&self, out: &mut String, fault: &FaultRecord) -> std::fmt::Result {
        let window = &fault.window;
        write!(out, "  The fault \"{}\" on {}", plain(&window.fault), plain(&fault.targets.join(", ")))?;
        match (window.effective, window.undone.or(window.undo_requested)) {
            (Some(on), Some(off)) => writeln!(out, " was on from {} to {}.", self.offset(on), self.offset(off))?,
            (Some(on), None) => writeln!(out, " is on since {}.", self.offset(on))?,
            (None, _) => writeln!(out, " was requested at {} and never seen.", self.offset(window.requested))?,
        }
        if let Some(why) = &fault.trusted {
            writeln!(out, "    believed without proof: {}", plain(why))?;
        }
        for sighting in &fault.sightings {
            let mark = if sighting.as_expected { "" } else { " (not as expected)" };
            writeln!(out, "    {} ({}): {}{mark}", sighting.when, self.offset(sighting.at), plain(&sighting.saw))?;
        }
        for undo in &fault.undo {
            writeln!(out, "    {}: {}", plain(&undo.undo), plain(&undo.outcome.to_string()))?;
        }
        Ok(())
    }
}

/// Text of others on one line.
fn plain(text: &str) -> String {
    printed(text, MOST)
}

/// The text with a capital first letter.
pub(crate) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Words as a sentence has them: `leave, all and trust`.
#[cfg(feature = "kubernetes")]
pub(crate) fn enumerated(words: &[&str]) -> String {
    match words {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        words => words.join(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_as_in_a_sentence() {
        for (words, told) in [
            (&[][..], ""),
            (&["leave"], "leave"),
            (&["leave", "all"], "leave and all"),
            (&["a", "b", "c"], "a, b and c"),
        ] {
            assert_eq!(enumerated(words), told);
        }
    }
}
