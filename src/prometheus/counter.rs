//! Counters, and checks of their growth.

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Prometheus;
use super::client::NoData;
use super::growth::{Growth, Window, growth};
use super::settle::Settle;
use super::value::{observed, parsed};
use crate::BoxError;
use crate::experiment::{Observed, Phase, Probe, Scene};
use crate::journal::Reason;

/// Labels that name a target, rather than what it counts.
const TARGET_LABELS: &[&str] = &["job", "namespace", "instance", "pod"];

/// The label that must be given for a target to be known.
const JOB: &str = "job";

/// A counter, by its name and labels.
#[derive(Clone, Debug)]
pub struct Counter {
    pub(super) prometheus: Prometheus,
    name: String,
    /// Label, operator, value.
    labels: Vec<(String, &'static str, String)>,
    /// Those that the namespace adds: they differ from run to run and are not shown.
    hidden: Vec<(String, String)>,
}

impl Counter {
    pub(super) fn new(prometheus: Prometheus, name: &str, hidden: Vec<(String, String)>) -> Self {
        Self { prometheus, name: name.to_owned(), labels: Vec::new(), hidden }
    }

    /// Only series with this label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), "=", value.to_owned()));
        self
    }

    /// Only series whose label matches the whole of a regular expression.
    #[must_use]
    pub fn matching(mut self, name: &str, pattern: &str) -> Self {
        self.labels.push((name.to_owned(), "=~", pattern.to_owned()));
        self
    }

    /// A probe: by how much the counter grew, all its series together. What the window is depends on the phase:
    /// before the method and after the rollback it lies between two fresh scrapes; under the fault it runs from the
    /// method's start to the first scrape after its end.
    pub fn growth(&self) -> CounterGrowth {
        CounterGrowth { counter: self.clone(), over: None, when_absent: None }
    }

    /// A probe: by how much the counter grew over the last `duration`, which must reach back to the method's start.
    pub fn growth_over(&self, duration: Duration) -> CounterGrowth {
        CounterGrowth { counter: self.clone(), over: Some(duration), when_absent: None }
    }

    fn shown(&self) -> String {
        selector(&self.name, self.labels.iter().map(|(name, op, value)| (name.as_str(), *op, value.as_str())))
    }

    pub(super) fn query(&self) -> String {
        selector(&self.name, self.all())
    }

    /// The query for whether the target is up; `None` if the labels name no job.
    pub(super) fn up(&self) -> Option<String> {
        let of_target = |(name, ..): &(&str, &str, &str)| TARGET_LABELS.contains(name);
        self.labels.iter().any(|(name, ..)| name == JOB).then(|| selector("up", self.all().filter(of_target)))
    }

    fn all(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let given = self.labels.iter().map(|(name, op, value)| (name.as_str(), *op, value.as_str()));
        given.chain(self.hidden.iter().map(|(name, value)| (name.as_str(), "=", value.as_str())))
    }
}

fn selector<'a>(name: &str, labels: impl Iterator<Item = (&'a str, &'a str, &'a str)>) -> String {
    let mut text = name.to_owned();
    for (number, (label, operator, value)) in labels.enumerate() {
        let separator = if number == 0 { '{' } else { ',' };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{label}{operator}\"{value}\"");
    }
    if text.len() > name.len() {
        text.push('}');
    }
    text
}

/// A probe of a counter's growth. Made by [`Counter::growth`] and [`Counter::growth_over`].
#[derive(Clone, Debug)]
#[must_use = "a probe does nothing until it is observed or expected"]
pub struct CounterGrowth {
    counter: Counter,
    over: Option<Duration>,
    when_absent: Option<f64>,
}

impl CounterGrowth {
    /// The growth of a counter that does not exist, where its labels name no job and so no target can be asked.
    /// It never overrides a target that is known to be down.
    pub fn or_when_absent(mut self, growth: f64) -> Self {
        self.when_absent = Some(growth);
        self
    }

    async fn look(&self, scene: &Scene) -> Result<Growth, NoData> {
        let mut settle = Settle::new(&self.counter, scene).await?;
        let now = settle.local(scene.clock.now());
        let window = match (self.over, scene.phase) {
            (Some(over), phase) => {
                let anchor =
                    if let Phase::Fault { method_ended, .. } = phase { settle.local(method_ended) } else { now };
                let to = settle.scraped_after(anchor).await?;
                let from = to - over.as_secs_f64();
                self.reaches_back(from, &settle, phase)?;
                Window { from, to }
            }
            (None, Phase::Gate) => settle.between_scrapes_after(now).await?,
            (None, Phase::Recovery { undone }) => settle.between_scrapes_after(settle.local(undone)).await?,
            (None, Phase::Fault { method_started, method_ended }) => {
                let to = settle.scraped_after(settle.local(method_ended)).await?;
                Window { from: settle.local(method_started), to }
            }
            (None, Phase::Method { method_started } | Phase::Watch { method_started }) => {
                let from = settle.local(method_started);
                Window { from, to: settle.newest_after(from).await? }
            }
        };
        let samples = settle.samples(window).await?;
        growth(&self.counter.query(), &samples, window, self.when_absent, settle.interval()).map_err(NoData::from)
    }

    /// A window that begins after the method would not see the first failures.
    fn reaches_back(&self, from: f64, settle: &Settle<'_>, phase: Phase) -> Result<(), NoData> {
        let what = self.describe();
        let over = self.over.unwrap_or_default().as_secs_f64();
        if over < 2.0 * settle.interval() {
            let why = format!("{over} s is less than two scrapes, which are {} s apart", settle.interval());
            return Err(Reason::WindowTooShort { what, why }.into());
        }
        if let Phase::Fault { method_started, .. } = phase {
            let started = settle.local(method_started);
            if from > started {
                let needed = (over + from - started).ceil();
                let why =
                    format!("it begins {:.1} s after the method; use at least {needed} s, or growth()", from - started);
                return Err(Reason::WindowTooShort { what, why }.into());
            }
        }
        Ok(())
    }
}

impl Probe for CounterGrowth {
    type Output = Growth;

    fn describe(&self) -> String {
        match self.over {
            None => format!("growth of {}", self.counter.shown()),
            Some(over) => format!("growth of {} over {over:?}", self.counter.shown()),
        }
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.counter.prometheus.validate()?;
        parsed(&self.counter.query())
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<Growth>, BoxError>> {
        Box::pin(async move { observed(self.look(scene).await) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_the_namespace_is_not_shown() {
        let prometheus = Prometheus::new("http://localhost:9090").with_matcher("namespace", "shop-x7");
        let counter = prometheus.counter("failed_call_total").label("job", "front").label("to", "a\"b\\c\n");
        assert_eq!(counter.shown(), r#"failed_call_total{job="front",to="a\"b\\c\n"}"#);
        assert_eq!(counter.up().unwrap(), r#"up{job="front",namespace="shop-x7"}"#);
        assert!(counter.growth().validate().is_ok());
        assert!(prometheus.counter("x").up().is_none(), "a namespace alone names no target");
    }

    #[test]
    fn what_does_not_parse_is_named() {
        let prometheus = Prometheus::new("http://localhost:9090");
        let error = prometheus.counter("failed calls").growth().validate().unwrap_err().to_string();
        assert!(error.contains("failed calls") && error.contains("does not parse"), "{error}");
        let error = prometheus.counter("x").label("a-b", "1").growth().validate().unwrap_err().to_string();
        assert!(error.contains("a-b"), "{error}");
        let error = Prometheus::new("localhost:9090").query("up").validate().unwrap_err().to_string();
        assert!(error.contains("malformed URL"), "{error}");
    }
}
