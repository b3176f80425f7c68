//! What a run showed, in a sentence, and what became of its changes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::text::line;
use crate::clock::Timestamp;
use crate::journal::{
    CheckRecord, Ended, Evaluation, EventKind, FaultEnd, FaultRecord, FinallyRecord, Journal, Reason, Source,
    UNDER_FAULT, UndoRecord, Verdict, WATCHED, capital,
};
use crate::rollback::{IN_CLUSTER, is_sweep_command, put_back, quoted, sweep_command};

/// The most letters of one name or phrase in a sentence.
const MOST: usize = 240;

/// What is said of a rollback that the experiment chose not to have.
const LEFT_OUT: &str = "left out by the rollback strategy";

/// What became of a run's changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// In one word.
    pub state: RollbackState,
    /// What is left or not known to be gone, each in words.
    pub left: Vec<String>,
    /// What a person can do about it, commands first; empty where nothing has to be done.
    pub remedies: Vec<String>,
}

/// How a rollback ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RollbackState {
    /// Nothing was changed.
    NotNeeded,
    /// All is undone, and read back.
    Complete,
    /// Something is left by its user's choice, a fault or what the rollback strategy leaves out; the rest is undone.
    Left,
    /// All is undone, but the effect of a fault was still seen when the time of its witness was up.
    NotBack,
    /// Some of it is undone, the rest is left or not known to be gone.
    Partial,
    /// Nothing of it is known to be undone.
    Failed,
    /// The run has not ended as far as its journal knows: it was killed, or is still running.
    Unknown,
}

impl fmt::Display for RollbackState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotNeeded => "nothing to undo",
            Self::Complete => "complete",
            Self::Left => "left by choice",
            Self::NotBack => "undone, but not back",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Unknown => "not known",
        })
    }
}

impl RollbackState {
    /// Whether nothing is left to be done.
    #[must_use]
    pub fn is_clean(self) -> bool {
        matches!(self, Self::NotNeeded | Self::Complete)
    }
}

