//! Alerts of servers that do not do what they should.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ADDRESS, Server, judged, success, virtually};
use crate::clock::{Clock, Timestamp, secs};
use crate::experiment::{Check, Phase, Scene};
use crate::journal::Reason;
use crate::prometheus::Prometheus;
use crate::tolerance::Outcome;

/// A server whose clock is so many seconds ahead, with one rule that is evaluated `every` so many seconds, and what it
/// says of its alerts.
struct Told {
    clock: Clock,
    ahead: i64,
    every: i64,
    /// After how many seconds of ours the evaluations end.
    until: i64,
    firing: Value,
    series: Value,
}

impl Told {
    fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), ahead: 0, every: 2, until: i64::MAX, firing: json!([]), series: json!([]) }
    }

    fn now(&self) -> f64 {
        self.clock.now().as_duration().as_secs_f64() + self.ahead as f64
    }

    fn answer(&self, request: &str) -> Value {
        if request.contains("/api/v1/rules?type=alert") {
            let second = self.clock.now().as_second().min(origin().saturating_add(self.until));
            let last = second.div_euclid(self.every) * self.every + self.ahead;
            let last = Timestamp::from_second(last).unwrap().to_string();
            let last = if self.until < 0 { "0001-01-01T00:00:00Z".to_owned() } else { last };
            let rule = json!({"name": "Down", "type": "alerting", "health": "ok", "lastEvaluation": last,
                "labels": {"severity": "page"}, "alerts": self.firing});
            return json!({"groups": [{"name": "g", "interval": self.every, "rules": [rule]}]});
        }
        if request.contains("query=time%28%29") {
            return json!({"resultType": "scalar", "result": [self.now(), self.now().to_string()]});
        }
        json!({"resultType": "matrix", "result": self.series})
    }
}

fn origin() -> i64 {
    1_767_225_600
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(origin() + second).unwrap()
}

/// The outcome of a check at this part of a run, with what it takes of the time.
async fn outcome(told: Told, check: impl Check, phase: Phase) -> (Outcome, u64) {
    let clock = told.clock.clone();
    let server: Arc<Server> = Server::new(move |_, request| success(&told.answer(request)));
    let scene = Scene { phase, clock: clock.clone(), ..virtually(&server) };
    let before = clock.elapsed();
    let finding = judged(&check, &scene).await.unwrap();
    (finding.judgement.outcome, (clock.elapsed() - before).as_secs())
}

fn down() -> crate::prometheus::Alert {
    Prometheus::new(ADDRESS).with_matcher("namespace", "shop").alert("Down")
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_is_not_evaluated_any_more_is_no_silence() {
    for (until, part) in [(-1, "was never evaluated"), (7, "2026-01-01T00:00:06Z for the last time")] {
        let clock = Clock::virtual_time();
        clock.sleep(secs(100)).await;
        for phase in [Phase::Gate, Phase::Watch { method_started: at(50) }, Phase::Recovery { undone: at(90) }] {
            let told = Told { until, ..Told::new(&clock) };
            let (outcome, took) = outcome(told, down().stays_silent(), phase).await;
            let Outcome::Inconclusive(Reason::StaleData { why, .. }) = outcome else { panic!("{outcome:?}") };
            assert!(why.contains(part), "{why}");
            assert!((11..=12).contains(&took), "three intervals and five seconds: {took}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_the_servers_clock_that_counts() {
    for ahead in [0, 3600, -3600] {
        let clock = Clock::virtual_time();
        clock.sleep(secs(100)).await;
        let phase = Phase::Fault { method_started: at(50), method_ended: at(100) };
        let sample = |second: i64| json!([{"metric": {}, "values": [[origin() + second + ahead, "1"]]}]);
        for (second, fired) in [(49, false), (50, true), (99, true)] {
            let told = Told { ahead, series: sample(second), ..Told::new(&clock) };
            let (outcome, took) = outcome(told, down().stays_silent(), phase).await;
            assert_eq!(outcome, if fired { Outcome::NotMet } else { Outcome::Met }, "{ahead} {second}");
            assert!(took <= 3, "{took}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_fires_now_is_known_of_the_rule_even_without_its_series() {
    let clock = Clock::virtual_time();
    clock.sleep(secs(100)).await;
    for (labels, state, fired) in [
        (json!({"namespace": "shop"}), "firing", true),
        (json!({}), "firing", true),
        (json!({"namespace": "another"}), "firing", false),
        (json!({"namespace": "shop"}), "pending", false),
    ] {
        let firing = json!([{"labels": labels, "state": state}]);
        let told = || Told { firing: firing.clone(), ..Told::new(&clock) };
        let under = || Phase::Fault { method_started: at(50), method_ended: clock.now() };
        for phase in [Phase::Gate, under()] {
            let (outcome, _) = outcome(told(), down().stays_silent(), phase).await;
            assert_eq!(outcome, if fired { Outcome::NotMet } else { Outcome::Met }, "{labels} {state}");
        }
        let (outcome, _) = outcome(told(), down().is_firing(), under()).await;
        assert_eq!(outcome, if fired { Outcome::Met } else { Outcome::NotMet }, "{labels} {state}");
    }
    for phase in [Phase::Gate, Phase::Watch { method_started: at(50) }, Phase::Recovery { undone: at(90) }] {
        let (outcome, _) = outcome(Told::new(&clock), down().is_firing(), phase).await;
        assert_eq!(outcome, Outcome::NotApplicable);
    }
}

#[tokio::test(start_paused = true)]
async fn rules_that_cannot_be_read_are_no_silence() {
    let data = [json!(null), json!({"groups": 1}), json!({"groups": [{"rules": [{"name": 1}]}]}), json!([])];
    for data in data {
        let scalar = json!({"resultType": "scalar", "result": [origin(), "1"]});
        let rules = data.clone();
        let server = Server::new(move |_, request| success(if request.contains("rules") { &rules } else { &scalar }));
        let why = super::unavailable(&down().stays_silent(), &virtually(&server)).await;
        assert!(why.contains("what it says of its rules cannot be read"), "{why}");
    }
    let odd = json!({"groups": [{"rules": [{"name": "Down", "lastEvaluation": "soon"}]}, {"interval": -1}]});
    let scalar = json!({"resultType": "scalar", "result": [origin(), "1"]});
    let server = Server::new(move |_, request| success(if request.contains("rules") { &odd } else { &scalar }));
    let finding = judged(&down().stays_silent(), &virtually(&server)).await.unwrap();
    assert!(matches!(finding.judgement.outcome, Outcome::Inconclusive(Reason::StaleData { .. })), "{finding:?}");
}
