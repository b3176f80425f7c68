//! The reaper: undoes for a `Drop` over a network.
//!
//! A drop cannot await, and a client made on the caller's runtime needs that very runtime, which the drop is
//! blocking. So one thread with a runtime of its own makes its own undoer and works while the drop waits.

use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Connect, Undo, UndoOutcome};

struct Job {
    connect: Connect,
    undo: Vec<Undo>,
    within: Duration,
    answer: Sender<Vec<UndoOutcome>>,
}

enum Work {
    Undo(Job),
    Aside(BoxFuture<'static, ()>),
}

/// Runs a task on the reaper's runtime, which no user's code blocks. It ends with the process at the latest.
pub(crate) fn on_the_reaper(task: BoxFuture<'static, ()>) {
    // Without its thread undos say so, each by itself.
    let _ = Reaper::global().jobs.as_ref().map(|jobs| jobs.send(Work::Aside(task)));
}

/// The thread that undoes. There is one in a process, started with its first job.
pub(super) struct Reaper {
    jobs: Option<tokio::sync::mpsc::UnboundedSender<Work>>,
}

impl Reaper {
    pub(super) fn global() -> &'static Self {
        static REAPER: OnceLock<Reaper> = OnceLock::new();
        REAPER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let (jobs, queue) = tokio::sync::mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("steadfast-reaper".into());
        let started = thread.spawn(move || serve(queue));
        Self { jobs: started.is_ok().then_some(jobs) }
    }

    /// Carries out the undos in their order and blocks until they are done, at most `within`.
    pub(super) fn undo(&self, connect: Connect, undo: Vec<Undo>, within: Duration) -> Vec<UndoOutcome> {
        let count = undo.len();
        let (answer, outcome): (_, Receiver<Vec<UndoOutcome>>) = channel();
        let sent =
            self.jobs.as_ref().is_some_and(|jobs| jobs.send(Work::Undo(Job { connect, undo, within, answer })).is_ok());
        let leaked = |why: &str| vec![UndoOutcome::Leaked { why: why.to_owned() }; count];
        if !sent {
            return leaked("the reaper's thread could not be started");
        }
        // A little more than the job has: its own answer says more than this one.
        match outcome.recv_timeout(within + Duration::from_millis(500)) {
            Ok(outcomes) => outcomes,
            Err(_) => leaked(&format!("the reaper did not answer within {within:?}")),
        }
    }
}

fn serve(mut queue: tokio::sync::mpsc::UnboundedReceiver<Work>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            crate::journal::complain(&format!("the reaper has no runtime: {error}"));
            return;
        }
    };
    runtime.block_on(async {
        while let Some(work_to_do) = queue.recv().await {
            let job = match work_to_do {
                Work::Undo(job) => job,
                Work::Aside(task) => {
                    tokio::spawn(task);
                    continue;
                }
            };
            // Side by side: a stuck undo must not delay the others.
            tokio::spawn(async move {
                let outcomes = work(&job.connect, &job.undo, job.within).await;
                // Whoever waited may have given up.
                let _ = job.answer.send(outcomes);
            });
        }
    });
}

async fn work(connect: &Connect, undo: &[Undo], within: Duration) -> Vec<UndoOutcome> {
    let deadline = tokio::time::Instant::now() + within;
    let leaked = |undo: &Undo, why: &str| UndoOutcome::Leaked { why: format!("{undo}: {why}") };
    let undoer = match tokio::time::timeout_at(deadline, AssertUnwindSafe(connect()).catch_unwind()).await {
        Ok(Ok(Ok(undoer))) => undoer,
        Ok(Ok(Err(why))) => return undo.iter().map(|u| leaked(u, &why)).collect(),
        Ok(Err(_)) => return undo.iter().map(|u| leaked(u, "connecting panicked")).collect(),
        Err(_) => return undo.iter().map(|u| leaked(u, "no connection in time")).collect(),
    };
    let mut outcomes = Vec::new();
    for undo in undo {
        let undoing = AssertUnwindSafe(undoer.undo(undo)).catch_unwind();
        outcomes.push(match tokio::time::timeout_at(deadline, undoing).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => leaked(undo, "it panicked"),
            Err(_) => leaked(undo, &format!("it did not end within {within:?}")),
        });
    }
    outcomes
}
