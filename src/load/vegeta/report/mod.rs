//! Reports on results, in vegeta's layouts and with its field names.
//!
//! What vegeta reports means the same here, with its biases: its rate is requests by the time from the first to the
//! last sending. What is added or corrected stands under the JSON key `steadfast` and nowhere else.

mod hdr;
mod histogram;
mod metrics;
mod table;
mod text;

use std::io::{self, Write};
use std::str::FromStr;

pub use histogram::Buckets;
pub use metrics::{Added, Latencies, Metrics, Report, Volume};

/// What a report looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A table for people.
    Text,
    /// One JSON object.
    Json,
    /// A histogram of the latencies, in these buckets.
    Histogram(Buckets),
    /// A table of quantiles that HdrHistogram's plotters read.
    HdrPlot,
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "hdrplot" => Ok(Self::HdrPlot),
            "plot" => Err("the report type plot is a command of its own now: steadfast vegeta plot".to_owned()),
            _ => match text.strip_prefix("hist") {
                Some(buckets) => buckets.parse().map(Self::Histogram),
                None => Err(format!("unknown report type {text:?}; give text, json, hist[BUCKETS] or hdrplot")),
            },
        }
    }
}

impl Layout {
    /// Writes a report on what was counted so far.
    ///
    /// # Errors
    /// If that fails.
    pub fn write(&self, metrics: &Metrics, mut out: impl Write) -> io::Result<()> {
        match self {
            Self::Text => out.write_all(text::text(&metrics.report()).as_bytes()),
            Self::Json => {
                serde_json::to_writer(&mut out, &metrics.report())?;
                writeln!(out)
            }
            Self::Histogram(buckets) => out.write_all(histogram::text(metrics.buckets().unwrap_or(buckets)).as_bytes()),
            Self::HdrPlot => out.write_all(hdr::text(metrics).as_bytes()),
        }
    }
}
