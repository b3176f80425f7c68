//! Go's way of writing flags, in clap's.

use std::ffi::{OsStr, OsString};

use clap::Command;

/// Rewrites what follows `vegeta`: a flag gets its second dash, and its value is joined to it.
///
/// So `-rate 50` is `--rate=50`, and a value may begin with a dash, as in `-redirects -1`. Other arguments are as
/// they were.
pub(in crate::cli) fn go_style(command: &Command, arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = arguments.peekable();
    let mut rewritten: Vec<OsString> = arguments.by_ref().take(1).collect();
    let Some(mut within) = command.find_subcommand("vegeta") else {
        return rewritten.into_iter().chain(arguments).collect();
    };
    if arguments.peek().is_none_or(|first| first != "vegeta") {
        return rewritten.into_iter().chain(arguments).collect();
    }
    rewritten.extend(arguments.next());
    while let Some(argument) = arguments.next() {
        let Some(flag) = flag(&argument) else {
            within = argument.to_str().and_then(|name| within.find_subcommand(name)).unwrap_or(within);
            let rest = argument == "--";
            rewritten.push(argument);
            if rest {
                break;
            }
            continue;
        };
        let mut long = OsString::from(if flag.len() == 1 { "-" } else { "--" });
        long.push(flag);
        if takes_next(within, flag)
            && let Some(value) = arguments.next()
        {
            long.push("=");
            long.push(value);
        }
        rewritten.push(long);
    }
    rewritten.extend(arguments);
    rewritten
}

/// What follows the dashes.
fn flag(argument: &OsStr) -> Option<&str> {
    let flag = argument.to_str()?.strip_prefix('-')?;
    let flag = flag.strip_prefix('-').unwrap_or(flag);
    (!flag.is_empty()).then_some(flag)
}

/// Whether the argument after the flag is its value.
fn takes_next(command: &Command, flag: &str) -> bool {
    let known = command.get_arguments().find(|argument| argument.get_long() == Some(flag));
    known.is_some_and(|argument| argument.get_action().takes_values() && !argument.is_require_equals_set())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Command as Line;

    fn rewritten(line: &str) -> String {
        let mut command = Line::command();
        command.build();
        let words = line.split_whitespace().map(OsString::from);
        go_style(&command, words).join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn flags_are_rewritten() {
        for (line, expected) in [
            ("steadfast vegeta report -type=json a.gob", "steadfast vegeta report --type=json a.gob"),
            (
                "steadfast vegeta report -type json a.gob -every 1s",
                "steadfast vegeta report --type=json a.gob --every=1s",
            ),
            ("steadfast vegeta report --type -x", "steadfast vegeta report --type=-x"),
            ("steadfast vegeta -h", "steadfast vegeta -h"),
            ("steadfast vegeta report -help", "steadfast vegeta report --help"),
            ("steadfast vegeta -cpus 2 report -output", "steadfast vegeta --cpus=2 report --output"),
            ("steadfast vegeta report -- -type", "steadfast vegeta report -- -type"),
            ("steadfast lab -api-port 1", "steadfast lab -api-port 1"),
            ("steadfast", "steadfast"),
        ] {
            assert_eq!(rewritten(line), expected);
        }
    }
}
