//! Alerts, and checks of whether they fire.

use std::time::Duration;

use futures_util::future::BoxFuture;
use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::token::T_EQL_REGEX;
use serde::Serialize;

use super::Prometheus;
use super::client::NoData;
use super::decode::Labels;
use super::growth::millis;
use super::rules::{self, Rule};
use super::selection::selector;
use super::settle::{GRACE, patience};
use super::timeline;
use super::value::parsed;
use crate::BoxError;
use crate::clock::Timestamp;
use crate::experiment::{Check, Finding, Phase, Scene, Stretch};
use crate::journal::{MetricSeries, Reason};
use crate::tolerance::Judgement;

/// The shortest time between two looks.
const SHORTEST_LOOK: f64 = 0.25;

/// The longest: an evaluation is seen so many seconds after it at the latest.
const LONGEST_LOOK: f64 = 15.0;

/// How many alerts of a rule are listed as evidence.
const MOST: usize = 20;

/// An alert, by the name of its rule and by labels. Made by [`Prometheus::alert`].
///
/// ```
/// # use steadfast::prelude::*;
/// use steadfast::lab::AlertRule;
///
/// steadfast::block_on(async |cluster| {
///     steadfast::shop(&cluster).await?;
///     cluster.lab()?.alert(AlertRule::new("CallsFail", "rate(failed_call_total[10s]) > 0").label("severity", "page"))?;
///     let shop = cluster.namespace("default");
///     let page = shop.prometheus().alert("CallsFail").label("severity", "page");
///
///     let paged = Hypothesis::new("we are paged when back is cut off").check(page.is_firing());
///     let front = shop.service("front").url("/");
///     let journal = Experiment::new("an alert fires", paged)
///         .background(&load::get(&front).per_second(10).lasting(secs(20)))
///         .inject(shop.pods("app=back").deny_ingress())
///         .run(&cluster)
///         .await?;
///     journal.assert_verdict(Met);
///     Ok(())
/// });
/// ```
#[derive(Clone, Debug)]
#[must_use = "an alert is a check once it says what it is to do: `.is_firing()` or `.stays_silent()`"]
pub struct Alert {
    prometheus: Prometheus,
    name: String,
    /// Label, operator, value.
    labels: Vec<(String, &'static str, String)>,
}

impl Alert {
    pub(super) fn new(prometheus: Prometheus, name: &str) -> Self {
        Self { prometheus, name: name.to_owned(), labels: Vec::new() }
    }

    /// Only alerts with this label.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), "=", value.to_owned()));
        self
    }

    /// Only alerts whose label matches the whole of a regular expression.
    pub fn matching(mut self, name: &str, pattern: &str) -> Self {
        self.labels.push((name.to_owned(), "=~", pattern.to_owned()));
        self
    }

    /// A check: under the fault, the alert fires at some time between the method's start and the first evaluation of
    /// its rule after the method's end. It is a claim about the fault, so it applies nowhere else, but as a
    /// [`Safeguard`](crate::experiment::Safeguard): there it must fire now, as one does that fires while all is well.
    ///
    /// The evaluation sees what was scraped until then: the method must last longer than the rule's `for`, an
    /// evaluation interval and a scrape interval together. An alert that fired before the method, too, has fired.
    pub fn is_firing(&self) -> AlertCheck {
        AlertCheck { alert: self.clone(), wanted: Wanted::Fires }
    }

    /// A check: the alert does not fire. Under the fault, at no time between the method's start and the first
    /// evaluation of its rule after the method's end: one that came and went has fired. While the method runs, at no
    /// time so far, also as a [`Safeguard`](crate::experiment::Safeguard); before the method and after the rollback,
    /// not now.
    pub fn stays_silent(&self) -> AlertCheck {
        AlertCheck { alert: self.clone(), wanted: Wanted::Silent }
    }

    fn shown(&self) -> String {
        selector(&self.name, self.labels.iter().map(|(name, op, value)| (name.as_str(), *op, value.as_str())))
    }

    /// Of the labels that a namespace adds, alerts of rules that aggregate have none: they count as everybody's.
    fn hidden(&self) -> impl Iterator<Item = (&str, String)> {
        self.prometheus.matchers.iter().map(|(name, value)| (name.as_str(), format!("{}|", regex::escape(value))))
    }

    /// The series that says when it fired.
    fn query(&self) -> String {
        let hidden: Vec<_> = self.hidden().collect();
        let fixed = [("alertname", "=", self.name.as_str()), ("alertstate", "=", "firing")];
        let given = self.labels.iter().map(|(name, op, value)| (name.as_str(), *op, value.as_str()));
        let hidden = hidden.iter().map(|(name, pattern)| (*name, "=~", pattern.as_str()));
        selector("ALERTS", fixed.into_iter().chain(given).chain(hidden))
    }

