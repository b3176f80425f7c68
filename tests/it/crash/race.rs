//! Two runs that want one place at once, in processes of their own.

use super::victim::Victim;
use super::{Site, on_a_runtime};

/// Races of a plain `cargo test`; `STEADFAST_CRASHES` says five times as many.
const RACES: usize = 4;

fn races() -> usize {
    let crashes = std::env::var("STEADFAST_CRASHES").ok();
    crashes.map_or(RACES, |crashes| crashes.parse::<usize>().expect("STEADFAST_CRASHES is a number").div_ceil(5))
}

#[test]
fn of_two_runs_that_race_for_a_place_exactly_one_has_it() {
    on_a_runtime(async {
        let site = Site::start().await;
        let mut first_won = 0;
        for race in 0..races() {
            let namespace = format!("race-{race}");
            site.namespace(&namespace).await;
            if race % 2 == 0 {
                first_won += usize::from(of_two_users(&site, &namespace));
            } else {
                of_one_user(&site, &namespace);
            }
            assert_eq!(site.owned().await, Vec::<String>::new());
            site.remove(&namespace).await;
        }
        println!(
            "{} races of two runs, exactly one at a time in each; of two users the first won {first_won}",
            races()
        );
    });
}

/// One is refused and told by whom; whether the first won.
fn of_two_users(site: &Site, namespace: &str) -> bool {
    let mut both = ["ann", "bob"].map(|user| (user, Victim::start(site, "races", namespace, &[("USER", user)])));
    let heard = both.each_mut().map(|(_, victim)| victim.hears().expect("it says what came of it"));
    let won = heard.each_ref().map(|heard| heard == "on");
    assert!(won[0] != won[1], "exactly one: {heard:?}");
    let (winner, loser) = if won[0] { (0, 1) } else { (1, 0) };
    let holder = format!("namespace {namespace} is held by run ");
    let of = format!(" of {}@", both[winner].0);
    let process = format!(", process {}, since ", both[winner].1.pid());
    for part in [&holder, &of, &process, "steadfast sweep"] {
        assert!(heard[loser].contains(part), "{part:?} in {:?}", heard[loser]);
    }
    both[winner].1.go_on();
    for (_, victim) in &mut both {
        assert!(victim.wait().success(), "{}", std::fs::read_to_string(site.said(namespace)).unwrap());
    }
    won[0]
}

/// Both have it, one after the other: each looks itself whether it is alone.
fn of_one_user(site: &Site, namespace: &str) {
    let both = [0, 1].map(|_| Victim::start(site, "takes turns", namespace, &[]));
    for mut victim in both {
        assert!(victim.wait().success(), "{}", std::fs::read_to_string(site.said(namespace)).unwrap());
    }
}
