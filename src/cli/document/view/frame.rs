//! The lines of the view: what they say, and how they fit.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::MOST;
use crate::clock::Timestamp;
use crate::document::run::now::{Doing, Looked, Sight};
use crate::experiment::LoadNow;
use crate::journal::FaultWindow;

/// Over how long a rate is taken.
const OVER: Duration = Duration::from_secs(2);

/// How fast loads send and fail now.
#[derive(Debug, Default)]
pub(super) struct Rates(BTreeMap<(String, Timestamp), VecDeque<Counted>>);

/// What a load had counted at an instant.
#[derive(Clone, Copy, Debug)]
struct Counted {
    at: Timestamp,
    ended: u64,
    failed: u64,
}

impl Rates {
    pub(super) fn see(&mut self, loads: &[LoadNow], at: Timestamp) {
        self.0.retain(|key, _| loads.iter().any(|load| (&load.load, load.started) == (&key.0, key.1)));
        for load in loads {
            let seen = self.0.entry((load.load.clone(), load.started)).or_default();
            seen.push_back(Counted { at, ended: load.ended, failed: load.failed });
            while seen.get(1).is_some_and(|second| lasted(second.at, at) >= OVER) {
                seen.pop_front();
            }
        }
    }

    /// Requests a second, and the share of them that failed; `None` as long as nothing is known of it.
    #[expect(clippy::cast_precision_loss, reason = "a load has fewer than 2^52 requests")]
    fn of(&self, load: &LoadNow) -> Option<(f64, f64)> {
        let seen = self.0.get(&(load.load.clone(), load.started))?;
        let (first, last) = (seen.front()?, seen.back()?);
        let seconds = lasted(first.at, last.at).as_secs_f64();
        let ended = last.ended.saturating_sub(first.ended);
        let failed = last.failed.saturating_sub(first.failed).min(ended);
        (seconds > 0.0).then(|| (ended as f64 / seconds, failed as f64 / ended.max(1) as f64))
    }
}

/// What is to be seen, a line each, what matters most first; the numbers before the names, which may be cut.
pub(super) fn lines(sight: &Sight, at: Timestamp, rates: &Rates) -> Vec<String> {
    let Some((part, since)) = sight.part else { return Vec::new() };
    let mut lines = vec![format!("{}, {}", part.name(), short(lasted(since, at)))];
    lines.extend(sight.faults.iter().map(|window| fault(window, at)));
    lines.extend(sight.loads.iter().map(|one| load(one, at, rates)));
    lines.extend(sight.doing.iter().map(|doing| activity(doing, at)));
    lines.extend(sight.safeguards.iter().map(|(name, looked)| safeguard(name, *looked, at)));
    lines
}

fn fault(window: &FaultWindow, at: Timestamp) -> String {
    let FaultWindow { fault, requested, effective, undo_requested, .. } = window;
    match (undo_requested, effective) {
        (Some(undo), _) => format!("  fault being undone for {}: {fault}", short(lasted(*undo, at))),
        (None, Some(on)) => format!("  fault on for {}: {fault}", short(lasted(*on, at))),
        (None, None) => format!("  fault asked for {} ago: {fault}", short(lasted(*requested, at))),
    }
}

fn load(load: &LoadNow, at: Timestamp, rates: &Rates) -> String {
    let LoadNow { load: name, started, lasting, failed, ended } = load;
    let now = match rates.of(load) {
        Some((0.0, _)) => "nothing answered in the last 2 s".to_owned(),
        Some((rate, share)) => format!("{rate:.1}/s, {:.1} % failing", share * 100.0),
        None => "starting".to_owned(),
    };
    let left = lasting.saturating_sub(lasted(*started, at));
    let left = if left.is_zero() { "ending".to_owned() } else { format!("{} left", short(left)) };
    format!("  load {now}, {left}, {} of {ended} failed: {name}", failed.min(ended))
}

fn activity(doing: &Doing, at: Timestamp) -> String {
    match doing.until {
        Some(until) => format!("  {} left: {}", short(lasted(at, until)), doing.what),
        None => format!("  for {}: {}", short(lasted(doing.since, at)), doing.what),
    }
}

fn safeguard(name: &str, Looked { at, held }: Looked, now: Timestamp) -> String {
    let found = if held { "held" } else { "broken" };
    format!("  safeguard {found} {} ago: {name}", short(lasted(at, now)))
}