    /// What the labels of an alert that is meant have to be: read as those of a query are, a lone `{` too.
    fn matchers(&self) -> Result<Vec<Matcher>, BoxError> {
        let pattern = |name: &str, pattern: &str| {
            let whole = Matcher::new_matcher(T_EQL_REGEX, name.to_owned(), format!("(?s:{pattern})"));
            whole.map_err(|_| format!("{pattern:?}, for the label {name}, is no regular expression"))
        };
        let given = self.labels.iter().map(|(name, op, value)| match *op {
            "=" => Ok(Matcher::new(MatchOp::Equal, name, value)),
            _ => pattern(name, value),
        });
        Ok(given.chain(self.hidden().map(|(name, value)| pattern(name, &value))).collect::<Result<_, _>>()?)
    }

    /// What is known of it once its rule was evaluated after `fresh` instants, or as soon as it has fired.
    async fn look(&self, scene: &Scene, wanted: Wanted) -> Result<AlertState, NoData> {
        let matchers = self.matchers().map_err(NoData::Error)?;
        // Whether an alert with these labels is meant.
        let is_of = |labels: &Labels| {
            matchers.iter().all(|matcher| matcher.is_match(labels.get(&matcher.name).map_or("", String::as_str)))
        };
        let ahead = self.prometheus.ahead(scene).await?;
        let ahead = ahead.ok_or_else(|| self.prometheus.unavailable("it does not say what time it is"))?;
        let (since, after) = (|at: Timestamp| ahead.not_after(at), |at: Timestamp| ahead.not_before(at));
        // From when on it counts that it fired, and after what its rule must have been evaluated.
        let (since, anchor) = match scene.phase {
            Phase::Fault { method_started, method_ended } => (Some(since(method_started)), Some(after(method_ended))),
            Phase::Watch { method_started } => (Some(since(method_started)), None),
            Phase::Recovery { undone } => (None, Some(after(undone))),
            // Whoever needs it to fire needs that now.
            Phase::Safeguard { method_started: Some(at) } if wanted == Wanted::Silent => (Some(since(at)), None),
            Phase::Gate | Phase::Method { .. } | Phase::Safeguard { .. } => (None, None),
        };
        let started = scene.clock.elapsed();
        loop {
            let rules = self.rules(scene).await?;
            let now = ahead.server(scene.clock.now());
            for rule in &rules {
                self.prometheus.believes(&format!("rule {:?} is evaluated", rule.name), rule.interval)?;
            }
            let interval = rules.iter().map(|rule| rule.interval).fold(0.0, f64::max);
            if let Some(early) = rules.iter().find(|rule| rule.evaluated > now + GRACE) {
                let ahead = millis(early.evaluated - now);
                let why = format!("rule {:?} was evaluated {ahead} s later than its own clock", early.name);
                return Err(self.prometheus.unavailable(why));
            }
            let mut state = AlertState::default();
            for alert in rules.iter().flat_map(Rule::firing).filter(|labels| is_of(labels)) {
                state.saw(alert.clone(), None);
            }
            if let Some(since) = since {
                for series in self.prometheus.raw(scene, &self.query(), now - since + 1.0).await? {
                    if let Some((at, _)) = series.samples.iter().find(|(at, _)| *at >= since) {
                        state.saw(series.labels, Some(*at));
                    }
                }
            }
            let oldest = rules.iter().map(|rule| rule.evaluated).reduce(f64::min).unwrap_or(f64::NEG_INFINITY);
            state.evaluated = stamp(oldest);
            if state.fired {
                return Ok(state);
            }
            // Where nothing in particular has to be seen, an evaluation that is not overdue is as good as one of now.
            let needed = anchor.unwrap_or(now - 2.0 * interval - GRACE);
            if oldest > needed {
                return match rules.into_iter().find_map(|rule| rule.error) {
                    Some(why) => {
                        let what = format!("alert {}", self.shown());
                        Err(Reason::Unavailable { what, why: format!("its rule fails: {why}") }.into())
                    }
                    None => Ok(state),
                };
            }
            // A safeguard under faults is looked at again soon, and says meanwhile that it does not know.
            let waits = !matches!(scene.phase, Phase::Safeguard { method_started: Some(_) });
            if !waits || scene.clock.elapsed() - started >= patience(interval) {
                let why = match stamp(oldest) {
                    Some(at) => {
                        format!("its rule was evaluated at {at} for the last time, every {interval} s is usual")
                    }
                    None => "its rule was never evaluated".to_owned(),
                };
                return Err(Reason::StaleData { what: format!("alert {}", self.shown()), why }.into());
            }
            scene.clock.sleep(Duration::from_secs_f64((interval / 4.0).clamp(SHORTEST_LOOK, LONGEST_LOOK))).await;
        }
    }

