//! What the command exits with, as docs/command.md says.

use std::process::Command;

/// Runs the command in a folder of its own; its code, and what it said on both streams.
fn steadfast(arguments: &[&str], set: &[(&str, &str)]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = folder.path().join("config");
    let text = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "kind-gone",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "kind-gone", "context": {"cluster": "c", "user": "u"}}],
    });
    std::fs::write(&kubeconfig, text.to_string()).expect("a kubeconfig");
    let done = Command::new(env!("CARGO_BIN_EXE_steadfast"))
        .args(arguments)
        .env_remove("STEADFAST_CLUSTER")
        .env("KUBECONFIG", kubeconfig)
        .env("STEADFAST_STATE_DIR", folder.path().join("state"))
        .env("STEADFAST_OUT", folder.path().join("out"))
        .envs(set.iter().copied())
        .output()
        .expect("it runs");
    let told = [done.stdout, done.stderr].map(|stream| String::from_utf8_lossy(&stream).into_owned()).concat();
    assert!(!told.contains('\u{1b}'), "no codes for terminals: {told}");
    (done.status.code(), told)
}

#[test]
fn exit_codes_tell_a_wrong_call_from_a_cluster_that_is_not_there() {
    for (arguments, set, code, said) in [
        (&["sweep"][..], &[][..], 4, "does not answer"),
        (&["sweep", "--context", "kind-gone"], &[], 4, "does not answer"),
        (&["sweep", "--cluster", "context:kind-gone"], &[], 4, "does not answer"),
        (&["sweep"], &[("STEADFAST_CLUSTER", "context:kind-gone")], 4, "does not answer"),
        (&["sweep", "--context", "gone"], &[], 2, "has no context \"gone\""),
        (&["sweep", "--cluster", "kind:gone"], &[], 2, "this machine has not made it"),
        (&["sweep", "--cluster", "embedded"], &[], 2, "ends with its process"),
        (&["sweep", "--cluster", "nowhere"], &[], 2, "set embedded, kind[:NAME], context:NAME or in-cluster"),
        (&["sweep", "--cluster", "kind", "--context", "x"], &[], 2, "cannot be used with"),
        (&["sweep"], &[("STEADFAST_CLUSTER", "nowhere")], 2, "is unknown"),
        (&["sweep"], &[("KUBECONFIG", "/no/such/file")], 2, "set KUBECONFIG to the right file"),
        (&["lab"], &[("STEADFAST_SEED", "x")], 2, "is not a whole number"),
        (&["swep"], &[], 2, "unrecognized subcommand"),
    ] {
        let (exit, told) = steadfast(arguments, set);
        assert!(exit == Some(code) && told.contains(said), "{arguments:?} {set:?} exits with {exit:?}: {told}");
    }
}

/// Whatever the environment names, and without what an earlier run has left.
#[test]
fn the_demo_is_of_the_lab_and_tells_its_own_files() {
    let (exit, told) = steadfast(&["demo"], &[("STEADFAST_CLUSTER", "context:kind-gone"), ("STEADFAST_SEED", "")]);
    assert_eq!(exit, Some(0), "{told}");
    for file in ["journal.json", "traffic.html", "front.log"] {
        assert_eq!(
            told.matches(&format!("/demo/{file}\n")).count(),
            if file == "journal.json" { 2 } else { 1 },
            "{told}"
        );
    }
}

#[test]
fn a_document_on_the_embedded_cluster_heeds_the_time_that_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let (document, journal) = (folder.path().join("experiment.json"), folder.path().join("journal.json"));
    let probe = serde_json::json!({"type": "probe", "name": "is", "provider": {"type": "process", "path": "true"}});
    let text = serde_json::json!({"title": "t", "description": "d", "method": [probe]});
    std::fs::write(&document, text.to_string()).expect("a document");
    let [document, path] = [&document, &journal].map(|path| path.to_str().expect("plain"));
    let run = ["run", "--cluster", "embedded", "--journal-path", path, document];
    for (set, time) in [(None, "virtual"), (Some("0"), "virtual"), (Some("1"), "real")] {
        let set: Vec<_> = set.map(|set| ("STEADFAST_REAL_TIME", set)).into_iter().collect();
        let (code, told) = steadfast(&run, &set);
        assert_eq!(code, Some(0), "{told}");
        let text = std::fs::read_to_string(&journal).expect("it is stored");
        let stored: serde_json::Value = serde_json::from_str(&text).expect("it is whole");
        assert_eq!(stored["x-steadfast"]["journal"]["time"], time, "{set:?}");
    }
    let (code, told) = steadfast(&run, &[("STEADFAST_REAL_TIME", "x")]);
    assert!(code == Some(2) && told.contains("STEADFAST_REAL_TIME=\"x\" is unknown"), "{told}");
}
