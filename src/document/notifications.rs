//! Telling others of a run: the `notifications` of the user's settings.
//!
//! One channel after the other, and whatever goes wrong is a line in the log: a run never fails of it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::python::{Hook, Python};
use super::run::log::{Level, Log};
use crate::clock::Clock;
use crate::transport::{Address, Request, Transport};

/// How long a channel may take: 2 s to connect and 5 s to answer in the original.
const WITHIN: Duration = Duration::from_secs(7);

/// How long a plugin may take.
const PLUGIN_WITHIN: Duration = Duration::from_secs(30);

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    RunStarted,
    RunCompleted,
    RunFailed,
    /// Beside one of the two before.
    RunDeviated,
    ValidateStarted,
    ValidateCompleted,
    ValidateFailed,
}

impl Event {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RunStarted => "run-started",
            Self::RunCompleted => "run-completed",
            Self::RunFailed => "run-failed",
            Self::RunDeviated => "run-deviated",
            Self::ValidateStarted => "validate-started",
            Self::ValidateCompleted => "validate-completed",
            Self::ValidateFailed => "validate-failed",
        }
    }

    fn phase(self) -> &'static str {
        match self {
            Self::RunStarted | Self::RunCompleted | Self::RunFailed | Self::RunDeviated => "run",
            Self::ValidateStarted | Self::ValidateCompleted | Self::ValidateFailed => "validate",
        }
    }

    /// What is told of a run that came to this journal.
    pub(crate) fn of_journal(journal: &Value) -> Vec<Self> {
        let first = if journal["status"] == "completed" { Self::RunCompleted } else { Self::RunFailed };
        let deviated = (journal["deviated"] == Value::Bool(true)).then_some(Self::RunDeviated);
        std::iter::once(first).chain(deviated).collect()
    }
}

/// Makes the way to the channels, which lie outside the system under test.
pub(crate) type Ways = Arc<dyn Fn() -> Result<Arc<dyn Transport>, String> + Send + Sync>;

/// The channels.
#[derive(Clone)]
pub(crate) struct Notifications {
    pub(crate) channels: Vec<Value>,
    pub(crate) ways: Ways,
    /// With `--allow-python`.
    pub(crate) python: Option<Python>,
    pub(crate) clock: Clock,
    pub(crate) log: Log,
}

impl Notifications {
    /// Tells every channel that wants to know. `payload` is the document or the journal, with nothing in it that is not to
    /// be seen: channels get it as it is.
    pub(crate) async fn notify(&self, event: Event, payload: &Value, error: Option<&str>) {
        let wants = |channel: &&Value| match channel["events"].as_array() {
            Some(events) if !events.is_empty() => events.iter().any(|one| one == event.name()),
            _ => true,
        };
        let ts = self.clock.now().as_duration().as_secs_f64();
        let mut told = json!({"name": event.name(), "payload": payload, "phase": event.phase(), "ts": ts});
        if let Some(error) = error {
            told["error"] = json!(error);
        }
        for channel in self.channels.iter().filter(wants) {
            let done = match channel["type"].as_str() {
                Some("http") => self.over_http(channel, &told).await,
                Some("plugin") => self.by_plugin(channel, &told).await,
                _ => Err("its type must be http or plugin".to_owned()),
            };
            if let Err(why) = done {
                let place = channel["url"].as_str().or_else(|| channel["module"].as_str()).unwrap_or_default();
                (self.log)(Level::Debug, &format!("the notification {} to {place} failed: {why}", event.name()));
            }
        }
    }

    async fn over_http(&self, channel: &Value, told: &Value) -> Result<(), String> {
        let url = channel["url"].as_str().filter(|url| !url.is_empty()).ok_or("it has no url")?;
        let forwards = channel["forward_event_payload"] != Value::Bool(false);
        let method = if forwards { Method::POST } else { Method::GET };
        let mut request = Request::new(method, Address::from(url));
        request.headers = headers(&channel["headers"])?;
        request.timeout = WITHIN;
        request.insecure = channel["verify_tls"] == Value::Bool(false);
        if forwards {
            request.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            request.body = told.to_string().into();
        }
        // On a runtime of its own: this one's clock may be paused, and its time-outs at once.
        let ways = self.ways.clone();
        let sent = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            let way = ways()?;
            runtime.block_on(way.send(&request)).map_err(|failure| failure.to_string())
        });
        match sent.await.map_err(|error| error.to_string())?? {
            response if response.status < 400 => Ok(()),
            response => Err(format!("status {}", response.status)),
        }
    }

    async fn by_plugin(&self, channel: &Value, told: &Value) -> Result<(), String> {
        let module = channel["module"].as_str().ok_or("it has no module")?;
        let Some(python) = &self.python else {
            let why = "plugins are Python's; allow it with --allow-python";
            (self.log)(Level::Warning, &format!("the notifications to {module} are not sent: {why}"));
            return Err(why.to_owned());
        };
        let hook = Hook {
            module,
            name: channel["func"].as_str().unwrap_or("notify"),
            positional: vec![channel.clone(), told.clone()],
            timeout: Some(PLUGIN_WITHIN),
            required: true,
            ..Hook::default()
        };
        python.hook(hook).await.1.map_err(|ended| format!("{ended:?}"))
    }
}

fn headers(given: &Value) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in given.as_object().into_iter().flatten() {
        // Its value may be a secret.
        let wrong = |why: &str| format!("header {name:?}: {why}");
        let text = value.as_str().ok_or_else(|| wrong("its value must be a text; quote it"))?;
        let name = HeaderName::try_from(name.as_str()).map_err(|_| wrong("that is no header name"))?;
        headers.insert(name, HeaderValue::try_from(text).map_err(|_| wrong("its value cannot be sent"))?);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests;
