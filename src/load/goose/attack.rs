//! One run of an attack, on a thread and a runtime that end with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::Duration;

use goose::GooseAttack;
use goose::config::GooseConfiguration;
use goose::metrics::GooseMetrics;
use goose::test_plan::TestPlanStepAction;
use tokio::sync::oneshot;

use super::process::{Place, keep_ctrl_c};
use super::scenarios::{Panic, reporting};
use super::{AttackError, Configure};

/// How long a dropped attack is waited for: it ends at once, unless a transaction blocks its thread.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// What is to be run.
pub(super) struct Order {
    pub(super) scenarios: Arc<dyn Fn() -> Result<Vec<goose::goose::Scenario>, goose::GooseError> + Send + Sync>,
    pub(super) configure: Option<Configure>,
    pub(super) host: Option<String>,
    pub(super) users: usize,
    pub(super) start: Duration,
    pub(super) duration: Duration,
    pub(super) timeout: Duration,
}

/// How an attack ended that was not stopped: with a panic, or as goose says.
type End = Result<Result<Box<GooseMetrics>, AttackError>, Panic>;

/// An attack under way; dropping it stops it.
pub(super) struct Running {
    stop: Option<oneshot::Sender<()>>,
    end: oneshot::Receiver<End>,
    /// Closed when no user is left.
    gone: mpsc::Receiver<()>,
}

impl Running {
    pub(super) fn start(place: Place, order: Order) -> Result<Self, AttackError> {
        #[cfg(feature = "kubernetes")]
        crate::transport::install_crypto_provider();
        keep_ctrl_c();
        let (stop, stopped) = oneshot::channel();
        let (send_end, end) = oneshot::channel();
        let (alive, gone) = mpsc::channel();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().thread_name("steadfast-goose").enable_all().build()?;
        std::thread::Builder::new().name("steadfast-goose".into()).spawn(move || {
            let worked = catch_unwind(AssertUnwindSafe(|| runtime.block_on(attack(order, stopped))));
            // Waits for all of its threads: whatever a user is doing ends at its next await.
            drop(runtime);
            drop(place);
            if let Some(end) = worked.unwrap_or_else(|payload| Some(Err(payload))) {
                // Whoever waited for it may be gone.
                let _ = send_end.send(end);
            }
            drop::<mpsc::Sender<()>>(alive);
        })?;
        Ok(Self { stop: Some(stop), end, gone })
    }

    /// Waits for the end. A panic in a transaction goes on from here.
    pub(super) async fn end(mut self) -> Result<Box<GooseMetrics>, AttackError> {
        match (&mut self.end).await {
            Ok(Ok(done)) => done,
            Ok(Err(payload)) => std::panic::resume_unwind(payload),
            Err(_) => Err(AttackError::Goose("its thread ended without a word".into())),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Nothing is ever sent: an error is the end, or the time-out.
        if self.gone.recv_timeout(STOPS_WITHIN) == Err(mpsc::RecvTimeoutError::Timeout) {
            crate::journal::complain(&format!(
                "a goose attack has not ended {STOPS_WITHIN:?} after it was stopped; does a transaction block its thread?"
            ));
        }
    }
}

/// Runs the attack; `None` if it was stopped.
async fn attack(order: Order, stopped: oneshot::Receiver<()>) -> Option<End> {
    let (panics, mut panicked) = tokio::sync::mpsc::unbounded_channel();
    let attack = match order.prepare(&panics) {
        Ok(attack) => attack,
        Err(error) => return Some(Ok(Err(error))),
    };
    let end = tokio::select! {
        biased;
        _ = stopped => return None,
        Some(payload) = panicked.recv() => return Some(Err(payload)),
        done = execute(attack) => done,
    };
    // The last thing that a user did.
    if let Ok(payload) = panicked.try_recv() {
        return Some(Err(payload));
    }
    Some(Ok(end))
}

async fn execute(attack: GooseAttack) -> Result<Box<GooseMetrics>, AttackError> {
    let mut executed = pin!(attack.execute());
    let level = log::max_level();
    // goose sets the level of the whole process before it waits for anything.
    let first = futures_util::poll!(executed.as_mut());
    log::set_max_level(level);
    let metrics = match first {
        Poll::Ready(done) => done?,
        Poll::Pending => executed.await?,
    };
    let cancelled = metrics.history.iter().any(|step| matches!(step.action, TestPlanStepAction::Canceling));
    if cancelled && goose::is_killswitch_triggered() { Err(AttackError::Killed) } else { Ok(Box::new(metrics)) }
}

impl Order {
    fn prepare(&self, panics: &tokio::sync::mpsc::UnboundedSender<Panic>) -> Result<GooseAttack, AttackError> {
        #[expect(clippy::cast_precision_loss, reason = "goose's own rate is no more exact")]
        let rate = self.users as f64 / self.start.as_secs_f64();
        // Not from the command line, which belongs to the test's harness.
        let mut configuration = GooseConfiguration::default();
        configuration.host.clone_from(&self.host);
        configuration.users = Some(self.users);
        configuration.increase_rate = Some(rate.to_string());
        configuration.run_time = Some(format!("{}s", self.duration.as_secs()));
        configuration.timeout = Some(self.timeout.as_secs_f64().to_string());
        // Otherwise what happened until all users were there would not count.
        configuration.no_reset_metrics = true;
        configuration.no_print_metrics = true;
        configuration.no_telnet = true;
        configuration.quiet = 1;
        let mut attack = GooseAttack::initialize_with_config(configuration)?;
        for scenario in (self.scenarios)()? {
            attack = attack.register_scenario(reporting(scenario, panics));
        }
        match &self.configure {
            Some(configure) => Ok(configure(attack)?),
            None => Ok(attack),
        }
    }
}
