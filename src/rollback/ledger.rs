//! The ledger: what is to be undone, written down before it is done.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::hmac;
use serde::{Deserialize, Serialize};

use super::carry::Book;
use super::line::{self, Record};
use super::state::{create_private, sync_folder};
use super::{StateDir, Undo, UndoOutcome};
use crate::clock::Timestamp;

/// The number of an entry in its ledger.
pub type EntryId = u64;

/// Whose ledger it is, and of which cluster: a remade cluster of the same name is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The run.
    pub run: String,
    /// The uid of the cluster's `kube-system`.
    pub cluster: String,
    /// The URL of its API server.
    pub server: String,
    /// The context.
    pub context: String,
    /// The kubeconfig, if it is not the user's own.
    pub kubeconfig: Option<PathBuf>,
    /// The process.
    pub pid: u32,
    /// The machine.
    pub host: String,
    /// When the run began.
    pub started: Timestamp,
}

/// A ledger that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// No folder to keep it in.
    #[error("there is no folder for the ledger: set STEADFAST_STATE_DIR, XDG_STATE_HOME or HOME")]
    NoStateDir,
    /// The file system says no.
    #[error("failed to {doing} {path}: {source}; set STEADFAST_STATE_DIR to a folder that can be written")]
    File {
        /// `write`, `read`, `make`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is one of that name.
    #[error(
        "run {run} has a ledger already, {path}: it is alive, or has left something (`{sweep} --list`). With one STEADFAST_SEED runs on a cluster over a network have the same names: unset it, or set another"
    )]
    NameTaken {
        /// The run.
        run: String,
        /// The file.
        path: PathBuf,
        /// How to sweep its cluster.
        sweep: String,
    },
    /// Others could forge entries.
    #[error("the key {path} can be read by other users: run `chmod 600 {path}`, or remove it if no run is open")]
    KeyIsPublic {
        /// The file.
        path: PathBuf,
    },
    /// The key is not one.
    #[error("the key {path} is not 32 bytes long; remove it if no ledger lies beside it")]
    KeyIsBroken {
        /// The file.
        path: PathBuf,
    },
    /// A signal came: nothing new may be injected.
    #[error("the run is ending, so nothing new is injected")]
    Closing,
    /// An earlier line could not be written.
    #[error("nothing new is injected, since a line of the ledger {path} could not be written before")]
    Failed {
        /// The file.
        path: PathBuf,
    },
    /// An entry that cannot be written as JSON.
    #[error("failed to write the ledger entry: {0}")]
    Json(#[from] serde_json::Error),
}

impl LedgerError {
    pub(super) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { doing, path, source }
    }
}

/// An entry that is not settled.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenEntry {
    /// Its number.
    pub entry: EntryId,
    /// The owner label on what it created.
    pub owner: String,
    /// The fault, in words.
    pub name: String,
    /// How to take it back, in the order of the changes.
    pub undo: Vec<Undo>,
    /// Whether the change is known to have been made. If not, it may have been, or its request may be on its way.
    pub applied: bool,
}

/// The ledger of one run. Cheap to clone; all clones write the same one.
#[derive(Clone)]
pub struct Ledger {
    pages: Arc<Mutex<Pages>>,
}

struct Pages {
    disk: Option<Disk>,
    open: Vec<OpenEntry>,
    next: EntryId,
    closing: bool,
    /// Something ended in another way than clean, so the file is kept.
    unclean: bool,
}

pub(super) struct Disk {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) key: hmac::Key,
    pub(super) run: String,
    pub(super) lines: u64,
    /// As long it is, torn line or not.
    pub(super) bytes: u64,
    /// Whether its last line lacks its end.
    pub(super) torn: bool,
    /// Whether a line could not be written. What is on can still be settled; nothing new is put on.
    pub(super) failed: bool,
    /// For tests: the next line fails after so many bytes.
    #[cfg(test)]
    pub(super) fails_after: Option<usize>,
    /// Whether its first entry puts it on the leash.
    #[cfg(feature = "kubernetes")]
    pub(super) leashed: bool,
}

impl Disk {
    /// Appends one line and waits until the disk has it. A line that fails leaves nothing behind: the next one would
    /// not be read.
    pub(super) fn append(&mut self, record: &Record) -> Result<(), LedgerError> {
        let mut line = line::write(&self.key, &self.run, self.lines, record)?;
        if self.torn {
            // Ends the torn line, which keeps its number.
            line.insert(0, '\n');
        }
        if let Err(error) = self.write(line.as_bytes()) {
            self.failed = true;
            if let Err(error) = self.file.set_len(self.bytes) {
                crate::journal::complain(&LedgerError::file("cut", &self.path)(error));
            }
            return Err(LedgerError::file("write", &self.path)(error));
        }
        self.torn = false;
        self.lines += 1;
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if let Some(bytes) = self.fails_after.take() {
            self.file.write_all(&line[..bytes.min(line.len())])?;
            return Err(io::Error::other("no space left"));
        }
        self.file.write_all(line)?;
        self.file.sync_data()
    }
}

impl Ledger {
    /// A ledger for a cluster that dies with this process, and everything in it.
    #[must_use]
    pub fn memory(_run: &str) -> Self {
        Self::with(None)
    }