fn lasted(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// `0:07`, `12:34`, `1:02:03`.
fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// As many lines as the terminal is high, less the one of the cursor, each shorter than it is wide.
pub(super) fn fitted(mut lines: Vec<String>, (columns, rows): (usize, usize)) -> Vec<String> {
    let most = rows.saturating_sub(1).min(MOST);
    if lines.len() > most {
        let left_out = lines.len() - most.saturating_sub(1);
        lines.truncate(most.saturating_sub(1));
        if most > 0 {
            lines.push(format!("  and {left_out} more"));
        }
    }
    lines.iter().map(|line| cut(line, columns.saturating_sub(1))).collect()
}

/// At most so many columns, on one line: letters of East Asia take two, and some signs none.
fn cut(line: &str, columns: usize) -> String {
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.width() <= columns {
        return line;
    }
    let (mut out, mut used) = (String::new(), 0);
    for letter in line.chars() {
        used += letter.width().unwrap_or(0);
        // The last column is the ellipsis'.
        if used >= columns {
            break;
        }
        out.push(letter);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::run::now::Part;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + seconds).expect("an instant")
    }

    fn load(ended: u64, failed: u64) -> LoadNow {
        LoadNow { load: "traffic".into(), started: at(0), lasting: Duration::from_secs(90), ended, failed }
    }

    fn full() -> Sight {
        let window = |name: &str| FaultWindow {
            fault: name.to_owned(),
            requested: at(10),
            effective: None,
            undo_requested: None,
            undone: None,
        };
        let on = FaultWindow { effective: Some(at(12)), ..window("deny ingress to pods app=back") };
        let going = FaultWindow { undo_requested: Some(at(19)), ..on.clone() };
        let doing = |what: &str, until| Doing { what: what.to_owned(), since: at(15), until };
        Sight {
            part: Some((Part::Method, at(-40))),
            doing: vec![doing("attack front", None), doing("pause", Some(at(38)))],
            faults: vec![on, going, window("scale")],
            loads: vec![load(2000, 12)],
            safeguards: [("error budget".to_owned(), Looked { at: at(18), held: true })].into(),
        }
    }

    #[test]
    fn each_thing_that_goes_on_has_its_line() {
        let mut rates = Rates::default();
        rates.see(&[load(1900, 2)], at(19));
        rates.see(&[load(2000, 12)], at(20));
        let told = [
            "method, 1:00",
            "  fault on for 0:08: deny ingress to pods app=back",
            "  fault being undone for 0:01: deny ingress to pods app=back",
            "  fault asked for 0:10 ago: scale",
            "  load 100.0/s, 10.0 % failing, 1:10 left, 12 of 2000 failed: traffic",
            "  for 0:05: attack front",
            "  0:18 left: pause",
            "  safeguard held 0:02 ago: error budget",
        ];
        assert_eq!(lines(&full(), at(20), &rates), told);
        assert!(lines(&Sight::default(), at(20), &rates).is_empty(), "before the run and after it there is nothing");
    }

    #[test]
    fn rates_are_of_the_last_seconds_and_of_loads_that_run() {
        let mut rates = Rates::default();
        assert_eq!(rates.of(&load(0, 0)), None);
        for second in 0..10_i64 {
            let ended = u64::try_from(if second < 5 { second * 100 } else { 500 + (second - 5) * 10 }).unwrap();
            rates.see(&[load(ended, 0)], at(second));
        }
        assert_eq!(rates.of(&load(0, 0)), Some((10.0, 0.0)), "what was before is forgotten");
        rates.see(&[], at(11));
        assert!(rates.0.is_empty());
    }

    #[test]
    fn nothing_is_higher_or_wider_than_the_terminal() {
        let all = lines(&full(), at(20), &Rates::default());
        for (columns, rows) in [(80, 24), (40, 10), (40, 5), (12, 3), (2, 2), (1, 1), (0, 0)] {
            let fitted = fitted(all.clone(), (columns, rows));
            assert!(fitted.len() < rows.max(1), "{fitted:?}");
            assert!(fitted.iter().all(|line| line.width() < columns.max(1)), "{columns}: {fitted:?}");
        }
        let five = fitted(all.clone(), (80, 5));
        assert_eq!((five.len(), five[3].as_str()), (4, "  and 5 more"));
        let many: Vec<String> = (0..99).map(|number| number.to_string()).collect();
        assert_eq!(fitted(many, (80, 200)).len(), MOST);
    }

    #[test]
    fn long_names_are_cut_by_columns_and_stay_on_their_line() {
        assert_eq!(cut("plain", 5), "plain");
        assert_eq!(cut("longer", 5), "long…");
        assert_eq!(cut("漢字漢字", 6), "漢字…");
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}", 3), "e\u{301}e\u{301}e\u{301}", "what is combined takes no column");
        assert_eq!(cut("a\nb\tc\u{1b}[2Jd", 99), "a b c [2Jd");
    }
}
