//! The page as a browser reads it, in good runs and hostile ones.

mod drawn;
mod markup;
mod old;

use serde_json::{Value, json};

use crate::journal::{Bound, Event, EventKind, Journal, LoadOutcome, LogExcerpt, LogLine, MetricSeries};
use crate::report::sample;
use markup::Page;

/// What breaks out of anything that does not escape it, and what hides in it.
const EVIL: &str = "</script></title></style>--><!--<script>alert(1)</script><img src=x onerror=\"x\">'\"&amp;&\u{0}\u{7}\u{1b}[31m\u{202e}\u{200b}\u{feff}\r\n]]>";

/// Fields whose values are ours, and that a journal would not be read without.
const OURS: [&str; 9] = ["kind", "status", "how", "verdict", "recovered", "time", "when", "ended-by", "reason"];

/// The journal with another text before every text that somebody else may have written.
fn tainted(value: &mut Value, text: &str) {
    match value {
        Value::String(own) if own.parse::<crate::clock::Timestamp>().is_err() => *own = format!("{text}{own}"),
        Value::Array(all) => all.iter_mut().for_each(|one| tainted(one, text)),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                let undo = name == "outcome" && ["reverted", "leaked"].contains(&field.as_str().unwrap_or_default());
                if !(undo || OURS.contains(&name.as_str()) && field.is_string()) {
                    tainted(field, text);
                }
            }
            if let Some(Value::Object(labels)) = fields.get_mut("labels") {
                *labels = std::mem::take(labels).into_iter().map(|(name, value)| (name + text, value)).collect();
            }
        }
        _ => {}
    }
}

fn hostile(text: &str) -> Journal {
    let mut journal = serde_json::to_value(full()).expect("it serialises");
    tainted(&mut journal, text);
    serde_json::from_value(journal).expect("it is still a journal")
}

/// The sample with everything that a journal can hold.
pub(super) fn full() -> Journal {
    let mut journal = sample();
    journal.reason = Some(crate::journal::Reason::NoData { what: "up".into(), why: "no target".into() });
    journal.ended = crate::journal::Ended::Failed { error: "failed to act".into() };
    let undo = &mut journal.faults[0].undo;
    undo[0].outcome = crate::rollback::UndoOutcome::Leaked { why: "403".into() };
    journal.faults[0].trusted = Some("we saw it".into());
    journal.finally = serde_json::from_value(json!([
        {"name": "restore", "crash_safe": true, "run": true, "error": "403"},
        {"name": "tell", "crash_safe": false, "run": false, "error": null},
    ]))
    .expect("finally");
    let check = journal.evaluations[1].checks[1].clone();
    journal.safeguards = serde_json::from_value(json!([{
        "check": "p99: at most 1 s", "location": "tests/a.rs:1:1", "every": {"secs": 1, "nanos": 0},
        "unknown_for": {"secs": 0, "nanos": 0}, "looks": 9, "unknown": 1, "held_at": "2026-01-01T00:00:09Z",
        "broken": {"since": "2026-01-01T00:00:12Z", "at": "2026-01-01T00:00:13Z", "look": check},
        "looked": [
            {"at": "2026-01-01T00:00:01Z", "outcome": "not-applicable", "phrase": "no fault"},
            {"at": "2026-01-01T00:00:05Z", "outcome": "met", "phrase": "was 0.2 s"},
            {"at": "2026-01-01T00:00:09Z", "outcome": "met", "phrase": "was 0.9 s"},
            {"at": "2026-01-01T00:00:10Z", "outcome": "inconclusive", "phrase": "no data"},
            {"at": "2026-01-01T00:00:12Z", "outcome": "not-met", "phrase": "was 3 s"},
        ],
    }]))
    .expect("a safeguard");
    for evaluation in &mut journal.evaluations {
        for check in &mut evaluation.checks {
            (check.warnings, check.infos) = (vec!["a warning".into()], vec!["an info".into()]);
        }
    }
    journal.steps[4].warnings = vec!["a warning".into()];
    journal.telemetry.missing = vec!["events of namespace shop: forbidden".into()];
    journal.telemetry.loads[0].outcomes.push(LoadOutcome { name: "503".into(), success: false });
    journal.telemetry.loads[0].rows.iter_mut().for_each(|row| row.counts.push(1));
    let series = &mut journal.telemetry.series;
    series[0].bounds = vec![Bound { value: 30.0, meaning: "at most 30".into() }];
    series.extend((0..12).map(|_| series[0].clone()).collect::<Vec<_>>());
    journal.events.push(Event {
        at: journal.finished,
        kind: EventKind::SafeguardBroken,
        subject: "p99".into(),
        detail: "broken".into(),
    });
    journal
}

