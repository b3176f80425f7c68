//! Safeguards: checks that stop an experiment before it does more harm than it may.
//!
//! The engine, and [`Run::guarded`](super::Run::guarded), look at them beside what is being done. What they promise: a
//! look's outcome stops the run as soon as the look ends, whatever is being done then; nothing counts as holding that
//! was not seen to hold; what stopped the run stands in the journal with its evidence.

use std::collections::BTreeSet;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join_all, select_all};

use super::hypothesis::{CheckFailed, looked};
use super::recorder::Recorder;
use super::{Check, ExperimentError, Phase};
use crate::BoxError;
use crate::journal::{Breach, CheckRecord, EventKind, Reason, SafeguardLook, SafeguardRecord};

/// The time between two looks. Alerts are evaluated each 15 s or less often: looking at them more often finds nothing sooner.
const EVERY: Duration = Duration::from_secs(2);

/// The least time between two looks: without any the clock of the lab would stand still.
const LEAST: Duration = Duration::from_millis(10);

/// How long a look may take under the faults: a check of series may have to wait for a scrape, usually once a minute at most.
const LOOK_WITHIN: Duration = Duration::from_secs(90);

/// A check that must hold while an experiment runs, or everything is stopped and undone at once.
///
/// It is looked at before the hypothesis is judged for the first time, and then again and again until the faults are
/// undone. When it is not met, the step, the pause or the load that is running is cut short, everything is undone, and
/// the verdict is [`Inconclusive`](crate::journal::Verdict::Inconclusive) with
/// [`SafeguardBroken`](Reason::SafeguardBroken), unless the hypothesis was seen to deviate before. When it cannot be
/// judged the same happens with [`SafeguardUnknown`](Reason::SafeguardUnknown): nobody knows then whether it is safe to
/// go on. What does not apply counts neither way until a fault is on; under a fault it guards nothing, which is as if
/// it could not be judged. A plan refuses what never applies: figures of a load, which has them when it has ended, and
/// what asks how soon a series is back after the faults.
///
/// ```
/// # use steadfast::prelude::*;
/// use steadfast::lab::AlertRule;
///
/// steadfast::block_on(async |cluster| {
///     steadfast::shop(&cluster).await?;
///     cluster.lab()?.alert(AlertRule::new("CallsFail", "rate(failed_call_total[10s]) > 0"))?;
///     let shop = cluster.namespace("default");
///     let front = shop.service("front").url("/");
///     let served = Hypothesis::new("customers are served").check(http::get(&front).expect(status(200)));
///
///     let journal = Experiment::new("back is cut off, until somebody would be paged", served)
///         .safeguard(Safeguard::new(shop.prometheus().alert("CallsFail").stays_silent()).every(secs(1)))
///         .background(&load::get(&front).per_second(10).lasting(secs(600)))
///         .inject(shop.pods("app=back").deny_ingress())
///         .run(&cluster)
///         .await?;
///     journal.assert_verdict(Inconclusive);
///     assert!(journal.summary().contains("it stopped the run at"));
///     Ok(())
/// });
/// ```
#[derive(Clone)]
#[must_use = "a safeguard does nothing until an experiment has it: `.safeguard(..)`"]
pub struct Safeguard {
    check: Arc<dyn Check>,
    every: Duration,
    unknown_for: Duration,
    look_within: Duration,
    /// Where an experiment was given it.
    pub(super) location: &'static Location<'static>,
}

impl Safeguard {
    /// A check that must hold, looked at every 2 s.
    #[track_caller]
    pub fn new(check: impl Check) -> Self {
        Self {
            check: Arc::new(check),
            every: EVERY,
            unknown_for: Duration::ZERO,
            look_within: LOOK_WITHIN,
            location: Location::caller(),
        }
    }

