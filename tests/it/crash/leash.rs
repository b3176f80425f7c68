//! The leash, death by death.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::victim::Victim;
use super::{CLEAN_WITHIN, PATIENCE, Site, on_a_runtime};

/// The two faults of a victim that holds, its own namespace, and the lease and switch of the place.
const HELD: usize = 5;

/// A victim that has everything on.
async fn held(site: &Site, part: &str, more: &[(&str, &str)]) -> Victim {
    let mut victim = Victim::start(site, part, "crash", more);
    victim.ready();
    assert_eq!(site.owned().await.len(), HELD);
    victim
}

async fn on_a_site(body: impl AsyncFnOnce(&Site)) {
    let site = Site::start().await;
    site.namespace("crash").await;
    body(&site).await;
    site.no_leash_within(PATIENCE).await;
    assert_eq!((site.owned().await, site.ledgers()), (Vec::new(), 0));
}

#[test]
fn whatever_kills_a_process_its_faults_are_undone() {
    on_a_runtime(on_a_site(async |site| {
        for signal in [Signal::KILL, Signal::ABORT, Signal::ILL, Signal::QUIT] {
            let mut victim = held(site, "holds", &[]).await;
            victim.signal(signal);
            assert!(!victim.wait().success());
            site.clean_within(CLEAN_WITHIN).await.unwrap_or_else(|left| panic!("{signal:?}: {left:?}"));
        }
        for part in ["aborts", "exits"] {
            let mut victim = held(site, part, &[]).await;
            victim.go_on();
            victim.wait();
            site.clean_within(CLEAN_WITHIN).await.unwrap_or_else(|left| panic!("{part}: {left:?}"));
        }
    }));
}

#[test]
fn a_kill_of_the_whole_group_does_not_take_the_leash() {
    on_a_runtime(on_a_site(async |site| {
        let mut victim = held(site, "holds", &[]).await;
        victim.signal_group(Signal::KILL);
        victim.wait();
        site.clean_within(CLEAN_WITHIN).await.unwrap();
    }));
}

#[test]
fn there_is_a_leash_with_the_first_fault_and_none_after_the_run() {
    on_a_runtime(on_a_site(async |site| {
        let mut idle = Victim::start(site, "opens", "crash", &[]);
        idle.ready();
        let mut victim = held(site, "holds", &[]).await;
        let leashes = site.leashes();
        assert_eq!(leashes.keys().collect::<Vec<_>>(), [&victim.pid()], "one, and none of {}", idle.pid());
        victim.go_on();
        assert!(victim.wait().success());
        site.no_leash_within(PATIENCE).await;
    }));
}

#[test]
fn a_leash_never_acts_while_its_process_lives() {
    on_a_runtime(on_a_site(async |site| {
        let victim = held(site, "holds", &[]).await;
        // Stopped, it lives: its pipe is open, and its ledgers are locked.
        victim.signal(Signal::STOP);
        for _ in 0..50 {
            assert_eq!(site.owned().await.len(), HELD);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        victim.killed();
        site.clean_within(CLEAN_WITHIN).await.unwrap();
    }));
}

#[test]
fn a_leash_that_was_killed_has_a_successor_that_knows_all() {
    on_a_runtime(on_a_site(async |site| {
        // Another run has a place of its own.
        site.namespace("more").await;
        let mut victim = held(site, "holds more", &[]).await;
        let first = site.leashes()[&victim.pid()];
        kill_process(Pid::from_raw(first).unwrap(), Signal::KILL).unwrap();
        victim.go_on();
        victim.ready();
        assert_eq!(site.owned().await.len(), HELD + 3, "a policy more, and the lease and the switch of its place");
        assert_ne!(site.leashes()[&victim.pid()], first);
        victim.killed();
        site.clean_within(CLEAN_WITHIN).await.unwrap();
    }));
}

#[test]
fn without_a_leash_the_next_run_undoes() {
    on_a_runtime(on_a_site(async |site| {
        let victim = held(site, "holds", &[("STEADFAST_LEASH", "off")]).await;
        assert!(site.leashes().is_empty());
        victim.killed();
        let left = site.clean_within(Duration::from_secs(1)).await.expect_err("nobody undoes it");
        assert_eq!(left.len(), HELD);
        let mut next = Victim::start(site, "opens", "crash", &[]);
        next.ready();
        assert_eq!(site.owned().await, Vec::<String>::new());
    }));
}

#[test]
fn a_variable_that_means_another_pipe_takes_nothing_from_it() {
    on_a_runtime(on_a_site(async |site| {
        let nonce = "0".repeat(32);
        for variable in [format!("{nonce}-1"), "off".into(), nonce.clone()] {
            let mut victim = Victim::start(site, "echoes", "crash", &[("STEADFAST_LEASH", &variable)]);
            victim.says(&nonce);
            assert_eq!(victim.hears(), Some(nonce.clone()), "{variable}");
        }
    }));
}
