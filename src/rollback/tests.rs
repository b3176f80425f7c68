//! The ledger under damage, and guards under every end of a scope.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::carry::{Patience, Undoing};
use super::*;
use crate::clock::Timestamp;

fn object(name: &str) -> ObjectRef {
    ObjectRef {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        resource: "configmaps".into(),
        namespace: Some("default".into()),
        name: name.into(),
    }
}

fn delete(name: &str) -> Undo {
    Undo::Delete { object: object(name), owner: name.into(), uid: None, switch: None }
}

fn recreate(deleted: Timestamp) -> Undo {
    let (namespace, manifest) = (Some("home".to_owned()), serde_json::json!({}));
    Undo::Recreate { object: object("m"), uid: "u".into(), namespace, deleted, manifest }
}

fn header(run: &str) -> Header {
    Header {
        run: run.into(),
        cluster: "c".into(),
        server: "s".into(),
        context: "x".into(),
        kubeconfig: None,
        pid: 1,
        host: this_host(),
        started: Timestamp::UNIX_EPOCH,
    }
}

/// What a fake undoer does.
#[derive(Clone, Copy, PartialEq)]
enum Temper {
    Undoes,
    Leaks,
    Panics,
    /// Answers only through a task of the runtime that it was made on, as a cloned client would.
    NeedsItsRuntime,
}

/// Remembers what it undid.
#[derive(Clone)]
struct Fake {
    done: Arc<Mutex<Vec<String>>>,
    temper: Temper,
    in_drop: InDrop,
    worker: Option<tokio::sync::mpsc::UnboundedSender<tokio::sync::oneshot::Sender<()>>>,
}

impl Fake {
    fn new(temper: Temper) -> Self {
        Self { done: Arc::default(), temper, in_drop: InDrop::Inline, worker: None }
    }

    /// One whose drop goes to the reaper, with an undoer of this temper made there.
    fn over_a_network(temper: Temper) -> Self {
        let there = Self::new(temper);
        let done = there.done.clone();
        let connect: Connect = Arc::new(move || {
            let mut there = there.clone();
            Box::pin(async move {
                if there.temper == Temper::NeedsItsRuntime {
                    there.worker = Some(worker());
                }
                Ok(Box::new(there) as Box<dyn Undoer>)
            })
        });
        Self { done, temper, in_drop: InDrop::Reaper(connect), worker: None }
    }

    fn done(&self) -> Vec<String> {
        self.done.lock().unwrap().clone()
    }
}

fn worker() -> tokio::sync::mpsc::UnboundedSender<tokio::sync::oneshot::Sender<()>> {
    let (sender, mut queue) = tokio::sync::mpsc::unbounded_channel::<tokio::sync::oneshot::Sender<()>>();
    tokio::spawn(async move {
        while let Some(answer) = queue.recv().await {
            let _ = answer.send(());
        }
    });
    sender
}

impl Undoer for Fake {
    fn undo<'a>(&'a self, undo: &'a Undo) -> BoxFuture<'a, UndoOutcome> {
        Box::pin(async move {
            if let Some(worker) = &self.worker {
                let (sender, answer) = tokio::sync::oneshot::channel();
                worker.send(sender).unwrap();
                answer.await.unwrap();
            }
            self.done.lock().unwrap().push(undo.object().name.clone());
            match self.temper {
                Temper::Undoes | Temper::NeedsItsRuntime => UndoOutcome::Reverted,
                Temper::Leaks => UndoOutcome::Leaked { why: "it is stuck".into() },
                Temper::Panics => panic!("in an undo"),
            }
        })
    }

    fn stands<'a>(&'a self, _: &'a Undo) -> BoxFuture<'a, Result<Standing, String>> {
        Box::pin(async { Ok(Standing::Stands { uid: String::new() }) })
    }

    fn in_drop(&self) -> InDrop {
        self.in_drop.clone()
    }
}

fn guard(ledger: &Ledger, fake: &Fake, names: &[&str]) -> UndoGuard {
    let undo = names.iter().map(|name| delete(name)).collect();
    UndoGuard::arm(ledger, "o", "a fault", undo, Arc::new(fake.clone()), Timestamp::UNIX_EPOCH).unwrap()
}

