//! The leash: a process that undoes what this one, killed, cannot.
//!
//! It is this very program, started again with the first fault over a network and taken over before `main` by the
//! hook of [`cluster`](crate::cluster). It reads the names of ledgers from a pipe that ends when this process does,
//! however it dies, and then undoes what these ledgers hold open. It never acts before: it needs the locks of the
//! ledgers, which their process holds while it lives, and whoever sweeps a ledger holds them too.

mod serve;

use std::ffi::OsStr;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};

use super::line::hex;
use crate::variables;

pub(crate) use serve::serve;

/// The variable that makes a process a leash, as `NONCE-INODE` of its pipe; `off` in the environment of a test turns
/// the leash off.
pub(crate) const LEASH_VARIABLE: &str = "STEADFAST_LEASH";

/// How long a leash may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// What a leash answers once it is one.
const READY: &[u8] = b"ready\n";

/// The letters of a nonce.
const NONCE: usize = 32;

/// What a pipe takes at once or not at all; no name of a ledger is longer.
const AT_ONCE: usize = 4096;

/// As many names are kept before those of ledgers that are gone are forgotten.
const MANY: usize = 1024;

/// Whether the hook has run in this process, and so would in another one of this program.
static HOOKED: AtomicBool = AtomicBool::new(false);

static KEEPER: Mutex<Keeper> = Mutex::new(Keeper { state: State::Never, told: Vec::new() });

struct Keeper {
    state: State,
    /// The ledgers of this process, for a leash that must be told anew.
    told: Vec<PathBuf>,
}

enum State {
    Never,
    /// Its pipe, kept as long as this process lives.
    Held(PipeWriter),
    /// It cannot be had.
    Off,
}

/// Notes that the hook runs in this program. It allocates nothing: `main` has not begun.
pub(crate) fn hooked() {
    HOOKED.store(true, Ordering::Relaxed);
}

/// Whether a leash can be had in this process: there is a hook in its program, and the user has not turned it off.
#[must_use]
pub(crate) fn leash_is_on() -> bool {
    let off = variables::text(LEASH_VARIABLE).is_some_and(|value| value == "off");
    let failed = matches!(KEEPER.lock().unwrap_or_else(PoisonError::into_inner).state, State::Off);
    HOOKED.load(Ordering::Relaxed) && !off && !failed
}

/// Puts a ledger of this process on the leash, which is started if it is the first. Where that fails it is said once,
/// and the other layers of undo are left.
pub(super) fn hold(ledger: &Path) {
    if !leash_is_on() {
        return;
    }
    let mut keeper = KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = keeper.hold(ledger) {
        keeper.state = State::Off;
        crate::journal::complain(&format!(
            "leash off: {error}; what is on when this process is killed stays on until the next run"
        ));
    }
}

impl Keeper {
    fn hold(&mut self, ledger: &Path) -> io::Result<()> {
        let ledger = std::path::absolute(ledger)?;
        if let State::Held(feed) = &mut self.state
            && tell(feed, &ledger).is_ok()
        {
            self.keep(ledger);
            return Ok(());
        }
        // The first, or the successor of one that was killed.
        let (mut feed, _ends_after_us) = start()?;
        self.keep(ledger);
        for ledger in &self.told {
            tell(&mut feed, ledger)?;
        }
        self.state = State::Held(feed);
        Ok(())
    }

    fn keep(&mut self, ledger: PathBuf) {
        if self.told.len() >= MANY {
            self.told.retain(|ledger| ledger.exists());
        }
        self.told.push(ledger);
    }
}

/// Writes one name, ended by a zero, at once or not at all.
fn tell(feed: &mut PipeWriter, ledger: &Path) -> io::Result<()> {
    let name = [ledger.as_os_str().as_bytes(), b"\0"].concat();
    if name.len() > AT_ONCE {
        return Err(io::Error::other(format!("the path {} is too long", ledger.display())));
    }
    // A leash that was stopped must not stop its process.
    wait(&*feed, PollFlags::OUT, READY_WITHIN)?;
    feed.write_all(&name)
}

