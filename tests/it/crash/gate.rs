//! Kills at random instants: `make crash-gate`.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use steadfast::clock::{Seed, Stopwatch};

use super::victim::{DELETED, FAULT, FAULTS, Victim};
use super::{CLEAN_WITHIN, PATIENCE, SWITCHED, Site, gone_within, on_a_runtime};

/// Rounds of a plain `cargo test`, each a kill a fault; `STEADFAST_CRASHES` has another number of kills.
const ROUNDS: usize = 2;

/// So many kills of a fault hit it at some of them, whatever the seed.
const ENOUGH: usize = 24;

/// The shortest deadline of a switch, in seconds.
const SWITCH: &str = "3";

/// What came of some kills.
#[derive(Default)]
struct Tally {
    kills: usize,
    /// With the fault on at the time, by fault.
    on: BTreeMap<&'static str, usize>,
    /// Objects that were still on after the time.
    left: usize,
    /// Objects that only a sweep has undone.
    swept: usize,
    /// How long it took until nothing was left of a round.
    clean: Vec<Duration>,
}

/// How many rounds of a gate that has this share of the kills.
fn rounds(share: usize) -> usize {
    let kills =
        std::env::var("STEADFAST_CRASHES").ok().map(|kills| kills.parse().expect("STEADFAST_CRASHES is a number"));
    kills.map_or(ROUNDS.div_ceil(share), |kills: usize| kills.div_ceil(FAULTS.len() * share))
}

impl Tally {
    fn told(&mut self, how: &str, seed: Seed) {
        self.clean.sort();
        let (median, most) = (self.clean[self.clean.len() / 2], self.clean[self.clean.len() - 1]);
        println!(
            "real processes, {how}, seed {}: {} SIGKILLs, {:?} with the fault on, {} objects undone by a sweep alone, {} left; \
             clean after {median:?} in the median, {most:?} at most",
            seed.0, self.kills, self.on, self.swept, self.left,
        );
        let each = self.kills / FAULTS.len();
        if each >= ENOUGH {
            // Deleted pods are nothing that stays on.
            let missed = FAULTS.iter().find(|fault| (self.on[*fault] > each / 8) == (**fault == DELETED));
            assert_eq!(missed, None, "the kills hit what they are meant to hit: {:?} of {each} each", self.on);
        }
        assert_eq!(self.left, 0);
    }
}

#[test]
fn nothing_is_left_of_a_process_killed_at_any_time() {
    gate("5 s later", rounds(1), &[], Death::Alone, async |site, _| {
        let took = site.clean_within(CLEAN_WITHIN).await?;
        // A request on its way may come later than the first look: the leash waits for it, and so does this.
        site.no_leash_within(PATIENCE).await;
        site.clean_within(Duration::ZERO).await.map(|_| took)
    });
}

#[test]
fn the_switch_ends_what_it_holds_where_the_leash_died_too_and_a_sweep_the_rest() {
    let variables = [("STEADFAST_SWITCH", SWITCH)];
    gate("the leash killed too", rounds(5), &variables, Death::WithTheLeash, async |site, swept| {
        let deadline = Duration::from_secs(SWITCH.parse().expect("seconds"));
        let took = gone_within(deadline + CLEAN_WITHIN, async || site.created(SWITCHED).await).await?;
        *swept += site.owned().await.len();
        let (code, said) = site.sweep(site.state.path(), &[]);
        assert_eq!(code, Some(0), "{said}");
        site.clean_within(Duration::ZERO).await.map(|_| took)
    });
}

#[test]
fn nothing_is_left_by_the_next_run_where_there_was_neither_leash_nor_switch() {
    let variables = [("STEADFAST_LEASH", "off"), ("STEADFAST_SWITCH", "off")];
    gate(
        "neither leash nor switch, after the next run began",
        rounds(5),
        &variables,
        Death::Alone,
        async |site, swept| {
            let before = site.owned().await.len();
            assert_ne!(before, 0, "without leash and switch the gate finds what is left");
            *swept += before;
            let since = Stopwatch::start();
            Victim::start(site, "opens", "none", &[]).ready();
            site.clean_within(Duration::ZERO).await.map(|_| since.elapsed())
        },
    );
}

