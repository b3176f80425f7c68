use std::collections::VecDeque;

use serde_json::json;

use super::*;
use crate::document::python::Interpreter;
use crate::transport::{Address, Connection, Failure, NoAnswer, Request, Response};

/// Takes the metrics, or is down.
#[derive(Default)]
struct Gateway {
    up: bool,
    taken: Mutex<Vec<(String, String)>>,
}

impl Transport for Gateway {
    fn connect<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, Result<Connection, Failure>> {
        Box::pin(async { Err(NoAnswer::Refused.into()) })
    }

    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, Failure>> {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        self.taken.lock().expect("no panic").push((format!("{} {}", request.method, request.address), text));
        Box::pin(async {
            if self.up {
                Ok(Response { status: 200, headers: http::HeaderMap::new(), body: Default::default() })
            } else {
                Err(NoAnswer::Refused.into())
            }
        })
    }
}

struct Bench {
    controls: Controls,
    living: Arc<Living>,
    gateway: Arc<Gateway>,
    heard: Arc<Mutex<Vec<(Level, String)>>>,
    _folder: tempfile::TempDir,
}

/// Tells what it is called for.
const TELLS: &str = "
import logging
def told(hook):
    def function(context, tag, state=None):
        name = context.get('name') or context['title']
        logging.getLogger('chaostoolkit').info('%s %s %s %s', tag, hook, name, type(state).__name__)
    return function
for level in ('experiment', 'hypothesis', 'method', 'rollback', 'activity'):
    for when in ('before', 'after'):
        globals()['%s_%s_control' % (when, level)] = told('%s %s' % (when, level))
def configure_control(configuration, settings, experiment, tag):
    logging.getLogger('chaostoolkit').info('%s configure %s %s %s', tag, configuration, settings, experiment['title'])
    if tag == 'bad': raise ValueError('bad')
def cleanup_control(): logging.getLogger('chaostoolkit').info('cleanup')
def validate_control(control):
    if control['name'] == 'wrong': raise ValueError('it is wrong')
def before_loading_experiment_control(context, tag): logging.getLogger('chaostoolkit').info('%s loads %s', tag, context)
def after_loading_experiment_control(context, state, tag): state['loaded'] = context
";

/// Changes and interrupts.
const CHANGES: &str = "
from chaoslib.exceptions import InterruptExecution
def before_activity_control(context, configuration, secrets, experiment):
    context['seen'] = True
    configuration['c'] += 1
    experiment['tags'] = ['x']
def after_activity_control(context, state):
    state['extra'] = 'added'
    raise ValueError('passed over')
def before_method_control(context): raise InterruptExecution('stop')
def after_method_control(context): raise SystemExit(30)
";

fn bench(document: &Value, globals: &[Value], up: bool) -> Bench {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [("tells", TELLS), ("changes", CHANGES)] {
        std::fs::write(folder.path().join(format!("{name}.py")), text).expect("written");
    }
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = heard.clone();
    let log: Log = Arc::new(move |level, line: &str| told.lock().expect("no panic").push((level, line.to_owned())));
    let mut interpreter = Interpreter::of_user(log.clone(), Arc::new(|_| ()));
    interpreter.variables.push(("PYTHONPATH".to_owned(), folder.path().display().to_string()));
    let gateway = Arc::new(Gateway { up, ..Gateway::default() });
    let python = Some(Python::new(interpreter));
    let transport = gateway.clone();
    let means = Means {
        python,
        transport,
        clock: Clock::real(),
        run: "run".to_owned(),
        log,
        now: crate::document::run::now::Now::default(),
    };
    let living = Arc::new(Living::new(document.clone(), json!({"c": 1}), json!({})));
    let substitute = Arc::new(|value: &Value| value.clone());
    let controls = Controls::new(means, json!({"s": 1}), globals.to_vec(), living.clone(), substitute);
    Bench { controls, living, gateway, heard, _folder: folder }
}

impl Bench {
    /// What was said since, but for details.
    fn heard(&self) -> Vec<String> {
        let heard = std::mem::take(&mut *self.heard.lock().expect("no panic"));
        heard.into_iter().filter(|(level, _)| *level > Level::Debug).map(|(_, line)| line).collect()
    }
}

fn control(name: &str, module: &str, arguments: &Value) -> Value {
    json!({"name": name, "provider": {"type": "python", "module": module, "arguments": arguments}})
}

fn tells(tag: &str) -> Value {
    control(tag, "tells", &json!({"tag": tag}))
}

