//! Running a document as the original was run.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use steadfast::BoxError;
use steadfast::clock::Stopwatch;
use tempfile::TempDir;

use super::{Case, Served};

/// How long one document may take.
const WITHIN: Duration = Duration::from_secs(60);

/// The body that a server gives for a path.
pub fn get(served: &Served, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(&served.address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// What runs documents.
pub struct Program {
    pub path: PathBuf,
    pub is_ours: bool,
}

impl Program {
    pub fn ours() -> Self {
        Self { path: env!("CARGO_BIN_EXE_steadfast").into(), is_ours: true }
    }
}

/// A program that ends by signals, whatever whoever started these tests ignores: what is ignored is inherited, as under
/// `nohup` or in the background of a script.
pub fn heeding_signals(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=INT,TERM,QUIT,HUP,USR1,USR2").arg(program);
    command
}

/// What came of a document.
pub struct Seen {
    pub folder: TempDir,
    /// The exit code, or the negative number of the signal that ended it.
    pub code: i32,
    pub journal: Option<Value>,
    pub said: String,
}

impl Seen {
    /// Runs it in a folder of its own.
    pub fn of(case: &Case, program: &Program, served: &Served) -> Result<Self, BoxError> {
        let folder = tempfile::tempdir()?;
        let home = folder.path().join("home");
        fs::create_dir(&home)?;
        for (name, text) in case.field("files").as_object().into_iter().flatten() {
            fs::write(folder.path().join(name), text.as_str().unwrap_or_default())?;
        }
        let words = case.words("args", served);
        let mut command = command(case, program, served, folder.path(), &home)?;
        let log = folder.path().join("stderr");
        command.stderr(fs::File::create(&log)?);
        let since = Stopwatch::start();
        let mut child = command.spawn()?;
        let signalled = signalled(case, &child, &log);
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if since.elapsed() > WITHIN {
                kill_process_group(Pid::from_child(&child), Signal::KILL)?;
                child.wait()?;
                return Err(format!("{}: no end within {WITHIN:?}", case.name).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        signalled?;
        let written = words.iter().skip_while(|word| *word != "--journal-path").nth(1);
        let journal = fs::read_to_string(folder.path().join(written.map_or("journal.json", String::as_str))).ok();
        let journal = journal.and_then(|text| serde_json::from_str(&text).ok());
        let code = status.code().or_else(|| status.signal().map(|signal| -signal)).unwrap_or_default();
        Ok(Self { code, journal, said: fs::read_to_string(&log)?, folder })
    }

    /// The last that it said, for a message.
    pub fn last_words(&self) -> String {
        let lines: Vec<_> = self.said.lines().rev().take(4).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n    ")
    }
}

fn command(case: &Case, program: &Program, served: &Served, folder: &Path, home: &Path) -> Result<Command, BoxError> {
    let words = |name: &str| case.words(name, served);
    let mut command = if case.field("signal")["sigint_ignored"] == true {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' INT; exec \"$0\" \"$@\""]).arg(&program.path);
        shell
    } else {
        heeding_signals(&program.path)
    };
    command
        .current_dir(folder)
        .env("HOME", home)
        .env_remove("STEADFAST_CLUSTER")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    for (name, value) in case.field("env").as_object().into_iter().flatten() {
        command.env(name, case.placed(value.as_str().unwrap_or_default(), served));
    }
    if let Some(settings) = case.field("settings").as_str() {
        let file = folder.join("settings.yaml");
        fs::write(&file, case.placed(settings, served))?;
        command.arg("--settings").arg(file);
    }
    if !program.is_ours {
        command.args(["--no-version-check", "--no-log-file"]);
    }
    command.args(words("global_args")).arg("run");
    if program.is_ours && case.field("needs_python") == true {
        command.arg("--allow-python");
    }
    command.args(words("args"));
    let source = match case.field("source").as_str() {
        Some(source) => PathBuf::from(case.placed(source, served)),
        None => fs::canonicalize(case.document())?,
    };
    command.arg(source).process_group(0);
    Ok(command)
}

/// Sends the signal that a case asks for, once the log says what it waits for.
fn signalled(case: &Case, child: &Child, log: &Path) -> Result<(), BoxError> {
    let signal = case.field("signal");
    let Some(name) = signal["signal"].as_str() else { return Ok(()) };
    let number = match name {
        "SIGINT" => Signal::INT,
        "SIGTERM" => Signal::TERM,
        "SIGUSR1" => Signal::USR1,
        "SIGUSR2" => Signal::USR2,
        "SIGKILL" => Signal::KILL,
        "SIGHUP" => Signal::HUP,
        other => return Err(format!("{}: unknown signal {other}", case.name).into()),
    };
    let awaited = signal["when_log"].as_str().unwrap_or_default();
    let since = Stopwatch::start();
    while !fs::read_to_string(log)?.contains(awaited) {
        if since.elapsed() > WITHIN {
            return Err(format!("{}: it never says {awaited:?}", case.name).into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let times = signal["times"].as_u64().unwrap_or(1);
    for _ in 0..times {
        std::thread::sleep(Duration::from_secs_f64(signal["delay_s"].as_f64().unwrap_or(0.0)));
        let pid = Pid::from_child(child);
        if signal["group"] == true { kill_process_group(pid, number)? } else { kill_process(pid, number)? }
    }
    Ok(())
}
