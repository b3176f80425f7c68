//! Bad networks: latency, jitter, loss, bandwidth and partitions for chosen pairs of addresses.
//!
//! One direction at a time, as `tc netem` does it on the sender's interface. A stream loses nothing, so loss is delay:
//! each segment of 1,460 bytes is lost with the given probability and sent again after 200 ms, then 400 ms, and so on,
//! and what comes after it waits (Linux' smallest retransmission time-out; fast retransmission is not modelled). A
//! connection that is being opened is tried again after 1 s, 3 s, 7 s and so on, for 127 s in all. Choices come from
//! the lab's seed; on a paused clock all times are exact.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::index::Index;
use super::wire::Arrives;
use super::{Fabric, Shared};
use crate::kubernetes::Selector;

/// The bytes of a segment: an Ethernet frame without its headers.
const SEGMENT: usize = 1_460;

/// When a lost segment is first sent again.
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// How often a segment is sent at most, so that a loss of nearly all ends.
const ATTEMPTS: u32 = 15;

/// Some ends of connections.
#[derive(Clone, Debug)]
pub enum Peers {
    /// Everybody, those outside the cluster included.
    Anyone,
    /// One address.
    Address(Ipv4Addr),
    /// The pods of a namespace that a selector takes, whenever they come.
    Pods {
        /// Their namespace.
        namespace: String,
        /// By their labels.
        selector: Selector,
    },
}

impl Peers {
    /// The pods of a namespace that a selector takes.
    #[must_use]
    pub fn pods(namespace: &str, selector: Selector) -> Self {
        Self::Pods { namespace: namespace.to_owned(), selector }
    }

    fn hold(&self, ip: Ipv4Addr, index: &Index) -> bool {
        match self {
            Self::Anyone => true,
            Self::Address(address) => *address == ip,
            Self::Pods { namespace, selector } => index.pod(ip).is_some_and(|pod| {
                pod["metadata"]["namespace"] == namespace.as_str() && selector.matches(&pod["metadata"]["labels"])
            }),
        }
    }
}

/// What is wrong with the way from one end to another. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    latency: Duration,
    jitter: Duration,
    loss: f64,
    bytes_per_second: Option<u64>,
}

impl Impairment {
    /// Everything is lost: a partition.
    #[must_use]
    pub fn partition() -> Self {
        Self { loss: 1.0, ..Self::default() }
    }

    /// Everything takes so much longer.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// The latency varies by up to so much in both directions, evenly; it never gets less than nothing.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// The share of segments that is lost, from 0 to 1.
    #[must_use]
    pub fn loss(mut self, share: f64) -> Self {
        self.loss = share.clamp(0.0, 1.0);
        self
    }

    /// How many bytes get through in a second, for all connections of a pair of addresses together.
    #[must_use]
    pub fn bytes_per_second(mut self, bytes: u64) -> Self {
        self.bytes_per_second = Some(bytes.max(1));
        self
    }
}

/// An impairment that is on. Dropping it lifts it.
#[must_use = "the impairment is lifted as soon as this is dropped"]
pub struct Impaired {
    fabric: Weak<Shared>,
    number: u64,
}

impl Drop for Impaired {
    fn drop(&mut self) {
        if let Some(fabric) = self.fabric.upgrade() {
            fabric.impairments.remove(self.number);
            fabric.retime();
        }
    }
}

impl Fabric {
    /// Impairs what is sent from some ends to others, on connections that are open and on new ones, until the result
    /// is dropped. For both directions call it twice. Several that concern a pair add up.
    pub fn impair(&self, from: Peers, to: Peers, what: Impairment) -> Impaired {
        let number = self.shared.impairments.add(Active { from, to, what });
        Impaired { fabric: Arc::downgrade(&self.shared), number }
    }
}

pub(super) struct Impairments {
    /// How many there are, so that an unimpaired network pays nothing.
    count: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    rng: fastrand::Rng,
    next: u64,
    active: BTreeMap<u64, Active>,
    /// Until when the line of a pair is busy, by impairment.
    busy: BTreeMap<(u64, [Ipv4Addr; 2]), Instant>,
}

struct Active {
    from: Peers,
    to: Peers,
    what: Impairment,
}

