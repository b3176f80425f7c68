use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::run::log::Level;
use super::*;

/// Modules in a folder of their own, the child that may import them, and what is heard of it.
struct Bench {
    python: Python,
    heard: Arc<Mutex<Vec<String>>>,
    folder: tempfile::TempDir,
}

fn bench(modules: &[(&str, &str)]) -> Bench {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in modules {
        std::fs::write(folder.path().join(format!("{name}.py")), text).expect("written");
    }
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (told, printed) = (heard.clone(), heard.clone());
    let log = Arc::new(move |level: Level, line: &str| {
        if level > Level::Debug {
            told.lock().expect("no panic").push(format!("{} {line}", level.name()));
        }
    });
    let printed = Arc::new(move |line: &str| printed.lock().expect("no panic").push(line.to_owned()));
    let mut interpreter = Interpreter::of_user(log, printed);
    interpreter.variables.push(("PYTHONPATH".to_owned(), folder.path().display().to_string()));
    Bench { python: Python::new(interpreter), heard, folder }
}

impl Bench {
    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no panic").clone()
    }

    fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    async fn call(&self, module: &str, name: &str, arguments: Value) -> Ended {
        self.python.call(&function(module, name, arguments)).await
    }
}

fn function<'a>(module: &'a str, name: &'a str, arguments: Value) -> Function<'a> {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    Function { module, name, arguments, ..Function::default() }
}

const VALUES: &str = "
import collections, datetime, decimal, uuid
Point = collections.namedtuple('Point', 'x y')
def values():
    loop = []
    loop.append(loop)
    return {
        'tuple': (1, 2), 'point': Point(1, 2.5), 'set': {3, 1}, 'none': None, 'flag': True,
        'date': datetime.date(2026, 1, 2), 'time': datetime.datetime(2026, 1, 2, 3, 4, 5),
        'decimal': decimal.Decimal('1.10'), 'uuid': uuid.UUID(int=1), 'bytes': b'abc\\xff',
        'nan': float('nan'), 'infinite': float('-inf'), 'error': ValueError('no'), 'object': Other(),
        'surrogate': '\\udcff', 'loop': loop, 1: 'one', None: 'null',
    }
class Other:
    def __repr__(self): return '<other>'
def deep():
    value = 1
    for _ in range(300): value = [value]
    return value
";

#[tokio::test]
async fn a_value_comes_back_in_what_json_has() {
    let bench = bench(&[("values", VALUES)]);
    let expected = json!({
        "tuple": [1, 2], "point": [1, 2.5], "set": [1, 3], "none": null, "flag": true, "date": "2026-01-02",
        "time": "2026-01-02T03:04:05", "decimal": "1.10", "uuid": "00000000-0000-0000-0000-000000000001",
        "bytes": "abc\\xff", "nan": "NaN", "infinite": "-Infinity", "error": "An exception was raised: ValueError('no')",
        "object": "<other>", "surrogate": "?", "loop": ["..."], "1": "one", "null": "null",
    });
    assert_eq!(bench.call("values", "values", json!({})).await, Ended::Returned(expected));
    let deep = bench.call("values", "deep", json!({})).await;
    assert!(matches!(deep, Ended::Returned(_)), "{deep:?}");
}

#[tokio::test]
async fn the_working_directory_hides_no_module_and_standard_input_is_empty() {
    let mut bench = bench(&[(
        "reads",
        "import sys\ndef reads():\n    print('out'); sys.stdout.flush()\n    return sys.stdin.read()\n",
    )]);
    let elsewhere = tempfile::tempdir().expect("a folder");
    std::fs::write(elsewhere.path().join("json.py"), "raise RuntimeError('shadowed')").expect("written");
    Arc::get_mut(&mut bench.python.shared).expect("one").interpreter.folder = Some(elsewhere.path().to_owned());
    assert_eq!(bench.call("reads", "reads", json!({})).await, Ended::Returned(json!("")));
    let here = elsewhere.path().canonicalize().expect("a path").display().to_string();
    assert_eq!(bench.call("os", "getcwd", json!({})).await, Ended::Returned(json!(here)));
    bench.python.end().await;
    assert_eq!(bench.heard(), ["out"]);
}