impl Journal {
    /// What the run showed, in one sentence; before it, in another one, what is left of the run if anything is.
    ///
    /// It says "held" only where the journal has the evaluations that show it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let rollback = self.rollback();
        let left = match rollback.state {
            RollbackState::NotNeeded | RollbackState::Complete => String::new(),
            RollbackState::Left => format!("Something is left of this run: {}. ", listed(&rollback.left)),
            RollbackState::NotBack => {
                format!("Everything is undone, but not back as it was: {}. ", listed(&rollback.left))
            }
            RollbackState::Partial | RollbackState::Failed => {
                format!("Something may be left of this run: {}. ", listed(&rollback.left))
            }
            RollbackState::Unknown if rollback.left.is_empty() => String::new(),
            RollbackState::Unknown => format!("Something may be left of this run: {}. ", listed(&rollback.left)),
        };
        left + &capital(&self.finding()) + "."
    }

    /// What became of everything that the run changed, and what a person can do about the rest.
    #[must_use]
    pub fn rollback(&self) -> Rollback {
        let mut left: Vec<String> = self.not_undone().iter().map(|left| line(left, MOST).into_owned()).collect();
        let due = self.finally.iter().filter(|step| !step.run && step.error.is_none() && self.reached_method());
        let (left_out, not_run): (Vec<_>, Vec<_>) = due.partition(|step| self.leaves_out(step));
        let not_run: Vec<_> = not_run.iter().map(|step| format!("{}: not run", line(&step.name, MOST))).collect();
        let chosen = self.faults.iter().filter(|fault| fault.end == FaultEnd::Left);
        let chosen = chosen.map(|fault| format!("{}: left on by choice", line(&fault.window.fault, MOST)));
        let left_out = left_out.iter().map(|step| format!("{}: {LEFT_OUT}", line(&step.name, MOST)));
        let chosen: Vec<_> = chosen.chain(left_out).collect();
        let mut remedies = self.by_hand();
        let state = if self.ended == Ended::Running {
            let open = self.faults.iter().filter(|fault| fault.end == FaultEnd::None);
            left.extend(open.map(|fault| format!("{}: on when this was written", fault_name(fault))));
            left.extend(not_run);
            RollbackState::Unknown
        } else if !left.is_empty() {
            left.extend(not_run);
            left.extend(chosen);
            let undos = self.faults.iter().flat_map(|fault| &fault.undo);
            let any = undos.clone().any(|undo| undo.outcome.is_clean())
                || self.finally.iter().any(|step| step.run && step.error.is_none());
            if any { RollbackState::Partial } else { RollbackState::Failed }
        } else if !self.not_back().is_empty() {
            left = self.not_back().iter().map(|left| line(left, MOST).into_owned()).collect();
            remedies.clear();
            left.extend(not_run);
            left.extend(chosen);
            RollbackState::NotBack
        } else if !not_run.is_empty() {
            left = not_run;
            left.extend(chosen);
            RollbackState::Partial
        } else if !chosen.is_empty() {
            left = chosen;
            RollbackState::Left
        } else if self.faults.is_empty() && !self.finally.iter().any(|step| step.run) {
            RollbackState::NotNeeded
        } else {
            RollbackState::Complete
        };
        let swept = match state {
            RollbackState::Partial | RollbackState::Failed => true,
            RollbackState::Unknown => !left.is_empty(),
            RollbackState::NotNeeded | RollbackState::Complete | RollbackState::NotBack | RollbackState::Left => false,
        };
        if state == RollbackState::Left {
            remedies = vec!["undo it by hand when it has done its work: it was left by choice".to_owned()];
        } else if swept {
            remedies.push(self.sweep_line());
        } else if state == RollbackState::NotBack {
            remedies.push("look at the targets: what was changed is as it was, the system is not".to_owned());
        }
        if self.on_the_lab() && swept {
            // It was in the memory of the process that ran it.
            remedies = vec!["nothing to do: the embedded lab went with its process".to_owned()];
        }
        Rollback { state, left, remedies }
    }

    /// A command for each undo that is not known to be done.
    fn by_hand(&self) -> Vec<String> {
        let kubeconfig = self.kubeconfig.as_ref().map(|file| quoted(&file.to_string_lossy()));
        let file = kubeconfig.map(|file| format!("KUBECONFIG={file} ")).unwrap_or_default();
        // Inside of a cluster kubectl finds it by itself.
        let context = self.context().filter(|context| is_plain(context) && *context != IN_CLUSTER);
        let context = context.map(|context| format!(" --context {context}")).unwrap_or_default();
        let undos = self.faults.iter().flat_map(|fault| &fault.undo).filter(|undo| !undo.outcome.is_clean());
        let mut commands: Vec<String> =
            undos.filter_map(command).map(|command| file.clone() + &command + &context).collect();
        commands.dedup();
        commands
    }

    /// The command that sweeps the cluster. A journal of an older version knows of it only what it says in words; what
    /// another one says there is not offered to be run, nor is half of a command.
    fn sweep_line(&self) -> String {
        let ours = |sweep: &&String| {
            is_sweep_command(sweep, self.kubeconfig.as_deref()) && line(sweep, 20 * MOST) == sweep.as_str()
        };
        match (self.sweep.as_ref().filter(ours), self.context()) {
            (Some(sweep), _) => sweep.clone(),
            (None, Some(context)) if is_plain(context) => sweep_command(context, None),
            (None, _) => "steadfast sweep".to_owned(),
        }
    }

    /// The context's name, where it is a cluster over a network.
    fn context(&self) -> Option<&str> {
        self.cluster.strip_prefix("context \"")?.split('"').next()
    }

    fn on_the_lab(&self) -> bool {
        self.cluster == "the embedded lab"
    }

    /// Whether the rollback strategy left a step of `finally` out. An older version wrote nothing else of one that was not run
    /// where the engine came to it.
    pub(super) fn leaves_out(&self, step: &FinallyRecord) -> bool {
        let ended_early = matches!(self.ended, Ended::Running | Ended::Interrupted { .. } | Ended::Cancelled);
        let not_run = !step.run && step.error.is_none() && self.reached_method();
        step.left_out || not_run && !ended_early
    }

    pub(super) fn reached_method(&self) -> bool {
        self.events.iter().any(|event| event.kind == EventKind::MethodStarted)
    }

    /// The sentence without its capital and its full stop.
    fn finding(&self) -> String {
        let mut sentence = match self.verdict {
            _ if self.ended == Ended::Running => return self.unended(),
            Verdict::Met => self.met(),
            Verdict::Deviated => self.deviated(),
            Verdict::Inconclusive => self.inconclusive(),
            Verdict::NotJudged => self.not_judged(),
        };
        let said = matches!(
            self.reason,
            Some(Reason::EndedBefore { .. } | Reason::SafeguardBroken { .. } | Reason::SafeguardUnknown { .. })
        );
        if !said && let Some(end) = self.end() {
            sentence.push_str("; ");
            sentence.push_str(&end);
        }
        if let Some(recovery) = self.recovery() {
            sentence.push_str("; ");
            sentence.push_str(&recovery);
        }
        sentence
    }

    fn unended(&self) -> String {
        let written = self.events.last().map_or(self.finished, |event| event.at);
        let sofar = match self.verdict {
            Verdict::Deviated => format!("until then {}", self.deviated()),
            _ => "nothing is known of its hypothesis".to_owned(),
        };
        format!(
            "the run has not ended as far as its journal knows, which was last written {} after its start: it was killed, or is still running; {sofar}",
            self.offset(written)
        )
    }

    fn met(&self) -> String {
        let judged: Vec<_> = self.judged().collect();
        let all_met = judged.iter().all(|evaluation| evaluation.verdict == Verdict::Met);
        let checks: Vec<_> = judged.iter().flat_map(|e| &e.checks).filter(|check| check.outcome == "met").collect();
        if let (true, Some(fault)) = (all_met, self.unproved()) {
            return format!("the journal says met, but nothing in it shows that {} had an effect", fault_name(fault));
        }
        if !all_met || checks.is_empty() {
            return "the journal says met, but holds no evaluation that shows it: take it as inconclusive".to_owned();
        }
        let last = judged.last().map(|e| e.checks.iter().filter(|check| check.outcome == "met").collect::<Vec<_>>());
        let held = match &last.unwrap_or_default()[..] {
            [check] => observed(check),
            several => format!("all {} checks held", several.len()),
        };
        let times = if judged.len() > 1 { format!(" each of {} times", judged.len()) } else { String::new() };
        format!("{}{held}{times}", self.lead(false))
    }

    /// Whether the journal holds what a verdict of "met" rests on.
    pub(super) fn shows_met(&self) -> bool {
        let met = |check: &CheckRecord| check.outcome == "met";
        self.unproved().is_none()
            && self.judged().all(|evaluation| evaluation.verdict == Verdict::Met)
            && self.judged().flat_map(|evaluation| &evaluation.checks).any(met)
    }

    /// A fault that nothing showed and that nobody believes without that.
    fn unproved(&self) -> Option<&FaultRecord> {
        self.faults.iter().find(|fault| !fault.proved && fault.trusted.is_none())
    }

    fn deviated(&self) -> String {
        let missed: Vec<_> = self.judged().filter(|e| e.verdict == Verdict::Deviated).collect();
        let Some(first) = missed.first() else {
            return format!("{}the hypothesis did not hold; the journal does not say which check", self.lead(false));
        };
        let mut broken = first.checks.iter().filter(|check| check.outcome == "not-met");
        let Some(check) = broken.next() else {
            return format!("{}the hypothesis did not hold; the journal does not say which check", self.lead(false));
        };
        let others = match broken.count() {
            0 => String::new(),
            1 => ", and 1 more check did not hold".to_owned(),
            more => format!(", and {more} more checks did not hold"),
        };
        format!("{}{}{others}", self.lead(check.faults_over), observed(check))
    }

    fn inconclusive(&self) -> String {
        let at = |stamp: &str| stamp.parse().map_or_else(|_| line(stamp, 40).into_owned(), |at| self.offset(at));
        let Some(reason) = &self.reason else {
            return format!(
                "{}it is not known whether the hypothesis held, and the journal does not say why",
                self.lead(false)
            );
        };
        let stopped = if self.rollback().state.is_clean() { "stopped and undone" } else { "stopped" };
        match reason {
            Reason::GateMissed { check, phrase } => {
                let check = subject(check, phrase);
                format!(
                    "the method did not run, as the hypothesis did not hold before it: {check} {}",
                    line(phrase, MOST)
                )
            }
            _ if self.ended == Ended::GateMissed => {
                let why = line_of(reason);
                format!("the method did not run, as nothing showed that the hypothesis held before it: {why}")
            }
            Reason::FaultEndedEarly { fault, by, at: noticed } => format!(
                "it is not known whether the hypothesis held, as the fault \"{}\" ended early: {} (noticed at {})",
                line(fault, MOST),
                line(by, MOST),
                at(noticed)
            ),
            Reason::FaultNotProved { fault, why } => format!(
                "it is not known whether the hypothesis held, as nothing shows that the fault \"{}\" had an effect: {}",
                line(fault, MOST),
                line(why, MOST)
            ),
            Reason::EndedBefore { why } => {
                format!("the run ended before the hypothesis was judged: {}", line(why, MOST))
            }
            Reason::SafeguardBroken { check, since, phrase } => format!(
                "the safeguard \"{}\" was broken at {}, so everything was {stopped}: {}",
                line(check, MOST),
                at(since),
                line(phrase, MOST)
            ),
            Reason::SafeguardUnknown { check, since, why } => format!(
                "the safeguard \"{}\" could not be judged since {}, so everything was {stopped}: {}",
                line(check, MOST),
                at(since),
                line(why, MOST)
            ),
            Reason::NothingApplies { phase } => {
                format!(
                    "{}it is not known whether the hypothesis held: none of its checks means anything {}",
                    self.lead(false),
                    line(phase, 80)
                )
            }
            Reason::Unavailable { .. }
            | Reason::NoData { .. }
            | Reason::StaleData { .. }
            | Reason::WindowTooShort { .. }
            | Reason::NotANumber { .. }
            | Reason::InvalidLoad { .. } => {
                let over = self.judged().flat_map(|evaluation| &evaluation.checks).any(|check| check.faults_over);
                format!("{}it is not known whether the hypothesis held: {}", self.lead(over), line_of(reason))
            }
        }
    }

    fn not_judged(&self) -> String {
        let why = match &self.hypothesis {
            None => "nothing was judged, as the experiment has no hypothesis",
            Some(_) => "the hypothesis was not judged under the faults",
        };
        format!("{}{why}", self.lead(false))
    }

    /// How the run ended, where it did not come to the end of its method.
    fn end(&self) -> Option<String> {
        Some(match &self.ended {
            Ended::Completed | Ended::GateMissed | Ended::Running => return None,
            Ended::Failed { error } => format!("the run failed: {}", line(error, MOST)),
            Ended::Panicked { message } => format!("a closure of the experiment panicked: {}", line(message, MOST)),
            Ended::Interrupted { signal } => format!("the run was interrupted by {}", line(signal, 20)),
            Ended::Stopped { by } => format!("the run was stopped by {}", line(by, MOST)),
            Ended::Cancelled => "the run was dropped before its end".to_owned(),
        })
    }

    /// Whether the hypothesis held again after the undo, as the journal shows it.
    fn recovery(&self) -> Option<String> {
        let last = self.evaluations.iter().rfind(|evaluation| evaluation.phase == "after the rollback");
        match (self.recovered, last) {
            (Verdict::NotJudged, _) => None,
            (Verdict::Met, Some(last)) if last.verdict == Verdict::Met => {
                Some(match last_undo(&self.faults, last.started) {
                    Some(undone) => format!("recovered within {} of the undo", between(undone, last.ended)),
                    None => "recovered".to_owned(),
                })
            }
            (Verdict::Met | Verdict::Inconclusive, _) => {
                let why = last.and_then(|last| last.reason.as_ref()).map(|why| format!(": {}", line_of(why)));
                Some(format!("whether it recovered is not known{}", why.unwrap_or_default()))
            }
            (Verdict::Deviated, last) => {
                let missed = last.and_then(|last| last.checks.iter().find(|check| check.outcome == "not-met"));
                let missed = missed.map(|check| format!(": {}", observed(check))).unwrap_or_default();
                let undone = last.and_then(|last| Some((last_undo(&self.faults, last.started)?, last.ended)));
                Some(match undone {
                    Some((undone, looked)) => {
                        format!("it had not recovered {} after the undo{missed}", between(undone, looked))
                    }
                    None => format!("it did not recover{missed}"),
                })
            }
        }
    }

    /// The evaluations that the verdict rests on.
    pub(super) fn judged(&self) -> impl Iterator<Item = &Evaluation> {
        self.evaluations.iter().filter(|evaluation| [UNDER_FAULT, WATCHED].contains(&&*evaluation.phase))
    }

    /// `while ingress to … was denied for 8.9 s, `; of what was seen when it was over, `after`.
    fn lead(&self, over: bool) -> String {
        let when = if over { "after" } else { "while" };
        let on: Vec<_> = self.faults.iter().filter(|fault| fault.window.effective.is_some()).collect();
        match &on[..] {
            [] if self.source == Source::ChaosToolkit && !self.steps.is_empty() => {
                "after a method whose effects nobody has looked at, ".to_owned()
            }
            [] if self.faults.is_empty() => "without any fault, ".to_owned(),
            [] => "although no fault was seen to have an effect, ".to_owned(),
            [fault] => format!("{when} {} for {}, ", was_on(fault), self.on_for(fault)),
            [one, other] => format!(
                "{when} {} for {} and {} for {}, ",
                was_on(one),
                self.on_for(one),
                was_on(other),
                self.on_for(other)
            ),
            [first, rest @ ..] => {
                format!("{when} {} for {} and {} more faults were on, ", was_on(first), self.on_for(first), rest.len())
            }
        }
    }

    fn on_for(&self, fault: &FaultRecord) -> String {
        let window = &fault.window;
        let until = window.undo_requested.or(window.undone).unwrap_or(self.finished);
        between(window.effective.unwrap_or(window.requested), until)
    }
}

