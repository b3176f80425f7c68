//! How a load is run: planned, and then driven on the caller's runtime or on threads of its own.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::attack::{Attack, LEAD, Share};
use super::connect::{Prepared, Sockets, Tls, Version, Way};
use super::drive::{Generator, Model, Order, Plan};
use super::pace::Pace;
use super::pool::Bounds;
use super::recording::{Recorder, Recording, Tallies};
use super::records::Outbox;
use super::target::Cycle;
use super::traced::Traced;
use super::{Load, Record, State};
use crate::BoxError;
use crate::clock::{Clock, Time, Timestamp};
use crate::experiment::{Background, Faults, Scene};
use crate::journal::Trace;
use crate::transport::{Address, Failure};

/// The slowest requests in a load's output.
const SLOWEST: &str = "slowest";

/// The most threads by default: one sends some 40,000 requests a second.
const THREADS: usize = 4;

impl Load {
    /// Starts it in real time on threads of its own, outside of any experiment. Its addresses must be URLs.
    ///
    /// # Errors
    /// It is no load, an address is no URL, or its TLS files cannot be read.
    pub fn start(&self) -> Result<Attack, BoxError> {
        self.checked()?;
        let mut uris = Vec::new();
        for target in &self.targets {
            match target.address.checked()? {
                Address::Url(uri) => uris.push(uri.clone()),
                other => {
                    return Err(format!("{other} is known to its cluster alone; run the load in an experiment").into());
                }
            }
        }
        self.start_at(uris, &Clock::real(), None, None, &Tallies::default())
    }

    fn start_at(
        &self,
        uris: Vec<Uri>,
        clock: &Clock,
        faults: Option<Faults>,
        trace: Option<&Trace>,
        tallies: &Tallies,
    ) -> Result<Attack, BoxError> {
        let tls = if uris.iter().any(|uri| uri.scheme_str() == Some("https")) {
            let options = &self.options;
            Some(Tls::new(&options.trust, options.identity.as_ref(), options.version, options.resume)?)
        } else {
            None
        };
        let options = &self.options;
        let sockets = Sockets::new(options.version, options.names, options.unix.clone(), options.local, tls);
        let threads = options.threads.unwrap_or_else(|| {
            let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            processors.saturating_sub(1).clamp(1, THREADS)
        });
        // Each thread has one line at least, and none more than all may have.
        let lines = self.concurrency.unwrap_or(options.in_flight.min(options.connections));
        let threads = threads.min(lines).max(1) as u64;
        let (started, origin) = (clock.now() + LEAD, Instant::now() + LEAD);
        let plan = Arc::new(self.plan(Way::Sockets(sockets), Some(uris), threads, started, trace)?);
        let (k, n) = self.options.share;
        let records = self.taken();
        let shares = (0..threads).map(|thread| {
            // Share k + thread·n of n·threads: together exactly share k of n.
            let place = (k + thread * n, n * threads);
            Share {
                recorder: self.recorder(started, place, faults.clone()).counting(tallies.another()),
                outbox: records.clone().map(Outbox::new),
                place,
            }
        });
        Attack::start(&plan, origin, shares.collect())
    }

