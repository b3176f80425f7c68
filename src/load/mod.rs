//! Load: requests at a constant rate, whether or not the answers come.
//!
//! An open model, as users are: `load::get(&front).per_second(10).lasting(secs(10))` intends 100 requests at their
//! exact instants. What could not be sent in time is sent late, and counted as late; a load that did not keep its
//! plan says so and is no evidence. Latency is measured from the intended instant. This module prints nothing,
//! handles no signals and has no global state.

mod plot;
mod recording;
pub mod vegeta;

use std::path::{Component, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::BoxError;
use crate::experiment::{Action, Background, Observed, Phase, Probe, Scene};
use crate::journal::{Reason, write_atomically};
use crate::transport::{Address, Failure, NoAnswer, Request, exchange};

pub use recording::{Hit, Latency, Outcome, Recording, Summary};

/// How long a request waits for its answer, unless it is said.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many requests may be under way; more wait, and their latency counts from the intended instant.
const MOST_IN_FLIGHT: usize = 1000;

/// A load. Clones share their results: keep one for checks, plots and reports.
#[derive(Clone)]
#[must_use = "a load runs when it is a step: `.background(&load)`"]
pub struct Load {
    request: Request,
    rate: f64,
    duration: Duration,
    name: Option<String>,
    wrong: Option<String>,
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
    request(Method::GET, address)
}

/// POST requests to an address; chain [`body`](Load::body).
pub fn post(address: impl Into<Address>) -> Load {
    request(Method::POST, address)
}

fn request(method: Method, address: impl Into<Address>) -> Load {
    let mut request = Request::new(method, address.into());
    request.timeout = TIMEOUT;
    let state = Arc::new(watch::Sender::new(State::NotStarted));
    Load { request, rate: 1.0, duration: Duration::from_secs(1), name: None, wrong: None, state }
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

    /// For how long requests are sent; answers may come later.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// The name in journals and plots; the request by default.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds a header to each request.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => drop(self.request.headers.append(name, value)),
            _ => self.wrong = Some(format!("{name:?} or its value is no header")),
        }
        self
    }

    /// Sends a body with each request.
    pub fn body(mut self, body: impl Into<hyper::body::Bytes>) -> Self {
        self.request.body = body.into();
        self
    }

    /// How long a request waits for its answer, 30 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeout = timeout;
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

    /// A probe of the median latency, from the intended instant.
    pub fn p50(&self) -> Percentile {
        Percentile { load: self.clone(), percent: 50.0 }
    }

    /// A probe of the latency that 95 % of requests stay within, from the intended instant.
    pub fn p95(&self) -> Percentile {
        Percentile { load: self.clone(), percent: 95.0 }
    }

    /// A probe of the latency that 99 % of requests stay within, from the intended instant.
    pub fn p99(&self) -> Percentile {
        Percentile { load: self.clone(), percent: 99.0 }
    }

    /// A probe of the share of requests that were answered with a status below 400, from 0 to 1.
    pub fn success_ratio(&self) -> SuccessRatio {
        SuccessRatio { load: self.clone() }
    }

    /// An action: draws the load as one HTML file, relative to the outputs folder. It waits for the load's end.
    pub fn plot_to(&self, path: impl Into<PathBuf>) -> Plot {
        Plot { load: self.clone(), path: path.into() }
    }

    fn described(&self) -> String {
        let request = format!("{} {}", self.request.method, self.request.address);
        let name = self.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        format!("{name}{request}, {}/s for {:?}", self.rate, self.duration)
    }

    fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("{} {}", self.request.method, self.request.address))
    }

    /// The number of requests: by count, so that none is cut off by the clock.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate and a duration are positive")]
    fn count(&self) -> u64 {
        (self.rate * self.duration.as_secs_f64() + 1e-9).floor() as u64
    }

    async fn attack(self, scene: Scene) -> Result<Value, BoxError> {
        let guard = StartedGuard(self.state.clone());
        self.state.send_replace(State::Running);
        let started = scene.clock.now();
        let origin = tokio::time::Instant::now();
        let places = Arc::new(Semaphore::new(MOST_IN_FLIGHT));
        let mut hits = JoinSet::new();
        let mut recorded = Vec::new();
        for number in 0..self.count() {
            #[expect(clippy::cast_precision_loss, reason = "a load has fewer than 2^52 requests")]
            let intended = Duration::from_secs_f64(number as f64 / self.rate);
            tokio::time::sleep_until(origin + intended).await;
            let (request, transport, places) = (self.request.clone(), scene.transport.clone(), places.clone());
            hits.spawn(async move {
                // The semaphore is never closed.
                let _place = places.acquire().await;
                let sent = origin.elapsed();
                let answer = async {
                    let connection = transport.connect(&request.address).await?;
                    exchange(connection, &request).await
                };
                let answer = match tokio::time::timeout(request.timeout, answer).await {
                    Ok(answer) => answer,
                    Err(_) => Err(NoAnswer::TimedOut { after: request.timeout }.into()),
                };
                (number, intended, sent, origin.elapsed(), answer)
            });
            while let Some(done) = hits.try_join_next() {
                recorded.push(hit(done?)?);
            }
        }
        while let Some(done) = hits.join_next().await {
            recorded.push(hit(done?)?);
        }
        recorded.sort_by_key(|hit| hit.number);
        let recording = Arc::new(Recording { name: self.title(), started, rate: self.rate, hits: recorded });
        let summary = serde_json::to_value(recording.summary())?;
        self.state.send_replace(State::Ended(recording));
        drop(guard);
        Ok(summary)
    }

    /// The recording of an ended load, if the phase is one in which it means something.
    fn judged<T>(&self, scene: &Scene, read: impl FnOnce(&Recording) -> T) -> Observed<T> {
        if !matches!(scene.phase, Phase::Fault { .. } | Phase::Method { .. }) {
            return Observed::NotApplicable;
        }
        let Some(recording) = self.recording() else { return Observed::NotApplicable };
        match recording.summary().invalid {
            Some(why) => Observed::Inconclusive(Reason::InvalidLoad { what: self.title(), why }),
            None => Observed::Value(read(&recording)),
        }
    }
}

