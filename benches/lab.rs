//! Prints the lab's figures: `make bench`. Medians, in this build's profile; no assertions, for machines differ.

use std::time::Duration;

use futures_util::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;
use steadfast::clock::{Clock, Seed, Stopwatch};
use steadfast::lab::{Lab, Ports};

/// How many pods are listed.
const PODS: usize = 1000;

fn main() {
    ::rustls::crypto::ring::default_provider().install_default().expect("the first");
    in_process_and_loopback();
    many_objects();
    a_day();
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
