//! Virtual time, and the traps of a paused clock.

use std::process::Command;

use steadfast::prelude::*;
use steadfast::process::exited;

use crate::support::front_answers;

/// Runs one ignored test of this binary in a process of its own.
fn child(test: &str) -> Command {
    let mut command = crate::replay::seen::heeding_signals(std::env::current_exe().expect("this binary"));
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command
}

#[test]
fn one_seed_gives_one_journal_to_the_byte() {
    let lab4 = || {
        let mut text = String::new();
        crate::support::on_the_lab(async |cluster| {
            steadfast::shop(&cluster).await?;
            let shop = cluster.namespace("default");
            let failed = shop.prometheus().counter("failed_call_total").label("job", "front");
            let traffic = load::get(shop.service("front").url("/")).per_second(10).lasting(secs(10));
            let held = front_answers(&cluster).check(failed.growth().expect(at_most(0.0)));
            let experiment = Experiment::new("again", held)
                .background(&traffic)
                .pause(secs(5))
                .inject(shop.pods("app=back").deny_ingress())
                .pause(secs(5));
            text = experiment.run(&cluster).await?.to_json();
            Ok(())
        });
        text
    };
    let first = lab4();
    assert!(first.contains("\"verdict\": \"deviated\""));
    for round in 1..100 {
        assert_eq!(lab4(), first, "round {round}");
    }
}

/// Chaos Toolkit's journals have the headers of answers.
#[cfg(feature = "cli")]
#[test]
fn answers_in_documents_are_dated_by_the_clock_of_the_lab() {
    let folder = tempfile::tempdir().expect("a folder");
    let probe = |name: &str, url: &str| {
        let provider = serde_json::json!({"type": "http", "url": url});
        serde_json::json!({"type": "probe", "name": name, "provider": provider, "pauses": {"after": 60}})
    };
    let front = "http://localhost:30080/";
    let method = [
        probe("front", front),
        probe("again", front),
        probe("series", "http://localhost:9090/api/v1/status/buildinfo"),
    ];
    let document = serde_json::json!({"title": "dated", "description": "d", "method": method});
    std::fs::write(folder.path().join("experiment.json"), document.to_string()).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.args(["run", "--cluster", "embedded", "experiment.json"]).current_dir(folder.path());
    let ran = command.output().expect("it runs");
    let journal = std::fs::read_to_string(folder.path().join("journal.json")).expect("a journal");
    let journal: serde_json::Value = serde_json::from_str(&journal).expect("JSON");
    let said = String::from_utf8_lossy(&ran.stderr);
    for (number, activity) in journal["run"].as_array().expect("activities").iter().enumerate() {
        let headers = activity["output"]["headers"].as_object().unwrap_or_else(|| panic!("{activity}: {said}"));
        let dates: Vec<_> = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("date")).collect();
        let [(_, date)] = dates[..] else { panic!("one date: {activity}") };
        let start: jiff::civil::DateTime =
            activity["start"].as_str().expect("a time").trim_end_matches("+00:00").parse().expect("a time");
        let told = start.strftime("%a, %d %b %Y %H:%M:").to_string();
        assert!(
            date.as_str().is_some_and(|date| date.starts_with(&told) && date.ends_with(" GMT")),
            "{number}: {activity}"
        );
        assert!(told.starts_with("Thu, 01 Jan 2026 00:0"), "{told}");
    }
}

#[test]
fn a_real_socket_is_refused_with_our_explanation() {
    let output = child("time::opens_a_socket").output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(told.contains("opens_a_socket failed") || told.contains("STEADFAST_SEED=0"), "{told}");
    assert!(
        told.contains("in virtual time there are no real sockets") && told.contains("STEADFAST_REAL_TIME=1"),
        "{told}"
    );
}

#[test]
#[ignore = "run by a_real_socket_is_refused_with_our_explanation"]
fn opens_a_socket() {
    crate::support::on_the_lab(async |_| {
        tokio::net::TcpStream::connect("127.0.0.1:1").await?;
        Ok(())
    });
}