    /// The time between the beginnings of two looks, at least 10 ms; a look that takes longer is followed by the next at once.
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = interval.max(LEAST);
        self
    }

    /// Goes on although it cannot be judged, for this long at a stretch; not at all by default. `Duration::MAX` never stops
    /// for that.
    pub fn unknown_for(mut self, duration: Duration) -> Self {
        self.unknown_for = duration;
        self
    }

    /// How long one look may take once the method has begun, 90 s by default. One that takes longer could not be judged.
    pub fn look_within(mut self, duration: Duration) -> Self {
        self.look_within = duration;
        self
    }

    pub(super) fn at(mut self, location: &'static Location<'static>) -> Self {
        self.location = location;
        self
    }

    pub(super) fn describe(&self) -> String {
        self.check.describe()
    }

    /// When it is looked at and what stops the run, for the plan.
    pub(super) fn terms(&self) -> String {
        let unknown = match self.unknown_for {
            Duration::ZERO => "stops as well when it cannot be judged".to_owned(),
            Duration::MAX => "goes on when it cannot be judged".to_owned(),
            duration => format!("goes on for {duration:?} when it cannot be judged"),
        };
        format!("looked at every {:?}; {unknown}", self.every)
    }

    /// As [`Check::validate`] and [`Check::examine`], the latter in the phase in which it will be looked at.
    pub(super) async fn examine(&self, scene: &super::Scene) -> Result<Vec<String>, BoxError> {
        self.check.validate()?;
        let phase = Phase::Safeguard { method_started: None };
        self.check.examine(&super::Scene { phase, ..scene.clone() }).await
    }
}

impl<C: Check> From<C> for Safeguard {
    #[track_caller]
    fn from(check: C) -> Self {
        Self::new(check)
    }
}

/// The safeguards of a run, each with what is known of it.
pub(super) struct Watch<'a> {
    posts: Vec<Post<'a>>,
}

/// One safeguard that is watched.
struct Post<'a> {
    recorder: &'a Recorder,
    safeguard: &'a Safeguard,
    /// Of its record in the journal.
    number: usize,
    /// What the last look found.
    found: Option<String>,
    /// The first look of those at a stretch that found nothing, on the run's clock and on the wall.
    unknown_since: Option<(Duration, crate::clock::Timestamp)>,
}

impl<'a> Watch<'a> {
    /// Records them; nothing is looked at yet.
    pub(super) fn begin(recorder: &'a Recorder, safeguards: &'a [Safeguard]) -> Self {
        recorder.measured.look_at(safeguards.iter().map(|safeguard| &safeguard.check));
        let post = |safeguard: &'a Safeguard| {
            let mut journal = recorder.journal();
            journal.safeguards.push(SafeguardRecord {
                check: safeguard.describe(),
                location: safeguard.location.to_string(),
                every: safeguard.every,
                unknown_for: safeguard.unknown_for,
                looks: 0,
                unknown: 0,
                held_at: None,
                broken: None,
                looked: Vec::new(),
            });
            let number = journal.safeguards.len() - 1;
            Post { recorder, safeguard, number, found: None, unknown_since: None }
        };
        Self { posts: safeguards.iter().map(post).collect() }
    }

    /// Looks at each once; why nothing may begin, if so.
    pub(super) async fn look(&mut self) -> Option<Reason> {
        let looks = join_all(self.posts.iter_mut().map(Post::look)).await;
        looks.into_iter().flatten().next()
    }

    /// Looks at each again and again; ends when the run has to stop, with the reason.
    pub(super) async fn broken(&mut self) -> Reason {
        if self.posts.is_empty() {
            return std::future::pending().await;
        }
        let posts: Vec<BoxFuture<'_, Reason>> = self.posts.iter_mut().map(|post| post.broken().boxed()).collect();
        select_all(posts).await.0
    }
}

