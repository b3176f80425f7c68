//! goose attacks: users that go through scenarios, as a background activity of an experiment.
//!
//! For sessions: logins, carts, one request that needs the answer of another. The scenarios are those of the
//! [goose crate](https://docs.rs/goose), written with its own types; [`prelude`] is goose's.
//!
//! ```
//! use steadfast::load;
//! use steadfast::load::goose::prelude::*;
//! use steadfast::prelude::*;
//!
//! async fn front_page(user: &mut GooseUser) -> TransactionResult {
//!     user.get("/").await?;
//!     Ok(())
//! }
//!
//! fn experiment(cluster: &Cluster) -> Experiment {
//!     let front = cluster.namespace("default").service("front").url("/");
//!     let shoppers = load::goose(|| scenario!("browse").register_transaction(transaction!(front_page)))
//!         .against(&front)
//!         .users(20)
//!         .lasting(secs(30))
//!         .named("shoppers");
//!     let served = Hypothesis::new("shoppers are served")
//!         .check(shoppers.success_ratio().expect(at_least(0.99)))
//!         .check(shoppers.p95().expect(at_most(millis(300))));
//!     Experiment::new("shoppers do not notice that back is cut off", served).background(&shoppers)
//! }
//! ```
//!
//! # What it is not
//! - **No constant arrival rate.** goose is a closed model: a user sends its next request when it has the answer to its
//!   last, so a system that stalls is asked less, and its percentiles look better than what a customer on schedule
//!   would see. For a rate use [`load::get`](super::get).
//! - **No timeline.** goose counts, and keeps latencies in buckets whose width is 1/64 of the latency: there is no plot,
//!   and no figures apart for each fault.
//! - **No virtual time.** goose opens sockets and reads the machine's clock. On the embedded lab it runs with
//!   `STEADFAST_REAL_TIME=1`, and not at all without.
//! - **One attack at once in a process**, because goose has one kill switch for all: a second is refused. `cargo nextest`
//!   runs each test in a process of its own; with `cargo test` add `-- --test-threads=1`.
//!
//! # How goose's grip on the process is loosened
//! Each attack has a thread and a runtime of its own. When its activity is dropped the runtime ends, and every user with
//! it, in the middle of a request: no `on_stop` transaction runs. goose's Ctrl-C handler is disarmed, so that signals
//! go to who had them: an experiment's faults are undone. The command line is not read. A panic in a transaction, a failed
//! `assert!` for instance, fails the experiment instead of ending one user silently. The level of the `log` crate is
//! put back; if the process has no logger yet, goose's becomes its logger. One line, `N users launched.`, cannot be
//! turned off; libtest captures it.
//!
//! # What the feature costs
//! About 60 more crates than by default, among them a second TLS provider in C (aws-lc, beside ring), which needs a C
//! compiler and takes longest to build.

mod attack;
mod process;
mod relay;
mod scenarios;
mod summary;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use goose::goose::Scenario;
use goose::{GooseAttack, GooseError};
use serde_json::Value;
use tokio::sync::watch;

use crate::BoxError;
use crate::clock::Time;
use crate::experiment::{Background, Observed, Phase, Probe, Scene};
use crate::journal::Reason;
use crate::load::Latency;
use crate::transport::Address;
use attack::{Order, Running};
use process::Place;
use relay::Relay;

#[doc(no_inline)]
pub use ::goose::{prelude, trigger_killswitch};
pub use scenarios::Scenarios;
pub use summary::{PathSummary, Summary};

/// How long a request waits for its answer, unless it is said.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long it takes until all users are there, unless it is said: at once, as far as goose can.
const START: Duration = Duration::from_millis(10);

/// An attack that could not be run to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttackError {
    /// The experiment runs in virtual time.
    #[error(
        "goose needs real sockets and the machine's clock, and this cluster runs in virtual time; set STEADFAST_REAL_TIME=1 to run the embedded one in real time, set STEADFAST_CLUSTER to one over a network, or use `load::get`"
    )]
    VirtualTime,
    /// Another attack runs in this process.
    #[error(
        "the goose attack {other:?} still runs in this process, and goose has one kill switch for all; run them one after another (`cargo test -- --test-threads=1`) or in processes of their own (`cargo nextest run`)"
    )]
    Taken {
        /// Its name.
        other: String,
    },
    /// Somebody used goose's kill switch.
    #[error(
        "it was stopped before its end by goose's kill switch, which a scenario or another part of this process has used"
    )]
    Killed,
    /// goose refused the attack, or failed.
    #[error("goose: {0}")]
    Goose(String),
    /// The thread or the runtime of the attack, or a socket to the cluster, could not be had.
    #[error("failed to start goose: {0}")]
    Io(#[from] std::io::Error),
}

