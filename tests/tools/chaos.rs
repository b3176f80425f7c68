//! lab4 of the Chaos Toolkit demos by the real Chaos Toolkit, against `steadfast lab`.

use std::fs;
use std::path::PathBuf;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::lab::{Said, lab};
use super::{Needs, Outcome, file, find};
use super::{alike, originals};

/// `STEADFAST_CHAOS`, else `chaos` on the search path.
fn chaos() -> Option<PathBuf> {
    std::env::var_os("STEADFAST_CHAOS").map(PathBuf::from).or_else(|| find("chaos"))
}

pub fn trials() -> (Needs, Vec<Trial>) {
    let remedy = "no chaos on the PATH: python3 -m venv V && V/bin/pip install chaostoolkit chaostoolkit-kubernetes \
                  chaostoolkit-prometheus, then STEADFAST_CHAOS=V/bin/chaos";
    let found = chaos().filter(|file| file.is_file()).map(drop).ok_or(remedy.to_owned());
    let needs = Needs::new("chaos", found.clone());
    let vegeta = find("vegeta").map(drop).ok_or("no vegeta on the PATH, which the document runs".to_owned());
    let with_vegeta = Needs::new("chaos", found.and(vegeta));
    let trials = vec![
        with_vegeta.trial("chaos::a_whole_experiment_leaves_a_journal_like_ours", || {
            alike::whole(&chaos().expect("looked up before"))
        }),
        needs.trial("chaos::lab4", lab4),
        needs.trial("chaos::documents_are_to_the_original_what_they_are_to_us", || {
            originals::agree(&chaos().expect("looked up before"))
        }),
    ];
    (needs, trials)
}

/// The load: vegeta if there is one, else as many requests by a shell loop.
fn traffic(front: &str, folder: &std::path::Path) -> Value {
    let provider = if find("vegeta").is_some() {
        fs::write(folder.join("targets.txt"), format!("GET {front}/\n")).expect("written");
        let arguments = "attack -targets=targets.txt -workers=2 -rate=10 -timeout=3s -duration=10s -output=traffic.bin";
        json!({"type": "process", "path": "vegeta", "arguments": arguments})
    } else {
        let script = "import sys, time, threading, urllib.request as u\n\
                      for _ in range(100):\n threading.Thread(target=lambda: u.urlopen(sys.argv[1], timeout=3).read()).start(); time.sleep(0.1)\n";
        fs::write(folder.join("traffic.py"), script).expect("written");
        json!({"type": "process", "path": "python3", "arguments": ["traffic.py", format!("{front}/")]})
    };
    json!({"type": "action", "name": "some traffic", "background": true, "provider": provider})
}

fn python(module: &str, function: &str, arguments: Value) -> Value {
    json!({"type": "python", "module": module, "func": function, "arguments": arguments})
}

fn lab4() -> Outcome {
    let (lab, folder) = (lab(), tempfile::tempdir()?);
    fs::copy(file("growth.py"), folder.path().join("growth.py"))?;
    let failed = json!({
        "query": "failed_call_total{job='front',to='middle'}", "start": "10 seconds ago", "end": "now", "step": 1,
    });
    let experiment = json!({
        "title": "front keeps working when back is cut off", "description": "lab4",
        "configuration": {"prometheus_base_url": lab.prometheus},
        "steady-state-hypothesis": {"title": "customers are served and no call to middle fails", "probes": [
            {"type": "probe", "name": "front answers", "tolerance": 200, "provider": {"type": "http", "url": lab.front}},
            {
                "type": "probe", "name": "failed calls", "pauses": {"before": 4},
                "tolerance": {"type": "probe", "name": "no growth", "provider": python("growth", "none", json!({}))},
                "provider": python("chaosprometheus.probes", "query_interval", failed),
            },
        ]},
        "method": [
            traffic(&lab.front, folder.path()),
            {
                "type": "action", "name": "cut off back", "pauses": {"before": 4, "after": 4},
                "provider": python("chaosk8s.networking.actions", "deny_all_ingress", json!({"label_selectors": {"app": "back"}})),
            },
            {
                "type": "probe", "name": "logs of front",
                "provider": python("chaosk8s.pod.probes", "read_pod_logs", json!({"label_selector": "app=front", "container_name": "front", "last": "10s"})),
            },
        ],
        "rollbacks": [{
            "type": "action", "name": "let back in again",
            "provider": python("chaosk8s.networking.actions", "remove_deny_all_ingress", json!({})),
        }],
    });
    fs::write(folder.path().join("experiment.json"), experiment.to_string())?;
    let mut command = lab.command(chaos().expect("looked up before"));
    command.current_dir(folder.path()).env("PYTHONPATH", folder.path());
    command.args(["--no-version-check", "run", "--rollback-strategy=always", "experiment.json"]);
    // A deviation is exit code 1.
    let said = Said::of(&command.output()?);
    let told = format!("{}{}", said.out, said.err);
    said.bad(1)?;

    let journal: Value = serde_json::from_str(&fs::read_to_string(folder.path().join("journal.json"))?)?;
    let states = &journal["steady_states"];
    let seen = (
        &journal["status"],
        &journal["deviated"],
        &states["before"]["steady_state_met"],
        &states["after"]["steady_state_met"],
    );
    if seen != (&json!("completed"), &json!(true), &json!(true), &json!(false)) {
        return Err(format!("{seen:?}\n{told}").into());
    }
    let activities: Vec<_> = journal["run"].as_array().into_iter().flatten().collect();
    let failed: Vec<_> = activities.iter().filter(|activity| activity["status"] != "succeeded").collect();
    if activities.len() != 3 || !failed.is_empty() {
        return Err(format!("activities: {failed:#?}\n{told}").into());
    }
    let logs = activities.iter().find(|a| a["activity"]["name"] == "logs of front").map(|a| a["output"].to_string());
    if !logs.as_ref().is_some_and(|logs| logs.contains("GET /")) {
        return Err(format!("front's logs: {logs:?}").into());
    }
    if let Some(kubectl) = find("kubectl") {
        let left = Said::of(&lab.command(kubectl).args(["get", "netpol", "-o", "name"]).output()?).ok()?;
        if left.trim() != "" {
            return Err(format!("left behind: {left}").into());
        }
    }
    let back = &journal["rollbacks"][0]["status"];
    if back != "succeeded" { Err(format!("the rollback: {back}").into()) } else { Ok(()) }
}
