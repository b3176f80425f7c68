//! Scrapes targets: one task, each target at its own moment of the interval.

mod fetch;
mod target;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

pub use target::{ScrapeJob, TargetLabels};
pub(super) use target::{Told, described, written};

use self::fetch::{Fetched, Kept, fetch};
use self::target::{Target, of_job, of_pod};
use super::exposition::{Page, labels, read};
use super::tsdb::{Labels, SeriesId, Tsdb};
use crate::clock::{Clock, Timestamp};
use crate::lab::fabric::Fabric;
use crate::lab::resource::PODS;
use crate::lab::store::Store;

/// The least time between two looks for targets, in milliseconds: a busy store must not be read for each change.
const LOOK_EVERY: i64 = 100;

/// How far from its moment a scrape may begin and still be dated by it: what is regular is held small. As the real
/// one has it, in milliseconds.
const TOLERANCE: i64 = 2;

/// What is scraped, and how it went. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Targets {
    shared: Arc<Mutex<Known>>,
    wake: Arc<tokio::sync::Notify>,
}

#[derive(Default)]
pub(super) struct Known {
    jobs: Vec<ScrapeJob>,
    labels: TargetLabels,
    /// Counts what was said of targets.
    said: usize,
    pub(super) active: BTreeMap<String, Told>,
    pub(super) dropped: Vec<BTreeMap<String, String>>,
}

impl Targets {
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a stated list.
    pub(super) fn add(&self, job: ScrapeJob) {
        let mut known = self.known();
        known.jobs.push(job);
        known.said += 1;
        self.wake.notify_one();
    }

    /// Says which labels tell pods apart.
    pub(super) fn label(&self, labels: TargetLabels) {
        let mut known = self.known();
        known.labels = labels;
        known.said += 1;
        self.wake.notify_one();
    }
}

pub(super) struct Scraper {
    /// How often a target is scraped unless it says otherwise.
    interval: Duration,
    clock: Clock,
    store: Store,
    fabric: Fabric,
    tsdb: Tsdb,
    targets: Targets,
    states: BTreeMap<String, State>,
    /// Targets that are gone, with the time at which their series end.
    ending: Vec<(i64, Target, Vec<Labels>)>,
    /// The store's version and what was said of targets at the last look for them, and its time.
    looked: Option<(u64, usize, i64)>,
}

/// A target between two scrapes.
struct State {
    target: Target,
    /// When it is scraped next, in milliseconds.
    next: i64,
    scraping: bool,
    connection: Option<Kept>,
    /// The series of the last page, by how they are written there.
    series: BTreeMap<Box<str>, Cached>,
    round: u64,
    reported: Option<[Labels; 5]>,
}

struct Cached {
    id: Option<SeriesId>,
    labels: Labels,
    /// The round that had it last.
    round: u64,
    /// Whether its end is to be marked: not if it tells its own times, nor if it has been.
    live: bool,
}

type Scrapes = FuturesUnordered<BoxFuture<'static, (String, i64, Fetched)>>;

impl Scraper {
    pub(super) fn new(
        interval: Duration,
        clock: Clock,
        store: Store,
        fabric: Fabric,
        tsdb: Tsdb,
        targets: Targets,
    ) -> Self {
        let (states, ending, looked) = (BTreeMap::new(), Vec::new(), None);
        Self { interval, clock, store, fabric, tsdb, targets, states, ending, looked }
    }

