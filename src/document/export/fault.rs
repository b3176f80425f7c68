//! Functions of chaosk8s as faults of the builder.

use std::time::Duration;

use serde_json::Map;

use super::Export;
use super::text::{duration, literal};
use crate::document::activity::{Activity, leaves_all};
use crate::document::function::{self, Call};
use crate::document::provider::named;
use crate::document::when;

/// A fault of the export: a function that ends it, with the arguments by which it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    ends: &'static str,
    namespace: String,
    /// The object, where it has a name.
    name: Option<String>,
}

/// How long a workload's pods may take, as `steadfast run` has it.
const READY_WITHIN: &str = "secs(60)";

impl Export<'_> {
    /// A Python function as steps.
    pub(super) fn function(&mut self, activity: &Activity<'_>) -> Result<Vec<String>, String> {
        let provider = &activity.definition["provider"];
        let (module, func) = named(provider);
        if self.loaded.replacements.has(module, func) {
            return Err("it is replaced".to_owned());
        }
        if function::find(module, func).is_none() {
            return Err("it is a function of Python, which Rust does not call".to_owned());
        }
        let arguments = self.names.put_into_arguments(&provider["arguments"]);
        let none = Map::new();
        let arguments = arguments.as_object().unwrap_or(&none);
        let call = Call { arguments, secrets: None, configuration: &self.names.configuration.clone() };
        if activity.leaves().unwrap_or_else(|| leaves_all(&self.loaded.source.value)) {
            return Err("what it does is left on, and a fault of a test is always undone".to_owned());
        }
        let injected = self.injected(&call, module, func, activity.trust()).map_err(|function::Failed(why)| why)?;
        match injected {
            Some(step) => Ok(step),
            None if Self::looks(activity) => Err("there is no such probe".to_owned()),
            None => Err("there is no such fault".to_owned()),
        }
    }

    fn injected(
        &mut self,
        call: &Call<'_>,
        module: &str,
        func: &str,
        trust: Option<&str>,
    ) -> Result<Option<Vec<String>>, function::Failed> {
        let namespace = call.namespace()?;
        let within = |selector: String| literal(&selector);
        let fault = |ends, name| Fault { ends, namespace: namespace.clone(), name };
        let inject = |what: String| Some(vec![format!(".inject({what})")]);
        Ok(match (module, func) {
            ("chaosk8s.networking.actions", "deny_all_ingress" | "deny_all_egress") => {
                let selector = call.selector("label_selectors")?.unwrap_or_default().to_string();
                // The whole namespace, as the function's name says.
                let all = if selector.is_empty() { ".at_most_percent(100)" } else { "" };
                let trust = trust.map(|why| format!(".trust_without_proof({})", literal(why))).unwrap_or_default();
                let (deny, ends) = match func {
                    "deny_all_ingress" => ("deny_ingress", "remove_deny_all_ingress"),
                    _ => ("deny_egress", "remove_deny_all_egress"),
                };
                self.faults.push(fault(ends, None));
                let namespace = self.namespace(&namespace);
                inject(format!("{namespace}.pods({}){all}.{deny}(){trust}", within(selector)))
            }
            ("chaosk8s.deployment.actions", "scale_deployment") | ("chaosk8s.actions", "scale_microservice") => {
                let name = call.required("name")?;
                let ended = fault("scale", Some(name.clone()));
                if self.faults.contains(&ended) {
                    return Err(function::Failed(
                        "it ends another step's fault, which a test does at its end".to_owned(),
                    ));
                }
                self.faults.push(ended);
                let many = call.count("replicas")?.unwrap_or_default();
                let namespace = self.namespace(&namespace);
                inject(format!("{namespace}.deployment({}).scale({many}).ready_within({READY_WITHIN})", literal(&name)))
            }
            ("chaosk8s.pod.actions", "terminate_pods") => return self.terminated(call, &namespace),
            ("chaosk8s.node.actions", "cordon_node") if call.value("name").is_some() => {
                let name = call.required("name")?;
                self.faults.push(Fault { ends: "uncordon_node", namespace: String::new(), name: None });
                inject(format!("cluster.node({}).cordon()", literal(&name)))
            }
            ("chaosk8s.deployment.actions", "delete_deployment") if call.value("label_selector").is_none() => {
                inject(deleted("apps/v1", "Deployment", "deployments", &namespace, &call.required("name")?))
            }
            ("chaosk8s.service.actions", "delete_service") | ("chaosk8s.actions", "remove_service_endpoint") => {
                inject(deleted("v1", "Service", "services", &namespace, &call.required("name")?))
            }
            ("chaosk8s.pod.probes", "read_pod_logs") | ("chaosk8s.probes", "read_microservices_logs") => {
                if call.flag("from_previous", false)? || call.value("container_name").is_some() {
                    return Err(function::Failed("logs are of all containers, as they are now".to_owned()));
                }
                let selector = function::log_selector(call)?;
                let since = match call.text("last")? {
                    None => String::new(),
                    Some(last) => {
                        let span = when::span(&last).map_err(function::Failed)?;
                        format!(".since({})", duration(span))
                    }
                };
                let namespace = self.namespace(&namespace);
                Some(vec![format!(".act({namespace}.pods({}).logs(){since})", within(selector))])
            }
            _ => None,
        })
    }

    /// Pods that are deleted: all of a selection, or the first of them by their names.
    fn terminated(&mut self, call: &Call<'_>, namespace: &str) -> Result<Option<Vec<String>>, function::Failed> {
        let no = |why: &str| Err(function::Failed(why.to_owned()));
        if call.value("name_pattern").is_some() {
            return no("pods are selected by labels alone");
        }
        if call.text("mode")?.is_some_and(|mode| mode != "fixed") {
            return no("pods are picked by their number alone");
        }
        if call.text("order")?.is_some_and(|order| order != "alphabetic") || call.flag("rand", false)? {
            return no("pods are picked by their names alone");
        }
        let selector = literal(&call.selector("label_selector")?.unwrap_or_default().to_string());
        let grace = call.integer("grace_period")?.and_then(|seconds| u64::try_from(seconds).ok());
        let grace =
            grace.map(|seconds| format!(".grace({})", duration(Duration::from_secs(seconds)))).unwrap_or_default();
        let namespace = self.namespace(namespace);
        if call.flag("all", false)? {
            return Ok(Some(vec![format!(
                ".inject({namespace}.pods({selector}).at_most_percent(100).delete(){grace})"
            )]));
        }
        let many = call.count("qty")?.unwrap_or(1);
        let picked = self.taken.new_name("picked", "picked");
        self.lets.push(format!("let {picked} = {namespace}.pods({selector}).targets().await?;"));
        self.lets.push(format!("let {picked} = {picked}.into_iter().filter_map(|pod| pod.metadata.uid).take({many});"));
        Ok(Some(vec![format!(".inject({namespace}.pods({selector}).delete().only({picked}){grace})")]))
    }

    /// Whether a rollback only ends a fault of the test.
    pub(super) fn ends(&self, activity: &Activity<'_>) -> bool {
        let provider = &activity.definition["provider"];
        let (module, func) = named(provider);
        if !module.starts_with("chaosk8s.") {
            return false;
        }
        let arguments = self.names.put_into_arguments(&provider["arguments"]);
        let text = |name: &str| arguments[name].as_str().map(str::to_owned);
        let func = if matches!(func, "scale_deployment" | "scale_microservice") { "scale" } else { func };
        let namespace =
            if func == "uncordon_node" { String::new() } else { text("ns").unwrap_or_else(|| "default".into()) };
        self.faults.iter().any(|fault| {
            fault.ends == func && fault.namespace == namespace && (fault.name.is_none() || fault.name == text("name"))
        })
    }
}

/// One object less.
fn deleted(api_version: &str, kind: &str, resource: &str, namespace: &str, name: &str) -> String {
    let of = |text: &str| format!("{}.into()", literal(text));
    let (api_version, kind, resource) = (of(api_version), of(kind), of(resource));
    let (namespace, name) = (format!("Some({})", of(namespace)), of(name));
    format!(
        "cluster.kubernetes().delete_object(steadfast::rollback::ObjectRef {{ api_version: {api_version}, kind: {kind}, \
         resource: {resource}, namespace: {namespace}, name: {name} }})"
    )
}
