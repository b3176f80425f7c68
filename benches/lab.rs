//! Prints the lab's figures: `make bench`. Medians, in this build's profile; no assertions, for machines differ.

use std::time::Duration;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use futures_util::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;
use steadfast::clock::{Clock, Seed, Stopwatch};
use steadfast::lab::{Lab, Ports};

/// How many objects there are beside those that are watched, and how many watch.
const CROWD: (usize, usize) = (10_000, 200);

/// How long the idle lab is watched.
const IDLE: Duration = Duration::from_secs(30);

/// How many pods are listed.
const PODS: usize = 1000;

fn main() {
    ::rustls::crypto::ring::default_provider().install_default().expect("the first");
    in_process_and_loopback();
    many_objects();
    many_watches();
    a_day();
    as_a_command();
}

fn told(name: &str, asked: &str, mut all: Vec<Duration>) {
    all.sort();
    let (median, last) = (all[all.len() / 2], all[all.len() - 1]);
    println!("{name:<60} {median:>12.2?}   (asked: {asked}; from {:.2?} to {last:.2?})", all[0]);
}

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"k": "v"}})).expect("a map")
}

async fn calls(client: kube::Client) -> Vec<Duration> {
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let mut all = Vec::new();
    for round in 0..500 {
        let name = format!("m{round}");
        let watch = Stopwatch::start();
        maps.create(&PostParams::default(), &map(&name)).await.expect("created");
        all.push(watch.elapsed());
        let watch = Stopwatch::start();
        maps.get(&name).await.expect("there");
        all.push(watch.elapsed());
        let watch = Stopwatch::start();
        let patch = json!({"data": {"k": round.to_string()}});
        maps.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("patched");
        all.push(watch.elapsed());
        let watch = Stopwatch::start();
        maps.delete(&name, &Default::default()).await.expect("deleted");
        all.push(watch.elapsed());
    }
    all
}

fn multi_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn in_process_and_loopback() {
    let runtime = multi_thread();
    runtime.block_on(async {
        let lab = Lab::start(Clock::real(), Seed(0));
        let in_process = tokio::spawn(calls(lab.client())).await.expect("no panic");
        told("API call in process (create, get, patch, delete)", "< 0.3 ms", in_process);
        let listening = lab.listen(&Ports::default()).await.expect("free ports");
        let uri = format!("http://{}", listening.api).parse().expect("a URL");
        let client = kube::Client::try_from(kube::Config::new(uri)).expect("a client");
        let loopback = tokio::spawn(calls(client.clone())).await.expect("no panic");
        told("API call over loopback", "< 1 ms", loopback);
        told("watch event to its client, over loopback", "< 2 ms", events(client).await);
    });
}

/// From before a write is sent until the watcher has its event.
async fn events(client: kube::Client) -> Vec<Duration> {
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    maps.create(&PostParams::default(), &map("watched")).await.expect("created");
    let stream = maps.watch(&WatchParams::default().fields("metadata.name=watched"), "0").await.expect("a watch");
    pin_mut!(stream);
    stream.next().await;
    let mut all = Vec::new();
    for round in 0..200 {
        let watch = Stopwatch::start();
        let patch = json!({"data": {"k": format!("w{round}")}});
        let params = PatchParams::default();
        let patch = Patch::Merge(patch);
        let (_, event) = tokio::join!(maps.patch("watched", &params, &patch), stream.next());
        assert!(matches!(event, Some(Ok(WatchEvent::Modified(_)))));
        all.push(watch.elapsed());
    }
    all
}

fn many_objects() {
    multi_thread().block_on(async {
        let lab = Lab::start(Clock::real(), Seed(0));
        let pods: Api<Pod> = Api::namespaced(lab.client(), "default");
        for number in 0..PODS {
            let container = json!({"name": "c", "image": "absent:1", "imagePullPolicy": "Never"});
            let spec = json!({"containers": [container], "nodeSelector": {"none": "such"}});
            let pod = json!({"metadata": {"name": format!("p{number}"), "labels": {"app": "p"}}, "spec": spec});
            pods.create(&PostParams::default(), &serde_json::from_value(pod).expect("a pod")).await.expect("created");
        }
        let lists = |typed: bool| {
            let (client, pods) = (lab.client(), pods.clone());
            async move {
                let mut all = Vec::new();
                for _ in 0..50 {
                    let watch = Stopwatch::start();
                    if typed {
                        assert_eq!(pods.list(&ListParams::default()).await.expect("a list").items.len(), PODS);
                    } else {
                        let request = http_request("/api/v1/namespaces/default/pods");
                        assert!(client.request_text(request).await.expect("a list").len() > PODS * 100);
                    }
                    all.push(watch.elapsed());
                }
                all
            }
        };
        told("list of 1,000 pods, as text", "< 5 ms", tokio::spawn(lists(false)).await.expect("no panic"));
        told(
            "list of 1,000 pods, decoded by a typed client",
            "no figure",
            tokio::spawn(lists(true)).await.expect("no panic"),
        );
    });
}

