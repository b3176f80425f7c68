//! Kills at random instants: `make crash-gate`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use steadfast::clock::{Seed, Stopwatch};

use super::victim::Victim;
use super::{CLEAN_WITHIN, PATIENCE, Site, on_a_runtime};

/// Labs and victims at a time.
const SIDE_BY_SIDE: usize = 2;

/// Kills of a plain `cargo test`; `STEADFAST_CRASHES` says otherwise.
const KILLS: usize = 20;

/// What came of some kills.
#[derive(Default)]
struct Tally {
    kills: usize,
    /// With something on at the time.
    on: usize,
    /// With something still on after the time.
    left: usize,
    /// How long it took until nothing was left, where something was on.
    clean: Vec<Duration>,
}

fn kills() -> usize {
    std::env::var("STEADFAST_CRASHES").map_or(KILLS, |kills| kills.parse().expect("STEADFAST_CRASHES is a number"))
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.on += other.on;
        self.left += other.left;
        self.clean.extend(other.clean);
    }

    fn told(&mut self, how: &str, seed: Seed) {
        self.clean.sort();
        let (median, most) = (self.clean.get(self.clean.len() / 2), self.clean.last());
        let times =
            median.zip(most).map(|(median, most)| format!("; clean after {median:?} in the median, {most:?} at most"));
        println!(
            "real processes, {how}, seed {}: {} SIGKILLs, {} with something on, {} with something left{}",
            seed.0,
            self.kills,
            self.on,
            self.left,
            times.unwrap_or_default()
        );
        assert!(self.on > self.kills / 8, "the kills hit what they are meant to hit");
    }
}

#[test]
fn nothing_is_left_of_a_process_killed_at_any_time() {
    gate("5 s later", kills(), &[], async |site, on, tally| {
        match site.clean_within(CLEAN_WITHIN).await {
            Ok(took) if on => tally.clean.push(took),
            Ok(_) => {}
            Err(left) => return Err(left),
        }
        // A request on its way may come later than the first look: the leash waits for it, and so does this.
        site.no_leash_within(PATIENCE).await;
        site.clean_within(Duration::ZERO).await.map(drop)
    });
}

#[test]
fn nothing_is_left_by_the_next_run_where_there_was_no_leash() {
    let unswept = AtomicUsize::new(0);
    gate(
        "no leash, after the next run began",
        kills().div_ceil(5).max(16),
        &[("STEADFAST_LEASH", "off")],
        async |site, _, _| {
            unswept.fetch_add(usize::from(!site.owned().await.is_empty()), Ordering::Relaxed);
            Victim::start(site, "opens", "none", &[]).ready();
            site.clean_within(Duration::ZERO).await.map(drop)
        },
    );
    println!("before the next run began, {} had something left", unswept.load(Ordering::Relaxed));
    assert_ne!(unswept.into_inner(), 0, "without a leash the gate finds what is left");
}

/// What is looked at after a kill, and whether something was on then; what is left is an error.
trait Look: AsyncFn(&Site, bool, &mut Tally) -> Result<(), Vec<String>> + Sync {}

impl<F: AsyncFn(&Site, bool, &mut Tally) -> Result<(), Vec<String>> + Sync> Look for F {}

fn gate(how: &str, kills: usize, more: &[(&str, &str)], look: impl Look) {
    let seed = Seed::from_env().unwrap();
    let (each, look) = (kills.div_ceil(SIDE_BY_SIDE), &look);
    let tallies = std::thread::scope(|scope| {
        let start = |worker| scope.spawn(move || on_a_runtime(batch(seed, worker, each, more, look)));
        let started: Vec<_> = (0..SIDE_BY_SIDE).map(start).collect();
        started.into_iter().map(|batch| batch.join().unwrap()).collect::<Vec<_>>()
    });
    let mut all = Tally::default();
    tallies.into_iter().for_each(|tally| all.add(tally));
    all.told(how, seed);
    assert_eq!(all.left, 0);
}

async fn batch(seed: Seed, worker: usize, kills: usize, more: &[(&str, &str)], look: &impl Look) -> Tally {
    let (site, mut tally) = (Site::start().await, Tally::default());
    let before = site.store().await;
    let mut rng = seed.rng(&format!("crashes {worker}"));
    // A life that is not ended is the measure of those that are.
    site.namespace("measure").await;
    let life = Stopwatch::start();
    assert!(Victim::start(&site, "lives", "measure", more).wait().success());
    let life = life.elapsed();
    site.remove("measure").await;
    for kill in 0..kills {
        let namespace = format!("crash-{kill}");
        site.namespace(&namespace).await;
        let victim = Victim::start(&site, "lives", &namespace, more);
        tokio::time::sleep(life.mul_f64(rng.f64())).await;
        let on = !site.owned().await.is_empty();
        victim.killed();
        tally.kills += 1;
        tally.on += usize::from(on);
        if let Err(left) = look(&site, on, &mut tally).await {
            eprintln!("kill {kill} of worker {worker} left {left:?}");
            tally.left += 1;
        }
        site.remove(&namespace).await;
    }
    site.store_is(&before).await;
    assert_eq!(site.ledgers(), 0, "what was undone is written down, and then removed");
    tally
}