#[tokio::test]
async fn undos_run_last_to_first_and_each_is_tried() {
    for temper in [Temper::Undoes, Temper::Leaks, Temper::Panics] {
        let (ledger, fake) = (Ledger::memory("r"), Fake::new(temper));
        let mut guard = guard(&ledger, &fake, &["a", "b", "c"]);
        let outcomes = guard.rollback().await;
        assert_eq!(fake.done(), ["c", "b", "a"]);
        assert_eq!(outcomes.iter().all(UndoOutcome::is_clean), temper == Temper::Undoes);
        assert_eq!(ledger.open().is_empty(), temper == Temper::Undoes, "what leaked stays for the sweep");
        drop(guard);
        assert_eq!(fake.done().len(), 3, "what was tried is not tried again by the drop");
    }
}

#[test]
fn a_drop_undoes_without_any_runtime() {
    for fake in [Fake::new(Temper::Undoes), Fake::over_a_network(Temper::NeedsItsRuntime)] {
        let ledger = Ledger::memory("r");
        drop(guard(&ledger, &fake, &["a", "b"]));
        assert_eq!(fake.done(), ["b", "a"]);
        assert!(ledger.open().is_empty());
    }
}

/// The trap: an undoer whose worker lives on the runtime that the drop blocks can never answer.
#[tokio::test]
async fn a_drop_on_the_callers_runtime_needs_the_reapers_own_client() {
    let ledger = Ledger::memory("r");
    let mut borrowed = Fake::new(Temper::NeedsItsRuntime);
    borrowed.worker = Some(worker());
    let there = borrowed.clone();
    let connect: Connect = Arc::new(move || {
        let there = there.clone();
        Box::pin(async move { Ok(Box::new(there) as Box<dyn Undoer>) })
    });
    let mut undoing = Undoing::of(vec![delete("a")], true);
    let hangs = super::reaper::Reaper::global().undo(connect, Duration::from_millis(200), move |undoer, end| {
        Box::pin(async move {
            undoing.carry_out(&*undoer, Patience::Until(end)).await;
            undoing.done
        })
    });
    let hangs = hangs.unwrap();
    assert!(matches!(&hangs[..], [UndoOutcome::Leaked { why }] if why.contains("did not end")), "{hangs:?}");

    let own = Fake::over_a_network(Temper::NeedsItsRuntime);
    drop(guard(&ledger, &own, &["a"]));
    assert_eq!(own.done(), ["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_drop_inside_a_task_undoes() {
    let (ledger, fake) = (Ledger::memory("r"), Fake::over_a_network(Temper::NeedsItsRuntime));
    let guard = guard(&ledger, &fake, &["a"]);
    tokio::spawn(async move { drop(guard) }).await.unwrap();
    assert_eq!(fake.done(), ["a"]);
}

#[test]
fn a_panic_in_the_body_and_in_the_undo_aborts_nothing() {
    for fake in [Fake::new(Temper::Panics), Fake::over_a_network(Temper::Panics), Fake::new(Temper::Undoes)] {
        let ledger = Ledger::memory("r");
        let body = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = guard(&ledger, &fake, &["a", "b"]);
            panic!("in the body");
        }));
        assert_eq!(body.unwrap_err().downcast_ref::<&str>(), Some(&"in the body"));
        assert_eq!(fake.done(), ["b", "a"]);
    }
}

#[test]
fn a_guard_that_is_left_undoes_nothing() {
    let (ledger, fake) = (Ledger::memory("r"), Fake::new(Temper::Undoes));
    guard(&ledger, &fake, &["a"]).leave();
    assert_eq!(fake.done(), Vec::<String>::new());
    assert!(ledger.open().is_empty());
}

#[test]
fn after_a_signal_nothing_new_is_admitted() {
    let ledger = Ledger::memory("r");
    ledger.refuse_new();
    assert!(matches!(ledger.arm("o", "n", &[delete("a")]), Err(LedgerError::Closing)));
}

/// A ledger with three entries: one settled, one applied, one armed. Its bytes, and the key.
fn recorded() -> (Vec<u8>, ring::hmac::Key, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::at(folder.path());
    let ledger = Ledger::create(&state, header("run")).unwrap();
    let first = ledger.arm("a", "first", &[delete("a")]).unwrap();
    let second = ledger.arm("b", "second", &[delete("b")]).unwrap();
    ledger.settled(first, &[UndoOutcome::Reverted]).unwrap();
    let known = Undo::Delete { object: object("b"), owner: "b".into(), uid: Some("u".into()), switch: None };
    ledger.applied(second, &[known]).unwrap();
    ledger.arm("c", "third", &[delete("c")]).unwrap();
    let bytes = std::fs::read(folder.path().join("ledger/run.jsonl")).unwrap();
    (bytes, state.key().unwrap(), folder)
}

