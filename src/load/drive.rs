//! One generator: sends its share of a plan on one thread, or on the caller's runtime.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderName;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

use super::connect::{Answer, Connection, Cut, Http2, Own, Prepared, Refusal, Wanted, Way};
use super::pace::Pace;
use super::pool::{Bounds, Due, OPENS_WITHIN, Pool, Pushed};
use super::recording::{Hit, Outcome, Recorder, Recording};
use super::records::{Outbox, Record};
use super::redirect;
use super::schedule::Schedule;
use super::target::Cycle;
use super::traced::Traced;
use crate::BoxError;
use crate::clock::Timestamp;

/// What a running load is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Run,
    /// Send nothing new, and let what is under way end.
    Drain,
    /// End now.
    Abort,
}

/// How the next request is decided on.
#[derive(Clone, Debug)]
pub(super) enum Model {
    /// By the clock.
    Open(Schedule),
    /// By the last answer: so many at once in this process, for so long.
    Closed { concurrency: usize, lasting: Duration },
}

/// Everything that generators of one load share.
pub(super) struct Plan {
    pub(super) targets: Vec<Prepared>,
    pub(super) pools: usize,
    pub(super) cycle: Cycle,
    pub(super) model: Model,
    pub(super) way: Way,
    pub(super) keep_alive: bool,
    pub(super) timeout: Duration,
    /// How many redirects are followed; `None` takes them for the answer.
    pub(super) redirects: Option<u32>,
    /// Of all generators of this process together.
    pub(super) bounds: Bounds,
    pub(super) generators: usize,
    /// This process's place among all processes, and their number.
    pub(super) share: (u64, u64),
    /// How many idle connections are kept.
    pub(super) idle: usize,
    /// How many connections HTTP/2 shares.
    pub(super) shared: usize,
    pub(super) keep: u64,
    pub(super) number_header: Option<HeaderName>,
    pub(super) trace: Option<Traced>,
    pub(super) started: Timestamp,
}

impl Plan {
    /// What one generator of this process may have of so many, so that together they have exactly those.
    fn part(&self, all: usize, (place, _): (u64, u64)) -> usize {
        let (first, apart) = self.share;
        let number = usize::try_from((place - first) / apart).unwrap_or(0);
        part(all, number, self.generators)
    }
}

/// The part of so many that number so-and-so of several has.
fn part(all: usize, number: usize, several: usize) -> usize {
    all / several + usize::from(number < all % several)
}

/// One generator.
pub(super) struct Generator {
    plan: Arc<Plan>,
    pace: Pace,
    recorder: Mutex<Recorder>,
    outbox: Option<Mutex<Outbox>>,
    pools: Vec<Pool>,
    draining: AtomicBool,
    mistake: Mutex<Option<BoxError>>,
    sent: AtomicU64,
    /// Its place among all, and their number.
    share: (u64, u64),
}

