//! What a run is doing now, on a terminal: some lines below its log, redrawn in place.
//!
//! The cursor stands below them at the start of a line and is never hidden, nothing is asked of the terminal, and no line
//! fills its width: whatever ends the process leaves a terminal as it should be.

mod frame;

use std::time::Duration;

use rustix::termios::{Winsize, tcgetwinsize};

use crate::clock::{Clock, Timestamp};
use crate::document::run::now::{Now, Sight};
use frame::Rates;

/// Between two redraws.
const EVERY: Duration = Duration::from_millis(250);

/// How long a run says nothing, where there is no view, before it tells how far it is.
const STILL: Duration = Duration::from_secs(10);

/// The most lines, however high the terminal is.
const MOST: usize = 12;

/// What is on the terminal below the log.
#[derive(Debug, Default)]
pub(super) struct View {
    /// How many lines are drawn.
    drawn: usize,
    lines: Vec<String>,
    rates: Rates,
}

impl View {
    /// The bytes that put `above` in the place of what is drawn, and draw it again below.
    pub(super) fn with(&mut self, above: &str) -> String {
        let mut out = self.erased(size());
        out.push_str(above);
        self.draw(&mut out);
        out
    }

    /// The bytes that show what is seen now in place of what is drawn; `None` where that is the same.
    pub(super) fn shows(&mut self, sight: &Sight, at: Timestamp, shown: impl Fn(&str) -> String) -> Option<String> {
        let size = size();
        self.rates.see(&sight.loads, at);
        let lines = frame::lines(sight, at, &self.rates).iter().map(|line| shown(line)).collect();
        let lines = frame::fitted(lines, size);
        if lines == self.lines && self.drawn == lines.len() {
            return None;
        }
        let mut out = self.erased(size);
        self.lines = lines;
        self.draw(&mut out);
        Some(out)
    }

    /// How far a run is, in one line.
    pub(super) fn still(&mut self, sight: &Sight, at: Timestamp) -> Option<String> {
        self.rates.see(&sight.loads, at);
        let lines = frame::lines(sight, at, &self.rates);
        let told: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
        (!told.is_empty()).then(|| format!("still going on: {}", told.join("; ")))
    }

    /// From the next lines on there is nothing below them.
    pub(super) fn ends(&mut self) {
        self.lines.clear();
    }

    fn draw(&mut self, out: &mut String) {
        for line in &self.lines {
            out.push_str(line);
            out.push('\n');
        }
        self.drawn = self.lines.len();
    }

    /// Back to where the drawn lines begin, as far as the terminal is high, and nothing from there on.
    fn erased(&mut self, (_, rows): (usize, usize)) -> String {
        let up = std::mem::take(&mut self.drawn).min(rows.saturating_sub(1));
        if up == 0 { String::new() } else { format!("\r\x1b[{up}A\x1b[J") }
    }
}

/// Columns and rows. It is asked each time: a window may be resized.
fn size() -> (usize, usize) {
    match tcgetwinsize(std::io::stderr()) {
        Ok(Winsize { ws_col, ws_row, .. }) if ws_col > 0 && ws_row > 0 => (ws_col.into(), ws_row.into()),
        _ => (80, 24),
    }
}

/// Shows a run on a terminal as it goes on, and tells elsewhere from time to time that it does. It never ends.
pub(super) async fn keep(said: &super::said::Said, now: &Now, clock: &Clock) -> std::convert::Infallible {
    loop {
        said.look(&now.sight(), STILL);
        clock.sleep(EVERY).await;
    }
}
