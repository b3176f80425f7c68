//! Requests that are due, and the lines that take them.
//!
//! A line is one place for a request under way. A request that no line is free for waits with its intended instant;
//! the next free line takes the oldest. Lines are taken last in, first out, so that few connections stay warm.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::connect::Http2;

/// The most connections that are being opened at once.
const OPENING: usize = 32;

/// How long an opening counts as one: a server that never answers keeps no other request waiting.
pub(super) const OPENS_WITHIN: Duration = Duration::from_millis(100);

/// How many connections may be opened in a second, beyond the first few: opening them costs the processor that
/// a stalled load lacks.
const OPENED_PER_SECOND: f64 = 1000.0;

/// A request to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) number: u64,
    pub(super) intended: Duration,
}

/// How many of what there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Requests under way.
    pub(super) lines: usize,
    /// Requests that wait for a line.
    pub(super) waiting: usize,
    /// Whether lines are opened at a bounded rate: where they keep their connections.
    pub(super) paced: bool,
}

/// What became of a due request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It is taken or waits; so many new lines are to be made.
    Taken { new_lines: usize },
    /// Too many wait already.
    Full,
}

/// The lines to one origin.
pub(super) struct Pool {
    bounds: Bounds,
    state: Mutex<State>,
    /// Connections that many requests share.
    pub(super) shared: tokio::sync::Mutex<Vec<Http2>>,
    /// Whether the server is known to speak HTTP/1.1 alone.
    pub(super) plain: AtomicBool,
}

#[derive(Default)]
struct State {
    due: VecDeque<Due>,
    lines: Vec<Line>,
    idle: Vec<usize>,
    /// Lines that were made lately and are not ready.
    opening: usize,
    /// All lines that are not ready; each will take a request.
    unready: usize,
    allowed: f64,
    allowed_at: Duration,
    closed: bool,
}

#[derive(Default)]
struct Line {
    given: Option<Due>,
    waker: Option<Waker>,
    idle: bool,
}

