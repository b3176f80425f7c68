//! The one clock, and the one source of chance.
//!
//! Everything that needs a time, a wait or a random choice takes it from here, so that an experiment
//! on the embedded lab runs in virtual time and comes out the same each time. Called by all other modules.
//!
//! Promises: wall stamps derive from tokio's clock of the runtime that the [`Clock`] was made in, they
//! never run backwards, and in virtual time they start at the same instant in every run.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
pub use jiff::Timestamp;
use tokio::time::Instant;

/// 2026-01-01T00:00:00Z: where virtual time begins, so that journals of one seed are equal to the byte.
const VIRTUAL_ORIGIN_SECOND: i64 = 1_767_225_600;

/// `Duration::from_secs`, short for use in experiments.
#[must_use]
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `Duration::from_millis`, short for use in experiments.
#[must_use]
pub const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// So much later, or the last instant that there is: what a client writes may be far beyond it.
#[must_use]
#[cfg(feature = "kubernetes")]
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// A time-out that is longer than this never comes: the machine's clock holds no later instant.
#[cfg(feature = "lab")]
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// The instant so much later than now, on tokio's clock, whatever a client has asked for.
#[must_use]
#[cfg(feature = "lab")]
pub(crate) fn from_now(by: Duration) -> Instant {
    Instant::now() + by.min(NEVER)
}

/// Whether time is tokio's paused clock or the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Time {
    /// A paused clock: waiting costs nothing, and the same seed gives the same journal.
    Virtual,
    /// The machine's clock.
    Real,
}

/// Tells the time, and waits. Cheap to clone; all clones agree.
#[derive(Clone, Debug)]
pub struct Clock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    time: Time,
    started: Instant,
    wall: Timestamp,
    /// How many nanoseconds the wall was set forward since.
    set: AtomicI64,
    /// Nanoseconds since `started` at the last reading: outside its runtime tokio's clock jumps back to the machine's.
    latest: AtomicU64,
}

impl Clock {
    /// A clock for a paused runtime. It starts at 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn virtual_time() -> Self {
        let wall = Timestamp::from_second(VIRTUAL_ORIGIN_SECOND).expect("a valid instant");
        Self::starting(Time::Virtual, wall)
    }

    /// A clock that follows the machine's.
    #[must_use]
    pub fn real() -> Self {
        Self::starting(Time::Real, Timestamp::now())
    }

    fn starting(time: Time, wall: Timestamp) -> Self {
        let shared = Shared { time, started: Instant::now(), wall, set: AtomicI64::new(0), latest: AtomicU64::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// The clock of another machine, which shows the same so far. For tests of machines that do not agree.
    #[doc(hidden)]
    #[must_use]
    pub fn of_another_machine(&self) -> Self {
        let (shared, load) = (&self.shared, Ordering::Relaxed);
        let (set, latest) = (shared.set.load(load).into(), shared.latest.load(load).into());
        Self { shared: Arc::new(Shared { time: shared.time, started: shared.started, wall: shared.wall, set, latest }) }
    }

    /// Sets the wall forward, or back, as a person or NTP does it to a machine. Nothing but tests does it to this one.
    #[doc(hidden)]
    pub fn set_wall(&self, by: SignedDuration) {
        let by = i64::try_from(by.as_nanos()).unwrap_or(0);
        self.shared.set.fetch_add(by, Ordering::Relaxed);
    }

    /// What the wall showed when the clock was started, had it been set as it is.
    fn origin(&self) -> Timestamp {
        self.shared.wall + SignedDuration::from_nanos(self.shared.set.load(Ordering::Relaxed))
    }

    /// Which kind of time this is.
    #[must_use]
    pub fn time(&self) -> Time {
        self.shared.time
    }

    /// How long the clock has been running.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let now = Instant::now().saturating_duration_since(self.shared.started);
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let before = self.shared.latest.fetch_max(now, Ordering::Relaxed);
        Duration::from_nanos(before.max(now))
    }

    /// The wall time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.origin() + self.elapsed()
    }

    /// The instant on tokio's clock at which the wall shows `at`; for `tokio::time::sleep_until`.
    #[must_use]
    pub fn instant(&self, at: Timestamp) -> Instant {
        let since = at.duration_since(self.origin());
        match Duration::try_from(since) {
            Ok(ahead) => self.shared.started + ahead,
            Err(_) => self.shared.started,
        }
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Waits until the wall shows `at`; returns at once if that has passed.
    pub async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep_until(self.instant(at)).await;
    }
}