const ENDINGS: &str = "
import os, sys
from chaoslib.exceptions import ActivityFailed, InterruptExecution
from chaoslib.types import Configuration
class Mine(Exception): pass
def mine(): raise Mine('so')
def builtin(): raise ValueError('so')
def failed(): raise ActivityFailed('so')
def interrupt(): raise InterruptExecution('so')
def leave(code=None): sys.exit(code)
def cut(): raise KeyboardInterrupt()
def die():
    print('my last words')
    os._exit(3)
def given(a, configuration, secrets=None): return [a, configuration, secrets]
";

#[tokio::test]
async fn what_is_raised_is_told_as_the_original_does() {
    let bench = bench(&[("endings", ENDINGS)]);
    let failed = |text: &str| Ended::Failed(text.to_owned());
    let cases = [
        ("mine", json!({}), failed("endings.Mine: so")),
        ("builtin", json!({}), failed("ValueError: so")),
        ("failed", json!({}), failed("chaoslib.exceptions.ActivityFailed: so")),
        ("interrupt", json!({}), failed("chaoslib.exceptions.InterruptExecution: so")),
        ("leave", json!({"code": 7}), Ended::Exit(7)),
        ("leave", json!({"code": "text"}), Ended::Exit(1)),
        ("leave", json!({}), Ended::Exit(0)),
        ("cut", json!({}), Ended::Interrupted("KeyboardInterrupt".to_owned())),
        ("none", json!({}), failed("the Python module 'endings' has no function called 'none'")),
    ];
    for (name, arguments, expected) in cases {
        assert_eq!(bench.call("endings", name, arguments).await, expected, "{name}");
    }
    assert_eq!(
        bench.call("nothing_here", "f", json!({})).await,
        failed("ModuleNotFoundError: No module named 'nothing_here'")
    );
}

#[tokio::test]
async fn configuration_and_secrets_go_where_they_are_asked_for() {
    let bench = bench(&[("endings", ENDINGS)]);
    let mut asked = function("endings", "given", json!({"a": 1}));
    asked.configuration = Some(json!({"c": 2}));
    assert_eq!(bench.python.call(&asked).await, Ended::Returned(json!([1, {"c": 2}, null])));
    asked.secrets = Some(json!({"s": 3}));
    assert_eq!(bench.python.call(&asked).await, Ended::Returned(json!([1, {"c": 2}, {"s": 3}])));
}

#[tokio::test]
async fn a_child_that_dies_fails_its_call_and_the_next_has_another() {
    let bench = bench(&[("endings", ENDINGS)]);
    let Ended::Failed(why) = bench.call("endings", "die", json!({})).await else { panic!("it died") };
    assert_eq!(why, "Python died before endings.die ended: exit code 3; the last that it printed:\nmy last words");
    assert_eq!(bench.call("endings", "leave", json!({"code": 7})).await, Ended::Exit(7));
}

#[tokio::test]
async fn an_interpreter_that_is_not_there_is_told_with_the_remedy() {
    let mut bench = bench(&[]);
    Arc::get_mut(&mut bench.python.shared).expect("one").interpreter.program = "/no/python".into();
    let Ended::Failed(why) = bench.call("os", "getcwd", json!({})).await else { panic!("it cannot") };
    assert!(
        why.starts_with("failed to start /no/python: ") && why.ends_with("name one with STEADFAST_PYTHON"),
        "{why}"
    );
}

const MEET: &str = "
import threading
both = threading.Barrier(2)
def meet():
    both.wait(60)
    return threading.current_thread() is threading.main_thread()
def wait():
    import time
    try:
        both.wait(60)
        time.sleep(600)
    finally:
        print('interrupted')
def stubborn():
    import time
    while True:
        try:
            time.sleep(600)
        except BaseException:
            pass
def children():
    import subprocess
    subprocess.Popen(['sleep', '600'])
    return subprocess.Popen(['sleep', '600']).pid
def orphan(path):
    with open(path, 'w') as file:
        file.write(str(children()))
    import os
    os._exit(3)
def farewell(path):
    import atexit
    atexit.register(lambda: open(path, 'w').write('bye'))
