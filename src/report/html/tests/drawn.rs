//! What is drawn beside the timeline's own lanes and panels.

use crate::journal::{Journal, MetricSeries, WATCHED};
use crate::report::html::tests::markup::Page;
use crate::report::sample;

/// The words of the small drawings of checks, in their order.
fn sparks(journal: &Journal) -> Vec<String> {
    let html = journal.report_html();
    let page = Page::read(&html);
    page.is_ours();
    let drawn = page.elements("svg").filter(|svg| svg.get("class") == Some("spark"));
    drawn.map(|svg| svg.get("aria-label").expect("it is told in words").to_owned()).collect()
}

#[test]
fn a_check_is_drawn_by_its_series_or_by_what_it_came_to() {
    let mut journal = sample();
    let [spark] = &sparks(&journal)[..] else { panic!("one check has series, and none was judged often") };
    assert!(spark.starts_with("failed_call_total{"), "{spark}");
    assert!(spark.ends_with(": 17 at 11.8 s, 48 at 25.8 s, least 17, greatest 48"), "{spark}");

    let mut watched = journal.evaluations[1].clone();
    watched.phase = WATCHED.into();
    for (number, outcome) in ["met", "not-met", "inconclusive", "met"].into_iter().enumerate() {
        watched.ended = journal.started + jiff::SignedDuration::from_secs(10 + 2 * number as i64);
        watched.checks[0].outcome = outcome.into();
        journal.evaluations.insert(1 + number, watched.clone());
    }
    let all = sparks(&journal);
    assert_eq!(all[0], "judged 7 times: met 5 times, not met 1 times, inconclusive 1 times");
    let html = journal.report_html();
    let drawn = html.split("class=\"spark\"").nth(1).and_then(|from| from.split("</svg>").next()).expect("a drawing");
    // Each kind has a place and a shape of its own.
    assert_eq!(drawn.matches("cy=\"7\"").count() + drawn.matches("cy=\"15.0\"").count(), 6, "{drawn}");
    assert_eq!(drawn.matches("l6 6m0 -6l-6 6").count(), 1, "{drawn}");

    journal.evaluations.drain(1..5);
    journal.telemetry.series.clear();
    journal.evaluations[2].attempts = 4;
    assert_eq!(sparks(&journal).len(), 2, "what was tried several times is drawn");
}

#[test]
fn alerts_are_drawn_when_they_fired_and_named_when_they_did_not() {
    let mut journal = sample();
    let alert = |name: &str, samples: &[(f64, Option<f64>)]| MetricSeries {
        query: format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}"),
        labels: [("__name__", "ALERTS"), ("alertname", name), ("alertstate", "firing"), ("severity", "page")]
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .into(),
        checks: vec!["alert: silence".into()],
        counter: false,
        bounds: vec![],
        interval: Some(2.0),
        samples: samples.to_vec(),
    };
    let on = |at: f64| (at, Some(1.0));
    let twice = [on(4.0), on(6.0), (8.0, None), on(14.0), on(16.0), on(18.0)];
    journal.telemetry.series.extend([alert("CallsFail", &twice), alert("Silent", &[])]);
    let html = journal.report_html();
    Page::read(&html).is_ours();
    assert!(html.contains(">alerts</text>"), "a lane");
    assert_eq!(html.matches("class=\"k-alert\"").count(), 2, "it fired twice");
    assert!(html.contains("fired at the evaluations from 4.0 s to 6.0 s"), "{html}");
    assert!(html.contains("fired at the evaluations from 14.0 s to 18.0 s"), "{html}");
    assert!(html.contains("CallsFail severity=page</text>") && html.contains("Silent severity=page: did not fire"));
    assert!(!html.contains("class=\"panel\" x=\"112\">ALERTS"), "it has no panel");
    journal.telemetry.series.truncate(1);
    assert!(!journal.report_html().contains(">alerts</text>"), "no lane without a check of alerts");
}
