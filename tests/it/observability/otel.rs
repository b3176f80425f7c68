//! Traces over OTLP, as a receiver sees them. Each run is in a process of its own: its environment says where to.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;
use steadfast::prelude::*;

use super::decoded::{Request, Span, from_json, from_protobuf};
use super::receiver::Receiver;

/// A run of lab4 in virtual time, with these variables; what it says on standard error.
fn run(variables: &[(&str, &str)]) -> String {
    told("observability::otel::lab4_runs", variables)
}

fn child(test: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("OTEL_") || name == "TRACEPARENT" {
            command.env_remove(&*name);
        }
    }
    command.envs(variables.iter().copied());
    command
}

fn told(test: &str, variables: &[(&str, &str)]) -> String {
    let output = child(test, variables).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "nothing of it changes a run: {told}");
    assert!(!told.contains("hunter2"), "{told}");
    told
}

#[test]
#[ignore = "run by the others, in a process of its own"]
fn lab4_runs() {
    crate::support::on_the_lab(async |cluster| super::lab4(&cluster).await.map(drop));
}

/// More spans than one request holds.
#[test]
#[ignore = "run by the others, in a process of its own"]
fn many_spans() {
    crate::support::on_the_lab(async |cluster| {
        let pauses = (0..600).fold(Experiment::without_hypothesis("long"), |all, _| all.pause(secs(1)));
        pauses.run(&cluster).await?.assert_verdict(NotJudged);
        Ok(())
    });
}

