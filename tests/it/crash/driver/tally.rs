//! What came of many kills.

use std::collections::{BTreeMap, BTreeSet};

use steadfast::clock::Seed;

use super::kill::{End, Kill, Swap};
use super::plans::{Kind, Plan};
use super::way::{Death, Wrong};

/// Among so many lives there are some of every sort.
const MANY: u64 = 200;

/// How many lives that came to a bad end are told in full.
const TOLD: u64 = 5;

/// Lives by what befell them, and how many of them came to which bad end.
#[derive(Clone, Debug, Default)]
struct Counts {
    lives: u64,
    created: u64,
    created_late: u64,
    changed: u64,
    changed_swept: u64,
    left: u64,
    sweep: u64,
    differences: u64,
    decoys: u64,
    decoys_lost: u64,
    judged: u64,
    /// Of drivers that lived on when a fault of theirs had gone.
    missing: u64,
    /// Of those, with a verdict.
    missing_judged: u64,
    wrong_verdicts: u64,
}

#[derive(Default)]
pub struct Tally {
    bad: u64,
    counts: BTreeMap<&'static str, Counts>,
    on: BTreeMap<Kind, u64>,
    wrongs: BTreeMap<Wrong, u64>,
    /// The requests before and after which drivers died, by plan.
    points: BTreeMap<Plan, (BTreeSet<u64>, BTreeSet<u64>)>,
}

/// What befell a driver besides its death and single requests that went wrong.
fn category(kill: &Kill) -> &'static str {
    let ahead = |jump: super::kill::Jump| jump.by.is_positive();
    match (kill.swap, kill.fate.sleep, kill.jump, kill.fate.outage) {
        (Swap::AtDeath, ..) => "an object swapped at the death",
        (Swap::At(_), ..) => "an object swapped at an instant",
        (Swap::AtCommit { lost: false, .. }, ..) => "an object swapped when made",
        (Swap::AtCommit { lost: true, .. }, ..) => "an object swapped when made, and no answer",
        (_, Some(_), ..) if kill.succeeded => "asleep, and succeeded meanwhile",
        (_, Some(_), ..) => "asleep for ten minutes",
        (_, _, Some(jump), _) if jump.of_cluster && ahead(jump) => "the cluster's clock set 10 min forward",
        (_, _, Some(jump), _) if jump.of_cluster => SET_BACK,
        (_, _, Some(jump), _) if ahead(jump) => "its clock set 10 min forward",
        (_, _, Some(_), _) => "its clock set 10 min back",
        (_, _, _, Some(_)) => "cut off for 5 to 45 s",
        (_, _, _, None) => "nothing else",
    }
}

/// Here the switch ends so much later: the Job's deadline is counted on that clock.
const SET_BACK: &str = "the cluster's clock set 10 min back";

impl Tally {
    pub fn add(&mut self, number: u64, kill: &Kill, end: &End) {
        let counts = self.counts.entry(category(kill)).or_default();
        let some = |what: bool| u64::from(what);
        counts.lives += 1;
        counts.created += some(end.created > 0);
        counts.changed += some(end.changed > 0);
        counts.created_late += some(!end.created_late.is_empty());
        counts.changed_swept += some(!end.changed_swept.is_empty());
        counts.left += some(!end.left.is_empty());
        counts.sweep += some(end.sweep.is_some());
        counts.differences += some(!end.differences.is_empty());
        counts.decoys += some(end.decoy.is_some());
        counts.decoys_lost += some(end.decoy == Some(false));
        counts.judged += some(end.verdict.is_some());
        counts.missing += some(end.missing);
        counts.missing_judged += some(end.missing && end.verdict.is_some());
        counts.wrong_verdicts += some(end.wrong_verdict());
        for kind in end.on.iter().collect::<BTreeSet<_>>() {
            *self.on.entry(*kind).or_default() += 1;
        }
        for (wrong, count) in &end.wrongs {
            *self.wrongs.entry(*wrong).or_default() += count;
        }
        let points = self.points.entry(kill.plan).or_default();
        match kill.fate.death {
            Death::Before(at) => drop(points.0.insert(at)),
            Death::After(at) | Death::OnItsWay(at, _) => drop(points.1.insert(at)),
            Death::No | Death::At(_) => {}
        }
        let late = !end.created_late.is_empty() && category(kill) != SET_BACK;
        let left = !end.changed_swept.is_empty() || !end.left.is_empty() || !end.differences.is_empty();
        if late || left || end.sweep.is_some() || end.decoy == Some(false) || end.wrong_verdict() {
            self.bad += 1;
            if self.bad <= TOLD {
                eprintln!("life {number}, {}: {kill:?}\n  came to {end:?}", category(kill));
            }
        }
    }

