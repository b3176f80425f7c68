//! A cluster over a network: the lab, served on a loopback port by a thread of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;

use futures_util::FutureExt;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use steadfast::clock::{Clock, Seed};
use steadfast::cluster::Target;
use steadfast::lab::Lab;
use steadfast::prelude::*;
use steadfast::rollback::{Finding, StateDir, Sweeper, sweep};
use tower::Service;

/// The environment of a process is one: tests that set it take turns.
static ENVIRONMENT: Mutex<()> = Mutex::new(());

struct Served {
    lab: Lab,
    folder: tempfile::TempDir,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Served {
    /// Serves the shop's lab in real time, and writes a kubeconfig for it.
    fn start() -> Self {
        let (ready, started) = std::sync::mpsc::channel();
        let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let lab = Lab::start(Clock::real(), Seed(1));
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let second = json!({"metadata": {"name": "second"}});
                lab.store().create(&steadfast::lab::resource::NAMESPACES, "", second, false).unwrap();
                for app in ["front", "back"] {
                    lab.image("app:1", |_| axum::Router::new().route("/health", axum::routing::get(async || "ok")));
                    let labels = json!({"app": app});
                    let pod = json!({"metadata": {"name": app, "labels": labels}, "spec": {"containers": [{
                        "name": "c", "image": "app:1", "ports": [{"containerPort": 8000}]}]}});
                    lab.store().create(&steadfast::lab::resource::PODS, "default", pod.clone(), false).unwrap();
                    lab.store().create(&steadfast::lab::resource::PODS, "second", pod, false).unwrap();
                }
                ready.send((lab.clone(), listener.local_addr().unwrap())).unwrap();
                loop {
                    tokio::select! {
                        biased;
                        _ = &mut stopped => return,
                        accepted = listener.accept() => {
                            let (stream, _) = accepted.unwrap();
                            let api = lab.api().clone();
                            let service = service_fn(move |request| api.clone().call(request));
                            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                            tokio::spawn(async move { drop(connection.await) });
                        }
                    }
                }
            });
        });
        let (lab, address): (Lab, SocketAddr) = started.recv().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "steadfast-lab",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "steadfast-lab", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
        Self { lab, folder, _stop: stop }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn policies(&self) -> usize {
        self.lab.store().list(&steadfast::lab::resource::NETWORK_POLICIES, None).0.len()
    }

    async fn cluster(&self) -> Cluster {
        Cluster::open(&Target::Context("steadfast-lab".into()), "network").await.unwrap()
    }

    fn ledgers(&self) -> usize {
        std::fs::read_dir(self.state().join("ledger")).map_or(0, Iterator::count)
    }
}