/// What a collector gets of lab4.
fn received(json: bool, more: &[(&str, &str)]) -> Request {
    let collector = Receiver::new();
    let protocol = if json { "http/json" } else { "http/protobuf" };
    let mut variables =
        vec![("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
    variables.extend_from_slice(more);
    let said = run(&variables);
    assert!(!said.contains("steadfast: "), "{said}");
    let got = collector.got();
    let [got] = got.as_slice() else { panic!("{} requests", got.len()) };
    assert_eq!((got.method.as_str(), got.path.as_str()), ("POST", "/v1/traces"));
    assert_eq!(got.headers["content-type"], if json { "application/json" } else { "application/x-protobuf" });
    assert!(!String::from_utf8_lossy(&got.body).contains("hunter2"));
    if json { from_json(&got.body) } else { from_protobuf(&got.body) }
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let (first, more) = (found.next(), found.next());
    assert!(more.is_none(), "several {name}");
    first.unwrap_or_else(|| panic!("no {name} in {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>()))
}

#[test]
fn lab4_is_one_trace() {
    let (resource, spans) = received(true, &[]);
    assert_eq!(resource["service.name"], "steadfast");
    assert_eq!(resource["k8s.cluster.name"], "the embedded lab");
    let by_id: BTreeMap<&str, &Span> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    assert_eq!(by_id.len(), spans.len(), "no two have one id");
    assert_eq!(spans.iter().map(|span| &span.trace).collect::<BTreeSet<_>>().len(), 1);
    let root = named(&spans, "front keeps working when back is cut off");
    assert_eq!((root.parent.as_str(), root.status), ("", 2));
    assert!(root.message.starts_with("deviated: ") && root.message.contains("was a growth of"), "{}", root.message);
    assert_eq!(root.attributes["steadfast.verdict"], "deviated");
    assert!(root.events.iter().any(|(name, _)| name == "safeguard"), "{:?}", root.events);
    for span in &spans {
        assert!(
            span.kind == if span.name == "request of traffic: GET http://front.default/, 10/s for 10s" { 3 } else { 1 }
        );
        assert!(span.start <= span.end, "{span:?}");
        if span.id != root.id {
            let parent = by_id[span.parent.as_str()];
            assert!(parent.start <= span.start && span.end <= parent.end, "{span:#?} is not inside {parent:#?}");
        }
        for (_, at) in &span.events {
            assert!((span.start..=span.end).contains(at), "{span:?}");
        }
        for (trace, id) in &span.links {
            assert!(*trace == span.trace && by_id.contains_key(id.as_str()), "{span:?}");
        }
    }
    let phases = ["before the method", "in the method", "under the fault", "rollback", "after the rollback"];
    let mut last = 0;
    for phase in phases.map(|phase| named(&spans, phase)) {
        assert!(phase.parent == root.id && phase.start >= last, "{phase:?}");
        last = phase.end;
    }
    let method = named(&spans, "in the method");
    let below = |parent: &Span| spans.iter().filter(|span| span.parent == parent.id).collect::<Vec<_>>();
    let activities: Vec<_> =
        below(method).into_iter().filter(|s| s.attributes.contains_key("steadfast.kind")).collect();
    let kinds: Vec<_> = activities.iter().map(|span| span.attributes["steadfast.kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["background", "pause", "inject", "pause", "observe"]);
    assert!(activities.iter().all(|span| span.status == 1));

    let fault = spans.iter().find(|s| s.attributes.contains_key("steadfast.proved")).expect("a fault");
    assert!(fault.parent == root.id && fault.attributes["steadfast.proved"] == true, "{fault:?}");
    assert!(fault.attributes["steadfast.targets"].as_array().is_some_and(|targets| !targets.is_empty()));
    assert!(fault.events.iter().any(|(name, _)| name == "sighting"), "{fault:?}");
    let undo = named(&spans, &format!("undo {}", fault.name));
    assert_eq!((undo.parent.as_str(), undo.status), (named(&spans, "rollback").id.as_str(), 1));
    assert_eq!(undo.links, [(root.trace.clone(), fault.id.clone())]);
    let inject = activities.iter().find(|span| span.name == fault.name).expect("what injects it");
    assert!(inject.events.len() == 1 && fault.start <= inject.end, "{inject:?}");

    let checks = |phase: &str| below(named(&spans, phase));
    for check in checks("under the fault") {
        assert_eq!(check.links, [(root.trace.clone(), fault.id.clone())], "{check:?}");
    }
    for check in checks("before the method").into_iter().chain(checks("after the rollback")) {
        assert!(check.links.is_empty() && check.status == 1, "{check:?}");
    }
    let out: Vec<_> = checks("under the fault").into_iter().filter(|check| check.status == 2).collect();
    assert!(out.len() == 1 && out[0].attributes["steadfast.outcome"] == "not-met", "{out:?}");
}

/// A service that keeps the contexts that it is asked in.
#[test]
#[ignore = "run by the next, in a process of its own"]
fn keeps_contexts() {
    use std::sync::{Arc, Mutex};
    let seen: Arc<Mutex<Vec<(String, String, String)>>> = Arc::default();
    let kept = seen.clone();
    crate::support::on_the_lab(async move |cluster| {
        let keeping = kept.clone();
        cluster.lab()?.image("keeper:1", move |_| {
            let kept = keeping.clone();
            axum::Router::new().fallback(async move |uri: axum::http::Uri, headers: axum::http::HeaderMap| {
                let said = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
                kept.lock().unwrap().push((uri.path().to_owned(), said("traceparent"), said("baggage")));
            })
        });
        let labels = json!({"app": "keeper"});
        let metadata = json!({"name": "keeper", "namespace": "default", "labels": labels});
        let spec = json!({"containers": [{"name": "c", "image": "keeper:1"}]});
        cluster.apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})).await?;
        let metadata = json!({"name": "keeper", "namespace": "default"});
        let spec = json!({"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]});
        cluster.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})).await?;
        let at = |path: &str| cluster.namespace("default").service("keeper").url(path);
        let load = load::get(at("/load")).per_second(100).lasting(secs(1)).named("traffic");
        let own = load::get(at("/own")).header("traceparent", "mine").header("baggage", "user=1").named("own");
        let journal = Experiment::without_hypothesis("contexts")
            .pause(secs(10))
            .background(&load)
            .background(&own)
            .observe(http::get(at("/probe")))
            .observe(http::get(at("/own")).header("traceparent", "mine").header("baggage", "user=1"))
            .run(&cluster)
            .await?;
        println!("TRACE {}", serde_json::to_string(&journal.trace)?);
        println!("SLOWEST {}", journal.steps[1].output["slowest"]);
        Ok(())
    });
    for (path, traceparent, baggage) in seen.lock().unwrap().iter() {
        println!("SEEN {path} {traceparent} {baggage}");
    }
}

#[test]
fn requests_carry_the_context_unless_they_have_one() {
    let collector = Receiver::new();
    let run = |variables: &[(&str, &str)]| {
        let output = child("observability::otel::keeps_contexts", variables).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("text");
        let of = |word: &str| -> Vec<String> {
            text.lines().filter_map(|line| Some(line.split_once(word)?.1.to_owned())).collect()
        };
        (of("TRACE "), of("SLOWEST "), of("SEEN "))
    };
    let at = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str())];
    let (trace, slowest, seen) = run(&at);
    let trace: serde_json::Value = serde_json::from_str(&trace[0]).expect("JSON");
    let (id, root) = (trace["id"].as_str().expect("an id"), trace["root"].as_str().expect("a span"));
    let baggage = trace["baggage"].as_str().expect("a run");
    assert!(baggage.starts_with("steadfast.run="), "{trace}");
    let mut spans = BTreeSet::new();
    for line in &seen {
        let [path, traceparent, told] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        match path {
            "/own" => assert_eq!((traceparent, told), ("mine", "user=1")),
            "/probe" => assert_eq!((traceparent, told), (&*format!("00-{id}-{root}-01"), baggage)),
            _ => {
                let span = traceparent.strip_prefix(&format!("00-{id}-")).and_then(|rest| rest.strip_suffix("-01"));
                assert!(spans.insert(span.expect("it is of the trace").to_owned()) && told == baggage, "{line}");
            }
        }
    }
    assert_eq!(spans.len(), 100);
    assert!(spans.iter().all(|span| span.len() == 16), "{spans:?}");
    let slowest: Vec<serde_json::Value> = serde_json::from_str(&slowest[0]).expect("JSON");
    assert_eq!(slowest.len(), 10);
    let slow: BTreeSet<_> = slowest.iter().map(|slow| slow["span"].as_str().expect("a span").to_owned()).collect();
    assert!(slow.len() == 10 && slow.is_subset(&spans), "{slow:?}");
    let (_, told) = from_protobuf(&collector.got()[0].body);
    let load =
        told.iter().find(|span| span.attributes.get("steadfast.kind") == Some(&json!("background"))).expect("a load");
    let clients: BTreeSet<_> =
        told.iter().filter(|s| s.kind == 3 && s.parent == load.id).map(|s| s.id.clone()).collect();
    assert_eq!(clients, slow);
    assert_eq!(run(&at).2, seen, "from the seed");

    let (trace, slowest, seen) = run(&[]);
    assert_eq!((trace[0].as_str(), slowest[0].as_str()), ("null", "null"));
    assert!(
        seen.iter().all(|line| line.starts_with("/own mine") || line.trim_end() == line.split(' ').next().unwrap())
    );
}