impl Generator {
    pub(super) fn new(
        plan: Arc<Plan>,
        pace: Pace,
        recorder: Recorder,
        outbox: Option<Outbox>,
        share: (u64, u64),
    ) -> Arc<Self> {
        let bounds = Bounds { lines: plan.part(plan.bounds.lines, share), ..plan.bounds };
        let pools = (0..plan.pools).map(|_| Pool::new(bounds)).collect();
        Arc::new(Self {
            plan,
            pace,
            recorder: Mutex::new(recorder),
            outbox: outbox.map(Mutex::new),
            pools,
            draining: AtomicBool::new(false),
            mistake: Mutex::default(),
            sent: AtomicU64::new(0),
            share,
        })
    }

    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends all of it and waits for the answers. Dropped, it ends at once.
    pub(super) async fn run(self: &Arc<Self>, orders: watch::Receiver<Order>) -> Result<(), BoxError> {
        let mut tasks = JoinSet::new();
        match &self.plan.model {
            Model::Open(schedule) => self.send(schedule, &mut tasks, orders).await,
            Model::Closed { concurrency, lasting } => {
                self.pace.until(Duration::ZERO).await;
                let watch = self.clone();
                // A task of its own, since the lines only look at the flag.
                let mut draining = JoinSet::new();
                draining.spawn(async move { watch.drained(orders).await });
                for place in 0..self.plan.part(*concurrency, self.share) {
                    let (generator, lasting) = (self.clone(), *lasting);
                    tasks.spawn(async move { generator.again(place, lasting).await });
                }
                while let Some(ended) = tasks.join_next().await {
                    ended?;
                }
                // It holds the generator until it is gone.
                draining.shutdown().await;
            }
        }
        self.pools.iter().for_each(Pool::close);
        while let Some(ended) = tasks.join_next().await {
            ended?;
        }
        match self.mistake.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(mistake) => Err(mistake),
            None => Ok(()),
        }
    }

    async fn drained(&self, mut orders: watch::Receiver<Order>) {
        if orders.wait_for(|order| *order != Order::Run).await.is_ok() {
            self.drain();
        }
    }

    fn drain(&self) {
        if !self.draining.swap(true, Ordering::Relaxed) {
            self.recorder().stopped();
        }
    }

    /// The open model: each request at its instant, whatever became of the others.
    async fn send(self: &Arc<Self>, schedule: &Schedule, tasks: &mut JoinSet<()>, mut orders: watch::Receiver<Order>) {
        let (k, n) = self.share;
        for (number, intended) in schedule.share(k, n) {
            if !self.pace.is_due(intended) {
                tokio::select! {
                    biased;
                    () = self.pace.until(intended) => {}
                    _ = orders.changed() => self.drain(),
                }
            } else if orders.has_changed().unwrap_or(true) {
                self.drain();
            } else if self.sent.fetch_add(1, Ordering::Relaxed) % 64 == 63 {
                // Behind its plan it must not starve its own connections.
                tokio::task::yield_now().await;
            }
            if self.draining.load(Ordering::Relaxed) {
                return;
            }
            let now = self.pace.now();
            self.recorder().woke(now.saturating_sub(intended));
            let place = self.plan.targets[self.plan.cycle.at(number)].pool;
            let pool = &self.pools[place];
            match pool.push(Due { number, intended }, now) {
                Pushed::Full => self.recorder().not_sent(),
                Pushed::Taken { new_lines: 0 } => {}
                Pushed::Taken { new_lines } => {
                    for line in pool.newest(new_lines) {
                        let generator = self.clone();
                        tasks.spawn(async move { generator.serve(place, line).await });
                    }
                }
            }
        }
    }

    /// A line of the open model.
    async fn serve(&self, place: usize, number: usize) {
        let pool = &self.pools[place];
        let (mut line, mut deadline) = (Line::new(self, pool, number), Deadline(None));
        let mut refusal = None;
        if self.plan.keep_alive
            && let Some(target) = self.plan.targets.iter().find(|target| target.pool == place)
        {
            // The request that wanted it is not bound to it: a line that is free earlier takes it.
            let mut opening = pin!(line.open_ahead(target));
            let soon = tokio::time::timeout(OPENS_WITHIN, &mut opening).await;
            pool.not_lately();
            let ended = match soon {
                Ok(ended) => ended,
                Err(_) => opening.await,
            };
            refusal = ended.map(|refusal| (refusal, self.pace.now()));
        } else {
            pool.not_lately();
        }
        pool.opened();
        while let Some(due) = pool.next(number).await {
            // What was intended later was not refused; it tries for itself.
            let refused = refusal.take().filter(|(_, at)| due.intended <= *at).map(|(refusal, _)| refusal);
            line.send(due, refused, &mut deadline).await;
            if self.plan.idle < usize::MAX && pool.idle() >= self.plan.idle {
                line.connection = None;
            }
        }
    }

    /// A line of the closed model.
    async fn again(&self, place: usize, lasting: Duration) {
        let Some(pool) = self.pools.first() else { return };
        let (mut line, mut deadline) = (Line::new(self, pool, place), Deadline(None));
        let (k, n) = self.share;
        loop {
            let intended = self.pace.now();
            if intended >= lasting || self.draining.load(Ordering::Relaxed) {
                return;
            }
            let number = self.sent.fetch_add(1, Ordering::Relaxed) * n + k;
            let pool = &self.pools[self.plan.targets[self.plan.cycle.at(number)].pool];
            if !std::ptr::eq(pool, line.pool) {
                (line.pool, line.connection) = (pool, None);
            }
            line.send(Due { number, intended }, None, &mut deadline).await;
        }
    }

    /// What an exchange of this load has to bring.
    fn wanted(&self, target: &Prepared, number: u64, last: bool) -> Wanted<'_> {
        let plan = &*self.plan;
        let trace = plan.trace.as_ref().filter(|_| target.traced);
        let own = Own { number, name: plan.number_header.as_ref(), trace };
        Wanted { own, last, keep: plan.keep, headers: self.outbox.is_some() || plan.redirects.is_some() }
    }

    fn stop_for(&self, mistake: BoxError) {
        self.mistake.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(mistake);
        self.draining.store(true, Ordering::Relaxed);
    }

    /// What was recorded. Only after [`run`](Self::run) has ended.
    pub(super) fn finish(self: Arc<Self>) -> Result<Recording, BoxError> {
        let Some(generator) = Arc::into_inner(self) else { return Err("a request outlived its load".into()) };
        let mut recorder = generator.recorder.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(outbox) = generator.outbox {
            recorder.lost_records(outbox.into_inner().unwrap_or_else(PoisonError::into_inner).finish());
        }
        Ok(recorder.finish())
    }
}

