//! Annotations in Grafana, as a receiver sees them. Each run is in a process of its own: its environment says where to.

use std::process::{Command, Stdio};

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use steadfast::prelude::*;

use super::receiver::{Got, Receiver};

fn child(test: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    for name in ["STEADFAST_GRAFANA_URL", "STEADFAST_GRAFANA_TOKEN", "STEADFAST_GRAFANA_DASHBOARD"] {
        command.env_remove(name);
    }
    command.env("STEADFAST_REAL_TIME", "1").envs(variables.iter().copied());
    command
}

/// A run with one fault; what it says on standard error.
fn run(variables: &[(&str, &str)]) -> String {
    run_of("one_fault", variables)
}

fn run_of(test: &str, variables: &[(&str, &str)]) -> String {
    let output = child(&format!("observability::grafana::{test}"), variables).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "nothing of it changes a run: {told}");
    assert!(!told.contains("hunter2"), "{told}");
    told
}

#[test]
#[ignore = "run by the others, in a process of its own"]
fn one_fault() {
    crate::support::on_the_lab(async |cluster| {
        steadfast::shop(&cluster).await?;
        let cut = cluster.namespace("default").pods("app=back").deny_ingress();
        let journal = Experiment::without_hypothesis("a < b").inject(cut).run(&cluster).await?;
        journal.assert_verdict(NotJudged);
        Ok(())
    });
}

#[test]
#[ignore = "run by the others, in a process of its own"]
fn two_faults() {
    crate::support::on_the_lab(async |cluster| {
        steadfast::shop(&cluster).await?;
        let cut = |pods: &str| cluster.namespace("default").pods(pods).deny_ingress();
        let both = Experiment::without_hypothesis("two").inject(cut("app=back")).inject(cut("app=middle"));
        both.run(&cluster).await?.assert_verdict(NotJudged);
        Ok(())
    });
}

#[test]
#[ignore = "run by the others, in a process of its own"]
fn a_fault_that_stays() {
    crate::support::on_the_lab(async |cluster| {
        steadfast::shop(&cluster).await?;
        let run = Run::start("a < b", &cluster).await?;
        let _cut = run.inject(cluster.namespace("default").pods("app=back").deny_ingress()).await?;
        std::future::pending().await
    });
}

fn grafana() -> Receiver {
    Receiver::answering(|_, got| {
        let said = match got.method.as_str() {
            "POST" => json!({"message": "Annotation added", "id": 41}),
            _ => json!({"message": "Annotation patched"}),
        };
        Some(Json(said).into_response())
    })
}

fn body(got: &Got) -> Value {
    serde_json::from_slice(&got.body).expect("JSON")
}

#[test]
fn a_fault_is_a_mark_and_then_a_region() {
    let grafana = grafana();
    let base = format!("{}/grafana/", grafana.url);
    let said = run(&[
        ("STEADFAST_GRAFANA_URL", &base),
        ("STEADFAST_GRAFANA_TOKEN", "hunter2"),
        ("STEADFAST_GRAFANA_DASHBOARD", "shop"),
    ]);
    assert!(!said.contains("steadfast: "), "{said}");
    let all = grafana.got();
    let [made, ended] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((made.method.as_str(), made.path.as_str()), ("POST", "/grafana/api/annotations"));
    assert_eq!((ended.method.as_str(), ended.path.as_str()), ("PATCH", "/grafana/api/annotations/41"));
    assert!([made, ended].iter().all(|got| got.headers["authorization"] == "Bearer hunter2"));
    let (made, ended) = (body(made), body(ended));
    assert_eq!(made["dashboardUID"], "shop");
    assert_eq!((&made["tags"][0], &made["tags"][2]), (&json!("steadfast"), &json!("experiment:a < b")));
    assert!(made["tags"][1].as_str().is_some_and(|tag| tag.starts_with("run:") && tag.len() == 12), "{made}");
    assert!(
        made["tags"][3].as_str().is_some_and(|tag| tag.starts_with("fault:deny ingress to pods app=back")),
        "{made}"
    );
    let text = made["text"].as_str().expect("a text");
    assert!(text.contains("deny ingress") && text.contains("a &lt; b (run "), "{text}");
    // Milliseconds of this century.
    let (on, off) = (made["time"].as_i64().expect("a time"), ended["timeEnd"].as_i64().expect("a time"));
    assert!(1_700_000_000_000 < on && on <= off && off < 4_102_444_800_000, "{on} {off}");
    assert_eq!(ended.as_object().map(serde_json::Map::len), Some(1), "what else it says stays: {ended}");
}

#[test]
fn a_crash_leaves_the_mark() {
    let grafana = grafana();
    let variables = [("STEADFAST_GRAFANA_URL", grafana.url.as_str()), ("STEADFAST_GRAFANA_TOKEN", "hunter2")];
    let mut child = child("observability::grafana::a_fault_that_stays", &variables);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    grafana.wait_for_one();
    child.kill().expect("it lives");
    child.wait().expect("it ends");
    let all = grafana.got();
    assert!(all.len() == 1 && body(&all[0]).get("timeEnd").is_none(), "{all:?}");
}

