//! Kind clusters as a user has them: made, reused, stopped, misused, and deleted while an experiment runs.
//!
//! The trials make clusters, so they run only where `STEADFAST_CLUSTER` is `kind[:NAME]` or `STEADFAST_REQUIRE` has
//! `kind`. They share one cluster of their own and take turns; what is remembered of it lies in a folder of theirs.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use libtest_mimic::Trial;

use super::kind_runs::RUN;
use super::lab::Said;
use super::{Needs, Outcome, find};

/// The cluster of these trials.
pub const NAME: &str = "steadfast-trials";

/// One of which nothing may ever be left.
const NEVER: &str = "steadfast-never";

/// A cluster that takes no port of this machine but its API server's.
const NO_PORTS: &str = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n";

/// The trials' state folder, whoever has it may use kind.
pub struct Kind {
    folder: tempfile::TempDir,
}

static KIND: LazyLock<Mutex<Kind>> =
    LazyLock::new(|| Mutex::new(Kind { folder: tempfile::tempdir().expect("a folder") }));

fn kind() -> MutexGuard<'static, Kind> {
    KIND.lock().unwrap_or_else(PoisonError::into_inner)
}

fn found() -> Result<(), String> {
    let asked_for = std::env::var("STEADFAST_CLUSTER").is_ok_and(|v| v == "kind" || v.starts_with("kind:"));
    let required = std::env::var("STEADFAST_REQUIRE").is_ok_and(|v| v.split(',').any(|tool| tool.trim() == "kind"));
    if !asked_for && !required {
        return Err(
            "they make clusters: STEADFAST_CLUSTER=kind cargo test --features cli --test tools -- kind::".into()
        );
    }
    let answers = |output: std::process::Output| output.status.success();
    if find("kind").is_some() && Command::new("docker").arg("version").output().is_ok_and(answers) {
        return Ok(());
    }
    Err("no kind on the PATH, or no Docker engine answers: https://kind.sigs.k8s.io".into())
}

pub fn trials() -> (Needs, Vec<Trial>) {
    let needs = Needs::new("kind", found());
    let trials = vec![
        needs.trial("kind::a_configuration_that_is_not_there", || no_configuration(&kind())),
        needs.trial("kind::a_configuration_that_kind_refuses", || bad_configuration(&kind())),
        needs.trial("kind::an_image_that_does_not_exist", || no_image(&kind())),
        needs.trial("kind::a_port_that_is_taken", || port_taken(&kind())),
        needs.trial("kind::a_network_that_enforces_nothing", || nothing_enforced(&kind())),
        needs.trial("kind::a_cluster_deleted_in_mid_run", || deleted_in_mid_run(&kind())),
        needs.trial("kind::killed_at_any_time", || super::kind_crash::killed_at_any_time(&kind())),
        needs.trial("kind::up_stopped_and_down", || lifecycle(&kind())),
    ];
    (needs, trials)
}

/// Deletes what the trials made.
pub fn end() {
    if found().is_ok() {
        let kind = kind();
        for name in [NAME, NEVER] {
            // One that a failed trial has left; there is nobody to tell.
            let _ = kind.steadfast(&["down", name]);
        }
    }
}

impl Kind {
    fn state(&self) -> PathBuf {
        self.folder.path().join("it's state")
    }

