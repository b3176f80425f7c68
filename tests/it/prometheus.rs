//! What a Prometheus says, and what an experiment makes of it.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::{Value, json};
use steadfast::prelude::*;
use steadfast::prometheus::Prometheus;

/// A server on the lab that answers every question with this.
async fn answering(cluster: &Cluster, name: &str, answer: Value) -> Prometheus {
    let (body, image) = (answer.to_string(), format!("{name}:1"));
    cluster.lab().expect("the lab").image(&image, move |_| {
        let body = body.clone();
        Router::new().fallback(any(async move || -> Response { body.clone().into_response() }))
    });
    let labels = json!({"app": name});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"containers": [{"name": "c", "image": image}]}});
    cluster.apply(&pod).await.expect("a pod");
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}});
    cluster.apply(&service).await.expect("a service");
    tokio::time::sleep(secs(5)).await;
    Prometheus::new(cluster.namespace("default").service(name).url("/thanos"))
}

/// The value 7, with what is said beside it.
fn seven(beside: Value) -> Value {
    let mut answer = json!({"status": "success", "data": {"resultType": "scalar", "result": [1, "7"]}});
    for (name, value) in beside.as_object().expect("an object") {
        answer[name] = value.clone();
    }
    answer
}

#[steadfast::test(needs = "embedded")]
async fn an_answer_of_which_the_server_warns_is_no_evidence(cluster: Cluster) -> steadfast::Result {
    let warned = json!({"warnings": ["store a is away", "store b too"], "infos": ["no counter"]});
    for (name, beside, why) in [
        ("thanos", warned, "the server warns: store a is away; store b too"),
        ("victoria", json!({"isPartial": true}), "the server warns: the answer is partial"),
    ] {
        let prometheus = answering(&cluster, name, seven(beside.clone())).await;
        // Neither what would be met nor what would be out.
        for bound in [1.0, 100.0] {
            let check = prometheus.query("vector(1)").expect(at_least(bound));
            let hypothesis = Hypothesis::new("x").check(check);
            let journal = Experiment::new("x", hypothesis).run(&cluster).await?;
            journal.assert_verdict(Inconclusive);
            let Some(steadfast::journal::Reason::Unavailable { why: told, .. }) = &journal.reason else {
                panic!("{:?}", journal.reason)
            };
            assert_eq!(told, why);
            let check = &journal.evaluations[0].checks[0];
            assert_eq!((check.outcome.as_str(), &check.evidence), ("inconclusive", &json!(7.0)));
            assert!(why.contains(&check.warnings.join("; ")) && !check.warnings.is_empty(), "{:?}", check.warnings);
            assert_eq!(check.infos.len(), beside["infos"].as_array().map_or(0, Vec::len));
            assert!(journal.summary().contains("warning: "), "{}", journal.summary());
        }

        let trusted =
            Hypothesis::new("x").check(prometheus.clone().trust_partial().query("vector(1)").expect(at_least(1.0)));
        let journal = Experiment::new("x", trusted)
            .observe(prometheus.query("vector(1)"))
            .without_recovery()
            .run(&cluster)
            .await?;
        journal.assert_verdict(Met);
        assert!(!journal.evaluations[1].checks[0].warnings.is_empty(), "they are kept all the same");
        assert!(!journal.steps[0].warnings.is_empty(), "of what is only observed, too");
        let text = std::fs::read_to_string(journal.path().expect("it is stored"))?;
        assert!(text.contains("\"warnings\": ["), "{text}");
    }
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn infos_change_nothing(cluster: Cluster) -> steadfast::Result {
    let prometheus = answering(&cluster, "talks", seven(json!({"infos": ["metric might not be a counter"]}))).await;
    let check = prometheus.query("vector(1)").expect(at_least(1.0));
    let journal = Experiment::new("x", Hypothesis::new("x").check(check)).run(&cluster).await?;
    journal.assert_verdict(Met);
    assert_eq!(journal.evaluations[0].checks[0].infos, ["metric might not be a counter"]);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_server_that_gives_no_answer_ends_in_no_verdict(cluster: Cluster) -> steadfast::Result {
    let matrix = json!({"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "7"]]}]});
    let prometheus = answering(&cluster, "matrix", json!({"status": "success", "data": matrix})).await;
    let check = prometheus.query("vector(1)").expect(at_least(1.0));
    let journal = Experiment::new("x", Hypothesis::new("x").check(check)).run(&cluster).await?;
    journal.assert_verdict(Inconclusive);
    assert!(journal.summary().contains("a matrix where a vector was asked for"), "{}", journal.summary());

    let refused = json!({"status": "error", "errorType": "execution", "error": "many-to-many matching"});
    let check = answering(&cluster, "refuses", refused).await.query("vector(1)").expect(at_least(1.0));
    let run = Experiment::new("x", Hypothesis::new("x").check(check)).run(&cluster).await;
    let error = run.expect_err("our own inability").to_string();
    assert!(error.contains("tests/it/prometheus.rs:") && error.contains("refuses the query: many-to-many"), "{error}");
    Ok(())
}

/// Where clients are that go by the environment, in a process with this variable.
fn addresses(variable: Option<&str>) -> String {
    let mut command = std::process::Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "prometheus::tells_its_addresses", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env_remove("PROMETHEUS_URL").envs(variable.map(|value| ("PROMETHEUS_URL", value)));
    let output = command.output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}");
    told.lines().filter_map(|line| line.strip_prefix("address: ")).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_environment_says_where_prometheus_is() {
    let unset = "http://localhost:9090/ https://else.example/";
    assert_eq!(addresses(None), unset);
    assert_eq!(addresses(Some("")), unset, "a value that is empty is none");
    let set = "https://mimir.example/prom";
    assert_eq!(addresses(Some(set)), format!("{set} {set}"));
    let secret = addresses(Some("https://me:secret@mimir.example/prom?key=secret"));
    assert_eq!(secret, format!("{set} {set}"), "what is secret in it is not shown");
}

#[test]
#[ignore = "run by the_environment_says_where_prometheus_is"]
fn tells_its_addresses() {
    for client in [Prometheus::from_env(), Prometheus::from_env_or("https://else.example")] {
        let shown = format!("{client:?}");
        println!("\naddress: {}", shown.split('"').nth(1).expect("it is shown"));
    }
}

#[test]
fn an_address_of_the_environment_that_is_none_is_named() {
    let output = addresses(Some("mimir.example:9090"));
    assert!(output.contains("mimir.example:9090"), "{output}");
}