#[test]
fn a_second_ledger_of_one_name_is_an_error_with_its_own_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::at(folder.path());
    let _first = Ledger::create(&state, header("run")).unwrap();
    let error = Ledger::create(&state, header("run")).map(drop).unwrap_err().to_string();
    assert!(error.contains("STEADFAST_SEED") && !error.contains("STEADFAST_STATE_DIR"), "{error}");
}

#[test]
fn a_ledger_torn_at_every_byte_is_never_misread() {
    let (bytes, key, _folder) = recorded();
    let whole = read(&bytes, "run", &key);
    assert_eq!(whole.open.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["second", "third"]);
    assert!(whole.complaints.is_empty() && whole.header.is_some());
    for end in 0..bytes.len() {
        let torn = read(&bytes[..end], "run", &key);
        // A line is whole with its last byte before the newline.
        let lines = bytes[..end].split(|b| *b == b'\n').count();
        let complete = (0..lines)
            .filter(|n| bytes.split(|b| *b == b'\n').nth(*n) == bytes[..end].split(|b| *b == b'\n').nth(*n))
            .count();
        let expected = match complete {
            0 | 1 => vec![],
            2 => vec!["first"],
            3 => vec!["first", "second"],
            4 | 5 => vec!["second"],
            _ => vec!["second", "third"],
        };
        assert_eq!(torn.open.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), expected, "torn at {end}");
        assert!(torn.complaints.iter().all(|c| matches!(c, Complaint::Torn { .. })), "torn at {end}");
    }
}

#[test]
fn a_ledger_with_any_byte_changed_is_never_acted_on_wrongly() {
    let (bytes, key, _folder) = recorded();
    let whole = read(&bytes, "run", &key);
    let known: Vec<_> = whole.open.iter().flat_map(|o| &o.undo).chain([&delete("a"), &delete("b")]).cloned().collect();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x04;
        let reading = read(&damaged, "run", &key);
        assert!(reading.open.iter().flat_map(|o| &o.undo).all(|undo| known.contains(undo)), "changed at {at}");
        assert!(!reading.complaints.is_empty(), "changed at {at}, and nobody complains");
    }
}

#[test]
fn lines_that_others_wrote_or_moved_are_foreign() {
    let (bytes, key, _folder) = recorded();
    let other = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[7; 32]);
    let reading = read(&bytes, "run", &other);
    assert!(reading.open.is_empty() && reading.header.is_none());
    assert!(reading.complaints.iter().all(|c| matches!(c, Complaint::Foreign { .. })));
    assert!(read(&bytes, "another", &key).open.is_empty(), "a ledger under another run's name");
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
    lines.swap(1, 2);
    let moved = read(&lines.concat(), "run", &key);
    assert!(moved.complaints.len() >= 2 && moved.complaints.iter().all(|c| matches!(c, Complaint::Foreign { .. })));
}

#[test]
fn an_undo_of_an_unknown_version_or_kind_is_reported_and_not_guessed() {
    let (mut bytes, key, _folder) = recorded();
    let from_the_future = |version, kind: &str| super::line::Record::Armed {
        entry: 9,
        version,
        owner: "x".into(),
        name: "future".into(),
        undo: vec![serde_json::json!({"undo": kind, "object": object("x")})],
    };
    for (number, record) in [(6, from_the_future(3, "delete")), (7, from_the_future(1, "teleport"))] {
        bytes.extend(super::line::write(&key, "run", number, &record).unwrap().bytes());
    }
    let reading = read(&bytes, "run", &key);
    assert_eq!(reading.open.len(), 2, "what is known is read");
    assert!(
        matches!(&reading.complaints[..], [Complaint::Unknown { why, .. }, Complaint::Unknown { .. }] if why.contains("version 3")),
        "{:?}",
        reading.complaints
    );
}

