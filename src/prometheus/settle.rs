//! The freshness gate: waits until the target was scraped after what has to be seen.

use std::time::Duration;

use super::Prometheus;
use super::client::NoData;
use super::decode::Series;
use super::growth::{Samples, Window, millis};
use super::selection::Selection;
use crate::clock::Timestamp;
use crate::experiment::Scene;
use crate::journal::Reason;

/// How far back samples are read beyond a window: a series' last sample lies within the server's lookback.
pub(super) const LOOKBACK: f64 = 300.0;

/// The interval of scrapes and evaluations where nothing tells it: Prometheus' default.
pub(super) const DEFAULT_INTERVAL: f64 = 60.0;

/// The longest interval that is believed, and how far apart two clocks may be: a day.
const LONGEST: f64 = 86_400.0;

/// The longest that is waited for a scrape or an evaluation, unless somebody says how long.
const LONGEST_WAIT: f64 = 600.0;

/// The shortest time between two looks.
const SHORTEST_LOOK: f64 = 0.25;

/// The longest: a scrape is seen a second after it at the latest.
const LONGEST_LOOK: f64 = 0.75;

/// What it takes beyond the scrapes themselves.
pub(super) const GRACE: f64 = 5.0;

/// Where scrapes are seen.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    /// The `up` of the targets, or the series themselves.
    pub(super) query: String,
    /// Whether it is `up`: then its value says whether a scrape went well.
    pub(super) is_up: bool,
    /// Whether the labels name a job.
    pub(super) names_job: bool,
}

impl Watched {
    pub(super) fn of(selection: &Selection) -> Self {
        let up = selection.up();
        Self { is_up: up.is_some(), names_job: up.is_some(), query: up.unwrap_or_else(|| selection.query()) }
    }
}

pub(super) struct Settle<'a> {
    prometheus: &'a Prometheus,
    scene: &'a Scene,
    /// What is judged, for reasons.
    what: String,
    watched: Watched,
    interval: f64,
    /// Whether the interval is more than a guess.
    known: bool,
    ahead: Ahead,
}

impl<'a> Settle<'a> {
    pub(super) async fn new(
        prometheus: &'a Prometheus,
        scene: &'a Scene,
        what: &str,
        watched: Watched,
    ) -> Result<Self, NoData> {
        let ahead = prometheus.ahead(scene).await?.unwrap_or_default();
        let what = what.to_owned();
        let mut settle = Self { prometheus, scene, what, watched, interval: DEFAULT_INTERVAL, known: false, ahead };
        let samples = settle.raw(&settle.watched.query, LOOKBACK).await?;
        settle.find_interval(&samples).await?;
        Ok(settle)
    }

    /// The time between two scrapes, in seconds.
    pub(super) fn interval(&self) -> f64 {
        self.interval
    }

    /// Whether the interval is more than a guess.
    pub(super) fn knows_interval(&self) -> bool {
        self.known
    }

    /// An instant of ours on the server's clock, in seconds since 1970.
    pub(super) fn local(&self, at: Timestamp) -> f64 {
        self.ahead.server(at)
    }

    /// As [`local`](Self::local), not after it: what came since then came since this.
    pub(super) fn not_after(&self, at: Timestamp) -> f64 {
        self.ahead.not_after(at)
    }

    /// As [`local`](Self::local), not before it: what was scraped after this has seen all that was so.
    pub(super) fn not_before(&self, at: Timestamp) -> f64 {
        self.ahead.not_before(at)
    }

    /// Now, on the server's clock.
    pub(super) fn now(&self) -> f64 {
        self.local(self.scene.clock.now())
    }

    /// By the server's list of targets, else by the distance of samples.
    async fn find_interval(&mut self, samples: &[Series]) -> Result<(), NoData> {
        if let Ok(data) = self.prometheus.ask(self.scene, "/api/v1/targets", &[]).await {
            let targets = data["activeTargets"].as_array().map_or(&[][..], Vec::as_slice);
            let ours = |target: &&serde_json::Value| {
                let same = |name: &str, labels: &super::decode::Labels| {
                    target["labels"][name].as_str() == labels.get(name).map(String::as_str)
                };
                samples.iter().any(|series| same("instance", &series.labels) && same("job", &series.labels))
            };
            let interval = |target: &serde_json::Value| parse_seconds(target["scrapeInterval"].as_str()?);
            if let Some(interval) = targets.iter().filter(ours).filter_map(interval).reduce(f64::max) {
                self.prometheus.believes(&format!("{} is scraped", self.watched.query), interval)?;
                (self.interval, self.known) = (interval, true);
                return Ok(());
            }
            // Not a target of these, or none yet: it will hardly be scraped less often than the others.
            if let Some(interval) = targets.iter().filter_map(interval).filter(|it| is_interval(*it)).reduce(f64::max) {
                self.interval = interval;
            }
        }
        let mut gaps: Vec<f64> =
            samples.iter().flat_map(|s| s.samples.windows(2).map(|pair| pair[1].0 - pair[0].0)).collect();
        gaps.retain(|gap| is_interval(*gap));
        gaps.sort_by(f64::total_cmp);
        if let Some(gap) = gaps.get(gaps.len() / 2) {
            (self.interval, self.known) = (*gap, true);
        }
        Ok(())
    }

