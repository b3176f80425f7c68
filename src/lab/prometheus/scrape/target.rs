//! What is scraped: pods that ask for it, and stated lists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::lab::prometheus::exposition::Described;
use crate::lab::prometheus::labels::{Labels, NAME};

/// The longest time that a scrape may take, unless the interval is shorter: the real one's default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Targets to scrape that no pod announces: addresses in the lab's network, by name or by number.
///
/// ```
/// # use std::time::Duration;
/// use steadfast::lab::ScrapeJob;
///
/// ScrapeJob::new("queues", ["queue.shop:9100"]).label("team", "orders").every(Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is scraped once it is given to `Lab::scrape`"]
pub struct ScrapeJob {
    pub(super) name: String,
    pub(super) targets: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) interval: Option<Duration>,
    pub(super) rules: Rules,
    pub(super) path: String,
    pub(super) scheme: String,
}

/// Which labels tell pods apart in the lab's Prometheus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetLabels {
    /// `job`, `instance`, `namespace` and `pod`.
    #[default]
    All,
    /// `job` and `instance` only, as with a plain list of targets: so they match on few labels.
    JobAndInstance,
}

/// How a target is scraped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    timeout: Option<Duration>,
    pub(super) honor_labels: bool,
    pub(super) honor_timestamps: bool,
    pub(super) body_limit: Option<usize>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { timeout: None, honor_labels: false, honor_timestamps: true, body_limit: None }
    }
}

impl Rules {
    pub(super) fn timeout(&self, interval: Duration) -> Duration {
        self.timeout.unwrap_or(TIMEOUT).min(interval)
    }
}

impl ScrapeJob {
    /// Targets as `HOST:PORT`, where a host is a service's name with its namespace, or an address. Their label `job`
    /// is `name`, their label `instance` the target. They are scraped on `/metrics` as often as the lab scrapes pods.
    pub fn new<T: Into<String>>(name: impl Into<String>, targets: impl IntoIterator<Item = T>) -> Self {
        Self {
            name: name.into(),
            targets: targets.into_iter().map(Into::into).collect(),
            labels: BTreeMap::new(),
            interval: None,
            rules: Rules::default(),
            path: "/metrics".into(),
            scheme: "http".into(),
        }
    }

    /// A label of all its targets.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// How often they are scraped.
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// How long a scrape may take; never longer than the interval. 10 s unless said otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.rules.timeout = Some(timeout);
        self
    }

    /// Where the metrics are.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Exposed labels win over the target's own (`honor_labels`); else an exposed `job` becomes `exported_job`.
    pub fn honor_labels(mut self) -> Self {
        self.rules.honor_labels = true;
        self
    }

    /// Times that a target writes are passed over (`honor_timestamps: false`).
    pub fn ignore_timestamps(mut self) -> Self {
        self.rules.honor_timestamps = false;
        self
    }

    /// The largest page, in bytes; a larger one fails the scrape (`body_size_limit`).
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.rules.body_limit = Some(bytes);
        self
    }
}

/// One target.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    /// Distinguishes pods that had the same address one after the other.
    pub(super) key: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
    pub(super) scheme: String,
    pub(super) labels: Labels,
    pub(super) interval: Duration,
    pub(super) rules: Rules,
    discovered: Arc<BTreeMap<String, String>>,
}

impl Target {
    pub(super) fn url(&self) -> String {
        let Self { scheme, host, port, path, .. } = self;
        format!("{scheme}://{host}:{port}{path}")
    }

    pub(super) fn timeout(&self) -> Duration {
        self.rules.timeout(self.interval)
    }

    /// The labels of a series that the target exposes.
    pub(super) fn labelled(&self, exposed: &Labels) -> Labels {
        let mut pairs: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        for (name, value) in exposed.pairs() {
            let mut name = name.clone();
            while !self.rules.honor_labels && self.labels.has(&name) {
                name = format!("exported_{name}").into();
            }
            pairs.insert(name, value.clone());
        }
        for (name, value) in self.labels.pairs() {
            pairs.entry(name.clone()).or_insert_with(|| value.clone());
        }
        Labels::new(pairs)
    }

    /// The labels of a series that tells of the scrape itself.
    pub(super) fn report(&self, name: &str) -> Labels {
        self.labels.with(NAME, name)
    }

    /// What is told of it before it was scraped.
    pub(super) fn told(&self) -> Told {
        Told {
            discovered: self.discovered.clone(),
            labels: self.labels.clone(),
            pool: self.labels.get("job").to_owned(),
            url: self.url(),
            error: String::new(),
            scraped: None,
            took: Duration::ZERO,
            health: "unknown",
            interval: self.interval,
            timeout: self.timeout(),
            described: BTreeMap::new(),
        }
    }
}