#[steadfast::test(needs = "embedded")]
async fn a_process_holds_the_clock_and_then_moves_it(cluster: Cluster) -> steadfast::Result {
    let fires = tokio::spawn(tokio::time::sleep(secs(3600)));
    let before = cluster.clock().elapsed();
    let slow = steadfast::process::run("sleep").arg("0.3").expect(exited(0));
    Experiment::new("slow", Hypothesis::new("slow").check(slow))
        .without_recovery()
        .run(&cluster)
        .await?
        .assert_verdict(Met);
    let took = cluster.clock().elapsed() - before;
    // Before and under the (absent) fault: two runs of 0.3 s.
    assert!(took >= millis(600), "its wall time is added: {took:?}");
    assert!(!fires.is_finished(), "the clock did not jump over it");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn processes_answer_and_fail_as_they_should(cluster: Cluster) -> steadfast::Result {
    let run = |args: &[&str]| steadfast::process::run(args[0]).args(args[1..].iter().map(|a| (*a).to_owned()));
    let literal = Hypothesis::new("no shell reads it")
        .check(run(&["echo", "$HOME", "a;b"]).expect(contains("$HOME a;b")))
        .check(run(&["sh", "-c", "exit 3"]).expect(exited(3)))
        .check(run(&["echo", r#"{"a": 1}"#]).expect(json_path("$.a").equals(1)));
    Experiment::new("x", literal).run(&cluster).await?.assert_verdict(Met);

    let absent = Experiment::new("x", Hypothesis::new("x").check(run(&["no-such-program"]).expect(exited(0))));
    let error = absent.run(&cluster).await.expect_err("it is not there").to_string();
    assert!(error.contains("no-such-program") && error.contains("PATH"), "{error}");

    let failing = Experiment::without_hypothesis("x").act(run(&["sh", "-c", "echo no luck >&2; exit 4"]));
    let error = failing.run(&cluster).await.expect_err("it failed").to_string();
    assert!(error.contains("exit code 4: no luck"), "{error}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_time_out_kills_the_whole_group(cluster: Cluster) -> steadfast::Result {
    let folder = tempfile::tempdir()?;
    let pid_file = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; wait", pid_file.display());
    let stuck = steadfast::process::run("sh").args(["-c", &script]).timeout(secs(1));
    let journal = Experiment::new("x", Hypothesis::new("x").check(stuck.expect(exited(0)))).run(&cluster).await?;
    assert_eq!(journal.evaluations[0].checks[0].phrase, "was no answer (no end within 1s), expected exit code 0");
    let grandchild = std::fs::read_to_string(&pid_file)?;
    // The kernel takes a killed process away when it gets round to it; on a busy machine that is later than now.
    let since = steadfast::clock::Stopwatch::start();
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", grandchild.trim())).unwrap_or_default();
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        if matches!(state, None | Some('Z' | 'X')) {
            return Ok(());
        }
        assert!(since.elapsed() < secs(30), "the grandchild lives: {stat}");
        std::thread::yield_now();
    }
}

/// Runs a test that waits with a fault on, sends it a signal, and answers with its exit code and its journal.
fn interrupted(test: &str, signal: rustix::process::Signal) -> (Option<i32>, Journal) {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let out = tempfile::tempdir().expect("a folder");
    let mut child = child(test)
        .env("STEADFAST_REAL_TIME", "1")
        .env("STEADFAST_OUT", out.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.contains("the fault is on"))));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).expect("it lives");
    let code = child.wait().expect("it ends").code();
    let mut journals = std::fs::read_dir(out.path()).expect("outputs").map(|folder| folder.expect("readable").path());
    let folder = journals.find(|folder| folder.join("journal.json").exists()).expect("one has a journal");
    (code, Journal::read(&folder.join("journal.json")).expect("a journal"))
}

#[test]
fn a_signal_undoes_journals_and_ends_the_process() {
    for (signal, code, name) in
        [(rustix::process::Signal::INT, 130, "SIGINT"), (rustix::process::Signal::TERM, 143, "SIGTERM")]
    {
        let (exit, journal) = interrupted("time::waits_with_a_fault_on", signal);
        assert_eq!(exit, Some(code));
        assert_eq!(journal.ended, steadfast::journal::Ended::Interrupted { signal: name.into() });
        assert_eq!(journal.faults[0].undo.iter().filter(|u| u.outcome.is_clean()).count(), 2, "{}", journal.summary());
    }
}

#[test]
fn a_signal_after_which_a_fault_is_left_ends_the_process_with_5() {
    let (exit, journal) = interrupted("time::waits_with_a_fault_that_stays", rustix::process::Signal::INT);
    assert_eq!(exit, Some(5));
    assert_eq!(journal.not_undone().len(), 1, "{}", journal.summary());
}

fn wait_with_a_fault_on(held: bool) {
    crate::support::on_the_lab(async |cluster| {
        steadfast::shop(&cluster).await?;
        let lab = cluster.lab()?.clone();
        let cut = cluster.namespace("default").pods("app=back").deny_ingress();
        let journal = Experiment::new("interrupted", front_answers(&cluster))
            .inject(cut)
            .act_with("tell", async move |_| {
                use steadfast::lab::{resource::NETWORK_POLICIES, store::Part};
                for policy in lab.store().list(&NETWORK_POLICIES, None).0.iter().filter(|_| held) {
                    let name = policy["metadata"]["name"].as_str().unwrap_or_default();
                    lab.store().modify(&NETWORK_POLICIES, "default", name, Part::Main, false, |before| {
                        let mut after = before.clone();
                        after["metadata"]["finalizers"] = serde_json::json!(["example.com/hold"]);
                        Ok(after)
                    })?;
                }
                println!("the fault is on");
                Ok(())
            })
            .pause(secs(600))
            .run(&cluster)
            .await?;
        panic!("a signal should have come: {}", journal.summary())
    });
}

#[test]
#[ignore = "run by a_signal_undoes_journals_and_ends_the_process"]
fn waits_with_a_fault_on() {
    wait_with_a_fault_on(false);
}

#[test]
#[ignore = "run by a_signal_after_which_a_fault_is_left_ends_the_process_with_5"]
fn waits_with_a_fault_that_stays() {
    wait_with_a_fault_on(true);
}

#[test]
fn what_needs_another_cluster_is_ignored_with_the_remedy() {
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "time::runs_on_kind_alone"])
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("1 ignored"), "{told}");
    let reason = "ignored, not run, since it needs kind: STEADFAST_CLUSTER=kind cargo test -- --ignored";
    assert!(told.contains(reason), "{told}");
}