    /// As [`Prometheus::raw`]; what the server has of its own future is no evidence.
    async fn raw(&self, query: &str, back: f64) -> Result<Vec<Series>, NoData> {
        let series = self.prometheus.raw(self.scene, query, back).await?;
        let latest = series.iter().flat_map(|series| &series.samples).map(|(at, _)| *at).reduce(f64::max);
        match latest.filter(|latest| *latest > self.now() + GRACE) {
            Some(latest) => {
                let ahead = millis(latest - self.now());
                Err(self.prometheus.unavailable(format!("a sample of {query} is {ahead} s later than its own clock")))
            }
            None => Ok(series),
        }
    }

    /// Waits until every target was scraped after `anchor`; the instant by which all were.
    pub(super) async fn scraped_after(&mut self, anchor: f64) -> Result<f64, NoData> {
        if self.prometheus.at_once {
            return Ok(self.now());
        }
        let begun = self.scene.clock.elapsed();
        loop {
            let series = self.watched_since(anchor).await?;
            if !self.known && !series.is_empty() {
                // The first scrape has come meanwhile.
                self.find_interval(&series).await?;
            }
            let waited = self.scene.clock.elapsed().saturating_sub(begun);
            let late = waited >= self.patience();
            match self.first_after(&series, anchor) {
                Some(at) if !self.watched.is_up || self.all_up(&series, at) => return Ok(at),
                Some(_) if late => {
                    let why = format!(
                        "its target is down: Prometheus could not scrape it for {waited:?}; see /targets of the server"
                    );
                    return Err(self.stale(why).into());
                }
                _ if late && series.is_empty() && !self.watched.is_up => {
                    // Without a target there is nothing to wait for; who judges knows what absence means.
                    return Ok(self.now());
                }
                None if late => return Err(self.stale(self.why_not(&series, anchor, waited)).into()),
                _ => {
                    let left = self.patience().saturating_sub(waited);
                    self.scene.clock.sleep(self.until_next(&series).min(left)).await;
                }
            }
        }
    }

    /// Waits for an instant to come, and then as [`scraped_after`](Self::scraped_after): of the time up to it nothing is
    /// known before.
    pub(super) async fn scraped_at_last(&mut self, at: f64) -> Result<f64, NoData> {
        let wait = Duration::try_from_secs_f64((at - self.now()).max(0.0)).unwrap_or(Duration::MAX);
        self.scene.clock.sleep(wait).await;
        self.scraped_after(at).await
    }

    /// How long a scrape is waited for.
    fn patience(&self) -> Duration {
        self.prometheus.settle_within.unwrap_or_else(|| patience(self.interval))
    }

    async fn watched_since(&self, anchor: f64) -> Result<Vec<Series>, NoData> {
        self.raw(&self.watched.query, self.now() - anchor + LOOKBACK).await
    }

    /// The window between two fresh scrapes after `anchor`.
    pub(super) async fn between_scrapes_after(&mut self, anchor: f64) -> Result<Window, NoData> {
        let from = self.scraped_after(anchor).await?;
        let to = self.scraped_after(from).await?;
        Ok(Window { from, to })
    }

    /// The newest scrape after `anchor`, awaited if there is none yet. One that is overdue says nothing of now.
    pub(super) async fn newest_after(&mut self, anchor: f64) -> Result<f64, NoData> {
        let first = self.scraped_after(anchor).await?;
        let series = self.watched_since(anchor).await?;
        let newest = self.live(&series).filter_map(|s| s.samples.last()).map(|(at, _)| *at).reduce(f64::min);
        let overdue = |newest: &f64| self.now() - newest > 2.0 * self.interval + GRACE;
        if let Some(newest) = newest.filter(|newest| !self.prometheus.at_once && overdue(newest)) {
            let why = format!(
                "the last scrape of {} is {:.1} s old, and it is scraped every {} s; is it still scraped? see /targets of the server",
                self.watched.query,
                self.now() - newest,
                self.interval
            );
            return Err(self.stale(why).into());
        }
        Ok(newest.unwrap_or(first).max(first))
    }

