//! Alerting and recording rules, evaluated on an interval.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::eval::{Answer, TIMEOUT, Terms, instant};
use super::labels::NAME;
use super::numbers::plain;
use super::promql::{Query, Refusal, formatted, parse};
use super::tsdb::{Labels, Tsdb};
use crate::clock::{Clock, Timestamp};

/// How long an alert that is no longer there is remembered, in milliseconds: as the real one has it.
const REMEMBERED: i64 = 15 * 60 * 1000;

/// A rule that fires when its expression has series.
///
/// ```
/// # use std::time::Duration;
/// use steadfast::lab::AlertRule;
///
/// AlertRule::new("TargetDown", "up == 0")
///     .lasting(Duration::from_secs(10))
///     .label("severity", "page")
///     .annotation("summary", "{{ $labels.job }} is down");
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is evaluated once it is given to `Lab::alert`"]
pub struct AlertRule {
    name: String,
    expr: String,
    lasting: Duration,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl AlertRule {
    /// A rule that fires at once for each series of `expr`.
    pub fn new(name: impl Into<String>, expr: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            expr: expr.into(),
            lasting: Duration::ZERO,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// How long a series must last before its alert fires (`for`); until then it is pending.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = duration;
        self
    }

    /// A label of its alerts. `{{ $value }}` and `{{ $labels.NAME }}` are filled in.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// An annotation of its alerts, filled in as labels are.
    pub fn annotation(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(name.into(), value.into());
        self
    }
}

/// A rule that stores what its expression is worth under another name.
#[derive(Clone, Debug)]
#[must_use = "it is evaluated once it is given to `Lab::record`"]
pub struct RecordingRule {
    name: String,
    expr: String,
    labels: BTreeMap<String, String>,
}

impl RecordingRule {
    /// Stores `expr` as `name`.
    pub fn new(name: impl Into<String>, expr: impl Into<String>) -> Self {
        Self { name: name.into(), expr: expr.into(), labels: BTreeMap::new() }
    }

    /// A label of the stored series.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }
}

/// A rule that the lab's Prometheus does not take.
#[derive(Debug, thiserror::Error)]
#[error("failed to take the rule {name}: {why}")]
pub struct BadRule {
    name: String,
    why: String,
}

/// Whether an alert waits for its `for`, or has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AlertState {
    Inactive,
    Pending,
    Firing,
}

impl AlertState {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// One alert of a rule.
#[derive(Clone, Debug)]
pub(super) struct Alert {
    pub(super) labels: Labels,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) state: AlertState,
    /// Since when, in milliseconds.
    pub(super) active_at: i64,
    resolved_at: Option<i64>,
    pub(super) value: f64,
}

pub(super) enum What {
    Alert { lasting: Duration, annotations: BTreeMap<String, String>, alerts: BTreeMap<Labels, Alert> },
    Record,
}

/// A rule, and how its last evaluation went.
pub(super) struct Rule {
    pub(super) name: String,
    query: Query,
    /// The expression in its usual form.
    pub(super) expr: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) what: What,
    pub(super) error: Option<String>,
    pub(super) evaluated: Option<Timestamp>,
    /// The series of the last evaluation.
    written: Vec<Labels>,
}

impl Rule {
    /// The alerts that are there, not those that are remembered.
    pub(super) fn alerts(&self) -> Vec<&Alert> {
        match &self.what {
            What::Alert { alerts, .. } => alerts.values().filter(|alert| alert.state != AlertState::Inactive).collect(),
            What::Record => vec![],
        }
    }

    pub(super) fn state(&self) -> AlertState {
        self.alerts().iter().map(|alert| alert.state).max().unwrap_or(AlertState::Inactive)
    }