/// A fault's name as what happened, for those whose name begins with what they do.
fn was_on(fault: &FaultRecord) -> String {
    let name = &*line(&fault.window.fault, MOST);
    let believed = if fault.proved { "" } else { " (believed without proof)" };
    let done = name.split_once(' ').and_then(|(verb, object)| {
        Some(match verb {
            "deny" => format!("{object} was denied"),
            "cordon" => format!("{object} was cordoned"),
            "blackhole" => format!("{object} was cut off from its pods"),
            "scale" => {
                let (what, replicas) = object.rsplit_once(" to ")?;
                format!("{what} was scaled to {replicas}")
            }
            _ => return None,
        })
    });
    done.unwrap_or_else(|| format!("the fault \"{name}\" was on")) + believed
}

/// What a check looks at, without what it expects: the phrase says that.
fn subject(check: &str, phrase: &str) -> String {
    let expected = [", as expected (", ", expected ", "; expected "];
    let expected = expected.iter().find_map(|mark| Some((mark, phrase.rsplit_once(mark)?.1)));
    let expected =
        expected.map(|(mark, rest)| if mark.ends_with('(') { rest.strip_suffix(')').unwrap_or(rest) } else { rest });
    let looked = expected.and_then(|expected| check.strip_suffix(expected)?.strip_suffix(": "));
    line(looked.unwrap_or(check), MOST).into_owned()
}

