//! Programs called `vegeta`: attacks run in this process, and what reads their results is this executable.

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::{Site, Trouble};
use crate::clock::Time;
use crate::document::substitute::Scope;
use crate::experiment::Scene;

/// Runs `attack …` of vegeta's command line in this process; `None` for another command of it.
pub(crate) type Attack = fn(Vec<String>, Scene) -> BoxFuture<'static, Result<Option<Value>, String>>;

/// What a shell would act on beside words.
const OF_THE_SHELL: [char; 12] = ['|', '&', ';', '<', '>', '(', ')', '$', '`', '*', '?', '\n'];

/// How a process activity is to be run that may be vegeta's.
pub(super) enum Run {
    /// It was an attack, which is done.
    Done(Value),
    /// This is the program: its path, for the shell or without it.
    Program(String),
}

/// Whether a program is vegeta as it is found on the search path. Who names a file of his own means that one.
pub(crate) fn is_meant(path: &str) -> bool {
    path == "vegeta"
}

/// The words of `vegeta attack …`, if that is what a process activity runs, and no shell has to read them.
pub(crate) fn attack_words(path: &str, arguments: &Value, names: &Scope) -> Option<Vec<String>> {
    let words = match arguments {
        Value::String(text) if text.contains(OF_THE_SHELL) => None,
        Value::String(text) => shlex::split(text),
        Value::Array(items) => {
            Some(items.iter().filter(|item| !item.is_null()).map(|item| names.text(item)).collect::<Vec<_>>())
        }
        _ => None,
    };
    words.filter(|words| is_meant(path) && words.first().is_some_and(|verb| verb == "attack"))
}

pub(super) async fn run(path: &str, arguments: &Value, attack: Attack, site: &Site<'_>) -> Result<Run, Trouble> {
    let words = attack_words(path, arguments, site.names);
    if let Some(words) = words {
        if let Some(done) = attack(words, site.scene.clone()).await.map_err(Trouble::Failed)? {
            return Ok(Run::Done(done));
        }
    } else if site.scene.clock.time() == Time::Virtual && says_attack(arguments) {
        let why = "an attack in virtual time is done in this process, which no shell reaches: give vegeta attack its \
                   words alone, with -output=FILE";
        return Err(Trouble::Failed(why.to_owned()));
    }
    // What reads results is this executable: nothing needs to be installed.
    let own = std::env::current_exe().map_err(|error| Trouble::Failed(format!("{path}: {error}")))?;
    Ok(Run::Program(own.display().to_string()))
}

fn says_attack(arguments: &Value) -> bool {
    arguments.as_str().is_some_and(|text| text.split_whitespace().any(|word| word == "attack"))
}
