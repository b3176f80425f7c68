//! What a leash does.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::time::{Instant, sleep, timeout_at};

use super::super::carry::{AGAIN_EVERY, Patience, Undone, undo_all};
use super::super::sweep::{Orphan, Taken, take};
use super::super::{Header, StateDir, Undoer};
use super::{AT_ONCE, MANY, READY, names};

/// How long a lock may be held by somebody else: a sweep that was faster, and then has undone it.
const LOCK_WITHIN: Duration = Duration::from_secs(10);

/// How long everything may take. What is not undone by then stays in its ledger.
const UNDO_WITHIN: Duration = Duration::from_secs(30);

/// Makes an undoer for the cluster of a ledger, which it must prove to be the same one.
type Open = dyn Fn(Header) -> BoxFuture<'static, Result<Box<dyn Undoer>, String>>;

/// Waits for the end of the process that started this one, and undoes what its ledgers hold open then.
///
/// # Errors
/// The process that started it does not listen, or there can be no runtime.
pub(crate) fn serve(open: &Open) -> io::Result<()> {
    // Out of reach of what kills a whole group: Ctrl-C, an IDE, a runner of tests.
    rustix::process::setsid()?;
    // For `ps`; without it nothing is lost.
    let _ = fs::write("/proc/self/comm", "steadfast-leash");
    let mut answer = io::stdout();
    answer.write_all(READY)?;
    answer.flush()?;
    let mut ledgers = told(io::stdin())?;
    ledgers.retain(|ledger| ledger.exists());
    if ledgers.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // With a handler, a standard error that nobody reads is no end of this process.
        let _handled = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::pipe());
        // Side by side, the newest first: they are of different runs, and one that is stuck must not delay the others.
        join_all(ledgers.iter().rev().map(|ledger| async move {
            match undo(ledger, open).await {
                Ok(done) => say(&done),
                Err(error) => say(&[format!("not what {} says: {error}", ledger.display())]),
            }
        }))
        .await;
    });
    Ok(())
}

