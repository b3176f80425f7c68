//! The functions of chaosprometheus.

use serde_json::{Map, Value, json};

use super::{Answer, Call, Failed, Function, Stage, functions};
use crate::clock::Timestamp;
use crate::document::when;
use crate::prometheus::Prometheus;

/// Where Prometheus is if the configuration does not say it.
const DEFAULT_URL: &str = "http://localhost:9090";

/// About how many points a mean is of.
const POINTS: f64 = 300.0;

/// What `nodes_cpu_usage_mean` asks for.
const CPU_USAGE: &str = "100 * (1 - avg(rate(node_cpu_seconds_total{mode=\"idle\"}[1m])))";

functions! { PROBES: "chaosprometheus.probes", Probe, cluster: false {
    query(query; when, timeout, verify_tls) = query;
    query_interval(query, start, end; step, timeout, verify_tls) = query_interval;
    compute_mean(query; window, mean_type) = compute_mean;
    nodes_cpu_usage_mean(; window) = nodes_cpu_usage_mean;
} }

pub(super) static FUNCTIONS: &[Function] = PROBES;

/// The envelope of an instant query, as it came.
async fn query(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let mut form = vec![("query", call.required("query")?)];
    if call.value("when").is_some() {
        form.push(("time", at(&call, "when", stage.scene.clock.now())?.to_string()));
    }
    ask(&call, &stage, "/api/v1/query", form).await
}

/// The envelope of a range query, as it came. Both ends are seen from the same now.
async fn query_interval(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let now = stage.scene.clock.now();
    let (start, end) = (at(&call, "start", now)?, at(&call, "end", now)?);
    let step = call.text("step")?.unwrap_or_else(|| "1".to_owned());
    let form = vec![
        ("query", call.required("query")?),
        ("start", start.to_string()),
        ("end", end.to_string()),
        ("step", step),
    ];
    ask(&call, &stage, "/api/v1/query_range", form).await
}

async fn compute_mean(call: Call<'_>, stage: Stage<'_>) -> Answer {
    mean(&call, &stage, call.required("query")?).await
}

async fn nodes_cpu_usage_mean(call: Call<'_>, stage: Stage<'_>) -> Answer {
    mean(&call, &stage, CPU_USAGE.to_owned()).await
}

/// The mean of the one series of a query over a window, as the original means to compute it.
async fn mean(call: &Call<'_>, stage: &Stage<'_>, query: String) -> Answer {
    let (window, now) = (call.text("window")?.unwrap_or_else(|| "1d".to_owned()), stage.scene.clock.now());
    let span = when::span(&window).map_err(|why| Failed(format!("argument \"window\": {why}")))?;
    let start = now.checked_sub(span).map_err(|_| Failed(format!("argument \"window\": {window:?} is too long")))?;
    let step = (span.as_secs_f64() / POINTS).max(1.0).ceil();
    let form = vec![
        ("query", query.clone()),
        ("start", start.to_string()),
        ("end", now.to_string()),
        ("step", step.to_string()),
    ];
    let envelope = ask(call, stage, "/api/v1/query_range", form).await?;
    let series = envelope["data"]["result"].as_array().map(Vec::as_slice).unwrap_or_default();
    let [one] = series else {
        let many = series.len();
        return Err(Failed(format!("a mean is of one series, and {query:?} gives {many} over {window}: aggregate it")));
    };
    let values = one["values"].as_array().into_iter().flatten().filter_map(|sample| sample[1].as_str()?.parse().ok());
    let values: Vec<f64> = values.filter(|value: &f64| value.is_finite()).collect();
    let count = values.len() as f64;
    let mean = match call.text("mean_type")?.as_deref().unwrap_or("arithmetic") {
        "arithmetic" => values.iter().sum::<f64>() / count,
        "geometric" => (values.iter().map(|value| value.ln()).sum::<f64>() / count).exp(),
        "harmonic" => count / values.iter().map(|value| value.recip()).sum::<f64>(),
        other => {
            return Err(Failed(format!("mean_type is {other:?}: give arithmetic, geometric or harmonic")));
        }
    };
    if mean.is_finite() { Ok(json!(mean)) } else { Err(Failed(format!("{query:?} has no such mean over {window}"))) }
}

/// An instant that an argument names, seen from `now`.
fn at(call: &Call<'_>, name: &str, now: Timestamp) -> Result<Timestamp, Failed> {
    when::instant(&call.required(name)?, now).map_err(|why| Failed(format!("argument {name:?}: {why}")))
}

/// The server that a configuration names.
pub(crate) fn server(configuration: &Map<String, Value>) -> Prometheus {
    Prometheus::new(configuration.get("prometheus_base_url").and_then(Value::as_str).unwrap_or(DEFAULT_URL))
}

async fn ask(call: &Call<'_>, stage: &Stage<'_>, path: &str, mut form: Vec<(&str, String)>) -> Answer {
    if !call.flag("verify_tls", true)? {
        let why = "verify_tls is false, but who answers is always verified: let SSL_CERT_FILE name the certificate of your \
                   own authority, and leave verify_tls out";
        return Err(Failed(why.to_owned()));
    }
    let mut prometheus = server(call.configuration);
    if let Some(timeout) = call.text("timeout")? {
        prometheus = prometheus.timeout(call.seconds("timeout", 0)?);
        form.push(("timeout", timeout));
    }
    let (status, body) = prometheus.whole(stage.scene, path, &form).await?;
    let text = String::from_utf8_lossy(&body);
    if status != 200 {
        return Err(Failed(format!("Prometheus answers with status {status}: {}", text.trim())));
    }
    serde_json::from_slice(&body).map_err(|error| Failed(format!("Prometheus answers with no JSON: {error}")))
}
