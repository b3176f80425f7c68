//! Signals, with the leash turned off: what undoes is the process itself.

use std::time::Duration;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, Patch, PatchParams};
use rustix::process::Signal;
use serde_json::json;
use steadfast::clock::Stopwatch;

use super::victim::Victim;
use super::{PATIENCE, Site, on_a_runtime};

const OFF: &[(&str, &str)] = &[("STEADFAST_LEASH", "off")];

/// nextest kills 10 s after its first signal.
const WITHIN: Duration = Duration::from_secs(8);

/// The policies that stand.
async fn policies(site: &Site) -> Vec<String> {
    let all = Api::<NetworkPolicy>::all(site.client.clone()).list(&Default::default()).await.unwrap();
    all.items.into_iter().filter_map(|policy| policy.metadata.name).collect()
}

/// Lets a policy go only when it is told to.
async fn hold(site: &Site, name: &str, held: bool) {
    let finalizers = if held { json!(["example.com/hold"]) } else { json!(null) };
    let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    let api: Api<NetworkPolicy> = Api::namespaced(site.client.clone(), "crash");
    api.patch(name, &PatchParams::default(), &patch).await.unwrap();
}

#[test]
fn each_signal_undoes_before_the_process_ends() {
    on_a_runtime(async {
        let site = Site::start().await;
        site.namespace("crash").await;
        for part in ["experiments", "holds"] {
            for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
                let mut victim = Victim::start(&site, part, "crash", OFF);
                victim.ready();
                assert_eq!(policies(&site).await.len(), 2, "{part}");
                let since = Stopwatch::start();
                victim.signal(signal);
                assert_eq!(victim.wait_held().code(), Some(code), "{part}");
                let took = since.elapsed();
                assert_eq!(policies(&site).await, Vec::<String>::new(), "{part}, {signal:?}");
                println!("{part}, {signal:?}: ended and undone after {took:?}");
                assert!(took < WITHIN, "{part}, {signal:?}: {took:?}");
            }
        }
    });
}

#[test]
fn a_second_signal_is_told_what_is_still_being_undone_and_cuts_nothing_short() {
    on_a_runtime(async {
        let site = Site::start().await;
        site.namespace("crash").await;
        for part in ["experiments", "holds"] {
            let mut victim = Victim::start(&site, part, "crash", OFF);
            victim.ready();
            let stuck = policies(&site).await.pop().unwrap();
            hold(&site, &stuck, true).await;
            victim.signal(Signal::INT);
            let since = Stopwatch::start();
            let told = loop {
                victim.signal(Signal::INT);
                let said = std::fs::read_to_string(site.said()).unwrap();
                if let Some(line) = said.lines().find(|line| line.contains("SIGINT again; still undoing: ")) {
                    break line.to_owned();
                }
                assert!(since.elapsed() < PATIENCE, "{part} says nothing of it: {said}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            };
            assert!(told.contains("ingress") || told.contains("egress"), "{told}");
            hold(&site, &stuck, false).await;
            assert_eq!(victim.wait_held().code(), Some(130), "{part}");
            assert_eq!(policies(&site).await, Vec::<String>::new(), "{part}");
        }
    });
}