    /// The samples of a selection and of its target that a window needs. What ended in the window may only be late:
    /// it gets one more interval.
    pub(super) async fn samples(&self, selection: &Selection, window: Window) -> Result<Samples, NoData> {
        let begun = self.scene.clock.elapsed();
        loop {
            let back = self.now() - window.from + LOOKBACK;
            let counter = self.raw(&selection.query(), back).await?;
            let up = match selection.up() {
                Some(up) => Some(self.raw(&up, back).await?),
                None => None,
            };
            let samples = Samples { counter, up, interval: self.interval };
            let waited = self.scene.clock.elapsed().saturating_sub(begun);
            if !samples.are_behind(window) || waited.as_secs_f64() > self.interval {
                return Ok(samples);
            }
            self.scene.clock.sleep(Duration::from_secs_f64(LONGEST_LOOK)).await;
        }
    }

    /// Targets that are still scraped: one that is gone gets no samples any more.
    fn live<'s>(&self, series: &'s [Series]) -> impl Iterator<Item = &'s Series> + use<'s> {
        let newest = series.iter().filter_map(|s| s.samples.last()).map(|(at, _)| *at).reduce(f64::max);
        let since = newest.unwrap_or_default() - 3.0 * self.interval;
        series.iter().filter(move |s| s.samples.last().is_some_and(|(at, _)| *at > since))
    }

    /// When the last of the live targets had its first scrape after `anchor`.
    fn first_after(&self, series: &[Series], anchor: f64) -> Option<f64> {
        let first = |s: &Series| s.samples.iter().find(|(at, _)| *at > anchor).map(|(at, _)| *at);
        self.live(series).map(first).collect::<Option<Vec<f64>>>()?.into_iter().reduce(f64::max)
    }

    /// Whether every live target answered at its newest scrape up to `at`.
    fn all_up(&self, series: &[Series], at: f64) -> bool {
        self.live(series)
            .all(|s| s.samples.iter().rev().find(|(scraped, _)| *scraped <= at).is_none_or(|(_, value)| *value == 1.0))
    }

    /// Until a little after the next scrape is due; often, while it is not known when that is.
    fn until_next(&self, series: &[Series]) -> Duration {
        let last = self.live(series).filter_map(|s| s.samples.last()).map(|(at, _)| *at).reduce(f64::min);
        let due = last.filter(|_| self.known).map_or(0.0, |last| last + self.interval - self.now());
        // The clocks may differ, so that a scrape may be earlier than it seems.
        Duration::from_secs_f64((due / 2.0).clamp(SHORTEST_LOOK, LONGEST_LOOK.max(due / 2.0)))
    }

    fn why_not(&self, series: &[Series], anchor: f64, waited: Duration) -> String {
        let newest = self.live(series).filter_map(|s| s.samples.last()).map(|(at, _)| *at).reduce(f64::min);
        match newest {
            Some(_) if self.known && waited.as_secs_f64() < self.interval => format!(
                "{} is scraped every {} s, and was not within the {waited:?} that were waited; scrape it more often, or wait longer: `.settle_within(..)`",
                self.watched.query, self.interval
            ),
            Some(newest) => format!(
                "the last scrape of {} is {:.1} s older than what it had to see, after {waited:?}; is it still scraped? see /targets of the server",
                self.watched.query,
                (anchor - newest).max(0.0)
            ),
            None => format!("{} has no samples; is the job's name right, and is it scraped?", self.watched.query),
        }
    }

    fn stale(&self, why: String) -> Reason {
        Reason::StaleData { what: self.what.clone(), why }
    }
}

/// How many times a server is asked what time it is, at most: of a question that took long the answer says little.
const ASKED_AT_MOST: usize = 3;

/// How long such a question may take, in seconds, to be asked once.
const SOON: f64 = 0.5;

/// By how much the clock of a server is ahead of ours, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Ahead {
    by: f64,
    /// It may be so much more or less.
    give_or_take: f64,
}

