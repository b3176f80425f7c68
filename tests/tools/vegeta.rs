//! `steadfast vegeta` beside the real vegeta: each reads what the other writes, and they report the same.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{Needs, Outcome, find};

pub const OURS: [&str; 2] = [env!("CARGO_BIN_EXE_steadfast"), "vegeta"];
pub const THEIRS: [&str; 1] = ["vegeta"];

const ENCODINGS: [&str; 3] = ["gob", "json", "csv"];

pub fn trials() -> (Needs, Vec<Trial>) {
    let remedy = "no vegeta on the PATH: go install github.com/tsenart/vegeta/v12@latest";
    let needs = Needs::new("vegeta", find("vegeta").map(drop).ok_or(remedy.to_owned()));
    let mut trials = vec![
        needs.trial("vegeta::reads_ours", || translated(&OURS, &THEIRS)),
        needs.trial("vegeta::is_read", || translated(&THEIRS, &OURS)),
        needs.trial("vegeta::reports_the_same", reports),
        Trial::test("vegeta::goes_on_where_a_file_is_cut", cut),
        Trial::test("vegeta::reports_while_results_come", every),
        Trial::test("vegeta::draws_each_attack", plot),
    ];
    trials.extend(super::attack::trials(&needs));
    (needs, trials)
}

/// Runs a command in UTC: vegeta shows CSV's times in the machine's zone.
pub fn run(command: &[&str], arguments: &[&str], stdin: Stdio) -> Result<String, String> {
    let mut call = Command::new(command[0]);
    call.args(&command[1..]).args(arguments).env("TZ", "UTC").stdin(stdin);
    let output = call.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(format!("{command:?} {arguments:?}: {} {said}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

fn fixture(encoding: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vegeta");
    folder.join(format!("results.{encoding}")).to_string_lossy().into_owned()
}

/// Results as values: nothing is told from empty, and a time is an instant, since CSV has no zone.
pub fn values(lines: &str) -> Result<Vec<Value>, String> {
    let value = |line: &str| {
        let mut value: Value = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
        if value["body"].is_null() {
            value["body"] = json!("");
        }
        if value["headers"].is_null() {
            value["headers"] = json!({});
        }
        let time = value["timestamp"].as_str().unwrap_or_default();
        let time: jiff::Timestamp = time.parse().map_err(|error| format!("{error}: {line}"))?;
        value["timestamp"] = json!(time.to_string());
        Ok(value)
    };
    lines.lines().map(value).collect()
}

/// What one writes in each encoding the other reads, field by field.
fn translated(writer: &[&str], reader: &[&str]) -> Outcome {
    let folder = tempfile::tempdir()?;
    for from in ENCODINGS {
        let source = fixture(from);
        let expected = values(&run(&THEIRS, &["encode", "-to=json", &source], Stdio::null())?)?;
        assert_eq!(expected.len(), 12);
        for to in ENCODINGS {
            let file = folder.path().join(format!("{from}.{to}")).to_string_lossy().into_owned();
            run(writer, &["encode", "-to", to, "-output", &file, &source], Stdio::null())?;
            let read = values(&run(reader, &["encode", &file], Stdio::null())?)?;
            assert_eq!(read, expected, "{from} written as {to}");
            let piped = run(reader, &["encode"], fs::File::open(&file)?.into())?;
            assert_eq!(values(&piped)?, expected, "{from} written as {to}, from standard input");
        }
    }
    Ok(())
}

/// Many results with latencies that no one would guess.
fn many(folder: &Path) -> Result<(PathBuf, Vec<u64>), libtest_mimic::Failed> {
    let (mut text, mut latencies, mut seed) = (String::new(), Vec::new(), 1_u64);
    for number in 0..20_000_u64 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let latency = 50_000 + (seed >> 40) * (seed >> 60).pow(2) / 10;
        let (code, error) = if seed >> 58 == 7 { (503, "503 Service Unavailable") } else { (200, "") };
        let (second, nanosecond) = (number / 1000, number % 1000 * 1_000_000);
        writeln!(
            text,
            "{{\"attack\":\"\",\"seq\":{number},\"code\":{code},\"timestamp\":\"2026-01-01T00:00:{second:02}.\
             {nanosecond:09}Z\",\"latency\":{latency},\"bytes_out\":3,\"bytes_in\":{},\"error\":\"{error}\",\"body\":\
             null,\"method\":\"GET\",\"url\":\"http://a/\",\"headers\":null}}",
            number % 7
        )?;
        latencies.push(latency);
    }
    latencies.sort_unstable();
    let file = folder.join("many.json");
    fs::write(&file, text)?;
    Ok((file, latencies))
}

fn reports() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (many, latencies) = many(folder.path())?;
    let many = many.to_string_lossy().into_owned();
    let both = |arguments: &[&str]| -> Result<(String, String), String> {
        Ok((run(&OURS, arguments, Stdio::null())?, run(&THEIRS, arguments, Stdio::null())?))
    };

    let fixtures = ENCODINGS.map(fixture);
    for files in [vec![many.as_str()], fixtures.iter().map(String::as_str).collect()] {
        let arguments = [&["report", "-type=json", "-buckets=[0,1ms,10ms]"][..], &files].concat();
        let (ours, theirs) = both(&arguments)?;
        let (mut ours, mut theirs): (Value, Value) = (serde_json::from_str(&ours)?, serde_json::from_str(&theirs)?);
        for quantile in ["50th", "90th", "95th", "99th"] {
            let (our, their) = (ours["latencies"][quantile].take(), theirs["latencies"][quantile].take());
            if files.len() == 1 {
                let share: f64 = quantile.trim_end_matches("th").parse::<f64>()? / 100.0;
                let at = |share: f64| latencies[((share * 20_000.0) as usize).clamp(1, 20_000) - 1] as f64;
                let (our, their) = (our.as_f64().expect("a number"), their.as_f64().expect("a number"));
                assert!((our / at(share) - 1.0).abs() < 1e-3, "{quantile}: {our}, exactly {}", at(share));
                // The t-digest's error, in rank.
                assert!((at(share - 0.01)..=at(share + 0.01)).contains(&their), "{quantile}: {their}, {}", at(share));
            }
        }
        // What is ours alone is under one key; the rest is equal to the last digit.
        assert!(ours.as_object_mut().is_some_and(|ours| ours.remove("steadfast").is_some()));
        for time in ["earliest", "latest", "end"] {
            let (our, their) = (ours[time].take(), theirs[time].take());
            let instant = |value: &Value| value.as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
            assert!(instant(&our).is_some() && instant(&our) == instant(&their), "{time}: {our} {their}");
        }
        assert_numbers(&ours, &theirs, "");

        let (ours, theirs) = both(&[&["report"][..], &files].concat())?;
        for (ours, theirs) in ours.lines().zip(theirs.lines()) {
            let latencies = |line: &str| {
                let (what, times) = line.split_at(48);
                let times: Vec<_> = times.split(", ").map(str::to_owned).collect();
                (what.to_owned(), times[0].clone(), times[1].clone(), times[6].clone())
            };
            if ours.starts_with("Latencies") {
                assert_eq!(latencies(ours), latencies(theirs));
            } else {
                assert_eq!(ours, theirs);
            }
        }
        assert_eq!(ours.lines().count(), theirs.lines().count());

        for histogram in [&["-type=hist[0,100us,2ms,1s]"][..], &["-type=hist", "-buckets=[1ms,5ms]"]] {
            let (ours, theirs) = both(&[&["report"], histogram, &files].concat())?;
            assert_eq!(ours, theirs);
        }

        let (ours, theirs) = both(&[&["report", "-type=hdrplot"][..], &files].concat())?;
        let columns = |text: &str| -> Vec<Vec<String>> {
            let words = |line: &str| line.split_whitespace().skip(1).map(str::to_owned).collect();
            text.lines().map(words).collect()
        };
        assert_eq!(columns(&ours), columns(&theirs));
        assert_eq!(ours.lines().next(), theirs.lines().next());
    }
    Ok(())
}

/// Equal, but for the last digit of a fraction.
fn assert_numbers(ours: &Value, theirs: &Value, at: &str) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(ours), names(theirs), "{at}");
            for (name, ours) in ours {
                assert_numbers(ours, &theirs[name], &format!("{at}.{name}"));
            }
        }
        (Value::Number(ours), Value::Number(theirs)) if ours.is_f64() || theirs.is_f64() => {
            let (ours, theirs) = (ours.as_f64().expect("a number"), theirs.as_f64().expect("a number"));
            assert!((ours - theirs).abs() <= theirs.abs() * 1e-12, "{at}: {ours} {theirs}");
        }
        _ => assert_eq!(ours, theirs, "{at}"),
    }
}

