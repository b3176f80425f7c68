//! Load: requests on a schedule, whether or not the answers come.
//!
//! An open model, as users are: `load::get(&front).per_second(10).lasting(secs(10))` intends 100 requests at their
//! exact instants. What could not be sent in time is sent late, and counted as late; a load that did not keep its
//! plan says so and is no evidence. Latency is measured from the intended instant. This module prints nothing,
//! handles no signals and has no global state, but for goose's (see `load::goose`); several loads run beside each other.
//!
//! On the lab a load runs in virtual time on the caller's runtime. Over real sockets it runs on threads of its own,
//! which a busy test cannot distort. Each request opens a new connection unless [`keep_alive`](Load::keep_alive) is
//! said: in an experiment an established connection would outlive a network policy, and show none of its effect.

mod attack;
mod connect;
mod drive;
#[cfg(feature = "goose")]
pub mod goose;
mod options;
mod pace;
pub(crate) mod plot;
mod pool;
mod probes;
mod recording;
mod records;
mod redirect;
mod run;
mod schedule;
mod target;
mod traced;
pub mod vegeta;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::sync::watch;

use crate::BoxError;
use crate::transport::Address;

#[cfg(feature = "goose")]
pub use self::goose::goose;
pub use attack::{Attack, Stop};
pub use connect::{Names, Trust, Version};
pub use probes::{FaultName, Part, Percentile, Plot, RateKept, SuccessRatio};
pub use recording::{
    Class, FaultPhases, Figures, Histogram, Hit, KEPT, Latency, NoParts, Outcome, PhasePart, PhaseSummary, Recording,
    Row, Rows, Span, Stats, Summary,
};
pub use records::{Record, Records};
pub use schedule::Schedule;
pub use target::Target;

use options::Options;

/// A load. Clones share their results: keep one for checks, plots and reports.
#[derive(Clone)]
#[must_use = "a load runs when it is a step: `.background(&load)`"]
pub struct Load {
    targets: Vec<Target>,
    rate: f64,
    duration: Duration,
    schedule: Option<Schedule>,
    concurrency: Option<usize>,
    name: Option<String>,
    wrong: Option<String>,
    options: Options,
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Default)]
enum State {
    #[default]
    NotStarted,
    Running,
    Ended(Arc<Recording>),
}

/// GET requests to an address, one a second for one second unless it is said.
pub fn get(address: impl Into<Address>) -> Load {
    targets([Target::get(address)])
}

/// POST requests to an address; chain [`body`](Load::body).
pub fn post(address: impl Into<Address>) -> Load {
    targets([Target::post(address)])
}

/// Any requests to an address.
pub fn request(method: Method, address: impl Into<Address>) -> Load {
    targets([Target::new(method, address)])
}

/// Several kinds of requests in turn, by their weights.
pub fn targets(targets: impl IntoIterator<Item = Target>) -> Load {
    Load {
        targets: targets.into_iter().collect(),
        rate: 1.0,
        duration: Duration::from_secs(1),
        schedule: None,
        concurrency: None,
        name: None,
        wrong: None,
        options: Options::default(),
        state: Arc::new(watch::Sender::new(State::NotStarted)),
    }
}

impl Load {
    /// How many requests a second.
    pub fn per_second(mut self, rate: impl Into<f64>) -> Self {
        self.rate = rate.into();
        if !self.rate.is_finite() || self.rate <= 0.0 {
            self.wrong = Some(format!("its rate is {} a second; give a positive number", self.rate));
        }
        self
    }

    /// For how long requests are sent; answers may come later. [`Duration::MAX`] is without an end.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// Ramps, steps, a swing: in place of [`per_second`](Self::per_second) and [`lasting`](Self::lasting).
    pub fn following(mut self, schedule: Schedule) -> Self {
        if let Err(wrong) = schedule.checked() {
            self.wrong = Some(wrong);
        }
        self.schedule = Some(schedule);
        self
    }

    /// A closed model in place of a rate: so many requests at once, each sent when the one before has ended.
    ///
    /// For benchmarks. A system that becomes slow is then asked less, so it hides what users would feel.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        if concurrency == 0 {
            self.wrong = Some("its concurrency is 0; give one at least".into());
        }
        self.concurrency = Some(concurrency);
        self
    }

    /// The name in journals and plots; the request by default.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds a header to each request.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.targets = self.targets.into_iter().map(|target| target.header(name, value)).collect();
        self
    }

    /// Sends a body with each request.
    pub fn body(mut self, body: impl Into<hyper::body::Bytes>) -> Self {
        let body = body.into();
        self.targets = self.targets.into_iter().map(|target| target.body(body.clone())).collect();
        self
    }

    /// What was recorded, once the load has ended.
    #[must_use]
    pub fn recording(&self) -> Option<Arc<Recording>> {
        match &*self.state.borrow() {
            State::Ended(recording) => Some(recording.clone()),
            State::NotStarted | State::Running => None,
        }
    }

    /// When its requests are intended. Of a closed model only the length counts.
    fn schedule(&self) -> Schedule {
        self.schedule.clone().unwrap_or_else(|| Schedule::constant(self.rate, self.duration))
    }

    fn described(&self) -> String {
        let request = match self.targets.as_slice() {
            [only] => only.described(),
            several => format!("{} targets", several.len()),
        };
        let name = self.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        match self.concurrency {
            None => format!("{name}{request}, {}", self.schedule().described()),
            Some(concurrency) => format!("{name}{request}, {concurrency} at once for {:?}", self.schedule().lasting()),
        }
    }

    fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| match self.targets.as_slice() {
            [only] => only.described(),
            several => format!("{} targets", several.len()),
        })
    }

    pub(crate) fn checked(&self) -> Result<(), BoxError> {
        for target in &self.targets {
            target.checked()?;
        }
        let weights: Vec<_> = self.targets.iter().map(|target| target.weight).collect();
        let cycle = target::Cycle::of(&weights).err();
        match self.wrong.as_ref().or(cycle.as_ref()).or(self.options.wrong.as_ref()) {
            Some(wrong) => Err(format!("{}: {wrong}", self.described()).into()),
            None => Ok(()),
        }
    }
}
