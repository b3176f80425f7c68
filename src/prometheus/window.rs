//! Over which window a check of series looks, in each phase.

use std::time::Duration;

use super::client::NoData;
use super::growth::{FaultOn, Growth, Question, Samples, Window, growth, millis};
use super::selection::Selection;
use super::settle::{Settle, Watched};
use crate::experiment::{Phase, Scene};
use crate::journal::Reason;

/// What a window is anchored to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Anchor {
    /// The method: from its start to the first scrape after its end; between two fresh scrapes where there is none.
    Method,
    /// The first fault: from the scrape before it to the first one after the method. It means nothing elsewhere.
    Fault,
    /// The first scrape after the method, or a fresh one where there is none: the newest value of each series.
    Newest,
    /// The end: so long before the first scrape after the method, or before a fresh one.
    Back(Duration),
}

/// The window of a phase; `None` where the anchor means nothing. `settles` are of all that is looked at.
pub(super) async fn window(
    anchor: Anchor,
    settles: &mut [Settle<'_>],
    scene: &Scene,
    what: &str,
) -> Result<Option<Window>, NoData> {
    let mut windows = Vec::new();
    for settle in settles {
        let Some(window) = of_one(anchor, settle, scene, what).await? else { return Ok(None) };
        windows.push(window);
    }
    // What began together is compared over what all have in common, to the last scrape of the slowest.
    let from = windows.iter().map(|window| window.from).reduce(f64::max);
    let to = windows.iter().map(|window| window.to).reduce(f64::max);
    Ok(from.zip(to).map(|(from, to)| Window { from, to }))
}

async fn of_one(anchor: Anchor, settle: &mut Settle<'_>, scene: &Scene, what: &str) -> Result<Option<Window>, NoData> {
    // Freshness is reckoned from the latest, and what counts from the earliest that an instant can be there.
    let now = settle.not_before(scene.clock.now());
    let window = match (anchor, scene.phase.unguarded()) {
        (Anchor::Back(over), phase) => {
            let anchor =
                if let Phase::Fault { method_ended, .. } = phase { settle.not_before(method_ended) } else { now };
            let to = settle.scraped_after(anchor).await?;
            let from = to - over.as_secs_f64();
            reaches_back(over, from, settle, phase, what)?;
            Window { from, to }
        }
        (Anchor::Newest, phase) => {
            let to = match phase {
                Phase::Gate => settle.scraped_after(now).await?,
                Phase::Recovery { undone } => settle.scraped_after(settle.not_before(undone)).await?,
                Phase::Fault { method_ended, .. } => settle.scraped_after(settle.not_before(method_ended)).await?,
                Phase::Method { method_started } | Phase::Watch { method_started } => {
                    settle.newest_after(settle.not_before(method_started)).await?
                }
                Phase::Safeguard { .. } => return Ok(None),
            };
            Window { from: to - settle.interval(), to }
        }
        (Anchor::Method, Phase::Gate) => settle.between_scrapes_after(now).await?,
        (Anchor::Method, Phase::Recovery { undone }) => {
            let undone = settle.not_before(undone);
            settle.between_scrapes_after(undone).await?
        }
        (Anchor::Fault, Phase::Gate | Phase::Recovery { .. }) => return Ok(None),
        (anchor, phase) => {
            let (started, ended) = match phase {
                Phase::Fault { method_started, method_ended } => (method_started, Some(method_ended)),
                Phase::Method { method_started } | Phase::Watch { method_started } => (method_started, None),
                Phase::Gate | Phase::Recovery { .. } | Phase::Safeguard { .. } => return Ok(None),
            };
            let started = match anchor {
                Anchor::Fault => match scene.faults.windows().1.iter().map(|fault| fault.requested).min() {
                    Some(requested) => requested,
                    None => return Ok(None),
                },
                _ => started,
            };
            let from = settle.not_after(started);
            let to = match ended {
                Some(ended) => settle.scraped_after(settle.not_before(ended)).await?,
                None => settle.newest_after(from).await?,
            };
            Window { from, to }
        }
    };
    Ok(Some(window))
}

/// A window that begins after the method would not see the first failures.
fn reaches_back(over: Duration, from: f64, settle: &Settle<'_>, phase: Phase, what: &str) -> Result<(), NoData> {
    let (what, over) = (what.to_owned(), over.as_secs_f64());
    if over < 2.0 * settle.interval() {
        let why = format!("{over} s is less than two scrapes, which are {} s apart", settle.interval());
        return Err(Reason::WindowTooShort { what, why }.into());
    }
    if let Phase::Fault { method_started, .. } = phase {
        let started = settle.local(method_started);
        if from > started {
            let needed = (over + from - started).ceil();
            let why = format!(
                "it begins {:.1} s after the method; use at least {needed} s, or a window without a length",
                from - started
            );
            return Err(Reason::WindowTooShort { what, why }.into());
        }
    }
    Ok(())
}

/// Selections that are looked at together, over one window.
pub(super) struct Look<'a> {
    pub(super) selections: &'a [&'a Selection],
    pub(super) anchor: Anchor,
    pub(super) when_absent: Option<f64>,
    pub(super) vanished_too: bool,
    pub(super) what: String,
}

