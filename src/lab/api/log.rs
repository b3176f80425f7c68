//! Logs of containers: what is there, and what comes.

use std::time::Duration;

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::Value;
use tokio::sync::watch::Receiver;

use super::answer::Answer;
use super::{ApiService, Call, Place};
use crate::clock::Timestamp;
use crate::lab::logs::{ContainerLog, LogLine, Written};
use crate::lab::resource::PODS;
use crate::lab::status::{Cause, Status};

/// Which lines, and how.
struct Options {
    follow: bool,
    previous: bool,
    timestamps: bool,
    since: Option<Timestamp>,
    tail: Option<usize>,
    limit: Option<usize>,
}

impl Options {
    fn of(api: &ApiService, name: &str, call: &Call) -> Result<Self, Status> {
        let (tail, limit) = (call.number("tailLines")?, call.number("limitBytes")?);
        let seconds = call.number("sinceSeconds")?;
        let time =
            call.text("sinceTime").map(|text| text.parse::<Timestamp>().map_err(|_| bad_time(text))).transpose()?;
        let mut faults: Vec<Cause<'_>> = Vec::new();
        let mut below = |field, value: Option<i64>, least: i64, what: &str| {
            if let Some(value) = value.filter(|value| *value < least) {
                let why = format!("Invalid value: {value}: must be greater than {what}0");
                faults.push(("FieldValueInvalid", field, why));
            }
        };
        below("tailLines", tail, 0, "or equal to ");
        below("limitBytes", limit, 1, "");
        if seconds.is_some() && time.is_some() {
            let why = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified".to_owned();
            faults.push(("FieldValueForbidden", "[]", why));
        } else {
            below("sinceSeconds", seconds, 1, "");
        }
        if call.get("stream").is_some() {
            faults.push(("FieldValueForbidden", "stream", "Forbidden: may not be specified".to_owned()));
        }
        if !faults.is_empty() {
            return Err(Status::faulty("", "PodLogOptions", name, &faults));
        }
        let ago = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let ago = ago.and_then(|seconds| api.clock.now().checked_sub(Duration::from_secs(seconds)).ok());
        let size = |number: Option<i64>| number.map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        Ok(Self {
            follow: call.flag("follow"),
            previous: call.flag("previous"),
            timestamps: call.flag("timestamps"),
            since: time.or(ago),
            tail: size(tail),
            limit: size(limit),
        })
    }
}

fn bad_time(text: &str) -> Status {
    let why = format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\"");
    Status::bad_request(why)
}

pub(super) fn log(api: &ApiService, place: &Place, name: &str, call: &Call) -> Result<Answer, Status> {
    let options = Options::of(api, name, call)?;
    let pod = api.store.get(&PODS, place.namespace(), name)?;
    let container = container(&pod, name, call.text("container"))?;
    if pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty) && waiting(&pod, container).is_none() {
        return Ok(Answer::Empty);
    }
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    let Some(log) = api.logs.find(uid, container, options.previous) else {
        let status = status(&pod, container);
        let ended = |state: &str| status[state]["terminated"]["containerID"].is_string();
        // One that failed to start has a log, and nothing in it.
        if ended("lastState") || (!options.previous && ended("state")) {
            return Ok(Answer::Text(String::new()));
        }
        return Err(Status::bad_request(if options.previous {
            format!("previous terminated container {container:?} in pod {name:?} not found")
        } else {
            let why = match waiting(&pod, container).unwrap_or("ContainerCreating") {
                "ErrImagePull" => "image can't be pulled",
                "ImagePullBackOff" => "trying and failing to pull image",
                other => other,
            };
            format!("container {container:?} in pod {name:?} is waiting to start: {why}")
        }));
    };
    // Subscribed before reading, so that no line falls in between.
    let written = log.subscribe();
    let (lines, next) = log.lines_from(0);
    let skipped = options.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
    let mut reader = Reader { log, written, next, left: options.limit, options, done: false };
    let first = reader.text(&lines[skipped..]);
    if !reader.options.follow {
        return Ok(Answer::Text(first));
    }
    let chunks = stream::unfold((reader, Some(first)), |(mut reader, first)| async move {
        let text = match first.filter(|text| !text.is_empty()) {
            Some(text) => text,
            None => reader.more().await?,
        };
        Some((Ok(Frame::data(Bytes::from(text))), (reader, None)))
    });
    Ok(Answer::TextStream(StreamBody::new(chunks).boxed_unsync()))
}

