//! `steadfast sweep`, against a lab in another process.

use std::process::{Command, Output};
use std::time::Duration;

use kube::api::{Api, PostParams};
use serde_json::json;

use super::victim::Victim;
use super::{Site, on_a_runtime};

impl Site {
    /// The command, with the state folder of this site's victims or another.
    pub fn sweep(&self, state: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command.arg("sweep").args(arguments).env("KUBECONFIG", &self.running.lab.kubeconfig);
        let Output { status, stdout, stderr } = command.env("STEADFAST_STATE_DIR", state).output().unwrap();
        (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
    }
}

#[test]
fn a_sweep_lists_tries_and_undoes_what_a_dead_run_has_left() {
    on_a_runtime(async {
        let site = Site::start().await;
        site.namespace("crash").await;
        let mut victim = Victim::start(&site, "holds", "crash", &[("STEADFAST_LEASH", "off")]);
        victim.ready();
        let own = site.state.path();
        let (code, said) = site.sweep(own, &["--list"]);
        assert!(code == Some(0) && said.contains(": alive, left alone") && said.contains("deny ingress"), "{said}");
        let (_, said) = site.sweep(own, &[]);
        assert!(said.contains(": alive, left alone"), "{said}");
        let on = site.owned().await;
        victim.killed();
        assert_eq!(site.owned().await, on, "what lives is left alone");

        // Somebody else's object with our labels, and nothing that proves it ours.
        let decoy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "decoy",
            "labels": {"steadfast.dev/run": "x", "steadfast.dev/owner": "steadfast-x-1"}},
            "spec": {"podSelector": {}}});
        let policies: Api<k8s_openapi::api::networking::v1::NetworkPolicy> =
            Api::namespaced(site.client.clone(), "crash");
        policies.create(&PostParams::default(), &serde_json::from_value(decoy).unwrap()).await.unwrap();

        let (code, said) = site.sweep(own, &["--dry-run"]);
        assert!(code == Some(0) && said.contains("would undo: deny ingress"), "{said}");
        assert_eq!(site.owned().await.len(), on.len() + 1, "a dry run changes nothing");
        // Another user's state folder has no ledger: the lease in the cluster is enough for what belongs to its run.
        let elsewhere = tempfile::tempdir().unwrap();
        let (code, said) = site.sweep(elsewhere.path(), &["--json"]);
        let runs: Vec<serde_json::Value> =
            serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        assert_eq!((code, runs.len(), &runs[0]["life"]), (Some(0), 1, &json!("dead")), "{said}");
        let undone = runs[0]["undone"].as_array().unwrap();
        assert!(undone.len() == 3 && undone.iter().all(|undo| undo["outcome"] == "reverted"), "{said}");
        // The namespace is its own process' to prove, by the ledger.
        let (code, said) = site.sweep(own, &[]);
        assert!(code == Some(0) && said.contains("delete namespace"), "{said}");
        let left = site.clean_within(Duration::from_secs(1)).await.expect_err("the decoy stays");
        assert!(left.len() == 1 && left[0].contains("decoy"), "{left:?}");
        let (_, said) = site.sweep(own, &["--list"]);
        assert!(said.contains("nothing is on"), "{said}");
    });
}

#[test]
fn a_sweep_of_one_lab_leaves_what_is_on_in_another_one() {
    on_a_runtime(async {
        let (site, other) = (Site::start().await, Site::start().await);
        for site in [&site, &other] {
            site.namespace("crash").await;
        }
        let mut victim = Victim::start(&site, "holds", "crash", &[("STEADFAST_LEASH", "off")]);
        victim.ready();
        victim.killed();
        let left = (site.owned().await, site.ledgers());
        assert!(left.1 > 0, "{left:?}");
        // The other lab, with the ledgers of this one.
        let (code, said) = other.sweep(site.state.path(), &[]);
        assert!(code == Some(0) && said.contains("nothing is on"), "{said}");
        assert_eq!((site.owned().await, site.ledgers()), left, "{said}");
        let (code, said) = site.sweep(site.state.path(), &[]);
        assert!(code == Some(0) && said.contains("delete networkpolicy"), "{said}");
        assert_eq!((site.clean_within(Duration::from_secs(1)).await.err(), site.ledgers()), (None, 0));
    });
}
