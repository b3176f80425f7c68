//! The reaper: undoes for a `Drop` over a network.
//!
//! A drop cannot await, and a client made on the caller's runtime needs that very runtime, which the drop is
//! blocking. So one thread with a runtime of its own makes its own undoer and works while the drop waits.

use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, timeout_at};

use super::{Connect, Undoer};

/// Runs a task on the reaper's runtime, which no user's code blocks. It ends with the process at the latest.
#[cfg(feature = "kubernetes")]
pub(crate) fn on_the_reaper(task: BoxFuture<'static, ()>) {
    // Without its thread undos say so, each by itself.
    let _ = Reaper::global().send(task);
}

/// The thread that undoes. There is one in a process, started with its first task.
pub(super) struct Reaper {
    tasks: Option<UnboundedSender<BoxFuture<'static, ()>>>,
}

impl Reaper {
    pub(super) fn global() -> &'static Self {
        static REAPER: OnceLock<Reaper> = OnceLock::new();
        REAPER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let (tasks, queue) = tokio::sync::mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("steadfast-reaper".into());
        let started = thread.spawn(move || serve(queue));
        Self { tasks: started.is_ok().then_some(tasks) }
    }

    fn send(&self, task: BoxFuture<'static, ()>) -> bool {
        self.tasks.as_ref().is_some_and(|tasks| tasks.send(task).is_ok())
    }

    /// Does work with an undoer made there, and blocks until it is done. The work is told when its time ends; an error,
    /// in words, if nothing came of it by then.
    pub(super) fn undo<T: Send + 'static>(
        &self,
        connect: Connect,
        within: Duration,
        work: impl FnOnce(Box<dyn Undoer>, Instant) -> BoxFuture<'static, T> + Send + 'static,
    ) -> Result<T, String> {
        let (answer, done) = channel();
        let task = async move {
            let end = Instant::now() + within;
            let connected = timeout_at(end, AssertUnwindSafe(async { connect().await }).catch_unwind()).await;
            let undone = match connected {
                Ok(Ok(Ok(undoer))) => Ok(work(undoer, end).await),
                Ok(Ok(Err(why))) => Err(why),
                Ok(Err(_)) => Err("connecting panicked".to_owned()),
                Err(_) => Err("no connection in time".to_owned()),
            };
            // Whoever waited may have given up.
            let _ = answer.send(undone);
        };
        if !self.send(Box::pin(task)) {
            return Err("the reaper's thread could not be started".to_owned());
        }
        // A little more than the work has: its own answer says more than this one.
        let done = done.recv_timeout(within + Duration::from_millis(500));
        done.unwrap_or_else(|_| Err(format!("the reaper did not answer within {within:?}")))
    }
}

fn serve(mut queue: UnboundedReceiver<BoxFuture<'static, ()>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            crate::journal::complain(&format!("the reaper has no runtime: {error}"));
            return;
        }
    };
    runtime.block_on(async {
        while let Some(task) = queue.recv().await {
            // Side by side: a stuck undo must not delay the others.
            tokio::spawn(task);
        }
    });
}
