//! JUnit XML: one suite for each experiment, in the subset that Jenkins, GitLab, GitHub's test reporters, Azure and
//! CircleCI all read. It tells what was found of the system, not whether the Rust test passed: one that expects a
//! deviation passes, and the deviation is a failure here.
//!
//! CI knows a case again by `classname` and `name`. The class is the test that ran the experiment, its title and the
//! phase: two experiments of one title are two, and no line of the source that moves makes it another one.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::escape::{bounded, xml_attribute, xml_text};
use super::summary::{Case, CaseResult, Counts, Summary};

/// How much of a message is shown, and of the text beside it.
const MOST_MESSAGE: usize = 2_000;
const MOST_TEXT: usize = 60_000;

/// A whole file.
pub(crate) fn file(summaries: &[Summary]) -> String {
    let mut counts = Counts::default();
    let mut seconds = 0.0;
    for summary in summaries {
        counts.add(summary.counts);
        seconds += summary.seconds;
    }
    // Of a document no test tells which it is: those of one title are numbered.
    let mut known: BTreeMap<String, u32> = BTreeMap::new();
    let suites = summaries.iter().enumerate().map(|(id, summary)| {
        let number = known.entry(class(summary)).or_default();
        *number += 1;
        suite(summary, id, *number)
    });
    frame(counts, seconds, &suites.collect::<String>())
}

/// What stands before the phase in the class of an experiment's cases.
fn class(summary: &Summary) -> String {
    // What stands before the last dot is a package to readers: a title with dots would be many.
    let title = summary.experiment.replace('.', "\u{2024}");
    match &summary.test {
        Some(test) => format!("{test}.{title}"),
        None => title,
    }
}

/// The suites of a file, whose counts are these.
pub(crate) fn frame(counts: Counts, seconds: f64, suites: &str) -> String {
    let Counts { cases, failed, errors, skipped } = counts;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"steadfast\" tests=\"{cases}\" \
failures=\"{failed}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{seconds:.3}\">\n{suites}</testsuites>\n"
    )
}

/// One experiment, the `number`th of its class.
fn suite(summary: &Summary, id: usize, number: u32) -> String {
    let mut out = String::new();
    let again = if number > 1 { format!(" ({number})") } else { String::new() };
    write_suite(&mut out, summary, id, &(class(summary) + &again)).expect("writing to a string cannot fail");
    out
}

fn write_suite(out: &mut String, summary: &Summary, id: usize, class: &str) -> std::fmt::Result {
    let Counts { cases, failed, errors, skipped } = summary.counts;
    write!(out, "  <testsuite name=\"{}\" package=\"steadfast\" id=\"{id}\"", xml_attribute(&summary.experiment))?;
    write!(out, " hostname=\"localhost\" timestamp=\"{}\"", timestamp(summary.started.as_deref()))?;
    write!(out, " tests=\"{cases}\" failures=\"{failed}\" errors=\"{errors}\" skipped=\"{skipped}\"")?;
    writeln!(out, " time=\"{:.3}\">", summary.seconds)?;
    out.push_str("    <properties>\n");
    let reason = summary.reason.as_ref().map(|why| why.kind.as_str());
    for (name, value) in [
        ("headline", Some(summary.headline.to_string().as_str())),
        ("verdict", Some(summary.verdict.to_string().as_str())),
        ("reason", reason),
        ("recovered", Some(summary.recovered.to_string().as_str())),
        ("ended", Some(&summary.ended)),
        ("rollback", Some(summary.rollback.to_string().as_str())),
        ("cluster", summary.cluster.as_deref()),
        ("time", Some(&summary.time)),
        ("run", summary.run.as_deref()),
        ("seed", summary.seed.as_deref()),
        ("journal", summary.journal.as_deref()),
    ] {
        if let Some(value) = value {
            writeln!(out, "      <property name=\"{name}\" value=\"{}\"/>", xml_attribute(value))?;
        }
    }
    out.push_str("    </properties>\n");
    for case in &summary.cases {
        write_case(out, class, case)?;
    }
    let text = bounded(&summary.text, MOST_TEXT);
    writeln!(out, "    <system-out>{}</system-out>\n    <system-err></system-err>", xml_text(&text))?;
    out.push_str("  </testsuite>\n");
    Ok(())
}

fn write_case(out: &mut String, class: &str, case: &Case) -> std::fmt::Result {
    let class = format!("{class}.{}", case.phase);
    write!(out, "    <testcase name=\"{}\" classname=\"{}\"", xml_attribute(&case.name), xml_attribute(&class))?;
    write!(out, " time=\"{:.3}\"", case.seconds)?;
    if let Some((file, line)) = case.location.as_deref().and_then(place) {
        write!(out, " file=\"{}\" line=\"{line}\"", xml_attribute(file))?;
    }
    let message = bounded(&case.message, MOST_MESSAGE);
    let tag = match case.result {
        CaseResult::Passed => return out.write_str("/>\n"),
        CaseResult::Skipped => {
            writeln!(out, ">\n      <skipped message=\"{}\"/>\n    </testcase>", xml_attribute(&message))?;
            return Ok(());
        }
        CaseResult::Failed => "failure",
        CaseResult::Error => "error",
    };
    let kind = if tag == "failure" { "not met" } else { "not known" };
    write!(out, ">\n      <{tag} message=\"{}\" type=\"{kind}\">", xml_attribute(&message))?;
    write!(out, "{}", xml_text(&format!("{}: {}: {message}", case.phase, case.name)))?;
    writeln!(out, "</{tag}>\n    </testcase>")
}

/// `tests/it/lab4.rs:24` or `tests/it/lab4.rs:24:9`: the file and the line.
pub(crate) fn place(location: &str) -> Option<(&str, u32)> {
    let (before, last) = location.rsplit_once(':')?;
    let last: u32 = last.parse().ok()?;
    match before.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?))) {
        Some((file, line)) => Some((file, line)),
        None => Some((before, last)),
    }
}

/// The strict schema knows neither zone nor fraction.
fn timestamp(started: Option<&str>) -> String {
    let at = started.and_then(|text| text.parse::<crate::clock::Timestamp>().ok()).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// The suites of a file of one experiment, for a file of several.
pub(crate) fn suites_of(file: &str, id: usize) -> Option<String> {
    let (_, suites) = file.split_once("<testsuites ")?.1.split_once(">\n")?;
    let suites = suites.strip_suffix("</testsuites>\n")?;
    Some(suites.replacen(" package=\"steadfast\" id=\"0\"", &format!(" package=\"steadfast\" id=\"{id}\""), 1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The name and the class of each case.
    fn keys(file: &str) -> Vec<&str> {
        file.split("<testcase ").skip(1).filter_map(|case| case.split(" time=").next()).collect()
    }

    #[test]
    fn experiments_of_one_title_have_no_case_in_common_and_keep_theirs() {
        let of = |test: Option<&str>| {
            let mut journal = crate::report::sample();
            journal.test = test.map(str::to_owned);
            Summary::of(&journal)
        };
        let [one, other, again] = [Some("it.a.one"), Some("it.a.other"), Some("it.a.one/journal-2")].map(of);
        let merged = file(&[one.clone(), other.clone(), again, of(None), of(None)]);
        let all = keys(&merged);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:#?}");
        // Alone, or in another order, they are the same.
        let turned = file(&[other, one.clone()]);
        let alone = file(&[one]);
        assert!(keys(&alone).iter().all(|key| all.contains(key) && keys(&turned).contains(key)), "{alone}");
        assert!(keys(&alone)[0].contains("classname=\"it.a.one.front keeps working when back is cut off.before\""));
    }
}
