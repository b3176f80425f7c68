//! The state folder: where ledgers and their key lie.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::LedgerError;
use crate::variables;

/// The bytes of a key.
const KEY_LENGTH: usize = 32;

/// The folder that outlives a run: `$STEADFAST_STATE_DIR`, else `$XDG_STATE_HOME/steadfast`, else
/// `~/.local/state/steadfast`. Not the target folder: `cargo clean` must lose nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The folder of this user.
    ///
    /// # Errors
    /// Neither `STEADFAST_STATE_DIR`, nor `XDG_STATE_HOME`, nor `HOME` is set.
    pub fn from_env() -> Result<Self, LedgerError> {
        variables::path("STEADFAST_STATE_DIR")
            .or_else(|| variables::path("XDG_STATE_HOME").map(|home| home.join("steadfast")))
            .or_else(|| variables::path("HOME").map(|home| home.join(".local/state/steadfast")))
            .map(Self)
            .ok_or(LedgerError::NoStateDir)
    }

    /// This folder.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder of the ledgers, made if need be for this user alone.
    pub(super) fn ledgers(&self) -> Result<PathBuf, LedgerError> {
        self.folder("ledger")
    }

    /// The folder of what is known of kind clusters, made if need be for this user alone.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn kind(&self) -> Result<PathBuf, LedgerError> {
        self.folder("kind")
    }

    /// The folder of the queues for clusters, made if need be for this user alone.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn queue(&self) -> Result<PathBuf, LedgerError> {
        self.folder("queue")
    }

    fn folder(&self, name: &str) -> Result<PathBuf, LedgerError> {
        let folder = self.0.join(name);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(LedgerError::file("make", &folder))?;
        Ok(folder)
    }

    /// The key of this user's ledgers, made if need be. Two processes that start at once agree on one.
    pub(super) fn key(&self) -> Result<hmac::Key, LedgerError> {
        self.ledgers()?;
        let path = self.0.join("mac.key");
        match fs::symlink_metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(&path)?,
            Err(error) => return Err(LedgerError::file("read", &path)(error)),
        }
        read_key(&path)
    }
}

/// Writes a whole key beside the place, then links it there unless somebody was faster.
fn make_key(path: &Path) -> Result<(), LedgerError> {
    let failed = LedgerError::file("write", path);
    let write = || -> io::Result<()> {
        let mut bytes = [0; KEY_LENGTH];
        SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system has no randomness"))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".key-").tempfile_in(folder)?;
        file.write_all(&bytes)?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Ok(_) => sync_folder(folder),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error.error),
        }
    };
    write().map_err(failed)
}

fn read_key(path: &Path) -> Result<hmac::Key, LedgerError> {
    let mut file = File::open(path).map_err(LedgerError::file("read", path))?;
    let mode = file.metadata().map_err(LedgerError::file("read", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(LedgerError::KeyIsPublic { path: path.into() });
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(LedgerError::file("read", path))?;
    if bytes.len() != KEY_LENGTH {
        return Err(LedgerError::KeyIsBroken { path: path.into() });
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// The name of this machine, as a ledger's header has it.
#[must_use]
pub fn this_host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Makes a new name in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Creates a file of this user's own that did not exist.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).append(true).read(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_this_users_alone_and_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(folder.path().join("state"));
        let tags: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| state.key().unwrap())).collect();
            starts.into_iter().map(|s| hmac::sign(&s.join().unwrap(), b"x").as_ref().to_vec()).collect()
        });
        assert!(tags.windows(2).all(|pair| pair[0] == pair[1]), "all threads have the same key");
        let path = folder.path().join("state/mac.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = state.key().unwrap_err().to_string();
        assert!(error.contains("chmod 600") && error.contains("mac.key"), "{error}");
    }

    #[test]
    fn a_key_that_was_cut_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(folder.path());
        state.key().unwrap();
        let path = folder.path().join("mac.key");
        fs::write(&path, b"short").unwrap();
        assert!(matches!(state.key(), Err(LedgerError::KeyIsBroken { .. })));
    }
}