impl<'a> Look<'a> {
    /// Of one selection, whose absence is no value.
    pub(super) fn at(selection: &'a &'a Selection, anchor: Anchor, what: &str) -> Self {
        let selections = std::slice::from_ref(selection);
        Self { selections, anchor, when_absent: None, vanished_too: false, what: what.to_owned() }
    }

    /// The samples of each selection over one window; `None` where it means nothing.
    pub(super) async fn samples(&self, scene: &Scene) -> Result<Option<(Window, Vec<Samples>, Vec<FaultOn>)>, NoData> {
        let mut settles = Vec::new();
        for selection in self.selections {
            let settle = Settle::new(&selection.prometheus, scene, &selection.query(), Watched::of(selection)).await?;
            settles.push(settle);
        }
        let Some(window) = window(self.anchor, &mut settles, scene, &self.what).await? else { return Ok(None) };
        let mut samples = Vec::new();
        for (settle, selection) in settles.iter().zip(self.selections) {
            samples.push(settle.samples(selection, window).await?);
        }
        let faults = settles.first().map(|settle| faults_on(settle, scene, window)).unwrap_or_default();
        Ok(Some((window, samples, faults)))
    }

    /// By how much each selection grew over one window; `None` where it means nothing.
    pub(super) async fn growth(&self, scene: &Scene) -> Result<Option<Vec<Growth>>, NoData> {
        let Some((window, samples, faults)) = self.samples(scene).await? else { return Ok(None) };
        let mut all = Vec::new();
        for (selection, samples) in self.selections.iter().zip(&samples) {
            let what = selection.query();
            let question = Question {
                what: &what,
                window,
                interval: samples.interval,
                vanished_too: self.vanished_too,
                since_scrape: self.anchor != Anchor::Fault,
            };
            let mut grown = growth(&question, samples, self.when_absent)?;
            grown.faults.clone_from(&faults);
            all.push(grown);
        }
        Ok(Some(all))
    }
}

/// When faults were on within a window.
pub(super) fn faults_on(settle: &Settle<'_>, scene: &Scene, window: Window) -> Vec<FaultOn> {
    let within = |fault: &crate::journal::FaultWindow| {
        let from = settle.local(fault.effective.unwrap_or(fault.requested)).max(window.from);
        let to = fault.undo_requested.map_or(window.to, |at| settle.local(at)).min(window.to);
        let since = |at: f64| millis(at - window.from);
        (from < to).then(|| FaultOn { fault: fault.fault.clone(), from: since(from), to: since(to) })
    };
    scene.faults.windows().1.iter().filter_map(within).collect()
}
