//! A program: with its arguments in one text by the shell, with a list without one.

use std::time::Duration;

use serde_json::{Value, json};

use super::vegeta::{self, Attack, Run};
use super::{Site, Trouble};
use crate::process::{self, Output, Process};

/// How much of each output is kept, in bytes: the original has no bound.
const OUTPUT_LIMIT: usize = 64 * 1024 * 1024;

const NON_ZERO: &str = "This process returned a non-zero exit code. This may indicate some error and not what you expected. Please have a look at the logs.";

pub(super) async fn call(
    provider: &Value,
    variables: &[(String, String)],
    attack: Option<Attack>,
    site: &Site<'_>,
) -> Result<Value, Trouble> {
    let arguments = site.names.put_into_arguments(&provider["arguments"]);
    let path = path(provider, &arguments)?;
    let process = match (vegeta::is_meant(&path), attack) {
        (true, Some(attack)) => match vegeta::run(&path, &arguments, attack, site).await? {
            Run::Done(done) => return Ok(done),
            Run::Program(own) => prepared(&own, Some("vegeta"), &arguments, site)?,
        },
        _ => prepared(&path, None, &arguments, site)?,
    };
    let process = variables.iter().fold(process, |process, (name, value)| process.env(name, value));
    let process = process.output_limit(OUTPUT_LIMIT).inherits_stdin().leaves_children();
    let process = match timeout(provider)? {
        Some(timeout) => process.timeout(timeout),
        None => process.timeout(Duration::MAX),
    };
    let output = process.finish(&site.scene).await.map_err(|error| Trouble::Failed(error.to_string()))?;
    let Some(output) = output else {
        return Err(Trouble::Failed("process activity took too long to complete".to_owned()));
    };
    if output.code.is_some_and(|code| code > 0) {
        site.warn(NON_ZERO);
    }
    Ok(returned(&output))
}

/// A signal that ended it is a negative status, as Python has it.
fn returned(output: &Output) -> Value {
    let status = output.code.or_else(|| output.signal.map(|signal| -signal));
    json!({"status": status, "stdout": output.stdout, "stderr": output.stderr})
}

fn path(provider: &Value, arguments: &Value) -> Result<String, Trouble> {
    match &provider["path"] {
        Value::String(path) => Ok(home(path)),
        // As in the original, whose command line then begins so.
        Value::Null if arguments.is_string() => Ok("None".to_owned()),
        other => Err(Trouble::Fatal(format!("a process needs a path, got {other}"))),
    }
}

/// The program at `path`, whose first argument is `before` if there is one.
fn prepared(path: &str, before: Option<&str>, arguments: &Value, site: &Site<'_>) -> Result<Process, Trouble> {
    let words = |items: &[Value]| {
        let kept = items.iter().filter(|item| !item.is_null() && item.as_str() != Some(""));
        kept.map(|word| site.names.text(word)).collect::<Vec<_>>()
    };
    Ok(match arguments {
        Value::String(text) => process::run("/bin/sh").arg("-c").arg(format!("{} {text}", shell(path, before))),
        Value::Array(items) => process::run(path).args(before).args(words(items)),
        Value::Object(pairs) => {
            let flat =
                site.names.orders.members(pairs).into_iter().flat_map(|(name, value)| [json!(name), value.clone()]);
            process::run(path).args(before).args(words(&flat.collect::<Vec<_>>()))
        }
        Value::Null => process::run(path).args(before),
        other => return Err(Trouble::Fatal(format!("the arguments of {path} must be a text or a list, got {other}"))),
    })
}

/// A program as a shell reads it. A path of the document's is the shell's to read, as in the original.
fn shell(path: &str, before: Option<&str>) -> String {
    match before {
        None => path.to_owned(),
        Some(before) => {
            let quoted = shlex::try_quote(path).map_or_else(|_| path.into(), std::borrow::Cow::into_owned);
            format!("{quoted} {before}")
        }
    }
}

/// `~` at the beginning is the user's home.
fn home(path: &str) -> String {
    match (path.strip_prefix('~'), crate::variables::text("HOME")) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        _ => path.to_owned(),
    }
}

fn timeout(provider: &Value) -> Result<Option<Duration>, Trouble> {
    match &provider["timeout"] {
        Value::Null => Ok(None),
        value => {
            let timeout = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            timeout.map(Some).ok_or_else(|| {
                Trouble::Fatal(format!("the timeout of a process must be a number of seconds, got {value}"))
            })
        }
    }
}