/// Measures how long something took on the machine's own clock, whatever the experiment's clock shows.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts measuring.
    #[must_use]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What all random choices of a run derive from: uids, names, ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Seed(pub u64);

impl Seed {
    /// `STEADFAST_SEED` if it is set, else 0: on the embedded lab every run is the same run.
    ///
    /// # Errors
    /// `STEADFAST_SEED` is not a whole number from 0 to 2⁶⁴−1.
    pub fn from_env() -> Result<Self, BadSeed> {
        Ok(Self::read()?.unwrap_or(Self(0)))
    }

    /// `STEADFAST_SEED` if it is set, else a number from the system: on a shared cluster names must differ.
    ///
    /// # Errors
    /// `STEADFAST_SEED` is not a whole number from 0 to 2⁶⁴−1.
    pub fn from_env_or_entropy() -> Result<Self, BadSeed> {
        Ok(Self::read()?.unwrap_or_else(|| Self(fastrand::u64(..))))
    }

    /// A number from the system, for what must differ from machine to machine and from process to process.
    #[cfg(feature = "cli")]
    pub(crate) fn fresh() -> Self {
        Self(fastrand::u64(..))
    }

    fn read() -> Result<Option<Self>, BadSeed> {
        let Some(text) = crate::variables::text("STEADFAST_SEED") else { return Ok(None) };
        text.trim().parse().map(|seed| Some(Self(seed))).map_err(|_| BadSeed(text))
    }

    /// A generator of its own for one purpose, so that one part's choices do not shift another's.
    #[must_use]
    pub fn rng(self, purpose: &str) -> fastrand::Rng {
        let mixed = purpose
            .bytes()
            .fold(self.0 ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        fastrand::Rng::with_seed(mixed)
    }
}

/// `STEADFAST_SEED` cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("STEADFAST_SEED={0:?} is not a whole number; give one from 0 to 18446744073709551615, or unset it")]
pub struct BadSeed(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn virtual_time_starts_at_one_instant_and_waits_for_nothing() {
        let wall = Stopwatch::start();
        let clock = Clock::virtual_time();
        assert_eq!(clock.now().to_string(), "2026-01-01T00:00:00Z");
        clock.sleep(secs(3600)).await;
        assert_eq!(clock.now().to_string(), "2026-01-01T01:00:00Z");
        assert!(wall.elapsed() < secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_that_is_set_moves_stamps_and_instants_and_no_waits() {
        let clock = Clock::virtual_time();
        let other = clock.of_another_machine();
        other.set_wall(SignedDuration::from_mins(-10));
        assert_eq!(other.now().to_string(), "2025-12-31T23:50:00Z");
        other.sleep_until(other.now() + secs(5)).await;
        assert_eq!((clock.elapsed(), other.elapsed()), (secs(5), secs(5)));
        assert_eq!(clock.now().to_string(), "2026-01-01T00:00:05Z");
    }

    #[test]
    fn stamps_do_not_run_backwards_outside_the_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let clock = runtime.block_on(async {
            let clock = Clock::virtual_time();
            clock.sleep(secs(50)).await;
            assert_eq!(clock.elapsed(), secs(50));
            clock
        });
        drop(runtime);
        assert!(clock.elapsed() >= secs(50));
    }

    #[test]
    fn one_seed_gives_equal_choices_and_purposes_are_apart() {
        let draw = |seed: u64, purpose: &str| Seed(seed).rng(purpose).u64(..);
        assert_eq!(draw(7, "uid"), draw(7, "uid"));
        assert_ne!(draw(7, "uid"), draw(8, "uid"));
        assert_ne!(draw(7, "uid"), draw(7, "name"));
    }
}
