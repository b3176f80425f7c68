//! The queue of one user's tests for a cluster over a network: one runs at a time, so that `cargo test` with its
//! default threads, and two test processes at once, do not disturb each other's shop.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::{ClusterError, Target};
use crate::rollback::StateDir;

/// How long one holder is waited for.
const WAIT: Duration = Duration::from_secs(300);

/// This test's turn, until it is dropped.
pub(super) struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits until no other test of this user has the cluster.
    ///
    /// # Errors
    /// One holder has it for more than 5 min; the error names it. Or there is no state folder.
    pub(super) fn wait(target: &Target, test: &str) -> Result<Self, ClusterError> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
        let name: String = target.to_string().chars().map(plain).collect();
        let path = StateDir::from_env()?.queue()?.join(name + ".lock");
        Self::wait_at(&path, test, WAIT)
    }

    fn wait_at(path: &Path, test: &str, within: Duration) -> Result<Self, ClusterError> {
        let failed = |source| ClusterError::Queue { path: path.to_owned(), source };
        loop {
            let before = holder(path);
            match lock(path, within).map_err(failed)? {
                Some(mut lock) => {
                    write(&mut lock, &format!("{test}, process {}", std::process::id())).map_err(failed)?;
                    return Ok(Self { _lock: lock });
                }
                // Another one by now: the queue moves.
                None if holder(path) != before => {}
                None => return Err(ClusterError::Busy { holder: before, within }),
            }
        }
    }
}

/// Takes the lock on a thread, which a blocking call needs to be given up on; `None` after `within`.
fn lock(path: &Path, within: Duration) -> std::io::Result<Option<File>> {
    let path: PathBuf = path.to_owned();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let options = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
        // Nobody may wait any more; then the lock goes with the file.
        let _ = sender.send(options.and_then(|file| file.lock().map(|()| file)));
    });
    match receiver.recv_timeout(within) {
        Ok(locked) => locked.map(Some),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(None),
    }
}

fn holder(path: &Path) -> String {
    let mut text = String::new();
    // Before the first test there is no file.
    let _ = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    text
}

fn write(file: &mut File, holder: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(holder.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_its_turn_and_who_waits_too_long_is_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kind.lock");
        let first = Turn::wait_at(&path, "it::first", WAIT).ok().unwrap();
        let error = Turn::wait_at(&path, "it::second", Duration::from_millis(50)).err().unwrap().to_string();
        assert!(error.contains("it::first, process"), "{error}");
        drop(first);
        assert!(Turn::wait_at(&path, "it::second", WAIT).is_ok());
    }
}