    /// Its rules: there may be several of a name, for two severities.
    async fn rules(&self, scene: &Scene) -> Result<Vec<Rule>, NoData> {
        let all = self.prometheus.rules(scene).await?;
        let named: Vec<&Rule> = all.iter().filter(|rule| rule.name == self.name).collect();
        let ours: Vec<Rule> = named.iter().filter(|rule| self.may_be_of(rule)).map(|rule| (*rule).clone()).collect();
        if !ours.is_empty() {
            return Ok(ours);
        }
        let why = match named.as_slice() {
            [] => format!("there is no alerting rule {:?}; {}", self.name, rules::near(&self.name, &all)),
            named => {
                let labels: Vec<_> = named.iter().map(|rule| shown(&rule.labels)).collect();
                format!("the rule has other labels: {}", labels.join("; "))
            }
        };
        Err(Reason::NoData { what: format!("alert {}", self.shown()), why }.into())
    }

    /// Whether alerts of this rule can have the labels: those that the rule itself sets are known.
    fn may_be_of(&self, rule: &Rule) -> bool {
        self.labels.iter().all(|(name, op, value)| match rule.labels.get(name) {
            Some(set) if !set.contains("{{") && *op == "=" => set == value,
            _ => true,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Fires,
    Silent,
}

/// A check of an alert. Made by [`Alert::is_firing`] and [`Alert::stays_silent`].
///
/// An alert that has no rule, whose rule fails or is not evaluated any more is inconclusive, never met.
#[derive(Clone, Debug)]
#[must_use = "a check does nothing until it is part of a hypothesis"]
pub struct AlertCheck {
    alert: Alert,
    wanted: Wanted,
}

impl AlertCheck {
    fn expected(&self) -> &'static str {
        match self.wanted {
            Wanted::Fires => "that it fires",
            Wanted::Silent => "silence",
        }
    }
}

impl Check for AlertCheck {
    fn describe(&self) -> String {
        format!("alert {}: {}", self.alert.shown(), self.expected())
    }

    fn looks_back(&self) -> std::time::Duration {
        std::time::Duration::MAX
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.alert.prometheus.validate()?;
        parsed(&self.alert.query())?;
        self.alert.matchers().map(drop)
    }

    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        Box::pin(async move {
            match self.alert.rules(scene).await {
                Ok(_) => Ok(Vec::new()),
                Err(NoData::Inconclusive(reason)) => Ok(vec![format!("not to be judged now: {reason}")]),
                Err(NoData::Error(error)) => Err(error),
            }
        })
    }

    fn timeline<'a>(
        &'a self,
        scene: &'a Scene,
        run: &'a Stretch,
    ) -> BoxFuture<'a, Result<Vec<MetricSeries>, BoxError>> {
        Box::pin(timeline::of_alert(&self.alert.prometheus, &self.alert.name, self.alert.query(), scene, run))
    }

    fn check<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>> {
        Box::pin(async move {
            let expected = self.expected();
            let without = |judgement| Ok(Finding { judgement, evidence: serde_json::Value::Null });
            if self.wanted == Wanted::Fires && !matches!(scene.phase, Phase::Fault { .. } | Phase::Safeguard { .. }) {
                return without(Judgement::not_applicable(expected));
            }
            match self.alert.look(scene, self.wanted).await {
                Ok(state) => {
                    let words = if state.fired { "fired" } else { "silent" };
                    let met = state.fired == (self.wanted == Wanted::Fires);
                    let judgement = Judgement::of(met, state.seen(), expected, (words, words));
                    Ok(Finding { judgement, evidence: serde_json::to_value(&state)? })
                }
                Err(NoData::Inconclusive(reason)) => without(Judgement::inconclusive(reason, expected)),
                Err(NoData::Error(error)) => Err(error),
            }
        })
    }
}

/// What is known of an alert; the evidence in the journal.
#[derive(Clone, Debug, Default, Serialize)]
struct AlertState {
    /// Whether it fired when it had to be looked at.
    fired: bool,
    /// The first evaluation of that time at which it did, if that is known.
    since: Option<Timestamp>,
    /// The last evaluation of its rule, the oldest of several.
    evaluated: Option<Timestamp>,
    /// What fired, at most twenty.
    alerts: Vec<Labels>,
}

impl AlertState {
    fn saw(&mut self, mut labels: Labels, at: Option<f64>) {
        self.fired = true;
        let at = at.and_then(stamp);
        self.since = match (self.since, at) {
            (Some(known), Some(at)) => Some(known.min(at)),
            (known, at) => known.or(at),
        };
        for of_the_series in ["__name__", "alertstate"] {
            labels.remove(of_the_series);
        }
        if self.alerts.len() < MOST && !self.alerts.contains(&labels) {
            self.alerts.push(labels);
        }
    }

    fn seen(&self) -> String {
        if !self.fired {
            return "silent".to_owned();
        }
        let since = self.since.map(|at| format!(" since {at}")).unwrap_or_default();
        let alerts: Vec<_> = self.alerts.iter().map(shown).collect();
        format!("firing{since}: {}", alerts.join("; "))
    }
}

fn shown(labels: &Labels) -> String {
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", labels.join(","))
}

/// An instant of the API, if it is one; the one that means "never" is none.
fn stamp(seconds: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "the times of the API have milliseconds")]
    let millis = (seconds * 1000.0).round() as i64;
    if millis > 0 { Timestamp::from_millisecond(millis).ok() } else { None }
}
