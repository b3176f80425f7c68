//! One driver, what befalls it, and what is left of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::SignedDuration;
use steadfast::clock::{Clock, Seed};
use steadfast::experiment::ExperimentError;
use steadfast::journal::EventKind;
use steadfast::kubernetes::{Beat, Fate as Life, fates, leftovers};
use steadfast::lab::store::Object;
use steadfast::prelude::*;
use tokio::task::JoinHandle;

use super::decoy::{Decoy, blunt, swap};
use super::plans::{Kind, Plan, experiment};
use super::way::{Committed, Fate, Way, Wrong};
use super::world::{Before, changed, created, holding, kind_of, prepare, rob};
use crate::support::on_the_lab;

/// How long a fault may outlive the death of its driver: the switch's deadline and a little more.
pub const GRACE: Duration = Duration::from_secs(10);

/// When somebody swaps an object of a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Swap {
    No,
    /// When the driver is dead.
    AtDeath,
    /// At this instant of the run.
    At(Duration),
    /// As soon as the API has made the change of this number, and before its answer comes; or instead of that.
    AtCommit {
        number: u64,
        lost: bool,
    },
}

/// Whose wall is set, when, and how far.
#[derive(Clone, Copy, Debug)]
pub struct Jump {
    pub of_cluster: bool,
    pub at: Duration,
    pub by: SignedDuration,
}

/// Who undoes what a driver has left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sweep {
    Nobody,
    /// The next run of the same plan.
    NextRun,
    /// As `steadfast sweep` does on another machine.
    ByLease,
    /// A tool that goes by labels alone.
    Blunt,
}

/// A driver's life.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    pub plan: Plan,
    pub fate: Fate,
    pub swap: Swap,
    pub jump: Option<Jump>,
    /// While its machine sleeps, another takes its place over.
    pub succeeded: bool,
    pub sweep: Sweep,
    /// What its faults created is deleted when it has judged, and looks no more.
    pub robbed: bool,
    pub beat: Beat,
    pub seed: Seed,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct End {
    /// The faults that were on at its death, or when its machine fell asleep.
    pub on: Vec<Kind>,
    /// Created objects then, witnesses among them.
    pub created: usize,
    /// Changed objects then.
    pub changed: usize,
    /// Created objects at the deadline and 10 s.
    pub created_late: Vec<String>,
    /// Changed objects then.
    pub changed_late: Vec<String>,
    /// Changed objects after the sweep.
    pub changed_swept: Vec<String>,
    /// What is ours or held after the sweep.
    pub left: Vec<String>,
    pub differences: Vec<String>,
    /// Whether a decoy that was placed is still there.
    pub decoy: Option<bool>,
    /// What went wrong with the sweep.
    pub sweep: Option<String>,
    pub verdict: Option<Verdict>,
    /// A fault was not there any more when the driver had judged.
    pub missing: bool,
    pub requests: u64,
    pub lasted: Duration,
    pub wrongs: BTreeMap<Wrong, u64>,
}

impl End {
    /// A verdict on a fault that was not on.
    pub fn wrong_verdict(&self) -> bool {
        self.missing && self.verdict.is_some_and(|verdict| verdict != Inconclusive)
    }
}

pub fn killed(kill: &Kill) -> End {
    let (sender, end) = std::sync::mpsc::channel();
    let kill = *kill;
    on_the_lab(async |cluster| {
        sender.send(live(&cluster, kill).await?).expect("it is waited for");
        Ok(())
    });
    end.recv().expect("it was sent")
}

/// The decoy of a kill, if there is one by now.
type Placed = Arc<Mutex<Option<Decoy>>>;