    pub(super) async fn run(mut self) {
        let mut changes = self.store.subscribe();
        let wake = self.targets.wake.clone();
        let mut scrapes = Scrapes::new();
        loop {
            self.look();
            let due = self.start(&mut scrapes);
            let sleep = async {
                match due {
                    Some(due) => self.clock.sleep_until(stamp(due)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some((key, at, fetched)) = scrapes.next() => self.record(&key, at, fetched),
                () = wake.notified() => {}
                () = sleep => {}
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    /// Looks for targets, if anything may have changed.
    fn look(&mut self) {
        let now = self.now();
        let said = self.targets.known().said;
        let version = self.store.version();
        match self.looked {
            Some((at_version, heard, _)) if at_version == version && heard == said => return,
            Some((_, heard, at)) if heard == said && at + LOOK_EVERY > now => return,
            _ => self.looked = Some((version, said, now)),
        }
        let (jobs, labels) = {
            let known = self.targets.known();
            (known.jobs.clone(), known.labels)
        };
        let (pods, _) = self.store.list(&PODS, None);
        let mut found: BTreeMap<String, Target> = BTreeMap::new();
        let mut dropped = Vec::new();
        for pod in pods.iter().filter_map(|pod| of_pod(pod, self.interval, labels)) {
            match pod {
                Ok(target) => {
                    found.insert(target.key.clone(), target);
                }
                Err(told) => dropped.push(told),
            }
        }
        for target in jobs.iter().flat_map(|job| of_job(job, self.interval)) {
            found.insert(target.key.clone(), target);
        }
        // Under other labels the same pod is another target.
        let stays = |key: &str, state: &State| found.get(key).is_some_and(|new| new.labels == state.target.labels);
        let gone = self.states.iter().filter(|(key, state)| !stays(key, state));
        let gone: Vec<String> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.end(&key);
        }
        let mut known = self.targets.known();
        known.active.retain(|key, _| found.contains_key(key));
        known.dropped = dropped;
        for (key, target) in found {
            if let Some(state) = self.states.get_mut(&key) {
                if state.target != target {
                    // What is told of it must agree; its series go on.
                    if let Some(told) = known.active.get_mut(&key) {
                        *told = Told { health: told.health, ..target.told() };
                    }
                    state.target = target;
                }
                continue;
            }
            known.active.insert(key.clone(), target.told());
            let next = moment(&target, now);
            let state = State {
                target,
                next,
                scraping: false,
                connection: None,
                series: BTreeMap::new(),
                round: 0,
                reported: None,
            };
            self.states.insert(key, state);
        }
    }

    /// A target is gone: its series end when it would have been scraped next.
    fn end(&mut self, key: &str) {
        let Some(state) = self.states.remove(key) else { return };
        let mut series: Vec<Labels> =
            state.series.into_values().filter(|cached| cached.live).map(|cached| cached.labels).collect();
        series.extend(state.reported.into_iter().flatten());
        self.ending.push((state.next, state.target, series));
    }

    /// Starts what is due. Returns when something will be due next.
    fn start(&mut self, scrapes: &mut Scrapes) -> Option<i64> {
        let now = self.now();
        for (at, _, series) in self.ending.extract_if(.., |(at, ..)| *at <= now) {
            series.iter().for_each(|labels| self.tsdb.end(labels, at));
        }
        for (key, state) in &mut self.states {
            if state.scraping || state.next > now {
                continue;
            }
            let tolerance = TOLERANCE.min(millis(state.target.interval) / 100);
            let at = if now - state.next <= tolerance { state.next } else { now };
            // A scrape that takes longer than the interval makes the next ones fall out, not pile up.
            state.next = moment(&state.target, now + 1);
            state.scraping = true;
            let (key, target, connection) = (key.clone(), state.target.clone(), state.connection.take());
            let (fabric, clock) = (self.fabric.clone(), self.clock.clone());
            scrapes.push(Box::pin(async move {
                let fetched = fetch(&target, &fabric, &clock, connection).await;
                (key, at, fetched)
            }));
        }
        let next = self.states.values().filter(|state| !state.scraping).map(|state| state.next);
        let look = self.looked.filter(|(version, ..)| *version != self.store.version()).map(|(.., at)| at + LOOK_EVERY);
        next.chain(self.ending.iter().map(|(at, ..)| *at)).chain(look).min()
    }

    fn record(&mut self, key: &str, at: i64, fetched: Fetched) {
        // It may be gone by now; what it answered is not taken then.
        let Some(state) = self.states.get_mut(key) else { return };
        state.scraping = false;
        state.connection = fetched.connection;
        state.round += 1;
        let page = fetched.page.as_ref().map_err(Clone::clone);
        let read = page.and_then(|(text, format)| {
            let page = read(text, *format)?;
            state.recognise(&page)?;
            Ok(page)
        });
        let (mut exposed, mut added) = (0.0, 0.0);
        let error = match &read {
            Ok(page) => {
                (exposed, added) = state.append(page, &self.tsdb, at);
                String::new()
            }
            Err(why) => why.clone(),
        };
        state.end_what_vanished(&self.tsdb, at);
        let up = f64::from(u8::from(error.is_empty()));
        let target = &state.target;
        let reported = state.reported.get_or_insert_with(|| REPORTS.map(|name| target.report(name)));
        let values = [up, fetched.took.as_secs_f64(), exposed, exposed, added];
        for (labels, value) in reported.iter().zip(values) {
            // A second report of the same time is none.
            let _ = self.tsdb.append(labels, at, value);
        }
        if let Some(told) = self.targets.known().active.get_mut(key) {
            told.health = if error.is_empty() { "up" } else { "down" };
            told.error = error;
            told.scraped = Some(stamp(at));
            told.took = fetched.took;
            if let Ok(page) = read {
                told.described = page.described;
            }
        }
    }
}

const REPORTS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

impl State {
    /// Makes the series of a page known. A malformed one spoils the page before anything of it is stored.
    fn recognise(&mut self, page: &Page<'_>) -> Result<(), String> {
        for sample in &page.samples {
            if self.series.contains_key(sample.series) {
                continue;
            }
            let labels = self.target.labelled(&labels(sample.series)?);
            self.series.insert(sample.series.into(), Cached { id: None, labels, round: 0, live: false });
        }
        Ok(())
    }

    /// Stores a page. Returns how many samples it has, and how many series are new.
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    fn append(&mut self, page: &Page<'_>, tsdb: &Tsdb, at: i64) -> (f64, f64) {
        let mut added = 0;
        for sample in &page.samples {
            let Some(cached) = self.series.get_mut(sample.series) else { continue };
            let own = sample.at.filter(|_| self.target.rules.honor_timestamps);
            let time = own.unwrap_or(at);
            let known = cached.id.and_then(|id| tsdb.append_to(id, &cached.labels, time, sample.value));
            if known.is_none() {
                // What is out of order, or twice there with two values, is passed over as the real one does.
                cached.id = tsdb.append(&cached.labels, time, sample.value).ok();
            }
            if cached.round == 0 {
                added += 1;
            }
            cached.round = self.round;
            cached.live = own.is_none();
        }
        (page.samples.len() as f64, f64::from(added))
    }

    /// Marks the end of the series that the last scrape did not have.
    fn end_what_vanished(&mut self, tsdb: &Tsdb, at: i64) {
        let round = self.round;
        self.series.retain(|_, cached| {
            if cached.round != round && cached.live {
                tsdb.end(&cached.labels, at);
                cached.live = false;
            }
            cached.round == round || cached.round + 1 == round
        });
    }
}

/// The next moment of a target: each has its own place in the interval, so that not all are scraped at once.
fn moment(target: &Target, from: i64) -> i64 {
    let interval = millis(target.interval).max(1);
    let place = i64::from(crc32fast::hash(target.key.as_bytes())) % interval;
    from + (place - from).rem_euclid(interval)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

fn stamp(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}
