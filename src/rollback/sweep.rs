//! The sweep: undoes what runs left behind that are dead.

use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use futures_util::{FutureExt, StreamExt};
use ring::hmac;

use super::carry::{Book, Patience, undo_all};
use super::ledger::Disk;
use super::line::Record;
use super::reaper::Reaper;
use super::unasked::Unasked;
use super::{
    Complaint, EntryId, Header, InDrop, Ledger, LedgerError, OpenEntry, Reading, StateDir, Undo, UndoOutcome, Undoer,
    read, this_host,
};
use crate::clock::Timestamp;

/// How long undoing all open entries of a ledger of this process may take.
const WITHIN: std::time::Duration = std::time::Duration::from_secs(3);

/// How many ledgers are swept at a time.
const SIDE_BY_SIDE: usize = 8;

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
    /// Why it could not be written down what was done, or the file not be removed.
    pub unwritten: Option<String>,
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

/// Who sweeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweeper {
    /// A run that begins now, and that nobody has asked to. It makes again what was deleted in the last 24 h
    /// ([`RECREATE_WITHIN`](super::RECREATE_WITHIN)) and is known to have been, and tells of the rest.
    Run {
        /// The time.
        now: Timestamp,
    },
    /// A person, who is told.
    Person,
}

/// Undoes the open entries of all ledgers of `state` whose run is dead and whose cluster has this uid. Ledgers side by
/// side: they are of different runs, and one that is stuck must not delay the others.
///
/// # Errors
/// The state folder cannot be read or written. What one ledger holds is no error but in its [`Swept`].
pub async fn sweep(
    state: &StateDir,
    cluster: &str,
    undoer: &dyn Undoer,
    by: Sweeper,
) -> Result<Vec<Swept>, LedgerError> {
    let key = &state.key()?;
    let each = paths(state)?.into_iter().map(|path| sweep_one(path, key, cluster, undoer, by));
    let swept: Vec<Option<Swept>> = futures_util::stream::iter(each).buffered(SIDE_BY_SIDE).collect().await;
    Ok(swept.into_iter().flatten().collect())
}

/// `None` if its run ended well, or another sweep did its work, since the folder was listed.
async fn sweep_one(path: PathBuf, key: &hmac::Key, cluster: &str, undoer: &dyn Undoer, by: Sweeper) -> Option<Swept> {
    let left = |path, finding| Some(Swept { path, header: None, finding, complaints: Vec::new(), unwritten: None });
    let mut orphan = match take(&path, key) {
        Ok(Taken::Orphan(orphan)) => orphan,
        Ok(Taken::Alive) => return left(path, Finding::Alive),
        Ok(Taken::Gone) => return None,
        Err(error) => return left(path, Finding::Unreadable(error.to_string())),
    };
    let (header, complaints) = (orphan.reading.header.clone(), orphan.reading.complaints.clone());
    let left_alone = match &header {
        Some(header) if header.cluster != cluster => Some(Finding::NotThisCluster),
        Some(header) if header.host != this_host() => Some(Finding::OtherMachine),
        Some(_) => None,
        None => Some(Finding::NotThisCluster),
    };
    if let Some(finding) = left_alone {
        return Some(Swept { path, header, finding, complaints, unwritten: None });
    }
    let undone = match (by, &header) {
        (Sweeper::Run { now }, Some(header)) => {
            let unasked = Unasked::new(undoer, now, header, &orphan.reading.open);
            undo_all(&mut *orphan, &unasked, Patience::Once).await
        }
        _ => undo_all(&mut *orphan, undoer, Patience::Once).await,
    };
    let undos = undone.undos().map(|(undo, outcome)| (undo.clone(), outcome.clone())).collect();
    let unwritten = undone.unwritten.or_else(|| orphan.end().err()).map(|error| error.to_string());
    Some(Swept { path, header, finding: Finding::Undone(undos), complaints, unwritten })
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
        bytes: bytes.len() as u64,
        torn: reading.torn,
        failed: false,
        #[cfg(test)]
        fails_after: None,
        #[cfg(feature = "kubernetes")]
        leashed: false,
    };
    Ok(Taken::Orphan(Box::new(Orphan { disk, reading })))
}

impl Book for Orphan {
    fn open(&self) -> Vec<OpenEntry> {
        self.reading.open.clone()
    }

    fn settle(&mut self, entry: EntryId, outcomes: &[UndoOutcome]) -> Result<(), LedgerError> {
        if outcomes.iter().all(UndoOutcome::is_clean) {
            self.reading.open.retain(|open| open.entry != entry);
        }
        self.disk.append(&Record::Settled { entry, outcomes: outcomes.to_vec(), left: false })
    }
}

impl Orphan {
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
    let mut book = ledger.clone();
    let undone = match in_drop {
        // It waits for nothing, and so is ready at once.
        InDrop::Inline => Ok(undo_all(&mut book, undoer, Patience::None).now_or_never().unwrap_or_default()),
        InDrop::Reaper(connect) => Reaper::global().undo(connect.clone(), WITHIN, move |undoer, end| {
            Box::pin(async move { undo_all(&mut book, &*undoer, Patience::Until(end)).await })
        }),
    };
    match undone {
        Ok(undone) => {
            if let Some(error) = undone.unwritten {
                crate::journal::complain(&error);
            }
            undone.entries
        }
        Err(why) => {
            let leaked = |open: OpenEntry| (open.leaked(&why), open);
            ledger.open().into_iter().rev().map(leaked).map(|(outcomes, open)| (open, outcomes)).collect()
        }
    }
}
