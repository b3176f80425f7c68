//! The child process: its pipes, its process group, and who waits for which answer.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::Interpreter;
use super::answer::Answer;
use crate::document::run::log::{Level, Log};
use crate::process::Group;

const DRIVER: &str = include_str!("driver.py");

/// The longest answer, in bytes.
const ANSWER_LIMIT: u64 = 256 * 1024 * 1024;

/// How many of the last lines of its standard error are told of a child that died.
const LAST_LINES: usize = 12;

/// How long the last lines of one that died are waited for: somebody else may hold its standard error open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A child that was started.
pub(super) struct Child {
    requests: Sender<Vec<u8>>,
    books: Arc<Books>,
    group: Arc<Group>,
    /// Gets its word when the child has ended.
    gone: Mutex<Receiver<()>>,
}

#[derive(Default)]
struct Books(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: BTreeMap<u64, Sender<Answer>>,
    /// How it ended.
    died: Option<String>,
    /// Whether that is what it was to do.
    leaving: bool,
}

impl Books {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Child {
    /// Starts it. Requests may be sent at once.
    pub(super) fn start(interpreter: &Interpreter, exit: watch::Sender<Option<i64>>) -> Result<Self, String> {
        let mut command = Command::new(&interpreter.program);
        command.args(["-u", "-c", DRIVER]).process_group(0);
        command.envs(interpreter.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(folder) = &interpreter.folder {
            command.current_dir(folder);
        }
        let mut child = command.spawn().map_err(|error| {
            let program = interpreter.program.to_string_lossy();
            format!("failed to start {program}: {error}; install Python 3, or name one with STEADFAST_PYTHON")
        })?;
        let group = Arc::new(Group::of(&child));
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (requests, lines) = channel::<Vec<u8>>();
        std::thread::spawn(move || {
            // An error means that it has ended, which whoever reads its answers sees.
            if let Some(mut input) = input {
                while let Ok(line) = lines.recv() {
                    if input.write_all(&line).is_err() {
                        break;
                    }
                }
            }
        });
        let printed = interpreter.printed.clone();
        let (last, last_lines) = channel();
        std::thread::spawn(move || {
            // Whoever waited may have given up.
            let _ = last.send(pass_on(errors, &*printed));
        });
        let books = Arc::new(Books::default());
        let (ended, gone) = channel();
        let (kept, killed, log) = (books.clone(), group.clone(), interpreter.log.clone());
        std::thread::spawn(move || {
            let broken = output.map(|output| hear(output, &kept, &log, &exit)).and_then(Result::err);
            killed.kill();
            let status = child.wait();
            let lines = last_lines.recv_timeout(LAST_WORDS).unwrap_or_default();
            let mut state = kept.lock();
            let told = told(status, broken, &lines);
            if !state.leaving {
                log(Level::Debug, &format!("Python ended: {told}"));
            }
            state.died = Some(told);
            state.waiting.clear();
            drop(state);
            // Nobody may wait for it.
            let _ = ended.send(());
        });
        Ok(Self { requests, books, group, gone: Mutex::new(gone) })
    }

    /// How it ended, if it has.
    pub(super) fn died(&self) -> Option<String> {
        self.books.lock().died.clone()
    }

    pub(super) fn send(&self, number: u64, request: &Value) -> Result<Waiting, String> {
        let (answers, answer) = channel();
        let mut state = self.books.lock();
        if let Some(why) = &state.died {
            return Err(why.clone());
        }
        state.waiting.insert(number, answers);
        drop(state);
        self.line(request);
        Ok(Waiting { number, answer, requests: self.requests.clone(), group: self.group.clone() })
    }

    /// Interrupts a request, if it is not answered yet; its answer is of no interest any more.
    pub(super) fn cancel(&self, number: u64) {
        if self.books.lock().waiting.remove(&number).is_some() {
            self.line(&json!({"cancel": number}));
        }
    }

    /// Lets it leave by itself, or kills it.
    pub(super) fn leave(&self, within: Duration) {
        self.books.lock().leaving = true;
        self.line(&json!({"bye": true}));
        // Whatever comes of it: nobody of its group is left then.
        let _ = self.gone.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(within);
        self.group.kill();
    }

    fn line(&self, request: &Value) {
        send(&self.requests, request);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.books.lock().leaving = true;
        self.group.kill();
    }
}

fn send(requests: &Sender<Vec<u8>>, request: &Value) {
    // An error means that the child has ended.
    let _ = requests.send(format!("{request}\n").into_bytes());
}

/// Who waits for an answer.
pub(super) struct Waiting {
    number: u64,
    answer: Receiver<Answer>,
    requests: Sender<Vec<u8>>,
    group: Arc<Group>,
}

impl Waiting {
    /// The answer; none if the child died.
    pub(super) fn answer(&self) -> Option<Answer> {
        self.answer.recv().ok()
    }

