//! A Prometheus that has what a script says, with the times of its scrapes, its lag and its clock.

use std::sync::{Arc, Mutex};

use axum::extract::{Path, RawForm};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use steadfast::prelude::*;

/// What happens to one target, in seconds of the run's clock.
#[derive(Clone, Debug)]
pub struct Target {
    pub instance: String,
    /// From when on it is there.
    pub from: f64,
    /// Until when.
    pub to: f64,
    /// While it answers no scrape.
    pub down: Option<(f64, f64)>,
    pub counter: Counter,
}

/// What a target counts.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    /// When it counts one.
    pub counts: Vec<f64>,
    /// What it had counted before.
    pub before: u32,
    /// Whether the series is there before its first count.
    pub declared: bool,
    /// When the process begins again.
    pub resets: Vec<f64>,
    /// While its value is no number.
    pub nan: Option<(f64, f64)>,
    /// From when on the series is gone while its target is scraped.
    pub gone: Option<f64>,
}

/// A server and its targets.
#[derive(Clone, Debug)]
pub struct Script {
    /// Between two scrapes.
    pub interval: f64,
    /// When scrapes are due, from 0 to the interval.
    pub phase: f64,
    /// How long it takes until a sample can be asked for.
    pub lag: f64,
    /// By how much its clock is ahead.
    pub skew: f64,
    /// When it stops scraping.
    pub stale: f64,
    /// Whether it tells its targets.
    pub tells_targets: bool,
    pub targets: Vec<Target>,
}

impl Counter {
    fn at(&self, at: f64) -> Option<f64> {
        let reset = self.resets.iter().copied().filter(|reset| *reset <= at).reduce(f64::max);
        let since = reset.unwrap_or(f64::NEG_INFINITY);
        let counted = self.counts.iter().filter(|count| **count > since && **count <= at).count();
        let value = counted as f64 + if reset.is_none() { f64::from(self.before) } else { 0.0 };
        let is_there = (self.declared || value > 0.0) && self.gone.is_none_or(|gone| at < gone);
        let nan = self.nan.is_some_and(|(from, to)| (from..=to).contains(&at));
        is_there.then_some(if nan { f64::NAN } else { value })
    }
}

impl Script {
    /// The scrapes up to an instant, of a target.
    fn scrapes(&self, target: &Target, until: f64) -> Vec<f64> {
        let first = ((until - 1_000.0) / self.interval).floor();
        let all = (0..).map(|n| self.phase + self.interval * (first + f64::from(n)));
        all.take_while(|at| *at <= until.min(self.stale)).filter(|at| *at >= target.from && *at < target.to).collect()
    }

    /// The first scrape after an instant, whatever becomes of it, and the last one up to it.
    pub fn around(&self, at: f64) -> (f64, f64) {
        let last = ((at - self.phase) / self.interval).floor() * self.interval + self.phase;
        (last, last + self.interval)
    }

    fn samples(&self, name: &str, now: f64, window: f64) -> Vec<Value> {
        let mut all = Vec::new();
        for target in &self.targets {
            let mut values = Vec::new();
            for at in self.scrapes(target, now - self.lag).into_iter().filter(|at| *at > now - window) {
                let down = target.down.is_some_and(|(from, to)| (from..=to).contains(&at));
                let value = match name {
                    "up" => Some(f64::from(u8::from(!down))),
                    _ if down => None,
                    _ => target.counter.at(at),
                };
                let written = |value: f64| if value.is_nan() { "NaN".to_owned() } else { value.to_string() };
                values.extend(value.map(|value| json!([((at + self.skew) * 1e3).round() / 1e3, written(value)])));
            }
            if !values.is_empty() {
                let metric = json!({"__name__": name, "job": "app", "instance": target.instance});
                all.push(json!({"metric": metric, "values": values}));
            }
        }
        all
    }

    fn answer(&self, path: &str, query: &str, now: f64) -> Option<Value> {
        if path.ends_with("/targets") {
            let target = |target: &Target| {
                let labels = json!({"job": "app", "instance": target.instance});
                json!({"labels": labels, "scrapeInterval": format!("{}ms", (self.interval * 1e3).round())})
            };
            let all: Vec<_> = self.targets.iter().map(target).collect();
            return self.tells_targets.then(|| json!({"activeTargets": all}));
        }
        if query == "time()" {
            let at = now + self.skew;
            return Some(json!({"resultType": "scalar", "result": [at, at.to_string()]}));
        }
        let (selector, window) = query.strip_suffix("s]")?.rsplit_once('[')?;
        let name = selector.split('{').next()?;
        Some(json!({"resultType": "matrix", "result": self.samples(name, now, window.parse().ok()?)}))
    }
}

/// The script of the moment.
pub type Shared = Arc<Mutex<Option<Script>>>;

/// Runs such a Prometheus on the lab, and gives its address.
pub async fn serve(cluster: &Cluster, script: &Shared) -> steadfast::Result<steadfast::prometheus::Prometheus> {
    let (clock, script) = (cluster.clock().clone(), script.clone());
    cluster.lab()?.image("scripted:1", move |_| {
        let (clock, script) = (clock.clone(), script.clone());
        let answer = move |Path(path): Path<String>, RawForm(form): RawForm| async move {
            let form: Vec<(String, String)> = form_urlencoded::parse(&form).into_owned().collect();
            let query = form.into_iter().find(|(key, _)| key == "query").map(|(_, query)| query).unwrap_or_default();
            let now = clock.now().as_duration().as_secs_f64();
            let script = script.lock().unwrap().clone().expect("a case is being run");
            match script.answer(&path, &query, now) {
                Some(data) => axum::Json(json!({"status": "success", "data": data})).into_response(),
                None => StatusCode::NOT_FOUND.into_response(),
            }
        };
        axum::Router::new().route("/{*path}", axum::routing::any(answer))
    });
    let labels = json!({"app": "scripted"});
    cluster
        .apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "scripted", "namespace": "default", "labels": labels},
            "spec": {"containers": [{"name": "c", "image": "scripted:1"}]}}))
        .await?;
    cluster
        .apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "scripted", "namespace": "default"},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}}))
        .await?;
    cluster.clock().sleep(secs(5)).await;
    Ok(steadfast::prometheus::Prometheus::new(cluster.namespace("default").service("scripted").url("/")))
}
