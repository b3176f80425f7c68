//! Prints how long reports on a million results take, ours and vegeta's by turns: `cargo bench --bench vegeta --features
//! cli`. Least, median and most of several rounds; without vegeta ours alone. No assertions, for machines differ.

mod shown;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use steadfast::clock::{Stopwatch, Timestamp};
use steadfast::load::vegeta::{Encoder, Encoding, Record};

use self::shown::told;

const RESULTS: u64 = 1_000_000;
const ROUNDS: usize = 5;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    for encoding in [Encoding::Gob, Encoding::Csv, Encoding::Json] {
        let file = folder.path().join(encoding.to_string());
        write(encoding, &file);
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let our = timed(Command::new(env!("CARGO_BIN_EXE_steadfast")).args(["vegeta", "report"]).arg(&file));
            let their = timed(Command::new("vegeta").arg("report").arg(&file));
            let Some(our) = our else { panic!("no report on {encoding}") };
            ours.push(our);
            if let Some(their) = their {
                theirs.push(their);
                ratios.push(their.as_secs_f64() / our.as_secs_f64());
            }
        }
        told(&format!("report on 1,000,000 results in {encoding}"), "< 500 ms", ours);
        if theirs.is_empty() {
            println!("  vegeta is not on the search path: nothing to compare with");
            continue;
        }
        told("  by vegeta", "more", theirs);
        ratios.sort_by(f64::total_cmp);
        let (least, median, most) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
        println!("  vegeta's time to ours: {least:.1} {median:.1} {most:.1} (asked: more than 1)");
    }
}

/// How long a command takes, or none if it is not there. One that fails is no figure.
fn timed(command: &mut Command) -> Option<Duration> {
    let watch = Stopwatch::start();
    let status = match command.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        status => status.expect("it can be run"),
    };
    assert!(status.success(), "{command:?}: {status}");
    Some(watch.elapsed())
}

/// Results as a small service gives them: a short body, a few headers, one failure of a hundred.
fn write(encoding: Encoding, file: &Path) {
    let mut encoder = Encoder::new(encoding, BufWriter::new(File::create(file).expect("a file")));
    let headers: BTreeMap<String, Vec<String>> =
        [("Content-Length", "26"), ("Content-Type", "text/plain"), ("Date", "Thu, 01 Jan 2026 00:00:00 GMT")]
            .map(|(name, value)| (name.to_owned(), vec![value.to_owned()]))
            .into();
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let mut record = Record { attack: "million".into(), method: "GET".into(), headers, ..Record::default() };
    (record.url, record.body) = ("http://127.0.0.1:8080/ok".into(), b"twenty-six bytes of a body".to_vec());
    for seq in 0..RESULTS {
        let failed = seq % 100 == 99;
        record.seq = seq;
        record.timestamp = start + Duration::from_micros(100 * seq);
        record.latency = Duration::from_nanos(200_000 + seq.wrapping_mul(2_654_435_761) % 3_000_000);
        record.code = if failed { 503 } else { 200 };
        record.error = if failed { "503 Service Unavailable".into() } else { String::new() };
        encoder.write(&record).expect("written");
    }
    encoder.flush().expect("written");
}