/// The container that is meant: the one that is named, or the only one.
fn container<'a>(pod: &'a Value, name: &str, wanted: Option<&str>) -> Result<&'a str, Status> {
    let names = |field: &str| -> Vec<&'a str> {
        let containers = pod["spec"][field].as_array().into_iter().flatten();
        containers.filter_map(|container| container["name"].as_str()).collect()
    };
    let (init, main) = (names("initContainers"), names("containers"));
    if let Some(wanted) = wanted {
        let found = main.iter().chain(&init).find(|name| **name == wanted);
        return found
            .copied()
            .ok_or_else(|| Status::bad_request(format!("container {wanted} is not valid for pod {name}")));
    }
    match main[..] {
        [only] if init.is_empty() => Ok(only),
        [] => Err(Status::bad_request(format!("a container name must be specified for pod {name}"))),
        _ => {
            let all = [init, main].concat().join(" ");
            let why = format!("a container name must be specified for pod {name}, choose one of: [{all}]");
            Err(Status::bad_request(why))
        }
    }
}

fn waiting<'a>(pod: &'a Value, container: &str) -> Option<&'a str> {
    status(pod, container)["state"]["waiting"]["reason"].as_str()
}

/// The status of a container; null if it has none yet.
fn status<'a>(pod: &'a Value, container: &str) -> &'a Value {
    let of = |field: &str| pod["status"][field].as_array().into_iter().flatten();
    let mut all = of("containerStatuses").chain(of("initContainerStatuses"));
    all.find(|status| status["name"] == container).unwrap_or(&Value::Null)
}

/// Reads one run of a container to its end.
struct Reader {
    log: ContainerLog,
    written: Receiver<Written>,
    next: u64,
    /// The bytes that may still be told.
    left: Option<usize>,
    options: Options,
    done: bool,
}

impl Reader {
    /// The next lines, when there are some; `None` when none will come.
    async fn more(&mut self) -> Option<String> {
        loop {
            if self.done {
                return None;
            }
            let ended = self.written.borrow_and_update().ended;
            let (lines, next) = self.log.lines_from(self.next);
            self.next = next;
            let text = self.text(&lines);
            self.done |= ended;
            if !text.is_empty() {
                return Some(text);
            }
            if self.done || self.written.changed().await.is_err() {
                return None;
            }
        }
    }

    fn text(&mut self, lines: &[LogLine]) -> String {
        let mut text = String::new();
        for line in lines.iter().filter(|line| self.options.since.is_none_or(|since| line.at >= since)) {
            if self.options.timestamps {
                text.push_str(&line.at.strftime("%Y-%m-%dT%H:%M:%S.%9fZ ").to_string());
            }
            text.push_str(&line.text);
            text.push('\n');
        }
        if let Some(left) = self.left {
            let end = (0..=left.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            self.done = end < text.len() || left == end;
            text.truncate(end);
            self.left = Some(left - end);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_container_needs_no_name() {
        let one = json!({"spec": {"containers": [{"name": "c"}]}});
        assert_eq!(container(&one, "p", None), Ok("c"));
        assert_eq!(container(&one, "p", Some("x")).unwrap_err().message, "container x is not valid for pod p");
        let more = json!({"spec": {"containers": [{"name": "c"}, {"name": "d"}], "initContainers": [{"name": "i"}]}});
        let why = "a container name must be specified for pod p, choose one of: [i c d]";
        assert_eq!(container(&more, "p", None).unwrap_err().message, why);
        assert_eq!(container(&more, "p", Some("i")), Ok("i"));
    }
}