#[test]
fn nothing_is_sent_unless_it_is_wanted() {
    let grafana = grafana();
    assert!(!run(&[]).contains("steadfast: "));
    assert!(!run(&[("STEADFAST_GRAFANA_TOKEN", "hunter2")]).contains("steadfast: "));
    let said = run(&[("STEADFAST_GRAFANA_URL", &grafana.url)]);
    assert_eq!(said.matches("STEADFAST_GRAFANA_TOKEN is not set").count(), 1, "{said}");
    // In virtual time nothing happens at a time that Grafana could show.
    let variables = [("STEADFAST_GRAFANA_URL", grafana.url.as_str()), ("STEADFAST_GRAFANA_TOKEN", "hunter2")];
    let mut in_virtual_time = child("observability::grafana::one_fault", &variables);
    assert!(in_virtual_time.env("STEADFAST_REAL_TIME", "0").output().expect("it runs").status.success());
    assert!(grafana.got().is_empty());
}

#[test]
fn a_grafana_that_fails_is_told_of_once() {
    let of = |grafana: Receiver, requests: usize, part: &str| {
        let said = run(&[("STEADFAST_GRAFANA_URL", &grafana.url), ("STEADFAST_GRAFANA_TOKEN", "hunter2")]);
        let complaints: Vec<_> = said.lines().filter(|line| line.starts_with("steadfast: ")).collect();
        assert!(complaints.len() == 1 && complaints[0].contains(part), "{part}: {said}");
        assert_eq!(grafana.got().len(), requests, "{said}");
    };
    let always = |status: StatusCode| Receiver::answering(move |_, _| Some(status.into_response()));
    of(always(StatusCode::UNAUTHORIZED), 1, "401; STEADFAST_GRAFANA_TOKEN needs the permission annotations:write");
    of(always(StatusCode::OK), 1, "its answer is none of Grafana's");
    of(Receiver::answering(|_, _| None), 1, "no answer within 3s");
    // What may pass is tried when the fault is on, when it is undone, and at the end.
    of(always(StatusCode::INTERNAL_SERVER_ERROR), 3, "/api/annotations answered 500");
    let second = |number: usize, _: &Got| -> Option<Response> {
        Some(match number {
            0 => Json(json!({"id": 41})).into_response(),
            _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        })
    };
    of(Receiver::answering(second), 3, "/api/annotations/41 answered 500");
}

/// The requests of a run with two faults, which Grafana fails once, at the one of this number; what the run complains of.
fn failing_once(at: usize, with: StatusCode) -> (Vec<String>, Vec<Value>, Vec<String>) {
    let grafana = Receiver::answering(move |number, _| {
        Some(if number == at { with.into_response() } else { Json(json!({"id": 40 + number})).into_response() })
    });
    let said = run_of("two_faults", &[("STEADFAST_GRAFANA_URL", &grafana.url), ("STEADFAST_GRAFANA_TOKEN", "hunter2")]);
    let all = grafana.got();
    let asked = all.iter().map(|got| format!("{} {}", got.method, got.path)).collect();
    let complaints = said.lines().filter(|line| line.starts_with("steadfast: ")).map(ToOwned::to_owned).collect();
    (asked, all.iter().map(body).collect(), complaints)
}

#[test]
fn what_fails_once_and_may_pass_loses_no_fault() {
    const NEW: &str = "POST /api/annotations";
    let (asked, bodies, complaints) = failing_once(0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(asked, [NEW, NEW, "PATCH /api/annotations/41", NEW], "the first becomes a region at its end");
    assert_eq!((&bodies[0]["time"], &bodies[0]["tags"]), (&bodies[3]["time"], &bodies[3]["tags"]));
    assert!(bodies[0].get("timeEnd").is_none() && bodies[3]["timeEnd"].as_i64() >= bodies[3]["time"].as_i64());
    assert!(complaints.is_empty(), "{complaints:?}");

    let (asked, bodies, complaints) = failing_once(2, StatusCode::BAD_GATEWAY);
    let (first, second) = ("PATCH /api/annotations/40", "PATCH /api/annotations/41");
    assert_eq!(asked, [NEW, NEW, second, first, second], "once more at the end of the run");
    assert!(bodies[2] == bodies[4] && complaints.is_empty(), "{complaints:?}");
}

/// What is wrong with all requests is told of the first, and no more are sent.
#[test]
fn after_what_will_not_pass_a_run_sends_nothing_of_its_other_faults() {
    for status in [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND] {
        let (asked, _, complaints) = failing_once(0, status);
        assert_eq!((asked.len(), complaints.len()), (1, 1), "{asked:?} {complaints:?}");
        assert!(complaints[0].starts_with("steadfast: fault 1 of run "), "{complaints:?}");
    }
}
