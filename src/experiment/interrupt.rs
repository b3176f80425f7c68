//! What happens at SIGINT, SIGTERM and SIGHUP.
//!
//! Handlers are installed with the first fault of the process, never before: until then the default is right.
//! One that the process ignores, as under `nohup`, stays ignored. The first signal stops the ledgers from admitting new entries and tells every run; engines undo, store their
//! journals and report here; then the process ends with 128 + n, or with 5 if something leaked. Runs that no
//! engine drives are undone and journalled from here, out of their ledgers. Further signals do not cut that short: they are told
//! what is still being undone. What a document does of its own after the first, its rollbacks and controls, the next one cuts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::rollback::{Ledger, OpenEntry, UndoOutcome, Undoer, sweep_ledger};

/// How long engines have for undoing everything. What is left then is undone from here in 3 s more; nextest kills 10 s
/// after its first signal.
pub(super) const ENGINES_WITHIN: Duration = Duration::from_secs(5);

/// The exit code when something was not undone.
const EXIT_LEAKED: i32 = 5;

/// A signal, by number and name.
pub(crate) type Signal = (i32, &'static str);

/// The first signal, once it came. Apart from the handlers: engines wait for it before there are any.
static ARRIVED: LazyLock<watch::Sender<Option<Signal>>> = LazyLock::new(|| watch::Sender::new(None));

/// Whether one more has come since.
#[cfg(feature = "cli")]
static AGAIN: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

struct Interrupts {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    live: Vec<(u64, Weak<dyn Interruptible>)>,
    next: u64,
    leaked: bool,
    /// What the process is to end with after a signal, if not with its number.
    code: Option<i32>,
}

/// A run, as a signal sees it.
pub(super) trait Interruptible: Send + Sync {
    /// How long its engine has for undoing it when a signal comes; if it has none, whoever handles the signal must.
    fn waited_for(&self) -> Option<Duration>;

    /// What it has to undo.
    fn ledger(&self) -> &Ledger;

    /// Who undoes it.
    fn undoer(&self) -> Arc<dyn Undoer>;

    /// Stores its journal, unless the engine did: the signal came, and this was undone out of its ledger.
    fn interrupted(&self, signal: &'static str, undone: Vec<(OpenEntry, Vec<UndoOutcome>)>);
}

/// A run's membership among those that a signal must wait for.
pub(super) struct Ticket {
    number: u64,
}

static INTERRUPTS: OnceLock<Arc<Interrupts>> = OnceLock::new();

impl Ticket {
    /// Makes the run one that signals wait for, and installs the handlers if it is the first of the process.
    pub(super) fn take(run: &Arc<dyn Interruptible>) -> Self {
        let mut state = INTERRUPTS.get_or_init(Interrupts::install).lock();
        state.next += 1;
        let number = state.next;
        state.live.push((number, Arc::downgrade(run)));
        Self { number }
    }

    /// The run has undone everything, or not, and stored its journal.
    pub(super) fn done(self, leaked: bool) {
        if let Some(interrupts) = INTERRUPTS.get() {
            let mut state = interrupts.lock();
            state.live.retain(|(number, _)| *number != self.number);
            state.leaked |= leaked;
            interrupts.changed.notify_all();
        }
    }
}

/// Waits for the first signal. Never ends in a process without a fault, for it has no handlers.
pub(super) async fn interrupted() -> Signal {
    let mut arrived = ARRIVED.subscribe();
    match arrived.wait_for(Option::is_some).await.map(|signal| *signal) {
        Ok(Some(signal)) => signal,
        _ => std::future::pending().await,
    }
}

/// Waits for a signal after the first.
#[cfg(feature = "cli")]
pub(super) async fn again() {
    // The sender lives as long as the process.
    let _ = AGAIN.subscribe().wait_for(|again| *again).await;
}

/// What the process is to end with after a signal that left nothing behind; otherwise 128 and its number.
#[cfg(feature = "cli")]
pub(super) fn leave_with(code: Option<i32>) {
    if let (Some(code), Some(interrupts)) = (code, INTERRUPTS.get()) {
        interrupts.lock().code = Some(code);
    }
}

/// The first signal, if it has come.
pub(super) fn arrived() -> Option<Signal> {
    *ARRIVED.borrow()
}

impl Interrupts {
    fn install() -> Arc<Self> {
        let interrupts = Arc::new(Self { state: Mutex::default(), changed: Condvar::new() });
        let (installed, wait) = std::sync::mpsc::channel();
        let handler = interrupts.clone();
        // A thread and a runtime of its own: a paused clock's runtime has no I/O, and a busy one no time.
        let thread = std::thread::Builder::new().name("steadfast-signals".into());
        let spawned = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(handler.serve(&installed)),
                Err(error) => crate::journal::complain(&format!("signals will not be handled: {error}")),
            }
        });
        if spawned.is_ok() {
            // An error means that the thread could not install its handlers and has said so.
            let _ = wait.recv();
        }
        interrupts
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self: Arc<Self>, installed: &std::sync::mpsc::Sender<()>) {
        let Ok(mut signals) = Signals::install() else {
            crate::journal::complain("signals will not be handled: the handlers could not be installed");
            return;
        };
        // Whoever waits may have been dropped; the handlers stay.
        let _ = installed.send(());
        let first = signals.next().await;
        for run in self.live() {
            run.ledger().refuse_new();
        }
        ARRIVED.send_replace(Some(first));
        let undoing = self.clone();
        // It blocks, and meanwhile there is somebody to talk to.
        let mut work = tokio::task::spawn_blocking(move || undoing.undo_all(first.1));
        let leaked = loop {
            tokio::select! {
                biased;
                done = &mut work => break done.unwrap_or(true),
                (_, name) = signals.next() => {
                    #[cfg(feature = "cli")]
                    AGAIN.send_replace(true);
                    self.tell_what_is_on(name);
                }
            }
        };
        let agreed = self.lock().code;
        leave(if leaked { EXIT_LEAKED } else { agreed.unwrap_or(128 + first.0) });
    }

    fn live(&self) -> Vec<Arc<dyn Interruptible>> {
        self.lock().live.iter().filter_map(|(_, run)| run.upgrade()).collect()
    }

    fn tell_what_is_on(&self, signal: &str) {
        let open = self.live().into_iter().flat_map(|run| run.ledger().open());
        let faults: Vec<_> = open.map(|open| open.name).collect();
        let what = if faults.is_empty() { "the journal is still being written".into() } else { faults.join("; ") };
        crate::journal::complain(&format!("{signal} again; still undoing: {what}"));
    }

    /// Undoes what no engine does, waits for the engines, and undoes what these leave. True if something leaked.
    fn undo_all(&self, signal: &'static str) -> bool {
        let (driven, others): (Vec<_>, Vec<_>) = self.live().into_iter().partition(|run| run.waited_for().is_some());
        drop(driven);
        let lost = std::thread::scope(|scope| {
            let others = scope.spawn(|| undo_from_ledgers(&others, signal));
            let left = self.wait_for_engines();
            undo_from_ledgers(&left, signal) | others.join().is_err()
        });
        lost | self.lock().leaked
    }

    /// Waits until every engine has reported; those that have not in time.
    fn wait_for_engines(&self) -> Vec<Arc<dyn Interruptible>> {
        let since = crate::clock::Stopwatch::start();
        let mut state = self.lock();
        loop {
            let live = state.live.iter().filter_map(|(_, run)| run.upgrade());
            let waiting: Vec<_> = live.filter(|run| run.waited_for().is_some()).collect();
            let longest = waiting.iter().filter_map(|run| run.waited_for()).max().unwrap_or_default();
            let left = longest.saturating_sub(since.elapsed());
            if waiting.is_empty() || left.is_zero() {
                return waiting;
            }
            // Their owners may drop them meanwhile.
            drop(waiting);
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The signals that end a process.
struct Signals(Vec<(tokio::signal::unix::Signal, Signal)>);

impl Signals {
    /// Those that are not ignored: whoever started this process under `nohup` wants it to go on.
    fn install() -> std::io::Result<Self> {
        const ENDING: [Signal; 3] = [(2, "SIGINT"), (15, "SIGTERM"), (1, "SIGHUP")];
        const USERS: [Signal; 2] = [(10, "SIGUSR1"), (12, "SIGUSR2")];
        let users = USERS.into_iter().filter(|_| USERS_TOO.load(Ordering::Relaxed));
        let ignored = ignored();
        let heard = ENDING.into_iter().chain(users).filter(|(number, _)| ignored & (1 << (number - 1)) == 0);
        heard.map(|told| Ok((signal(SignalKind::from_raw(told.0))?, told))).collect::<Result<_, _>>().map(Self)
    }

    async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (signal, told) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(*told);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The signals that this process ignores, a bit each; none where that cannot be told.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// From now on SIGUSR1 and SIGUSR2 interrupt too, if no handlers are installed yet: so do safeguards of Chaos Toolkit.
#[cfg(feature = "cli")]
pub(super) fn users_too() {
    USERS_TOO.store(true, Ordering::Relaxed);
}

static USERS_TOO: AtomicBool = AtomicBool::new(false);

/// Undoes what runs hold open and stores their journals, side by side. True if one of them could not even be tried.
fn undo_from_ledgers(runs: &[Arc<dyn Interruptible>], signal: &'static str) -> bool {
    std::thread::scope(|scope| {
        let undo = |run: &Arc<dyn Interruptible>| {
            let undoer = run.undoer();
            run.interrupted(signal, sweep_ledger(run.ledger(), &undoer.in_drop(), &*undoer));
        };
        let started: Vec<_> = runs.iter().map(|run| scope.spawn(move || undo(run))).collect();
        started.into_iter().any(|undone| undone.join().is_err())
    })
}

#[expect(clippy::exit, reason = "the default action of the signal, which our handler replaced, is to end the process")]
fn leave(code: i32) {
    std::process::exit(code);
}
