//! The sweep: undoes what runs left behind that are dead.

use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use ring::hmac;

use super::ledger::Disk;
use super::line::Record;
use super::reaper::Reaper;
use super::{
    Complaint, EntryId, Header, InDrop, Ledger, LedgerError, OpenEntry, Reading, StateDir, Undo, UndoOutcome, Undoer,
    read, this_host,
};

/// How long undoing all open entries of a ledger of this process may take.
const WITHIN: std::time::Duration = std::time::Duration::from_secs(3);

/// What was found in one ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct Swept {
    /// The file.
    pub path: PathBuf,
    /// Whose it is, if that can be believed.
    pub header: Option<Header>,
    /// What was done with it.
    pub finding: Finding,
    /// What was not believed, and so not acted on.
    pub complaints: Vec<Complaint>,
}

/// What a sweep did with one ledger.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// Its run is alive: left alone.
    Alive,
    /// It belongs to another cluster, or nobody can tell: left alone.
    NotThisCluster,
    /// It was written on another machine, of whose processes this one knows nothing: left alone.
    OtherMachine,
    /// It cannot be read, for this reason: left alone.
    Unreadable(String),
    /// Its open undos were carried out, the newest entry first.
    Undone(Vec<(Undo, UndoOutcome)>),
}

/// One ledger, looked at and left alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub reading: Reading,
    /// Whether its run, or a sweep, has it open.
    pub alive: bool,
}

/// All ledgers of `state`, as they are now. Undoes nothing.
///
/// # Errors
/// The state folder cannot be read or written, or one of the ledgers not be read.
pub fn list(state: &StateDir) -> Result<Vec<Listed>, LedgerError> {
    let key = state.key()?;
    let mut listed = Vec::new();
    for path in paths(state)? {
        let mut file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(LedgerError::file("read", &path)(error)),
        };
        let alive = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(LedgerError::file("read", &path))?;
        let run = run_of(&path);
        listed.push(Listed { reading: read(&bytes, &run, &key), path, alive });
    }
    Ok(listed)
}