#[tokio::test]
async fn a_sweep_goes_on_behind_a_torn_line_and_keeps_what_leaks() {
    let (bytes, _, folder) = recorded();
    let state = StateDir::at(folder.path());
    let path = folder.path().join("ledger/run.jsonl");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    let stuck = Fake::new(Temper::Leaks);
    let swept = sweep(&state, "c", &stuck, Sweeper::Person).await.unwrap();
    assert_eq!(swept[0].complaints, [Complaint::Torn { line: 6 }]);
    assert_eq!(stuck.done(), ["b"], "the torn entry was never applied, the settled one is done");
    assert!(path.exists(), "what leaked is kept");
    let works = Fake::new(Temper::Undoes);
    sweep(&state, "c", &works, Sweeper::Person).await.unwrap();
    assert_eq!(works.done(), ["b"]);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_keeps_no_other_from_being_swept() {
    let (_, _, folder) = recorded();
    let state = StateDir::at(folder.path());
    std::fs::create_dir(folder.path().join("ledger/a.jsonl")).unwrap();
    let works = Fake::new(Temper::Undoes);
    let swept = sweep(&state, "c", &works, Sweeper::Person).await.unwrap();
    assert!(matches!(swept[0].finding, Finding::Unreadable(_)), "{swept:?}");
    assert_eq!(works.done(), ["c", "b"]);
}

#[test]
fn a_run_has_one_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::at(folder.path());
    let ledger = Ledger::create(&state, header("run")).unwrap();
    let error = Ledger::create(&state, header("run")).err().unwrap().to_string();
    assert!(error.contains("run.jsonl"), "{error}");
    ledger.finish().unwrap();
    assert!(!folder.path().join("ledger/run.jsonl").exists());
}

#[test]
fn a_restoration_that_names_nobody_is_that_of_its_entry_in_old_lines_alone() {
    let by = Author { run: "run".into(), owner: "o".into() };
    let (object, fields) = (object("a"), vec![]);
    let restore = |by| Undo::Restore { object: object.clone(), uid: "u".into(), by, fields: fields.clone() };
    let mut lines = super::line::to_values(&[restore(None), restore(Some(by.clone()))]);
    let read = |lines: &[serde_json::Value]| super::line::from_values(1, lines, &by).unwrap();
    assert_eq!(read(&lines), [restore(None), restore(Some(by.clone()))]);
    lines[0].as_object_mut().unwrap().remove("by");
    assert_eq!(read(&lines)[0], restore(Some(by.clone())));
}

/// A line that cannot be written, at any length, is no line; those after it are read, and nothing new is injected.
#[test]
fn a_line_that_fails_leaves_nothing_behind_and_admits_nothing_new() {
    for bytes in [0, 1, 20, usize::MAX] {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(folder.path());
        let ledger = Ledger::create(&state, header("run")).unwrap();
        let first = ledger.arm("a", "first", &[delete("a")]).unwrap();
        ledger.arm("b", "second", &[delete("b")]).unwrap();
        ledger.fails_after(bytes);
        assert!(matches!(ledger.arm("c", "third", &[delete("c")]), Err(LedgerError::File { .. })));
        let error = ledger.arm("d", "fourth", &[delete("d")]).unwrap_err().to_string();
        assert!(error.contains("nothing new is injected") && error.contains("run.jsonl"), "{error}");
        ledger.settled(first, &[UndoOutcome::Reverted]).unwrap();
        let reading =
            read(&std::fs::read(folder.path().join("ledger/run.jsonl")).unwrap(), "run", &state.key().unwrap());
        assert_eq!(reading.complaints, [], "after {bytes} bytes");
        assert_eq!(reading.open.iter().map(|open| open.name.as_str()).collect::<Vec<_>>(), ["second"]);
    }
}

/// A deletion of which nobody knows that it was made is looked for, too: the object is there until it comes.
#[tokio::test(start_paused = true)]
async fn a_deletion_on_its_way_is_looked_for() {
    let undo = || vec![recreate(Timestamp::UNIX_EPOCH)];
    for applied in [true, false] {
        let fake = Fake::new(Temper::Undoes);
        let mut undoing = Undoing::of(undo(), applied);
        undoing.carry_out(&fake, Patience::Once).await;
        assert_eq!(undoing.done, [UndoOutcome::Reverted]);
        let looks = fake.done.lock().unwrap().len();
        assert_eq!(looks > 1, !applied, "looked {looks} times");
    }
}

/// What was not deleted by the run is not made again by it.
#[tokio::test]
async fn what_somebody_else_deleted_is_not_made_again() {
    let both = vec![recreate(Timestamp::UNIX_EPOCH), recreate(Timestamp::UNIX_EPOCH)];
    for (uids, made_again) in [(vec![Some("u".to_owned()), None], [true, false]), (Vec::new(), [false, false])] {
        let mut undoing = Undoing::of(both.clone(), false);
        undoing.applied(uids);
        let kinds: Vec<_> = undoing.undo.iter().map(|undo| matches!(undo, Undo::Recreate { .. })).collect();
        assert_eq!(kinds, made_again);
    }
}