    /// A ledger on disk. It is locked as long as it lives: a sweep can tell that its owner does.
    ///
    /// # Errors
    /// The state folder cannot be written, its key is not fit for use, or the run has a ledger already.
    pub fn create(state: &StateDir, header: Header) -> Result<Self, LedgerError> {
        let (folder, key) = (state.ledgers()?, state.key()?);
        let path = folder.join(format!("{}.jsonl", header.run));
        let file = match create_private(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let sweep = header.sweep_command();
                return Err(LedgerError::NameTaken { run: header.run, path, sweep });
            }
            Err(error) => return Err(LedgerError::file("write", &path)(error)),
        };
        file.lock().map_err(LedgerError::file("lock", &path))?;
        let mut disk = Disk {
            file,
            path,
            key,
            run: header.run.clone(),
            lines: 0,
            bytes: 0,
            torn: false,
            failed: false,
            #[cfg(test)]
            fails_after: None,
            #[cfg(feature = "kubernetes")]
            leashed: false,
        };
        disk.append(&Record::Header(header))?;
        sync_folder(&folder).map_err(LedgerError::file("write", &folder))?;
        Ok(Self::with(Some(disk)))
    }

    /// Puts it on the leash of this process, with its first entry: what is open when the process dies is undone then.
    #[cfg(feature = "kubernetes")]
    #[must_use]
    pub(crate) fn leashed(self) -> Self {
        if let Some(disk) = &mut self.pages().disk {
            disk.leashed = true;
        }
        self
    }

    fn with(disk: Option<Disk>) -> Self {
        let pages = Pages { disk, open: Vec::new(), next: 1, closing: false, unclean: false };
        Self { pages: Arc::new(Mutex::new(pages)) }
    }

    /// Writes down how a change is undone. The change may be made once this has returned, and not before.
    ///
    /// # Errors
    /// It could not be written, or the run is ending.
    pub fn arm(&self, owner: &str, name: &str, undo: &[Undo]) -> Result<EntryId, LedgerError> {
        let mut pages = self.pages();
        if pages.closing {
            return Err(LedgerError::Closing);
        }
        let entry = pages.next;
        if let Some(disk) = &mut pages.disk {
            if disk.failed {
                return Err(LedgerError::Failed { path: disk.path.clone() });
            }
            // Before the line that permits the change.
            #[cfg(feature = "kubernetes")]
            if std::mem::take(&mut disk.leashed) {
                super::leash::hold(&disk.path);
            }
            let (version, owner, name) = (line::version_of(undo), owner.to_owned(), name.to_owned());
            disk.append(&Record::Armed { entry, version, owner, name, undo: line::to_values(undo) })?;
        }
        pages.next += 1;
        let (owner, name, undo) = (owner.to_owned(), name.to_owned(), undo.to_vec());
        pages.open.push(OpenEntry { entry, owner, name, undo, applied: false });
        Ok(entry)
    }

    /// Writes down what is known once the change was made.
    ///
    /// # Errors
    /// It could not be written. The entry stands as it was armed, which is enough to undo it.
    pub fn applied(&self, entry: EntryId, undo: &[Undo]) -> Result<(), LedgerError> {
        let mut pages = self.pages();
        if let Some(open) = pages.open.iter_mut().find(|open| open.entry == entry) {
            open.undo = undo.to_vec();
            open.applied = true;
        }
        match &mut pages.disk {
            Some(disk) => {
                let (version, undo) = (line::version_of(undo), line::to_values(undo));
                disk.append(&Record::Applied { entry, version, undo })
            }
            None => Ok(()),
        }
    }

    /// Writes down how its undos ended. What did not end clean stays open for the sweep.
    ///
    /// # Errors
    /// It could not be written; a sweep will then find the work done.
    pub fn settled(&self, entry: EntryId, outcomes: &[UndoOutcome]) -> Result<(), LedgerError> {
        self.close(entry, outcomes, false)
    }

    /// Writes down that the change stays, by the user's choice.
    ///
    /// # Errors
    /// It could not be written.
    pub fn left(&self, entry: EntryId) -> Result<(), LedgerError> {
        self.close(entry, &[], true)
    }

    fn close(&self, entry: EntryId, outcomes: &[UndoOutcome], left: bool) -> Result<(), LedgerError> {
        let mut pages = self.pages();
        if outcomes.iter().all(UndoOutcome::is_clean) {
            pages.open.retain(|open| open.entry != entry);
        } else {
            pages.unclean = true;
        }
        match &mut pages.disk {
            Some(disk) => disk.append(&Record::Settled { entry, outcomes: outcomes.to_vec(), left }),
            None => Ok(()),
        }
    }

    /// Refuses new entries from now on.
    pub fn refuse_new(&self) {
        self.pages().closing = true;
    }

    /// The entries that are not settled, oldest first.
    #[must_use]
    pub fn open(&self) -> Vec<OpenEntry> {
        self.pages().open.clone()
    }

    /// Ends the ledger: its file is removed if everything in it is settled clean, and kept for the sweep if not.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn finish(&self) -> Result<(), LedgerError> {
        let mut pages = self.pages();
        if !pages.open.is_empty() || pages.unclean {
            return Ok(());
        }
        match pages.disk.take() {
            Some(disk) => std::fs::remove_file(&disk.path).map_err(LedgerError::file("remove", &disk.path)),
            None => Ok(()),
        }
    }

    /// The next line fails after so many bytes of it.
    #[cfg(test)]
    pub(super) fn fails_after(&self, bytes: usize) {
        if let Some(disk) = &mut self.pages().disk {
            disk.fails_after = Some(bytes);
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book for Ledger {
    fn open(&self) -> Vec<OpenEntry> {
        Self::open(self)
    }

    fn settle(&mut self, entry: EntryId, outcomes: &[UndoOutcome]) -> Result<(), LedgerError> {
        self.settled(entry, outcomes)
    }
}