    pub(super) fn health(&self) -> &'static str {
        match (self.evaluated, &self.error) {
            (None, _) => "unknown",
            (_, None) => "ok",
            (_, Some(_)) => "err",
        }
    }

    fn evaluate(&mut self, tsdb: &Tsdb, at: i64, now: Timestamp) {
        self.evaluated = Some(now);
        let terms = Terms::of(TIMEOUT);
        let found = instant(tsdb, &self.query, at, terms).and_then(|(answer, _)| match answer {
            Answer::Vector(vector) => Ok(vector),
            Answer::Scalar(value) => Ok(vec![(Labels::default(), value)]),
            _ => Err(Refusal::Execution("rule result is not a vector or scalar".into())),
        });
        let samples = match found.map_err(text).and_then(|found| self.samples(found, at)) {
            Ok(samples) => {
                self.error = None;
                samples
            }
            Err(why) => {
                self.error = Some(why);
                return;
            }
        };
        for labels in self.written.iter().filter(|labels| !samples.iter().any(|(new, _)| new == *labels)) {
            tsdb.end(labels, at);
        }
        for (labels, value) in &samples {
            // A second evaluation of the same time is none.
            let _ = tsdb.append(labels, at, *value);
        }
        self.written = samples.into_iter().map(|(labels, _)| labels).collect();
    }

    /// What is to be stored.
    fn samples(&mut self, found: Vec<(Labels, f64)>, at: i64) -> Result<Vec<(Labels, f64)>, String> {
        let Self { name, labels: own, what, .. } = self;
        let What::Alert { lasting, annotations, alerts } = what else {
            let stored = found.into_iter().map(|(labels, value)| {
                let labels = own.iter().fold(labels.with(NAME, name), |labels, (name, value)| labels.with(name, value));
                (labels, value)
            });
            let stored: Vec<_> = stored.collect();
            let distinct: std::collections::BTreeSet<&Labels> = stored.iter().map(|(labels, _)| labels).collect();
            return if distinct.len() == stored.len() {
                Ok(stored)
            } else {
                Err("vector contains metrics with the same labelset after applying rule labels".into())
            };
        };
        let mut seen = BTreeMap::new();
        for (labels, value) in found {
            let filled = |text: &String| filled_in(text, &labels, value);
            let mut all = labels.without_name();
            for (name, value) in own.iter() {
                all = all.with(name, &filled(value));
            }
            let all = all.with("alertname", name);
            let annotations = annotations.iter().map(|(name, value)| (name.clone(), filled(value))).collect();
            if seen.insert(all, (value, annotations)).is_some() {
                return Err("vector contains metrics with the same labelset after applying alert labels".into());
            }
        }
        let lasting = i64::try_from(lasting.as_millis()).unwrap_or(i64::MAX);
        for (labels, (value, annotations)) in &seen {
            match alerts.get_mut(labels).filter(|alert| alert.state != AlertState::Inactive) {
                Some(alert) => {
                    (alert.value, alert.annotations) = (*value, BTreeMap::clone(annotations));
                }
                None => {
                    let alert = Alert {
                        labels: labels.clone(),
                        annotations: BTreeMap::clone(annotations),
                        state: AlertState::Pending,
                        active_at: at,
                        resolved_at: None,
                        value: *value,
                    };
                    alerts.insert(labels.clone(), alert);
                }
            }
        }
        alerts.retain(|labels, alert| {
            if seen.contains_key(labels) {
                if alert.state == AlertState::Pending && at - alert.active_at >= lasting {
                    alert.state = AlertState::Firing;
                }
                return true;
            }
            if alert.state == AlertState::Firing {
                (alert.state, alert.resolved_at) = (AlertState::Inactive, Some(at));
            }
            alert.state == AlertState::Inactive && alert.resolved_at.is_some_and(|since| at - since <= REMEMBERED)
        });
        let mut samples = Vec::new();
        for alert in alerts.values().filter(|alert| alert.state != AlertState::Inactive) {
            let state = alert.labels.with("alertstate", alert.state.name());
            samples.push((state.with(NAME, "ALERTS"), 1.0));
            #[expect(clippy::cast_precision_loss, reason = "seconds of this millennium fit")]
            samples.push((alert.labels.with(NAME, "ALERTS_FOR_STATE"), alert.active_at.div_euclid(1000) as f64));
        }
        Ok(samples)
    }
}