#[test]
fn what_needs_another_cluster_is_never_green_on_the_lab() {
    for cluster in ["", "embedded"] {
        let output = child("time::runs_on_kind_alone").env("STEADFAST_CLUSTER", cluster).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains("this test needs kind, and STEADFAST_CLUSTER says embedded"));
    }
}

#[test]
fn what_is_required_is_not_left_out() {
    let beside = |arguments: &[&str], set: &[(&str, &str)]| {
        let output = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "time::runs_on_kind_alone::is_not_left_out"])
            .args(arguments)
            .env_remove("STEADFAST_CLUSTER")
            .env_remove("NEXTEST")
            .env_remove("STEADFAST_IGNORED")
            .envs(set.iter().copied())
            .output()
            .expect("it runs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(told.contains("running 1 test"), "{told}");
        output.status.success().then_some(()).ok_or(told)
    };
    assert_eq!(beside(&[], &[("STEADFAST_REQUIRE", "")]), Ok(()));
    assert_eq!(beside(&[], &[("STEADFAST_REQUIRE", "docker")]), Ok(()));
    let told = beside(&[], &[("STEADFAST_REQUIRE", "docker, kind")]).expect_err("it would run on the lab");
    assert!(told.contains("needs kind, and STEADFAST_CLUSTER says embedded"), "{told}");
    let on_kind = [("STEADFAST_REQUIRE", "kind"), ("STEADFAST_CLUSTER", "kind:x")];
    let told = beside(&[], &on_kind).expect_err("it is ignored");
    assert!(told.contains("time::runs_on_kind_alone needs kind and is not run"), "{told}");
    assert_eq!(beside(&["--include-ignored"], &on_kind), Ok(()));
    // What nextest runs beside this process only its user knows.
    let under_nextest = [on_kind[0], on_kind[1], ("NEXTEST", "1")];
    let told = beside(&[], &under_nextest).expect_err("it may be ignored");
    assert!(
        told.contains("STEADFAST_IGNORED=run STEADFAST_CLUSTER=kind cargo nextest run --run-ignored all"),
        "{told}"
    );
    let said = |what| [on_kind[0], on_kind[1], ("NEXTEST", "1"), ("STEADFAST_IGNORED", what)];
    assert_eq!(beside(&[], &said("run")), Ok(()));
    assert!(beside(&[], &said("no")).is_err());
}

#[steadfast::test(needs = "kind")]
async fn runs_on_kind_alone(cluster: Cluster) -> steadfast::Result {
    assert!(cluster.lab().is_err(), "where a cluster is needed the lab will not do");
    Ok(())
}

#[test]
fn real_time_is_the_users_choice() {
    let output = child("time::tells_its_time").env("STEADFAST_REAL_TIME", "1").output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("in Real time"), "{told}");
    let output = child("time::tells_its_time").output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("in Virtual time"), "{told}");
    let output = child("time::tells_its_time").env("STEADFAST_REAL_TIME", "maybe").output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("STEADFAST_REAL_TIME=\"maybe\" is unknown; set 1"), "{told}");
}

#[test]
#[ignore = "run by real_time_is_the_users_choice"]
fn tells_its_time() {
    crate::support::on_the_lab(async |cluster| {
        steadfast::shop(&cluster).await?;
        let wall = steadfast::clock::Stopwatch::start();
        let cut = cluster.namespace("default").pods("app=back").deny_ingress();
        let journal = Experiment::new("x", front_answers(&cluster)).inject(cut).run(&cluster).await?;
        journal.assert_verdict(Met);
        let (shown, took) = (journal.finished.duration_since(journal.started), wall.elapsed());
        // Over half a second passes at least: the witness looks several times.
        assert!(shown.as_millis() > 500);
        assert!(took >= millis(500) || journal.time == steadfast::clock::Time::Virtual, "{took:?}");
        eprintln!("in {:?} time", journal.time);
        Ok(())
    });
}
