//! The table as a whole.

use std::collections::BTreeSet;

use super::super::{Argument, Kind, all, find, of_module};

#[test]
fn each_function_is_there_once_and_takes_each_argument_once() {
    let mut seen = BTreeSet::new();
    for function in all() {
        assert!(seen.insert((function.module, function.func)), "{}.{} is there twice", function.module, function.func);
        let names: BTreeSet<_> = function.arguments.iter().map(|argument| argument.name).collect();
        assert_eq!(names.len(), function.arguments.len(), "{}", function.func);
    }
}

#[test]
fn a_function_is_found_with_its_arguments() {
    let query = find("chaosprometheus.probes", "query_interval").expect("it is there");
    assert_eq!((query.kind, query.needs_cluster), (Kind::Probe, false));
    let required: Vec<_> = query.arguments.iter().filter(|argument| argument.required).map(|a| a.name).collect();
    assert_eq!(required, ["query", "start", "end"]);
    assert!(query.arguments.contains(&Argument { name: "step", required: false }));
    assert!(find("chaosk8s.networking.actions", "query").is_none());
    assert!(of_module("chaosk8s.networking.actions").any(|function| function.func == "deny_all_ingress"));
}

#[test]
fn a_misspelt_function_is_told_what_was_meant() {
    let meant = |module: &str, func: &str| super::super::meant(module, func);
    let terminate = Some("chaosk8s.pod.actions.terminate_pods".to_owned());
    for (module, func) in [
        ("chaosk8s.pod.actions", "terminate_pod"),
        ("chaosk8s.pod.action", "terminate_pods"),
        ("chaosk8s.actions", "terminate_pods"),
    ] {
        assert_eq!(meant(module, func), terminate, "{module}.{func}");
    }
    for (module, func) in [("os", "getcwd"), ("acme.actions", "query"), ("chaosk8s.pod.actions", "make_them_dance")] {
        assert_eq!(meant(module, func), None, "{module}.{func}");
    }
}
