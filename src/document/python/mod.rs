//! Python for documents: one child process a run, the user's own interpreter, only with `--allow-python`.
//!
//! [`Python`] is what providers, controls, notifications and the validator call. The child is started with the first
//! request and ends with the last [`Python`]; activities run side by side in it. It promises that what runs there cannot
//! outlive the run, that a child that dies fails what it was asked for, and that nothing is shown but through the
//! callbacks of its [`Interpreter`].

mod answer;
mod child;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use answer::{Answer, Changes};
pub(crate) use answer::{Ended, Inspection};
use child::{Child, Waiting};

use super::run::log::Log;
use crate::clock::{Stopwatch, Time, from_now};

/// How long a module may take to be imported for a look at its functions.
const INSPECTED_WITHIN: Duration = Duration::from_secs(60);

/// How long what was interrupted has for its end, before all of the child is killed.
const GRACE: Duration = Duration::from_secs(2);

/// The interpreter and what it is started with.
#[derive(Clone)]
pub(crate) struct Interpreter {
    /// `STEADFAST_PYTHON`, or `python3` out of `PATH`.
    pub(crate) program: OsString,
    /// Variables beside those of this process.
    pub(crate) variables: Vec<(String, String)>,
    /// Where it runs, if not where this process does.
    pub(crate) folder: Option<PathBuf>,
    /// Hears what is logged in Chaos Toolkit's name.
    pub(crate) log: Log,
    /// Hears each line that is printed.
    pub(crate) printed: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Interpreter {
    /// The user's own: `STEADFAST_PYTHON`, or `python3` out of `PATH`.
    pub(crate) fn of_user(log: Log, printed: Arc<dyn Fn(&str) + Send + Sync>) -> Self {
        let program = crate::variables::path("STEADFAST_PYTHON").map_or_else(|| "python3".into(), OsString::from);
        Self { program, variables: Vec::new(), folder: None, log, printed }
    }
}

/// A function to call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Function<'a> {
    pub(crate) module: &'a str,
    pub(crate) name: &'a str,
    /// With everything substituted.
    pub(crate) arguments: Map<String, Value>,
    /// Given to it if it has a parameter of that name.
    pub(crate) configuration: Option<Value>,
    /// Given to it if it has a parameter of that name: the targets that the provider names, merged.
    pub(crate) secrets: Option<Value>,
    /// How long it may take; without one, as long as it likes.
    pub(crate) timeout: Option<Duration>,
    /// Whether it runs beside others: it then never has the main thread.
    pub(crate) background: bool,
}

/// A call of a control's function.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hook<'a> {
    pub(crate) module: &'a str,
    pub(crate) name: &'a str,
    pub(crate) arguments: Map<String, Value>,
    /// Objects by the names of the parameters that want them; what the function changes in them comes back.
    pub(crate) given: Map<String, Value>,
    /// The parameter `context`.
    pub(crate) context: Option<Context<'a>>,
    /// Arguments by position, in place of all others.
    pub(crate) positional: Vec<Value>,
    /// How long it may take; without one, as long as it likes.
    pub(crate) timeout: Option<Duration>,
    /// Whether it fails if the module has no such function.
    pub(crate) required: bool,
}

