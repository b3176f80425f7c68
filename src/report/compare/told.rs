//! A comparison, told.

use std::fmt::Write;

use super::{Comparison, Decision, Figure, Limits, Meaning, Reading, Row, RunName, Shown};
use crate::report::escape::{code, prose};
use crate::report::numbers::percent;
use crate::report::text::line;

/// The most letters of one name.
const MOST: usize = 200;

/// The most rows of one kind that are told; the JSON form has all.
const ROWS: usize = 100;

/// Both runs. Chaos Toolkit gives a run no name.
fn named(runs: [&RunName; 2], shown: impl Fn(&str) -> String) -> String {
    let [old, new] = runs.map(|run| match &*run.run {
        "" => format!("run of {}", run.started),
        name => format!("run {} of {}", shown(name), run.started),
    });
    format!("{new}, compared with {old}")
}

impl Comparison {
    /// As indented JSON with a final newline.
    ///
    /// # Panics
    /// Never: all its parts serialise.
    #[must_use]
    pub fn to_json(&self) -> String {
        crate::report::summary::to_json(self)
    }

    /// As plain text: what became worse, better, another, or is not known; what did not change is counted.
    /// With limits, which of it is a regression, and what a gate makes of it.
    #[must_use]
    pub fn to_text(&self, limits: Option<&Limits>) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{}", line(&self.experiment, MOST));
        let _ = writeln!(out, "  {}", self.counts());
        let _ = writeln!(out, "  {}", self.runs());
        for difference in self.differences.iter().take(ROWS) {
            let _ = writeln!(out, "  differs: {}", line(difference, 2 * MOST));
        }
        for (word, rows) in self.told(limits) {
            for row in rows.iter().take(ROWS) {
                let _ = writeln!(out, "  {word:<10}  {}", row.sentence());
            }
            if rows.len() > ROWS {
                let _ = writeln!(out, "  {word:<10}  and {} more", rows.len() - ROWS);
            }
        }
        if let Some(limits) = limits {
            let _ = writeln!(out, "  {}", self.concluded(limits));
        }
        let _ = writeln!(out, "  {NOISE}");
        out
    }

    /// As Markdown, for a pull request or the summary of a step; otherwise as [`to_text`](Self::to_text).
    #[must_use]
    pub fn to_markdown(&self, limits: Option<&Limits>) -> String {
        let mut out =
            format!("## {}, compared\n\n{}: {}\n\n", code(&self.experiment, MOST), self.runs_in_code(), self.counts());
        if let Some(limits) = limits {
            let _ = writeln!(out, "**{}**\n", prose(&self.concluded(limits)));
        }
        for difference in self.differences.iter().take(ROWS) {
            let _ = writeln!(out, "- differs: {}", code(difference, 2 * MOST));
        }
        out.push_str("\n| | what | of | old | new | change | noise |\n|---|---|---|---|---|---|---|\n");
        let mut left_out = 0;
        for (word, rows) in self.told(limits) {
            for row in rows {
                let line = row.cells(word);
                if out.len() + line.len() > MOST_MARKDOWN {
                    left_out += 1;
                } else {
                    out.push_str(&line);
                }
            }
        }
        if left_out > 0 {
            let _ = writeln!(out, "\n{left_out} more are left out.");
        }
        let _ = writeln!(out, "\n{NOISE}");
        out
    }

    fn runs_in_code(&self) -> String {
        named([&self.old, &self.new], |name| code(name, MOST))
    }

    fn runs(&self) -> String {
        named([&self.old, &self.new], |name| line(name, MOST).into_owned())
    }

    fn counts(&self) -> String {
        let count = |is: &dyn Fn(&Meaning) -> bool| self.rows.iter().filter(|row| is(&row.meaning)).count();
        format!(
            "{} worse, {} better, {} not known, {} the same, {} within the noise",
            count(&|meaning| *meaning == Meaning::Worse),
            count(&|meaning| *meaning == Meaning::Better),
            count(&|meaning| matches!(meaning, Meaning::Unknown { .. })),
            count(&|meaning| *meaning == Meaning::Same),
            count(&|meaning| *meaning == Meaning::WithinNoise),
        )
    }

    /// What is told row by row, what matters most first.
    fn told(&self, limits: Option<&Limits>) -> [(&'static str, Vec<&Row>); 7] {
        let is = |row: &Row| limits.is_some_and(|limits| row.is_regression(limits));
        let rows = |wanted: &dyn Fn(&Row) -> bool| self.rows.iter().filter(|row| wanted(row)).collect();
        let unknown = |row: &Row, wanted| matches!(row.meaning, Meaning::Unknown { decides, .. } if decides == wanted);
        [
            ("REGRESSION", rows(&is)),
            ("worse", rows(&|row| row.meaning == Meaning::Worse && !is(row))),
            ("better", rows(&|row| row.meaning == Meaning::Better)),
            ("changed", rows(&|row| row.meaning == Meaning::Changed)),
            ("not known", rows(&|row| unknown(row, true))),
            ("too little", rows(&|row| unknown(row, false))),
            ("in noise", rows(&|row| row.meaning == Meaning::WithinNoise)),
        ]
    }

    fn concluded(&self, limits: &Limits) -> String {
        match self.decision(limits) {
            Decision::Regression => format!("regression: {} worse than allowed", self.regressions(limits).len()),
            Decision::Undecided => {
                format!(
                    "not decided: {} that should be known are not, so this is no \"no regression\"",
                    self.undecided().len()
                )
            }
            Decision::NoRegression => "no regression".to_owned(),
        }
    }
}