    /// Where each request goes in full, for the first run.
    fn taken(&self) -> Option<SyncSender<Vec<Record>>> {
        self.options.records.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn recorder(&self, started: Timestamp, (k, n): (u64, u64), faults: Option<Faults>) -> Recorder {
        let schedule = self.schedule();
        let count = schedule.count();
        let (rate, planned) = match self.concurrency {
            Some(_) => (0.0, None),
            None if schedule.lasting() == Duration::MAX => (schedule.mean_rate(), None),
            None => (schedule.mean_rate(), Some(count.saturating_sub(k).div_ceil(n))),
        };
        Recorder::new(self.title(), started, rate, planned, schedule.lasting(), faults)
    }

    /// The plan for so many generators in this process.
    fn plan(
        &self,
        way: Way,
        uris: Option<Vec<Uri>>,
        generators: u64,
        started: Timestamp,
        trace: Option<&Trace>,
    ) -> Result<Plan, BoxError> {
        let trace = trace.map(|trace| Traced::new(trace, &self.title(), started));
        let (options, schedule) = (&self.options, self.schedule());
        let each = |all: usize| all.div_ceil(usize::try_from(generators).unwrap_or(1)).max(1);
        let mut origins: Vec<String> = Vec::new();
        let mut targets = Vec::new();
        for (number, target) in self.targets.iter().enumerate() {
            let uri = uris.as_ref().and_then(|uris| uris.get(number).cloned());
            // Connections of somebody else's know their path, so that each address has its own.
            let origin = match &uri {
                Some(uri) => {
                    format!("{}://{}", uri.scheme_str().unwrap_or("http"), uri.authority().map_or("", |a| a.as_str()))
                }
                // As it is: two that are shown alike may not be.
                None => format!("{:?}", target.address),
            };
            let pool = origins.iter().position(|known| *known == origin).unwrap_or(origins.len());
            if pool == origins.len() {
                origins.push(origin);
            }
            targets.push(Prepared::new(target, uri, pool, trace.as_ref()));
        }
        let weights: Vec<_> = self.targets.iter().map(|target| target.weight).collect();
        let sockets = matches!(way, Way::Sockets(_));
        let http2 = sockets && options.version != Version::Http1;
        let keep_alive = options.keep_alive || (sockets && options.version == Version::Http2);
        let lines = if http2 { options.in_flight } else { options.in_flight.min(options.connections) };
        let model = match self.concurrency {
            None => Model::Open(schedule),
            Some(concurrency) => Model::Closed { concurrency, lasting: schedule.lasting() },
        };
        Ok(Plan {
            targets,
            pools: origins.len(),
            cycle: Cycle::of(&weights)?,
            model,
            way,
            keep_alive,
            timeout: options.timeout,
            redirects: options.redirects,
            bounds: Bounds { lines, waiting: each(options.waiting), paced: keep_alive },
            generators: usize::try_from(generators).unwrap_or(1),
            share: options.share,
            idle: options.idle,
            shared: if http2 { each(options.connections.min(4)).min(4) } else { 0 },
            keep: options.keep,
            number_header: options.number_header.clone(),
            trace,
            started,
        })
    }

    async fn attack(self, scene: Scene) -> Result<Value, BoxError> {
        let guard = StartedGuard(self.state.clone());
        self.state.send_replace(State::Running);
        let tallies = Tallies::default();
        let lasting = self.schedule().lasting();
        let running = scene.loads.begin(self.title(), scene.clock.now(), lasting, tallies.counted());
        let recording = match self.sockets(&scene).await? {
            Some(uris) => {
                let (faults, trace) = (Some(scene.faults.clone()), scene.trace.as_ref());
                self.start_at(uris, &scene.clock, faults, trace, &tallies)?.finish().await?
            }
            None => self.in_place(&scene, &tallies).await?,
        };
        drop(running);
        let mut summary = serde_json::to_value(recording.summary())?;
        if let Some(trace) = &scene.trace {
            let traced = Traced::new(trace, &self.title(), recording.started);
            summary[SLOWEST] = traced.slowest(&recording);
        }
        scene.measured.load(recording.timeline(self.described()));
        self.state.send_replace(State::Ended(Arc::new(recording)));
        drop(guard);
        Ok(summary)
    }

    /// The URLs for real sockets, where there are any and time is real.
    async fn sockets(&self, scene: &Scene) -> Result<Option<Vec<Uri>>, BoxError> {
        if scene.clock.time() == Time::Virtual {
            return Ok(None);
        }
        let mut uris = Vec::new();
        for target in &self.targets {
            match scene.transport.url(&target.address).await {
                Ok(Some(uri)) => uris.push(uri),
                Ok(None) => return Ok(None),
                Err(Failure::Error(error)) => return Err(error.into()),
                Err(Failure::NoAnswer(why)) => return Err(why.into()),
            }
        }
        Ok(Some(uris))
    }

    /// On the caller's runtime, over the scene's own streams.
    async fn in_place(&self, scene: &Scene, tallies: &Tallies) -> Result<Recording, BoxError> {
        let (started, origin) = (scene.clock.now(), Instant::now());
        let plan =
            Arc::new(self.plan(Way::Transport(scene.transport.clone()), None, 1, started, scene.trace.as_ref())?);
        let recorder =
            self.recorder(started, self.options.share, Some(scene.faults.clone())).counting(tallies.another());
        let generator =
            Generator::new(plan, Pace::wheel(origin), recorder, self.taken().map(Outbox::new), self.options.share);
        let orders = watch::Sender::new(Order::Run);
        generator.run(orders.subscribe()).await?;
        generator.finish()
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

impl Background for Load {
    fn describe(&self) -> String {
        self.described()
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.checked()?;
        let schedule = self.schedule();
        if schedule.lasting() == Duration::MAX {
            return Err(format!(
                "{}: it has no end, and a method waits for its loads; say `.lasting(..)`",
                self.described()
            )
            .into());
        }
        if self.concurrency.is_none() && schedule.count() == 0 {
            return Err(format!("{}: it plans no request; give it more time or a higher rate", self.described()).into());
        }
        Ok(())
    }

    fn run(&self, scene: Scene) -> BoxFuture<'static, Result<Value, BoxError>> {
        // What an earlier run recorded is not this one's.
        self.state.send_replace(State::Running);
        Box::pin(self.clone().attack(scene))
    }
}