/// Runs `body` with the environment of a served lab, on a runtime of the given kind.
fn with_served<F: AsyncFn(&Served)>(multi_thread: bool, body: F) {
    let _turn = ENVIRONMENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let served = Served::start();
    let set = |name: &str, value: PathBuf| {
        #[expect(unsafe_code, reason = "the tests that read these variables hold the lock above")]
        unsafe {
            std::env::set_var(name, value);
        }
    };
    set("KUBECONFIG", served.folder.path().join("kubeconfig"));
    set("STEADFAST_STATE_DIR", served.state());
    let mut builder = if multi_thread {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    builder.worker_threads(1).enable_all().build().unwrap().block_on(body(&served));
}

fn cut(cluster: &Cluster) -> impl Fault + use<> {
    cut_in(cluster, "default")
}

fn cut_in(cluster: &Cluster, namespace: &str) -> impl Fault + use<> {
    cluster.namespace(namespace).pods("app=back").deny_ingress().trust_without_proof("a test of the undo alone")
}

#[test]
fn a_guard_undoes_over_a_network_however_it_ends() {
    for multi_thread in [false, true] {
        with_served(multi_thread, async |served| {
            let cluster = served.cluster().await;
            let run = Run::start("explicit", &cluster).await.unwrap();
            let guard = run.inject(cut(&cluster)).await.unwrap();
            assert_eq!((served.policies(), served.ledgers()), (1, 1));
            guard.rollback().await.unwrap();
            assert_eq!(served.policies(), 0);

            // Dropped on the runtime that the drop blocks: only a client of its own can answer.
            let guard = run.inject(cut(&cluster)).await.unwrap();
            assert_eq!(served.policies(), 1);
            drop(guard);
            assert_eq!(served.policies(), 0, "dropped, multi-thread: {multi_thread}");

            // Cancelled half-way, then dropped.
            let guard = run.inject(cut(&cluster)).await.unwrap();
            // With workers beside, the one poll may do it all; without, nobody else can answer it.
            let done = guard.rollback().now_or_never();
            assert!(done.is_none() || multi_thread, "one poll of a thread that nobody serves cannot end it");
            assert_eq!(served.policies(), 0, "cancelled, multi-thread: {multi_thread}");
            drop(run.finish().await);
            assert_eq!(served.ledgers(), 0, "a clean ledger is removed");
        });
    }
}

#[test]
fn a_guard_in_a_panicking_task_undoes() {
    with_served(true, async |served| {
        let cluster = served.cluster().await;
        let run = Run::start("panics", &cluster).await.unwrap();
        let guard = run.inject(cut(&cluster)).await.unwrap();
        let task = tokio::spawn(async move {
            let _guard = guard;
            panic!("in the body");
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(served.policies(), 0);
    });
}

#[test]
fn what_a_forgotten_guard_leaves_the_sweep_undoes() {
    with_served(false, async |served| {
        let cluster = served.cluster().await;
        let uid = cluster.kubernetes().cluster_uid().await.unwrap();
        let state = StateDir::at(served.state());
        let undoer = steadfast::experiment::Environment::undoer(&cluster);
        let run = Run::start("forgotten", &cluster).await.unwrap();
        let guard = run.inject(cut(&cluster)).await.unwrap();

        // Its owner is alive: a sweep leaves it alone.
        let swept = sweep(&state, &uid, &*undoer, Sweeper::Person).await.unwrap();
        assert_eq!(swept[0].finding, Finding::Alive);
        assert_eq!(served.policies(), 1);

        // As a killed process leaves it: the same ledger, and nobody who holds it.
        let ledger = std::fs::read_dir(served.state().join("ledger")).unwrap().next().unwrap().unwrap().path();
        let left = std::fs::read(&ledger).unwrap();
        let elsewhere = served.folder.path().join("dead");
        std::fs::create_dir_all(elsewhere.join("ledger")).unwrap();
        std::fs::copy(served.state().join("mac.key"), elsewhere.join("mac.key")).unwrap();
        std::fs::write(elsewhere.join("ledger").join(ledger.file_name().unwrap()), left).unwrap();
        let dead = StateDir::at(&elsewhere);
        let other = sweep(&dead, "another cluster", &*undoer, Sweeper::Person).await.unwrap();
        assert_eq!(other[0].finding, Finding::NotThisCluster);
        assert_eq!(served.policies(), 1);
        let swept = sweep(&dead, &uid, &*undoer, Sweeper::Person).await.unwrap();
        assert!(
            matches!(&swept[0].finding, Finding::Undone(undone) if undone.len() == 3),
            "policy, switch and lease: {swept:?}"
        );
        assert_eq!(served.policies(), 0);
        assert_eq!(std::fs::read_dir(elsewhere.join("ledger")).unwrap().count(), 0);
        assert!(guard.rollback().await.is_ok(), "already gone is as good as undone");
        drop(run);
    });
}

#[test]
fn a_decoy_of_the_same_name_survives() {
    with_served(false, async |served| {
        let cluster = served.cluster().await;
        let run = Run::start("decoy", &cluster).await.unwrap();
        let guard = run.inject(cut(&cluster)).await.unwrap();
        let policies = &steadfast::lab::resource::NETWORK_POLICIES;
        let ours = served.lab.store().list(policies, None).0.remove(0);
        let name = ours["metadata"]["name"].as_str().unwrap();
        served.lab.store().delete(policies, "default", name, &Default::default(), None, false).unwrap();
        let decoy =
            json!({"metadata": {"name": name, "labels": ours["metadata"]["labels"]}, "spec": {"podSelector": {}}});
        served.lab.store().create(policies, "default", decoy, false).unwrap();
        guard.rollback().await.unwrap();
        assert_eq!(served.policies(), 1, "another uid is another object");
        drop(run);
    });
}

#[test]
fn a_cluster_that_is_not_to_be_had_names_the_remedy() {
    with_served(false, async |served| {
        let open =
            async |target: Target| Cluster::open(&target, "x").await.map(drop).expect_err("it is absent").to_string();
        let error = open(Target::Context("prod".into())).await;
        assert!(error.contains("\"prod\"") && error.contains("it has: steadfast-lab"), "{error}");
        let error = open(Target::InCluster).await;
        assert!(error.contains("runs in no cluster"), "{error}");
        let text = std::fs::read_to_string(served.folder.path().join("kubeconfig")).unwrap();
        let port = text.split("127.0.0.1:").nth(1).unwrap().split('"').next().unwrap().to_owned();
        std::fs::write(served.folder.path().join("kubeconfig"), text.replace(&port, "1")).unwrap();
        let error = open(Target::Context("steadfast-lab".into())).await;
        assert!(error.contains("does not answer") && error.contains("is the cluster running?"), "{error}");
    });
}

/// What a kind cluster is refused with on a machine that has only these programs.
fn without_kind(programs: &[(&str, &str)]) -> String {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    for (name, script) in programs {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    // In a process of its own: the path of this one is everybody's, and a real kind would make a cluster.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "network::asks_for_a_kind_cluster", "--ignored", "--nocapture", "--test-threads=1"])
        .env("PATH", folder.path())
        .env("STEADFAST_STATE_DIR", folder.path().join("state"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let error = told.lines().find_map(|line| line.split_once("refused: "));
    error.unwrap_or_else(|| panic!("{told}")).1.to_owned()
}

#[test]
fn a_kind_cluster_without_its_programs_names_the_remedy() {
    let error = without_kind(&[]);
    assert!(error.contains("docker is not on the PATH; install it (https://docs.docker.com"), "{error}");
    let engine = ("docker", "echo 28.0.0");
    let error = without_kind(&[engine]);
    assert!(error.contains("kind is not on the PATH; install it (https://kind.sigs.k8s.io)"), "{error}");
    let error = without_kind(&[("docker", "echo no daemon >&2; exit 1"), ("kind", "exit 1")]);
    assert!(error.contains("no Docker engine answers (no daemon); start it"), "{error}");
    let error = without_kind(&[engine, ("kind", "echo no such thing >&2; exit 1")]);
    assert!(error.contains("failed to list kind clusters: no such thing"), "{error}");
}

#[test]
#[ignore = "run by a_kind_cluster_without_its_programs_names_the_remedy"]
fn asks_for_a_kind_cluster() {
    let path = std::env::var("PATH").unwrap();
    assert!(!path.contains("/bin"), "this runs only with a path that was made for it: {path}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let opened = runtime.block_on(Cluster::open(&Target::Kind("nope".into()), "x"));
    println!("refused: {}", opened.map(drop).expect_err("it is absent"));
}

/// A run of this binary in a process of its own, on the served lab, with its own state folder.
struct Elsewhere(std::process::Child);

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // It may have been killed already, which is what these tests do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Elsewhere {
    /// Runs one of the tests below that only this calls, until it says that it is ready.
    fn start(served: &Served, test: &str, state: &str) -> (Self, String) {
        use std::io::BufRead;
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
            .env("KUBECONFIG", served.folder.path().join("kubeconfig"))
            .env("STEADFAST_STATE_DIR", served.folder.path().join(state))
            .env("STEADFAST_TEST_ELSEWHERE", "1")
            // What a leash undoes is none of these tests' concern, but what is left without one.
            .env("STEADFAST_LEASH", "off")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("ready: ")?.1.to_owned()));
        let mut running = Self(child);
        let ready = ready.unwrap_or_else(|| panic!("{test} did not get ready: {}", running.complaints()));
        (running, ready)
    }

    /// As a crash ends it: nothing of it runs any more.
    fn killed(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// What it has said on standard error, to its end.
    fn complaints(&mut self) -> String {
        drop(self.0.stdin.take());
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.0.stderr.take().unwrap(), &mut said).unwrap();
        self.0.wait().unwrap();
        said
    }
}

/// Whether this test is run by [`Elsewhere`]; with `--ignored` alone it is not.
fn is_elsewhere() -> bool {
    std::env::var_os("STEADFAST_TEST_ELSEWHERE").is_some()
}

fn on_a_runtime(body: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body);
}

async fn opened() -> Cluster {
    Cluster::open(&Target::Context("steadfast-lab".into()), "elsewhere").await.unwrap()
}

/// Says that it is ready, and waits to be killed or let go.
fn wait_for_the_end(ready: &str) {
    println!("ready: {ready}");
    let _ = std::io::Read::read(&mut std::io::stdin(), &mut [0]);
}

#[test]
#[ignore = "run by what_a_killed_run_leaves_the_next_one_undoes"]
fn holds_a_namespace_and_a_fault() {
    holds_a_namespace_and_a_fault_in("default");
}

#[test]
#[ignore = "run by what_a_killed_run_leaves_the_next_one_undoes"]
fn holds_a_namespace_and_a_second_fault() {
    holds_a_namespace_and_a_fault_in("second");
}

/// Each in a place of its own: two runs do not hold one place.
fn holds_a_namespace_and_a_fault_in(place: &str) {
    if is_elsewhere() {
        on_a_runtime(async {
            let cluster = opened().await;
            let namespace = cluster.own_namespace("left").await.unwrap();
            let run = Run::start("killed", &cluster).await.unwrap();
            let _guard = run.inject(cut_in(&cluster, place)).await.unwrap();
            wait_for_the_end(namespace.name());
        });
    }
}

#[test]
#[ignore = "run by what_a_killed_run_leaves_the_next_one_undoes"]
fn opens_the_cluster() {
    if is_elsewhere() {
        on_a_runtime(async {
            let _cluster = opened().await;
            let _again = opened().await;
            wait_for_the_end("opened");
        });
    }
}

/// The namespaces of tests that are not being deleted.
fn standing(served: &Served) -> Vec<String> {
    let (all, _) = served.lab.store().list(&steadfast::lab::resource::NAMESPACES, None);
    let standing = all.iter().filter(|n| n["metadata"]["deletionTimestamp"].is_null());
    let ours = standing.filter(|n| !n["metadata"]["labels"]["steadfast.dev/owner"].is_null());
    ours.map(|n| n["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_a_killed_run_leaves_the_next_one_undoes() {
    let served = Served::start();
    let (alive, its_own) = Elsewhere::start(&served, "network::holds_a_namespace_and_a_second_fault", "state");
    let (dead, left) = Elsewhere::start(&served, "network::holds_a_namespace_and_a_fault", "state");
    assert_eq!((standing(&served).len(), served.policies(), served.ledgers()), (2, 2, 4));
    dead.killed();

    let (mut next, _) = Elsewhere::start(&served, "network::opens_the_cluster", "state");
    assert_eq!(standing(&served), std::slice::from_ref(&its_own), "the one of the run that lives stays");
    assert_eq!((served.policies(), served.ledgers()), (1, 2));
    let said = next.complaints();
    let told: Vec<_> = said.lines().filter(|line| line.contains("undid what dead runs left on")).collect();
    assert_eq!(told.len(), 1, "once, though it was opened twice: {said}");
    assert!(told[0].contains(&format!("delete namespace {left}")), "{said}");
    assert!(told[0].contains("delete networkpolicy default/") && !told[0].contains(&its_own), "{said}");

    // The ledger is in a folder that the next run does not know: what the namespace says of its process is enough,
    // and for the policy the lease.
    alive.killed();
    let (mut stranger, _) = Elsewhere::start(&served, "network::opens_the_cluster", "another-state");
    assert_eq!((standing(&served).len(), served.policies()), (0, 0));
    let said = stranger.complaints();
    assert!(said.contains(&format!("delete namespace {its_own}")), "{said}");
    assert!(said.contains("delete networkpolicy second/"), "{said}");

    let (mut last, _) = Elsewhere::start(&served, "network::opens_the_cluster", "state");
    assert_eq!((served.policies(), served.ledgers()), (0, 0));
    assert!(last.complaints().contains("delete networkpolicy second/"));
}

#[test]
fn a_namespace_of_a_tests_own_is_undone_however_it_ends() {
    with_served(false, async |served| {
        let cluster = served.cluster().await;
        let dropped = cluster.own_namespace("dropped").await.unwrap();
        assert_eq!((standing(served).len(), served.ledgers()), (1, 1));
        drop(dropped);
        // A ledger that is gone had nothing left to tell of.
        assert_eq!((standing(served).len(), served.ledgers()), (0, 0));

        let deleted = cluster.own_namespace("deleted").await.unwrap();
        let name = deleted.name().to_owned();
        deleted.delete().await.unwrap();
        let found = served.lab.store().find(&steadfast::lab::resource::NAMESPACES, "", &name);
        assert_eq!((found, served.ledgers()), (None, 0), "it was waited for");
    });
}