/// A place for one request at a time, with its connection.
struct Line<'a> {
    generator: &'a Generator,
    pool: &'a Pool,
    number: usize,
    connection: Option<Connection>,
}

impl<'a> Line<'a> {
    fn new(generator: &'a Generator, pool: &'a Pool, number: usize) -> Self {
        Self { generator, pool, number, connection: None }
    }

    async fn open_ahead(&mut self, target: &Prepared) -> Option<Refusal> {
        let timeout = self.generator.plan.timeout;
        match tokio::time::timeout(timeout, self.connect(target)).await {
            Ok(Ok(connection)) => {
                self.connection = Some(connection);
                None
            }
            Ok(Err(refusal)) => Some(refusal),
            Err(_) => Some(Cut::timed_out(timeout).into()),
        }
    }

    /// Sends one request, follows where it leads, and records how it ended.
    async fn send(&mut self, due: Due, refusal: Option<Refusal>, deadline: &mut Deadline) {
        let (generator, plan) = (self.generator, &*self.generator.plan);
        let target = &plan.targets[plan.cycle.at(due.number)];
        let sent = generator.pace.now();
        let ended = match refusal {
            Some(refusal) => Err(refusal),
            None => {
                let at = generator.pace.instant(sent.saturating_add(plan.timeout));
                match deadline.within(at, self.follow(target, due.number)).await {
                    Some(ended) => ended,
                    None => Err(Cut::timed_out(plan.timeout).into()),
                }
            }
        };
        let done = generator.pace.now();
        if !self.connection.as_ref().is_some_and(Connection::is_open) {
            self.connection = None;
        }
        let (outcome, answer, error) = match ended {
            Ok(answer) => (Outcome::Status(answer.status), Some(answer), None),
            Err(Refusal::Cut(cut)) => {
                self.connection = None;
                (Outcome::NoAnswer(cut.class), None, Some(cut.text))
            }
            Err(Refusal::Mistake(mistake)) => return generator.stop_for(mistake),
        };
        let hit = Hit {
            number: due.number,
            intended: due.intended,
            sent,
            first_byte: answer.as_ref().and_then(|answer| answer.first_byte).unwrap_or(done),
            done,
            outcome,
            bytes: answer.as_ref().map_or(0, |answer| answer.bytes),
            bytes_out: target.body.len() as u64,
        };
        generator.recorder().record(&hit, error.as_deref());
        if let Some(outbox) = &generator.outbox {
            let (headers, body) = answer.map(|answer| (answer.headers, answer.body)).unwrap_or_default();
            let record = Record {
                hit,
                sent: plan.started + sent,
                span: plan.trace.as_ref().filter(|_| target.traced).map(|trace| trace.span(due.number)),
                method: target.method.clone(),
                url: target.url.clone(),
                error,
                headers,
                body,
            };
            outbox.lock().unwrap_or_else(PoisonError::into_inner).put(record, done);
        }
    }

