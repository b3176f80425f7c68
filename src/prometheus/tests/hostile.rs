//! Intervals and times that a server makes up. None of them hangs a check, makes it panic or is taken for evidence.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ADDRESS, Server, success, virtually};
use crate::clock::{Clock, Timestamp, secs};
use crate::experiment::{Check, Phase, Probe, Scene};
use crate::prometheus::Prometheus;
use crate::tolerance::{Outcome, at_least, at_most};

/// A server with one job that is scraped each 2 s and never counts, and one rule that is evaluated as often. What is
/// told of them is made up by `lie`.
pub(super) struct Told {
    pub(super) clock: Clock,
    pub(super) lie: Lie,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Lie {
    None,
    /// The interval of scrapes, as it is written.
    Scraped(&'static str),
    /// No list of targets, and samples so many seconds apart.
    Apart(f64),
    /// The interval of the rule.
    Evaluated(f64),
    /// When the rule was evaluated.
    At(&'static str),
    /// The server's clock, and all its times, so many seconds ahead of ours.
    Ahead(f64),
    /// Samples so many seconds later than they are.
    Later(f64),
    /// The newest samples first.
    Backwards,
}

impl Told {
    fn now(&self) -> f64 {
        let ahead = if let Lie::Ahead(by) = self.lie { by } else { 0.0 };
        self.clock.now().as_duration().as_secs_f64() + ahead
    }

    fn samples(&self, value: &str) -> Value {
        let now = (self.now() / 2.0).floor() * 2.0;
        let step = if let Lie::Apart(step) = self.lie { step } else { 2.0 };
        let later = if let Lie::Later(by) = self.lie { by } else { 0.0 };
        let mut samples: Vec<_> =
            (0..200).rev().map(|back| json!([now + later - step * f64::from(back), value])).collect();
        samples.retain(|sample| sample[0].as_f64().is_some_and(|at| at >= 0.0));
        if matches!(self.lie, Lie::Backwards) {
            samples.reverse();
        }
        json!(samples)
    }

    pub(super) fn answer(&self, request: &str) -> Value {
        let labels = json!({"job": "x", "instance": "x:80"});
        if request.contains("/api/v1/rules?type=alert") {
            let interval = if let Lie::Evaluated(interval) = self.lie { interval } else { 2.0 };
            let now = Timestamp::from_millisecond((self.now() * 1000.0) as i64).map(|at| at.to_string());
            let last = if let Lie::At(last) = self.lie { last.to_owned() } else { now.unwrap_or_default() };
            let rule = json!({"name": "Down", "type": "alerting", "health": "ok", "lastEvaluation": last});
            return json!({"groups": [{"name": "g", "interval": interval, "rules": [rule]}]});
        }
        if request.contains("/api/v1/targets") {
            let interval = if let Lie::Scraped(text) = self.lie { text } else { "2s" };
            let targets = if matches!(self.lie, Lie::Apart(_)) {
                json!([])
            } else {
                json!([{"labels": labels, "scrapeInterval": interval}])
            };
            return json!({"activeTargets": targets});
        }
        if request.contains("query=time%28%29") {
            return json!({"resultType": "scalar", "result": [self.now(), self.now().to_string()]});
        }
        if request.contains("ALERTS") {
            return json!({"resultType": "matrix", "result": []});
        }
        if request.contains("query=sum%28x") {
            return json!({"resultType": "vector", "result": [{"metric": {}, "value": [self.now(), "1"]}]});
        }
        json!({"resultType": "matrix", "result": [{"metric": labels, "values": self.samples("1")}]})
    }
}

/// What a check makes of it in this part of a run, and how many seconds it takes.
async fn outcome(lie: Lie, check: &dyn Check, under: bool) -> (Outcome, u64) {
    let clock = Clock::virtual_time();
    let started = clock.now();
    clock.sleep(secs(300)).await;
    let ended = clock.now();
    let phase = if under { Phase::Fault { method_started: started, method_ended: ended } } else { Phase::Gate };
    let told = Told { clock: clock.clone(), lie };
    let server: Arc<Server> = Server::new(move |_, request| success(&told.answer(request)));
    let scene = Scene { phase, clock: clock.clone(), ..virtually(&server) };
    let before = clock.elapsed();
    let finding = check.check(&scene).await.map_err(|error| error.to_string()).unwrap();
    (finding.judgement.outcome, (clock.elapsed() - before).as_secs())
}

fn series() -> Vec<Box<dyn Check>> {
    let client = Prometheus::new(ADDRESS);
    let counter = client.counter("x_total").label("job", "x");
    let gauge = client.gauge("x").label("job", "x");
    vec![
        Box::new(counter.growth().expect(at_most(0.0))),
        Box::new(counter.growth_over(secs(330)).expect(at_most(0.0))),
        Box::new(counter.rate().each().expect(at_most(0.0))),
        Box::new(gauge.value().expect(at_least(1.0))),
        Box::new(gauge.stays(at_least(1.0))),
        Box::new(client.query("sum(x{job=\"x\"})").expect(at_least(0.0))),
    ]
}

fn alert() -> Box<dyn Check> {
    Box::new(Prometheus::new(ADDRESS).alert("Down").stays_silent())
}

/// Every check knows nothing, says why, and takes no longer than the longest wait for two scrapes.
async fn nothing_is_known(lie: Lie, checks: &[Box<dyn Check>], why: &str) {
    for under in [false, true] {
        for check in checks {
            let (outcome, took) = outcome(lie, &**check, under).await;
            let what = format!("{lie:?}, under: {under}, {}: {outcome:?}", check.describe());
            let Outcome::Inconclusive(reason) = outcome else { panic!("{what}") };
            assert!(reason.to_string().contains(why), "{what}");
            assert!(took <= 1210, "{what}: {took}");
        }
    }
}

/// What each check of a series comes to, at the gate and under the fault: met, or why it is not known.
async fn known(lie: Lie, expected: [(Option<&str>, Option<&str>); 6]) {
    for (check, (gate, fault)) in series().iter().zip(expected) {
        for (under, expected) in [(false, gate), (true, fault)] {
            let (outcome, took) = outcome(lie, &**check, under).await;
            let what = format!("{lie:?}, under: {under}, {}: {outcome:?}", check.describe());
            match (outcome, expected) {
                (Outcome::Met, None) => {}
                (Outcome::Inconclusive(reason), Some(why)) => assert!(reason.to_string().contains(why), "{what}"),
                _ => panic!("{what}, and expected {expected:?}"),
            }
            assert!(took <= 1210, "{what}: {took}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lies_not_is_believed() {
    for under in [false, true] {
        for check in series().into_iter().chain([alert()]) {
            let (outcome, took) = outcome(Lie::None, &*check, under).await;
            assert_eq!(outcome, Outcome::Met, "{under} {}", check.describe());
            assert!(took <= 10, "{took}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn intervals_that_are_none_are_named() {
    for text in ["0s", "", "-5s", "-0s", "99999999999999999999d", "1000000h", "25h"] {
        nothing_is_known(Lie::Scraped(text), &series(), "which is no interval to wait for").await;
    }
    for interval in [0.0, -0.0, -5.0, 1e300, 90_000.0, f64::MIN, f64::MAX] {
        nothing_is_known(Lie::Evaluated(interval), &[alert()], "which is no interval to wait for").await;
    }
    // JSON has no NaN: it comes as null, which is no answer, and as text of an interval it is passed over for the samples.
    let (outcome, _) = outcome(Lie::Scraped("NaNs"), &*series().remove(0), true).await;
    assert_eq!(outcome, Outcome::Met);
}

#[tokio::test(start_paused = true)]
async fn an_interval_that_may_be_is_not_waited_for_for_ever() {
    for under in [false, true] {
        let (outcome, took) = outcome(Lie::At("2026-01-01T00:00:01Z"), &*alert(), under).await;
        let Outcome::Inconclusive(reason) = outcome else { panic!("{outcome:?}") };
        let reason = reason.to_string();
        assert!(reason.contains("evaluated at 2026-01-01T00:00:01Z for the last time"), "{reason}");
        assert!(took <= 12, "{took}");
    }
    // Scraped each 2 s as before, whatever it says.
    let (born, short) =
        (Some("it begins in the window"), Some("330 s is less than two scrapes, which are 86400 s apart"));
    let (met, by_start) = ((None, None), (None, born));
    known(Lie::Scraped("24h"), [by_start, (short, short), by_start, met, met, met]).await;
}

#[tokio::test(start_paused = true)]
async fn times_that_cannot_be_are_no_evidence() {
    let mut all = series();
    all.push(alert());
    for by in [-1_700_000_000.0, 1e6, 1e9, 200_000_000_000.0] {
        nothing_is_known(Lie::Ahead(by), &all, "ours; let both be set by NTP").await;
    }
    for by in [60.0, 1e6, 2e11] {
        nothing_is_known(Lie::Later(by), &series(), "s later than its own clock").await;
    }
    for at in ["9999-12-30T22:00:00Z", "2026-01-01T01:00:00Z"] {
        nothing_is_known(Lie::At(at), &[alert()], "s later than its own clock").await;
    }
    for at in ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "-9999-01-01T00:00:00Z", "yesterday", ""] {
        nothing_is_known(Lie::At(at), &[alert()], "stale data").await;
    }
    nothing_is_known(Lie::Backwards, &series(), "not in the order of their times").await;
    // Without a list of targets the samples tell: counters need what is between them, the newest value of a gauge does not.
    let (gap, born) = (Some("not scraped for 100000000 s"), Some("it begins in the window"));
    let unseen = Some("no sample for 302 s of the window");
    known(Lie::Apart(1e8), [(gap, gap), (gap, gap), (gap, gap), (None, None), (None, unseen), (None, None)]).await;
    known(Lie::Apart(0.0), [(born, born), (born, born), (born, born), (None, None), (None, unseen), (None, None)])
        .await;
}
