//! Watches: the changes of a kind, as they come.
//!
//! A watch wakes only for changes of its own kind, and an object's text is made once for all that tell it.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::answer::{in_version, write_body, write_object};
use super::list::{Options, version_of};
use super::negotiate::View;
use super::select::Filter;
use super::{ApiBody, ApiService, Call, Place, no_such_resource};
use crate::clock::from_now;
use crate::lab::resource::Resource;
use crate::lab::status::Status;
use crate::lab::store::{Change, ChangeKind, Object, Store, members};

/// How often a watch is told how far the server has come.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// How long before its end a watch is told the same.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

struct Watch {
    store: Store,
    /// The newest version of the kind.
    newest: Receiver<u64>,
    resource: &'static Resource,
    namespace: Option<String>,
    filter: Filter,
    /// All changes up to this version were looked at.
    seen: u64,
    /// The version of the latest event that was sent.
    told: u64,
    bookmark_at: Option<Instant>,
    until: Instant,
    pending: VecDeque<Bytes>,
    ended: bool,
    view: View,
}

pub(super) async fn watch(api: &ApiService, place: &Place, call: &Call, view: View) -> Result<ApiBody, Status> {
    let resource = place.resource;
    let filter = Filter::of(resource, call)?;
    let options = Options::of(call, true)?;
    let bookmarks = call.flag("allowWatchBookmarks");
    let version = version_of(&options.version).map_err(|why| Status::new(500, "", why))?;
    let with_initial = match (options.send_initial, version) {
        (Some(wanted), _) => wanted,
        (None, version) => version.is_none(),
    };
    if let Some(version) = version.filter(|_| with_initial) {
        api.wait_for(version).await?;
    }
    // Subscribed before the list, so that nothing falls in between.
    let newest = api.store.subscribe_to(resource).ok_or_else(no_such_resource)?;
    let now = || api.store.list(resource, place.namespace.as_deref());
    let (items, seen) = if with_initial { now() } else { (Vec::new(), version.unwrap_or_else(|| api.store.version())) };
    let seconds = options.timeout.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    let lasts = seconds.map_or_else(|| api.store.watch_timeout(), Duration::from_secs);
    let started = Instant::now();
    let mut watch = Watch {
        store: api.store.clone(),
        newest,
        resource,
        namespace: place.namespace.clone(),
        filter,
        seen,
        told: seen,
        bookmark_at: None,
        until: from_now(lasts),
        pending: VecDeque::new(),
        ended: false,
        view,
    };
    for object in &items {
        if watch.filter.takes(object) {
            let line = watch.line("ADDED", object);
            watch.pending.push_back(line);
        }
    }
    if options.send_initial == Some(true) && bookmarks {
        let bookmark = watch.bookmark(seen, true);
        watch.pending.push_back(bookmark);
    }
    watch.bookmark_at = bookmarks.then(|| watch.next_bookmark(started)).flatten();
    let events = stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok(Frame::data(line)), watch))
    });
    Ok(StreamBody::new(events).boxed_unsync())
}

impl Watch {
    /// The next line, or the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.pending.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            self.newest.borrow_and_update();
            if let Err(status) = self.look() {
                self.ended = true;
                let mut object = Vec::new();
                write_body(&mut object, &status.body());
                return Some(event_line("ERROR", &object));
            }
            if !self.pending.is_empty() {
                continue;
            }
            let bookmark_at = self.bookmark_at.unwrap_or(self.until);
            tokio::select! {
                biased;
                // The kind is served no longer.
                changed = self.newest.changed() => if changed.is_err() { return None },
                () = tokio::time::sleep_until(self.until), if bookmark_at >= self.until => return None,
                () = tokio::time::sleep_until(bookmark_at), if bookmark_at < self.until => {
                    self.bookmark_at = self.next_bookmark(bookmark_at);
                    let version = self.store.version();
                    if version > self.told {
                        self.told = version;
                        self.seen = self.seen.max(version);
                        return Some(self.bookmark(version, false));
                    }
                }
            }
        }
    }

    /// Each minute, and shortly before the end; never in the past.
    fn next_bookmark(&self, now: Instant) -> Option<Instant> {
        let at = (now + BOOKMARK_EVERY).min(self.until - BOOKMARK_BEFORE_END);
        (at > now).then_some(at)
    }

    /// Turns the changes since the last look into events.
    fn look(&mut self) -> Result<(), Status> {
        let (changes, _) = self.store.changes_of(self.resource, self.seen)?;
        for change in changes {
            self.seen = change.version;
            if let Some(event) = self.event(&change) {
                self.told = change.version;
                self.pending.push_back(event);
            }
        }
        Ok(())
    }

    /// The event of a change, for somebody who sees only what the filter takes.
    fn event(&mut self, change: &Change) -> Option<Bytes> {
        let elsewhere = |namespace: &String| change.object["metadata"]["namespace"].as_str() != Some(namespace);
        if self.namespace.as_ref().is_some_and(elsewhere) {
            return None;
        }
        let before = change.before.as_ref().filter(|before| self.filter.takes(before));
        let after = change.kind != ChangeKind::Deleted && self.filter.takes(&change.object);
        match (before, after) {
            (None, false) => None,
            (None, true) => Some(self.line("ADDED", &change.object)),
            (Some(_), true) => Some(self.line("MODIFIED", &change.object)),
            (Some(_), false) if change.kind == ChangeKind::Deleted => Some(self.line("DELETED", &change.object)),
            (Some(before), false) => {
                // It left: the client knows it as it was, and learns the version at which it went.
                let mut object = (**before).clone();
                object["metadata"]["resourceVersion"] = json!(change.version.to_string());
                Some(self.line_of("DELETED", &object))
            }
        }
    }

    /// An event of a stored object.
    fn line(&mut self, kind: &str, object: &Object) -> Bytes {
        if self.view.is_whole() { framed(kind, self.resource, object.rest()) } else { self.shown(kind, object) }
    }

    /// An event of what is not stored as it is told.
    fn line_of(&mut self, kind: &str, object: &Value) -> Bytes {
        if self.view.is_whole() { framed(kind, self.resource, &members(object)) } else { self.shown(kind, object) }
    }

    fn shown(&mut self, kind: &str, object: &Value) -> Bytes {
        let event = self.view.event(json!({"type": kind, "object": *in_version(self.resource, object)}));
        let mut shown = Vec::new();
        write_body(&mut shown, &event["object"]);
        event_line(kind, &shown)
    }

    fn bookmark(&mut self, version: u64, ends_initial: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if ends_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        self.line_of("BOOKMARK", &json!({"metadata": metadata}))
    }
}

fn framed(kind: &str, resource: &Resource, members: &[u8]) -> Bytes {
    const AROUND: usize = 100;
    let mut object = Vec::with_capacity(members.len() + AROUND);
    write_object(&mut object, resource, members);
    event_line(kind, &object)
}

fn event_line(kind: &str, object: &[u8]) -> Bytes {
    const AROUND: usize = 32;
    let mut line = Vec::with_capacity(object.len() + AROUND);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    Bytes::from(line)
}
