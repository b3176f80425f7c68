//! Reading: get, list, watch and logs.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::negotiate::View;
use super::{Answer, ApiBody, ApiService, Call, Place};
use crate::kubernetes::Selector;
use crate::lab::resource::{PODS, Resource};
use crate::lab::status::Status;
use crate::lab::store::{Change, ChangeKind, Object, Store};

/// How long a watch lasts that does not say.
const WATCH_SECONDS: u64 = 3600;

/// Which objects of a kind a request means.
#[derive(Clone)]
pub(super) struct Filter {
    labels: Selector,
    fields: Vec<(String, bool, String)>,
}

impl Filter {
    pub(super) fn of(resource: &Resource, call: &Call) -> Result<Self, Status> {
        let labels = call.get("labelSelector").unwrap_or_default().parse::<Selector>();
        let labels = labels.map_err(|error| Status::bad_request(format!("unable to parse requirement: {error}")))?;
        let mut fields = Vec::new();
        let text = call.get("fieldSelector").unwrap_or_default();
        for piece in text.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
            let (field, equal, value) = match (piece.split_once("!="), piece.split_once('=')) {
                (Some((field, value)), _) => (field, false, value),
                (None, Some((field, value))) => (field, true, value.trim_start_matches('=')),
                (None, None) => return Err(Status::bad_request(format!("invalid selector: {piece:?}"))),
            };
            let of_pods = std::ptr::eq(resource, &PODS) && ["spec.nodeName", "status.phase"].contains(&field);
            if !of_pods && !["metadata.name", "metadata.namespace"].contains(&field) {
                return Err(Status::bad_request(format!("field label not supported: {field}")));
            }
            fields.push((format!("/{}", field.replace('.', "/")), equal, value.to_owned()));
        }
        Ok(Self { labels, fields })
    }

    pub(super) fn takes(&self, object: &Value) -> bool {
        self.labels.matches(&object["metadata"]["labels"])
            && self.fields.iter().all(|(pointer, equal, value)| {
                let is = object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                (is == value) == *equal
            })
    }
}

pub(super) fn get(api: &ApiService, place: &Place, name: &str) -> Result<Answer, Status> {
    let object = api.store.get(place.resource, place.namespace(), name)?;
    Ok(Answer::Json(200, (*object).clone()))
}

pub(super) fn list(api: &ApiService, place: &Place, call: &Call) -> Result<Answer, Status> {
    let resource = place.resource;
    let filter = Filter::of(resource, call)?;
    if let Some(version) = call.get("resourceVersion").filter(|v| !v.is_empty() && v.parse::<u64>().is_err()) {
        let why = format!("invalid resource version: resourceVersion: Invalid value: {version:?}");
        return Err(Status::bad_request(why));
    }
    let limit = call.get("limit").and_then(|limit| limit.parse::<usize>().ok()).filter(|limit| *limit > 0);
    let (all, version) = api.store.list(resource, place.namespace.as_deref());
    let mut items: Vec<Object> = all.into_iter().filter(|object| filter.takes(object)).collect();
    if let Some(after) = call.get("continue").filter(|token| !token.is_empty()) {
        items.retain(|object| key(object).as_str() > after);
    }
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some(limit) = limit.filter(|limit| items.len() > *limit) {
        let left = items.len() - limit;
        items.truncate(limit);
        metadata["continue"] = json!(items.last().map(|object| key(object)));
        if call.get("labelSelector").is_none() && call.get("fieldSelector").is_none() {
            metadata["remainingItemCount"] = json!(left);
        }
    }
    // Items of a list name neither kind nor version.
    let items: Vec<Value> = items
        .into_iter()
        .map(|object| {
            let mut item = (*object).clone();
            if let Some(map) = item.as_object_mut() {
                map.remove("kind");
                map.remove("apiVersion");
            }
            item
        })
        .collect();
    let kind = format!("{}List", resource.kind);
    Ok(Answer::Json(
        200,
        json!({"kind": kind, "apiVersion": resource.api_version(), "metadata": metadata, "items": items}),
    ))
}

/// A place in the order of lists.
fn key(object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text("namespace"), text("name"))
}

