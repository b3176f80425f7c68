//! Rules, alerts, and what the server tells of itself.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::parameters::Parameters;
use super::{Api, Wrong, bad_parameter, object};
use crate::clock::Timestamp;
use crate::lab::prometheus::eval::{MOST_SAMPLES, TIMEOUT};
use crate::lab::prometheus::labels::NAME;
use crate::lab::prometheus::numbers::exponential;
use crate::lab::prometheus::promql::go_quoted;
use crate::lab::prometheus::rules::{Alert, Rule, What};
use crate::lab::prometheus::scrape::written;
use crate::lab::prometheus::tsdb::RETENTION;

/// The name of the group of all rules, and of the file that it would stand in.
const GROUP: (&str, &str) = ("lab", "lab.rules.yml");

/// How many of the largest are listed in `/status/tsdb`.
const LISTED: usize = 10;

fn time(millis: i64) -> String {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX).to_string()
}

fn alert(alert: &Alert) -> Value {
    json!({
        "labels": object(&alert.labels), "annotations": alert.annotations, "state": alert.state.name(),
        "activeAt": time(alert.active_at), "value": exponential(alert.value),
    })
}

pub(super) fn alerts(api: &Api) -> String {
    let rules = api.rules.all();
    let alerts: Vec<Value> = rules.iter().flat_map(Rule::alerts).map(alert).collect();
    json!({"alerts": alerts}).to_string()
}

pub(super) fn rules(api: &Api, parameters: &Parameters) -> Result<String, Wrong> {
    let wanted = parameters.get("type").to_ascii_lowercase();
    if !matches!(wanted.as_str(), "" | "alert" | "record") {
        return Err(bad_parameter("type", &format!("not supported value {}", go_quoted(&wanted))));
    }
    let rules = api.rules.all();
    if rules.is_empty() {
        return Ok(json!({"groups": []}).to_string());
    }
    let never = || "0001-01-01T00:00:00Z".to_owned();
    let shown = |rule: &Rule| {
        let evaluated = rule.evaluated.map_or_else(never, |at| at.to_string());
        let mut one = json!({
            "name": rule.name, "query": rule.expr, "health": rule.health(), "evaluationTime": 0.0,
            "lastEvaluation": evaluated, "type": "recording",
        });
        if let Some(error) = &rule.error {
            one["lastError"] = json!(error);
        }
        if let What::Alert { lasting, annotations, .. } = &rule.what {
            one["type"] = json!("alerting");
            one["state"] = json!(rule.state().name());
            one["duration"] = whole(lasting.as_secs_f64());
            one["keepFiringFor"] = json!(0);
            one["labels"] = json!(rule.labels);
            one["annotations"] = json!(annotations);
            one["alerts"] = rule.alerts().into_iter().map(alert).collect();
        } else if !rule.labels.is_empty() {
            one["labels"] = json!(rule.labels);
        }
        one
    };
    let chosen = rules.iter().filter(|rule| match &rule.what {
        What::Alert { .. } => wanted != "record",
        What::Record => wanted != "alert",
    });
    let last = rules.iter().filter_map(|rule| rule.evaluated).max().map_or_else(never, |at| at.to_string());
    let group = json!({
        "name": GROUP.0, "file": GROUP.1, "interval": whole(api.rules.interval.as_secs_f64()), "limit": 0,
        "rules": chosen.map(shown).collect::<Vec<_>>(), "evaluationTime": 0.0, "lastEvaluation": last,
    });
    Ok(json!({"groups": [group]}).to_string())
}

/// Whole numbers are written without a dot.
#[expect(clippy::cast_possible_truncation, reason = "it is whole")]
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 { json!(number as i64) } else { json!(number) }
}

pub(super) fn build() -> Value {
    json!({
        "version": "2.42.0", "revision": concat!("steadfast-lab-", env!("CARGO_PKG_VERSION")), "branch": "HEAD",
        "buildUser": "steadfast", "buildDate": "20230131-00:00:00", "goVersion": "go1.19.5",
    })
}