impl From<GooseError> for AttackError {
    fn from(error: GooseError) -> Self {
        Self::Goose(scenarios::told(&error))
    }
}

type Configure = Arc<dyn Fn(GooseAttack) -> Result<GooseAttack, GooseError> + Send + Sync>;

/// A goose attack. Clones share their results: keep one for checks.
#[derive(Clone)]
#[must_use = "an attack runs when it is a step: `.background(&attack)`"]
pub struct Attack {
    scenarios: Arc<dyn Fn() -> Result<Vec<Scenario>, GooseError> + Send + Sync>,
    configure: Option<Configure>,
    address: Option<Address>,
    users: usize,
    start: Duration,
    duration: Duration,
    timeout: Duration,
    name: Option<String>,
    ended: Arc<watch::Sender<Option<Arc<Summary>>>>,
}

/// One user for one second unless it is said, who goes through what the closure makes: a goose `Scenario`, several in an
/// array or a vector, or a `Result` of them.
pub fn goose<S: Scenarios>(scenarios: impl Fn() -> S + Send + Sync + 'static) -> Attack {
    Attack {
        scenarios: Arc::new(move || scenarios().scenarios()),
        configure: None,
        address: None,
        users: 1,
        start: START,
        duration: Duration::from_secs(1),
        timeout: TIMEOUT,
        name: None,
        ended: Arc::new(watch::Sender::new(None)),
    }
}

impl Attack {
    /// The host of all scenarios: a URL that this machine reaches, or a service of the cluster, which goose reaches
    /// through a loopback port that lives as long as the attack. Without it each scenario needs one of its own
    /// (`set_host`).
    pub fn against(mut self, address: impl Into<Address>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// How many users there are at a time.
    pub fn users(mut self, users: usize) -> Self {
        self.users = users;
        self
    }

    /// How long it takes until all users are there, evenly spread; this comes before [`lasting`](Self::lasting). At once
    /// by default.
    pub fn starting_over(mut self, start: Duration) -> Self {
        self.start = start.max(START);
        self
    }

    /// For how long all users are there, in whole seconds. Each ends what it is doing after that.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// How long a request waits for its answer, 30 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The name in journals; the scenarios' names by default.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whatever else goose can do: `.configured(|attack| Ok(attack.set_scheduler(GooseScheduler::Serial)))`. What is said
    /// here and by the methods above is as those say. Called once for each run.
    pub fn configured(
        mut self,
        configure: impl Fn(GooseAttack) -> Result<GooseAttack, GooseError> + Send + Sync + 'static,
    ) -> Self {
        self.configure = Some(Arc::new(configure));
        self
    }

    /// What was counted, once the attack has ended.
    #[must_use]
    pub fn summary(&self) -> Option<Arc<Summary>> {
        self.ended.borrow().clone()
    }

    /// A probe of the median latency, from the sending of each request.
    pub fn p50(&self) -> Percentile {
        Percentile { attack: self.clone(), percent: 50.0 }
    }

    /// A probe of the latency that 95 % of requests stay within, from the sending of each.
    pub fn p95(&self) -> Percentile {
        Percentile { attack: self.clone(), percent: 95.0 }
    }

    /// A probe of the latency that 99 % of requests stay within, from the sending of each.
    pub fn p99(&self) -> Percentile {
        Percentile { attack: self.clone(), percent: 99.0 }
    }

    /// A probe of the share of requests that succeeded, from 0 to 1: answered with a 2xx status, unless the scenario
    /// judged otherwise.
    pub fn success_ratio(&self) -> SuccessRatio {
        SuccessRatio { attack: self.clone() }
    }

    fn title(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        match (self.scenarios)() {
            Ok(scenarios) => {
                let names: Vec<_> = scenarios.iter().map(|scenario| scenario.name.to_string()).collect();
                names.join(", ")
            }
            Err(_) => "goose".to_owned(),
        }
    }

    /// goose's own form of it, for a host.
    fn order(&self, host: Option<String>) -> Order {
        Order {
            scenarios: self.scenarios.clone(),
            configure: self.configure.clone(),
            host,
            users: self.users,
            start: self.start,
            duration: self.duration,
            timeout: self.timeout,
        }
    }

    async fn attack(self, scene: Scene) -> Result<Value, BoxError> {
        if scene.clock.time() == Time::Virtual {
            return Err(AttackError::VirtualTime.into());
        }
        let place = Place::take(&self.title()).await?;
        let relay = match &self.address {
            Some(service @ Address::Service { .. }) => Some(Relay::open(service, scene.transport.clone()).await?),
            _ => None,
        };
        let host = match (&relay, &self.address) {
            (Some(relay), _) => Some(relay.url.clone()),
            (None, Some(Address::Url(url))) => Some(url.to_string()),
            (None, _) => None,
        };
        let running = Running::start(place, self.order(host))?;
        let relayed = async {
            match relay {
                Some(relay) => relay.serve().await,
                None => std::future::pending().await,
            }
        };
        let summary = tokio::select! {
            biased;
            ended = running.end() => Arc::new(Summary::of(&*ended?)),
            error = relayed => return Err(error.into()),
        };
        let value = serde_json::to_value(&*summary)?;
        self.ended.send_replace(Some(summary));
        Ok(value)
    }

    /// What an ended attack shows, if the phase is one in which it means something.
    fn judged<T>(&self, scene: &Scene, read: impl FnOnce(&Summary) -> T) -> Observed<T> {
        if !matches!(scene.phase, Phase::Fault { .. } | Phase::Method { .. }) {
            return Observed::NotApplicable;
        }
        let Some(summary) = self.summary() else { return Observed::NotApplicable };
        match &summary.invalid {
            Some(why) => Observed::Inconclusive(Reason::InvalidLoad { what: self.title(), why: why.clone() }),
            None => Observed::Value(read(&summary)),
        }
    }
}

impl Background for Attack {
    fn describe(&self) -> String {
        let users = if self.users == 1 { "1 user".to_owned() } else { format!("{} users", self.users) };
        let against = self.address.as_ref().map(|address| format!(" against {address}")).unwrap_or_default();
        format!("goose: {}, {users} for {:?}{against}", self.title(), self.duration)
    }