    /// Where the cluster's kubeconfig lies.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state().join("kind").join(format!("{NAME}.kubeconfig"))
    }

    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("STEADFAST_STATE_DIR", self.state()).env("STEADFAST_OUT", self.folder.path().join("out"));
        // Of the suite that this is a part of.
        command.env_remove("STEADFAST_REQUIRE").env_remove("KUBECONFIG");
        command.current_dir(self.folder.path());
        command
    }

    /// `steadfast kind …`.
    fn steadfast(&self, arguments: &[&str]) -> Said {
        let output = self.command(env!("CARGO_BIN_EXE_steadfast")).arg("kind").args(arguments).output();
        Said::of(&output.expect("the command starts"))
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("written");
        path.to_string_lossy().into_owned()
    }

    /// The cluster of the trials, up.
    pub fn up(&self) -> Result<String, String> {
        let config = self.file("no-ports.yaml", NO_PORTS);
        self.steadfast(&["up", NAME, "--config", &config]).ok()
    }

    /// This binary once more, running an experiment on the cluster.
    fn experiment(&self, run: &str) -> Said {
        let mut command = self.command(std::env::current_exe().expect("this binary"));
        let output = command.env(RUN, run).env("STEADFAST_CLUSTER", format!("kind:{NAME}")).output();
        Said::of(&output.expect("it starts"))
    }

    /// Files of a cluster that may not be left.
    fn remembered(&self, name: &str) -> Vec<String> {
        let mut left = Vec::new();
        for entry in fs::read_dir(self.state().join("kind")).into_iter().flatten().flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            if file.starts_with(name) && !file.ends_with(".lock") {
                left.push(file);
            }
        }
        left
    }

    /// `up` of a cluster that cannot be made: this exit code, one error with these parts, and nothing is left.
    fn refused(&self, code: i32, arguments: &[&str], parts: &[&str]) -> Outcome {
        let arguments: Vec<&str> = ["up", NEVER].iter().chain(arguments).copied().collect();
        let told = self.steadfast(&arguments).bad(code)?;
        let errors: Vec<&str> = told.lines().filter(|line| line.starts_with("steadfast kind: ")).collect();
        let [error] = errors[..] else { return Err(format!("one error of one line: {told}").into()) };
        for part in parts {
            holds(error.contains(part), format!("{part:?} in: {error}"))?;
        }
        holds(containers(NEVER)?.is_empty(), "a container is left")?;
        holds(self.remembered(NEVER).is_empty(), format!("left: {:?}", self.remembered(NEVER)))
    }
}

pub fn holds(condition: bool, otherwise: impl Into<String>) -> Outcome {
    if condition { Ok(()) } else { Err(otherwise.into().into()) }
}

fn docker(arguments: &[&str]) -> Result<String, String> {
    Said::of(&Command::new("docker").args(arguments).output().map_err(|error| error.to_string())?).ok()
}

/// The node containers of a cluster: `ID STATE`.
fn containers(name: &str) -> Result<Vec<String>, String> {
    let of = format!("label=io.x-k8s.kind.cluster={name}");
    let told = docker(&["ps", "--all", "--filter", &of, "--format", "{{.ID}} {{.State}}"])?;
    Ok(told.lines().map(str::to_owned).collect())
}

fn no_configuration(kind: &Kind) -> Outcome {
    kind.refused(2, &["--config", "/no/such.yaml"], &["/no/such.yaml", "No such file", "name a file that is there"])
}

fn bad_configuration(kind: &Kind) -> Outcome {
    let header = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n";
    for (text, why) in [
        (format!("{header}nodes: [\n"), "yaml: line 3"),
        (format!("{header}nodez: []\n"), "field nodez not found"),
        (format!("{header}nodes:\n- role: boss\n"), "\"boss\" is not a valid node role"),
        ("kind: Pod\napiVersion: v1\n".to_owned(), "unknown apiVersion: v1"),
    ] {
        let file = kind.file("bad.yaml", &text);
        let parts = ["kind refuses the configuration", &file, why, "https://kind.sigs.k8s.io/docs/user/configuration"];
        kind.refused(2, &["--config", &file], &parts)?;
    }
    Ok(())
}

fn no_image(kind: &Kind) -> Outcome {
    let config = kind.file("no-ports.yaml", NO_PORTS);
    let parts = ["steadfast.invalid/node:v0", "docker load", "STEADFAST_KIND_IMAGE"];
    kind.refused(4, &["--config", &config, "--image", "steadfast.invalid/node:v0"], &parts)
}

fn port_taken(kind: &Kind) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let mapping = format!(
        "{NO_PORTS}  extraPortMappings:\n  - containerPort: 30080\n    hostPort: {port}\n    listenAddress: 127.0.0.1\n"
    );
    let config = kind.file("taken.yaml", &mapping);
    let port = format!("port {port} of this machine is taken");
    kind.refused(4, &["--config", &config], &[&port, "stop what listens there", "another hostPort"])
}

/// The DaemonSet that enforces policies has no pods: the witness sees no effect, and says what that may mean.
fn nothing_enforced(kind: &Kind) -> Outcome {
    kind.up()?;
    let told = kind.experiment("nothing-enforced").ok()?;
    for part in ["inconclusive", "not proved", "the network plug-in may not enforce NetworkPolicies"] {
        holds(told.contains(part), format!("{part:?} in: {told}"))?;
    }
    Ok(())
}