/// A check and what it saw: `failed_call_total grew by 43, expected at most 0`.
fn observed(check: &CheckRecord) -> String {
    let subject = subject(&check.check, &check.phrase);
    let grown = check.evidence["total"].as_f64().zip(subject.strip_prefix("growth of "));
    if let (Some((total, series)), Some((_, expected))) = (grown, check.phrase.rsplit_once(", expected ")) {
        let least = if check.evidence["least"].as_f64() == Some(total) { "" } else { " at least" };
        let grown = check.evidence["least"].as_f64().unwrap_or(total);
        return format!("{series} grew by{least} {grown}, expected {}", line(expected, MOST));
    }
    format!("{subject} {}", line(&check.phrase, MOST))
}

fn fault_name(fault: &FaultRecord) -> String {
    format!("\"{}\"", line(&fault.window.fault, MOST))
}

/// A reason in words, without its quotation of names in Rust's form.
fn line_of(reason: &Reason) -> String {
    line(&reason.to_string(), MOST).into_owned()
}

/// When the last fault was undone before an instant.
pub(super) fn last_undo(faults: &[FaultRecord], before: Timestamp) -> Option<Timestamp> {
    let undone = faults.iter().filter_map(|fault| fault.window.undone.or(fault.window.undo_requested));
    undone.filter(|undone| *undone <= before).max()
}