/// The ledgers that the process has told of, when it is dead.
fn told(mut pipe: impl Read) -> io::Result<Vec<PathBuf>> {
    let (mut all, mut rest, mut piece) = (Vec::new(), Vec::new(), [0; AT_ONCE]);
    loop {
        let read = match pipe.read(&mut piece) {
            Ok(0) => return Ok(all),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        rest.extend_from_slice(&piece[..read]);
        all.extend(names(&rest));
        rest.drain(..rest.iter().rposition(|byte| *byte == 0).map_or(0, |end| end + 1));
        if all.len() > MANY {
            all.retain(|ledger| ledger.exists());
        }
    }
}

/// Undoes what one ledger holds open, the newest entry first, until it is clean or the time is over.
async fn undo(path: &Path, open: &Open) -> Result<Vec<String>, String> {
    let died = Instant::now();
    let deadline = died + UNDO_WITHIN;
    let Some(mut orphan) = lock(path, died + LOCK_WITHIN).await? else { return Ok(Vec::new()) };
    let header = orphan.reading.header.clone().ok_or("its first line cannot be believed")?;
    let mut undone = Undone::default();
    if !orphan.reading.open.is_empty() {
        let undoer = connect(&header, open, deadline).await?;
        undone = undo_all(&mut *orphan, &*undoer, Patience::Until(deadline)).await;
    }
    let done: Vec<String> = undone.undos().map(|(undo, outcome)| outcome.of(undo)).collect();
    match undone.unwritten.map_or_else(|| orphan.end(), Err) {
        Ok(()) => Ok(done),
        Err(error) => Err(format!("{error}; undone all the same: {}", done.join(", "))),
    }
}

/// The ledger, once nobody else holds it; `None` if it is gone, for then there is nothing left to undo.
async fn lock(path: &Path, deadline: Instant) -> Result<Option<Box<Orphan>>, String> {
    let state = path.parent().and_then(Path::parent).ok_or("it lies in no state folder")?;
    let key = StateDir::at(state).key().map_err(|error| error.to_string())?;
    loop {
        match take(path, &key).map_err(|error| error.to_string())? {
            Taken::Orphan(orphan) => return Ok(Some(orphan)),
            Taken::Gone => return Ok(None),
            Taken::Alive if Instant::now() >= deadline => return Err("somebody holds it".into()),
            Taken::Alive => sleep(AGAIN_EVERY / 10).await,
        }
    }
}

async fn connect(header: &Header, open: &Open, deadline: Instant) -> Result<Box<dyn Undoer>, String> {
    loop {
        match timeout_at(deadline, open(header.clone())).await {
            Ok(Ok(undoer)) => return Ok(undoer),
            Ok(Err(why)) if Instant::now() + AGAIN_EVERY >= deadline => return Err(why),
            Ok(Err(_)) => sleep(AGAIN_EVERY).await,
            Err(_) => return Err(format!("no connection within {UNDO_WITHIN:?}")),
        }
    }
}

/// Says what was undone, if somebody listens.
fn say(done: &[String]) {
    if !done.is_empty() {
        let _ = writeln!(io::stderr(), "steadfast: the leash undid after a death: {}", done.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Arc, Mutex};

    use super::super::super::carry::LATE_WITHIN;
    use super::super::super::{InDrop, Ledger, ObjectRef, Standing, Undo, UndoOutcome, this_host};
    use super::*;
    use crate::clock::Timestamp;

    /// Undoes by script, one outcome for each time it is asked for an object, and the last of them for ever.
    #[derive(Clone)]
    struct Scripted {
        script: Vec<UndoOutcome>,
        done: Arc<Mutex<Vec<String>>>,
    }

    impl Undoer for Scripted {
        fn undo<'a>(&'a self, undo: &'a Undo) -> BoxFuture<'a, UndoOutcome> {
            Box::pin(async move {
                let (mut done, name) = (self.done.lock().unwrap(), undo.object().name.clone());
                let before = done.iter().filter(|other| **other == name).count();
                done.push(name);
                self.script[before.min(self.script.len() - 1)].clone()
            })
        }

        fn stands<'a>(&'a self, _: &'a Undo) -> BoxFuture<'a, Result<Standing, String>> {
            Box::pin(async { Err("nobody asks".into()) })
        }

        fn in_drop(&self) -> InDrop {
            InDrop::Inline
        }
    }

    fn delete(name: &str, uid: Option<&str>) -> Undo {
        let (api_version, kind, resource) = ("v1".into(), "ConfigMap".into(), "configmaps".into());
        let object = ObjectRef { api_version, kind, resource, namespace: Some("default".into()), name: name.into() };
        Undo::Delete { object, owner: name.into(), uid: uid.map(str::to_owned), switch: None }
    }

    /// The ledger of a process that died with `first` applied and `second` at most on its way.
    fn left() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (pid, started, host) = (1, Timestamp::UNIX_EPOCH, this_host());
        let (run, cluster, server, context) = ("run".into(), "c".into(), "s".into(), "x".into());
        let header = Header { run, cluster, server, context, kubeconfig: None, pid, host, started };
        let ledger = Ledger::create(&StateDir::at(folder.path()), header).unwrap();
        let first = ledger.arm("o", "first", &[delete("first", None)]).unwrap();
        ledger.applied(first, &[delete("first", Some("u"))]).unwrap();
        ledger.arm("o", "second", &[delete("second", None)]).unwrap();
        let path = folder.path().join("ledger/run.jsonl");
        (folder, path)
    }

    fn scripted(script: &[UndoOutcome]) -> (Scripted, Box<Open>) {
        let undoer = Scripted { script: script.to_vec(), done: Arc::default() };
        let opened = undoer.clone();
        let open = move |_| -> BoxFuture<'static, Result<Box<dyn Undoer>, String>> {
            let opened: Box<dyn Undoer> = Box::new(opened.clone());
            Box::pin(async { Ok(opened) })
        };
        (undoer, Box::new(open))
    }

    fn gone() -> UndoOutcome {
        UndoOutcome::TargetGone { proof: "it is not found".into() }
    }

    fn leaked() -> UndoOutcome {
        UndoOutcome::Leaked { why: "503".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_is_undone_first_and_what_fails_once_more() {
        let (_folder, path) = left();
        let (undoer, open) = scripted(&[leaked(), leaked(), UndoOutcome::Reverted]);
        let told = undo(&path, &*open).await.unwrap();
        assert_eq!(*undoer.done.lock().unwrap(), ["second", "first", "second", "first", "second", "first"]);
        assert_eq!(told, ["delete configmap default/second", "delete configmap default/first"]);
        assert!(!path.exists());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_on_its_way_is_waited_for() {
        let (_folder, path) = left();
        let (undoer, open) = scripted(&[gone(), gone(), gone(), UndoOutcome::Reverted]);
        undo(&path, &*open).await.unwrap();
        // What is known to have been made is gone; what is not may still come, and did.
        assert_eq!(*undoer.done.lock().unwrap(), ["second", "first", "second", "second", "second"]);
        assert!(!path.exists());

        let (_folder, path) = left();
        let ((_, open), died) = (scripted(&[gone()]), Instant::now());
        undo(&path, &*open).await.unwrap();
        assert!(died.elapsed() >= LATE_WITHIN, "what never comes is waited for, and not for ever");
        assert!(!path.exists());
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_undone_stays_in_the_ledger() {
        let (_folder, path) = left();
        let ((_, open), died) = (scripted(&[leaked()]), Instant::now());
        let told = undo(&path, &*open).await.unwrap();
        assert!(died.elapsed() <= UNDO_WITHIN, "{:?}", died.elapsed());
        assert!(told.len() == 2 && told[0].contains("(not done: leaked: 503)"), "{told:?}");
        assert!(path.exists());
        let (again, open) = scripted(&[UndoOutcome::Reverted]);
        undo(&path, &*open).await.unwrap();
        assert_eq!((again.done.lock().unwrap().len(), path.exists()), (2, false), "whoever comes next finds both");
    }

    #[tokio::test(start_paused = true)]
    async fn two_leashes_undo_nothing_twice() {
        let (_folder, path) = left();
        let (undoer, open) = scripted(&[UndoOutcome::Reverted]);
        let (one, other) = tokio::join!(undo(&path, &*open), undo(&path, &*open));
        assert_eq!(one.unwrap().len() + other.unwrap().len(), 2);
        assert_eq!(*undoer.done.lock().unwrap(), ["second", "first"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_is_held_is_left_alone() {
        let (_folder, path) = left();
        let holder = fs::File::open(&path).unwrap();
        holder.lock().unwrap();
        let (undoer, open) = scripted(&[UndoOutcome::Reverted]);
        assert_eq!(undo(&path, &*open).await.unwrap_err(), "somebody holds it");
        assert!(undoer.done.lock().unwrap().is_empty() && path.exists());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_does_not_answer_is_asked_again() {
        let (_folder, path) = left();
        let (undoer, open) = scripted(&[UndoOutcome::Reverted]);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let refuses_at_first = move |header| -> BoxFuture<'static, Result<Box<dyn Undoer>, String>> {
            if count.fetch_add(1, SeqCst) < 3 { Box::pin(async { Err("refused".into()) }) } else { open(header) }
        };
        undo(&path, &refuses_at_first).await.unwrap();
        assert_eq!((asked.load(SeqCst), undoer.done.lock().unwrap().len()), (4, 2));
    }

    #[test]
    fn names_are_read_however_they_are_cut() {
        struct Dripping(Vec<u8>);
        impl Read for Dripping {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let Some(byte) = self.0.pop() else { return Ok(0) };
                into[0] = byte;
                Ok(1)
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b c"));
        let text = format!("{}\0{}\0/cut", a.display(), b.display());
        assert_eq!(told(text.as_bytes()).unwrap(), [a.clone(), b.clone()]);
        assert_eq!(told(Dripping(text.into_bytes().into_iter().rev().collect())).unwrap(), [a, b]);
    }
}