fn text(refusal: Refusal) -> String {
    match refusal {
        Refusal::BadData(why) | Refusal::Execution(why) | Refusal::Timeout(why) => why,
    }
}

/// Fills in `{{ $value }}`, `{{ $labels.NAME }}` and `{{ .Value }}`, `{{ .Labels.NAME }}`; anything else stays.
fn filled_in(text: &str, labels: &Labels, value: f64) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("{{") {
        let Some((inside, after)) = behind.split_once("}}") else { break };
        out.push_str(before);
        let word = inside.trim().trim_matches('-').trim();
        let label = word.strip_prefix("$labels.").or_else(|| word.strip_prefix(".Labels."));
        match (word, label) {
            ("$value" | ".Value", _) => out.push_str(&plain(value)),
            (_, Some(name)) => out.push_str(labels.get(name)),
            _ => {
                out.push_str("{{");
                out.push_str(inside);
                out.push_str("}}");
            }
        }
        rest = after;
    }
    out + rest
}

/// All rules, in one group. Cheap to clone.
#[derive(Clone)]
pub(super) struct Rules {
    shared: Arc<Mutex<Vec<Rule>>>,
    /// How often they are evaluated.
    pub(super) interval: Duration,
    wake: Arc<tokio::sync::Notify>,
}

impl Rules {
    pub(super) fn new(interval: Duration) -> Self {
        Self { shared: Arc::default(), interval, wake: Arc::default() }
    }

