//! What befalls the driver of each number.

use jiff::SignedDuration;
use steadfast::clock::Seed;
use steadfast::kubernetes::Beat;
use steadfast::prelude::*;

use super::kill::{End, Jump, Kill, Swap, Sweep, killed};
use super::plans::{Kind, Plan};
use super::way::{Death, Fate, Spell};

/// Faster than the default, so that a life takes fewer requests.
pub const BEAT: Beat = Beat { ahead: secs(9), every: secs(3), switch: true };

/// How far clocks jump, and how long machines sleep.
const TEN_MINUTES: i64 = 600;

impl Kill {
    /// A life in which nothing happens.
    pub fn undisturbed(plan: Plan, seed: Seed) -> Self {
        let (swap, sweep) = (Swap::No, Sweep::NextRun);
        let (jump, succeeded, robbed) = (None, false, false);
        Self { plan, fate: Fate::NONE, swap, jump, succeeded, sweep, robbed, beat: BEAT, seed }
    }
}

/// A run that nobody disturbs: its requests and its length are the measure of those that die.
pub fn whole(plan: Plan, seed: Seed) -> End {
    let end = killed(&Kill::undisturbed(plan, seed));
    let well = end.verdict == Some(Met) && !end.missing && end.differences.is_empty() && end.sweep.is_none();
    assert!(well, "{plan:?}: {end:?}");
    end
}

/// The number of the request before or after which the driver of this number dies: each in turn, if there are enough.
pub fn point(number: u64, kills: u64, plans: u64, requests: u64) -> u64 {
    let (point, points) = (number / plans / 3, (kills / plans / 3).max(1));
    if points < requests { point * requests / points } else { point % requests }
}

pub fn drawn(number: u64, kills: u64, wholes: &[(Plan, End)], seed: Seed) -> Kill {
    let plans = wholes.len() as u64;
    let (plan, whole) = &wholes[usize::try_from(number % plans).expect("few")];
    let mut rng = seed.rng(&format!("kill {number}"));
    let at = |rng: &mut fastrand::Rng| whole.lasted.mul_f64(rng.f64());
    let request = point(number, kills, plans, whole.requests);
    let mut fate = Fate {
        death: match number / plans % 3 {
            0 => Death::Before(request),
            1 if rng.bool() => Death::After(request),
            1 => Death::OnItsWay(request, millis(rng.u64(..5_000))),
            _ => Death::At(at(&mut rng)),
        },
        wrong_from: rng.bool().then(|| rng.u64(..whole.requests)),
        ..Fate::NONE
    };
    let mut kill = Kill { seed: Seed(seed.0 ^ number), ..Kill::undisturbed(plan, seed) };
    if rng.u8(..4) == 0 {
        kill.sweep = Sweep::ByLease;
    }
    match rng.u8(..20) {
        0..=4 => {
            kill.swap = match rng.u8(..3) {
                0 => Swap::AtDeath,
                1 => Swap::At(at(&mut rng)),
                _ => Swap::AtCommit { number: rng.u64(..3), lost: rng.bool() },
            };
            // Who repeats a run is refused what looks as changed by another.
            kill.sweep = Sweep::ByLease;
        }
        5 => {
            fate.death = Death::No;
            fate.sleep = Some(Spell { from: at(&mut rng), lasts: secs(TEN_MINUTES.unsigned_abs()) });
        }
        6 => {
            fate.death = Death::No;
            fate.sleep = Some(Spell { from: at(&mut rng), lasts: secs(45) });
            kill.succeeded = true;
        }
        7 | 8 => {
            let by = SignedDuration::from_secs(if rng.bool() { TEN_MINUTES } else { -TEN_MINUTES });
            kill.jump = Some(Jump { of_cluster: rng.bool(), at: at(&mut rng), by });
            if rng.bool() {
                fate.death = Death::No;
            }
        }
        9 => {
            fate.outage = Some(Spell { from: at(&mut rng), lasts: millis(rng.u64(5_000..45_000)) });
            if rng.u8(..4) > 0 {
                fate.death = Death::No;
            }
        }
        _ => {}
    }
    // The pods that it deletes are gone for the one who comes after it, too.
    if kill.succeeded && plan.contains(&Kind::DeletePods) {
        kill.succeeded = false;
        fate.sleep = None;
    }
    Kill { fate, ..kill }
}
