//! The processes that die.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use steadfast::BoxError;
use steadfast::clock::Stopwatch;
use steadfast::cluster::Target;
use steadfast::experiment::{Check, Finding, Phase, Scene};
use steadfast::prelude::*;
use steadfast::process::exited;
use steadfast::tolerance::Judgement;

use super::{PATIENCE, Site, on_a_runtime};

/// What a victim does: it is only itself with this variable.
const PART: &str = "STEADFAST_TEST_VICTIM";

/// Which of [`FAULTS`] one that lives a whole life has on.
pub const FAULT: &str = "STEADFAST_TEST_VICTIM_FAULT";

/// The namespace that its faults are in.
const NAMESPACE: &str = "STEADFAST_TEST_VICTIM_NAMESPACE";

/// A run of this binary in a process of its own.
pub struct Victim {
    child: Child,
    /// What it said behind `ready: `; closed when it has ended.
    said: Receiver<String>,
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have died already, which is what it is for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Victim {
    /// Starts one in a process group of its own.
    pub fn start(site: &Site, part: &str, namespace: &str, more: &[(&str, &str)]) -> Self {
        let mut command = crate::replay::seen::heeding_signals(std::env::current_exe().unwrap());
        command
            .args(["--exact", "crash::victim::dies", "--ignored", "--nocapture", "--test-threads=1"])
            .env("KUBECONFIG", &site.running.lab.kubeconfig)
            .env("STEADFAST_STATE_DIR", site.state.path())
            .env("STEADFAST_OUT", site.state.path().join("out"))
            .env(PART, part)
            .env(NAMESPACE, namespace)
            .envs(more.iter().copied())
            .env_remove("STEADFAST_CLUSTER")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(site.said(namespace)).unwrap());
        let mut child = command.spawn().unwrap();
        let said = heard(child.stdout.take().unwrap());
        Self { child, said }
    }

    pub fn pid(&self) -> i32 {
        Pid::from_child(&self.child).as_raw_nonzero().get()
    }

    /// What it says next behind `ready: `; `None` if it ends before.
    pub fn hears(&mut self) -> Option<String> {
        match self.said.recv_timeout(PATIENCE) {
            Ok(what) => Some(what),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("victim {} says nothing for {PATIENCE:?}", self.pid()),
        }
    }

    /// Waits until it has its faults on, and says so.
    pub fn ready(&mut self) {
        self.hears().expect("it gets ready");
    }

