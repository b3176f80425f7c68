//! Process probes and actions.
//!
//! `process::run("kubectl").args(["get", "pods"])` runs a program, without a shell, in a process group of its own.
//! At its time-out the whole group is killed, grandchildren included. In virtual time the clock stands still while
//! the program runs, and is then moved on by the time that it took.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;
use serde_json::Value;

use crate::clock::{Stopwatch, Time};
use crate::experiment::{Action, Observed, Probe, Scene};
use crate::tolerance::{AsJson, AsText, Judgement, Tolerance};
use crate::{BoxError, redaction};

/// How long a program may run, unless it is said.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How much of each output is kept, in bytes.
const OUTPUT_LIMIT: usize = 1024 * 1024;

/// How much of standard error an error shows, in characters.
const ERROR_LENGTH: usize = 500;

/// A program to run, as a probe or as an action.
#[derive(Clone)]
#[must_use = "a program runs when it is part of a hypothesis or a step"]
pub struct Process {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    timeout: Duration,
    limit: usize,
    stdin: bool,
    leaves: bool,
}

/// Runs a program, found by `PATH` unless it is a path. No shell reads its arguments.
pub fn run(program: impl Into<OsString>) -> Process {
    Process {
        program: program.into(),
        args: Vec::new(),
        env: Vec::new(),
        folder: None,
        timeout: TIMEOUT,
        limit: OUTPUT_LIMIT,
        stdin: false,
        leaves: false,
    }
}

impl Process {
    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable; its value is never shown.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Runs it in this folder.
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// How long it may run, 30 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How much of each output is kept, in bytes.
    #[cfg(feature = "cli")]
    pub(crate) fn output_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Leaves alone what it has started and not waited for, once it has ended in time.
    #[cfg(feature = "cli")]
    pub(crate) fn leaves_children(mut self) -> Self {
        self.leaves = true;
        self
    }

    /// Gives it this process' standard input.
    #[cfg(feature = "cli")]
    pub(crate) fn inherits_stdin(mut self) -> Self {
        self.stdin = true;
        self
    }

    fn described(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args).map(|word| word.to_string_lossy());
        let line = redaction::words(words).join(" ");
        format!("run {}", crate::tolerance::shortened(&line))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(if self.stdin { Stdio::inherit() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }

    /// Runs it on a thread that holds a paused clock, and moves that on by the time it took.
    pub(crate) async fn finish(&self, scene: &Scene) -> Result<Option<Output>, BoxError> {
        let watch = Stopwatch::start();
        let mut child = self.command().spawn().map_err(|error| {
            let hint =
                if error.kind() == std::io::ErrorKind::NotFound { "; is it installed, and in PATH?" } else { "" };
            format!("failed to {}: {error}{hint}", self.described())
        })?;
        let group = Group::of(&child);
        let (out, err) = (read(child.stdout.take(), self.limit), read(child.stderr.take(), self.limit));
        let (timeout, killer, leaves) = (self.timeout, group.clone(), self.leaves);
        let waited = tokio::task::spawn_blocking(move || {
            let ended = wait(child, &out, &err, timeout, &watch, &killer);
            if leaves && matches!(ended, Ok(Some(_))) {
                killer.release();
            }
            ended
        })
        .await;
        let (output, took) = (waited??, watch.elapsed());
        drop(group);
        if scene.clock.time() == Time::Virtual {
            let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tokio::time::advance(Duration::from_millis(millis)).await;
        }
        Ok(output)
    }
}

/// The process group of a child; killed when this is dropped before the child has ended.
#[derive(Clone)]
pub(crate) struct Group {
    pid: Arc<GroupId>,
}

struct GroupId(Mutex<Option<Pid>>);

impl Group {
    pub(crate) fn of(child: &Child) -> Self {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Self { pid: Arc::new(GroupId(Mutex::new(pid))) }
    }

    /// Kills whoever is left in it, once.
    pub(crate) fn kill(&self) {
        self.pid.kill();
    }

