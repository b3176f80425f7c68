//! Drivers that die at any request or instant, and an API that misbehaves, in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ::http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use steadfast::BoxError;
use steadfast::clock::Seed;
use steadfast::kubernetes::Beat;
use steadfast::lab::api::ApiService;
use steadfast::lab::resource::{JOBS, LEASES, NETWORK_POLICIES, PODS};
use steadfast::prelude::*;
use steadfast::rollback::OWNER_LABEL;

use crate::support::on_the_lab;

/// Kills of a plain `cargo test`; `STEADFAST_KILLS` says otherwise.
const KILLS: u64 = 300;

/// How long a fault may outlive the death of its driver: the switch's deadline and a little more.
const GRACE: Duration = Duration::from_secs(10);

/// When a driver dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// Never.
    No,
    /// Before its request of this number reaches the API.
    Before(u64),
    /// After that, before the answer comes.
    After(u64),
    /// At this instant of the run.
    At(Duration),
}

/// The way of one driver to the API.
struct Way {
    death: Death,
    /// How many of a hundred requests go wrong.
    wrong: u8,
    begun: tokio::time::Instant,
    requests: AtomicU64,
    dead: AtomicBool,
    seed: Seed,
}

impl Way {
    fn new(death: Death, wrong: u8, seed: Seed) -> Arc<Self> {
        let begun = tokio::time::Instant::now();
        Arc::new(Self { death, wrong, begun, requests: AtomicU64::new(0), dead: AtomicBool::new(false), seed })
    }

    fn client(self: &Arc<Self>, api: ApiService) -> kube::Client {
        let way = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (way, api) = (way.clone(), api.clone());
            async move { way.send(api, request).await }
        });
        kube::Client::new(service, "default")
    }

    /// Until it is dead.
    async fn dies(&self) {
        loop {
            // A driver that waits asks nothing: its death at an instant is seen here.
            if matches!(self.death, Death::At(at) if self.begun.elapsed() >= at) {
                self.dead.store(true, Ordering::SeqCst);
            }
            if self.dead.load(Ordering::SeqCst) {
                return;
            }
            tokio::time::sleep(millis(50)).await;
        }
    }

    async fn send(&self, api: ApiService, request: Request<Body>) -> Result<Response<Answer>, BoxError> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        let dies = match self.death {
            Death::Before(at) => number >= at,
            Death::After(at) => number > at,
            Death::At(at) => self.begun.elapsed() >= at,
            Death::No => false,
        };
        if dies || self.dead.load(Ordering::SeqCst) {
            self.dead.store(true, Ordering::SeqCst);
            return std::future::pending().await;
        }
        let mut rng = self.seed.rng(&format!("request {number}"));
        let goes_wrong = rng.u8(..100) < self.wrong;
        let lost = goes_wrong && rng.bool();
        if goes_wrong && !lost {
            return Ok(refusal([409, 410, 429, 500, 503][rng.usize(..5)]));
        }
        let answer = tower::ServiceExt::oneshot(api, request).await?;
        if matches!(self.death, Death::After(at) if number == at) {
            self.dead.store(true, Ordering::SeqCst);
            return std::future::pending().await;
        }
        if lost { Err("the connection was reset before the answer came".into()) } else { Ok(answer.map(Answer::new)) }
    }
}

/// The body of an answer, whoever gives it.
type Answer = axum::body::Body;

/// As an API server refuses.
fn refusal(code: u16) -> Response<Answer> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "made up",
        "reason": "MadeUp", "details": {"retryAfterSeconds": 1},
    });
    let body = Answer::from(status.to_string());
    Response::builder().status(code).header("retry-after", "1").body(body).unwrap()
}

/// Two pods to cut off, one of them without a witness.
fn prepare(cluster: &Cluster) -> steadfast::Result {
    let lab = cluster.lab()?;
    lab.image("app:1", |_| axum::Router::new().route("/health", axum::routing::get(async || "ok")));
    for app in ["front", "back"] {
        let pod = json!({"metadata": {"name": app, "labels": {"app": app}}, "spec": {"containers": [{
            "name": "c", "image": "app:1", "ports": [{"containerPort": 8000}]}]}});
        lab.store().create(&PODS, "default", pod, false).expect("the pod is created");
    }
    Ok(())
}

/// A run with two faults for 45 s, as a driver elsewhere makes it.
async fn drive(cluster: Cluster) {
    let shop = cluster.namespace("default");
    let nothing = Hypothesis::new("nothing is asked");
    let run = Experiment::new("killed", nothing)
        .inject(shop.pods("app=back").deny_ingress())
        .inject(shop.pods("app=front").deny_egress().trust_without_proof("a test of the undo alone"))
        .pause(secs(45))
        .run(&cluster);
    // What it comes to is nobody's concern: the API may have refused it.
    drop(run.await);
}

