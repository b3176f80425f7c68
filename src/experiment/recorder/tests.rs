//! What holds when others are told that a run has ended, on every path that ends one.

use std::path::Path;
use std::sync::Weak;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::super::{Experiment, Right, Run, engine};
use super::*;
use crate::BoxError;
use crate::clock::{Seed, secs};
use crate::rollback::{Header, InDrop, Standing, StateDir, Undo};
use crate::transport::{OnDemand, Transport};

/// No cluster, with a ledger on disk; it looks around when it is told that a run has ended.
struct Onlooker {
    clock: Clock,
    state: tempfile::TempDir,
    run: Mutex<Weak<Recorder>>,
    /// A signal comes just then.
    interrupts: bool,
    seen: Mutex<Vec<Journal>>,
}

impl Onlooker {
    fn new(interrupts: bool) -> Arc<Self> {
        let state = tempfile::tempdir().unwrap();
        Arc::new(Self { clock: Clock::real(), state, run: Mutex::default(), interrupts, seen: Mutex::default() })
    }

    async fn begin(self: &Arc<Self>, driven: bool) -> Run {
        let run = Run::begin("looked at", None, self.clone(), None, None, driven).await.unwrap();
        *self.run.lock().unwrap() = Arc::downgrade(&run.recorder);
        assert_eq!(self.ledgers(), 1);
        run
    }

    fn ledgers(&self) -> usize {
        let is_ledger = |path: &Path| path.extension().is_some_and(|end| end == "jsonl");
        let files = std::fs::read_dir(self.state.path().join("state/ledger")).unwrap();
        files.filter(|file| is_ledger(&file.as_ref().unwrap().path())).count()
    }
}

impl Environment for Onlooker {
    fn describe(&self) -> String {
        "nothing".to_owned()
    }
    fn clock(&self) -> Clock {
        self.clock.clone()
    }
    fn seed(&self) -> Seed {
        Seed(0)
    }
    fn new_run(&self) -> String {
        "r".to_owned()
    }
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::<OnDemand>::default()
    }
    fn undoer(&self) -> Arc<dyn Undoer> {
        Arc::new(Nothing)
    }
    fn ledger<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<Ledger, BoxError>> {
        let [cluster, server, context, host] = ["c", "s", "x", "h"].map(str::to_owned);
        let (run, started) = (run.to_owned(), self.clock.now());
        let header = Header { run, cluster, server, context, kubeconfig: None, pid: 1, host, started };
        let state = StateDir::at(self.state.path().join("state"));
        Box::pin(async move { Ok(Ledger::create(&state, header)?) })
    }
    fn lacking<'a>(&'a self, _: &'a [Right]) -> BoxFuture<'a, Result<Vec<Right>, BoxError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn undo_layers(&self) -> Vec<String> {
        Vec::new()
    }
    fn outputs(&self) -> PathBuf {
        self.state.path().join("out")
    }
    fn ended(&self, journal: &Journal) {
        let run = self.run.lock().unwrap().upgrade().expect("it is not gone");
        assert_eq!(Journal::read(journal.path().unwrap()).unwrap().ended, journal.ended, "stored before");
        assert_eq!(self.ledgers(), 0, "the ledger is finished");
        assert!(run.journal.try_lock().is_ok(), "nobody has to wait for the journal");
        assert!(run.finished.try_lock().is_ok(), "nor for this to return");
        if self.interrupts {
            assert!(run.waited_for().is_some(), "this is waited for, for a time");
            run.interrupted("SIGINT", Vec::new());
            assert_eq!(*run.journal(), *journal);
        }
        self.seen.lock().unwrap().push(journal.clone());
    }
}

struct Nothing;

impl Undoer for Nothing {
    fn undo<'a>(&'a self, _: &'a Undo) -> BoxFuture<'a, UndoOutcome> {
        Box::pin(async { UndoOutcome::Reverted })
    }
    fn stands<'a>(&'a self, _: &'a Undo) -> BoxFuture<'a, Result<Standing, String>> {
        Box::pin(async { Ok(Standing::Stands { uid: String::new() }) })
    }
    fn in_drop(&self) -> InDrop {
        InDrop::Inline
    }
}

/// Each path that ends a run, and how the run then ended.
async fn end(path: &str, onlooker: &Arc<Onlooker>) -> Ended {
    let experiment = Experiment::without_hypothesis("looked at").pause(secs(600));
    let at_once = Experiment::without_hypothesis("looked at");
    match path {
        "engine" => {
            let run = onlooker.begin(true).await;
            engine::conducted(&at_once, onlooker.clone(), run).await.unwrap().assert_verdict(Verdict::NotJudged);
            Ended::Completed
        }
        "dropped engine" => {
            let run = onlooker.begin(true).await;
            assert!(engine::conducted(&experiment, onlooker.clone(), run).now_or_never().is_none());
            Ended::Cancelled
        }
        "own" => {
            let _ = onlooker.begin(false).await.finish().await.unwrap();
            Ended::Completed
        }
        "dropped own" => {
            drop(onlooker.begin(false).await);
            Ended::Cancelled
        }
        "signal" => {
            let run = onlooker.begin(false).await;
            assert_eq!(run.recorder.waited_for(), None, "nobody undoes it but who answers the signal");
            run.recorder.interrupted("SIGTERM", Vec::new());
            Ended::Interrupted { signal: "SIGTERM".to_owned() }
        }
        #[cfg(feature = "cli")]
        "director" => {
            let file = onlooker.outputs().join("directed.json");
            let store: Store = Box::new(move |journal| journal.write(&file));
            let whole = onlooker.clone();
            let told: Told = Box::new(move |journal| whole.ended(journal));
            let run = Run::directed("looked at", onlooker.clone(), None, store, told).await.unwrap();
            *onlooker.run.lock().unwrap() = Arc::downgrade(&run.recorder);
            let _ = run.close(Ended::Completed, None).await.unwrap();
            Ended::Completed
        }
        other => panic!("{other} is no path"),
    }
}

#[tokio::test]
async fn who_is_told_that_a_run_has_ended_finds_its_ledger_finished_and_nobody_waiting() {
    let paths = ["engine", "dropped engine", "own", "dropped own", "signal"];
    let paths = paths.into_iter().chain(cfg!(feature = "cli").then_some("director"));
    for (path, interrupts) in paths.flat_map(|path| [(path, false), (path, true)]) {
        let onlooker = Onlooker::new(interrupts);
        let ended = end(path, &onlooker).await;
        let seen = std::mem::take(&mut *onlooker.seen.lock().unwrap());
        // A director is told itself, too.
        let told = vec![&ended; if path == "director" { 2 } else { 1 }];
        assert_eq!(seen.iter().map(|journal| &journal.ended).collect::<Vec<_>>(), told, "{path}: told once");
    }
}

/// A signal asks each run before it undoes the first: a disk that hangs under one must not keep the others as they are.
#[tokio::test]
async fn a_run_that_is_being_stored_keeps_no_signal_waiting() {
    let run = Onlooker::new(false).begin(false).await;
    assert_eq!(run.recorder.waited_for(), None);
    let storing = run.recorder.finished.lock().unwrap();
    assert_eq!(run.recorder.waited_for(), Some(ENGINES_WITHIN));
    drop(storing);
}