/// A run that begins makes nothing again that may be away by somebody's will; a person who asks for it has it.
#[tokio::test]
async fn what_was_deleted_long_ago_or_by_nobody_knows_whom_is_made_again_only_by_a_person() {
    let deleted = Timestamp::UNIX_EPOCH;
    let (limit, hour) = (RECREATE_WITHIN, Duration::from_secs(3600));
    for (after, applied, unasked) in
        [(hour, true, true), (limit, true, true), (limit + Duration::from_secs(1), true, false), (hour, false, false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(folder.path());
        let ledger = Ledger::create(&state, header("run")).unwrap();
        let undo = [recreate(deleted)];
        let entry = ledger.arm("o", "delete m", &undo).unwrap();
        if applied {
            ledger.applied(entry, &undo).unwrap();
        }
        drop(ledger);
        let (works, by) = (Fake::new(Temper::Undoes), Sweeper::Run { now: crate::clock::later(deleted, after) });
        let swept = sweep(&state, "c", &works, by).await.unwrap();
        let Finding::Undone(undone) = &swept[0].finding else { panic!("{swept:?}") };
        let outcome = undone[0].1.to_string();
        assert_eq!((undone[0].1.is_clean(), works.done().is_empty()), (unasked, !unasked), "{after:?}: {outcome}");
        if !unasked {
            let why =
                if applied { "1970-01-01T00:00:00Z, which is more than 24 h" } else { "died while it was deleting it" };
            assert!(outcome.contains(why) && outcome.contains("`steadfast sweep --context x`"), "{outcome}");
            let swept = sweep(&state, "c", &works, Sweeper::Person).await.unwrap();
            assert!(matches!(&swept[0].finding, Finding::Undone(undone) if undone[0].1.is_clean()), "{swept:?}");
            assert!(!works.done().is_empty());
        }
        assert!(!folder.path().join("ledger/run.jsonl").exists());
    }
}

/// The first version did not say when and in which namespace: nothing is guessed.
#[tokio::test]
async fn a_recreation_of_the_first_version_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::at(folder.path());
    drop(Ledger::create(&state, header("run")).unwrap());
    let path = folder.path().join("ledger/run.jsonl");
    let mut undo = serde_json::to_value(recreate(Timestamp::UNIX_EPOCH)).unwrap();
    let whole = undo.clone();
    for key in ["namespace", "deleted"] {
        undo.as_object_mut().unwrap().remove(key);
    }
    let mut bytes = std::fs::read(&path).unwrap();
    // Whole or not: it is of a version that had neither.
    for (number, undo) in [(1, undo), (2, whole)] {
        let (version, owner, name) = (1, "o".to_owned(), "delete m".to_owned());
        let record = super::line::Record::Armed { entry: number, version, owner, name, undo: vec![undo] };
        bytes.extend(super::line::write(&state.key().unwrap(), "run", number, &record).unwrap().bytes());
    }
    std::fs::write(&path, bytes).unwrap();
    let works = Fake::new(Temper::Undoes);
    let swept = sweep(&state, "c", &works, Sweeper::Person).await.unwrap();
    let told: Vec<_> = swept[0].complaints.iter().map(ToString::to_string).collect();
    assert!(told.len() == 2 && told.iter().all(|told| told.contains("in which namespace and when m was")), "{told:?}");
    assert_eq!(works.done(), Vec::<String>::new());
    assert!(path.exists(), "it is kept for the steadfast that wrote it");
}

/// Lines that an older steadfast knows are written as it knows them.
#[test]
fn a_line_has_the_oldest_version_that_it_can_be_read_by() {
    assert_eq!(super::line::version_of(&[delete("a")]), 1);
    assert_eq!(super::line::version_of(&[delete("a"), recreate(Timestamp::UNIX_EPOCH)]), UNDO_VERSION);
}

fn lease() -> Undo {
    let object = ObjectRef {
        api_version: "coordination.k8s.io/v1".into(),
        kind: "Lease".into(),
        resource: "leases".into(),
        ..object(super::place::LEASE)
    };
    Undo::Delete { object, owner: "hold".into(), uid: Some("l".into()), switch: None }
}