impl Ahead {
    /// Of a question, and the time that the server had meanwhile. Clocks that may agree do.
    fn of(before: f64, server: f64, after: f64) -> Self {
        if (before..=after).contains(&server) {
            return Self::default();
        }
        Self { by: server - f64::midpoint(before, after), give_or_take: (after - before) / 2.0 }
    }

    pub(super) fn server(self, at: Timestamp) -> f64 {
        seconds(at) + self.by
    }

    pub(super) fn not_after(self, at: Timestamp) -> f64 {
        self.server(at) - self.give_or_take
    }

    pub(super) fn not_before(self, at: Timestamp) -> f64 {
        self.server(at) + self.give_or_take
    }
}

impl Prometheus {
    /// How its clock differs from ours; `None` if it does not say what time it is.
    pub(super) async fn ahead(&self, scene: &Scene) -> Result<Option<Ahead>, NoData> {
        let mut best: Option<(f64, Ahead)> = None;
        for _ in 0..ASKED_AT_MOST {
            let before = seconds(scene.clock.now());
            // An instant answer carries the time that it is of: the server's own, since none is asked for.
            let answer = self.series(scene, "/api/v1/query", &[("query", "time()")]).await?;
            let after = seconds(scene.clock.now());
            let server = answer.first().and_then(|series| series.samples.first()).map(|(at, _)| *at);
            let Some(server) = server else { return Ok(None) };
            let (took, ahead) = (after - before, Ahead::of(before, server, after));
            self.clock_is_near(ahead.by)?;
            if best.is_none_or(|(best, _)| took < best) {
                best = Some((took, ahead));
            }
            // One that took longer was sent again meanwhile, or waited.
            if took <= SOON {
                break;
            }
        }
        Ok(best.map(|(_, ahead)| ahead))
    }

    /// An interval that the server tells, if it can be one.
    pub(super) fn believes(&self, what: &str, interval: f64) -> Result<(), NoData> {
        if is_interval(interval) {
            return Ok(());
        }
        Err(self.unavailable(format!("it says that {what} every {interval:?} s, which is no interval to wait for")))
    }

    /// Times of a server whose clock is far from ours mean nothing.
    pub(super) fn clock_is_near(&self, ahead: f64) -> Result<(), NoData> {
        if ahead.abs() <= LONGEST {
            return Ok(());
        }
        let (by, how) = (millis(ahead.abs()), if ahead > 0.0 { "ahead of" } else { "behind" });
        Err(self.unavailable(format!("its clock is {by} s {how} ours; let both be set by NTP")))
    }
}

fn is_interval(seconds: f64) -> bool {
    seconds > 0.0 && seconds <= LONGEST
}

/// How long a scrape or an evaluation is waited for that comes so often.
pub(super) fn patience(interval: f64) -> Duration {
    Duration::from_secs_f64((3.0 * interval + GRACE).clamp(GRACE, LONGEST_WAIT))
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

/// `1m30s`, `15s`, `500ms` in seconds.
pub(super) fn parse_seconds(text: &str) -> Option<f64> {
    let (mut total, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, behind) = rest.split_at(end);
        let unit_end = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, left) = behind.split_at(unit_end);
        let factor = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "w" => 7.0 * 86_400.0,
            "y" => 365.0 * 86_400.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = left;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::{Ahead, Timestamp, parse_seconds};

    #[test]
    fn intervals_are_read_as_prometheus_writes_them() {
        for (text, seconds) in [("15s", 15.0), ("1m30s", 90.0), ("500ms", 0.5), ("1h", 3600.0), ("1d2h", 93_600.0)] {
            assert_eq!(parse_seconds(text), Some(seconds), "{text}");
        }
        assert_eq!(parse_seconds("soon"), None);
    }

    #[test]
    fn clocks_that_may_agree_do_and_others_are_known_as_well_as_they_can_be() {
        let at = Timestamp::from_second(1_000).unwrap();
        for server in [100.0, 101.0, 104.0] {
            assert_eq!(Ahead::of(100.0, server, 104.0), Ahead::default());
        }
        // The server's clock was read at some time of the question: 40 s ahead at the least, 44 s at the most.
        let ahead = Ahead::of(100.0, 144.0, 104.0);
        assert_eq!((ahead.not_after(at), ahead.server(at), ahead.not_before(at)), (1_040.0, 1_042.0, 1_044.0));
        let behind = Ahead::of(100.0, 60.0, 100.0);
        assert_eq!((behind.not_after(at), behind.not_before(at)), (960.0, 960.0));
    }
}