    /// A connection: its own, or a share of one.
    async fn connect(&mut self, target: &Prepared) -> Result<Connection, Refusal> {
        let (generator, pool, plan) = (self.generator, self.pool, &*self.generator.plan);
        let open = async {
            let opened = plan.way.open(target).await?;
            let connection = Connection::over(opened, plan.keep_alive, &generator.pace).await?;
            generator.recorder().connected();
            Ok::<_, Refusal>(connection)
        };
        if plan.shared == 0 || !plan.keep_alive || pool.plain.load(Ordering::Relaxed) {
            return open.await;
        }
        let mut shared = pool.shared.lock().await;
        shared.retain(Http2::is_open);
        if shared.len() >= plan.shared {
            return Ok(Connection::Two(shared[self.number % shared.len()].clone()));
        }
        let connection = open.await?;
        match &connection {
            Connection::Two(two) => shared.push(two.clone()),
            Connection::One(_) | Connection::Wire(_) => pool.found_plain(),
        }
        Ok(connection)
    }

    /// One request on the line's connection; on a new one if there is none, or if the server had closed it.
    async fn ask(&mut self, target: &Prepared, number: u64) -> Result<Answer, Refusal> {
        let generator = self.generator;
        let wanted = generator.wanted(target, number, !generator.plan.keep_alive);
        let mut again = target.method.is_idempotent();
        loop {
            // One that is known to be closed can be replaced whatever the request is.
            if let Some(open) = &mut self.connection
                && open.has_ended().await
            {
                self.connection = None;
            }
            let reused = self.connection.is_some();
            let mut open = match self.connection.take() {
                Some(open) => open,
                None => self.connect(target).await?,
            };
            // What fails, or is given up half-way, leaves the line without a connection.
            match open.exchange(target, wanted, &generator.pace).await {
                Ok(answer) => {
                    self.connection = open.is_open().then_some(open);
                    return Ok(answer);
                }
                Err(cut) => {
                    if !(cut.stale && reused && again) {
                        return Err(cut.into());
                    }
                    again = false;
                    generator.recorder().retried();
                }
            }
        }
    }

    /// A request and its redirects.
    async fn follow(&mut self, target: &Prepared, number: u64) -> Result<Answer, Refusal> {
        let generator = self.generator;
        let mut answer = self.ask(target, number).await?;
        let Some(most) = generator.plan.redirects else { return Ok(answer) };
        let mut followed = 0;
        let mut here: Option<Prepared> = None;
        loop {
            let now = here.as_ref().unwrap_or(target);
            let Some(next) = redirect::next(now, &answer).map_err(Cut::redirected)? else { return Ok(answer) };
            if followed == most {
                return Err(Cut::redirected(format!("stopped after {most} redirects")).into());
            }
            followed += 1;
            answer = if redirect::same_origin(target, &next) {
                self.ask(&next, number).await?
            } else {
                // Elsewhere: a connection for this one request.
                let opened = generator.plan.way.open(&next).await?;
                let mut elsewhere = Connection::over(opened, false, &generator.pace).await?;
                generator.recorder().connected();
                elsewhere.exchange(&next, generator.wanted(&next, number, true), &generator.pace).await?
            };
            here = Some(next);
        }
    }
}

/// A time-out that costs nothing as long as it does not come: its timer is only set again when it goes off early.
struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    async fn within<T>(&mut self, at: Instant, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.is_elapsed() {
            sleep.as_mut().reset(at);
        }
        std::future::poll_fn(|cx| {
            if let std::task::Poll::Ready(done) = future.as_mut().poll(cx) {
                return std::task::Poll::Ready(Some(done));
            }
            while sleep.as_mut().poll(cx).is_ready() {
                if sleep.deadline() >= at {
                    return std::task::Poll::Ready(None);
                }
                sleep.as_mut().reset(at);
            }
            std::task::Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_exactly_the_whole() {
        for several in 1..9 {
            for all in several..70 {
                let parts: Vec<_> = (0..several).map(|number| part(all, number, several)).collect();
                assert_eq!(parts.iter().sum::<usize>(), all);
                assert!(parts.iter().all(|part| *part >= 1 && part.abs_diff(parts[0]) <= 1), "{parts:?}");
            }
        }
    }
}