fn http_request(uri: &str) -> ::http::Request<Vec<u8>> {
    ::http::Request::get(uri).body(Vec::new()).expect("a request")
}

/// The shop, scraped every two seconds, and nobody who asks for anything.
fn a_day() {
    let watch = Stopwatch::start();
    steadfast::block_on(async |cluster| {
        steadfast::shop(&cluster).await?;
        cluster.clock().sleep(Duration::from_secs(24 * 60 * 60)).await;
        Ok(())
    });
    let name = "24 virtual hours of an idle lab with the shop, scraped";
    println!("{name:<60} {:>12.2?}   (asked: < 30 s)", watch.elapsed());
}

/// 10,000 objects and 200 watches: from before a write until the last watcher has it.
fn many_watches() {
    let (objects, watchers) = CROWD;
    multi_thread().block_on(async {
        let lab = Lab::start(Clock::real(), Seed(0));
        let maps: Api<ConfigMap> = Api::namespaced(lab.client(), "default");
        let watch = Stopwatch::start();
        for number in 0..objects {
            maps.create(&PostParams::default(), &map(&format!("m{number}"))).await.expect("created");
        }
        let each = watch.elapsed() / u32::try_from(objects).expect("a count");
        println!("{:<60} {each:>12.2?}   (no figure asked)", "each of 10,000 creates");
        let from = maps.list(&ListParams::default().limit(1)).await.expect("a list").metadata.resource_version;
        let from = from.expect("a version");
        let opened =
            (0..watchers).map(|_| async { maps.watch(&WatchParams::default(), &from).await.expect("a watch").boxed() });
        let mut streams = join_all(opened).await;
        let mut all = Vec::new();
        for round in 0..20 {
            let (watch, params) = (Stopwatch::start(), PatchParams::default());
            let patch = Patch::Merge(json!({"data": {"k": format!("w{round}")}}));
            maps.patch("m1", &params, &patch).await.expect("patched");
            join_all(streams.iter_mut().map(StreamExt::next)).await;
            all.push(watch.elapsed());
        }
        told("a write among 10,000 objects, seen by the last of 200 watches", "no figure", all);
    });
}

/// What `steadfast lab` costs: idle, and under 1,000 requests a second.
fn as_a_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(env!("CARGO_BIN_EXE_steadfast"))
        .args(["lab", "--kubeconfig"])
        .arg(folder.path().join("kubeconfig"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let ready: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let before = cpu(child.id());
    std::thread::sleep(IDLE);
    let share = (cpu(child.id()) - before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    println!(
        "{:<60} {share:>11.2} %   (asked: <= 1 % of a core, over {IDLE:?})",
        "steadfast lab with the shop, scraped, idle"
    );
    let target = format!("GET {}/\n", ready["front"].as_str().expect("a URL"));
    match vegeta(&target) {
        Some(report) => print!("steadfast lab under 1,000 requests a second (asked: does not fall behind):\n{report}"),
        None => println!("steadfast lab under 1,000 requests a second: not measured, no vegeta on the PATH"),
    }
    child.kill().and_then(|()| child.wait()).expect("it ends");
}

fn vegeta(target: &str) -> Option<String> {
    let attack = "attack -rate=1000 -duration=10s -connections=100 -max-workers=200";
    let mut attack =
        Command::new("vegeta").args(attack.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    attack.stdin.take()?.write_all(target.as_bytes()).ok()?;
    let report = Command::new("vegeta").args(["report"]).stdin(attack.stdout.take()?).output().ok()?;
    attack.wait().ok()?;
    Some(String::from_utf8_lossy(&report.stdout).into_owned())
}

/// How much processor time a process has used so far.
fn cpu(pid: u32) -> Duration {
    /// Ticks a second, as every Linux has it for user space.
    const TICKS: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<i64> =
        stat.rsplit(") ").next().expect("fields").split(' ').filter_map(|f| f.parse().ok()).collect();
    // Behind the state: the 11th and 12th are the user's and the system's ticks, less the state itself.
    let ticks = u64::try_from(fields[10] + fields[11]).expect("a count");
    Duration::from_millis(ticks * 1000 / TICKS)
}