/// What a control is called for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Context<'a> {
    /// A JSON pointer into the object that is given as `experiment`.
    Within(&'a str),
    /// A text.
    Text(&'a str),
}

/// The Python of a run. Clones share the child.
#[derive(Clone)]
pub(crate) struct Python {
    shared: Arc<Shared>,
    time: Time,
}

struct Shared {
    interpreter: Interpreter,
    child: Mutex<Option<Arc<Child>>>,
    next: AtomicU64,
    /// The code that something in the child asked this process to end with.
    exit: watch::Sender<Option<i64>>,
}

impl Python {
    /// Nothing is started yet.
    pub(crate) fn new(interpreter: Interpreter) -> Self {
        let exit = watch::Sender::new(None);
        let shared = Shared { interpreter, child: Mutex::new(None), next: AtomicU64::new(1), exit };
        Self { shared: Arc::new(shared), time: Time::Real }
    }

    /// The same child, for a run in this kind of time: a virtual clock stands still while Python works, and is then
    /// moved on by the time that it took.
    pub(crate) fn in_time(&self, time: Time) -> Self {
        Self { shared: self.shared.clone(), time }
    }

    /// Whether a function can be called with these arguments. Its module is imported for that.
    ///
    /// # Errors
    /// Python cannot be started, died, or took longer than a minute.
    pub(crate) async fn inspect(
        &self,
        module: &str,
        func: &str,
        arguments: &Map<String, Value>,
    ) -> Result<Inspection, String> {
        let request = json!({"do": "inspect", "module": module, "func": func, "arguments": arguments});
        let answer = self.ask(request, Some(INSPECTED_WITHIN), &format!("the look at {module}.{func}")).await;
        answer.well().map(|answer| Inspection::of(&answer))
    }

    /// Calls a function of an activity.
    pub(crate) async fn call(&self, function: &Function<'_>) -> Ended {
        let Function { module, name, arguments, configuration, secrets, timeout, background } = function;
        let request = json!({
            "do": "call", "module": module, "func": name, "arguments": arguments, "configuration": configuration,
            "secrets": secrets, "beside": background,
        });
        self.ask(request, *timeout, &format!("{module}.{name}")).await.ended()
    }

    /// The names of the functions of a module of controls.
    ///
    /// # Errors
    /// It cannot be imported, in words.
    pub(crate) async fn hooks(&self, module: &str) -> Result<Vec<String>, String> {
        let request = json!({"do": "hooks", "module": module});
        let answer = self.ask(request, Some(INSPECTED_WITHIN), &format!("the import of {module}")).await.well()?;
        let names = answer["value"].as_array().into_iter().flatten();
        Ok(names.filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    /// Calls a control's function, if its module has it. What it changed comes back by the names of the objects, however
    /// the call ended.
    pub(crate) async fn hook(&self, hook: Hook<'_>) -> (Changes, Result<(), Ended>) {
        let Hook { module, name, arguments, given, context, positional, timeout, required } = hook;
        let mut request = json!({
            "do": "hook", "module": module, "func": name, "arguments": arguments, "given": given,
            "positional": positional, "required": required,
        });
        match context {
            Some(Context::Within(pointer)) => request["pointer"] = json!(pointer),
            Some(Context::Text(text)) => request["context"] = json!(text),
            None => {}
        }
        self.ask(request, timeout, &format!("{module}.{name}")).await.changed()
    }

    /// Waits until something in the child asks this process to end, as `chaoslib.exit` does; the code that it asks for.
    pub(crate) async fn asked_to_exit(&self) -> i64 {
        let mut exit = self.shared.exit.subscribe();
        match exit.wait_for(Option::is_some).await {
            Ok(code) => code.unwrap_or_default(),
            // The sender is as old as this.
            Err(_) => std::future::pending().await,
        }
    }

    /// Ends the child: it may leave by itself within two seconds, then its process group is killed.
    pub(crate) async fn end(&self) {
        let child = self.shared.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(child) = child {
            // An error means that the runtime ends, and with it the child.
            let _ = tokio::task::spawn_blocking(move || child.leave(GRACE)).await;
        }
    }

    async fn ask(&self, mut request: Value, timeout: Option<Duration>, what: &str) -> Answer {
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        request["id"] = json!(number);
        let (watch, began) = (Stopwatch::start(), from_now(Duration::ZERO));
        let child = match self.child() {
            Ok(child) => child,
            Err(why) => return Answer::failed(why),
        };
        let waiting = match child.send(number, &request) {
            Ok(waiting) => waiting,
            Err(why) => return Answer::failed(format!("{what} was not called: {why}")),
        };
        let cut = Cut { child: &child, number };
        // On a thread: that holds a paused clock.
        let waited = tokio::task::spawn_blocking(move || waited(waiting, timeout)).await;
        let answer = match waited {
            Ok(Waited::Answered(answer)) => answer,
            Ok(Waited::Late) => Answer::failed("python activity took too long to complete".to_owned()),
            Ok(Waited::Died) => {
                let why = child.died().unwrap_or_default();
                Answer::failed(format!("Python died before {what} ended: {why}"))
            }
            Err(error) => Answer::failed(format!("{what} was not waited for: {error}")),
        };
        drop(cut);
        if self.time == Time::Virtual {
            let millis = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX);
            // Others may have moved it meanwhile, for the same time.
            let until = began + Duration::from_millis(millis);
            tokio::time::advance(until.saturating_duration_since(from_now(Duration::ZERO))).await;
        }
        answer
    }

    /// The child that lives; a new one if there was none or it died.
    fn child(&self) -> Result<Arc<Child>, String> {
        let mut child = self.shared.child.lock().unwrap_or_else(PoisonError::into_inner);
        match &*child {
            Some(child) if child.died().is_none() => Ok(child.clone()),
            _ => {
                let started = Arc::new(Child::start(&self.shared.interpreter, self.shared.exit.clone())?);
                *child = Some(started.clone());
                Ok(started)
            }
        }
    }
}

enum Waited {
    Answered(Answer),
    /// It was interrupted at its time-out; if that did not end it, the child was killed.
    Late,
    Died,
}

fn waited(waiting: Waiting, timeout: Option<Duration>) -> Waited {
    let answer = match timeout {
        None => waiting.answer(),
        Some(timeout) => match waiting.answer_within(timeout) {
            Some(answer) => answer,
            None => {
                waiting.cancel();
                if waiting.answer_within(GRACE).is_none() {
                    waiting.kill();
                }
                return Waited::Late;
            }
        },
    };
    answer.map_or(Waited::Died, Waited::Answered)
}

/// Interrupts a request that nobody waits for any more; one that is answered is no longer there.
struct Cut<'a> {
    child: &'a Child,
    number: u64,
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        self.child.cancel(self.number);
    }
}

#[cfg(test)]
mod tests;
