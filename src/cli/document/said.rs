//! Where the lines of a run go: standard error, and a file if one was asked for, which never has colours.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::Global;
use super::view::View;
use crate::cli::{Exit, terminal};
use crate::clock::{Clock, Timestamp};
use crate::document::redact::Redactor;
use crate::document::run::log::{Level, Log};
use crate::document::run::now::{Now, Sight};

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
    /// Whether a run is shown below its lines on this terminal.
    viewed: bool,
    terminal: Mutex<Terminal>,
}

/// What stands on standard error.
#[derive(Default)]
struct Terminal {
    view: View,
    /// When the last line was told.
    told: Duration,
    /// What is shown.
    now: Now,
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
        Ok(Self(Arc::new(Inner {
            least: Some(least),
            json: global.log_format == "json",
            colours: terminal::colours(&std::io::stderr()),
            file,
            redact: Mutex::new(Arc::new(Redactor::of(&Vec::new(), &[]))),
            clock: Mutex::new(Clock::real()),
            viewed: !quiet && global.log_format != "json" && terminal::redraws(&std::io::stderr()),
            terminal: Mutex::default(),
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
        let shown = self.shown(line);
        let now = inner.clock.lock().unwrap_or_else(PoisonError::into_inner).now();
        if inner.least.is_some_and(|least| level >= least) {
            let line =
                if inner.json { as_json(now, level, &shown) } else { as_text(now, level, &shown, inner.colours) };
            let mut terminal = inner.terminal.lock().unwrap_or_else(PoisonError::into_inner);
            terminal.told = self.elapsed();
            terminal.write(&format!("{line}\n"));
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

impl Said {
    /// Without secrets, and without what a terminal would act on.
    pub(super) fn shown(&self, text: &str) -> String {
        printable(&self.0.redact.lock().unwrap_or_else(PoisonError::into_inner).redact(text))
    }

    fn elapsed(&self) -> Duration {
        self.0.clock.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// From here on this is what a run is doing.
    pub(super) fn sees(&self, now: Now) {
        self.0.terminal.lock().unwrap_or_else(PoisonError::into_inner).now = now;
    }

    /// Shows what can be seen of a run; where there is no view, tells it if nothing was told for so long.
    pub(super) fn look(&self, sight: &Sight, still: Duration) {
        let inner = &self.0;
        let now = inner.clock.lock().unwrap_or_else(PoisonError::into_inner).now();
        let elapsed = self.elapsed();
        let mut terminal = inner.terminal.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.viewed {
            if let Some(drawn) = terminal.view.shows(sight, now, |text| self.shown(text)) {
                out(&drawn);
            }
        } else if inner.least.is_some_and(|least| Level::Info >= least)
            && let Some(line) = terminal.view.still(sight, now)
            && elapsed.saturating_sub(terminal.told) >= still
        {
            terminal.told = elapsed;
            let shown = self.shown(&line);
            let line = if inner.json {
                as_json(now, Level::Info, &shown)
            } else {
                as_text(now, Level::Info, &shown, inner.colours)
            };
            terminal.write(&format!("{line}\n"));
        }
    }

    /// Leaves nothing but lines on the terminal.
    pub(super) fn view_ends(&self) {
        self.look(&Sight::default(), Duration::MAX);
    }
}

impl Terminal {
    /// Lines, above what is shown of the run as long as it goes on.
    fn write(&mut self, lines: &str) {
        if !self.now.is_on() {
            self.view.ends();
        }
        out(&self.view.with(lines));
    }
}

/// Who closes standard error does not want to hear more; the run goes on. One write, so that a terminal never shows half.
fn out(text: &str) {
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
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
    // What turns the direction of writing moves what stands beside it.
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let acts = |c: char| (c.is_control() && c != '\n' && c != '\t') || turns(c);
    text.chars().map(|c| if acts(c) { c.escape_default().to_string() } else { c.into() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        assert_eq!(printable("a\x1b[31mb\tc\nd\r"), "a\\u{1b}[31mb\tc\nd\\r");
        assert_eq!(printable("\u{9b}2J \u{202e}x"), "\\u{9b}2J \\u{202e}x");
    }

    #[test]
    fn a_line_has_its_time_and_level_and_colours_only_if_asked() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        assert_eq!(as_text(now, Level::Info, "a\nb", false), "[2026-01-02 03:04:05 INFO] a\n    b");
        assert!(as_text(now, Level::Error, "a", true).starts_with("\x1b[31m["));
    }
}