    pub(super) fn all(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn alert(&self, rule: AlertRule) -> Result<(), BadRule> {
        let AlertRule { name, expr, lasting, labels, annotations } = rule;
        self.add(name, &expr, labels, What::Alert { lasting, annotations, alerts: BTreeMap::new() })
    }

    pub(super) fn record(&self, rule: RecordingRule) -> Result<(), BadRule> {
        let RecordingRule { name, expr, labels } = rule;
        if !super::labels::is_metric_name(&name) {
            return Err(BadRule { why: format!("invalid recording rule name: {name}"), name });
        }
        self.add(name, &expr, labels, What::Record)
    }

    fn add(&self, name: String, expr: &str, labels: BTreeMap<String, String>, what: What) -> Result<(), BadRule> {
        let query = match parse(expr) {
            Ok(query) => query,
            Err(refusal) => {
                return Err(BadRule { why: format!("could not parse expression: {}", text(refusal)), name });
            }
        };
        if let Some(bad) = labels.keys().find(|name| !super::labels::is_label_name(name) || *name == NAME) {
            return Err(BadRule { why: format!("invalid label name: {bad}"), name });
        }
        let expr = formatted(&query);
        let (error, evaluated, written) = (None, None, vec![]);
        self.all().push(Rule { name, query, expr, labels, what, error, evaluated, written });
        self.wake.notify_one();
        Ok(())
    }

    /// Evaluates all rules, as long as it is polled.
    pub(super) async fn run(self, tsdb: Tsdb, clock: Clock) {
        let interval = i64::try_from(self.interval.as_millis()).unwrap_or(i64::MAX).max(1);
        loop {
            if self.all().is_empty() {
                // Without rules there is nothing to wake for.
                self.wake.notified().await;
            }
            let now = clock.now().as_millisecond();
            let next = now - now.rem_euclid(interval) + interval;
            clock.sleep_until(Timestamp::from_millisecond(next).unwrap_or(Timestamp::MAX)).await;
            for rule in self.all().iter_mut() {
                rule.evaluate(&tsdb, next, clock.now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> (Rules, Tsdb) {
        (Rules::new(Duration::from_secs(1)), Tsdb::default())
    }

    fn evaluate(rules: &Rules, tsdb: &Tsdb, at: i64) {
        for rule in rules.all().iter_mut() {
            rule.evaluate(tsdb, at, Timestamp::from_millisecond(at).unwrap());
        }
    }

    fn value(tsdb: &Tsdb, query: &str, at: i64) -> Vec<(Labels, f64)> {
        match instant(tsdb, &parse(query).unwrap(), at, Terms::of(TIMEOUT)).unwrap().0 {
            Answer::Vector(vector) => vector,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_alert_waits_fires_and_goes() {
        let (rules, tsdb) = rules();
        let rule = AlertRule::new("Down", "up == 0").lasting(Duration::from_secs(3)).label("severity", "page");
        rules.alert(rule.annotation("summary", "{{ $labels.job }} is {{$value}}, {{ other }}")).unwrap();
        let up = Labels::of(&[(NAME, "up"), ("job", "a")]);
        let state = || rules.all()[0].state().name();
        for second in 0..10 {
            let at = second * 1000;
            tsdb.append(&up, at, if (2..8).contains(&second) { 0.0 } else { 1.0 }).unwrap();
            evaluate(&rules, &tsdb, at);
            let wanted = match second {
                2..5 => "pending",
                5..8 => "firing",
                _ => "inactive",
            };
            assert_eq!(state(), wanted, "at {second} s");
            let alerts = value(&tsdb, "ALERTS", at);
            assert_eq!(alerts.len(), usize::from((2..8).contains(&second)));
            assert!(alerts.iter().all(|(labels, _)| labels.get("alertstate") == wanted && labels.get("job") == "a"));
            if second == 6 {
                let rules = rules.all();
                let alert = rules[0].alerts()[0];
                assert_eq!(alert.labels, Labels::of(&[("alertname", "Down"), ("job", "a"), ("severity", "page")]));
                assert_eq!(alert.annotations["summary"], "a is 0, {{ other }}");
                assert_eq!(value(&tsdb, "ALERTS_FOR_STATE", at)[0].1, 2.0);
            }
        }
    }

    #[test]
    fn a_recording_rule_stores_its_expression() {
        let (rules, tsdb) = rules();
        rules.record(RecordingRule::new("job:up:sum", "sum by (job) (up)").label("x", "y")).unwrap();
        tsdb.append(&Labels::of(&[(NAME, "up"), ("job", "a"), ("i", "1")]), 0, 1.0).unwrap();
        tsdb.append(&Labels::of(&[(NAME, "up"), ("job", "a"), ("i", "2")]), 0, 1.0).unwrap();
        evaluate(&rules, &tsdb, 1000);
        let wanted = Labels::of(&[(NAME, "job:up:sum"), ("job", "a"), ("x", "y")]);
        assert_eq!(value(&tsdb, "job:up:sum", 1000), [(wanted, 2.0)]);
    }

    #[test]
    fn what_goes_wrong_is_told() {
        let (rules, tsdb) = rules();
        assert!(
            rules.alert(AlertRule::new("A", "up[")).unwrap_err().to_string().contains("the rule A: could not parse")
        );
        assert!(rules.alert(AlertRule::new("A", "up").label("a b", "c")).is_err());
        assert!(rules.record(RecordingRule::new("a b", "up")).is_err());
        rules.alert(AlertRule::new("Bad", "up * on () up")).unwrap();
        for instance in ["1", "2"] {
            tsdb.append(&Labels::of(&[(NAME, "up"), ("i", instance)]), 0, 1.0).unwrap();
        }
        assert_eq!(rules.all()[0].health(), "unknown");
        evaluate(&rules, &tsdb, 0);
        assert_eq!(rules.all()[0].health(), "err");
        assert!(rules.all()[0].error.as_ref().unwrap().starts_with("found duplicate series"));
    }
}