impl Impairments {
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        let state = State { rng, next: 0, active: BTreeMap::new(), busy: BTreeMap::new() };
        Self { count: AtomicUsize::new(0), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, active: Active) -> u64 {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.active.insert(number, active);
        self.count.store(state.active.len(), Ordering::Relaxed);
        number
    }

    fn remove(&self, number: u64) {
        let mut state = self.state();
        state.active.remove(&number);
        state.busy.retain(|(of, _), _| *of != number);
        self.count.store(state.active.len(), Ordering::Relaxed);
    }

    fn none(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// When bytes that are sent now arrive.
    pub(super) fn send(&self, fabric: &Shared, way: [Ipv4Addr; 2], bytes: usize) -> Arrives {
        if self.none() {
            return Arrives::AtOnce;
        }
        let index = fabric.index();
        let (mut state, now) = (self.state(), Instant::now());
        let (mut leaves, mut delay) = (now, Duration::ZERO);
        let matching = state.matching(&index, way);
        if matching.is_empty() {
            return Arrives::AtOnce;
        }
        for (number, what) in matching {
            if what.loss >= 1.0 {
                return Arrives::Lost(now);
            }
            if let Some(rate) = what.bytes_per_second {
                let free = state.busy.get(&(number, way)).map_or(leaves, |busy| leaves.max(*busy));
                // A stream's buffer bounds the bytes: no precision is lost.
                leaves = free + Duration::from_secs_f64(bytes as f64 / rate as f64);
                state.busy.insert((number, way), leaves);
            }
            delay += state.latency(what) + state.retransmissions(what.loss, bytes);
        }
        Arrives::At(leaves + delay)
    }

    /// When bytes that were lost at `sent` arrive, if they are sent again from now on.
    pub(super) fn again(&self, fabric: &Shared, way: [Ipv4Addr; 2], sent: Instant) -> Arrives {
        match self.send(fabric, way, 0) {
            Arrives::Lost(_) => Arrives::Lost(sent),
            first => {
                let now = Instant::now();
                let (mut at, mut wait) = (sent, RETRANSMISSION);
                while at < now {
                    at += wait;
                    wait *= 2;
                }
                let delay = match first {
                    Arrives::At(arrives) => arrives - now,
                    _ => Duration::ZERO,
                };
                Arrives::At(at + delay)
            }
        }
    }

    /// How long one packet takes each way; `None` if one of the two is lost.
    pub(super) fn round_trip(&self, fabric: &Shared, way: [Ipv4Addr; 2]) -> Option<[Duration; 2]> {
        if self.none() {
            return Some([Duration::ZERO; 2]);
        }
        let index = fabric.index();
        let mut state = self.state();
        let mut one = |way| {
            let mut took = Duration::ZERO;
            for (_, what) in state.matching(&index, way) {
                if state.rng.f64() < what.loss {
                    return None;
                }
                took += state.latency(what);
            }
            Some(took)
        };
        Some([one(way)?, one([way[1], way[0]])?])
    }
}

impl State {
    fn matching(&self, index: &Index, [from, to]: [Ipv4Addr; 2]) -> Vec<(u64, Impairment)> {
        let active = self.active.iter();
        let matching = active.filter(|(_, a)| a.from.hold(from, index) && a.to.hold(to, index));
        matching.map(|(number, active)| (*number, active.what)).collect()
    }

    fn latency(&mut self, what: Impairment) -> Duration {
        if what.jitter.is_zero() {
            return what.latency;
        }
        let varied = what.latency + what.jitter.mul_f64(2.0 * self.rng.f64());
        varied.saturating_sub(what.jitter)
    }

    /// The delay of the segment that is lost most often.
    fn retransmissions(&mut self, loss: f64, bytes: usize) -> Duration {
        if loss <= 0.0 {
            return Duration::ZERO;
        }
        let mut worst = 0;
        for _ in 0..bytes.div_ceil(SEGMENT).max(1) {
            let mut lost = 0;
            while lost < ATTEMPTS && self.rng.f64() < loss {
                lost += 1;
            }
            worst = worst.max(lost);
        }
        RETRANSMISSION * (2_u32.pow(worst) - 1)
    }
}
