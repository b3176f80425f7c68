//! A run on one page: a file of HTML that reads nothing from a network and is whole without its script.
//!
//! From above: the verdict in a sentence with the state of the rollback; key numbers; everything on one axis of time;
//! the hypothesis check by check, the faults, the method; logs and events; how to run it again, and the journal itself.
//! Whatever the system under test said is escaped, and each list has a room that it does not outgrow.

mod again;
mod alerts;
mod axis;
mod drawing;
mod evidence;
mod faults;
mod hypothesis;
mod lanes;
mod logs;
mod method;
mod panels;
mod series;
mod sparkline;
mod top;

use std::fmt::{Result, Write};

use super::text::{line, visible};
use crate::journal::Journal;
use crate::page;
use crate::report::headline::Mark;

const STYLE: &str = concat!(include_str!("../../page/page.css"), include_str!("page.css"));
const SCRIPT: &str = include_str!("page.js");

impl Journal {
    /// The run as one page of HTML: equal for equal journals, with nothing loaded from anywhere, readable without its
    /// script. Lists are cut where they would make it too long to open, and say so; the journal's file holds all.
    #[must_use]
    pub fn report_html(&self) -> String {
        let mut html = String::new();
        write(&mut html, self).expect("writing to a string cannot fail");
        html
    }
}

fn write(out: &mut String, journal: &Journal) -> Result {
    page::begin(out, &line(&journal.experiment, 200), STYLE, SCRIPT)?;
    top::write(out, journal)?;
    writeln!(out, "<main>")?;
    top::numbers(out, journal)?;
    drawing::write(out, journal)?;
    hypothesis::write(out, journal)?;
    faults::write(out, journal)?;
    method::write(out, journal)?;
    logs::write(out, journal)?;
    again::write(out, journal)?;
    writeln!(out, "</main>")?;
    page::end(out, SCRIPT)
}

/// Text of others on one line of at most so many letters, safe anywhere in the page.
fn text(of: &str, most: usize) -> String {
    page::escaped(&line(of, most))
}

/// Text of others that keeps its lines, for a `pre`.
fn block(of: &str, most: usize) -> String {
    let cut = match of.char_indices().nth(most) {
        Some((end, _)) => format!("{}… ({} bytes in all)", &of[..end], of.len()),
        None => of.to_owned(),
    };
    page::escaped(&cut.chars().map(|letter| if letter == '\n' { letter } else { visible(letter) }).collect::<String>())
}

/// Writes items until their room, in bytes, is full; how many were left out.
fn within<T>(
    out: &mut String,
    room: usize,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut String, T) -> Result,
) -> std::result::Result<usize, std::fmt::Error> {
    let (began, mut left_out) = (out.len(), 0);
    for item in items {
        if out.len() - began > room {
            left_out += 1;
        } else {
            write(out, item)?;
        }
    }
    Ok(left_out)
}

/// Says what [`within`] left out.
fn left_out(out: &mut String, count: usize, what: &str) -> Result {
    if count > 0 {
        writeln!(out, "<p class=\"faint\">{count} more {what} are in the journal.</p>")?;
    }
    Ok(())
}

/// A table in a box that scrolls by itself, also by keyboard. The head is our own text.
fn table(out: &mut String, name: &str, head: &[&str], rows: impl FnOnce(&mut String) -> Result) -> Result {
    write!(out, "<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"{name}\"><table>")?;
    write!(out, "<thead><tr>")?;
    for title in head {
        write!(out, "<th scope=\"col\">{title}</th>")?;
    }
    writeln!(out, "</tr></thead><tbody>")?;
    rows(out)?;
    writeln!(out, "</tbody></table></div>")
}

/// A mark with its word: what it says does not hang on a colour.
fn badge(mark: Mark, word: &str) -> String {
    let (class, sign, word) = (mark.class(), mark.sign(), text(word, 40));
    format!("<span class=\"badge {class}\"><span aria-hidden=\"true\">{sign}</span> {word}</span>")
}

/// The mark of a check's outcome, as a journal names it.
fn outcome(of: &str) -> String {
    badge(Mark::of_outcome(of), if of == "not-met" { "not met" } else { of })
}

#[cfg(test)]
mod tests;