#[test]
fn both_encodings_say_the_same_and_so_does_the_same_run() {
    let json = received(true, &[]);
    assert_eq!(received(false, &[]), json);
}

#[test]
fn the_environment_says_who_started_it_and_what_it_is() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let more = [("TRACEPARENT", parent), ("OTEL_SERVICE_NAME", "checkout"), ("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb")];
    let (resource, spans) = received(false, &more);
    assert_eq!((&resource["service.name"], &resource["team"]), (&json!("checkout"), &json!("a,b")));
    assert!(spans.iter().all(|span| span.trace == "0af7651916cd43dd8448eb211c80319c"));
    assert_eq!(spans[0].parent, "b7ad6b7169203331");
}

#[test]
fn nothing_is_sent_unless_it_is_wanted() {
    let collector = Receiver::new();
    let at = ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str());
    let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    for variables in [
        &[][..],
        &[at, ("OTEL_SDK_DISABLED", "true")],
        &[at, ("OTEL_TRACES_EXPORTER", "none")],
        &[at, ("TRACEPARENT", unsampled)],
    ] {
        let said = run(variables);
        assert!(!said.contains("steadfast: "), "{said}");
    }
    let said = run(&[at, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
    assert_eq!(said.matches("OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not spoken here").count(), 1, "{said}");
    assert!(collector.got().is_empty());
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let collector = Receiver::answering(|number, _| {
        let busy = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
        Some(match busy.get(number) {
            Some(status) => (*status, [("retry-after", "0")]).into_response(),
            None => StatusCode::OK.into_response(),
        })
    });
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2");
    let said = run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url), headers]);
    let got = collector.got();
    assert_eq!(got.len(), 3, "{said}");
    assert!(!said.contains("steadfast: "), "{said}");
    assert!(got.iter().all(|one| one.headers["api-key"] == "hunter2" && one.body == got[0].body));
}

/// One that asks for an hour is not waited for.
#[test]
fn a_server_that_wants_too_much_time_is_told_of() {
    let collector =
        Receiver::answering(|_, _| Some((StatusCode::TOO_MANY_REQUESTS, [("retry-after", "3600")]).into_response()));
    let said = run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]);
    assert_eq!(said.matches("it answered 429 and wants to be asked again in 3600s").count(), 1, "{said}");
    assert_eq!(collector.got().len(), 1);
}

#[test]
fn whatever_is_a_success_is_one() {
    for status in [StatusCode::ACCEPTED, StatusCode::NO_CONTENT] {
        let collector = Receiver::answering(move |_, _| Some(status.into_response()));
        let said = run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]);
        assert!(!said.contains("steadfast: ") && collector.got().len() == 1, "{said}");
    }
}

/// What is rejected of one request is no reason to keep the next.
#[test]
fn all_requests_are_sent_whatever_is_rejected_of_one() {
    for (rejected, part) in [(3, "has rejected 6 of 60"), (0, "has taken the trace of run ")] {
        let says = json!({"partialSuccess": {"rejectedSpans": rejected.to_string(), "errorMessage": "full"}});
        let collector = Receiver::answering(move |_, _| Some(says.to_string().into_response()));
        let at = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")];
        let said = told("observability::otel::many_spans", &at);
        let complaints: Vec<_> = said.lines().filter(|line| line.starts_with("steadfast: ")).collect();
        assert!(complaints.len() == 1 && complaints[0].contains(part) && complaints[0].ends_with(": full"), "{said}");
        let sent: Vec<_> = collector.got().iter().map(|got| from_json(&got.body).1.len()).collect();
        assert!(sent.len() == 2 && sent[0] == 512 && sent[1] > 88, "{sent:?}");
    }
}