/// A load that is dropped half-way is one that did not start, for whoever waits for its end.
struct StartedGuard(Arc<watch::Sender<State>>);

impl Drop for StartedGuard {
    fn drop(&mut self) {
        self.0.send_if_modified(|state| {
            let running = matches!(state, State::Running);
            if running {
                *state = State::NotStarted;
            }
            running
        });
    }
}

type Done = (u64, Duration, Duration, Duration, Result<crate::transport::Response, Failure>);

fn hit((number, intended, sent, done, answer): Done) -> Result<Hit, BoxError> {
    let (outcome, bytes) = match answer {
        Ok(response) => (Outcome::Status(response.status), response.body.len() as u64),
        Err(Failure::NoAnswer(why)) => {
            let kind = match why {
                NoAnswer::Refused => "refused",
                NoAnswer::Reset => "reset",
                NoAnswer::TimedOut { .. } => "time-out",
                NoAnswer::NameNotResolved { .. } => "name not resolved",
                NoAnswer::Broken(_) => "broken",
            };
            (Outcome::NoAnswer(kind.to_owned()), 0)
        }
        // An address that cannot be reached at all is no result but a mistake.
        Err(Failure::Error(error)) => return Err(error.into()),
    };
    Ok(Hit { number, intended, sent, done, outcome, bytes })
}

impl Background for Load {
    fn describe(&self) -> String {
        self.described()
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.request.address.checked()?;
        match &self.wrong {
            Some(wrong) => Err(format!("{}: {wrong}", self.described()).into()),
            None => Ok(()),
        }
    }

    fn run(&self, scene: Scene) -> BoxFuture<'static, Result<Value, BoxError>> {
        // What an earlier run recorded is not this one's.
        self.state.send_replace(State::Running);
        Box::pin(self.clone().attack(scene))
    }
}

/// A probe of a latency percentile.
#[derive(Clone)]
#[must_use = "a probe does nothing until it is observed or expected"]
pub struct Percentile {
    load: Load,
    percent: f64,
}

impl Probe for Percentile {
    type Output = Latency;

    fn describe(&self) -> String {
        format!("p{} of {}", self.percent, self.load.title())
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<Latency>, BoxError>> {
        Box::pin(async move { Ok(self.load.judged(scene, |recording| recording.percentile(self.percent))) })
    }
}

/// A probe of the share of good answers.
#[derive(Clone)]
#[must_use = "a probe does nothing until it is observed or expected"]
pub struct SuccessRatio {
    load: Load,
}

impl Probe for SuccessRatio {
    type Output = f64;

    fn describe(&self) -> String {
        format!("success ratio of {}", self.load.title())
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<f64>, BoxError>> {
        Box::pin(async move { Ok(self.load.judged(scene, Recording::success_ratio)) })
    }
}

/// An action that draws a load.
#[derive(Clone)]
#[must_use = "a plot is drawn when the action is a step: `.act(..)`"]
pub struct Plot {
    load: Load,
    path: PathBuf,
}

impl Action for Plot {
    fn describe(&self) -> String {
        format!("plot {} to {}", self.load.title(), self.path.display())
    }

    fn validate(&self) -> Result<(), BoxError> {
        if self.path.components().any(|part| part == Component::ParentDir) {
            return Err(
                format!("the plot's path {} leaves the outputs folder; leave out `..`", self.path.display()).into()
            );
        }
        Ok(())
    }

    fn act<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Value, BoxError>> {
        Box::pin(async move {
            let mut state = self.load.state.subscribe();
            let ended = state.wait_for(|state| !matches!(state, State::Running)).await?.clone();
            let State::Ended(recording) = ended else {
                return Err(
                    format!("{} has not been run; make it a step with `.background(..)`", self.load.title()).into()
                );
            };
            let page = plot::page(&recording, &scene.faults);
            write_atomically(&scene.outputs.join(&self.path), page.as_bytes())?;
            Ok(json!({"file": self.path}))
        })
    }
}