/// Starts a leash and waits until it is one.
fn start() -> io::Result<(PipeWriter, Child)> {
    let (food, mut feed) = io::pipe()?;
    let (answer, said) = io::pipe()?;
    let nonce = nonce()?;
    feed.write_all(nonce.as_bytes())?;
    let inode = fstat(&food)?.st_ino;
    let mut child = Command::new("/proc/self/exe")
        .arg0("steadfast-leash")
        .env(LEASH_VARIABLE, format!("{nonce}-{inode}"))
        .stdin(Stdio::from(food))
        .stdout(Stdio::from(said))
        .spawn()?;
    if let Err(error) = ready(answer) {
        end(&mut child);
        return Err(io::Error::other(format!("the process that was to be it did not become it: {error}")));
    }
    Ok((feed, child))
}

fn ready(mut answer: PipeReader) -> io::Result<()> {
    wait(&answer, PollFlags::IN, READY_WITHIN)?;
    let mut said = [0; READY.len()];
    io::Read::read_exact(&mut answer, &mut said)?;
    if said == READY { Ok(()) } else { Err(io::Error::other("it said something else")) }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

fn nonce() -> io::Result<String> {
    let mut bytes = [0; NONCE / 2];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system has no randomness"))?;
    Ok(hex(&bytes))
}

/// Waits until a pipe is ready, and has somebody at its other end.
fn wait(pipe: impl AsFd, what: PollFlags, within: Duration) -> io::Result<()> {
    let within = Timespec { tv_sec: within.as_secs().cast_signed(), tv_nsec: i64::from(within.subsec_nanos()) };
    let mut polled = [PollFd::new(&pipe, what)];
    poll(&mut polled, Some(&within))?;
    let came = polled[0].revents();
    if came.contains(what) && !came.contains(PollFlags::ERR) {
        return Ok(());
    }
    Err(io::Error::other(if came.is_empty() { "it does not answer" } else { "its pipe is closed" }))
}

/// Whether this process was started to be a leash, by the value of [`LEASH_VARIABLE`]: its standard input must be the
/// very pipe that the variable means, and hold the nonce. It allocates nothing, waits for nothing, and takes nothing
/// from another standard input.
#[must_use]
pub(crate) fn is_leash(variable: &[u8]) -> bool {
    let Some((nonce, inode)) = variable.split_at_checked(NONCE) else { return false };
    let inode = inode.strip_prefix(b"-").and_then(|digits| str::from_utf8(digits).ok()?.parse::<u64>().ok());
    let pipe = rustix::stdio::stdin();
    let Ok(found) = fstat(pipe) else { return false };
    if FileType::from_raw_mode(found.st_mode) != FileType::Fifo || Some(found.st_ino) != inode {
        return false;
    }
    let mut held = [0; NONCE];
    wait(pipe, PollFlags::IN, Duration::ZERO).is_ok()
        && rustix::io::read(pipe, &mut held) == Ok(NONCE)
        && held.as_slice() == nonce
}

/// The names in what was read, but for one that was cut off.
fn names(told: &[u8]) -> Vec<PathBuf> {
    let whole = told.iter().rposition(|byte| *byte == 0).unwrap_or(0);
    let names = told[..whole].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| PathBuf::from(OsStr::from_bytes(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_cut_off_is_not_one() {
        assert_eq!(names(b"/a/b\0/c\nd\0/cut"), [Path::new("/a/b"), Path::new("/c\nd")]);
        assert!(names(b"/cut").is_empty() && names(b"").is_empty() && names(b"\0\0").is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_leash_ends_with_the_pipe_and_costs_milliseconds() {
        let took = (0..20).map(|_| {
            let since = crate::clock::Stopwatch::start();
            let (feed, mut child) = start().unwrap();
            let took = since.elapsed();
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
            let session = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().to_owned();
            assert!(stat.contains("(steadfast-leash)") && session == child.id().to_string(), "{stat}");
            assert_eq!(child.try_wait().unwrap(), None);
            drop(feed);
            assert!(child.wait().unwrap().success());
            took
        });
        let mut took: Vec<_> = took.collect();
        took.sort();
        println!("a leash started: {:?} / {:?} / {:?} (asked: 10 ms; 20 rounds)", took[0], took[10], took[19]);
    }

    #[test]
    fn a_variable_without_its_pipe_makes_no_leash() {
        let nonce = "0".repeat(NONCE);
        for variable in ["", "off", "x", &nonce, &format!("{nonce}-1"), &format!("{nonce}-"), &format!("{nonce}-x")] {
            assert!(!is_leash(variable.as_bytes()), "{variable}");
        }
    }
}
