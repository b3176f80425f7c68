//! `steadfast vegeta plot`.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::inputs::{Inputs, STDIN};
use super::{Output, failed, usage, written};
use crate::clock::Timestamp;
use crate::load::plot::{DOTS, Page, Series};
use crate::load::vegeta::Record;

const EXAMPLES: &str = "\
Examples:
  steadfast vegeta plot results.gob > plot.html
  steadfast vegeta plot -title='before and after' -output=plot.html before.gob after.gob";

/// Draws results as one HTML file that needs no network
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub(super) struct Options {
    /// The page's title
    #[arg(long, default_value = "Vegeta Plot", value_name = "TEXT")]
    title: String,
    /// How many dots are drawn of each attack, at most; 0 is all of them
    #[arg(long, default_value_t = DOTS, value_name = "N")]
    threshold: usize,
    /// The file to write to
    #[arg(long, default_value = "stdout", value_name = "FILE")]
    output: String,
    /// Files of results
    #[arg(default_value = STDIN, value_name = "RESULTS")]
    files: Vec<String>,
}

/// The requests of one attack: when each was sent, how long it took, its outcome.
#[derive(Default)]
struct Attack(Vec<(Timestamp, Duration, u16)>);

pub(super) fn run(options: &Options) -> ExitCode {
    plot(options).unwrap_or_else(|code| code)
}

fn plot(options: &Options) -> Result<ExitCode, ExitCode> {
    let mut inputs = Inputs::open(&options.files, false).map_err(usage)?;
    let mut output = Output::create(&options.output).map_err(usage)?;
    let mut attacks: BTreeMap<String, Attack> = BTreeMap::new();
    let mut record = Record::default();
    while inputs.read(&mut record) {
        if !attacks.contains_key(&record.attack) {
            attacks.insert(record.attack.clone(), Attack::default());
        }
        if let Some(attack) = attacks.get_mut(&record.attack) {
            attack.0.push((record.timestamp, record.latency, record.code));
        }
    }
    if !attacks.is_empty() {
        let mut page = Page::new(&options.title, options.threshold);
        for (name, attack) in attacks {
            page.push(series(&name, attack));
        }
        written(output.write_all(page.html().as_bytes()).and_then(|()| output.flush()), &options.output)?;
    }
    Ok(match inputs.failures.as_slice() {
        [] => ExitCode::SUCCESS,
        failures => failed(failures.join("\nsteadfast vegeta: ")),
    })
}

/// Each attack begins with its own first request, so that several lie over one another.
fn series(name: &str, Attack(mut hits): Attack) -> Series {
    hits.sort_unstable_by_key(|(sent, ..)| *sent);
    let mut series = Series::new(if name.is_empty() { "attack" } else { name });
    let Some((first, ..)) = hits.first().copied() else { return series };
    let succeeded = hits.iter().filter(|(.., code)| (200..400).contains(code)).count();
    series.fact("requests", hits.len().to_string());
    series.fact("succeeded", succeeded.to_string());
    series.fact("failed", (hits.len() - succeeded).to_string());
    series.fact("first sent", first.to_string());
    for (sent, latency, code) in hits {
        let at = Duration::try_from(sent.duration_since(first)).unwrap_or_default();
        match code {
            0 => series.add(at, latency, "no answer", false),
            code => series.add(at, latency, &code.to_string(), (200..400).contains(&code)),
        }
    }
    series
}
