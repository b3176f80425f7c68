//! The freshness gate: waits until the target was scraped after what has to be seen.

use std::time::Duration;

use super::Counter;
use super::client::NoData;
use super::decode::Series;
use super::growth::{Samples, Window};
use crate::clock::Timestamp;
use crate::experiment::Scene;
use crate::journal::Reason;

/// How far back samples are read beyond a window: a series' last sample lies within the server's lookback.
const LOOKBACK: f64 = 300.0;

/// The scrape interval where nothing tells it: Prometheus' default.
const DEFAULT_INTERVAL: f64 = 60.0;

/// The shortest time between two looks.
const SHORTEST_LOOK: f64 = 0.25;

/// What it takes beyond the scrapes themselves.
const GRACE: f64 = 5.0;

pub(super) struct Settle<'a> {
    counter: &'a Counter,
    scene: &'a Scene,
    /// Where scrapes are seen: the target's `up`, or the counter itself if no target is known.
    watched: String,
    interval: f64,
    /// Whether the interval is more than a guess.
    known: bool,
    /// Seconds that the server's clock is ahead of ours.
    ahead: f64,
}

impl<'a> Settle<'a> {
    pub(super) async fn new(counter: &'a Counter, scene: &'a Scene) -> Result<Self, NoData> {
        let watched = counter.up().unwrap_or_else(|| counter.query());
        let before = scene.clock.now();
        let newest = counter.prometheus.series(scene, "/api/v1/query", &[("query", &watched)]).await?;
        // An instant answer carries the time that was asked for: the server's own, since we asked for none.
        let server = newest.first().and_then(|series| series.samples.first()).map(|(at, _)| *at);
        let local = (seconds(before) + seconds(scene.clock.now())) / 2.0;
        let ahead = server.map_or(0.0, |server| server - local);
        let mut settle = Self { counter, scene, watched, interval: DEFAULT_INTERVAL, known: false, ahead };
        let samples = counter.prometheus.raw(scene, &settle.watched, LOOKBACK).await?;
        (settle.interval, settle.known) = settle.find_interval(&samples).await;
        Ok(settle)
    }

    /// The time between two scrapes, in seconds.
    pub(super) fn interval(&self) -> f64 {
        self.interval
    }

    /// An instant of ours on the server's clock, in seconds since 1970.
    pub(super) fn local(&self, at: Timestamp) -> f64 {
        seconds(at) + self.ahead
    }

    /// By the server's list of targets, else by the distance of samples; and whether it is known at all.
    async fn find_interval(&self, samples: &[Series]) -> (f64, bool) {
        if let Ok(data) = self.counter.prometheus.ask(self.scene, "/api/v1/targets", &[]).await {
            let targets = data["activeTargets"].as_array().into_iter().flatten();
            let ours = targets.filter(|target| {
                samples.iter().any(|series| {
                    target["labels"]["instance"].as_str() == series.labels.get("instance").map(String::as_str)
                })
            });
            if let Some(interval) = ours.filter_map(|t| parse_seconds(t["scrapeInterval"].as_str()?)).reduce(f64::max) {
                return (interval, true);
            }
        }
        let mut gaps: Vec<f64> =
            samples.iter().flat_map(|s| s.samples.windows(2).map(|pair| pair[1].0 - pair[0].0)).collect();
        gaps.sort_by(f64::total_cmp);
        gaps.get(gaps.len() / 2).map_or((DEFAULT_INTERVAL, false), |gap| (*gap, true))
    }

    /// Waits until every target was scraped after `anchor`; the instant by which all were.
    pub(super) async fn scraped_after(&mut self, anchor: f64) -> Result<f64, NoData> {
        let until = self.scene.clock.elapsed() + Duration::from_secs_f64(3.0 * self.interval + GRACE);
        loop {
            let now = self.local(self.scene.clock.now());
            let series = self.counter.prometheus.raw(self.scene, &self.watched, now - anchor + LOOKBACK).await?;
            if !self.known && !series.is_empty() {
                // The first scrape has come meanwhile.
                (self.interval, self.known) = self.find_interval(&series).await;
            }
            let late = self.scene.clock.elapsed() >= until;
            match self.first_after(&series, anchor) {
                Some(at) if self.counter.up().is_none() || all_up(&series, at) => return Ok(at),
                Some(_) if late => {
                    let why = "its target is down: Prometheus cannot scrape it";
                    return Err(self.stale(why.to_owned()).into());
                }
                _ if late && series.is_empty() && self.counter.up().is_none() => {
                    // Without a target there is nothing to wait for; growth() knows what absence means.
                    return Ok(now);
                }
                None if late => return Err(self.stale(self.why_not(&series, anchor)).into()),
                _ => self.scene.clock.sleep(Duration::from_secs_f64(self.look_every())).await,
            }
        }
    }

