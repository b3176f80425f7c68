//! `steadfast demo`.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use super::Exit;
use crate::clock::Stopwatch;
use crate::cluster::Target;
use crate::journal::{Event, EventKind, StepStatus};
use crate::prelude::*;

/// Runs it, and prints the verdict with its evidence.
pub(super) fn run() -> ExitCode {
    let wall = Stopwatch::start();
    let finished = Arc::new(Mutex::new(None));
    let keep = finished.clone();
    // Whatever STEADFAST_CLUSTER says: the demo is of the lab.
    let done = crate::cluster::run_test_on(&Target::Embedded, "demo", async |cluster| {
        let journal = lab4(&cluster).await?;
        *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(journal);
        Ok(())
    });
    let journal = finished.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (done, journal) {
        (Ok(()), Some(journal)) => told(&journal, &wall).unwrap_or(Exit::Failed.into()),
        (Err(error), _) => {
            eprintln!("steadfast: {error}");
            Exit::of(error.inner()).into()
        }
        (Ok(()), None) => Exit::Failed.into(),
    }
}

async fn lab4(cluster: &Cluster) -> crate::Result<Journal> {
    crate::shop(cluster).await?;
    let shop = cluster.namespace("default");
    let front = shop.service("front").url("/");
    let failed_calls = shop.prometheus().counter("failed_call_total").label("job", "front").label("to", "middle");
    let traffic = load::get(&front).per_second(10).lasting(secs(10)).named("traffic");

    let served = Hypothesis::new("customers are served and no call to middle fails")
        .check(http::get(&front).expect(status(200)))
        .check(failed_calls.growth().expect(at_most(0.0)));

    let started = cluster.clock().now();
    Ok(Experiment::new("front keeps working when back is cut off", served)
        .background(&traffic)
        .pause(secs(5))
        .inject(shop.pods("app=back").deny_ingress())
        .pause(secs(5))
        .act(traffic.plot_to("traffic.html"))
        .act(shop.pods("app=front").logs().since(secs(10)).to("front.log"))
        .on_event(move |event| line(event, event.at.duration_since(started).as_secs_f64()))
        .run(cluster)
        .await?)
}

/// One line of the timeline. A closed pipe must not end the experiment half-way, so a failed write is passed over.
fn line(event: &Event, seconds: f64) {
    if !matches!(event.kind, EventKind::StepEnded | EventKind::EvaluationEnded) {
        let _ = writeln!(io::stdout(), "{seconds:>7.1} s  {event}");
    }
}

fn told(journal: &Journal, wall: &Stopwatch) -> io::Result<ExitCode> {
    let mut out = io::stdout();
    let virtual_time = journal.finished.duration_since(journal.started).as_secs_f64();
    writeln!(out, "\n{}", journal.summary())?;
    writeln!(out, "It took {:.2?}, for {virtual_time:.1} s of virtual time.", wall.elapsed())?;
    let folder = journal.path().and_then(Path::parent).unwrap_or(Path::new("."));
    if let Some(path) = journal.path() {
        writeln!(out, "  {}", path.display())?;
    }
    // Those of this run: one that ended before them may find those of an earlier one there.
    let done = journal.steps.iter().filter(|step| step.status == StepStatus::Succeeded);
    for file in done.filter_map(|step| step.output["file"].as_str()) {
        writeln!(out, "  {}", folder.join(file).display())?;
    }
    let as_expected = matches!(exit(journal.verdict, journal.recovered), Exit::Expected);
    writeln!(
        out,
        "{}",
        if as_expected {
            "Deviated is what this experiment expects: front answers, but its calls to middle fail without back."
        } else {
            "This experiment expects `deviated`, and `met` again after the rollback."
        }
    )?;
    Ok(exit(journal.verdict, journal.recovered).into())
}

/// What it ends with: without back the calls fail, and with it they do not.
fn exit(verdict: Verdict, recovered: Verdict) -> Exit {
    match (verdict, recovered) {
        (Deviated, Met) => Exit::Expected,
        (Inconclusive, _) => Exit::Inconclusive,
        _ => Exit::Deviated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_demo_shows_is_as_expected() {
        for (verdict, recovered, code) in [
            (Deviated, Met, 0),
            (Deviated, Deviated, 1),
            (Deviated, Inconclusive, 1),
            (Deviated, NotJudged, 1),
            (Met, Met, 1),
            (NotJudged, NotJudged, 1),
            (Inconclusive, NotJudged, 3),
            (Inconclusive, Met, 3),
        ] {
            assert_eq!(exit(verdict, recovered) as u8, code, "{verdict:?}, {recovered:?}");
        }
    }
}
