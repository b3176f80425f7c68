//! Prints the lab's figures: `make bench`. Least, median and most, in this build's profile; no assertions, for
//! machines differ. A debug build counts a tenth of everything, and leaves out what takes long.

mod shown;

use std::time::Duration;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use futures_util::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use steadfast::clock::{Clock, Seed, Stopwatch};
use steadfast::lab::{Lab, Ports, ScrapeJob};
use steadfast::transport::{Address, Request};

use self::shown::told;

/// How many objects there are beside those that are watched, and how many watch.
const CROWD: (usize, usize) = (10_000, 200);

/// How long the idle lab is watched.
const IDLE: Duration = Duration::from_secs(30);

/// How many pods are listed.
const PODS: usize = 1000;

/// How many pods are scheduled.
const MANY_PODS: usize = 2000;

fn main() {
    ::rustls::crypto::ring::default_provider().install_default().expect("the first");
    in_process_and_loopback();
    many_objects();
    many_watches();
    many_pods();
    many_series();
    a_day();
    as_a_command();
}

/// The switch for the long figures in a debug build.
const FULL: &str = "STEADFAST_BENCH";

/// Whether the long figures are measured too: in a release build, or where `STEADFAST_BENCH=full` asks for them.
fn is_full() -> bool {
    !cfg!(debug_assertions) || std::env::var(FULL).is_ok_and(|value| value == "full")
}

/// A count, or a tenth of it where the long figures are left out.
fn scaled(count: usize) -> usize {
    if is_full() { count } else { count / 10 }
}

/// Says which figure is left out, and how to have it.
fn left_out(name: &str) {
    println!("{name:<66} left out in a debug build; {FULL}=full measures it");
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
        let mut as_text = tokio::spawn(lists(false)).await.expect("no panic");
        let first = as_text.remove(0);
        told("list of 1,000 pods, as text", "< 5 ms", as_text);
        told("  the first one, for which their text is made", "no figure", vec![first]);
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
    let name = "24 virtual hours of an idle lab with the shop, scraped";
    if !is_full() {
        return left_out(name);
    }
    let watch = Stopwatch::start();
    steadfast::block_on(async |cluster| {
        steadfast::shop(&cluster).await?;
        cluster.clock().sleep(Duration::from_secs(24 * 60 * 60)).await;
        Ok(())
    });
    told(name, "< 30 s", vec![watch.elapsed()]);
}