async fn live(cluster: &Cluster, kill: Kill) -> steadfast::Result<End> {
    let Kill { plan, fate, beat, seed, .. } = kill;
    prepare(cluster).await?;
    let (before, mut end, placed) = (Before::of(cluster), End::default(), Placed::default());
    let decoy = || placed.lock().unwrap().clone();
    let way = Way::new(fate, seed, committed(cluster, kill, &placed));
    let elsewhere = cluster.from_elsewhere(way.client(cluster.lab()?.api().clone()), "a process elsewhere", beat)?;
    let jumps = befall(cluster, elsewhere.clock(), kill, &placed);
    let missing = Arc::new(Mutex::new(None));
    let run = experiment(&elsewhere, plan).on_event(judged(cluster, kill, &placed, &missing));
    let mut driver = Box::pin(run.run(&elsewhere));

    let mut ran = tokio::select! {
        biased;
        ran = &mut driver => Some(ran),
        () = way.dies() => None,
        () = way.falls_asleep() => {
            seen(cluster, None, &mut end);
            let next = sleeps(cluster, kill, &way, &mut end);
            let (next, ran) = futures_util::future::join(next, async {
                way.awakes().await;
                (&mut driver).await
            }).await;
            end.sweep = next?;
            Some(ran)
        }
    };
    if fate.sleep.is_none() {
        seen(cluster, decoy().as_ref(), &mut end);
    }
    end.lasted = way.elapsed();
    jumps.abort();
    // Killed: nothing of it runs any more, no drop either.
    let driver = std::mem::ManuallyDrop::new(driver);
    if kill.swap == Swap::AtDeath {
        swap_one(cluster, seed, &placed);
    }
    end.missing = missing.lock().unwrap().unwrap_or(false);
    end.verdict = ran.as_mut().and_then(|ran| verdict(ran));
    if ran.is_some() {
        drop(std::mem::ManuallyDrop::into_inner(driver));
    }
    if !matches!(ran, Some(Ok(_))) {
        tokio::time::sleep(beat.ahead + GRACE).await;
    }
    if fate.sleep.is_none() {
        end.created_late = told(&created(cluster, decoy().as_ref()));
        end.changed_late = told(&changed(cluster, decoy().as_ref()));
    }
    if end.sweep.is_none() {
        end.sweep = sweep(cluster, kill).await?;
    }
    // Controllers make of it what they must.
    tokio::time::sleep(secs(1)).await;
    let decoy = decoy();
    end.changed_swept = told(&changed(cluster, decoy.as_ref()));
    end.left = told(&created(cluster, decoy.as_ref()));
    end.left.extend(told(&holding(cluster)));
    let pods_moved = plan.iter().any(|kind| kind.moves_pods());
    end.differences = before.differences(cluster, pods_moved, decoy.as_ref());
    end.decoy = decoy.map(|decoy| decoy.survives(cluster));
    (end.requests, end.wrongs) = (way.requests(), way.wrongs());
    Ok(end)
}

/// What a run came to, if it came to a verdict.
fn verdict(ran: &Result<Journal, ExperimentError>) -> Option<Verdict> {
    ran.as_ref().ok().map(|journal| journal.verdict)
}

fn seen(cluster: &Cluster, decoy: Option<&Decoy>, end: &mut End) {
    let (created, changed) = (created(cluster, decoy), changed(cluster, decoy));
    (end.created, end.changed) = (created.len(), changed.len());
    end.on = created.iter().chain(&changed).filter_map(|object| kind_of(object)).collect();
}

fn told(objects: &[Object]) -> Vec<String> {
    let text =
        |object: &Object| format!("{} {}", object["kind"].as_str().unwrap_or_default(), object["metadata"]["name"]);
    objects.iter().map(text).collect()
}

/// Starts what happens at some instant; to its clock only while it lives.
fn befall(cluster: &Cluster, clock: &Clock, kill: Kill, placed: &Placed) -> JoinHandle<()> {
    if let Swap::At(at) = kill.swap {
        let (cluster, placed) = (cluster.clone(), placed.clone());
        tokio::spawn(async move {
            tokio::time::sleep(at).await;
            swap_one(&cluster, kill.seed, &placed);
        });
    }
    let (of_cluster, of_driver) = (cluster.clock().clone(), clock.clone());
    tokio::spawn(async move {
        let Some(jump) = kill.jump else { return };
        tokio::time::sleep(jump.at).await;
        let clock = if jump.of_cluster { of_cluster } else { of_driver };
        clock.set_wall(jump.by);
    })
}

fn swap_one(cluster: &Cluster, seed: Seed, placed: &Placed) {
    let mut decoy = placed.lock().unwrap();
    if decoy.is_none() {
        *decoy = swap(cluster, &mut seed.rng("swap"));
    }
}