    fn validate(&self) -> Result<(), BoxError> {
        if let Some(address) = &self.address {
            address.checked()?;
        }
        let wrong = |what: &str| Err(format!("{}: {what}", self.describe()).into());
        if self.users == 0 {
            return wrong("it has no users; give it at least one");
        }
        if self.duration.is_zero() || self.duration.subsec_nanos() != 0 {
            return wrong("goose counts in whole seconds; give it at least one, and no fraction");
        }
        if self.timeout < Duration::from_millis(1) {
            return wrong("a request needs at least 1 ms to be answered");
        }
        if (self.scenarios)().map_err(AttackError::from)?.is_empty() {
            return wrong("it has no scenarios; give it at least one");
        }
        Ok(())
    }

    fn run(&self, scene: Scene) -> BoxFuture<'static, Result<Value, BoxError>> {
        // What an earlier run counted is not this one's.
        self.ended.send_replace(None);
        Box::pin(self.clone().attack(scene))
    }
}

/// A probe of a latency percentile of an attack.
#[derive(Clone)]
#[must_use = "a probe does nothing until it is observed or expected"]
pub struct Percentile {
    attack: Attack,
    percent: f64,
}

impl Probe for Percentile {
    type Output = Latency;

    fn describe(&self) -> String {
        format!("p{} of {}", self.percent, self.attack.title())
    }

    fn looks_back(&self) -> std::time::Duration {
        std::time::Duration::MAX
    }

    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        Box::pin(async move { scene.no_safeguard(super::probes::NO_SAFEGUARD).map(|()| Vec::new()) })
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<Latency>, BoxError>> {
        Box::pin(async move { Ok(self.attack.judged(scene, |summary| summary.percentile(self.percent))) })
    }
}

/// A probe of the share of requests of an attack that succeeded.
#[derive(Clone)]
#[must_use = "a probe does nothing until it is observed or expected"]
pub struct SuccessRatio {
    attack: Attack,
}

impl Probe for SuccessRatio {
    type Output = f64;

    fn describe(&self) -> String {
        format!("success ratio of {}", self.attack.title())
    }

    fn looks_back(&self) -> std::time::Duration {
        std::time::Duration::MAX
    }

    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        Box::pin(async move { scene.no_safeguard(super::probes::NO_SAFEGUARD).map(|()| Vec::new()) })
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<f64>, BoxError>> {
        Box::pin(async move { Ok(self.attack.judged(scene, Summary::success_ratio)) })
    }
}