/// The run whose ledger a file is: its name.
fn run_of(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The files of a state folder's ledgers, in the order of their names.
fn paths(state: &StateDir) -> Result<Vec<PathBuf>, LedgerError> {
    let folder = state.ledgers()?;
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .map_err(LedgerError::file("read", &folder))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    paths.sort();
    Ok(paths)
}

/// Undoes the open entries of all ledgers of `state` whose run is dead and whose cluster has this uid.
///
/// # Errors
/// The state folder cannot be read or written. What one ledger holds is no error but in its [`Swept`].
pub async fn sweep(state: &StateDir, cluster: &str, undoer: &dyn Undoer) -> Result<Vec<Swept>, LedgerError> {
    let key = state.key()?;
    let mut swept = Vec::new();
    for path in paths(state)? {
        let left = |path, finding| Swept { path, header: None, finding, complaints: Vec::new() };
        let mut orphan = match take(&path, &key) {
            Ok(Taken::Orphan(orphan)) => orphan,
            Ok(Taken::Alive) => {
                swept.push(left(path, Finding::Alive));
                continue;
            }
            Ok(Taken::Gone) => continue,
            // Those after it are undone all the same.
            Err(error) => {
                swept.push(left(path, Finding::Unreadable(error.to_string())));
                continue;
            }
        };
        let (header, complaints) = (orphan.reading.header.clone(), orphan.reading.complaints.clone());
        let left_alone = match &header {
            Some(header) if header.cluster != cluster => Some(Finding::NotThisCluster),
            Some(header) if header.host != this_host() => Some(Finding::OtherMachine),
            Some(_) => None,
            None => Some(Finding::NotThisCluster),
        };
        if let Some(finding) = left_alone {
            swept.push(Swept { path, header, finding, complaints });
            continue;
        }
        let mut undone = Vec::new();
        for open in orphan.reading.open.clone().into_iter().rev() {
            let mut outcomes = Vec::new();
            for undo in open.undo.iter().rev() {
                let outcome = undoer.undo(undo).await;
                undone.push((undo.clone(), outcome.clone()));
                outcomes.push(outcome);
            }
            orphan.settle(open.entry, outcomes)?;
        }
        orphan.end()?;
        swept.push(Swept { path, header, finding: Finding::Undone(undone), complaints });
    }
    Ok(swept)
}

/// A ledger that was found.
pub(super) enum Taken {
    /// Nobody holds it, and now we do.
    Orphan(Box<Orphan>),
    /// Its run holds it, or another sweep.
    Alive,
    /// Its run ended well, or another sweep did its work, since the folder was listed.
    Gone,
}

/// The ledger of a dead run. It is locked: nobody else undoes what it holds.
pub(super) struct Orphan {
    disk: Disk,
    /// What it says.
    pub(super) reading: Reading,
}

/// Takes a ledger whose run is dead, and reads it.
pub(super) fn take(path: &Path, key: &hmac::Key) -> io::Result<Taken> {
    let mut file = match OpenOptions::new().read(true).append(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Taken::Gone),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Taken::Alive),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Whoever removed it held the lock until then.
    if file.metadata()?.nlink() == 0 {
        return Ok(Taken::Gone);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let run = run_of(path);
    let reading = read(&bytes, &run, key);
    let disk = Disk {
        file,
        path: path.to_owned(),
        key: key.clone(),
        run,
        lines: reading.lines,
        #[cfg(feature = "kubernetes")]
        leashed: false,
    };
    Ok(Taken::Orphan(Box::new(Orphan { disk, reading })))
}

impl Orphan {
    /// Writes down how the undos of an entry ended. What did not end clean stays open.
    pub(super) fn settle(&mut self, entry: EntryId, outcomes: Vec<UndoOutcome>) -> Result<(), LedgerError> {
        if std::mem::take(&mut self.reading.torn) {
            // Ends the torn line, so that the next one is whole; the torn one keeps its number.
            self.disk.file.write_all(b"\n").map_err(LedgerError::file("write", &self.disk.path))?;
        }
        if outcomes.iter().all(UndoOutcome::is_clean) {
            self.reading.open.retain(|open| open.entry != entry);
        }
        self.disk.append(&Record::Settled { entry, outcomes, left: false })
    }

    /// Removes the file if nothing in it is open. What is not known may still be on: such a file is kept for whoever
    /// knows.
    pub(super) fn end(self) -> Result<(), LedgerError> {
        let unknown = self.reading.complaints.iter().any(|c| matches!(c, Complaint::Unknown { .. }));
        if unknown || !self.reading.open.is_empty() {
            return Ok(());
        }
        fs::remove_file(&self.disk.path).map_err(LedgerError::file("remove", &self.disk.path))
    }
}

/// Undoes the open entries of a ledger of this process, the newest first, without a runtime of the caller's. How the
/// undos of each ended, the last change first.
pub fn sweep_ledger(ledger: &Ledger, in_drop: &InDrop, undoer: &dyn Undoer) -> Vec<(OpenEntry, Vec<UndoOutcome>)> {
    let (mut all, since) = (Vec::new(), crate::clock::Stopwatch::start());
    for open in ledger.open().into_iter().rev() {
        let undo: Vec<Undo> = open.undo.iter().rev().cloned().collect();
        let outcomes = match in_drop {
            InDrop::Inline => undo
                .iter()
                .map(|undo| {
                    let waits = || UndoOutcome::Leaked { why: format!("{undo}: it waits, and this cannot") };
                    undoer.undo(undo).now_or_never().unwrap_or_else(waits)
                })
                .collect(),
            InDrop::Reaper(connect) => {
                Reaper::global().undo(connect.clone(), undo, WITHIN.saturating_sub(since.elapsed()))
            }
        };
        if let Err(error) = ledger.settled(open.entry, &outcomes) {
            crate::journal::complain(&error);
        }
        all.push((open, outcomes));
    }
    all
}