/// Who dies.
#[derive(Clone, Copy, PartialEq)]
enum Death {
    Alone,
    WithTheLeash,
}

/// Looks at a site after a round of kills, and how many objects it has found before a sweep: how long it took until
/// nothing was left, or what is left.
trait Look: AsyncFn(&Site, &mut usize) -> Result<Duration, Vec<String>> {}

impl<F: AsyncFn(&Site, &mut usize) -> Result<Duration, Vec<String>>> Look for F {}

fn gate(how: &str, rounds: usize, variables: &[(&str, &str)], death: Death, look: impl Look) {
    let seed = Seed::from_env().unwrap();
    on_a_runtime(async {
        let (site, mut tally) = (Site::start().await, Tally::default());
        let before = site.store().await;
        // Lives that are not ended are the measure of those that are.
        let lives = join_all(FAULTS.iter().map(|fault| Life::begin(&site, "measure", fault, variables))).await;
        let lives = join_all(lives.into_iter().map(|life| life.whole(&site))).await;
        let mut rng = seed.rng(&format!("crashes {how}"));
        for round in 0..rounds {
            let round = format!("round-{round}");
            let begun = join_all(FAULTS.iter().map(|fault| Life::begin(&site, &round, fault, variables))).await;
            let namespaces: Vec<_> = begun.iter().map(|life| life.namespace.clone()).collect();
            let deaths =
                begun.into_iter().zip(&lives).map(|(life, whole)| life.cut_short(&site, *whole, &mut rng, death));
            let on = join_all(deaths.collect::<Vec<_>>()).await;
            for (fault, on) in FAULTS.iter().zip(on) {
                tally.kills += 1;
                *tally.on.entry(fault).or_default() += usize::from(on);
            }
            match look(&site, &mut tally.swept).await {
                Ok(took) => tally.clean.push(took),
                Err(left) => {
                    eprintln!("{round} has left {left:?}");
                    tally.left += left.len();
                }
            }
            for namespace in namespaces {
                site.remove(&namespace).await;
            }
        }
        site.store_is(&before).await;
        assert_eq!(site.ledgers(), 0, "what was undone is written down, and then removed");
        tally.told(how, seed);
    });
}

/// A victim in a namespace of its own.
struct Life {
    victim: Victim,
    namespace: String,
    begun: Stopwatch,
    fault: &'static str,
}

impl Life {
    async fn begin(site: &Site, stem: &str, fault: &'static str, variables: &[(&str, &str)]) -> Self {
        let namespace = format!("{stem}-{}", fault.replace(' ', "-"));
        site.namespace(&namespace).await;
        site.workload(&namespace).await;
        let variables: Vec<_> = variables.iter().copied().chain([(FAULT, fault)]).collect();
        let victim = Victim::start(site, "lives", &namespace, &variables);
        Self { victim, namespace, begun: Stopwatch::start(), fault }
    }

    /// Lets it live, and says for how long it did.
    async fn whole(mut self, site: &Site) -> Duration {
        while !self.victim.has_ended() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let lived = self.begun.elapsed();
        assert!(
            self.victim.wait().success(),
            "{}: {}",
            self.fault,
            std::fs::read_to_string(site.said(&self.namespace)).unwrap()
        );
        site.remove(&self.namespace).await;
        lived
    }

    /// Ends it at an instant of its life, and says whether its fault was on.
    fn cut_short<'a>(
        self,
        site: &'a Site,
        whole: Duration,
        rng: &mut Rng,
        death: Death,
    ) -> impl Future<Output = bool> + use<'a> {
        let at = whole.mul_f64(rng.f64());
        async move {
            tokio::time::sleep(at.saturating_sub(self.begun.elapsed())).await;
            // Stopped, so that nothing changes while it is looked at, and no other leash is started.
            self.victim.signal(Signal::STOP);
            let theirs = |told: &String| {
                told.contains(&self.namespace) || (self.fault == "cordoned" && told.starts_with("nodes"))
            };
            let on = site.faults().await.iter().any(theirs);
            let leash = site.leashes().get(&self.victim.pid()).copied();
            if let Some(leash) = leash.filter(|_| death == Death::WithTheLeash) {
                kill_process(Pid::from_raw(leash).unwrap(), Signal::KILL).unwrap();
            }
            self.victim.killed();
            on
        }
    }
}
