//! A load in real time: threads of its own, so that a busy test cannot distort its schedule.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::drive::{Generator, Order, Plan};
use super::pace::Pace;
use super::recording::{Recorder, Recording};
use super::records::Outbox;
use crate::BoxError;

/// How long before its first request a load's threads begin, so that they are there in time.
pub(super) const LEAD: Duration = Duration::from_millis(5);

/// A load that is running on its own threads. Dropped, it ends at once, without another request.
#[must_use = "a running load that is dropped ends at once; wait for it with `.finish()` or `.wait()`"]
pub struct Attack {
    orders: watch::Sender<Order>,
    threads: Vec<(JoinHandle<()>, Told)>,
}

/// What a thread tells at its end.
type Told = oneshot::Receiver<Result<Recording, BoxError>>;

/// Stops a running load from elsewhere, as from a signal's handler.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<Order>);

impl Stop {
    /// Sends no further request. What is under way ends first.
    pub fn stop(&self) {
        self.0.send_if_modified(|order| {
            let runs = *order == Order::Run;
            if runs {
                *order = Order::Drain;
            }
            runs
        });
    }

    /// Ends at once: what is under way is cut and not recorded.
    pub fn abort(&self) {
        self.0.send_replace(Order::Abort);
    }
}

/// What each thread is given.
pub(super) struct Share {
    pub(super) recorder: Recorder,
    pub(super) outbox: Option<Outbox>,
    /// Its place among all generators, and their number.
    pub(super) place: (u64, u64),
}

impl Attack {
    /// Starts one thread for each share.
    pub(super) fn start(plan: &Arc<Plan>, origin: Instant, shares: Vec<Share>) -> Result<Self, BoxError> {
        let mut attack = Self { orders: watch::Sender::new(Order::Run), threads: Vec::new() };
        for share in shares {
            let (plan, orders) = (plan.clone(), attack.orders.subscribe());
            let (tell, told) = oneshot::channel();
            let thread = std::thread::Builder::new().name(format!("load-{}", share.place.0)).spawn(move || {
                // Nobody who no longer waits is told.
                drop(tell.send(generate(plan, origin, share, orders)));
            })?;
            attack.threads.push((thread, told));
        }
        Ok(attack)
    }

    /// To stop it from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> Stop {
        Stop(self.orders.clone())
    }

    /// Sends no further request. What is under way ends first.
    pub fn stop(&self) {
        self.stopper().stop();
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The address cannot be used at all, or a thread could not work.
    pub async fn finish(mut self) -> Result<Recording, BoxError> {
        let mut whole: Option<Recording> = None;
        for (_, told) in &mut self.threads {
            let part = told.await.map_err(|_| "a thread of the load has panicked")??;
            merge(&mut whole, part)?;
        }
        whole.ok_or_else(|| "it had no thread".into())
    }

    /// As [`finish`](Self::finish), for a caller without a runtime.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn wait(mut self) -> Result<Recording, BoxError> {
        let mut whole: Option<Recording> = None;
        for (thread, mut told) in std::mem::take(&mut self.threads) {
            if thread.join().is_err() {
                return Err("a thread of the load has panicked".into());
            }
            merge(&mut whole, told.try_recv().map_err(|_| "a thread of the load told nothing")??)?;
        }
        whole.ok_or_else(|| "it had no thread".into())
    }
}

fn merge(whole: &mut Option<Recording>, part: Recording) -> Result<(), BoxError> {
    match whole {
        None => *whole = Some(part),
        Some(whole) => whole.merge(&part)?,
    }
    Ok(())
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.orders.send_replace(Order::Abort);
        for (thread, _) in std::mem::take(&mut self.threads) {
            // It ends within microseconds, as nothing in it blocks; a panic was told to whoever waited.
            drop(thread.join());
        }
    }
}

fn generate(
    plan: Arc<Plan>,
    origin: Instant,
    share: Share,
    mut orders: watch::Receiver<Order>,
) -> Result<Recording, BoxError> {
    // Timers of the kernel may be put together with others' by 50 µs otherwise. Refused, it is only less exact.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let pace = Pace::exact(origin)?;
        let generator = Generator::new(plan, pace, share.recorder, share.outbox, share.place);
        let watched = orders.clone();
        let run = async { generator.run(watched).await };
        tokio::select! {
            biased;
            _ = orders.wait_for(|order| *order == Order::Abort) => return Err("it was ended before its end".into()),
            ended = run => ended?,
        }
        generator.finish()
    });
    // A look-up of a name that hangs must not hold up the end.
    runtime.shutdown_background();
    ended
}
