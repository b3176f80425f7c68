//! Kills at random instants: `make crash-gate`.

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

#[test]
fn nothing_is_left_of_a_process_killed_at_any_time() {
    let seed = Seed::from_env().unwrap();
    let each = kills().div_ceil(SIDE_BY_SIDE);
    let tallies = std::thread::scope(|scope| {
        let starts: Vec<_> =
            (0..SIDE_BY_SIDE).map(|worker| scope.spawn(move || on_a_runtime(batch(seed, worker, each)))).collect();
        starts.into_iter().map(|batch| batch.join().unwrap()).collect::<Vec<_>>()
    });
    let mut all = Tally::default();
    for tally in tallies {
        all.kills += tally.kills;
        all.on += tally.on;
        all.left += tally.left;
        all.clean.extend(tally.clean);
    }
    all.clean.sort();
    let (median, most) = (all.clean.get(all.clean.len() / 2), all.clean.last());
    println!(
        "real processes, seed {}: {} SIGKILLs, {} with something on, {} with something left after {CLEAN_WITHIN:?}; \
         clean after {median:?} in the median, {most:?} at most",
        seed.0, all.kills, all.on, all.left
    );
    assert_eq!(all.left, 0);
    assert!(all.on > all.kills / 4, "the kills hit what they are meant to hit");
}

async fn batch(seed: Seed, worker: usize, kills: usize) -> Tally {
    let (site, mut tally) = (Site::start().await, Tally::default());
    let mut rng = seed.rng(&format!("crashes {worker}"));
    // A life that is not ended is the measure of those that are.
    site.namespace("measure").await;
    let life = Stopwatch::start();
    assert!(Victim::start(&site, "lives", "measure", &[]).wait().success());
    let life = life.elapsed();
    for kill in 0..kills {
        let namespace = format!("crash-{kill}");
        site.namespace(&namespace).await;
        let victim = Victim::start(&site, "lives", &namespace, &[]);
        tokio::time::sleep(life.mul_f64(rng.f64())).await;
        let on = !site.owned().await.is_empty();
        victim.killed();
        tally.kills += 1;
        tally.on += usize::from(on);
        match site.clean_within(CLEAN_WITHIN).await {
            Ok(took) if on => tally.clean.push(took),
            Ok(_) => {}
            Err(left) => {
                eprintln!("kill {kill} of worker {worker} left {left:?}");
                tally.left += 1;
            }
        }
        // A request on its way may come later than the first look: the leash waits for it, and so does this.
        site.no_leash_within(PATIENCE).await;
        if let Err(left) = site.clean_within(Duration::ZERO).await {
            eprintln!("kill {kill} of worker {worker} left, late, {left:?}");
            tally.left += 1;
        }
        site.remove(&namespace).await;
    }
    assert_eq!(site.ledgers(), 0, "what was undone is written down, and then removed");
    tally
}