    /// The window between two fresh scrapes after `anchor`.
    pub(super) async fn between_scrapes_after(&mut self, anchor: f64) -> Result<Window, NoData> {
        let from = self.scraped_after(anchor).await?;
        let to = self.scraped_after(from).await?;
        Ok(Window { from, to })
    }

    /// The newest scrape after `anchor`, awaited if there is none yet.
    pub(super) async fn newest_after(&mut self, anchor: f64) -> Result<f64, NoData> {
        let first = self.scraped_after(anchor).await?;
        let now = self.local(self.scene.clock.now());
        let series = self.counter.prometheus.raw(self.scene, &self.watched, now - anchor + LOOKBACK).await?;
        let newest = series.iter().filter_map(|s| s.samples.last()).map(|(at, _)| *at).reduce(f64::min);
        Ok(newest.unwrap_or(first).max(first))
    }

    /// The samples of the counter and its target that a window needs.
    pub(super) async fn samples(&self, window: Window) -> Result<Samples, NoData> {
        let back = self.local(self.scene.clock.now()) - window.from + LOOKBACK;
        let counter = self.counter.prometheus.raw(self.scene, &self.counter.query(), back).await?;
        let up = match self.counter.up() {
            Some(up) => Some(self.counter.prometheus.raw(self.scene, &up, back).await?),
            None => None,
        };
        Ok(Samples { counter, up })
    }

    /// When the last of the live targets had its first scrape after `anchor`.
    fn first_after(&self, series: &[Series], anchor: f64) -> Option<f64> {
        let newest = series.iter().filter_map(|s| s.samples.last()).map(|(at, _)| *at).reduce(f64::max)?;
        // A target that is gone gets no samples any more.
        let live = series.iter().filter(|s| s.samples.last().is_some_and(|(at, _)| *at > newest - 3.0 * self.interval));
        let firsts: Option<Vec<f64>> =
            live.map(|s| s.samples.iter().find(|(at, _)| *at > anchor).map(|(at, _)| *at)).collect();
        firsts?.into_iter().reduce(f64::max)
    }

    /// Four looks at an interval; often, while it is not known how long that is.
    fn look_every(&self) -> f64 {
        if self.known { (self.interval / 4.0).max(SHORTEST_LOOK) } else { SHORTEST_LOOK }
    }

    fn why_not(&self, series: &[Series], anchor: f64) -> String {
        match series.iter().filter_map(|s| s.samples.last()).map(|(at, _)| *at).reduce(f64::max) {
            Some(newest) => format!(
                "the last scrape is {:.1} s older than what it had to see; is {} still scraped?",
                (anchor - newest).max(0.0),
                self.watched
            ),
            None => format!("{} has no samples; is the job's name right, and is it scraped?", self.watched),
        }
    }

    fn stale(&self, why: String) -> Reason {
        Reason::StaleData { what: self.counter.query(), why }
    }
}

/// Whether every target answered at its scrapes up to `at`, the newest of each.
fn all_up(series: &[Series], at: f64) -> bool {
    series
        .iter()
        .all(|s| s.samples.iter().rev().find(|(scraped, _)| *scraped <= at).is_none_or(|(_, value)| *value == 1.0))
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

/// `1m30s`, `15s`, `500ms` in seconds.
fn parse_seconds(text: &str) -> Option<f64> {
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
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = left;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::parse_seconds;

    #[test]
    fn intervals_are_read_as_prometheus_writes_them() {
        for (text, seconds) in [("15s", 15.0), ("1m30s", 90.0), ("500ms", 0.5), ("1h", 3600.0)] {
            assert_eq!(parse_seconds(text), Some(seconds), "{text}");
        }
        assert_eq!(parse_seconds("soon"), None);
    }
}
