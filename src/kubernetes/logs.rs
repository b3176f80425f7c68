//! Pod logs.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kube::api::{Api, LogParams};
use serde_json::{Value, json};

use super::{KubernetesError, Pods};
use crate::BoxError;
use crate::experiment::{Action, Scene};
use crate::journal::write_atomically;

/// An action: stores the logs of pods in the outputs folder, one file for the selection.
#[derive(Clone)]
#[must_use = "logs are read when the action is a step: `.act(..)`"]
pub struct PodLogs {
    pods: Pods,
    since: Option<Duration>,
    tail: Option<u32>,
    path: Option<PathBuf>,
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

    /// The logs of each pod, by pod name.
    ///
    /// # Errors
    /// The selector matches nothing, or the API does not answer.
    pub async fn read(&self) -> Result<Vec<(String, String)>, KubernetesError> {
        let api: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(self.pods.kubernetes.client().clone(), &self.pods.namespace);
        let params = LogParams {
            since_seconds: self.since.map(|d| i64::try_from(d.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)),
            tail_lines: self.tail.map(i64::from),
            timestamps: true,
            ..Default::default()
        };
        let mut logs = Vec::new();
        for pod in self.pods.targets().await? {
            let name = pod.metadata.name.unwrap_or_default();
            let read = api.logs(&name, &params).await;
            let text = read.map_err(KubernetesError::api(format!("read the log of {}/{name}", self.pods.namespace)))?;
            logs.push((name, text));
        }
        Ok(logs)
    }
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
            let logs = self.read().await?;
            let (mut text, mut lines) = (String::new(), serde_json::Map::new());
            for (pod, log) in &logs {
                writeln!(text, "==> pod {}/{pod} <==\n{}", self.pods.namespace, log.trim_end())?;
                lines.insert(pod.clone(), json!(log.lines().count()));
            }
            let file = self.file();
            write_atomically(&scene.outputs.join(&file), text.as_bytes())?;
            Ok(json!({"file": file, "lines": lines}))
        })
    }
}
