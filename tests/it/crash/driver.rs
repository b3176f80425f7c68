//! Drivers that die at any request or instant, in virtual time: on an API that misbehaves, with clocks that jump,
//! machines that sleep, and objects that somebody swaps.

mod decoy;
mod draw;
mod kill;
mod plans;
mod tally;
mod way;
mod world;

use steadfast::clock::Seed;
use steadfast::kubernetes::Beat;
use steadfast::prelude::*;

use self::draw::{BEAT, drawn, whole};
use self::kill::{End, Kill, Swap, Sweep, killed};
use self::plans::{ALONE, Plan, TOGETHER};
use self::tally::Tally;
use self::way::{Death, Fate};

/// Kills of a plain `cargo test`; `STEADFAST_KILLS` says otherwise.
const KILLS: u64 = 300;

/// How many of them run at a time.
const SIDE_BY_SIDE: u64 = 2;

fn kills() -> u64 {
    std::env::var("STEADFAST_KILLS").map_or(KILLS, |kills| kills.parse().expect("STEADFAST_KILLS is a number"))
}

#[test]
fn nothing_outlives_a_killed_driver_and_nothing_else_goes_with_it() {
    let (seed, kills) = (Seed::from_env().unwrap(), kills());
    let wholes: Vec<(Plan, End)> = ALONE.into_iter().chain(TOGETHER).map(|plan| (plan, whole(plan, seed))).collect();
    let wholes = &wholes;
    let tallies = std::thread::scope(|scope| {
        let work = |worker| {
            move || {
                let mut tally = Tally::default();
                for number in (worker..kills).step_by(SIDE_BY_SIDE as usize) {
                    let kill = drawn(number, kills, wholes, seed);
                    tally.add(number, &kill, &killed(&kill));
                }
                tally
            }
        };
        let workers: Vec<_> = (0..SIDE_BY_SIDE).map(|worker| scope.spawn(work(worker))).collect();
        workers.into_iter().map(|worker| worker.join().expect("it counts")).collect::<Vec<_>>()
    });
    let mut all = Tally::default();
    tallies.into_iter().for_each(|tally| all.join(tally));
    all.told(seed, wholes);
    all.is_clean(kills);
}

/// A life that ends amid the faults, with nothing to undo them.
fn unheld(plan: Plan, number: u64) -> Kill {
    let fate = Fate { death: Death::At(secs(6) + millis(500 * number)), ..Fate::NONE };
    let beat = Beat { switch: false, ..BEAT };
    Kill { plan, fate, sweep: Sweep::Nobody, beat, ..Kill::undisturbed(plan, Seed(number)) }
}

#[test]
fn without_switch_and_sweep_the_gate_finds_every_kind_left() {
    for plan in ALONE {
        let ends: Vec<End> = (0..4).map(|number| killed(&unheld(plan, number))).collect();
        let left = ends.iter().filter(|end| !end.created_late.is_empty() || !end.changed_swept.is_empty());
        let differ = ends.iter().filter(|end| !end.differences.is_empty());
        let on = ends.iter().filter(|end| plan.iter().all(|kind| end.on.contains(kind)));
        // Deleted pods come back by themselves: what is left of that run are its lease alone.
        let leaves = plan[0] != plans::Kind::DeletePods;
        let found = (on.count() > 0, left.count() > 0, differ.count() > 0);
        assert_eq!(found, (leaves, leaves, true), "{plan:?}: {ends:?}");
    }
}

/// A verdict on a fault that was taken away where no driver can see it: the tally calls it wrong.
#[test]
fn where_a_fault_goes_unseen_the_gate_finds_a_wrong_verdict() {
    for plan in ALONE.into_iter().filter(|plan| plan[0].is_created()) {
        let undisturbed = Kill::undisturbed(plan, Seed(3));
        let (robbed, whole) = (killed(&Kill { robbed: true, ..undisturbed }), killed(&undisturbed));
        assert!(robbed.missing && robbed.verdict == Some(Met) && robbed.wrong_verdict(), "{plan:?}: {robbed:?}");
        assert!(!whole.missing && whole.verdict == Some(Met) && !whole.wrong_verdict(), "{plan:?}: {whole:?}");
    }
}

/// A sweep that goes by labels takes decoys with it: that is seen.
#[test]
fn where_labels_are_proof_enough_the_gate_misses_the_decoys() {
    for plan in ALONE.into_iter().filter(|plan| plan[0] != plans::Kind::DeletePods) {
        let kill = Kill { swap: Swap::AtDeath, sweep: Sweep::Blunt, ..unheld(plan, 4) };
        let end = killed(&kill);
        assert_eq!(end.decoy, Some(false), "{plan:?}: {end:?}");
        let end = killed(&Kill { sweep: Sweep::ByLease, ..kill });
        assert_eq!(end.decoy, Some(true), "{plan:?}: {end:?}");
    }
}
