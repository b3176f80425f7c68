//! All experiments of a session on one page: what each came to, and where its files are.

use std::fmt::{Result, Write};

use super::index::{Entry, Index};
use crate::journal::Verdict;
use crate::page;
use crate::report::{Headline, line};

const STYLE: &str = concat!(include_str!("../page/page.css"), include_str!("listing.css"));

/// The files that are linked, in this order, with what they are called there.
const LINKS: [(&str, &str); 4] =
    [("html", "report"), ("markdown", "Markdown"), ("junit", "JUnit"), ("journal", "journal")];

/// The page; equal for equal experiments, and readable without a network.
pub(super) fn html(index: &Index) -> String {
    let mut out = String::new();
    write(&mut out, index).expect("writing to a string cannot fail");
    out
}

fn write(out: &mut String, index: &Index) -> Result {
    page::begin(out, "Experiments", STYLE, "")?;
    writeln!(out, "<main><h1>Experiments</h1>")?;
    let mut counts = std::collections::BTreeMap::new();
    for entry in &index.experiments {
        *counts.entry(entry.summary.headline).or_insert(0_usize) += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    writeln!(out, "<p>{} of one run of tests: {}.</p>", index.experiments.len(), page::escaped(&counts.join(", ")))?;
    writeln!(out, "<table><thead><tr><th>Verdict</th><th>Experiment</th><th>What it showed</th><th>Before</th>")?;
    writeln!(out, "<th>During</th><th>Recovered</th><th>Rollback</th><th>Files</th></tr></thead><tbody>")?;
    for entry in &index.experiments {
        row(out, entry)?;
    }
    writeln!(out, "</tbody></table></main>")?;
    page::end(out, "")
}

fn row(out: &mut String, entry: &Entry) -> Result {
    let summary = &entry.summary;
    let text = |of: &str, most| page::escaped(&line(of, most));
    let (mark, headline) = (summary.headline.mark(), summary.headline);
    let (class, sign) = (mark.class(), mark.sign());
    write!(out, "<tr class=\"{class}\"><td><span aria-hidden=\"true\">{sign}</span> {headline}</td>")?;
    write!(out, "<td>{}", text(&summary.experiment, 200))?;
    write!(out, "<br><small>{}</small></td><td>{}</td>", text(&entry.folder, 200), text(&summary.sentence, 1_000))?;
    let gate = if summary.ended == "gate-missed" { "missed" } else { "–" };
    let during = match (summary.verdict, summary.headline) {
        (Verdict::Met, Headline::Inconclusive) => "not shown".to_owned(),
        (verdict, _) => verdict.to_string(),
    };
    let rollback = summary.rollback;
    write!(out, "<td>{gate}</td><td>{during}</td><td>{}</td><td>{rollback}</td><td>", summary.recovered)?;
    for (format, called) in LINKS {
        if let Some(file) = entry.files.get(format) {
            let path = std::path::Path::new(&entry.folder).join(file);
            // A colon in a name is no scheme, and a whole path is of this machine.
            let here = if path.is_absolute() { "" } else { "./" };
            write!(out, "<a href=\"{here}{}\">{called}</a> ", address(&path.to_string_lossy()))?;
        }
    }
    writeln!(out, "</td></tr>")
}

/// A path as an address below the page's own.
fn address(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => out.push(char::from(byte)),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Summary;

    #[test]
    fn what_an_experiment_says_stays_text_and_its_links_stay_below() {
        let mut journal = crate::report::sample();
        journal.experiment = "<script>alert(1)</script>\u{202e}".to_owned();
        let summary = Summary::of(&journal);
        let files = [("journal".to_owned(), "a\" b?#.json".to_owned())].into();
        let entry = Entry { folder: "javascript:x".to_owned(), files, summary };
        let index = Index {
            schema_version: 1,
            session: String::new(),
            merged: Vec::new(),
            counts: Default::default(),
            experiments: vec![entry],
        };
        let page = html(&index);
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;\u{fffd}"), "{page}");
        assert!(page.contains("href=\"./javascript%3Ax/a%22%20b%3F%23.json\""), "{page}");
        assert!(page.contains("1 of one run of tests: 1 deviated."), "{page}");
        assert_eq!(page, html(&index));
    }
}
