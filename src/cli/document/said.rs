//! Where the lines of a run go: standard error, and a file if one was asked for. Colours only on a terminal.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::Global;
use crate::cli::Exit;
use crate::clock::{Clock, Timestamp};
use crate::document::redact::Redactor;
use crate::document::run::log::{Level, Log};

/// Hears lines, and tells them without secrets.
#[derive(Clone)]
pub(super) struct Said(Arc<Inner>);

struct Inner {
    least: Option<Level>,
    json: bool,
    colours: bool,
    file: Option<(Mutex<File>, Level)>,
    /// Known once the document is loaded.
    redact: Mutex<Arc<Redactor>>,
    clock: Mutex<Clock>,
}

impl Said {
    /// As the options say; `quiet` leaves only what goes wrong.
    pub(super) fn new(global: &Global, quiet: bool) -> Result<Self, ExitCode> {
        let file = match &global.log_file {
            None => None,
            Some(path) => {
                let opened = OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
                    eprintln!(
                        "steadfast: failed to open {}: {error}; name another file with --log-file",
                        path.display()
                    );
                    ExitCode::from(Exit::Usage)
                })?;
                let least = match global.log_file_level.as_str() {
                    "info" => Level::Info,
                    "warning" => Level::Warning,
                    "error" => Level::Error,
                    _ => Level::Debug,
                };
                Some((Mutex::new(opened), least))
            }
        };
        let least = match (quiet, global.verbose) {
            (true, _) => Level::Warning,
            (false, true) => Level::Debug,
            (false, false) => Level::Info,
        };
        let colourless = crate::variables::text("NO_COLOR").is_some();
        Ok(Self(Arc::new(Inner {
            least: Some(least),
            json: global.log_format == "json",
            colours: !colourless && std::io::stderr().is_terminal(),
            file,
            redact: Mutex::new(Arc::new(Redactor::of(&Vec::new(), &[]))),
            clock: Mutex::new(Clock::real()),
        })))
    }

    /// From here on these secrets are not told, and time is this clock's.
    pub(super) fn keeps(&self, redact: Arc<Redactor>, clock: Clock) {
        *self.0.redact.lock().unwrap_or_else(PoisonError::into_inner) = redact;
        *self.0.clock.lock().unwrap_or_else(PoisonError::into_inner) = clock;
    }

    /// From here on these secrets are not told.
    pub(super) fn hides(&self, redact: Arc<Redactor>) {
        *self.0.redact.lock().unwrap_or_else(PoisonError::into_inner) = redact;
    }

    /// Says why something cannot be done; what to exit with.
    pub(super) fn failed(&self, why: &str, exit: Exit) -> ExitCode {
        self.line(Level::Error, why);
        exit.into()
    }

    pub(super) fn log(&self) -> Log {
        let said = self.clone();
        Arc::new(move |level, line| said.line(level, line))
    }

    pub(super) fn line(&self, level: Level, line: &str) {
        let inner = &self.0;
        let shown = inner.redact.lock().unwrap_or_else(PoisonError::into_inner).redact(line).into_owned();
        let shown = printable(&shown);
        let now = inner.clock.lock().unwrap_or_else(PoisonError::into_inner).now();
        if inner.least.is_some_and(|least| level >= least) {
            let line =
                if inner.json { as_json(now, level, &shown) } else { as_text(now, level, &shown, inner.colours) };
            // Who closes standard error does not want to hear more; the run goes on.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        if let Some((file, least)) = &inner.file
            && level >= *least
        {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            // A full disk must not end a run half-way.
            let _ = writeln!(file, "{}", as_text(now, level, &shown, false));
        }
    }
}

fn as_text(now: Timestamp, level: Level, line: &str, colours: bool) -> String {
    let (on, off) = match level {
        _ if !colours => ("", ""),
        Level::Debug => ("\x1b[36m", "\x1b[0m"),
        Level::Info => ("\x1b[32m", "\x1b[0m"),
        Level::Warning => ("\x1b[33m", "\x1b[0m"),
        Level::Error | Level::Critical => ("\x1b[31m", "\x1b[0m"),
    };
    let now = now.strftime("%Y-%m-%d %H:%M:%S");
    format!("{on}[{now} {}] {}{off}", level.name(), line.replace('\n', "\n    "))
}

fn as_json(now: Timestamp, level: Level, line: &str) -> String {
    json!({"asctime": now.to_string(), "levelname": level.name(), "message": line}).to_string()
}

/// What a terminal would act on is shown as an escape.
pub(super) fn printable(text: &str) -> String {
    let shown =
        |c: char| if c.is_control() && c != '\n' && c != '\t' { c.escape_default().to_string() } else { c.into() };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        assert_eq!(printable("a\x1b[31mb\tc\nd\r"), "a\\u{1b}[31mb\tc\nd\\r");
    }

    #[test]
    fn a_line_has_its_time_and_level_and_colours_only_if_asked() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        assert_eq!(as_text(now, Level::Info, "a\nb", false), "[2026-01-02 03:04:05 INFO] a\n    b");
        assert!(as_text(now, Level::Error, "a", true).starts_with("\x1b[31m["));
    }
}
