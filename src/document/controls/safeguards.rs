//! `chaosaddons.controls.safeguards`: probes beside the run that end it when they are out of their tolerance.
//!
//! A value is judged as soon as it is there, and a probe that fails ends the run too: a safeguard that cannot see guards
//! nothing. They end with the hypothesis and the method; rollbacks are never cut short by them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::{At, Given, Hooks, Moment, Stop, Trouble, When};
use crate::clock::Clock;
use crate::document::run::log::{Level, Log};
use crate::document::run::now::Now;

/// What a look at a safeguard came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sampled {
    Within,
    /// Out of its tolerance, and what was seen.
    Out(String),
    /// The probe or its tolerance failed, and why.
    Failed(String),
}

/// Makes a probe and judges it by its `tolerance`.
pub(crate) trait Sample: Sync {
    /// `probe` may be a `ref`. Neither records nor controls: it is no activity of the document.
    fn sample<'a>(&'a self, probe: &'a Value) -> BoxFuture<'a, Sampled>;
}

/// The safeguards of a run, and what they saw.
pub(super) struct Watched {
    clock: Clock,
    log: Log,
    now: Now,
    ask: UnboundedSender<Asked>,
    asked: tokio::sync::Mutex<UnboundedReceiver<Asked>>,
    seen: Mutex<BTreeMap<String, Seen>>,
}

/// Probes that a control wants watched.
struct Asked {
    probes: Vec<Value>,
    /// Told when those that are to be met before the run are.
    met: oneshot::Sender<()>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    looks: u64,
    tripped: Option<String>,
}

impl Watched {
    pub(super) fn new(clock: Clock, log: Log, now: Now) -> Self {
        let (ask, asked) = unbounded_channel();
        Self { clock, log, now, ask, asked: tokio::sync::Mutex::new(asked), seen: Mutex::default() }
    }

    /// Watches whatever is asked for, and ends with the first that is not within its tolerance.
    pub(super) async fn run(&self, sampler: &dyn Sample) -> Stop {
        let mut asked = self.asked.lock().await;
        let mut running: FuturesUnordered<BoxFuture<'_, Option<Stop>>> = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                // The sender is as old as this.
                Some(asked) = asked.recv() => self.begin(asked, sampler, &running),
                Some(done) = running.next(), if !running.is_empty() => {
                    if let Some(stop) = done {
                        return stop;
                    }
                }
            }
        }
    }

    fn begin<'a>(
        &'a self,
        asked: Asked,
        sampler: &'a dyn Sample,
        running: &FuturesUnordered<BoxFuture<'a, Option<Stop>>>,
    ) {
        let mut first = Vec::new();
        for probe in asked.probes {
            match frequency(&probe) {
                Ok(Some(frequency)) => running.push(Box::pin(self.again_and_again(probe, frequency, sampler))),
                Ok(None) if probe["background"] == Value::Bool(true) => {
                    running.push(Box::pin(async move { self.look(&probe, sampler).await }));
                }
                Ok(None) => first.push(probe),
                Err(why) => running.push(Box::pin(async move { Some(self.trip(&probe, why)) })),
            }
        }
        running.push(Box::pin(async move {
            let looks = join_all(first.iter().map(|probe| self.look(probe, sampler))).await;
            let stop = looks.into_iter().flatten().next();
            if stop.is_none() {
                // Whoever waited may have been interrupted.
                let _ = asked.met.send(());
            }
            stop
        }));
    }

    async fn again_and_again(&self, probe: Value, frequency: Duration, sampler: &dyn Sample) -> Option<Stop> {
        loop {
            if let Some(stop) = self.look(&probe, sampler).await {
                return Some(stop);
            }
            self.clock.sleep(frequency).await;
        }
    }

    async fn look(&self, probe: &Value, sampler: &dyn Sample) -> Option<Stop> {
        let found = sampler.sample(probe).await;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(name(probe)).or_default().looks += 1;
        self.now.looked(&name(probe), self.clock.now(), found == Sampled::Within);
        match found {
            Sampled::Within => None,
            Sampled::Out(why) | Sampled::Failed(why) => Some(self.trip(probe, why)),
        }
    }

    fn trip(&self, probe: &Value, why: String) -> Stop {
        let name = name(probe);
        (self.log)(Level::Warning, &format!("the safeguard {name:?}: {why}"));
        let stop = Stop::Interrupt(format!("Safeguard '{name}' triggered the end of the experiment"));
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().tripped = Some(why);
        stop
    }

    /// How often each was looked at, and why it ended the run, by their names; null without any.
    pub(super) fn told(&self) -> Value {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_empty() {
            return Value::Null;
        }
        seen.iter().map(|(name, seen)| (name.clone(), json!({"looks": seen.looks, "tripped": seen.tripped}))).collect()
    }
}

fn name(probe: &Value) -> String {
    probe["name"].as_str().or_else(|| probe["ref"].as_str()).unwrap_or_default().to_owned()
}

/// From the end of a look to the next, if there is to be one.
fn frequency(probe: &Value) -> Result<Option<Duration>, String> {
    match &probe["frequency"] {
        Value::Null => Ok(None),
        value if value.as_f64() == Some(0.0) => Ok(None),
        value => {
            let frequency = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            frequency
                .map(Some)
                .ok_or_else(|| format!("the frequency of a safeguard is a number of seconds, got {value}"))
        }
    }
}

/// The control.
pub(super) struct Safeguards {
    ask: UnboundedSender<Asked>,
}

impl Safeguards {
    pub(super) fn new(watched: &Watched) -> Self {
        Self { ask: watched.ask.clone() }
    }
}

impl Hooks for Safeguards {
    fn validate<'a>(&'a self, control: &'a Value) -> BoxFuture<'a, Result<(), Trouble>> {
        let probes = control["provider"]["arguments"]["probes"].as_array();
        let checked = match probes {
            Some(probes) if !probes.is_empty() => probes.iter().try_for_each(valid),
            _ => Err("a safeguards control needs `probes`, at least one".to_owned()),
        };
        Box::pin(async { checked.map_err(Trouble::Failed) })
    }

    fn hook<'a>(
        &'a self,
        at: At,
        when: When,
        given: &'a Given,
        _: &'a mut Moment,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            if (at, when) != (At::Experiment, When::Before) {
                return Ok(());
            }
            let probes = given.arguments.get("probes").and_then(Value::as_array).cloned().unwrap_or_default();
            let stop = |why: String| Trouble::Stop(Stop::Interrupt(why));
            if probes.is_empty() {
                return Err(stop("a safeguards control without `probes` guards nothing".to_owned()));
            }
            probes.iter().try_for_each(valid).map_err(stop)?;
            let (met, are_met) = oneshot::channel();
            let gone = || stop("nobody watches the safeguards".to_owned());
            self.ask.send(Asked { probes, met }).map_err(|_| gone())?;
            // If they are not met, the run is stopped meanwhile.
            are_met.await.map_err(|_| gone())
        })
    }
}

fn valid(probe: &Value) -> Result<(), String> {
    let name = name(probe);
    if probe.get("ref").is_none() && probe["type"] != "probe" {
        return Err(format!("the safeguard {name:?} must be of the type `probe`"));
    }
    if probe.get("ref").is_none() && probe.get("tolerance").is_none() {
        return Err(format!("the safeguard {name:?} must have a tolerance"));
    }
    frequency(probe).map(drop)
}
