//! `steadfast report --baseline`.

use std::path::Path;
use std::process::ExitCode;

use super::{Format, Options, told_why, write};
use crate::cli::Exit;
use crate::report::compare::Decision;
use crate::report::read;

/// Compares the one journal with an older one, writes that, and says whether the gate lets it pass.
pub(super) fn run(options: &Options, baseline: &Path, format: Format) -> ExitCode {
    let [new] = &options.journals[..] else {
        return told_why("--baseline is compared with one journal; name that one alone", Exit::Usage);
    };
    let (old, new) = match (read(baseline), read(new)) {
        (Ok((old, _)), Ok((new, _))) => (old, new),
        (Err(error), _) | (_, Err(error)) => return told_why(&error.to_string(), Exit::Failed),
    };
    let comparison = match new.compared_with(&old) {
        Ok(comparison) => comparison,
        Err(error) => return told_why(&error.to_string(), Exit::Usage),
    };
    let limits = options.fail_on_regression.as_ref();
    let text = match format {
        Format::Text => comparison.to_text(limits),
        Format::Markdown => comparison.to_markdown(limits),
        Format::Json => comparison.to_json(),
        _ => return told_why("a comparison is told as text, markdown or json; say --format", Exit::Usage),
    };
    if let Err(error) = write(options, &text) {
        return told_why(&error.to_string(), Exit::Failed);
    }
    match limits.map(|limits| comparison.decision(limits)) {
        None | Some(Decision::NoRegression) => Exit::Expected,
        Some(Decision::Regression) => Exit::Deviated,
        Some(Decision::Undecided) => Exit::Inconclusive,
    }
    .into()
}
