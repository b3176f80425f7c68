//! `chaosprometheus.metrics`: what a run is and was, for a Prometheus Pushgateway.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE;
use futures_util::future::BoxFuture;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;

use super::{At, Given, Hooks, Means, Moment, Trouble, When};
use crate::clock::Clock;
use crate::document::hash::experiment_hash;
use crate::document::run::log::{Level, Log};
use crate::transport::{Address, Request, Transport};

/// The version of chaostoolkit-lib that journals here are of.
const LIB_VERSION: &str = "1.44.0";

/// The buckets of the Python client, in seconds; what is longer is in the last.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

const STATUSES: [&str; 4] = ["completed", "failed", "aborted", "interrupted"];

pub(super) struct Metrics {
    transport: Arc<dyn Transport>,
    clock: Clock,
    log: Log,
    run: String,
    /// The hash of the experiment as it was configured.
    hash: Mutex<Option<String>>,
}

impl Metrics {
    pub(super) fn new(means: &Means) -> Self {
        let Means { transport, clock, log, run, .. } = means.clone();
        Self { transport, clock, log, run, hash: Mutex::default() }
    }

    fn hash(&self, experiment: &Value) -> String {
        let mut hash = self.hash.lock().unwrap_or_else(PoisonError::into_inner);
        hash.get_or_insert_with(|| experiment_hash(experiment)).clone()
    }

    async fn push(&self, given: &Given, moment: &Moment, journal: Option<&Value>) -> Result<(), Trouble> {
        let argument = |name: &str| given.arguments.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let reference = argument("experiment_ref").map_or_else(|| self.hash(&moment.experiment), str::to_owned);
        let labels = Labels { run: argument("trace_id").unwrap_or(&self.run), reference: &reference };
        let now = self.clock.now().as_duration().as_secs_f64();
        let url = place(given, &reference);
        let mut request = Request::new(Method::PUT, Address::from(url.as_str()));
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
        request.body = exposition(&labels, journal, now).into();
        let why = match self.transport.send(&request).await {
            Ok(response) if response.status < 300 => return Ok(()),
            Ok(response) => format!("status {}", response.status),
            Err(failure) => failure.to_string(),
        };
        let line = format!("the metrics of this run were not pushed to {url}: {why}; the run goes on");
        (self.log)(Level::Warning, &line);
        Err(Trouble::Failed(line))
    }
}

impl Hooks for Metrics {
    fn configure<'a>(&'a self, _: &'a Given, moment: &'a mut Moment) -> BoxFuture<'a, Result<(), Trouble>> {
        self.hash(&moment.experiment);
        Box::pin(async { Ok(()) })
    }

    fn hook<'a>(
        &'a self,
        at: At,
        when: When,
        given: &'a Given,
        moment: &'a mut Moment,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            match (at, when) {
                (At::Experiment, When::Before) => self.push(given, moment, None).await,
                (At::Experiment, When::After) => self.push(given, moment, Some(&moment.state)).await,
                _ => Ok(()),
            }
        })
    }
}

/// The address of the group of metrics.
fn place(given: &Given, reference: &str) -> String {
    let argument = |name: &str| given.arguments.get(name);
    let text = |name: &str| argument(name).and_then(Value::as_str);
    let gateway = text("pushgateway_url").unwrap_or("http://localhost:9091").trim_end_matches('/');
    let scheme = if gateway.contains("://") { "" } else { "http://" };
    let mut place = format!("{scheme}{gateway}/metrics/{}", part("job", text("job").unwrap_or("chaostoolkit")));
    match argument("grouping_key").and_then(Value::as_object).filter(|key| !key.is_empty()) {
        Some(key) => {
            for (name, value) in key {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                place = format!("{place}/{}", part(name, &value));
            }
        }
        None => place = format!("{place}/{}", part("chaostoolkit_experiment_ref", reference)),
    }
    place
}