    /// Lets go of it: whoever is left in it lives on.
    fn release(&self) {
        self.pid.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl GroupId {
    fn kill(&self) {
        if let Some(pid) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // An error means that nobody is left.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// The future holds one clone and the waiting thread another; a cancelled future must not wait for the thread.
impl Drop for Group {
    fn drop(&mut self) {
        self.pid.kill();
    }
}

/// Reads a pipe on a thread of its own: a child that fills one would wait for ever.
fn read(pipe: Option<impl Read + Send + 'static>, limit: usize) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let (mut kept, mut buffer) = (Vec::new(), [0; 8192]);
        if let Some(mut pipe) = pipe {
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                let room = limit.saturating_sub(kept.len());
                kept.extend_from_slice(&buffer[..count.min(room)]);
            }
        }
        // Whoever waited may have given up.
        let _ = sender.send(kept);
    });
    receiver
}

/// Waits for the ends of both pipes and of the child; `None` at the time-out, with the group killed.
fn wait(
    mut child: Child,
    out: &Receiver<Vec<u8>>,
    err: &Receiver<Vec<u8>>,
    timeout: Duration,
    watch: &Stopwatch,
    group: &Group,
) -> std::io::Result<Option<Output>> {
    let left = || timeout.saturating_sub(watch.elapsed());
    // A child may close its pipes and run on, so a thread waits for it.
    let (sender, ended) = channel();
    std::thread::spawn(move || {
        let _ = sender.send(child.wait());
    });
    let status = match ended.recv_timeout(left()) {
        Ok(status) => status?,
        Err(RecvTimeoutError::Timeout) => {
            group.kill();
            return Ok(None);
        }
        Err(RecvTimeoutError::Disconnected) => return Err(std::io::Error::other("nobody waits for the child")),
    };
    // A grandchild may hold the pipes open; it has the rest of the time.
    match (out.recv_timeout(left()), err.recv_timeout(left())) {
        (Ok(stdout), Ok(stderr)) => Ok(Some(Output::new(status, &stdout, &stderr))),
        _ => {
            group.kill();
            Ok(None)
        }
    }
}

/// What a program left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it wrote; the first MiB, with bytes that are no UTF-8 replaced.
    pub stdout: String,
    /// What it complained; the first MiB, with bytes that are no UTF-8 replaced.
    pub stderr: String,
}

impl Output {
    fn new(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: status.code(), signal: status.signal(), stdout: text(stdout), stderr: text(stderr) }
    }

    fn ending(&self) -> String {
        match (self.code, self.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "an unknown ending".to_owned(),
        }
    }
}

impl AsText for Output {
    fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.stdout)
    }
}

impl AsJson for Output {
    fn json(&self) -> Result<Value, String> {
        serde_json::from_str(&self.stdout).map_err(|error| error.to_string())
    }
}

/// Expects an exit code. See [`exited`].
#[derive(Clone, Copy, Debug)]
pub struct Exited(i32);

/// Expects that the program exited with `code`.
#[must_use]
pub fn exited(code: i32) -> Exited {
    Exited(code)
}

impl Tolerance<Output> for Exited {
    fn judge(&self, observed: &Output) -> Judgement {
        Judgement::of(observed.code == Some(self.0), observed.ending(), &self.expected(), ("equal", "another ending"))
    }

    fn expected(&self) -> String {
        format!("exit code {}", self.0)
    }
}

impl Probe for Process {
    type Output = Output;

    fn describe(&self) -> String {
        self.described()
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<Output>, BoxError>> {
        Box::pin(async move {
            Ok(match self.finish(scene).await? {
                Some(output) => Observed::Value(output),
                None => Observed::NoAnswer(format!("no end within {:?}", self.timeout)),
            })
        })
    }
}

impl Action for Process {
    fn describe(&self) -> String {
        self.described()
    }

    fn act<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Value, BoxError>> {
        Box::pin(async move {
            let Some(output) = self.finish(scene).await? else {
                return Err(format!("{}: no end within {:?}, it was killed", self.described(), self.timeout).into());
            };
            if output.code != Some(0) {
                let skip = output.stderr.chars().count().saturating_sub(ERROR_LENGTH);
                let last: String = output.stderr.chars().skip(skip).collect();
                return Err(format!("{}: {}: {}", self.described(), output.ending(), last.trim()).into());
            }
            Ok(serde_json::to_value(&output)?)
        })
    }
}