/// What `/api/v1/targets` and `/api/v1/metadata` tell of a target.
#[derive(Clone, Debug)]
pub(in crate::lab::prometheus) struct Told {
    pub(in crate::lab::prometheus) discovered: Arc<BTreeMap<String, String>>,
    pub(in crate::lab::prometheus) labels: Labels,
    pub(in crate::lab::prometheus) pool: String,
    pub(in crate::lab::prometheus) url: String,
    pub(in crate::lab::prometheus) error: String,
    pub(in crate::lab::prometheus) scraped: Option<Timestamp>,
    pub(in crate::lab::prometheus) took: Duration,
    pub(in crate::lab::prometheus) health: &'static str,
    pub(in crate::lab::prometheus) interval: Duration,
    pub(in crate::lab::prometheus) timeout: Duration,
    pub(in crate::lab::prometheus) described: BTreeMap<String, Described>,
}

/// The targets of a stated list. One that is no `HOST:PORT` is port 80 of that host, as the real one has it.
pub(super) fn of_job(job: &ScrapeJob, default: Duration) -> Vec<Target> {
    let interval = job.interval.unwrap_or(default);
    let one = |address: &String| {
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (address.as_str(), 80),
        };
        let mut discovered = basics(job.name.as_str(), address, &job.path, &job.scheme, interval, &job.rules);
        discovered.extend(job.labels.clone());
        let mut labels = Labels::of(&[("job", &job.name), ("instance", address)]);
        for (name, value) in &job.labels {
            labels = labels.with(name, value);
        }
        Some(Target {
            key: format!("job/{}/{address}", job.name),
            host: host.to_owned(),
            port,
            path: job.path.clone(),
            scheme: job.scheme.clone(),
            labels,
            interval,
            rules: job.rules,
            discovered: Arc::new(discovered),
        })
    };
    job.targets.iter().filter_map(one).collect()
}