#[tokio::test]
async fn they_apply_in_the_order_of_the_original() {
    let mut manual = tells("t2");
    manual["automatic"] = json!(false);
    let mut late = tells("o2");
    late["scope"] = json!("after");
    let document = |top: Value| {
        json!({
            "title": "T", "controls": top, "method": [{"name": "a", "controls": [tells("o1"), late]}, {"name": "b"}],
            "steady-state-hypothesis": {"title": "H", "probes": []},
        })
    };
    let tags = async |document: &Value, globals: &[Value], at: At, list: Option<usize>| {
        let bench = bench(document, globals, true);
        let spot = match (at, list) {
            (_, Some(number)) => bench.living.entry("/method", number).expect("there are two").0,
            (At::Hypothesis, _) => Spot::hypothesis(),
            _ => Spot::whole(),
        };
        bench.controls.before(at, &spot).await.expect("nobody interrupts");
        let before = bench.heard().iter().map(|line| line[..2].to_owned()).collect::<Vec<_>>().join(" ");
        bench.controls.after(at, &spot, &mut json!({})).await.expect("nobody interrupts");
        let after = bench.heard().iter().map(|line| line[..2].to_owned()).collect::<Vec<_>>().join(" ");
        (before, after)
    };
    let both = document(json!([tells("t1"), tells("t2")]));
    let part = document(json!([tells("t1"), manual]));
    let none = document(json!([]));
    let global = [tells("g1")];
    let cases = [
        // Each own control puts all others in front once more.
        (&both, &[][..], At::Activity, Some(0), "t1 t2 t1 t2 o1", "t1 t2 t1 t2 o1 o2"),
        (&both, &[], At::Activity, Some(1), "t1 t2", "t1 t2"),
        (&part, &[], At::Activity, Some(1), "t1", "t1"),
        (&part, &[], At::Experiment, None, "t1 t2", "t1 t2"),
        (&part, &[], At::Method, None, "t1", "t1"),
        (&part, &[], At::Hypothesis, None, "t1", "t1"),
        (&part, &global, At::Activity, Some(1), "t1 g1", "t1 g1"),
        (&part, &global, At::Experiment, None, "g1 t1 t2", "g1 t1 t2"),
        (&part, &global, At::Rollback, None, "t1", "t1"),
        (&none, &global, At::Method, None, "g1", "g1"),
        (&none, &global, At::Activity, Some(0), "g1 o1", "g1 o1 o2"),
    ];
    for (document, globals, at, list, before, after) in cases {
        let told = tags(document, globals, at, list).await;
        assert_eq!(told, (before.to_owned(), after.to_owned()), "{at:?} {list:?} {globals:?}");
    }
}

#[tokio::test]
async fn all_of_the_life_of_a_control() {
    let document = json!({"title": "T", "controls": [tells("c1"), tells("c1")], "method": []});
    let globals = [tells("g1"), control("gone", "no_such_module", &json!({})), tells("bad")];
    let bench = bench(&document, &globals, true);
    bench.controls.check_globals().await;
    let mut loaded = json!({});
    bench.controls.loading(When::Before, "path", &mut loaded).await.expect("nobody interrupts");
    bench.controls.loading(When::After, "path", &mut loaded).await.expect("nobody interrupts");
    assert_eq!(loaded, json!({"loaded": "path"}));
    bench.controls.configure().await;
    bench.controls.cleanup().await;
    let expected = [
        "g1 loads path",
        "bad loads path",
        "g1 configure {'c': 1} {'s': 1} T",
        "bad configure {'c': 1} {'s': 1} T",
        "c1 configure {'c': 1} None T",
        "cleanup",
        // The global one; the bad one has gone.
        "cleanup",
    ];
    assert_eq!(bench.heard(), expected);
    assert_eq!(bench.controls.validate(&tells("c1")).await, Ok(()));
    let wrong = control("wrong", "tells", &json!({}));
    assert_eq!(bench.controls.validate(&wrong).await, Err("ValueError: it is wrong".to_owned()));
}

