//! What is measured while a run goes on, for reports. No verdict rests on it, and nothing is waited for long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use super::recorder::Recorder;
use super::{Check, Phase, Place};
use crate::clock::Timestamp;
#[cfg(feature = "load")]
use crate::journal::LoadSeries;
#[cfg(feature = "kubernetes")]
use crate::journal::LogExcerpt;
use crate::journal::{Bound, MOST_SERIES, MetricSeries, Telemetry};

/// How long a run waits at its end for what is to be drawn.
const WITHIN: Duration = Duration::from_secs(5);

/// The most time before a run that is drawn of its series.
const MOST_BEFORE: Duration = Duration::from_secs(300);

/// The most cluster events that are kept: the last ones.
const MOST_EVENTS: usize = 500;

/// The time that a timeline shows: a run's, and some before it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Stretch {
    /// When the run started; samples count from there.
    pub started: Timestamp,
    /// How long before that its series are shown: as long as it took, and 5 minutes at most.
    pub before: Duration,
}

/// Draws what a tolerance expects of values. What counts is judged by its growth, which is no line on its values.
pub(crate) fn bounded(mut series: Vec<MetricSeries>, bounds: &[Bound]) -> Vec<MetricSeries> {
    for one in series.iter_mut().filter(|one| !one.counter) {
        one.bounds = bounds.to_vec();
    }
    series
}

/// What is measured, and the checks whose series are to be had at the end.
#[derive(Clone, Default)]
pub(crate) struct Measured(Arc<Mutex<Parts>>);

#[derive(Default)]
struct Parts {
    telemetry: Telemetry,
    checks: Vec<Arc<dyn Check>>,
}

impl Measured {
    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a load over time.
    #[cfg(feature = "load")]
    pub(crate) fn load(&self, load: LoadSeries) {
        self.parts().telemetry.loads.push(load);
    }

    /// Keeps the figures of the load of this name that ended last and is no step of its own.
    #[cfg(feature = "cli")]
    pub(crate) fn figures(&self, load: &str, figures: serde_json::Value) {
        if let Some(known) = self.parts().telemetry.loads.iter_mut().rfind(|known| known.load == load) {
            known.figures = figures;
        }
    }

    /// Keeps lines of a log.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn log(&self, log: LogExcerpt) {
        self.parts().telemetry.logs.push(log);
    }

    /// Keeps checks, those that ask the same once.
    pub(super) fn look_at<'a>(&self, checks: impl Iterator<Item = &'a Arc<dyn Check>>) {
        let known = &mut self.parts().checks;
        for check in checks {
            if !known.iter().any(|known| Arc::ptr_eq(known, check) || known.describe() == check.describe()) {
                known.push(check.clone());
            }
        }
    }

    pub(super) fn taken(&self) -> Telemetry {
        std::mem::take(&mut self.parts().telemetry)
    }

    /// Each series once, with all checks that look at it: this one, unless it names parts of itself.
    fn series(&self, check: &str, found: Vec<MetricSeries>) {
        let known = &mut self.parts().telemetry.series;
        for mut one in found {
            // No line is drawn at infinity, and a journal could not hold it.
            one.bounds.retain(|bound| bound.value.is_finite());
            if one.checks.is_empty() {
                one.checks.push(check.to_owned());
            }
            if let Some(known) = known.iter_mut().find(|known| known.query == one.query && known.labels == one.labels) {
                known.checks.append(&mut one.checks);
                known.bounds.append(&mut one.bounds);
            } else if known.len() < MOST_SERIES {
                known.push(one);
            }
        }
    }

    fn missing(&self, what: &str, why: &dyn std::fmt::Display) {
        self.parts().telemetry.missing.push(format!("{what}: {why}"));
    }
}

impl Recorder {
    /// Reads what is to be drawn of the run, as far as it can be had soon.
    pub(super) async fn measure(&self, places: &[Place]) {
        let started = self.journal().started;
        let so_far = Duration::try_from(self.clock.now().duration_since(started)).unwrap_or_default();
        let stretch = Stretch { started, before: so_far.min(MOST_BEFORE) };
        let checks = self.measured.parts().checks.clone();
        let scene = self.scene(Phase::Recovery { undone: self.clock.now() });
        let series = join_all(checks.iter().map(|check| async {
            let found = tokio::time::timeout(WITHIN, check.timeline(&scene, &stretch)).await;
            (check.describe(), found)
        }));
        let events = tokio::time::timeout(WITHIN, self.environment.reported(places, started));
        let (series, events) = tokio::join!(biased; series, events);
        for (check, found) in series {
            match found {
                Ok(Ok(found)) => self.measured.series(&check, found),
                Ok(Err(why)) => self.measured.missing(&check, &why),
                Err(_) => self.measured.missing(&check, &format!("no answer within {WITHIN:?}")),
            }
        }
        match events {
            Ok(Ok(mut events)) => {
                let left_out = events.len().saturating_sub(MOST_EVENTS);
                self.measured.parts().telemetry.cluster_events = events.split_off(left_out);
            }
            Ok(Err(why)) => self.measured.missing("events of the cluster", &why),
            Err(_) => self.measured.missing("events of the cluster", &format!("no answer within {WITHIN:?}")),
        }
    }
}