impl Pool {
    pub(super) fn new(bounds: Bounds) -> Self {
        let state = State { allowed: OPENED_PER_SECOND / 10.0, ..State::default() };
        let (shared, plain) = (tokio::sync::Mutex::default(), AtomicBool::new(false));
        Self { bounds, state: Mutex::new(state), shared, plain }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is due now.
    pub(super) fn push(&self, due: Due, now: Duration) -> Pushed {
        let mut state = self.state();
        if let Some(number) = state.idle.pop() {
            let line = &mut state.lines[number];
            (line.given, line.idle) = (Some(due), false);
            if let Some(waker) = line.waker.take() {
                waker.wake();
            }
            return Pushed::Taken { new_lines: 0 };
        }
        if state.due.len() >= self.bounds.waiting {
            return Pushed::Full;
        }
        state.due.push_back(due);
        let mut wanted = state.due.len().saturating_sub(state.unready).min(self.bounds.lines - state.lines.len());
        if self.bounds.paced {
            wanted = wanted.min(OPENING.saturating_sub(state.opening));
            let since = now.saturating_sub(state.allowed_at).as_secs_f64();
            state.allowed = (state.allowed + since * OPENED_PER_SECOND).min(OPENED_PER_SECOND / 10.0);
            state.allowed_at = now;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "from 0 to a tenth of the rate"
            )]
            let allowed = state.allowed as usize;
            wanted = wanted.min(allowed);
        }
        for _ in 0..wanted {
            state.lines.push(Line::default());
            state.opening += 1;
            state.unready += 1;
            state.allowed -= 1.0;
        }
        Pushed::Taken { new_lines: wanted }
    }

    /// The numbers of the newest lines.
    pub(super) fn newest(&self, count: usize) -> std::ops::Range<usize> {
        let lines = self.state().lines.len();
        lines - count..lines
    }

    /// A new line has taken long enough to be ready that others need not wait for it.
    pub(super) fn not_lately(&self) {
        let mut state = self.state();
        state.opening = state.opening.saturating_sub(1);
    }

    /// A new line is ready to take requests, or has failed to be. It is no longer lately made.
    pub(super) fn opened(&self) {
        let mut state = self.state();
        state.unready = state.unready.saturating_sub(1);
    }

    /// The next request for a line; `None` once there will be no more.
    pub(super) async fn next(&self, line: usize) -> Option<Due> {
        poll_fn(|cx| {
            let mut state = self.state();
            if let Some(due) = state.lines[line].given.take() {
                return Poll::Ready(Some(due));
            }
            if let Some(due) = state.due.pop_front() {
                return Poll::Ready(Some(due));
            }
            if state.closed {
                return Poll::Ready(None);
            }
            let known = &mut state.lines[line];
            known.waker = Some(cx.waker().clone());
            // Something else may have woken it while it was idle.
            if !std::mem::replace(&mut known.idle, true) {
                state.idle.push(line);
            }
            Poll::Pending
        })
        .await
    }

    /// How many lines have nothing to do.
    pub(super) fn idle(&self) -> usize {
        self.state().idle.len()
    }

    /// No more requests will come; what waits is still sent.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.lines.iter_mut().filter_map(|line| line.waker.take()).for_each(Waker::wake);
    }

    /// Notes that the server speaks HTTP/1.1 alone.
    pub(super) fn found_plain(&self) {
        self.plain.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(number: u64) -> Due {
        Due { number, intended: Duration::from_secs(number) }
    }

    fn bounds(lines: usize, waiting: usize, paced: bool) -> Bounds {
        Bounds { lines, waiting, paced }
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_goes_first_and_the_last_line_in_takes_it() {
        let pool = Pool::new(bounds(2, 10, false));
        for number in 0..4 {
            let new_lines = usize::from(number < 2);
            assert_eq!(pool.push(due(number), Duration::ZERO), Pushed::Taken { new_lines });
            pool.not_lately();
            pool.opened();
        }
        assert_eq!(pool.next(1).await.map(|due| due.number), Some(0));
        assert_eq!(pool.next(0).await.map(|due| due.number), Some(1));
        assert_eq!(pool.next(0).await.map(|due| due.number), Some(2));
        pool.close();
        assert_eq!(pool.next(1).await.map(|due| due.number), Some(3), "what waits is still sent");
        assert!(pool.next(0).await.is_none());
    }

    #[test]
    fn both_the_lines_and_those_that_wait_are_bounded() {
        let pool = Pool::new(bounds(1, 2, false));
        assert_eq!(pool.push(due(0), Duration::ZERO), Pushed::Taken { new_lines: 1 });
        assert_eq!(pool.push(due(1), Duration::ZERO), Pushed::Taken { new_lines: 0 });
        assert_eq!(pool.push(due(2), Duration::ZERO), Pushed::Full);
    }

    #[test]
    fn connections_are_opened_at_a_bounded_rate() {
        let pool = Pool::new(bounds(10_000, 100_000, true));
        let opened = |from: u64, to: u64| {
            let pushed = (from..to).map(|number| {
                let Pushed::Taken { new_lines } = pool.push(due(number), Duration::from_micros(number * 10)) else {
                    panic!("it is not full")
                };
                (0..new_lines).for_each(|_| (pool.not_lately(), pool.opened()).0);
                new_lines
            });
            pushed.sum::<usize>()
        };
        // 100,000 requests in a second that nobody takes.
        assert!((1095..=1105).contains(&opened(0, 100_000)));
        let stuck = Pool::new(bounds(10_000, 100_000, true));
        for number in 0..1000 {
            stuck.push(due(number), Duration::ZERO);
        }
        assert_eq!(stuck.newest(OPENING), 0..OPENING, "no more at once");
        (0..OPENING).for_each(|_| stuck.not_lately());
        let Pushed::Taken { new_lines } = stuck.push(due(1000), Duration::ZERO) else { panic!("it is not full") };
        assert_eq!(new_lines, OPENING, "what never opens keeps no other waiting");
        let few = Pool::new(bounds(10_000, 100_000, true));
        for number in 0..10 {
            assert_eq!(few.push(due(number), Duration::ZERO), Pushed::Taken { new_lines: 1 }, "one for each request");
            few.not_lately();
        }
    }
}