/// What faults and witnesses have created and is still there.
fn created(cluster: &Cluster) -> Vec<Value> {
    let store = cluster.lab().expect("the lab").store().clone();
    let all = [&NETWORK_POLICIES, &PODS].into_iter().flat_map(|kind| store.list(kind, None).0);
    all.filter(|object| !object["metadata"]["labels"][OWNER_LABEL].is_null()).map(|object| (*object).clone()).collect()
}

/// What runs hold.
fn holding(cluster: &Cluster) -> usize {
    let store = cluster.lab().expect("the lab").store().clone();
    [&LEASES, &JOBS].into_iter().map(|kind| store.list(kind, None).0.len()).sum()
}

/// The next run on the same place, by a driver that nothing happens to.
async fn next_run(cluster: &Cluster) -> steadfast::Result {
    let run = Run::start("next", cluster).await?;
    let faults = cluster.namespace("default").pods("app=back").deny_ingress();
    run.inject(faults.trust_without_proof("a test of the undo alone")).await?.rollback().await?;
    run.finish().await.map(drop)?;
    Ok(())
}

/// How a driver's death ended.
#[derive(Debug, Default)]
struct End {
    /// Created objects at the moment of its death.
    on: usize,
    /// Of them, those still there at the deadline and 10 s.
    after_deadline: Vec<Value>,
    /// Objects of any kind that are ours after the next run.
    after_next: usize,
    requests: u64,
    lasted: Duration,
}

fn killed(death: Death, wrong: u8, beat: Beat, seed: Seed) -> End {
    let (sender, end) = std::sync::mpsc::channel();
    on_the_lab(async |cluster| {
        prepare(&cluster)?;
        let way = Way::new(death, wrong, seed);
        let elsewhere =
            cluster.from_elsewhere(way.client(cluster.lab()?.api().clone()), "a process of another machine", beat)?;
        let mut driver = Box::pin(drive(elsewhere));
        let mut end = End::default();
        let ended = tokio::select! {
            biased;
            () = &mut driver => true,
            () = way.dies() => false,
        };
        (end.on, end.lasted) = (created(&cluster).len(), way.begun.elapsed());
        // Killed: nothing of it runs any more, no drop either.
        let driver = std::mem::ManuallyDrop::new(driver);
        if !ended {
            tokio::time::sleep(beat.ahead + GRACE).await;
            end.after_deadline = created(&cluster);
        }
        if ended {
            drop(std::mem::ManuallyDrop::into_inner(driver));
        }
        if beat.switch {
            next_run(&cluster).await?;
            end.after_next = created(&cluster).len() + holding(&cluster);
        }
        end.requests = way.requests.load(Ordering::SeqCst);
        sender.send(end).expect("it is waited for");
        Ok(())
    });
    end.recv().expect("it was sent")
}

fn kills() -> u64 {
    std::env::var("STEADFAST_KILLS").map_or(KILLS, |kills| kills.parse().expect("STEADFAST_KILLS is a number"))
}

#[test]
fn nothing_outlives_a_killed_driver_for_longer_than_its_switch() {
    let seed = Seed::from_env().unwrap();
    let whole = killed(Death::No, 0, Beat::default(), seed);
    assert!(whole.requests > 20 && whole.after_next == 0, "{whole:?}");
    let (mut with_faults, mut late, mut left) = (0, 0, 0);
    for number in 0..kills() {
        let mut rng = seed.rng(&format!("death {number}"));
        // Every request in turn, before and after it; then instants.
        let death = match number % 3 {
            0 => Death::Before((number / 3) % whole.requests),
            1 => Death::After((number / 3) % whole.requests),
            _ => Death::At(whole.lasted.mul_f64(rng.f64())),
        };
        let wrong = if number % 2 == 0 { 0 } else { 10 };
        let end = killed(death, wrong, Beat::default(), Seed(seed.0 ^ number));
        with_faults += u64::from(end.on > 0);
        late += u64::from(!end.after_deadline.is_empty());
        left += u64::from(end.after_next > 0);
        if !end.after_deadline.is_empty() || end.after_next > 0 {
            eprintln!("kill {number} at {death:?}, {wrong} % of requests wrong: {end:?}");
        }
    }
    println!(
        "virtual time, seed {}: {} kills, {with_faults} with something on; {late} with something left at the deadline \
         and 10 s, {left} after the next run",
        seed.0,
        kills()
    );
    assert!(with_faults > kills() / 8, "the kills hit what they are meant to hit");
    assert_eq!((late, left), (0, 0));
}

#[test]
fn without_a_switch_the_gate_sees_what_is_left() {
    let off = Beat { switch: false, ..Beat::default() };
    let end = killed(Death::At(secs(20)), 0, off, Seed(1));
    assert_eq!((end.on, end.after_deadline.len()), (3, 3), "two policies and a witness");
}