#[test]
fn nothing_of_the_page_is_loaded_and_nothing_but_its_own_script_runs() {
    for html in [sample().report_html(), full().report_html()] {
        let page = Page::read(&html);
        page.is_ours();
        let policy =
            page.attributes("meta", "content").find(|content| content.contains("default-src")).expect("a policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");
        assert!(!html.contains("url(http") && !html.contains("@import"), "its style loads nothing");
    }
}

#[test]
fn hostile_text_is_text() {
    let html = hostile(EVIL).report_html();
    let page = Page::read(&html);
    page.is_ours();
    let plain = full().report_html();
    let ours = Page::read(&plain);
    assert_eq!(page.count("script"), ours.count("script"), "its own script and its data");
    for element in ["img", "style", "title", "meta", "a"] {
        assert_eq!(page.count(element), ours.count(element), "{element}");
    }
    let hidden = |c: char| c.is_control() && c != '\n' || ('\u{200b}'..='\u{200f}').contains(&c) || c == '\u{feff}';
    let hidden = html.char_indices().find(|(_, c)| hidden(*c) || ('\u{202a}'..='\u{202e}').contains(c));
    assert_eq!(hidden.map(|(at, c)| (c, &html[at.saturating_sub(60)..at])), None);
    assert!(html.matches("&lt;/script&gt;").count() > 100, "it is shown where it stands: {}", html.len());
    let read: Value = serde_json::from_str(page.raw("application/json")).expect("the read-out is whole");
    assert!(read["bands"][0][0].as_str().is_some_and(|name| name.contains("</script>")), "{read}");
}

#[test]
fn long_texts_are_cut_wherever_they_stand() {
    let html = hostile(&"ab<\u{202e}".repeat(1500)).report_html();
    Page::read(&html).is_ours();
    assert!(html.len() < 1_500_000, "{} bytes", html.len());
    let (mut journal, long) = (full(), "ab<\u{202e}".repeat(260_000));
    let (check, series) = (&mut journal.evaluations[1].checks[1], &mut journal.telemetry.series[0]);
    check.phrase.clone_from(&long);
    check.evidence["body"] = json!(long);
    series.labels.insert("pod".into(), long.clone());
    series.query.clone_from(&long);
    journal.telemetry.loads[0].outcomes[0].name.clone_from(&long);
    journal.telemetry.logs[0].lines[0].text.clone_from(&long);
    journal.telemetry.cluster_events[0].message.clone_from(&long);
    journal.faults[0].window.fault.clone_from(&long);
    journal.steps[0].output["phases"][0]["fault"] = json!(long);
    journal.events[0].detail.clone_from(&long);
    (journal.experiment, journal.cluster) = (long.clone(), long);
    let html = journal.report_html();
    Page::read(&html).is_ours();
    assert!(html.len() < 200_000, "{} bytes", html.len());
}

#[test]
fn numbers_and_instants_that_no_run_has_are_drawn_as_far_as_they_can_be() {
    let mut journal = full();
    journal.telemetry.series[0].samples =
        vec![(-1e300, Some(1.0)), (0.0, Some(f64::MAX)), (1.0, Some(f64::MIN)), (1e300, None), (f64::MAX, Some(0.0))];
    journal.telemetry.series[1].samples =
        vec![(1.0, Some(f64::INFINITY)), (2.0, Some(f64::NAN)), (f64::NAN, Some(1.0))];
    journal.telemetry.series[2].interval = Some(-1.0);
    journal.telemetry.series[2].bounds[0].value = f64::INFINITY;
    let mut load = journal.telemetry.loads[0].clone();
    for width in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300, 1e300] {
        load.width = width;
        load.rows[0].latencies_ms = Some([f64::NAN, -1.0, f64::INFINITY, 1e300]);
        load.rows[0].counts = vec![u64::MAX; 5];
        journal.telemetry.loads.insert(0, load.clone());
    }
    journal.faults[0].window.undone = Some(crate::clock::Timestamp::MIN);
    journal.faults[0].window.effective = Some(crate::clock::Timestamp::MAX);
    journal.evaluations[0].ended = crate::clock::Timestamp::MIN;
    let page = journal.report_html();
    Page::read(&page).is_ours();
    journal.finished = crate::clock::Timestamp::MAX;
    journal.telemetry = crate::journal::Telemetry::default();
    Page::read(&journal.report_html()).is_ours();
}

