//! Runs on a kind cluster that are killed at random instants; kubectl says what is left of them.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use steadfast::clock::{Seed, Stopwatch};

use super::kind::{Kind, NAME, holds};
use super::kind_runs::{FAULT, FAULTS, RUN};
use super::lab::Said;
use super::{Outcome, find};

/// Kills of the kind suite; `STEADFAST_KIND_CRASHES` says otherwise.
const KILLS: usize = 12;

/// So many kills of a fault hit it at some of them, whatever the seed.
const ENOUGH: usize = 24;

/// Nothing may be left so long after a death.
const CLEAN_WITHIN: Duration = Duration::from_secs(30);

/// Until every pod of the runs has gone and every deployment is as it was.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// What is compared: what faults make or change, and what holds them.
const KINDS: &str =
    "networkpolicies,deployments.apps,services,nodes,leases.coordination.k8s.io,jobs.batch,pods,namespaces";

pub fn killed_at_any_time(kind: &Kind) -> Outcome {
    if find("kubectl").is_none() {
        return Err("no kubectl on the PATH: https://kubernetes.io/docs/tasks/tools".into());
    }
    kind.up()?;
    let kills = std::env::var("STEADFAST_KIND_CRASHES").ok().map_or(Ok(KILLS), |kills| kills.parse())?;
    let seed = Seed::from_env()?;
    let mut rng = seed.rng("crashes on kind");
    run(kind, "prepared", "").wait_with_output().map(|output| Said::of(&output).ok())??;
    let before = dump(kind)?;
    // Whole lives are the measure of those that are cut short.
    let mut lives = Vec::new();
    for fault in FAULTS {
        let life = Stopwatch::start();
        Said::of(&run(kind, "killed", fault).wait_with_output()?).ok()?;
        lives.push(life.elapsed());
    }
    settled(kind, &before, SETTLED_WITHIN)?;
    let (mut killed, mut clean, mut on) = (0, Vec::new(), vec![0; FAULTS.len()]);
    while killed < kills {
        for ((fault, life), on) in FAULTS.iter().zip(&lives).zip(&mut on) {
            let mut victim = run(kind, "killed", fault);
            std::thread::sleep(life.mul_f64(rng.f64()));
            // Stopped, so that nothing changes while it is looked at.
            let stopped = kill_process(Pid::from_child(&victim), Signal::STOP);
            let now = dump(kind);
            let died = victim.kill().and_then(|()| victim.wait());
            died?;
            stopped?;
            killed += 1;
            *on += usize::from(differences(&before, &now?).iter().any(|told| is_of_a_fault(told)));
            clean.push(settled(kind, &before, CLEAN_WITHIN).map_err(|left| format!("{fault}, kill {killed}: {left}"))?);
        }
    }
    clean.sort();
    println!(
        "kind, seed {}: {killed} SIGKILLs, with the fault on {:?}, 0 left; as before after {:?} in the median, {:?} at most",
        seed.0,
        FAULTS.iter().zip(&on).collect::<Vec<_>>(),
        clean[clean.len() / 2],
        clean[clean.len() - 1]
    );
    // Deleted pods are nothing that stays on.
    let each = killed / FAULTS.len();
    let missed = |(fault, on): (&&str, &usize)| (*on > each / 8) == (*fault == "pods-deleted");
    let missed = each >= ENOUGH && FAULTS.iter().zip(&on).any(missed);
    holds(!missed && on.iter().any(|on| *on > 0), format!("the kills hit what they are meant to hit: {on:?} of {each}"))
}

/// Whether an object that differs is what a fault makes or changes, not what holds it nor its pods.
fn is_of_a_fault(told: &str) -> bool {
    ["NetworkPolicy ", "Deployment ", "Service ", "Node "].iter().any(|kind| told.starts_with(kind))
}

fn run(kind: &Kind, what: &str, fault: &str) -> Child {
    let mut command = kind.command(std::env::current_exe().expect("this binary"));
    command.env(RUN, what).env(FAULT, fault).env("STEADFAST_CLUSTER", format!("kind:{NAME}"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// What kubectl sees, without what changes by itself: pods by their owner and phase, everything else by its fields.
fn dump(kind: &Kind) -> Result<Vec<String>, String> {
    let kubeconfig = kind.kubeconfig();
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(kubeconfig).args(["get", KINDS, "--all-namespaces", "--output=json"]);
    let said = Said::of(&command.output().map_err(|error| error.to_string())?).ok()?;
    let list: Value = serde_json::from_str(&said).map_err(|error| error.to_string())?;
    let mut all: Vec<String> = list["items"].as_array().into_iter().flatten().filter_map(told).collect();
    all.sort();
    Ok(all)
}

fn told(object: &Value) -> Option<String> {
    let (kind, metadata) = (object["kind"].as_str()?, &object["metadata"]);
    let namespace = metadata["namespace"].as_str().unwrap_or_default();
    // The leases of nodes and controllers change all the time.
    if kind == "Lease" && namespace.starts_with("kube-") {
        return None;
    }
    if kind == "Pod" {
        let (owner, ready) = (&metadata["ownerReferences"][0], &object["status"]["containerStatuses"][0]["ready"]);
        let owner = owner["name"].as_str().or(metadata["name"].as_str()).unwrap_or_default();
        let going = !metadata["deletionTimestamp"].is_null();
        return Some(format!("Pod of {namespace}/{owner}, ready {ready}, going {going}"));
    }
    let mut kept = object.clone();
    let fields = kept["metadata"].as_object_mut()?;
    for changes in ["resourceVersion", "generation", "managedFields"] {
        fields.remove(changes);
    }
    if let Some(notes) = fields.get_mut("annotations").and_then(Value::as_object_mut) {
        notes.retain(|key, _| !key.starts_with("deployment.kubernetes.io/"));
    }
    if kept["metadata"]["annotations"].as_object().is_some_and(serde_json::Map::is_empty) {
        kept["metadata"].as_object_mut()?.remove("annotations");
    }
    kept.as_object_mut()?.remove("status");
    Some(format!("{kind} {namespace}/{}: {kept}", metadata["name"].as_str()?))
}

fn differences(before: &[String], now: &[String]) -> Vec<String> {
    let only = |some: &[String], others: &[String]| -> Vec<String> {
        some.iter().filter(|told| !others.contains(told)).cloned().collect()
    };
    let mut all = only(now, before);
    all.extend(only(before, now));
    if all.is_empty() && before.len() != now.len() {
        all.push(format!("{} objects instead of {}", now.len(), before.len()));
    }
    all
}

/// Waits until the cluster is as before, and says how long that took.
fn settled(kind: &Kind, before: &[String], within: Duration) -> Result<Duration, String> {
    let since = Stopwatch::start();
    loop {
        let left = differences(before, &dump(kind)?);
        if left.is_empty() {
            return Ok(since.elapsed());
        }
        if since.elapsed() > within {
            return Err(format!("after {within:?} the cluster differs: {}", left.join("\n")));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