/// A label and its value as parts of a path: what a path cannot hold in base64.
fn part(name: &str, value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if value.is_empty() {
        format!("{name}@base64/=")
    } else if value.bytes().all(plain) {
        format!("{name}/{value}")
    } else {
        format!("{name}@base64/{}", BASE64_URL_SAFE.encode(value))
    }
}

/// The labels of every series.
struct Labels<'a> {
    run: &'a str,
    reference: &'a str,
}

impl Labels<'_> {
    /// In the order of their names, with one more.
    fn with(&self, more: Option<(&str, &str)>) -> String {
        let mut labels = vec![
            ("chaostoolkit_experiment_ref", self.reference),
            ("chaostoolkit_lib_version", LIB_VERSION),
            ("chaostoolkit_run_trace_id", self.run),
            ("source", "chaostoolkit"),
        ];
        labels.extend(more);
        labels.sort_unstable();
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"");
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        format!("{{{}}}", labels.join(","))
    }
}

/// The metrics in Prometheus' text format; a run that goes on has no journal yet.
fn exposition(labels: &Labels<'_>, journal: Option<&Value>, now: f64) -> String {
    let mut text = String::new();
    let mut family = |name: &str, help: &str, kind: &str, series: &[(String, f64)]| {
        // Text takes whatever is written.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (series, value) in series {
            let _ = writeln!(text, "{series} {value:?}");
        }
    };
    let one = |name: &str, value: f64| (format!("{name}{}", labels.with(None)), value);
    let status = journal.map(|journal| journal["status"].as_str().unwrap_or_default());
    let deviated = journal.is_some_and(|journal| journal["deviated"] == Value::Bool(true));
    let duration = journal.and_then(|journal| journal["duration"].as_f64());

    let name = "chaostoolkit_experiment_status";
    let statuses = status.map(|status| {
        let value = |state: &str| f64::from(u8::from(state == status));
        STATUSES.map(|state| (format!("{name}{}", labels.with(Some((name, state)))), value(state))).to_vec()
    });
    family(name, "Chaos Toolkit experiment runs status", "gauge", &statuses.unwrap_or_default());

    let help = "Chaos Toolkit deviated experiments";
    let name = "chaostoolkit_deviated_experiment";
    let total = format!("{name}_total");
    family(&total, help, "counter", &deviated.then(|| one(&total, 1.0)).into_iter().collect::<Vec<_>>());
    if deviated {
        let created = format!("{name}_created");
        family(&created, help, "gauge", &[one(&created, now)]);
    }

    let name = "chaostoolkit_inprogress_experiment";
    let going_on = f64::from(u8::from(journal.is_none()));
    family(name, "Chaos Toolkit experiments in progress", "gauge", &[one(name, going_on)]);

    let name = "chaostoolkit_experiment_duration";
    let last = duration.map(|duration| one(name, duration));
    family(name, "Chaos Toolkit experiment duration", "gauge", &last.into_iter().collect::<Vec<_>>());

    let name = "chaostoolkit_experiment_duration_dist";
    let help = "Chaos Toolkit experiment duration distribution";
    let buckets = duration.map(|duration| {
        let bucket = |bound: f64| {
            let told = if bound.is_finite() { format!("{bound:?}") } else { "+Inf".to_owned() };
            (format!("{name}_bucket{}", labels.with(Some(("le", &told)))), f64::from(u8::from(duration <= bound)))
        };
        let mut series: Vec<_> = BUCKETS.into_iter().chain([f64::INFINITY]).map(bucket).collect();
        series.extend([one(&format!("{name}_count"), 1.0), one(&format!("{name}_sum"), duration)]);
        series
    });
    let there = buckets.is_some();
    family(name, help, "histogram", &buckets.unwrap_or_default());
    if there {
        let created = format!("{name}_created");
        family(&created, help, "gauge", &[one(&created, now)]);
    }
    text
}

#[cfg(test)]
mod tests;
