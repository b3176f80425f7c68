//! Runs a test's body on the cluster that the environment asks for.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;

use super::queue::Turn;
use super::{Cluster, ClusterError, Target};
use crate::Error;
#[cfg(feature = "lab")]
use crate::clock::Clock;
use crate::clock::Seed;
use crate::journal::complain;

/// What tokio says of a socket on a runtime without I/O.
const NO_IO: &str = "IO is disabled";

/// What to know then.
const NO_SOCKETS: &str = "in virtual time there are no real sockets: a paused clock would jump while it waits for them. \
Reach services of the embedded cluster through probes, loads and `cluster.client()`, or run in real time with STEADFAST_REAL_TIME=1";

/// Runs `body` on a cluster, to its end: on the embedded one in virtual time, unless `STEADFAST_REAL_TIME=1`.
/// This is what `#[steadfast::test]` expands to.
///
/// # Errors
/// The cluster is not to be had, or what `body` returns.
///
/// # Panics
/// As `body`.
#[doc(hidden)]
pub fn run_test<F>(test: &str, body: F) -> Result<(), Error>
where
    F: AsyncFnOnce(Cluster) -> Result<(), Error>,
{
    run_test_on(&Target::from_env()?, test, body)
}

/// As [`run_test`], on this cluster whatever `STEADFAST_CLUSTER` says.
///
/// # Errors
/// The cluster is not to be had, or what `body` returns.
///
/// # Panics
/// As `body`.
#[doc(hidden)]
pub fn run_test_on<F>(target: &Target, test: &str, body: F) -> Result<(), Error>
where
    F: AsyncFnOnce(Cluster) -> Result<(), Error>,
{
    let _turn = if *target == Target::Embedded { None } else { Some(Turn::wait(target, test)?) };
    let real = real_time()? || *target != Target::Embedded;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    if real {
        builder.enable_all();
    } else {
        // Without I/O: a paused clock jumps whenever it waits for the real world.
        builder.enable_time().start_paused(true);
    }
    let runtime = builder.build().map_err(ClusterError::Runtime)?;
    let mut broken = None;
    let work = async {
        let cluster = open(target, real, test).await?;
        broken = Some(cluster.inner.broken.clone());
        body(cluster).await
    };
    let done = catch_unwind(AssertUnwindSafe(|| runtime.block_on(work)));
    let broken = broken.and_then(|broken| broken.lock().unwrap_or_else(PoisonError::into_inner).take());
    if let Some(summary) = broken.filter(|summary| is_untold(&done, summary)) {
        complain(&format!("the last run of {test} that broke off:\n{summary}"));
    }
    if !real && !matches!(done, Ok(Ok(()))) {
        // A seed that cannot be read is the failure itself, and says so.
        if let Ok(Seed(seed)) = Seed::from_env() {
            complain(&format!("{test} failed; to run it again as it was: STEADFAST_SEED={seed}"));
        }
    }
    match done {
        Ok(done) => done,
        Err(payload) => {
            if !real && text(&*payload).is_some_and(|text| text.contains(NO_IO)) {
                complain(NO_SOCKETS);
            }
            resume_unwind(payload)
        }
    }
}

/// Whether a test fails of something that does not tell this summary itself.
fn is_untold(done: &std::thread::Result<Result<(), Error>>, summary: &str) -> bool {
    match done {
        Ok(Ok(())) => false,
        Ok(Err(error)) => !error.to_string().contains(summary),
        Err(payload) => !text(&**payload).is_some_and(|text| text.contains(summary)),
    }
}

/// What `STEADFAST_REAL_TIME` says.
pub(crate) fn real_time() -> Result<bool, ClusterError> {
    match crate::variables::text("STEADFAST_REAL_TIME").as_deref() {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(other) => Err(ClusterError::UnknownTime { text: other.to_owned() }),
    }
}

async fn open(target: &Target, real: bool, test: &str) -> Result<Cluster, ClusterError> {
    #[cfg(feature = "lab")]
    if *target == Target::Embedded {
        let clock = if real { Clock::real() } else { Clock::virtual_time() };
        return Cluster::embedded_with(clock, Seed::from_env()?, test);
    }
    let _ = real;
    Cluster::open(target, test).await
}

fn text(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

/// Runs an experiment in a place without `#[steadfast::test]`, such as a documentation example: on the cluster that
/// `STEADFAST_CLUSTER` asks for, embedded and in virtual time by default.
///
/// # Panics
/// The body fails or panics, or the cluster is not to be had.
#[cfg(feature = "lab")]
#[track_caller]
pub fn block_on<F>(body: F)
where
    F: AsyncFnOnce(Cluster) -> Result<(), Error>,
{
    let place = std::panic::Location::caller();
    let name = format!("{}-{}", place.file(), place.line());
    if let Err(error) = run_test(&name, body) {
        panic!("{error}");
    }
}