#[test]
fn each_look_at_a_safeguard_is_drawn_and_an_older_journal_has_its_last() {
    let mut journal = full();
    let told = |journal: &Journal| {
        let html = journal.report_html();
        let marks = ["tick none", "tick good", "mark unknown", "mark bad"].map(|class| {
            let all = html.matches(&format!("class=\"{class}\"")).count();
            let judged = html.split("safeguards</text>").next().expect("a part");
            all - judged.matches(&format!("class=\"{class}\"")).count()
        });
        (marks, html.contains("last seen to hold: p99"), html.contains("p99: at most 1 s, met: was 0.9 s"))
    };
    // The run was stopped at a time of its own.
    assert_eq!(told(&journal), ([1, 2, 1, 2], false, true));
    journal.safeguards[0].looked.clear();
    assert_eq!(told(&journal), ([0, 0, 0, 1], true, false));
}

#[test]
fn an_empty_journal_has_a_page() {
    let mut journal = sample();
    journal.telemetry = crate::journal::Telemetry::default();
    (journal.evaluations, journal.steps, journal.faults, journal.events) = (vec![], vec![], vec![], vec![]);
    (journal.finished, journal.hypothesis) = (journal.started, None);
    let html = journal.report_html();
    Page::read(&html).is_ours();
    for text in ["no load and no fault", "No fault was injected", "There are no steps", "The experiment has none"] {
        assert!(html.contains(text), "{text}");
    }
}

#[test]
fn equal_journals_have_equal_pages() {
    let json = full().to_json();
    let again: Journal = serde_json::from_str(&json).expect("it is read");
    assert_eq!(full().report_html(), full().report_html());
    assert_eq!(full().report_html(), again.report_html());
}

/// A run of a million requests, seven ways to end, two hundred series of a thousand samples, and talkative logs.
pub(super) fn large() -> Journal {
    let mut journal = full();
    let load = &mut journal.telemetry.loads[0];
    load.outcomes = ["200", "204", "404", "503", "504", "time-out", "refused"]
        .map(|name| LoadOutcome { name: name.into(), success: name.starts_with('2') })
        .to_vec();
    let row = load.rows[0].clone();
    load.width = 0.025;
    load.rows = (0..1000_u32)
        .map(|number| {
            let mut row = row.clone();
            row.counts =
                (0..7).map(|kind| u64::from(number.wrapping_mul(2_654_435_761) >> (22 + kind) & 0xff) + 15).collect();
            row.latencies_ms = Some([1.5, 2.25, 9.75, 31.0].map(|latency| latency * f64::from(1 + number % 97)));
            row
        })
        .collect();
    let series = journal.telemetry.series[0].clone();
    journal.telemetry.series = (0..200_u32)
        .map(|number| {
            let mut series: MetricSeries = series.clone();
            series.labels.insert("pod".into(), format!("front-67f9bbc989-{number:05}"));
            let value = |at: u32| f64::from(at * (number + 1)) + f64::from(at.wrapping_mul(40_503) % 97) / 7.0;
            series.samples = (0..1000).map(|at| (f64::from(at) * 0.025, Some(value(at)))).collect();
            series.interval = Some(0.025);
            series
        })
        .collect();
    let line = |number: i64| LogLine {
        at: Some(journal.started + jiff::SignedDuration::from_millis(number)),
        text: format!("10.244.0.9 - - GET / {number} 200 no answer from middle within 1s, what was seen last is told"),
    };
    journal.telemetry.logs = (0..20)
        .map(|pod| LogExcerpt { source: format!("pod {pod}"), lines: (0..1000).map(line).collect(), left_out: 7 })
        .collect();
    let event = journal.events[2].clone();
    journal.events.extend(std::iter::repeat_n(event, 20_000));
    let mut watched = journal.evaluations[1].clone();
    watched.phase = crate::journal::WATCHED.into();
    journal.evaluations.splice(1..1, std::iter::repeat_n(watched, 1000));
    journal
}

#[test]
fn a_large_run_has_a_small_page() {
    let html = large().report_html();
    Page::read(&html).is_ours();
    assert!(html.len() < 2_000_000, "{} bytes", html.len());
    assert!(
        html.contains("more events are in the journal") && html.contains("192 more series"),
        "what is left out is told"
    );
    assert!(html.contains("too many to be carried along"), "nor does it carry the journal");
}

#[test]
#[ignore = "prints figures of an optimised build: cargo test --release --features report --lib -- --ignored --nocapture figures_of_a_page"]
fn figures_of_a_page() {
    for (name, journal) in [("lab4", sample()), ("1,000,000 requests, 200 series", large())] {
        let clock = crate::clock::Clock::real();
        let bytes = journal.report_html().len();
        println!("{name}: {bytes} bytes in {:.1?}", clock.elapsed());
    }
}