/// Whoever undoes: the lease of a place stays where something of the run may still be on.
#[tokio::test]
async fn a_lease_is_not_given_back_where_a_fault_leaks() {
    for way in ["guard", "drop", "sweep", "signal"] {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(folder.path());
        let (ledger, leaks) = (Ledger::create(&state, header("run")).unwrap(), Fake::new(Temper::Leaks));
        let both = [("hold", lease()), ("a fault", delete("a"))];
        if matches!(way, "guard" | "drop") {
            let [mut held, mut fault] = both.map(|(name, undo)| {
                let undoer = Arc::new(leaks.clone());
                let mut guard = UndoGuard::arm(&ledger, "o", name, vec![undo], undoer, Timestamp::UNIX_EPOCH).unwrap();
                guard.applied(vec![None]).unwrap();
                guard
            });
            if way == "guard" {
                fault.rollback().await;
                let kept = held.rollback().await[0].to_string();
                assert!(kept.contains("it is kept") && kept.contains("a fault may still be on there"), "{kept}");
            }
            drop(fault);
            drop(held);
            assert_eq!(ledger.open().len(), 2, "{way}: both are left for the sweep");
        } else {
            for (name, undo) in both {
                let entry = ledger.arm("o", name, std::slice::from_ref(&undo)).unwrap();
                ledger.applied(entry, &[undo]).unwrap();
            }
        }
        if way == "signal" {
            let outcomes = sweep_ledger(&ledger, &InDrop::Inline, &leaks);
            let left = outcomes.iter().filter(|(_, outcomes)| !outcomes.iter().all(UndoOutcome::is_clean));
            assert_eq!((outcomes.len(), left.count()), (2, 2), "{outcomes:?}");
        }
        drop(ledger);
        if way == "sweep" {
            sweep(&state, "c", &leaks, Sweeper::Person).await.unwrap();
        }
        assert_eq!(leaks.done(), ["a"], "{way}");
        let works = Fake::new(Temper::Undoes);
        sweep(&state, "c", &works, Sweeper::Person).await.unwrap();
        assert_eq!(works.done(), ["a", "steadfast"], "{way}: with the fault the lease goes too");
    }
}

/// A change of which nobody knows that it was made is looked for until its request cannot come any more.
#[tokio::test(start_paused = true)]
async fn a_change_on_its_way_is_looked_for_by_whoever_undoes() {
    /// Finds the object only from its third look on.
    #[derive(Clone, Default)]
    struct Late(Arc<Mutex<Vec<String>>>);
    impl Undoer for Late {
        fn undo<'a>(&'a self, undo: &'a Undo) -> BoxFuture<'a, UndoOutcome> {
            let mut done = self.0.lock().unwrap();
            let name = undo.object().name.clone();
            done.push(name.clone());
            let came = name != "late" || done.iter().filter(|other| **other == name).count() == 3;
            let gone = UndoOutcome::TargetGone { proof: "it is not found".into() };
            Box::pin(async move { if came { UndoOutcome::Reverted } else { gone } })
        }
        fn stands<'a>(&'a self, _: &'a Undo) -> BoxFuture<'a, Result<Standing, String>> {
            Box::pin(async { Err("nobody asks".into()) })
        }
        fn in_drop(&self) -> InDrop {
            let there = self.clone();
            InDrop::Reaper(Arc::new(move || {
                let there = there.clone();
                Box::pin(async move { Ok(Box::new(there) as Box<dyn Undoer>) })
            }))
        }
    }

    for way in ["guard", "drop", "sweep", "signal"] {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(folder.path());
        let (ledger, undoer) = (Ledger::create(&state, header("run")).unwrap(), Late::default());
        let first = ledger.arm("o", "first", &[delete("first")]).unwrap();
        ledger.applied(first, &[delete("first")]).unwrap();
        let arm = || {
            let (undo, undoer) = (vec![delete("late")], Arc::new(undoer.clone()));
            UndoGuard::arm(&ledger, "o", "late", undo, undoer, Timestamp::UNIX_EPOCH).unwrap()
        };
        let late = ["late", "late", "late"];
        match way {
            "guard" => {
                assert_eq!(arm().rollback().await, [UndoOutcome::Reverted]);
                assert_eq!(*undoer.0.lock().unwrap(), late);
            }
            "drop" => {
                drop(arm());
                assert_eq!(*undoer.0.lock().unwrap(), late);
            }
            _ => {
                ledger.arm("o", "late", &[delete("late")]).unwrap();
                if way == "signal" {
                    sweep_ledger(&ledger, &undoer.in_drop(), &undoer);
                } else {
                    drop(ledger);
                    sweep(&state, "c", &undoer, Sweeper::Person).await.unwrap();
                }
                assert_eq!(*undoer.0.lock().unwrap(), ["late", "first", "late", "late"], "{way}: nobody waits for it");
            }
        }
    }
}