    /// The same, if it is known in time.
    pub(super) fn answer_within(&self, within: Duration) -> Option<Option<Answer>> {
        match self.answer.recv_timeout(within) {
            Ok(answer) => Some(Some(answer)),
            Err(RecvTimeoutError::Disconnected) => Some(None),
            Err(RecvTimeoutError::Timeout) => None,
        }
    }

    pub(super) fn cancel(&self) {
        send(&self.requests, &json!({"cancel": self.number}));
    }

    pub(super) fn kill(&self) {
        self.group.kill();
    }
}

/// Reads the answers up to their end. An error is what cannot be one.
fn hear(output: impl Read, books: &Books, log: &Log, exit: &watch::Sender<Option<i64>>) -> Result<(), String> {
    let mut output = BufReader::new(output);
    loop {
        let mut line = Vec::new();
        let read =
            output.by_ref().take(ANSWER_LIMIT).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && u64::try_from(read).is_ok_and(|read| read == ANSWER_LIMIT) {
            return Err(format!("an answer is longer than {ANSWER_LIMIT} bytes"));
        }
        let answer: Value = serde_json::from_slice(&line).map_err(|error| format!("an answer is no JSON: {error}"))?;
        if let Some(number) = answer["id"].as_u64() {
            if let Some(waiting) = books.lock().waiting.remove(&number) {
                // Whoever waited may have given up.
                let _ = waiting.send(Answer::of(answer));
            }
        } else if let (Some(level), Some(text)) = (answer["log"].as_str(), answer["text"].as_str()) {
            log(named(level), text);
        } else if let Some(code) = answer["exit"].as_i64() {
            exit.send_replace(Some(code));
        }
    }
}

fn named(level: &str) -> Level {
    let all = [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical];
    all.into_iter().find(|one| one.name() == level).unwrap_or(Level::Debug)
}

/// Passes on what is printed, a line at a time; the last lines.
fn pass_on(errors: Option<impl Read>, printed: &(dyn Fn(&str) + Send + Sync)) -> Vec<String> {
    let mut last = VecDeque::new();
    let Some(errors) = errors else { return Vec::new() };
    let mut errors = BufReader::new(errors);
    let mut line = Vec::new();
    while let Ok(1..) = errors.by_ref().take(64 * 1024).read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        printed(text);
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(text.to_owned());
        line.clear();
    }
    last.into()
}

fn told(status: std::io::Result<ExitStatus>, broken: Option<String>, last: &[String]) -> String {
    let ending = match (broken, status) {
        (Some(broken), _) => format!("it was killed, because {broken}"),
        (None, Err(error)) => format!("its status is not known: {error}"),
        (None, Ok(status)) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (_, Some(signal)) => format!("signal {signal}"),
            _ => "an unknown ending".to_owned(),
        },
    };
    if last.is_empty() { ending } else { format!("{ending}; the last that it printed:\n{}", last.join("\n")) }
}
