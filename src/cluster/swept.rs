//! A sweep that somebody asked for: what is on, since when, by whom; what of it was undone, and what was left alone.

use serde::Serialize;

use super::network::NetworkCluster;
use super::{ClusterError, Target};
use crate::BoxError;
use crate::clock::Clock;
use crate::kubernetes::{Context, Fate, Kubernetes, Leftover, On, fates, leftovers};
use crate::rollback::{Finding, OpenEntry, StateDir, Sweeper, Undo, UndoOutcome, list, sweep};

/// What a sweep does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepMode {
    /// Undoes what dead runs have left.
    Undo,
    /// Says what it would undo.
    DryRun,
    /// Says what is on, that of living runs too.
    List,
}

/// One run that has, or may have, something on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunOnCluster {
    /// The run.
    pub run: String,
    /// Who: `USER@HOST, process 123`.
    pub by: String,
    /// Since when.
    pub since: String,
    /// Whether it lives, as far as it can be known.
    pub life: Life,
    /// What shows it: a ledger of this machine, or a lease in the cluster.
    pub proof: String,
    /// What is on.
    pub on: Vec<String>,
    /// How its undos ended, if they were tried.
    pub undone: Vec<Undone>,
    /// What was not believed, and so left alone.
    pub left_alone: Vec<String>,
}

/// How one undo ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undone {
    /// What was to be done.
    pub undo: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: UndoOutcome,
}

/// Whether a run lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Life {
    /// It does: left alone.
    Alive,
    /// It does not.
    Dead,
    /// It was not watched for long enough to know.
    Unknown,
}

/// The context of a target, as it is: nothing is made that is not there.
///
/// # Errors
/// It is not to be had, or nothing outlives its process.
pub async fn context_to_sweep(target: &Target) -> Result<Context, ClusterError> {
    match target {
        Target::Kind(name) => {
            let kubeconfig = super::Kind::new(name).kubeconfig()?;
            if !kubeconfig.is_file() {
                let why = "this machine has not made it; name its context with `--context`";
                return Err(ClusterError::NothingToSweep { target: target.to_string(), why });
            }
            Ok(Context::in_file(&kubeconfig, &format!("kind-{name}")).await?)
        }
        Target::Embedded => {
            let why = "an embedded cluster ends with its process, and what is on there with it";
            Err(ClusterError::NothingToSweep { target: target.to_string(), why })
        }
        other => super::choice::context(other).await,
    }
}

/// What came of a sweep.
#[derive(Debug, Default)]
pub struct SweepOfContext {
    /// The runs that were found.
    pub runs: Vec<RunOnCluster>,
    /// What could not be looked at, each with why. What was done before stays told.
    pub failed: Vec<BoxError>,
}

impl SweepOfContext {
    fn failed(&mut self, error: impl Into<BoxError>) {
        self.failed.push(error.into());
    }
}

/// Sweeps the cluster of a context.
///
/// # Errors
/// The cluster or the state folder is not to be had. What fails later is in the answer.
pub async fn sweep_context(context: Context, mode: SweepMode) -> Result<SweepOfContext, ClusterError> {
    let network = NetworkCluster::reach(context, None).await?;
    let (kubernetes, state) = (network.kubernetes()?, StateDir::from_env()?);
    let mut swept = SweepOfContext::default();
    of_ledgers(&state, &network, mode, &mut swept).await?;
    of_leases(&kubernetes, mode, &mut swept).await;
    Ok(swept)
}

/// What the leases of runs show.
async fn of_leases(kubernetes: &Kubernetes, mode: SweepMode, swept: &mut SweepOfContext) {
    let found = match leftovers(kubernetes, None).await {
        Ok(found) => found,
        Err(error) => return swept.failed(error),
    };
    let known: Vec<(Leftover, Life)> = if mode == SweepMode::List {
        let life = |left: &Leftover| left.holder.fate().map_or(Life::Unknown, Life::from);
        found.into_iter().map(|left| (left.clone(), life(&left))).collect()
    } else {
        match fates(kubernetes, &Clock::real(), found).await {
            Ok(fates) => fates.into_iter().map(|(left, fate)| (left, fate.into())).collect(),
            Err(error) => return swept.failed(error),
        }
    };
    for (left, life) in known {
        let on = left.on(kubernetes).await.unwrap_or_else(|error| {
            let unknown = vec![format!("what it has on is not known: {error}")];
            swept.failed(error);
            On { undos: Vec::new(), unknown }
        });
        let mut run = of_lease(&left, life, on);
        if mode == SweepMode::Undo && life == Life::Dead {
            match left.clear(kubernetes).await {
                Ok(undone) => run.undone = undone.into_iter().map(Undone::from).collect(),
                Err(error) => swept.failed(error),
            }
        }
        swept.runs.push(run);
    }
}

impl From<Fate> for Life {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::Alive => Self::Alive,
            Fate::Dead => Self::Dead,
        }
    }
}

fn of_lease(left: &Leftover, life: Life, on: On) -> RunOnCluster {
    let holder = &left.holder;
    RunOnCluster {
        run: holder.run.clone(),
        by: format!("{}, process {}", holder.user, holder.pid),
        since: holder.since.clone(),
        life,
        proof: left.lease.to_string(),
        on: on.undos.iter().map(|undo| undo.object().to_string()).collect(),
        undone: Vec::new(),
        left_alone: on.unknown,
    }
}

impl From<(Undo, UndoOutcome)> for Undone {
    fn from((undo, outcome): (Undo, UndoOutcome)) -> Self {
        let undo = match &undo {
            // Whoever asks for it is to see how old it is.
            Undo::Recreate { deleted, .. } => format!("{undo}, as it was before {deleted}"),
            undo => undo.to_string(),
        };
        Self { undo, outcome }
    }
}

/// This user's ledgers of this cluster, each before anything of it is undone.
async fn of_ledgers(
    state: &StateDir,
    network: &NetworkCluster,
    mode: SweepMode,
    all: &mut SweepOfContext,
) -> Result<(), ClusterError> {
    let runs = &mut all.runs;
    for listed in list(state)? {
        let Some(header) = listed.reading.header.filter(|header| header.cluster == network.uid()) else { continue };
        runs.push(RunOnCluster {
            run: header.run,
            by: format!("{}, process {}", header.host, header.pid),
            since: header.started.to_string(),
            life: if listed.alive { Life::Alive } else { Life::Dead },
            proof: listed.path.display().to_string(),
            on: listed.reading.open.iter().map(named).collect(),
            undone: Vec::new(),
            left_alone: listed.reading.complaints.iter().map(ToString::to_string).collect(),
        });
    }
    if mode == SweepMode::Undo {
        let undoer = network.undoer(&network.kubernetes()?);
        let swept = match sweep(state, network.uid(), &*undoer, Sweeper::Person).await {
            Ok(swept) => swept,
            Err(error) => {
                all.failed(error);
                return Ok(());
            }
        };
        for swept in swept {
            let path = swept.path.display().to_string();
            let Some(run) = runs.iter_mut().find(|run| run.proof == path) else { continue };
            match swept.finding {
                Finding::Undone(undone) => run.undone = undone.into_iter().map(Undone::from).collect(),
                Finding::OtherMachine => run.left_alone.push("it was written on another machine".into()),
                Finding::Unreadable(why) => run.left_alone.push(why),
                Finding::Alive | Finding::NotThisCluster => {}
            }
        }
    }
    Ok(())
}

fn named(entry: &OpenEntry) -> String {
    entry.name.clone()
}