    pub fn join(&mut self, other: Self) {
        self.bad += other.bad;
        for (category, counts) in other.counts {
            let all = self.counts.entry(category).or_default();
            *all = all.and(&counts);
        }
        for (kind, count) in other.on {
            *self.on.entry(kind).or_default() += count;
        }
        for (wrong, count) in other.wrongs {
            *self.wrongs.entry(wrong).or_default() += count;
        }
        for (plan, (before, after)) in other.points {
            let points = self.points.entry(plan).or_default();
            points.0.extend(before);
            points.1.extend(after);
        }
    }

    fn sum(&self) -> Counts {
        self.counts.values().fold(Counts::default(), |sum, counts| sum.and(counts))
    }

    pub fn told(&self, seed: Seed, wholes: &[(Plan, End)]) {
        println!("virtual time, seed {}; of the lives of {} drivers:", seed.0, self.sum().lives);
        for (category, counts) in self.counts.iter().chain([(&"all", &self.sum())]) {
            println!("{}", counts.told(category));
        }
        let requests: u64 = wholes.iter().map(|(_, whole)| whole.requests).sum();
        let points = |of: fn(&(BTreeSet<u64>, BTreeSet<u64>)) -> usize| self.points.values().map(of).sum::<usize>();
        let (before, after) = (points(|points| points.0.len()), points(|points| points.1.len()));
        println!("  {} plans of {requests} requests; died before {before} and after {after} of them", wholes.len());
        println!("  on at the death: {:?}", self.on);
        println!("  requests gone wrong: {:?}", self.wrongs);
    }

    pub fn is_clean(&self, lives: u64) {
        let sum = self.sum();
        assert_eq!(sum.lives, lives);
        assert!(
            self.on.len() == 7 && self.on.values().all(|on| *on > lives / 200),
            "every fault was on: {:?}",
            self.on
        );
        if lives >= MANY {
            // Nothing is shown of what did not happen: a verdict is wrong only of a fault that had gone.
            let floors = [
                ("kinds of lives", self.counts.len() as u64, if lives >= 5 * MANY { 12 } else { 10 }),
                ("decoys", sum.decoys, lives / 20),
                ("verdicts", sum.judged, lives / 20),
                ("faults missed", sum.missing, lives / 30),
                ("faults missed and judged", sum.missing_judged, lives / 50),
            ];
            for (what, found, least) in floors {
                assert!(found >= least, "{found} {what} of at least {least}");
            }
        }
        assert_eq!(self.bad, 0, "lives that came to a bad end");
    }
}

impl Counts {
    fn and(&self, other: &Self) -> Self {
        Self {
            lives: self.lives + other.lives,
            created: self.created + other.created,
            created_late: self.created_late + other.created_late,
            changed: self.changed + other.changed,
            changed_swept: self.changed_swept + other.changed_swept,
            left: self.left + other.left,
            sweep: self.sweep + other.sweep,
            differences: self.differences + other.differences,
            decoys: self.decoys + other.decoys,
            decoys_lost: self.decoys_lost + other.decoys_lost,
            judged: self.judged + other.judged,
            missing: self.missing + other.missing,
            missing_judged: self.missing_judged + other.missing_judged,
            wrong_verdicts: self.wrong_verdicts + other.wrong_verdicts,
        }
    }

    fn told(&self, category: &str) -> String {
        format!(
            "  {category}: {} lives; {} with something created, {} of them with some left at the deadline and 10 s; {} with \
             something changed, {} of them with some so after the sweep; {} with anything of ours after the sweep; {} decoys, \
             {} lost; {} verdicts, {} faults missed when they were judged, {} of them with a verdict, {} wrong; {} sweeps fail; \
             {} stores differ",
            self.lives,
            self.created,
            self.created_late,
            self.changed,
            self.changed_swept,
            self.left,
            self.decoys,
            self.decoys_lost,
            self.judged,
            self.missing,
            self.missing_judged,
            self.wrong_verdicts,
            self.sweep,
            self.differences
        )
    }
}
