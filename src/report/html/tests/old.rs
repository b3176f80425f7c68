//! What `chaos report` gets wrong, and this one must not: a test for each.

use serde_json::json;

use super::super::axis::Axis;
use super::markup::Page;
use crate::journal::{Ended, Journal, Reason, StepStatus, Verdict};
use crate::report::sample;

/// The text of the elements, without their tags.
fn text(html: &str) -> String {
    let body = &html[html.find("<body>").expect("a body")..];
    let text: Vec<&str> = body.split('<').filter_map(|piece| piece.split_once('>')).map(|(_, text)| text).collect();
    text.concat()
}

/// The paths of a class, in their order.
fn paths<'a>(page: &'a Page, class: &str) -> Vec<&'a str> {
    page.elements("path").filter(|path| path.get("class") == Some(class)).filter_map(|path| path.get("d")).collect()
}

/// It takes `int()` of each sample: one fraction, and there is no report.
#[test]
fn fractions_and_what_is_no_number_are_drawn() {
    let mut journal = sample();
    let series = &mut journal.telemetry.series[0];
    series.counter = false;
    series.samples = vec![(10.0, Some(0.5)), (12.0, Some(0.25)), (14.0, None), (16.0, Some(0.75))];
    journal.evaluations[1].checks[1].evidence["total"] = json!("NaN");
    let html = journal.report_html();
    let page = Page::read(&html);
    let [path] = paths(&page, "samples")[..] else { panic!("one series") };
    assert_eq!(
        (path.matches('M').count(), path.matches('L').count()),
        (2, 1),
        "a gap where there is no number: {path}"
    );
    assert_eq!(paths(&page, "ended").len(), 1, "and a mark");
}

#[test]
fn rollbacks_are_told_with_what_became_of_them() {
    let html = sample().report_html();
    let text = text(&html);
    assert!(text.contains("delete networkpolicy default/steadfast-5qbdck8i-2") && text.contains("reverted"), "{text}");
    assert!(text.contains("undo requested21.4 s") && text.contains("undone22.4 s"), "{text}");
}

/// Its charts are of the method alone: the query of the hypothesis, which is what matters, is never drawn.
#[test]
fn the_series_of_the_hypothesis_is_drawn_with_its_window() {
    let html = sample().report_html();
    let page = Page::read(&html);
    let journal = sample();
    let axis = Axis::new(&journal);
    let [path] = paths(&page, "samples")[..] else { panic!("one series") };
    assert_eq!(path.matches(['M', 'L']).count(), journal.telemetry.series[0].samples.len(), "each sample once");
    let place = format!("M{:.1} ", axis.frame.x(journal.telemetry.series[0].samples[0].0));
    assert!(path.starts_with(&place), "{place} does not begin {path}");
    assert_eq!(paths(&page, "bracket bad").len(), 1, "the window that was judged under the fault");
    let seen = text(&html);
    for part in [
        "was a growth of 47",
        "17 at 11.8 s, born",
        "47 at 17.8 s",
        "instance=10.244.0.4:8000",
        "From 18.1 s to 19.1 s",
    ] {
        assert!(seen.contains(part), "{part} is not in {seen}");
    }
}

#[test]
fn a_phase_that_never_came_is_not_one_in_which_nothing_held() {
    let mut journal = sample();
    journal.evaluations.truncate(1);
    (journal.evaluations[0].verdict, journal.verdict) = (Verdict::Deviated, Verdict::Inconclusive);
    let phrase = "was 503, expected status 200".to_owned();
    journal.evaluations[0].checks[0].outcome = "not-met".into();
    journal.evaluations[0].checks[0].phrase.clone_from(&phrase);
    journal.reason = Some(Reason::GateMissed { check: "GET http://front.default/: status 200".into(), phrase });
    (journal.ended, journal.recovered) = (Ended::GateMissed, Verdict::NotJudged);
    (journal.faults, journal.telemetry) = (vec![], crate::journal::Telemetry::default());
    for step in &mut journal.steps {
        (step.started, step.ended, step.status) = (None, None, StepStatus::NotRun);
    }
    let html = journal.report_html();
    let text = text(&html);
    assert_eq!(text.matches("not judged: the method did not run").count(), 4, "two checks, two phases: {text}");
    assert!(text.contains("Gate missed") && text.contains("not run") && text.contains("nothing to undo"), "{text}");
    assert_eq!(Page::read(&html).elements("rect").filter(|rect| rect.get("class") == Some("k-step")).count(), 0);
}

#[test]
fn the_verdict_is_a_sentence_that_names_the_deviation() {
    let html = sample().report_html();
    let text = text(&html[..html.find("</header>").expect("a head")]);
    assert!(text.contains("Deviated"), "{text}");
    assert!(text.contains("grew by 47, expected at most 0; recovered within 3.5 s of the undo."), "{text}");
}