def ask():
    import os, signal
    os.kill(os.getpid(), signal.SIGUSR1)
";

#[tokio::test]
async fn calls_run_side_by_side() {
    let bench = bench(&[("meet", MEET)]);
    let beside = Function { background: true, ..function("meet", "meet", json!({})) };
    let front = function("meet", "meet", json!({}));
    let both = tokio::join!(bench.python.call(&beside), bench.python.call(&front));
    assert_eq!(both, (Ended::Returned(json!(false)), Ended::Returned(json!(true))));
}

#[tokio::test]
async fn a_call_is_interrupted_at_its_time_out() {
    let bench = bench(&[("meet", MEET)]);
    let before = bench.call("os", "getpid", json!({})).await;
    let late = Function { timeout: Some(Duration::from_millis(300)), ..function("meet", "wait", json!({})) };
    let ended = bench.python.call(&late).await;
    assert_eq!(ended, Ended::Failed("python activity took too long to complete".to_owned()));
    // The same child goes on.
    assert_eq!(bench.call("os", "getpid", json!({})).await, before);
}

#[tokio::test]
async fn what_will_not_be_interrupted_is_killed() {
    let bench = bench(&[("meet", MEET)]);
    let before = bench.call("os", "getpid", json!({})).await;
    let late = Function { timeout: Some(Duration::from_millis(300)), ..function("meet", "stubborn", json!({})) };
    let ended = bench.python.call(&late).await;
    assert_eq!(ended, Ended::Failed("python activity took too long to complete".to_owned()));
    assert_ne!(bench.call("os", "getpid", json!({})).await, before);
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_interrupted() {
    let bench = bench(&[("meet", MEET)]);
    let cut = function("meet", "wait", json!({}));
    let beside = Function { background: true, ..function("meet", "meet", json!({})) };
    tokio::select! {
        biased;
        ended = bench.python.call(&cut) => panic!("{ended:?}"),
        // They meet, so the other one has begun.
        ended = bench.python.call(&beside) => assert_eq!(ended, Ended::Returned(json!(false))),
    }
    assert!(matches!(bench.call("os", "getcwd", json!({})).await, Ended::Returned(_)));
    bench.python.end().await;
    assert_eq!(bench.heard(), ["interrupted"]);
}

/// Whether a process is there and no zombie.
fn lives(pid: &Value) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[tokio::test]
async fn nothing_of_its_group_outlives_it() {
    let bench = bench(&[("meet", MEET)]);
    let Ended::Returned(pid) = bench.call("meet", "children", json!({})).await else { panic!("a number") };
    assert!(lives(&pid));
    drop(bench);
    while lives(&pid) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nothing_outlives_a_child_that_died() {
    let bench = bench(&[("meet", MEET)]);
    let path = bench.folder().join("pid");
    let ended = bench.call("meet", "orphan", json!({"path": path})).await;
    assert_eq!(ended, Ended::Failed("Python died before meet.orphan ended: exit code 3".to_owned()));
    let pid: u32 = std::fs::read_to_string(path).expect("written").parse().expect("a number");
    while lives(&json!(pid)) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn it_may_say_farewell() {
    let bench = bench(&[("meet", MEET)]);
    let path = bench.folder().join("farewell");
    bench.call("meet", "farewell", json!({"path": path})).await;
    bench.python.end().await;
    assert_eq!(std::fs::read_to_string(path).expect("written"), "bye");
}

#[tokio::test]
async fn it_may_ask_for_the_end_of_the_run() {
    let bench = bench(&[("meet", MEET)]);
    assert_eq!(bench.call("meet", "ask", json!({})).await, Ended::Returned(Value::Null));
    assert_eq!(bench.python.asked_to_exit().await, 20);
}

#[tokio::test]
async fn functions_are_looked_at() {
    let bench = bench(&[("broken", "1 +"), ("takes", "def f(a, *, b=1, secrets=None): pass\nclass C: pass\n")]);
    let python = &bench.python;
    let look = async |module, func, arguments: Value| {
        let looked = python.inspect(module, func, arguments.as_object().expect("a mapping")).await.expect("an answer");
        (looked.message(module, func, "probe", "py"), looked)
    };
    let (told, looked) = look("takes", "f", json!({"a": 1})).await;
    assert_eq!(told, None);
    let Inspection::Fits(parameters) = looked else { panic!("{looked:?}") };
    let known: Vec<_> = parameters.iter().map(|one| (one.name.as_str(), one.kind.as_str(), one.required)).collect();
    let expected =
        [("a", "POSITIONAL_OR_KEYWORD", true), ("b", "KEYWORD_ONLY", false), ("secrets", "KEYWORD_ONLY", false)];
    assert_eq!(known, expected);
    let told = [
        (look("takes", "f", json!({})).await.0, "required argument 'a' is missing from activity 'py'"),
        (
            look("takes", "f", json!({"a": 1, "z": 1})).await.0,
            "argument 'z' is not part of the function signature in activity 'py'",
        ),
        (
            look("takes", "C", json!({})).await.0,
            "The python module 'takes' does not expose a function called 'C' in probe 'py'",
        ),
        (look("none_such", "f", json!({})).await.0, "could not find Python module 'none_such' in activity 'py'"),
        (look("broken", "f", json!({})).await.0, "could not find Python module 'broken' in activity 'py'"),
    ];
    for (told, expected) in told {
        assert_eq!(told.as_deref(), Some(expected));
    }
    // Written in C, without a signature.
    assert_eq!(look("builtins", "dir", json!({})).await.1, Inspection::Unknown);
}

const CONTROL: &str = "
import logging
from chaoslib.exceptions import InterruptExecution
def before_activity_control(context, experiment, tag, state=None, secrets=None, **others):
    logging.getLogger('chaostoolkit').info('%s %s %s', tag, context['name'], sorted(others))
    context['seen'] = True
    secrets['t']['s'] = (1, 2)
def after_experiment_control(context, state): state['added'] = {'x': 1}
def before_method_control(context, event_registry): event_registry.register(CONTROL)
def after_method_control(context): raise InterruptExecution('stop')
def before_loading_experiment_control(context): raise ValueError(context)
CONTROL = object()
";

#[tokio::test]
async fn a_control_changes_what_it_is_given() {
    let bench = bench(&[("control", CONTROL)]);
    let given = json!({"experiment": {"method": [{"name": "a"}]}, "secrets": {"t": {"s": "x"}}, "state": {}});
    let hook = |name| Hook {
        module: "control",
        name,
        given: given.as_object().cloned().expect("a mapping"),
        context: Some(Context::Within("")),
        ..Hook::default()
    };
    let names = bench.python.hooks("control").await.expect("the names");
    assert_eq!(names.len(), 5);
    let arguments = json!({"tag": "c", "more": 1}).as_object().cloned().expect("a mapping");
    let before = Hook { arguments, context: Some(Context::Within("/method/0")), ..hook("before_activity_control") };
    let (changed, done) = bench.python.hook(before).await;
    assert_eq!(done, Ok(()));
    let expected = json!({"experiment": {"method": [{"name": "a", "seen": true}]}, "secrets": {"t": {"s": [1, 2]}}});
    assert_eq!(Value::Object(changed), expected);
    let (changed, _) = bench.python.hook(hook("after_experiment_control")).await;
    assert_eq!(Value::Object(changed), json!({"state": {"added": {"x": 1}}}));
    assert_eq!(bench.python.hook(hook("no_such_control")).await, (Changes::new(), Ok(())));
    assert_eq!(bench.python.hook(hook("before_method_control")).await, (Changes::new(), Ok(())));
    assert_eq!(
        bench.python.hook(hook("after_method_control")).await,
        (Changes::new(), Err(Ended::Interrupted("stop".to_owned())))
    );
    let text = Hook { context: Some(Context::Text("path")), ..hook("before_loading_experiment_control") };
    assert_eq!(bench.python.hook(text).await.1, Err(Ended::Failed("ValueError: path".to_owned())));
    let expected = [
        "INFO c a ['more']",
        "WARNING the event handler object of control is never called: handlers of events are not supported, hooks of controls are",
    ];
    assert_eq!(bench.heard(), expected);
}
