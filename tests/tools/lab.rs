//! One `steadfast lab` for all trials.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What the command says when it is ready.
#[derive(Clone)]
pub struct Lab {
    /// The file.
    pub kubeconfig: PathBuf,
    /// The URL of Prometheus.
    pub prometheus: String,
    /// The URL of the shop's front.
    pub front: String,
    /// The shop's image.
    pub image: String,
    folder: PathBuf,
}

/// A lab in a process of its own, until it is dropped.
pub struct Running {
    pub child: Child,
    /// What it said.
    pub lab: Lab,
    /// Whether somebody has killed it, and waited.
    pub killed: bool,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.killed {
            return;
        }
        // It may have died already, which a trial will have noticed.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let ended = self.child.wait();
        let well = ended.as_ref().is_ok_and(std::process::ExitStatus::success);
        assert!(well || std::thread::panicking(), "the lab ends well on SIGTERM: {ended:?}");
    }
}

static RUNNING: LazyLock<Mutex<Option<Running>>> = LazyLock::new(Mutex::default);

/// The lab; started by the first trial that asks.
pub fn lab() -> Lab {
    let mut running = RUNNING.lock().expect("no trial died while it started");
    running.get_or_insert_with(start).lab.clone()
}

/// Ends it, if it was started.
pub fn end() {
    drop(RUNNING.lock().expect("no trial died while it started").take());
}

/// Another lab, for a trial that would disturb the others.
pub fn start() -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = folder.path().join("kubeconfig");
    let mut child = Command::new(env!("CARGO_BIN_EXE_steadfast"))
        .args(["lab", "--kubeconfig"])
        .arg(&kubeconfig)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let ready: Value = serde_json::from_str(&line).expect("one line of JSON");
    let text = |key: &str| ready[key].as_str().expect(key).to_owned();
    assert_eq!(Path::new(&text("kubeconfig")), kubeconfig);
    let lab = Lab {
        kubeconfig,
        prometheus: text("prometheus"),
        front: text("front"),
        image: text("image"),
        folder: folder.path().to_owned(),
    };
    Running { child, lab, killed: false, _folder: folder }
}

/// What a program said, in the end.
pub struct Said {
    /// How it ended.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub err: String,
}

impl Said {
    /// What is in its output.
    pub fn of(output: &std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// What it printed; it must have ended well.
    pub fn ok(self) -> Result<String, String> {
        if self.code == Some(0) {
            return Ok(self.out);
        }
        Err(format!("exit {:?}\nstdout: {}\nstderr: {}", self.code, self.out, self.err))
    }

    /// What it complained of; it must have ended with this code.
    pub fn bad(self, code: i32) -> Result<String, String> {
        if self.code == Some(code) {
            return Ok(self.err);
        }
        Err(format!("exit {:?}, expected {code}\nstdout: {}\nstderr: {}", self.code, self.out, self.err))
    }
}

impl Lab {
    /// A command that sees the lab and nothing of its user's.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.folder).env("PROMETHEUS_URL", &self.prometheus);
        command
    }
}

/// A name that no other trial has.
pub fn unique(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