/// 10,000 objects and 200 watches: from before a write until the last watcher has it.
fn many_watches() {
    let (objects, watchers) = CROWD;
    multi_thread().block_on(async {
        let lab = Lab::start(Clock::real(), Seed(0));
        let maps: Api<ConfigMap> = Api::namespaced(lab.client(), "default");
        let mut creates = Vec::new();
        for number in 0..scaled(objects) {
            let watch = Stopwatch::start();
            maps.create(&PostParams::default(), &map(&format!("m{number}"))).await.expect("created");
            creates.push(watch.elapsed());
        }
        let last = creates.split_off(creates.len() * 9 / 10);
        told(&format!("each of {} creates, all but the last tenth", scaled(objects)), "no figure", creates);
        told("  and the last tenth of them: not dearer for the crowd", "no figure", last);
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
        let name = format!("a write among {} objects, seen by the last of 200 watches", scaled(objects));
        told(&name, "no figure", all);
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
    let name = "steadfast lab with the shop, scraped, idle";
    if is_full() {
        let before = cpu(child.id());
        std::thread::sleep(IDLE);
        let share = (cpu(child.id()) - before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
        println!("{name:<66} {share:>8.2} %   (asked: <= 1 % of a core, over {IDLE:?})");
    } else {
        left_out(name);
    }
    let target = format!("GET {}/\n", ready["front"].as_str().expect("a URL"));
    match vegeta(&target) {
        Some(report) => print!("steadfast lab under 1,000 requests a second (asked: does not fall behind):\n{report}"),
        None => println!("steadfast lab under 1,000 requests a second: not measured, no vegeta on the PATH"),
    }
    child.kill().and_then(|()| child.wait()).expect("it ends");
}

fn vegeta(target: &str) -> Option<String> {
    let seconds = scaled(10).max(3);
    let attack = format!("attack -rate=1000 -duration={seconds}s -connections=100 -max-workers=200");
    let mut attack =
        Command::new("vegeta").args(attack.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    attack.stdin.take()?.write_all(target.as_bytes()).ok()?;
    let report = Command::new("vegeta").args(["report"]).stdin(attack.stdout.take()?).output().ok()?;
    attack.wait().ok()?;
    Some(String::from_utf8_lossy(&report.stdout).into_owned())
}

/// 2,000 pods that fit nowhere, until each is told so, and 2,000 that run on the one node, until each is ready.
fn many_pods() {
    let count = scaled(MANY_PODS);
    for (what, spec) in [
        ("that fit nowhere", json!({"nodeSelector": {"none": "such"}})),
        ("that run on one node", json!({})),
        ("that a Deployment wants, behind a Service", Value::Null),
    ] {
        let watch = Stopwatch::start();
        steadfast::block_on(async |cluster| {
            let lab = cluster.lab()?;
            lab.program("idle:1", async |_| std::future::pending().await);
            let mut pod = spec.clone();
            pod["containers"] = json!([{"name": "c", "image": "idle:1", "imagePullPolicy": "Never"}]);
            let labels = json!({"app": "p"});
            if spec.is_null() {
                let template = json!({"metadata": {"labels": labels}, "spec": pod});
                let wanted = json!({"replicas": count, "selector": {"matchLabels": labels}, "template": template});
                let metadata = json!({"name": "p", "namespace": "default"});
                cluster
                    .apply(
                        &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": wanted}),
                    )
                    .await?;
                let wanted = json!({"selector": labels, "ports": [{"port": 80}]});
                cluster
                    .apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": wanted}))
                    .await?;
            } else {
                let pods: Api<Pod> = Api::namespaced(cluster.client(), "default");
                for number in 0..count {
                    let pod = json!({"metadata": {"name": format!("p{number}"), "labels": labels}, "spec": pod});
                    let pod = serde_json::from_value(pod).expect("a pod");
                    pods.create(&PostParams::default(), &pod).await.expect("created");
                }
            }
            let told = |pod: &Value, wanted: &str, status: &str| {
                let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
                conditions.any(|condition| condition["type"] == wanted && condition["status"] == status)
            };
            loop {
                let text = cluster.client().request_text(http_request("/api/v1/namespaces/default/pods")).await;
                let list: Value = serde_json::from_str(&text.expect("a list")).expect("JSON");
                let pods = list["items"].as_array().expect("a list");
                let settled = |pod: &&Value| told(pod, "PodScheduled", "False") || told(pod, "Ready", "True");
                if pods.iter().filter(settled).count() == count {
                    return Ok(());
                }
                cluster.clock().sleep(Duration::from_secs(1)).await;
            }
        });
        told(&format!("{count} pods {what}"), "no figure", vec![watch.elapsed()]);
    }
}

/// 1,000 counters, scraped each second for an hour: a selector at every second, and a rate over the whole hour.
fn many_series() {
    let (series, minutes) = (1000, scaled(60));
    let span = minutes * 60;
    let watch = Stopwatch::start();
    steadfast::block_on(async |cluster| {
        let lab = cluster.lab()?;
        lab.image("pages:1", move |net| {
            let page = move || {
                let now = net.clock().now().as_second();
                let lines =
                    (0..series).map(|n| format!("ticks_total{{n=\"{n}\",path=\"/a\"}} {}\n", now * (n % 7 + 1)));
                let page = String::from("# TYPE ticks_total counter\n") + &lines.collect::<String>();
                async move { page }
            };
            axum::Router::new().route("/metrics", axum::routing::get(page))
        });
        let labels = json!({"app": "pages"});
        let metadata = json!({"name": "pages", "namespace": "default", "labels": labels});
        let spec = json!({"containers": [{"name": "c", "image": "pages:1"}]});
        cluster.apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})).await?;
        let spec = json!({"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]});
        cluster.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})).await?;
        lab.scrape(ScrapeJob::new("pages", ["pages.default:80"]).every(Duration::from_secs(1)));
        cluster.clock().sleep(Duration::from_secs(span as u64 + 5)).await;
        told(&format!("{minutes} min of {series} series, scraped each second"), "no figure", vec![watch.elapsed()]);
        let (end, range) = (cluster.clock().now().as_second(), format!("{minutes}m"));
        for (name, asked, path) in [
            ("  a selector of all, at one instant", "< 50 ms", "query?query=ticks_total".to_owned()),
            ("  a rate of each over all of it", "< 50 ms", format!("query?query=rate(ticks_total[{range}])")),
            ("  sum(rate) over all of it", "< 50 ms", format!("query?query=sum(rate(ticks_total[{range}]))")),
            (
                "  sum(rate over 1 min), at each of 240 steps",
                "no figure",
                format!(
                    "query_range?query=sum(rate(ticks_total[1m]))&start={}&end={end}&step={}",
                    end - span as i64,
                    span / 240
                ),
            ),
        ] {
            let path = path.replace('(', "%28").replace(')', "%29").replace('[', "%5B").replace(']', "%5D");
            let address: Address = format!("http://localhost:9090/api/v1/{path}").parse().expect("an address");
            let mut all = Vec::new();
            for _ in 0..20 {
                let watch = Stopwatch::start();
                let request = Request::new(::http::Method::GET, address.clone());
                let answer = lab.transport().send(&request).await.expect("an answer");
                all.push(watch.elapsed());
                assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
                assert!(answer.body.len() > 80, "{}", String::from_utf8_lossy(&answer.body));
            }
            told(name, asked, all);
        }
        Ok(())
    });
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