fn basics(
    job: &str,
    address: &str,
    path: &str,
    scheme: &str,
    interval: Duration,
    rules: &Rules,
) -> BTreeMap<String, String> {
    [
        ("__address__", address.to_owned()),
        ("__metrics_path__", path.to_owned()),
        ("__scheme__", scheme.to_owned()),
        ("__scrape_interval__", written(interval)),
        ("__scrape_timeout__", written(rules.timeout(interval))),
        ("job", job.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The target of a pod that asks to be scraped, or what is told of one that does not; `None` if it has no address.
pub(super) fn of_pod(
    pod: &Value,
    interval: Duration,
    by: TargetLabels,
) -> Option<Result<Target, BTreeMap<String, String>>> {
    let metadata = &pod["metadata"];
    let annotation = |name: &str| metadata["annotations"][format!("prometheus.io/{name}")].as_str();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ip = pod["status"]["podIP"].as_str()?;
    let declared = pod["spec"]["containers"][0]["ports"][0]["containerPort"].as_u64();
    let port = annotation("port").and_then(|port| port.parse().ok()).or(declared).and_then(|p| u16::try_from(p).ok());
    let path = annotation("path").filter(|path| !path.is_empty()).unwrap_or("/metrics");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let scheme = annotation("scheme").filter(|scheme| !scheme.is_empty()).unwrap_or("http").to_owned();
    let job = metadata["labels"]["app"].as_str().unwrap_or("pods");
    let rules = Rules::default();
    let address = port.map_or_else(|| ip.to_owned(), |port| format!("{ip}:{port}"));
    let mut discovered = basics(job, &address, &path, &scheme, interval, &rules);
    let mut meta = |name: &str, value: String| {
        discovered.insert(format!("__meta_kubernetes_{name}"), value);
    };
    meta("namespace", text(&metadata["namespace"]));
    for (name, value) in [
        ("pod_name", &metadata["name"]),
        ("pod_uid", &metadata["uid"]),
        ("pod_ip", &pod["status"]["podIP"]),
        ("pod_phase", &pod["status"]["phase"]),
        ("pod_host_ip", &pod["status"]["hostIP"]),
        ("pod_node_name", &pod["spec"]["nodeName"]),
        ("pod_container_name", &pod["spec"]["containers"][0]["name"]),
        ("pod_container_image", &pod["spec"]["containers"][0]["image"]),
    ] {
        meta(name, text(value));
    }
    for (of, kind) in [("labels", "label"), ("annotations", "annotation")] {
        for (name, value) in metadata[of].as_object().into_iter().flatten() {
            let name = name.replace(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_', "_");
            meta(&format!("pod_{kind}_{name}"), text(value));
            meta(&format!("pod_{kind}present_{name}"), "true".into());
        }
    }
    let port = port.filter(|_| annotation("scrape") == Some("true") && pod["status"]["phase"] == "Running");
    let Some(port) = port else { return Some(Err(discovered)) };
    let mut labels = Labels::of(&[("job", job), ("instance", &address)]);
    if by == TargetLabels::All {
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        labels = labels.with("namespace", text("namespace")).with("pod", text("name"));
    }
    Some(Ok(Target {
        key: format!("pod/{}/{address}", text(&metadata["uid"])),
        host: ip.to_owned(),
        port,
        path,
        scheme,
        labels,
        interval,
        rules,
        discovered: Arc::new(discovered),
    }))
}

/// A duration as Prometheus writes it: `500ms`, `1m30s`.
pub(in crate::lab::prometheus) fn written(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    if rest == 0 {
        return "0s".into();
    }
    let mut out = String::new();
    for (unit, size, exact) in [
        ("y", 31_536_000_000, true),
        ("w", 604_800_000, true),
        ("d", 86_400_000, true),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1000, false),
        ("ms", 1, false),
    ] {
        // Years, weeks and days only where nothing is left over.
        let count = if exact && !rest.is_multiple_of(size) { 0 } else { rest / size };
        if count > 0 {
            out.push_str(&format!("{count}{unit}"));
            rest -= count * size;
        }
    }
    out
}

/// The names that all targets know of a metric, each thing once.
pub(in crate::lab::prometheus) fn described<'t>(
    targets: impl IntoIterator<Item = &'t Told>,
) -> BTreeMap<&'t str, BTreeSet<&'t Described>> {
    let mut all: BTreeMap<&str, BTreeSet<&Described>> = BTreeMap::new();
    for (name, described) in targets.into_iter().flat_map(|target| &target.described) {
        all.entry(name).or_default().insert(described);
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn durations_are_written_as_prometheus_does() {
        for (millis, text) in
            [(500, "500ms"), (2000, "2s"), (90_000, "1m30s"), (86_400_000, "1d"), (90_000_000, "25h"), (0, "0s")]
        {
            assert_eq!(written(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_pod_says_where_its_metrics_are() {
        let pod = |annotations: Value| {
            json!({"metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "a"}, "annotations": annotations},
                "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 8080}]}]}, "status": {"podIP": "10.0.0.1", "phase": "Running"}})
        };
        let target = |annotations: Value| of_pod(&pod(annotations), SECOND, TargetLabels::All).unwrap();
        let plain = target(json!({"prometheus.io/scrape": "true"})).unwrap();
        assert_eq!(plain.url(), "http://10.0.0.1:8080/metrics");
        let labels = [("instance", "10.0.0.1:8080"), ("job", "a"), ("namespace", "n"), ("pod", "p")];
        assert_eq!(plain.labels, Labels::of(&labels));
        assert_eq!((plain.interval, plain.timeout()), (SECOND, SECOND));
        let few = of_pod(&pod(json!({"prometheus.io/scrape": "true"})), SECOND, TargetLabels::JobAndInstance);
        assert_eq!(few.unwrap().unwrap().labels, Labels::of(&labels[..2]));
        let other = json!({"prometheus.io/scrape": "true", "prometheus.io/port": "9", "prometheus.io/path": "m", "prometheus.io/scheme": "https"});
        assert_eq!(target(other).unwrap().url(), "https://10.0.0.1:9/m");
        let dropped = target(json!({"prometheus.io/scrape": "false"})).unwrap_err();
        assert_eq!(dropped["__meta_kubernetes_pod_annotation_prometheus_io_scrape"], "false");
        assert!(of_pod(&json!({"metadata": {"name": "p"}, "status": {}}), SECOND, TargetLabels::All).is_none());
    }

    #[test]
    fn labels_of_targets_win_unless_told_otherwise() {
        let job = || ScrapeJob::new("j", ["h:1"]).label("pod", "p");
        let exposed = Labels::of(&[(NAME, "x"), ("job", "mine"), ("a", "1"), ("gone", "")]);
        let target = &of_job(&job(), SECOND)[0];
        let wanted =
            [(NAME, "x"), ("a", "1"), ("exported_job", "mine"), ("instance", "h:1"), ("job", "j"), ("pod", "p")];
        assert_eq!(target.labelled(&exposed), Labels::of(&wanted));
        let target = &of_job(&job().honor_labels(), SECOND)[0];
        let wanted = [(NAME, "x"), ("a", "1"), ("instance", "h:1"), ("job", "mine"), ("pod", "p")];
        assert_eq!(target.labelled(&exposed), Labels::of(&wanted));
    }
}