/// vegeta gives up on a file that is cut; here what is whole is reported, and the cut is an error.
fn cut() -> Outcome {
    let folder = tempfile::tempdir()?;
    for encoding in ENCODINGS {
        let whole = fs::read(fixture(encoding))?;
        let file = folder.path().join(encoding).to_string_lossy().into_owned();
        fs::write(&file, &whole[..whole.len() - 100])?;
        let output = Command::new(OURS[0]).args(["vegeta", "report", "-type=json", &file]).output()?;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!((report["requests"].as_u64(), output.status.code()), (Some(11), Some(1)), "{encoding}: {said}");
        let place = format!("cut off at byte {}", whole.len() - 100);
        assert!(said.contains(&place) && said.contains(&file), "{encoding}: {said}");
    }
    Ok(())
}

/// Two of twelve results on a pipe that stays open: the report is there, and again after a signal.
fn every() -> Outcome {
    let mut command = Command::new(OURS[0]);
    command.args(["vegeta", "report", "-type=json", "-every=10ms"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().expect("piped");
    let whole = fs::read(fixture("json"))?;
    let two = whole.split_inclusive(|byte| *byte == b'\n').take(2).map(<[u8]>::len).sum::<usize>();
    stdin.write_all(&whole[..two + 10])?;
    let mut reports = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut report = || -> Result<u64, libtest_mimic::Failed> {
        let line = reports.next().ok_or("it has ended")??;
        assert!(!line.contains('\x1b'), "no terminal, no terminal's codes: {line}");
        let report: Value = serde_json::from_str(&line)?;
        Ok(report["requests"].as_u64().ok_or("no requests")?)
    };
    while report()? < 2 {}
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
    assert!(interrupted.success() && report()? == 2);
    assert!(child.wait()?.success());
    drop(stdin);
    Ok(())
}

fn plot() -> Outcome {
    let files = ENCODINGS.map(fixture);
    let arguments = [&["plot", "-title=a < b", "-threshold=100"][..], &files.each_ref().map(String::as_str)].concat();
    let page = run(&OURS, &arguments, Stdio::null())?;
    for part in
        ["<title>a &lt; b</title>", "zürich, &quot;a&quot;", "second", "200: 5", "200: 7", "no answer: 2", "503: 1"]
    {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    Ok(())
}