/// Somebody deletes the cluster while a fault is on: no verdict, the test fails, and the ledger has what is open.
fn deleted_in_mid_run(kind: &Kind) -> Outcome {
    kind.up()?;
    let told = kind.experiment("deleted").bad(1)?;
    for part in ["rollback failed, a fault may be left", "networkpolicy default/", "inconclusive"] {
        holds(told.contains(part), format!("{part:?} in: {told}"))?;
    }
    holds(!told.contains("panicked"), format!("no panic: {told}"))?;
    holds(containers(NAME)?.is_empty(), "the cluster has gone")?;
    let journal = fs::read_to_string(kind.folder.path().join("out/deleted/journal.json"))?;
    let journal: serde_json::Value = serde_json::from_str(&journal).map_err(|error| error.to_string())?;
    holds(journal["verdict"] == "inconclusive", format!("never met: {}", journal["verdict"]))?;
    let ledgers: Vec<PathBuf> =
        fs::read_dir(kind.state().join("ledger"))?.flatten().map(|entry| entry.path()).collect();
    let [ledger] = &ledgers[..] else { return Err(format!("one ledger is kept: {ledgers:?}").into()) };
    let open = fs::read_to_string(ledger)?;
    holds(open.contains("networkpolicies") && open.contains("leaked"), format!("the ledger says so: {open}"))?;
    fs::remove_file(ledger)?;
    kind.steadfast(&["down", NAME]).ok()?;
    holds(kind.remembered(NAME).is_empty(), format!("left: {:?}", kind.remembered(NAME)))
}

fn lifecycle(kind: &Kind) -> Outcome {
    let printed = kind.up()?;
    let script = format!("{printed} stat -c %a \"$KUBECONFIG\"");
    let mode = Said::of(&Command::new("sh").args(["-c", &script.replace('\n', "; ")]).output()?).ok()?;
    holds(mode.trim() == "600", format!("a kubeconfig for this user alone: {mode}"))?;
    let config = kind.file("other.yaml", &NO_PORTS.replace("nodes", "# another one\nnodes"));
    let told = kind.steadfast(&["up", NAME, "--config", &config]).bad(2)?;
    holds(told.contains("was made from another configuration"), told)?;

    // Stopped, as after a restart of Docker: started again, the same one.
    let first = node()?;
    docker(&["stop", "--time=1", &first])?;
    kind.up()?;
    holds(node()? == first, "the same node")?;

    // Stopped, and its port is taken: one error, ours or not, and it is left alone.
    docker(&["stop", "--time=1", &first])?;
    let bindings = docker(&["inspect", "--format", "{{json .HostConfig.PortBindings}}", &first])?;
    let bindings: serde_json::Value = serde_json::from_str(&bindings).map_err(|error| error.to_string())?;
    let port = bindings["6443/tcp"][0]["HostPort"].as_str().ok_or(format!("a port: {bindings}"))?;
    let taken = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    let told = kind.up().err().ok_or("it cannot start")?;
    holds(told.contains("is stopped and does not start") && told.contains("kind delete cluster"), told)?;
    holds(containers(NAME)?.len() == 1, "it is still there")?;
    drop(taken);
    kind.up()?;
    holds(node()? == first, "the same node again")?;

    // What a killed run left says nothing of a cluster that somebody made afterwards: that is left alone.
    let record = kind.state().join("kind").join(format!("{NAME}.json"));
    let left = |proof: &str| fs::write(&record, format!("{{\"stage\": \"creating\", \"config\": \"x\"{proof}}}"));
    for proof in ["", ", \"nodes_begun\": \"2026-01-01T00:00:00Z\"", ", \"nodes\": [\"0123\"]"] {
        left(proof)?;
        let told = kind.up().err().ok_or("it is another's")?;
        for part in [record.to_str().unwrap_or_default(), "remove that file", "kind delete cluster"] {
            holds(told.contains(part), format!("{part:?} in: {told}"))?;
        }
        holds(node()? == first, "the same node still")?;
    }
    // Its own, half-made, is made anew.
    left(&format!(", \"nodes\": [\"{}\"]", docker(&["inspect", "--format", "{{.Id}}", &first])?.trim()))?;
    kind.up()?;
    holds(node()? != first, "another node")?;

    kind.steadfast(&["down", NAME]).ok()?;
    holds(containers(NAME)?.is_empty(), "no container")?;
    holds(kind.remembered(NAME).is_empty(), format!("left: {:?}", kind.remembered(NAME)))?;
    kind.steadfast(&["down", NAME]).ok().map(drop).map_err(Into::into)
}

/// The id of the running node.
fn node() -> Result<String, String> {
    match &containers(NAME)?[..] {
        [one] => one.strip_suffix(" running").map(str::to_owned).ok_or(format!("it does not run: {one}")),
        others => Err(format!("one node: {others:?}")),
    }
}