/// `8.9 s`.
pub(super) fn between(from: Timestamp, to: Timestamp) -> String {
    format!("{:.1} s", to.duration_since(from).as_secs_f64())
}

/// The command that does by hand what an undo says; `None` where a ledger is needed for it, or its names are not such.
fn command(record: &UndoRecord) -> Option<String> {
    let (undo, mut values) = (&*record.undo, String::new());
    let (verb, object) = if let Some(object) = undo.strip_prefix("delete ") {
        ("delete", object)
    } else if let Some(fields) = undo.strip_prefix("restore ") {
        let object = fields.rsplit_once(" of ")?.1;
        // Whoever wrote the journal: what a Secret held is not shown. `put_back` knows of secrets elsewhere.
        let told = if object.starts_with("secret ") { None } else { put_back(&record.values) };
        let verb = if told.is_some() { "patch" } else { "edit" };
        values = told.unwrap_or_default();
        (verb, object)
    } else {
        ("get", undo.strip_prefix("see that ")?.strip_suffix(" was deleted")?)
    };
    let (kind, name) = object.split_once(' ')?;
    let (name, namespace) = match name.split_once('/') {
        Some((namespace, name)) => (name, format!(" -n {namespace}")),
        None => (name, String::new()),
    };
    let plain = is_plain(kind) && is_plain(name) && namespace.strip_prefix(" -n ").is_none_or(is_plain);
    plain.then(|| format!("kubectl {verb} {kind} {name}{namespace}{values}"))
}

/// Whether a shell takes it as it is: what is copied from a report must do what it says.
fn is_plain(word: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "-._:@/".contains(letter);
    word.chars().next().is_some_and(|first| first.is_ascii_alphanumeric()) && word.chars().all(letter)
}

fn listed(what: &[String]) -> String {
    match what {
        [] => String::new(),
        [one] => one.clone(),
        [one, other] => format!("{one}; {other}"),
        [one, other, rest @ ..] => format!("{one}; {other}; and {} more", rest.len()),
    }
}

#[cfg(test)]
mod tests;