#[tokio::test]
async fn what_a_control_changes_is_changed_and_its_errors_are_passed_over() {
    let document = json!({"title": "T", "controls": [control("c", "changes", &json!({}))], "method": [{"name": "a"}]});
    let bench = bench(&document, &[], true);
    let (spot, _) = bench.living.entry("/method", 0).expect("there is one");
    bench.controls.before(At::Activity, &spot).await.expect("nobody interrupts");
    assert_eq!(bench.living.at(&spot), json!({"name": "a", "seen": true}));
    assert_eq!(bench.living.configuration(), json!({"c": 2}));
    assert_eq!(bench.living.document()["tags"], json!(["x"]));
    let mut record = json!({"status": "succeeded"});
    bench.controls.after(At::Activity, &spot, &mut record).await.expect("nobody interrupts");
    // It raised after that.
    assert_eq!(record, json!({"status": "succeeded", "extra": "added"}));
    let whole = Spot::whole();
    assert_eq!(bench.controls.before(At::Method, &whole).await, Err(Stop::Interrupt("stop".to_owned())));
    assert_eq!(bench.controls.after(At::Method, &whole, &mut json!([])).await, Err(Stop::Exit(30)));
}

#[tokio::test]
async fn without_python_its_controls_are_refused_by_their_names() {
    let controls = [
        tells("c1"),
        control("b", "chaosaddons.controls.bypass", &json!({})),
        control("spans", "chaostracing.oltp.control", &json!({})),
    ];
    let mut bench = bench(&json!({"controls": controls, "method": []}), &[], true);
    bench.controls.means.python = None;
    let [why] = &bench.controls.unasked(false)[..] else { panic!("one of them is Python's") };
    for said in ["the control 'c1'", "'tells'", "--allow-python", "take it out of the experiment", "safeguards"] {
        assert!(why.contains(said), "{why}");
    }
    assert!(bench.controls.unasked(true).is_empty());
    // What only tells others of the run may be missed.
    let [why] = &bench.controls.unmet().await[..] else { panic!("one of them is a tracer") };
    assert!(why.contains("the control 'spans' is not applied") && why.contains("--allow-python"), "{why}");
}

#[tokio::test]
async fn what_is_bypassed_is_dry_meanwhile() {
    let arguments = json!({"target_type": "action", "target_names": ["b"]});
    let controls = [control("b", "chaosaddons.controls.bypass", &arguments)];
    let method =
        json!([{"type": "action", "name": "a"}, {"type": "probe", "name": "b"}, {"type": "probe", "name": "c"}]);
    let bench = bench(&json!({"controls": controls, "method": method}), &[], true);
    bench.controls.before(At::Experiment, &Spot::whole()).await.expect("nobody interrupts");
    let expected = [
        "No 'action' will be executed as configured by the bypass control",
        "The following activities will not be executed: b",
    ];
    assert_eq!(bench.heard(), expected);
    for (number, dry) in [(0, true), (1, true), (2, false)] {
        let (spot, activity) = bench.living.entry("/method", number).expect("it is there");
        bench.controls.before(At::Activity, &spot).await.expect("nobody interrupts");
        assert_eq!(bench.living.at(&spot).get("dry"), dry.then_some(&json!(true)), "{number}");
        bench.controls.after(At::Activity, &spot, &mut json!({})).await.expect("nobody interrupts");
        assert_eq!(bench.living.at(&spot), activity);
    }
}

#[tokio::test]
async fn a_repeated_activity_is_there_again() {
    let repeat = control("r", "chaosaddons.controls.repeat", &json!({"repeat_count": 3}));
    let method = json!([{"name": "a", "controls": [repeat]}, {"name": "b"}]);
    let bench = bench(&json!({"method": method}), &[], true);
    let mut done = Vec::new();
    let mut number = 0;
    while let Some((spot, activity)) = bench.living.entry("/method", number) {
        done.push((activity["name"].as_str().unwrap_or_default().to_owned(), activity["iteration_index"].as_i64()));
        let mut record = json!({"status": "succeeded"});
        bench.controls.after(At::Activity, &spot, &mut record).await.expect("nobody interrupts");
        number += 1;
    }
    let expected = [("a", None), ("a", Some(1)), ("a", Some(2)), ("b", None)];
    assert_eq!(done, expected.map(|(name, index)| (name.to_owned(), index)));
}