impl Post<'_> {
    async fn broken(&mut self) -> Reason {
        loop {
            let due = self.recorder.clock.elapsed() + self.safeguard.every;
            if let Some(reason) = self.look().await {
                return reason;
            }
            self.recorder.clock.sleep(due.saturating_sub(self.recorder.clock.elapsed()).max(LEAST)).await;
        }
    }

    /// Looks once and records what was found; why the run has to stop, if so.
    async fn look(&mut self) -> Option<Reason> {
        let recorder = self.recorder;
        let (began, since) = (recorder.clock.elapsed(), recorder.clock.now());
        let look = self.look_in_time().await;
        let unknown = look.outcome == "inconclusive";
        if self.found.replace(look.outcome.clone()).as_ref() != Some(&look.outcome) {
            recorder.event(EventKind::SafeguardLooked, &look.check, &look.phrase);
        }
        let kept = SafeguardLook { at: since, outcome: look.outcome.clone(), phrase: look.phrase.clone() };
        let (since, stops) = if unknown {
            let (first, since) = *self.unknown_since.get_or_insert((began, since));
            let stretch = recorder.clock.elapsed().saturating_sub(first);
            (since, stretch >= self.safeguard.unknown_for)
        } else {
            self.unknown_since = None;
            (since, look.outcome == "not-met")
        };
        let mut journal = recorder.journal();
        let record = &mut journal.safeguards[self.number];
        record.looks += 1;
        record.keep(kept);
        record.unknown += u64::from(unknown);
        if look.outcome == "met" {
            record.held_at = Some(since);
        }
        if !stops {
            return None;
        }
        let (check, phrase) = (look.check.clone(), look.phrase.clone());
        record.broken = Some(Breach { since, at: recorder.clock.now(), look });
        let reason = record.reason();
        drop(journal);
        recorder.event(EventKind::SafeguardBroken, &check, &phrase);
        reason
    }

    async fn look_in_time(&self) -> CheckRecord {
        let method_started = self.recorder.method_started();
        let scene = self.recorder.scene(Phase::Safeguard { method_started });
        let Safeguard { check, look_within, location, .. } = self.safeguard;
        let unknown = |reason: Reason| CheckRecord {
            check: check.describe(),
            outcome: "inconclusive".to_owned(),
            phrase: reason.to_string(),
            relation: "unknown".to_owned(),
            reason: Some(reason),
            evidence: serde_json::Value::Null,
            from: None,
            to: None,
            faults_over: false,
            warnings: Vec::new(),
            infos: Vec::new(),
        };
        // Under the fault is no phase of a safeguard.
        let none = BTreeSet::new();
        let no_look = |why: String| unknown(Reason::Unavailable { what: check.describe(), why });
        let too_long = async {
            match method_started {
                Some(_) => self.recorder.clock.sleep(*look_within).await,
                // Nothing is on: it may wait for two scrapes.
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            look = looked(&**check, &scene, &none, location) => match look {
                Ok(look) if look.outcome == "not-applicable" && self.under_a_fault() => {
                    unknown(Reason::NothingApplies { phase: scene.phase.name().to_owned() })
                }
                Ok(look) => look,
                Err(CheckFailed { source, .. }) => no_look(format!("it failed: {source}")),
            },
            () = too_long => no_look(format!("it took longer than {look_within:?}")),
        }
    }

    fn under_a_fault(&self) -> bool {
        self.recorder.journal().faults.iter().any(|fault| fault.window.effective.is_some())
    }
}

/// Does something beside safeguards; stops it when one of them says so.
pub(super) async fn beside<T, E>(
    watch: &mut Watch<'_>,
    work: impl Future<Output = Result<T, E>>,
    stop: impl FnOnce(Reason) -> E,
) -> Result<T, E> {
    tokio::select! {
        biased;
        reason = watch.broken() => Err(stop(reason)),
        done = work => done,
    }
}

/// A safeguard that is wrong already.
pub(super) fn invalid(safeguard: &Safeguard, source: BoxError) -> ExperimentError {
    let (what, location) = (format!("safeguard {}", safeguard.describe()), safeguard.location.to_string());
    ExperimentError::Invalid { what, location, source }
}
