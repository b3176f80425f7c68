//! Spans of `tracing`: names, parents, fields.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock};

use futures_util::FutureExt;
use steadfast::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_core::span::Current;

/// One span.
#[derive(Clone, Debug)]
struct Seen {
    name: &'static str,
    parent: Option<usize>,
    fields: BTreeMap<&'static str, String>,
    metadata: &'static Metadata<'static>,
    closed: bool,
}

#[derive(Default)]
struct State {
    spans: Vec<Seen>,
    handles: Vec<usize>,
    entered: Vec<usize>,
    events: Vec<(Option<usize>, String)>,
}

/// Keeps the spans of this crate. Of one thread.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<State>>);

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

fn place(id: &Id) -> usize {
    usize::try_from(id.into_u64()).unwrap() - 1
}

impl Subscriber for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("steadfast")
    }

    fn new_span(&self, new: &Attributes<'_>) -> Id {
        let mut state = self.0.lock().unwrap();
        let mut fields = BTreeMap::new();
        new.record(&mut Fields(&mut fields));
        let parent = match new.parent() {
            Some(parent) => Some(place(parent)),
            None if new.is_contextual() => state.entered.last().copied(),
            None => None,
        };
        state.spans.push(Seen { name: new.metadata().name(), parent, fields, metadata: new.metadata(), closed: false });
        state.handles.push(1);
        Id::from_u64(state.spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        values.record(&mut Fields(&mut self.0.lock().unwrap().spans[place(id)].fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        self.0.lock().unwrap().events.push((event.parent().map(place), format!("{fields:?}")));
    }

    fn enter(&self, id: &Id) {
        self.0.lock().unwrap().entered.push(place(id));
    }

    fn exit(&self, id: &Id) {
        let mut state = self.0.lock().unwrap();
        let entered = state.entered.iter().rposition(|entered| *entered == place(id)).expect("it was entered");
        state.entered.remove(entered);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.0.lock().unwrap().handles[place(id)] += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut state = self.0.lock().unwrap();
        state.handles[place(&id)] -= 1;
        let closed = state.handles[place(&id)] == 0;
        state.spans[place(&id)].closed |= closed;
        closed
    }

    fn current_span(&self) -> Current {
        let state = self.0.lock().unwrap();
        match state.entered.last() {
            Some(entered) => Current::new(Id::from_u64(*entered as u64 + 1), state.spans[*entered].metadata),
            None => Current::none(),
        }
    }
}

/// The spans of a piece of work on the lab.
fn spans_of<F>(body: F) -> (Vec<Seen>, Vec<(Option<usize>, String)>)
where
    F: AsyncFnOnce(Cluster) -> steadfast::Result,
{
    // Of a single subscriber `tracing` asks the thread that comes first to a span, and keeps its answer for all threads:
    // a test beside this one, which has none, would hide spans from it.
    static BESIDE: OnceLock<Dispatch> = OnceLock::new();
    BESIDE.get_or_init(|| Dispatch::new(Kept::default()));
    let kept = Kept::default();
    tracing::subscriber::with_default(kept.clone(), || crate::support::on_the_lab(body));
    let state = kept.0.lock().unwrap();
    assert!(state.entered.is_empty(), "each is left again");
    (state.spans.clone(), state.events.clone())
}

/// `name: what it is of`.
fn shown(span: &Seen) -> String {
    let keys = [
        "steadfast.run",
        "steadfast.activity",
        "steadfast.check",
        "steadfast.fault",
        "steadfast.place",
        "steadfast.phase",
    ];
    let of = keys.iter().find_map(|key| span.fields.get(key)).or(span.fields.get("url.path"));
    format!("{}: {}", span.name, of.map_or("", String::as_str))
}

#[test]
fn lab4_has_these_spans() {
    let (spans, events) = spans_of(async |cluster| super::lab4(&cluster).await.map(drop));
    let parent = |span: &Seen| span.parent.map_or(String::new(), |parent| shown(&spans[parent]));
    let (fault, run) = ("deny ingress to pods app=back", spans.iter().find(|span| span.name == "run").expect("one"));
    let run_shown = shown(run);
    // What asks the API outside of any run is the set-up.
    let ours: Vec<_> = spans.iter().filter(|span| span.name != "request").collect();
    let tree: Vec<_> = ours.iter().map(|span| (shown(span), parent(span))).collect();
    let counted = |name: &str, below: &str| {
        tree.iter().filter(|(own, parent)| own.starts_with(name) && parent.starts_with(below)).count()
    };
    assert_eq!(counted("run: ", ""), 1, "{tree:#?}");
    for phase in ["before the method", "in the method", "under the fault", "rollback", "after the rollback"] {
        assert_eq!(counted(&format!("phase: {phase}"), &run_shown), 1, "{phase}: {tree:#?}");
    }
    for activity in ["traffic: GET", "5s", fault, "GET http://[redacted]@localhost:30080/"] {
        let several = if activity == "5s" { 2 } else { 1 };
        assert_eq!(counted(&format!("activity: {activity}"), "phase: in the method"), several, "{activity}: {tree:#?}");
    }
    for phase in ["before the method", "under the fault", "after the rollback"] {
        assert!(counted("check: ", &format!("phase: {phase}")) >= 2, "{phase}: {tree:#?}");
    }
    assert!(counted("check: GET", "run: ") >= 2, "the safeguard's looks: {tree:#?}");
    assert_eq!(counted(&format!("fault: {fault}"), &run_shown), 1, "{tree:#?}");
    assert_eq!(counted("undo: ", "fault: "), 1, "{tree:#?}");
    assert_eq!(counted("lease: ", &run_shown), 2, "taken and given back: {tree:#?}");
    assert_eq!(ours.len(), tree.len());
    let known = ["run", "phase", "activity", "check", "fault", "undo", "lease"];
    assert!(ours.iter().all(|span| known.contains(&span.name)), "{tree:#?}");

    let field = |span: &Seen, name: &str| span.fields.get(name).cloned().unwrap_or_default();
    assert_eq!((field(run, "steadfast.verdict"), field(run, "steadfast.recovered")), ("deviated".into(), "met".into()));
    for span in spans.iter().filter(|span| span.name == "activity") {
        assert_eq!(field(span, "steadfast.status"), "succeeded", "{span:?}");
        assert!(field(span, "steadfast.location").contains("observability"), "{span:?}");
    }
    // A safeguard's last look may be cut off by the end.
    let guards = |span: &&Seen| span.fields["steadfast.phase"] == "as a safeguard";
    for span in spans.iter().filter(|span| span.name == "check").filter(|span| !guards(span)) {
        assert!(["met", "not-met"].contains(&&*field(span, "steadfast.outcome")), "{span:?}");
    }
    let of_fault = spans.iter().find(|span| span.name == "fault").expect("one");
    assert_eq!(field(of_fault, "steadfast.proved"), "true");
    let undo = spans.iter().find(|span| span.name == "undo").expect("one");
    assert_eq!(field(undo, "steadfast.clean"), "true");
    let requests: Vec<_> = spans.iter().filter(|span| span.name == "request").collect();
    assert!(requests.iter().any(|span| parent(span).starts_with("lease: ")), "{requests:#?}");
    let made = requests.iter().find(|span| {
        let policies = span.fields["url.path"].contains("networkpolicies");
        policies && span.fields["http.request.method"] == "POST"
    });
    let made = made.expect("the policy is made");
    assert!(parent(made).starts_with("fault: "), "{}", parent(made));
    assert_eq!(made.fields["http.response.status_code"], "201");

    assert!(spans.iter().all(|span| span.closed), "{spans:#?}");
    assert!(events.iter().any(|(of, text)| of.is_some_and(|of| spans[of].name == "run") && text.contains("fault on")));
    assert!(!format!("{spans:?}{events:?}").contains("hunter2"));
}

#[test]
fn a_run_of_loops_and_one_that_panics_have_their_spans() {
    let (spans, _) = spans_of(async |cluster| {
        steadfast::shop(&cluster).await?;
        let run = Run::start("by hand", &cluster).await?;
        let answers = crate::support::front_answers(&cluster);
        run.require(&answers).await?;
        let cut = run.inject(cluster.namespace("default").pods("app=back").deny_ingress()).await?;
        run.verify(&answers).await?;
        cut.rollback().await?;
        run.finish().await?.assert_verdict(Met);

        let panics = Experiment::without_hypothesis("x").act_with("boom", async |_| panic!("no"));
        let panicked = std::panic::AssertUnwindSafe(panics.run(&cluster)).catch_unwind().await;
        assert!(panicked.is_err());
        Ok(())
    });
    let of = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    assert_eq!(of("run").len(), 2);
    let phases: Vec<_> = of("phase").iter().map(|span| shown(span)).collect();
    assert!(phases.starts_with(&["phase: before the method".into(), "phase: under the fault".into()]), "{phases:?}");
    let injected = of("activity").into_iter().find(|span| span.fields["steadfast.kind"] == "inject").expect("one");
    assert_eq!(injected.fields["steadfast.status"], "succeeded");
    assert_eq!(spans[injected.parent.expect("a run")].name, "run");
    let boom = of("activity").into_iter().find(|span| span.fields["steadfast.activity"] == "boom").expect("one");
    assert_eq!(boom.fields["steadfast.status"], "panicked");
    assert!(spans.iter().all(|span| span.closed));
}