/// There a background load and the fault that it meets are on different pages.
#[test]
fn load_fault_and_series_stand_on_one_axis() {
    let (journal, html) = (sample(), sample().report_html());
    let (axis, page) = (Axis::new(&journal), Page::read(&html));
    let of = |class: &str| {
        let rects = page.elements("rect").filter(|rect| rect.get("class") == Some(class));
        let number = |rect: &super::markup::Element, name: &str| rect.get(name).and_then(|n| n.parse::<f64>().ok());
        rects
            .filter_map(|rect| Some((number(rect, "x")?, number(rect, "width")?, number(rect, "height")?)))
            // A check's own small drawing is shaded too.
            .filter(|(.., tall)| !(class == "band" || class == "hatch") || *tall > 100.0)
            .collect::<Vec<_>>()
    };
    let near = |one: f64, other: f64| (one - other).abs() < 0.11;
    let window = &journal.faults[0].window;
    let on = axis.frame.x(axis.at(window.effective.expect("it was on")));
    let off = axis.frame.x(axis.at(window.undo_requested.expect("it was undone")));
    let [(lane, wide, _)] = of("fault-on")[..] else { panic!("one fault") };
    assert!(near(lane, on) && near(wide, off - on), "{lane} {wide}");
    let [(band, wide, tall)] = of("band")[..] else { panic!("shaded once through all") };
    assert!(near(band, on) && near(wide, off - on) && tall > 400.0, "{band} {wide} {tall}");
    assert_eq!(of("hatch").len(), 2, "from request to effect, and from the request of the undo to its proof");
    let [(load, wide, _)] = of("k-background")[..] else { panic!("one load") };
    assert!(load < on && load + wide > on, "they overlap");
}

#[test]
fn times_are_seconds_of_the_run_whatever_zone_the_reader_is_in() {
    let html = sample().report_html();
    let text = text(&html);
    assert!(text.contains("9.1 s") && text.contains("2026-01-01T00:00:00.05Z for 25.9 s"), "{text}");
}

/// Its whole report fails where one activity has what it does not expect.
#[test]
fn outputs_of_any_shape_have_a_page() {
    for output in [
        json!(null),
        json!(0.5),
        json!("NaN"),
        json!([1, {"a": []}]),
        json!({"outcomes": 3, "phases": {}}),
        json!({"outcomes": {}, "phases": [1]}),
    ] {
        let mut journal: Journal = sample();
        journal.steps.iter_mut().for_each(|step| step.output = output.clone());
        for evaluation in &mut journal.evaluations {
            evaluation.checks.iter_mut().for_each(|check| check.evidence = output.clone());
        }
        let html = journal.report_html();
        Page::read(&html).is_ours();
    }
}

/// Of a run of a day the journal keeps the extremes of each stretch: what lies between them is no gap.
#[test]
fn a_long_run_is_drawn_without_gaps_but_its_own() {
    let mut journal = sample();
    journal.finished = journal.started + std::time::Duration::from_secs(86_400);
    let series = &mut journal.telemetry.series[0];
    (series.counter, series.interval) = (false, Some(2.0));
    // 43,200 scrapes, of which two of each 260 s are kept; for an hour there were none.
    let kept = (0..332_u32).filter(|stretch| !(100..114).contains(stretch));
    let kept = kept.flat_map(|stretch| [(stretch * 260 + 10, 1.0), (stretch * 260 + 250, 2.0)]);
    series.samples = kept.map(|(at, value)| (f64::from(at), Some(value))).collect();
    let html = journal.report_html();
    let page = Page::read(&html);
    let [path] = paths(&page, "samples")[..] else { panic!("one series") };
    assert_eq!(path.matches('M').count(), 2, "{path}");
}

/// It fills series of different lengths with nothing, so that they have more points than instants.
#[test]
fn a_counter_that_was_reset_or_not_scraped_is_not_drawn_through() {
    let mut journal = sample();
    let series = &mut journal.telemetry.series[0];
    series.interval = Some(2.0);
    let value = |(at, value): (u32, u32)| (f64::from(at), Some(f64::from(value)));
    series.samples = [(0, 5), (2, 7), (4, 1), (6, 2), (16, 9), (18, 9)].map(value).to_vec();
    let html = journal.report_html();
    let page = Page::read(&html);
    let [path] = paths(&page, "samples")[..] else { panic!("one series") };
    assert_eq!((path.matches('M').count(), path.matches('L').count()), (3, 3), "{path}");
    assert_eq!(paths(&page, "reset").len(), 1);
}