/// Swaps an object as soon as it is there.
fn committed(cluster: &Cluster, kill: Kill, placed: &Placed) -> Committed {
    let (cluster, placed, count) = (cluster.clone(), placed.clone(), Mutex::new(0));
    Box::new(move |method, uri| {
        let Swap::AtCommit { number, lost } = kill.swap else { return false };
        let is = |kinds: &[&str]| kinds.iter().any(|kind| uri.contains(kind));
        let changes = match method.as_str() {
            "POST" => is(&["/networkpolicies", "/networkchaos", "/pods"]),
            "PATCH" => is(&["/deployments", "/services", "/nodes"]),
            _ => false,
        };
        let mut count = count.lock().unwrap();
        *count += u64::from(changes);
        if !changes || *count != number + 1 {
            return false;
        }
        swap_one(&cluster, kill.seed, &placed);
        lost
    })
}

/// Sees, when the driver has judged, whether what it judged was there.
fn judged(
    cluster: &Cluster,
    Kill { plan, robbed, .. }: Kill,
    placed: &Placed,
    missing: &Arc<Mutex<Option<bool>>>,
) -> impl Fn(&steadfast::journal::Event) + Send + Sync + 'static + use<> {
    let (cluster, placed, missing) = (cluster.clone(), placed.clone(), missing.clone());
    move |event| {
        let mut missing = missing.lock().unwrap();
        if event.kind != EventKind::UndoRequested || missing.is_some() {
            return;
        }
        if robbed {
            rob(&cluster);
        }
        let mut end = End::default();
        seen(&cluster, placed.lock().unwrap().as_ref(), &mut end);
        let seen = plan.iter().filter(|kind| **kind != Kind::DeletePods).all(|kind| end.on.contains(kind));
        *missing = Some(!seen);
    }
}

/// What happens while the driver's machine sleeps.
async fn sleeps(cluster: &Cluster, kill: Kill, way: &Way, end: &mut End) -> steadfast::Result<Option<String>> {
    let whole = way.sleeps();
    if !kill.succeeded {
        tokio::time::sleep(kill.beat.ahead + GRACE).await;
        end.created_late = told(&created(cluster, None));
        end.changed_late = told(&changed(cluster, None));
        tokio::time::sleep(whole - kill.beat.ahead - GRACE).await;
        way.wakes();
        return Ok(None);
    }
    let wakes = async {
        tokio::time::sleep(whole).await;
        way.wakes();
    };
    let next = async {
        tokio::time::sleep(kill.beat.ahead + GRACE).await;
        end.created_late = told(&created(cluster, None));
        next_run(cluster, kill).await
    };
    futures_util::future::join(next, wakes).await.0
}

async fn sweep(cluster: &Cluster, kill: Kill) -> steadfast::Result<Option<String>> {
    match kill.sweep {
        Sweep::Nobody => {}
        Sweep::NextRun => return next_run(cluster, kill).await,
        Sweep::ByLease => {
            let kubernetes = cluster.kubernetes();
            let found = leftovers(kubernetes, None).await.expect("leases are listed");
            for (left, life) in fates(kubernetes, cluster.clock(), found).await.expect("leases are read") {
                if life == Life::Alive {
                    return Ok(Some(format!("{} is said to live", left.holder)));
                }
                let undone = left.clear(kubernetes).await.expect("the API answers");
                if let Some((undo, outcome)) = undone.iter().find(|(_, outcome)| !outcome.is_clean()) {
                    return Ok(Some(format!("{undo}: {outcome}")));
                }
            }
        }
        Sweep::Blunt => blunt(cluster),
    }
    Ok(None)
}

/// Why the next run of the same plan does not come to its end.
async fn next_run(cluster: &Cluster, kill: Kill) -> steadfast::Result<Option<String>> {
    let next = cluster.from_elsewhere(cluster.client(), "a process of a third machine", kill.beat)?;
    Ok(match experiment(&next, kill.plan).run(&next).await {
        Ok(journal) if journal.verdict == Met => None,
        Ok(journal) => Some(journal.summary().to_string()),
        Err(error) => Some(error.to_string()),
    })
}