#[test]
fn who_does_not_see_or_point_is_served_too() {
    let html = full().report_html();
    let page = Page::read(&html);
    let svg: Vec<_> = page.elements("svg").collect();
    assert!(
        svg.iter()
            .all(|svg| svg.get("role") == Some("img")
                && (svg.get("aria-label").or(svg.get("aria-labelledby"))).is_some())
    );
    assert!(
        html.contains("<title id=\"tl-title\">") && html.contains("<desc id=\"tl-desc\">deny ingress"),
        "title and description"
    );
    assert_eq!(page.count("details"), page.count("summary"));
    for scrolls in ["table", "drawing"] {
        let boxes: Vec<_> = page.elements("div").filter(|div| div.get("class") == Some(scrolls)).collect();
        assert!(
            !boxes.is_empty()
                && boxes.iter().all(|one| one.get("tabindex") == Some("0") && one.get("aria-label").is_some())
        );
    }
    assert!(page.elements("pre").skip(1).all(|pre| pre.get("tabindex") == Some("0")), "what scrolls can be reached");
    for word in ["✗</span> not met", "✓</span> met", "✗</span> leaked", "▲ "] {
        assert!(html.contains(word), "{word} is told without colour");
    }
}

#[test]
fn what_must_be_done_is_told_first() {
    let mut journal = full();
    journal.cluster = "context \"kind-it\" (https://127.0.0.1:6443)".into();
    let html = journal.report_html();
    let begin = &html[..html.find("<nav").expect("sections")];
    assert!(
        begin.contains("Rollback partial")
            && begin.contains("delete networkpolicy default/steadfast-5qbdck8i-2: leaked: 403")
    );
    assert!(begin.contains("kubectl delete networkpolicy steadfast-5qbdck8i-2 -n default --context kind-it"));
    assert!(begin.contains("steadfast sweep --context kind-it"));
}

#[test]
fn the_journal_goes_along_while_it_is_small() {
    use base64::Engine as _;
    let journal = sample();
    let html = journal.report_html();
    let data = Page::read(&html)
        .attributes("a", "href")
        .find_map(|href| href.strip_prefix("data:application/json;base64,").map(str::to_owned));
    let json = base64::prelude::BASE64_STANDARD.decode(data.expect("a link")).expect("base64");
    let read: Journal = serde_json::from_slice(&json).expect("a journal");
    assert_eq!(read, journal);
}

/// What is shown largest.
fn headline(journal: &Journal) -> String {
    let html = journal.report_html();
    let word = &html[html.find("<p class=\"word\">").expect("a word")..];
    let word = &word[..word.find("</p>").expect("its end")];
    word.rsplit("</span> ").next().unwrap_or_default().to_owned()
}

#[test]
fn the_largest_word_is_what_the_journal_shows() {
    use crate::journal::{Ended, FaultEnd, Verdict};
    let of = |change: &dyn Fn(&mut Journal)| {
        let mut journal = sample();
        change(&mut journal);
        headline(&journal)
    };
    let met = |journal: &mut Journal| {
        journal.verdict = Verdict::Met;
        journal.evaluations[1].verdict = Verdict::Met;
        journal.evaluations[1].checks[1].outcome = "met".into();
    };
    assert_eq!(of(&|_| ()), "Deviated");
    assert_eq!(of(&met), "Met");
    assert_eq!(of(&|journal| (met(journal), journal.evaluations.clear()).1), "Inconclusive", "it does not show it");
    assert_eq!(of(&|journal| (met(journal), journal.faults[0].proved = false).1), "Inconclusive");
    assert_eq!(of(&|journal| journal.ended = Ended::Running), "Not ended");
    assert_eq!(of(&|journal| journal.faults[0].end = FaultEnd::None), "Rollback partial");
    assert_eq!(of(&|journal| journal.faults[0].end = FaultEnd::Left), "Deviated", "it was left by choice");
    let cut = |ended: Ended| of(&|journal| (journal.verdict, journal.ended) = (Verdict::Inconclusive, ended.clone()));
    assert_eq!(cut(Ended::GateMissed), "Gate missed");
    assert_eq!(cut(Ended::Cancelled), "Interrupted");
    assert_eq!(cut(Ended::Stopped { by: "p99".into() }), "Stopped");
    assert_eq!(cut(Ended::Panicked { message: "no".into() }), "Experiment failed");
    assert_eq!(of(&|journal| journal.verdict = Verdict::NotJudged), "Not judged");
}