    /// Lets it go on.
    pub fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Gives it all of its standard input.
    pub fn says(&mut self, text: &str) {
        self.child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        // It may be dead already.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    pub fn signal_group(&self, signal: Signal) {
        kill_process_group(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// As [`wait`](Self::wait), but it is not let go on meanwhile.
    pub fn wait_held(&mut self) -> ExitStatus {
        let held = self.child.stdin.take();
        let since = Stopwatch::start();
        while !self.has_ended() {
            assert!(since.elapsed() < PATIENCE, "victim {} does not end within {PATIENCE:?}", self.pid());
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(held);
        self.wait()
    }

    pub fn killed(mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }
}

/// What is said behind `ready: ` on a thread of its own, so that nobody has to wait for ever.
fn heard(said: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            let Some((_, what)) = line.split_once("ready: ") else { continue };
            if sender.send(what.to_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// What a victim of the gate has on, by the names that [`FAULT`] has for it.
pub const FAULTS: &[&str] = &["cut off", "slowed down", "scaled", "blackholed", "cordoned", DELETED];

/// The one that creates and changes nothing that stays.
pub const DELETED: &str = "pods deleted";

/// Puts a fault on.
async fn inject(run: &Run, cluster: &Cluster, fault: &str) -> steadfast::Result<Vec<FaultGuard>> {
    let here = cluster.namespace(std::env::var(NAMESPACE).unwrap());
    let all = here.pods("app=app").at_most_percent(100);
    Ok(match fault {
        "cut off" => vec![run.inject(cut(cluster)).await?, run.inject(cut_out(cluster)).await?],
        "slowed down" => vec![run.inject(all.latency(millis(50))).await?],
        "scaled" => vec![run.inject(here.deployment("app").scale(0)).await?],
        "blackholed" => vec![run.inject(here.service("app").blackhole()).await?],
        "cordoned" => vec![run.inject(cluster.node(&any_node(cluster).await?).cordon()).await?],
        DELETED => vec![run.inject(all.delete().grace(secs(0))).await?],
        other => panic!("no fault {other}"),
    })
}

async fn policies(cluster: &Cluster) -> usize {
    let namespace = std::env::var(NAMESPACE).unwrap();
    let policies: kube::Api<k8s_openapi::api::networking::v1::NetworkPolicy> =
        kube::Api::namespaced(cluster.client(), &namespace);
    policies.list(&Default::default()).await.unwrap().items.len()
}

async fn any_node(cluster: &Cluster) -> Result<String, kube::Error> {
    let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(cluster.client());
    let name = nodes.list(&Default::default()).await?.items.remove(0).metadata.name;
    Ok(name.unwrap_or_default())
}

/// Says that it is ready, and waits to be killed or let go.
fn wait_for_the_end() {
    println!("ready: on");
    let _ = std::io::stdin().read(&mut [0]);
}

fn cut(cluster: &Cluster) -> impl Fault + use<> {
    cut_in(cluster, &std::env::var(NAMESPACE).unwrap())
}

fn cut_in(cluster: &Cluster, namespace: &str) -> impl Fault + use<> {
    cluster.namespace(namespace).pods("app=back").deny_ingress().trust_without_proof("a test of the undo alone")
}

fn cut_out(cluster: &Cluster) -> impl Fault + use<> {
    let namespace = std::env::var(NAMESPACE).unwrap();
    cluster.namespace(namespace).pods("app=front").deny_egress().trust_without_proof("a test of the undo alone")
}

async fn experiment(cluster: &Cluster) {
    let holds = Hypothesis::new("x").check(steadfast::process::run("true").expect(exited(0)));
    let waits = async |_| {
        println!("ready: on");
        std::future::pending().await
    };
    let experiment = Experiment::new("killed", holds).inject(cut(cluster)).inject(cut_out(cluster));
    drop(experiment.act_with("wait", waits).run(cluster).await);
}

/// Sees a fault come, and stops where the part wants it: while it is proved, or when it should be gone.
struct Looks {
    part: String,
    looks: AtomicUsize,
}

impl Check for Looks {
    fn describe(&self) -> String {
        "a witness".into()
    }

    fn check<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>> {
        Box::pin(async move {
            let look = self.looks.fetch_add(1, Ordering::Relaxed);
            let stops = match self.part.as_str() {
                "proves" => look == 1,
                "sees it gone" => look == 4,
                _ => matches!(scene.phase, Phase::Recovery { .. }),
            };
            if stops {
                println!("ready: at look {look}");
                std::future::pending::<()>().await;
            }
            // On for three looks: landed, before and after the hypothesis.
            let met = !(1..=3).contains(&look) || !matches!(scene.phase, Phase::Method { .. });
            let judgement = Judgement::of(met, if met { "open" } else { "denied" }, "open", ("open", "denied"));
            Ok(Finding { judgement, evidence: serde_json::Value::Null })
        })
    }
}

/// An experiment that never comes further than its part.
async fn stops(cluster: &Cluster, part: &str) {
    let looks = || Looks { part: part.to_owned(), looks: AtomicUsize::new(0) };
    let fault = cluster.namespace(std::env::var(NAMESPACE).unwrap()).pods("app=back").deny_ingress().witness(looks());
    let holds = match part {
        "recovers" => Hypothesis::new("x").check(looks()),
        _ => Hypothesis::new("x").check(steadfast::process::run("true").expect(exited(0))),
    };
    drop(Experiment::new("stops", holds).inject(fault).run(cluster).await);
}

#[test]
#[ignore = "run by the tests of this module"]
fn dies() {
    let Ok(part) = std::env::var(PART) else { return };
    if part == "echoes" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).unwrap();
        println!("ready: {text}");
        return;
    }
    on_a_runtime(async {
        let cluster = Cluster::open(&Target::Context("steadfast-lab".into()), "victim").await.unwrap();
        if part == "opens" {
            return wait_for_the_end();
        }
        let own = cluster.own_namespace("victim").await.unwrap();
        match part.as_str() {
            "experiments" => return experiment(&cluster).await,
            "proves" | "sees it gone" | "recovers" => return stops(&cluster, &part).await,
            _ => {}
        }
        let run = Run::start("killed", &cluster).await.unwrap();
        if part == "lives" {
            // For the gate: a fault on, a while, and off.
            let on = inject(&run, &cluster, &std::env::var(FAULT).unwrap()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(500)).await;
            for guard in on.into_iter().rev() {
                guard.rollback().await.unwrap();
            }
            drop(run.finish().await.unwrap());
            drop(own);
            return;
        }
        if part == "races" || part == "takes turns" {
            match run.inject(cut(&cluster)).await {
                Ok(guard) => {
                    assert_eq!(policies(&cluster).await, 1, "nobody else's");
                    if part == "races" {
                        wait_for_the_end();
                    } else {
                        tokio::time::sleep(Duration::from_millis(30)).await;
                    }
                    assert_eq!(policies(&cluster).await, 1, "nobody else's");
                    guard.rollback().await.unwrap();
                }
                Err(error) => println!("ready: refused: {error}"),
            }
            drop(run.finish().await.unwrap());
            drop(own);
            return;
        }
        let first = run.inject(cut(&cluster)).await.unwrap();
        let second = run.inject(cut_out(&cluster)).await.unwrap();
        match part.as_str() {
            "holds" => wait_for_the_end(),
            "holds more" => {
                wait_for_the_end();
                let other = Run::start("another", &cluster).await.unwrap();
                let third = other.inject(cut_in(&cluster, "more")).await.unwrap();
                wait_for_the_end();
                drop((third, other));
            }
            "aborts" => {
                wait_for_the_end();
                std::process::abort();
            }
            "exits" => {
                wait_for_the_end();
                #[expect(clippy::exit, clippy::mem_forget, reason = "what nobody should do is what this is about")]
                {
                    std::mem::forget((first, second, own));
                    std::process::exit(0);
                }
            }
            other => panic!("no part {other}"),
        }
        second.rollback().await.unwrap();
        first.rollback().await.unwrap();
        drop(run.finish().await.unwrap());
        drop(own);
    });
}
