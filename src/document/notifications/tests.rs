use std::sync::Mutex;

use futures_util::future::BoxFuture;

use super::*;
use crate::document::python::Interpreter;
use crate::transport::{Connection, Failure, NoAnswer, Response};

/// Keeps what is sent, and answers with a status; without one it is down.
struct Endpoint {
    status: Option<u16>,
    sent: Mutex<Vec<Request>>,
}

impl Transport for Endpoint {
    fn connect<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, Result<Connection, Failure>> {
        Box::pin(async { Err(NoAnswer::Refused.into()) })
    }

    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, Failure>> {
        self.sent.lock().expect("no panic").push(request.clone());
        Box::pin(async {
            let status = self.status.ok_or(NoAnswer::Refused)?;
            Ok(Response { status, headers: HeaderMap::new(), body: Default::default() })
        })
    }
}

struct Bench {
    endpoint: Arc<Endpoint>,
    heard: Arc<Mutex<Vec<(Level, String)>>>,
    notifications: Notifications,
}

fn bench(status: Option<u16>, channels: Value) -> Bench {
    let endpoint = Arc::new(Endpoint { status, sent: Mutex::default() });
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (told, way) = (heard.clone(), endpoint.clone());
    let notifications = Notifications {
        channels: channels.as_array().expect("a list").clone(),
        ways: Arc::new(move || Ok(way.clone())),
        python: None,
        clock: Clock::real(),
        log: Arc::new(move |level, line: &str| told.lock().expect("no panic").push((level, line.to_owned()))),
    };
    Bench { endpoint, heard, notifications }
}

#[tokio::test]
async fn channels_get_the_events_that_they_want() {
    let bench = bench(
        Some(200),
        json!([
            {"type": "http", "url": "http://h/all", "headers": {"X-Test": "hdr"}},
            {"type": "http", "url": "http://h/some", "events": ["run-completed"], "forward_event_payload": false, "verify_tls": false},
        ]),
    );
    let payload = json!({"title": "t"});
    bench.notifications.notify(Event::RunStarted, &payload, None).await;
    bench.notifications.notify(Event::RunCompleted, &payload, Some("e")).await;
    let sent = bench.endpoint.sent.lock().expect("no panic");
    let told: Vec<_> = sent.iter().map(|one| (one.method.as_str(), one.address.to_string(), one.insecure)).collect();
    let (all, some) = ("http://h/all".to_owned(), "http://h/some".to_owned());
    assert_eq!(told, [("POST", all.clone(), false), ("POST", all, false), ("GET", some, true)]);
    assert_eq!(sent[0].headers["x-test"], "hdr");
    assert_eq!(sent[0].headers["content-type"], "application/json");
    let body: Value = serde_json::from_slice(&sent[1].body).expect("JSON");
    assert!(body["ts"].is_f64());
    let expected = json!({"name": "run-completed", "payload": payload, "phase": "run", "ts": body["ts"], "error": "e"});
    assert_eq!(body, expected);
    assert!(sent[2].body.is_empty());
}

#[tokio::test]
async fn what_goes_wrong_is_a_line_in_the_log() {
    for (status, why) in [(None, "connection refused"), (Some(500), "status 500")] {
        let bench = bench(
            status,
            json!([{"type": "http", "url": "http://h/all"}, {"type": "http"}, {"type": "plugin", "module": "m"}]),
        );
        bench.notifications.notify(Event::RunStarted, &json!({}), None).await;
        let heard = bench.heard.lock().expect("no panic").clone();
        let expected = [
            (Level::Debug, format!("the notification run-started to http://h/all failed: {why}")),
            (Level::Debug, "the notification run-started to  failed: it has no url".to_owned()),
            (
                Level::Warning,
                "the notifications to m are not sent: plugins are Python's; allow it with --allow-python".to_owned(),
            ),
            (
                Level::Debug,
                "the notification run-started to m failed: plugins are Python's; allow it with --allow-python"
                    .to_owned(),
            ),
        ];
        assert_eq!(heard, expected);
    }
}

#[tokio::test]
async fn a_plugin_gets_the_channel_and_the_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let text =
        "import json\ndef notify(channel, event):\n    json.dump([channel, event], open(channel['path'], 'w'))\n";
    std::fs::write(folder.path().join("plugin.py"), text).expect("written");
    let path = folder.path().join("told");
    let channel = json!({"type": "plugin", "module": "plugin", "path": path});
    let mut bench = bench(None, json!([channel, {"type": "plugin", "module": "plugin", "func": "none"}]));
    let mut interpreter = Interpreter::of_user(bench.notifications.log.clone(), Arc::new(|_| ()));
    interpreter.variables.push(("PYTHONPATH".to_owned(), folder.path().display().to_string()));
    bench.notifications.python = Some(Python::new(interpreter));
    bench.notifications.notify(Event::RunDeviated, &json!({"x": 1}), None).await;
    let told: Value = serde_json::from_slice(&std::fs::read(path).expect("written")).expect("JSON");
    assert_eq!((&told[0], &told[1]["name"], &told[1]["payload"]), (&channel, &json!("run-deviated"), &json!({"x": 1})));
    let heard = bench.heard.lock().expect("no panic").clone();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].1.contains("has no function called 'none'"), "{heard:?}");
}

#[test]
fn a_deviation_is_told_beside_the_end() {
    let of = |status: &str, deviated: bool| Event::of_journal(&json!({"status": status, "deviated": deviated}));
    assert_eq!(of("completed", false), [Event::RunCompleted]);
    assert_eq!(of("completed", true), [Event::RunCompleted, Event::RunDeviated]);
    assert_eq!(of("aborted", false), [Event::RunFailed]);
}
