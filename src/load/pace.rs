//! The generator's clock: waits until the intended instant, never less.
//!
//! tokio's timer has a wheel of 1 ms, so requests would leave in clumps up to 1 ms late. A `timerfd` with an
//! absolute time in the same epoll wakes within tens of microseconds. In virtual time tokio's clock is exact.

use std::time::Duration;

use tokio::time::Instant;

/// A thread takes about so long to wake: the timer goes off earlier by that, and what is left is looked out for.
#[cfg(target_os = "linux")]
const EARLY: Duration = Duration::from_micros(20);

/// The shortest wait for which looking out is worth its processor: at most a fifth of it.
#[cfg(target_os = "linux")]
const WORTH: Duration = Duration::from_micros(100);

/// Tells the time since the load's start, and waits for an instant of it.
pub(super) struct Pace {
    origin: Instant,
    timer: Timer,
}

enum Timer {
    /// tokio's: exact in virtual time, else up to 1 ms late.
    Wheel,
    #[cfg(target_os = "linux")]
    Fd(fd::TimerFd),
    /// tokio's to the last millisecond, and then again and again a look at the clock.
    #[cfg(not(target_os = "linux"))]
    Yielding,
}

impl Pace {
    /// For the caller's runtime, whose time may be virtual.
    pub(super) fn wheel(origin: Instant) -> Self {
        Self { origin, timer: Timer::Wheel }
    }

    /// For a runtime of the generator's own, as exact as the machine allows.
    pub(super) fn exact(origin: Instant) -> std::io::Result<Self> {
        #[cfg(target_os = "linux")]
        let timer = Timer::Fd(fd::TimerFd::new(origin)?);
        #[cfg(not(target_os = "linux"))]
        let timer = Timer::Yielding;
        Ok(Self { origin, timer })
    }

    /// The time since the start; 0 before it.
    pub(super) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The instant on tokio's clock.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        // An instant that the clock cannot hold never comes.
        self.origin.checked_add(at).unwrap_or_else(|| self.origin + Duration::from_secs(100 * 365 * 24 * 3600))
    }

    /// Whether an instant has come: before the start not even the first one has.
    pub(super) fn is_due(&self, at: Duration) -> bool {
        Instant::now() >= self.instant(at)
    }

    /// Waits for an instant; answers at once if it has passed.
    pub(super) async fn until(&self, at: Duration) {
        while !self.is_due(at) {
            match &self.timer {
                Timer::Wheel => tokio::time::sleep_until(self.instant(at)).await,
                #[cfg(target_os = "linux")]
                Timer::Fd(timer) => {
                    let early = if at.saturating_sub(self.now()) >= WORTH { EARLY } else { Duration::ZERO };
                    if timer.until(at - early).await.is_err() {
                        tokio::time::sleep_until(self.instant(at)).await;
                    }
                    while !self.is_due(at) && at.saturating_sub(self.now()) <= early {
                        std::hint::spin_loop();
                    }
                }
                #[cfg(not(target_os = "linux"))]
                Timer::Yielding => {
                    let wheel = Duration::from_millis(2);
                    if at.saturating_sub(self.now()) > wheel {
                        tokio::time::sleep_until(self.instant(at - wheel)).await;
                    } else {
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod fd {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;
    use tokio::io::{Interest, Ready};
    use tokio::time::Instant;

    /// A timer in the runtime's own epoll.
    pub(super) struct TimerFd {
        fd: AsyncFd<OwnedFd>,
        /// The start on the machine's monotonic clock.
        origin: Duration,
    }

    impl TimerFd {
        pub(super) fn new(origin: Instant) -> io::Result<Self> {
            let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            #[expect(deprecated, reason = "an OwnedFd keeps its promise; the successor asks for unsafe code to say so")]
            let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
            // tokio's instants are of the same clock, but do not show their value: the closest of a few pairs tells.
            let pairs = (0..16).map(|_| {
                let before = Instant::now();
                let shown = monotonic();
                (before.elapsed(), before, shown)
            });
            let (apart, before, shown) =
                pairs.min_by_key(|(apart, ..)| *apart).unwrap_or((Duration::ZERO, Instant::now(), monotonic()));
            let at = before + apart / 2;
            let origin = match origin.checked_duration_since(at) {
                Some(ahead) => shown + ahead,
                None => shown.saturating_sub(at.duration_since(origin)),
            };
            Ok(Self { fd, origin })
        }

        /// Waits for the timer once; it may wake early, never for ever.
        pub(super) async fn until(&self, at: Duration) -> io::Result<()> {
            // Each setting takes back what an earlier one left to be read, and a new expiry is a new edge: no read.
            timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &once(self.origin.saturating_add(at)))?;
            let mut ready = self.fd.readable().await?;
            ready.clear_ready_matching(Ready::READABLE);
            Ok(())
        }
    }

    fn once(at: Duration) -> Itimerspec {
        let at = at.max(Duration::from_nanos(1));
        let it_value =
            Timespec { tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX), tv_nsec: at.subsec_nanos().into() };
        Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value }
    }

    fn monotonic() -> Duration {
        let now = clock_gettime(ClockId::Monotonic);
        Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_wakes_early() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pace = Pace::exact(Instant::now() + Duration::from_millis(2)).unwrap();
            for step in 0..200 {
                let at = Duration::from_micros(step * 137);
                pace.until(at).await;
                assert!(pace.now() >= at, "{:?} before {at:?}", pace.now());
            }
            let past = pace.now();
            pace.until(Duration::ZERO).await;
            assert!(pace.now() >= past);
        });
    }

    #[tokio::test(start_paused = true)]
    async fn virtual_time_is_exact() {
        let pace = Pace::wheel(Instant::now());
        for step in 0..100 {
            pace.until(Duration::from_millis(step * 7)).await;
            assert_eq!(pace.now(), Duration::from_millis(step * 7));
        }
    }
}
