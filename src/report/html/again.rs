//! How to run it again, and the journal itself.

use std::fmt::{Result, Write};

use super::text;
use crate::clock::Time;
use crate::journal::{Journal, Source};
use crate::page::base64;

/// A journal of more bytes is named by its path instead of being carried along.
const MOST: usize = 500_000;

pub(super) fn write(out: &mut String, journal: &Journal) -> Result {
    writeln!(out, "<section id=\"again\"><h2>Run it again</h2>")?;
    writeln!(out, "<pre tabindex=\"0\">{}</pre>", text(&command(journal), 400))?;
    let time = match journal.time {
        Time::Virtual => "virtual: the same seed gives the same journal",
        Time::Real if journal.source == Source::ChaosToolkit => "real",
        Time::Real => "real: the seed gives the same choices, not the same times",
    };
    write!(out, "<dl>")?;
    if journal.source != Source::ChaosToolkit {
        write!(out, "<div><dt>seed</dt><dd>{}</dd></div>", journal.seed.0)?;
        writeln!(out, "<div><dt>run</dt><dd>{}</dd></div>", text(&journal.run, 100))?;
    }
    writeln!(out, "<div><dt>time</dt><dd>{time}</dd></div>")?;
    writeln!(out, "<div><dt>cluster</dt><dd>{}</dd></div>", text(&journal.cluster, 200))?;
    writeln!(out, "<div><dt>started</dt><dd>{}</dd></div>", journal.started)?;
    writeln!(out, "<div><dt>finished</dt><dd>{}</dd></div>", journal.finished)?;
    if let Some(first) = journal.steps.first().filter(|step| !step.location.is_empty()) {
        writeln!(out, "<div><dt>source</dt><dd>{}</dd></div>", text(&first.location, 200))?;
    }
    writeln!(out, "<div><dt>journal</dt><dd>version {}</dd></div>", journal.version)?;
    writeln!(out, "<div><dt>report</dt><dd>steadfast {}</dd></div></dl>", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "<h3>The journal itself</h3>")?;
    let json = serde_json::to_string(journal).unwrap_or_default();
    let bytes = json.len();
    if bytes <= MOST {
        let data = base64(json.as_bytes());
        write!(out, "<p><a download=\"journal.json\" href=\"data:application/json;base64,{data}\">journal.json</a>")?;
        writeln!(out, " ({bytes} bytes)</p>")?;
    } else {
        let path = journal.path().map(|path| path.display().to_string());
        let path = path.map_or("the file from which this was made".to_owned(), |path| text(&path, 400));
        writeln!(out, "<p>It has {bytes} bytes, too many to be carried along: it is {path}.</p>")?;
    }
    writeln!(out, "</section>")
}

/// The command that runs it with the same choices, as far as the journal tells.
fn command(journal: &Journal) -> String {
    let seed = journal.seed.0;
    match journal.source {
        Source::Steadfast => {}
        Source::Document => return format!("STEADFAST_SEED={seed} steadfast run DOCUMENT"),
        Source::ChaosToolkit => return "chaos run EXPERIMENT".to_owned(),
    }
    let file = |location: &'_ str| location.split(':').next().unwrap_or_default().to_owned();
    let mut files = journal.steps.iter().map(|step| file(&step.location));
    // What a document asks for stands in no source, or in ours.
    let test = files.any(|file| file.ends_with(".rs") && !file.starts_with("src/document/"));
    match (test, journal.steps.is_empty()) {
        (true, _) => match journal.test.as_deref().and_then(filter) {
            Some(test) => format!("STEADFAST_SEED={seed} cargo test {test} -- --exact"),
            None => format!("STEADFAST_SEED={seed} cargo test"),
        },
        (false, false) => format!("STEADFAST_SEED={seed} steadfast run DOCUMENT"),
        (false, true) => format!("STEADFAST_SEED={seed}"),
    }
}

/// A test's name below its crate, as `cargo test` takes it, of the folder that is called by it: `lab4::front` of `it.lab4.front`.
fn filter(test: &str) -> Option<String> {
    let (_, name) = test.split('/').next()?.split_once('.')?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.');
    (!name.is_empty() && name.chars().all(plain)).then(|| name.replace('.', "::"))
}

#[cfg(test)]
mod tests {
    use super::{command, filter};
    use crate::journal::Source;

    #[test]
    fn a_test_and_a_document_are_run_again_in_their_own_way() {
        let mut journal = crate::report::sample();
        assert_eq!(command(&journal), "STEADFAST_SEED=0 cargo test");
        journal.test = Some("it.lab4.front/journal-2".into());
        assert_eq!(command(&journal), "STEADFAST_SEED=0 cargo test lab4::front -- --exact");
        assert_eq!(["front", "it.a-b", "it.", "it.x; rm"].map(filter), [const { None::<String> }; 4]);
        journal.steps.iter_mut().for_each(|step| step.location.clear());
        journal.steps[1].location = "src/document/function/mod.rs:119:40".into();
        assert_eq!(command(&journal), "STEADFAST_SEED=0 steadfast run DOCUMENT");
        journal.steps.clear();
        assert_eq!(command(&journal), "STEADFAST_SEED=0");
        journal.source = Source::Document;
        assert_eq!(command(&journal), "STEADFAST_SEED=0 steadfast run DOCUMENT");
        journal.source = Source::ChaosToolkit;
        assert_eq!(command(&journal), "chaos run EXPERIMENT");
    }
}
