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
use steadfast::rollback::{Finding, StateDir, sweep};
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
                for app in ["front", "back"] {
                    lab.image("app:1", |_| axum::Router::new().route("/health", axum::routing::get(async || "ok")));
                    let labels = json!({"app": app});
                    let pod = json!({"metadata": {"name": app, "labels": labels}, "spec": {"containers": [{
                        "name": "c", "image": "app:1", "ports": [{"containerPort": 8000}]}]}});
                    lab.store().create(&steadfast::lab::resource::PODS, "default", pod, false).unwrap();
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
    cluster.namespace("default").pods("app=back").deny_ingress().trust_without_proof("a test of the undo alone")
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
            drop(run.finish());
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
        let swept = sweep(&state, &uid, &*undoer).await.unwrap();
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
        let other = sweep(&dead, "another cluster", &*undoer).await.unwrap();
        assert_eq!(other[0].finding, Finding::NotThisCluster);
        assert_eq!(served.policies(), 1);
        let swept = sweep(&dead, &uid, &*undoer).await.unwrap();
        assert!(matches!(&swept[0].finding, Finding::Undone(undone) if undone.len() == 1), "{swept:?}");
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