#[tokio::test]
async fn metrics_are_pushed_before_and_after() {
    let document =
        json!({"title": "T", "controls": [control("m", "chaosprometheus.metrics", &json!({}))], "method": []});
    for up in [true, false] {
        let bench = bench(&document, &[], up);
        bench.controls.configure().await;
        bench.controls.before(At::Experiment, &Spot::whole()).await.expect("it never interrupts");
        let mut journal = json!({"status": "completed", "deviated": false, "duration": 1.0});
        bench.controls.after(At::Experiment, &Spot::whole(), &mut journal).await.expect("it never interrupts");
        let taken = bench.gateway.taken.lock().expect("no panic").clone();
        let hash = crate::document::hash::experiment_hash(&document);
        let place = format!("PUT http://localhost:9091/metrics/job/chaostoolkit/chaostoolkit_experiment_ref/{hash}");
        assert_eq!(taken.iter().map(|(place, _)| place.as_str()).collect::<Vec<_>>(), [&place, &place]);
        assert!(taken[0].1.contains("chaostoolkit_run_trace_id=\"run\""), "{}", taken[0].1);
        let in_progress = |text: &str| {
            text.lines()
                .find(|line| line.starts_with("chaostoolkit_inprogress_experiment{"))
                .map(|line| line.ends_with(" 1.0"))
        };
        assert_eq!([in_progress(&taken[0].1), in_progress(&taken[1].1)], [Some(true), Some(false)]);
        assert_eq!(bench.heard().len(), if up { 0 } else { 2 });
    }
}

/// Answers in turn, and for ever within.
struct Sampler(Mutex<VecDeque<(&'static str, Sampled)>>);

impl Sample for Sampler {
    fn sample<'a>(&'a self, probe: &'a Value) -> BoxFuture<'a, Sampled> {
        let mut turns = self.0.lock().expect("no panic");
        let next = turns.iter().position(|(name, _)| probe["name"] == *name).and_then(|at| turns.remove(at));
        Box::pin(async move { next.map_or(Sampled::Within, |(_, sampled)| sampled) })
    }
}

#[tokio::test(start_paused = true)]
async fn safeguards_end_the_run() {
    let probe = |name: &str, more: Value| {
        let mut probe = json!({"type": "probe", "name": name, "tolerance": true, "provider": {}});
        more.as_object().into_iter().flatten().for_each(|(key, value)| probe[key] = value.clone());
        probe
    };
    let probes =
        [probe("now", json!({})), probe("soon", json!({"background": true})), probe("again", json!({"frequency": 2}))];
    let document = json!({"controls": [control("s", "chaosaddons.controls.safeguards", &json!({"probes": probes}))], "method": []});
    let out = || Sampled::Out("1 is not true".to_owned());
    let failed = || Sampled::Failed("connection refused".to_owned());
    let cases = [
        (vec![], None),
        (vec![("now", out())], Some("now")),
        (vec![("now", failed())], Some("now")),
        (vec![("soon", out())], Some("soon")),
        (vec![("again", Sampled::Within), ("again", Sampled::Within), ("again", failed())], Some("again")),
    ];
    for (turns, tripped) in cases {
        let mut bench = bench(&document, &[], true);
        bench.controls.means.python = None;
        let sampler = Sampler(Mutex::new(turns.into()));
        let run = async {
            bench.controls.before(At::Experiment, &Spot::whole()).await.expect("nobody interrupts by itself");
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        };
        let stop = tokio::select! {
            biased;
            stop = bench.controls.guard(&sampler) => Some(stop),
            () = run => None,
        };
        let expected =
            tripped.map(|name| Stop::Interrupt(format!("Safeguard '{name}' triggered the end of the experiment")));
        assert_eq!(stop, expected);
        let guarded = bench.controls.guarded();
        match tripped {
            Some(name) => assert!(guarded[name]["tripped"].is_string(), "{guarded}"),
            // At 0, 2, ... 58 s; the look at 60 s may be seen or not.
            None => assert!(guarded["again"]["looks"].as_u64() >= Some(30), "{guarded}"),
        }
    }
}

#[tokio::test]
async fn safeguards_that_guard_nothing_are_not_valid() {
    let bench = bench(&json!({}), &[], true);
    let cases = [
        (json!({}), "a safeguards control needs `probes`, at least one"),
        (json!({"probes": [{"type": "action", "name": "x"}]}), "the safeguard \"x\" must be of the type `probe`"),
        (json!({"probes": [{"type": "probe", "name": "x"}]}), "the safeguard \"x\" must have a tolerance"),
        (
            json!({"probes": [{"ref": "x", "frequency": "often"}]}),
            "the frequency of a safeguard is a number of seconds, got \"often\"",
        ),
    ];
    for (arguments, why) in cases {
        let control = control("s", "chaosaddons.controls.safeguards", &arguments);
        assert_eq!(bench.controls.validate(&control).await, Err(why.to_owned()));
    }
}