pub(super) fn log(api: &ApiService, place: &Place, name: &str, call: &Call) -> Result<Answer, Status> {
    let pod = api.store.get(&PODS, place.namespace(), name)?;
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    let container = pod["spec"]["containers"][0]["name"].as_str().unwrap_or_default();
    if let Some(wanted) = call.get("container").filter(|wanted| *wanted != container) {
        return Err(Status::bad_request(format!("container {wanted} is not valid for pod {name}")));
    }
    let Some(log) = api.logs.find(uid, container, call.flag("previous")) else {
        let waiting = pod.pointer("/status/containerStatuses/0/state/waiting/reason").and_then(Value::as_str);
        let why = waiting.unwrap_or("ContainerCreating");
        let message = format!("container {container:?} in pod {name:?} is waiting to start: {why}");
        return Err(Status::bad_request(message));
    };
    let number = |name: &str| call.get(name).and_then(|value| value.parse::<u64>().ok());
    let since = match (number("sinceSeconds"), call.get("sinceTime")) {
        (Some(seconds), _) => api.clock.now().checked_sub(Duration::from_secs(seconds)).ok(),
        (None, Some(time)) => time.parse().ok(),
        (None, None) => None,
    };
    let lines: Vec<_> =
        log.lines_from(0).0.into_iter().filter(|line| since.is_none_or(|since| line.at >= since)).collect();
    let tail = number("tailLines").map_or(lines.len(), |tail| usize::try_from(tail).unwrap_or(usize::MAX));
    let mut text = String::new();
    for line in lines.iter().skip(lines.len().saturating_sub(tail)) {
        if call.flag("timestamps") {
            // Writing to a string cannot fail.
            let _ = write!(text, "{} ", line.at);
        }
        text.push_str(&line.text);
        text.push('\n');
    }
    if let Some(limit) = number("limitBytes").and_then(|limit| usize::try_from(limit).ok()) {
        let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
    Ok(Answer::Text(text))
}

struct Watch {
    store: Store,
    newest: Receiver<u64>,
    resource: &'static Resource,
    namespace: Option<String>,
    filter: Filter,
    seen: u64,
    bookmarks: bool,
    told: u64,
    until: Instant,
    pending: VecDeque<Value>,
    ended: bool,
    view: View,
}

pub(super) fn watch(api: &ApiService, place: &Place, call: &Call, view: View) -> Result<ApiBody, Status> {
    let filter = Filter::of(place.resource, call)?;
    let mut pending = VecDeque::new();
    let seen = match call.get("resourceVersion").unwrap_or_default() {
        "" | "0" => {
            let (items, version) = api.store.list(place.resource, place.namespace.as_deref());
            let added = items.into_iter().filter(|object| filter.takes(object));
            pending.extend(added.map(|object| json!({"type": "ADDED", "object": *object})));
            version
        }
        version => version.parse().map_err(|_| {
            Status::new(
                500,
                "",
                format!("resourceVersion: Invalid value: {version:?}: strconv.ParseUint: invalid syntax"),
            )
        })?,
    };
    let seconds = call.get("timeoutSeconds").and_then(|s| s.parse().ok()).unwrap_or(WATCH_SECONDS);
    let watch = Watch {
        newest: api.store.subscribe(),
        store: api.store.clone(),
        resource: place.resource,
        namespace: place.namespace.clone(),
        filter,
        seen,
        told: seen,
        bookmarks: call.flag("allowWatchBookmarks"),
        until: Instant::now() + Duration::from_secs(seconds),
        pending,
        ended: false,
        view,
    };
    let events = stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        let event = watch.view.event(event);
        let line = Bytes::from(format!("{event}\n"));
        Some((Ok(Frame::data(line)), watch))
    });
    Ok(StreamBody::new(events).boxed_unsync())
}

impl Watch {
    /// The next event, or the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            self.newest.borrow_and_update();
            match self.store.changes_of(self.resource, self.seen) {
                Err(status) => {
                    self.ended = true;
                    return Some(json!({"type": "ERROR", "object": status.body()}));
                }
                Ok((changes, newest)) => {
                    for change in changes {
                        self.seen = change.version;
                        if let Some(event) = self.event(&change) {
                            self.told = change.version;
                            self.pending.push_back(event);
                        }
                    }
                    self.seen = newest;
                }
            }
            if !self.pending.is_empty() {
                continue;
            }
            tokio::select! {
                biased;
                changed = self.newest.changed() => {
                    if changed.is_err() {
                        return None;
                    }
                }
                () = tokio::time::sleep_until(self.until) => {
                    self.ended = true;
                    if self.bookmarks && self.seen > self.told {
                        let metadata = json!({"resourceVersion": self.seen.to_string()});
                        let (kind, api_version) = (self.resource.kind, self.resource.api_version());
                        let object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
                        return Some(json!({"type": "BOOKMARK", "object": object}));
                    }
                    return None;
                }
            }
        }
    }

    /// The event of a change, for somebody who sees only what the filter takes.
    fn event(&self, change: &Change) -> Option<Value> {
        let elsewhere = |namespace: &String| change.object["metadata"]["namespace"].as_str() != Some(namespace);
        if !std::ptr::eq(change.resource, self.resource) || self.namespace.as_ref().is_some_and(elsewhere) {
            return None;
        }
        let before = change.before.as_ref().filter(|before| self.filter.takes(before));
        let after = self.filter.takes(&change.object) && change.kind != ChangeKind::Deleted;
        match (before, after) {
            (None, false) => None,
            (None, true) => Some(json!({"type": "ADDED", "object": *change.object})),
            (Some(_), true) => Some(json!({"type": "MODIFIED", "object": *change.object})),
            (Some(before), false) => {
                let mut object =
                    if change.kind == ChangeKind::Deleted { &change.object } else { before }.as_ref().clone();
                object["metadata"]["resourceVersion"] = json!(change.version.to_string());
                Some(json!({"type": "DELETED", "object": object}))
            }
        }
    }
}