pub(super) fn config(api: &Api) -> String {
    let interval = written(api.interval);
    let timeout = written(api.interval.min(std::time::Duration::from_secs(10)));
    let evaluation = written(api.rules.interval);
    let yaml = format!(
        "global:\n  scrape_interval: {interval}\n  scrape_timeout: {timeout}\n  evaluation_interval: {evaluation}\n\
         rule_files:\n- {}\nscrape_configs:\n- job_name: pods\n  honor_timestamps: true\n  scrape_interval: {interval}\n  \
         scrape_timeout: {timeout}\n  metrics_path: /metrics\n  scheme: http\n  kubernetes_sd_configs:\n  - role: pod\n",
        GROUP.1
    );
    json!({"yaml": yaml}).to_string()
}

pub(super) fn flags() -> String {
    let timeout = written(TIMEOUT);
    let flags: BTreeMap<&str, String> = [
        ("config.file", "/etc/prometheus/prometheus.yml".into()),
        ("enable-feature", String::new()),
        ("log.level", "info".into()),
        ("query.lookback-delta", "5m".into()),
        ("query.max-concurrency", "20".into()),
        ("query.max-samples", MOST_SAMPLES.to_string()),
        ("query.timeout", timeout),
        ("scrape.adjust-timestamps", "true".into()),
        ("scrape.timestamp-tolerance", "2ms".into()),
        ("storage.tsdb.retention.time", retention()),
        ("web.enable-admin-api", "false".into()),
        ("web.enable-lifecycle", "false".into()),
        ("web.enable-remote-write-receiver", "false".into()),
        ("web.listen-address", "0.0.0.0:9090".into()),
    ]
    .into();
    json!(flags).to_string()
}

fn retention() -> String {
    written(std::time::Duration::from_millis(RETENTION.unsigned_abs()))
}

pub(super) fn runtime(api: &Api) -> String {
    let started = api.started.to_string();
    json!({
        "startTime": started, "CWD": "/prometheus", "reloadConfigSuccess": true, "lastConfigTime": started,
        "corruptionCount": 0, "goroutineCount": 1, "GOMAXPROCS": 1, "GOGC": "", "GODEBUG": "",
        "storageRetention": retention(),
    })
    .to_string()
}

pub(super) fn tsdb(api: &Api) -> String {
    let statistics = api.tsdb.statistics();
    let (mut values, mut bytes): (BTreeMap<String, usize>, BTreeMap<String, usize>) = Default::default();
    let (mut names, mut pairs) = (BTreeMap::new(), BTreeMap::new());
    for (name, value, series) in &statistics.pairs {
        *values.entry(name.to_string()).or_default() += 1;
        *bytes.entry(name.to_string()).or_default() += value.len();
        pairs.insert(format!("{name}={value}"), *series);
        if **name == *NAME {
            names.insert(value.to_string(), *series);
        }
    }
    let (first, last) = statistics.span.unwrap_or((i64::MAX, i64::MIN));
    json!({
        "headStats": {
            "numSeries": statistics.series, "numLabelPairs": statistics.pairs.len(), "chunkCount": statistics.chunks,
            "minTime": first, "maxTime": last,
        },
        "seriesCountByMetricName": largest(names), "labelValueCountByLabelName": largest(values),
        "memoryInBytesByLabelName": largest(bytes), "seriesCountByLabelValuePair": largest(pairs),
    })
    .to_string()
}

fn largest(counts: BTreeMap<String, usize>) -> Vec<Value> {
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.into_iter().take(LISTED).map(|(name, value)| json!({"name": name, "value": value})).collect()
}

/// What the server exposes of itself: little, for nobody scrapes it here.
pub(super) fn metrics(api: &Api) -> String {
    let statistics = api.tsdb.statistics();
    let (active, down) = {
        let known = api.targets.known();
        (known.active.len(), known.active.values().filter(|told| told.health == "down").count())
    };
    let mut page = String::new();
    for (name, help, value) in [
        (
            "prometheus_ready",
            "Whether Prometheus startup was fully completed and the server is ready for normal operation.",
            1,
        ),
        ("prometheus_sd_discovered_targets", "Current number of discovered targets.", active),
        ("steadfast_lab_targets_down", "Targets whose last scrape failed.", down),
        ("prometheus_tsdb_head_chunks", "Total number of chunks in the head block.", statistics.chunks),
        ("prometheus_tsdb_head_series", "Total number of series in the head block.", statistics.series),
    ] {
        // Writing to a string does not fail.
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    page
}
