//! Pod logs.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use serde_json::{Value, json};

use super::{KubernetesError, Pods};
use crate::BoxError;
use crate::clock::Timestamp;
use crate::experiment::{Action, Scene};
use crate::journal::{self, JournalError, LogExcerpt, write_atomically};

/// The most lines of one container that a journal keeps: the last ones. The file has all.
const MOST_LINES: usize = 200;

/// The most letters of one such line.
const MOST_LETTERS: usize = 1000;

/// The logs of pods: as an action they are stored in the outputs folder, one file for the selection; a test reads them
/// by [`lines`](Self::lines). Finished pods have logs too.
#[derive(Clone)]
#[must_use = "logs are read when the action is a step, `.act(..)`, or by `.lines().await`"]
pub struct PodLogs {
    pods: Pods,
    since: Option<Duration>,
    tail: Option<u32>,
    path: Option<PathBuf>,
}

/// A line that a container has written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// The pod's name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// When, by the node's clock; `None` where the cluster does not say.
    pub at: Option<Timestamp>,
    /// The line, without its end.
    pub text: String,
}

impl PodLogs {
    pub(super) fn new(pods: Pods) -> Self {
        Self { pods, since: None, tail: None, path: None }
    }

    /// Only lines of the last `duration`, rounded up to whole seconds, which is what the API knows.
    pub fn since(mut self, duration: Duration) -> Self {
        self.since = Some(duration);
        self
    }

    /// Only the last `lines` of each pod.
    pub fn tail(mut self, lines: u32) -> Self {
        self.tail = Some(lines);
        self
    }

    /// The file, relative to the outputs folder; `logs-SELECTOR.txt` by default.
    pub fn to(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    fn file(&self) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' };
        let selector = self.pods.selector().map(ToString::to_string).unwrap_or_default();
        self.path
            .clone()
            .unwrap_or_else(|| format!("logs-{}.txt", selector.chars().map(plain).collect::<String>()).into())
    }

    /// The logs of each pod, by pod name, those of several containers one after the other. Each line begins with its
    /// time.
    ///
    /// # Errors
    /// The selector matches nothing, a container has not begun, or the API does not answer.
    pub async fn read(&self) -> Result<Vec<(String, String)>, KubernetesError> {
        let mut logs: Vec<(String, String)> = Vec::new();
        for (pod, _, text) in self.of_containers().await? {
            match logs.last_mut().filter(|(last, _)| *last == pod) {
                Some((_, before)) => before.push_str(&text),
                None => logs.push((pod, text)),
            }
        }
        Ok(logs)
    }

    /// What the containers have written, for a test to look at: by pod, then by container, each in its order.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn lines(&self) -> Result<Vec<LogLine>, KubernetesError> {
        let mut lines = Vec::new();
        for (pod, container, text) in self.of_containers().await? {
            for line in text.lines() {
                let (at, text) = stamped(line);
                lines.push(LogLine { pod: pod.clone(), container: container.clone(), at, text: text.to_owned() });
            }
        }
        Ok(lines)
    }

    /// Pod, container, text.
    async fn of_containers(&self) -> Result<Vec<(String, String, String)>, KubernetesError> {
        let api: Api<Pod> = Api::namespaced(self.pods.kubernetes.client().clone(), &self.pods.namespace);
        let mut logs = Vec::new();
        for pod in self.pods.with_finished().await? {
            let name = pod.metadata.name.unwrap_or_default();
            for container in pod.spec.into_iter().flat_map(|spec| spec.containers) {
                let params = LogParams {
                    container: Some(container.name.clone()),
                    since_seconds: self.since.map(|d| i64::try_from(d.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)),
                    tail_lines: self.tail.map(i64::from),
                    timestamps: true,
                    ..Default::default()
                };
                let doing = format!("read the log of {}/{name}, container {}", self.pods.namespace, container.name);
                let text = api.logs(&name, &params).await.map_err(KubernetesError::api(doing))?;
                logs.push((name.clone(), container.name, text));
            }
        }
        Ok(logs)
    }
}

/// The last lines of a log whose lines begin with their times.
fn excerpt(source: String, log: &str) -> LogExcerpt {
    let left_out = log.lines().count().saturating_sub(MOST_LINES);
    let line = |line: &str| {
        let (at, text) = stamped(line);
        journal::LogLine { at, text: text.chars().take(MOST_LETTERS).collect() }
    };
    LogExcerpt { source, lines: log.lines().skip(left_out).map(line).collect(), left_out: left_out as u64 }
}

/// The time that a line begins with, and the rest.
fn stamped(line: &str) -> (Option<Timestamp>, &str) {
    let (at, text) = line.split_once(' ').unwrap_or((line, ""));
    (at.parse().ok(), text)
}

impl Action for PodLogs {
    fn describe(&self) -> String {
        format!("logs of {}", self.pods.describe())
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.pods.selector()?;
        Ok(())
    }

    fn act<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Value, BoxError>> {
        Box::pin(async move {
            let (mut text, mut lines, mut of) = (String::new(), serde_json::Map::new(), String::new());
            for (pod, container, log) in self.of_containers().await? {
                if of != pod {
                    writeln!(text, "==> pod {}/{pod} <==", self.pods.namespace)?;
                    of.clone_from(&pod);
                }
                if !log.trim_end().is_empty() {
                    writeln!(text, "{}", log.trim_end())?;
                }
                let before = lines.get(&pod).and_then(Value::as_u64).unwrap_or_default();
                lines.insert(pod.clone(), json!(before + log.lines().count() as u64));
                let source = format!("pod {}/{pod}, container {container}", self.pods.namespace);
                scene.measured.log(excerpt(source, &log));
            }
            let file = self.file();
            write_atomically(&scene.outputs.join(&file), text.as_bytes()).map_err(JournalError::in_outputs)?;
            Ok(json!({"file": file, "lines": lines}))
        })
    }
}