/// The most bytes of the table in Markdown: a comment on GitHub holds 65,536 characters.
const MOST_MARKDOWN: usize = 50_000;

/// What the noise is, in one line.
const NOISE: &str = "Noise is what each run shows of itself: the middle half of its stretches of time, and chance in counts. \
How much runs differ from each other, two runs cannot show.";

impl Row {
    /// `p95 latency, traffic during deny: 12.0 ms → 31.0 ms (+158.3 %, noise 1.2 ms)`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let of = if self.subject.is_empty() { String::new() } else { format!(", {}", line(&self.subject, MOST)) };
        let mut out = format!("{}{of}: ", self.figure);
        let [was, is] = [&self.old, &self.new].map(|side| self.shown(side.as_ref()));
        if (&self.old, &self.new) != (&None, &None) {
            let _ = write!(out, "{was} → {is}");
        }
        match (&self.meaning, self.noise) {
            (Meaning::Unknown { why, .. }, _) => {
                let shown = out.ends_with(": ");
                let _ = write!(out, "{}{}", if shown { "" } else { ": " }, line(why, 2 * MOST));
            }
            (Meaning::Same, _) | (_, None) => {}
            (_, Some(noise)) => {
                let _ = write!(out, " ({}, noise {})", self.changed(), self.figure.told(noise));
            }
        }
        out
    }

    /// The row as one of a table.
    fn cells(&self, word: &str) -> String {
        let [was, is] = [&self.old, &self.new].map(|side| code(&self.shown(side.as_ref()), MOST));
        let (change, noise) = match (&self.meaning, self.noise) {
            (Meaning::Unknown { why, .. }, _) => (code(why, 2 * MOST), "–".to_owned()),
            (Meaning::Same, _) | (_, None) => ("–".to_owned(), "–".to_owned()),
            (_, Some(noise)) => (self.changed(), self.figure.told(noise)),
        };
        let of = code(&self.subject, MOST);
        format!("| {word} | {} | {of} | {was} | {is} | {change} | {noise} |\n", self.figure)
    }

    fn shown(&self, side: Option<&Shown>) -> String {
        match side {
            None => "nothing".to_owned(),
            Some(Shown::Word(word)) => line(word, MOST).into_owned(),
            Some(Shown::Number(Reading { value, .. })) => self.figure.told(*value),
        }
    }

    /// The change in per cent; by name where there is no such.
    fn changed(&self) -> String {
        self.change.map_or_else(
            || "from 0".to_owned(),
            |change| format!("{}{} %", sign(change), plain(change.abs() * 100.0, 1)),
        )
    }
}

fn sign(change: f64) -> &'static str {
    if change < 0.0 { "−" } else { "+" }
}

impl Figure {
    /// A number of it, with its unit.
    fn told(self, value: f64) -> String {
        match self {
            Self::Success => percent(value),
            Self::Ratio => plain(value, 4),
            Self::Growth => plain(value, 1),
            _ => format!("{}{}", plain(value, 1), self.unit()),
        }
    }
}

/// With so many digits behind the point, or in powers of ten where that would fill lines.
fn plain(value: f64, digits: usize) -> String {
    if value.abs() >= 1e9 { format!("{value:.3e}") } else { format!("{value:.digits$}") }
}