#[test]
fn what_is_not_taken_is_told_once() {
    let partial = |json: bool| {
        move |_: usize, _: &super::receiver::Got| {
            // ExportTraceServiceResponse { partial_success: { rejected_spans: 3, error_message: "full" } }
            let bytes = [&[10, 8, 8, 3, 18, 4][..], &b"full"[..]].concat();
            let text = r#"{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "full"}}"#;
            Some(if json { text.into_response() } else { bytes.into_response() })
        }
    };
    let status = |status: StatusCode| move |_: usize, _: &super::receiver::Got| Some(status.into_response());
    let hangs = |_: usize, _: &super::receiver::Got| None;
    let of = |collector: Receiver, more: &[(&str, &str)], part: &str| {
        let endpoint = format!("{}/?key=hunter2", collector.url);
        let mut variables = vec![("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str())];
        variables.extend_from_slice(more);
        let said = run(&variables);
        let complaints: Vec<_> = said.lines().filter(|line| line.starts_with("steadfast: ")).collect();
        assert!(complaints.len() == 1 && complaints[0].contains(part), "{part}: {said}");
        assert!(complaints[0].contains(&collector.url), "{said}");
    };
    of(Receiver::answering(partial(false)), &[], "has rejected 3 of ");
    of(Receiver::answering(partial(true)), &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")], "spans: full");
    of(Receiver::answering(status(StatusCode::UNAUTHORIZED)), &[], "401; OTEL_EXPORTER_OTLP_HEADERS holds");
    of(Receiver::answering(status(StatusCode::NOT_FOUND)), &[], "it answered 404; is it an endpoint of OTLP/HTTP?");
    let soon = [("OTEL_EXPORTER_OTLP_TIMEOUT", "400")];
    of(Receiver::answering(hangs), &soon, "no answer within 400ms; OTEL_EXPORTER_OTLP_TIMEOUT");
    of(Receiver::answering(status(StatusCode::BAD_GATEWAY)), &soon, "it answered 502");
}

/// A document's activities, the end of its method, and its rollbacks are told as an experiment's are, without secrets.
#[cfg(feature = "cli")]
#[test]
fn a_document_is_one_trace_too() {
    let (out, collector) = (tempfile::tempdir().expect("a folder"), Receiver::new());
    let document = json!({
        "title": "back is cut off", "description": "d", "secrets": {"s": {"token": {"type": "env", "key": "OF_THE_TEST"}}},
        "steady-state-hypothesis": {"title": "front answers", "probes": [{"type": "probe", "name": "front",
            "tolerance": 200, "provider": {"type": "http", "url": "http://localhost:30080/"}}]},
        "method": [
            {"type": "action", "name": "cut", "provider": {"type": "python", "module": "chaosk8s.networking.actions",
                "func": "deny_all_ingress", "arguments": {"label_selectors": {"app": "back"}, "ns": "default"}}},
            {"type": "probe", "name": "broken", "provider": {"type": "http", "url": "http://127.0.0.1:1/hunter2-is-nowhere"}}],
        "rollbacks": [{"type": "action", "name": "tidy", "provider": {"type": "process", "path": "true"}}],
    });
    std::fs::write(out.path().join("experiment.json"), document.to_string()).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.args(["run", "--cluster", "embedded", "experiment.json"]).current_dir(out.path());
    command.env("STEADFAST_STATE_DIR", out.path().join("state")).env("OF_THE_TEST", "hunter2-is-nowhere");
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url).env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
    let ran = command.env_remove("TRACEPARENT").output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let got = collector.got();
    let [got] = got.as_slice() else { panic!("{} requests: {said}", got.len()) };
    assert!(!String::from_utf8_lossy(&got.body).contains("hunter2"), "{}", String::from_utf8_lossy(&got.body));
    let (_, spans) = from_json(&got.body);
    let [method, fault, rollback] = ["in the method", "under the fault", "rollback"].map(|name| named(&spans, name));
    assert!(method.end <= fault.start && fault.end <= rollback.start, "{spans:#?}");
    for (name, parent, kind, status) in
        [("cut", method, "act", 1), ("broken", method, "observe", 2), ("tidy", rollback, "finally", 1)]
    {
        let span = named(&spans, name);
        assert_eq!((&span.parent, span.status), (&parent.id, status), "{span:#?}");
        assert_eq!(span.attributes["steadfast.kind"], kind);
    }
}
