//! Objects as rows of text: what `kubectl get` prints.
//!
//! The server makes the columns, so that clients need to know no kind. Columns, their order and the texts in them are
//! those of Kubernetes 1.34, seen on a real cluster; called by the answers of the API and by its watches.

mod age;
mod custom;
mod pods;
mod rest;
mod workloads;

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::lab::resource::{self, Resource};

type Cells = Vec<Value>;

/// How much of each object a table carries beside its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

/// A column: its name, its type, and whether it is for wide tables only.
#[derive(Clone, Copy)]
struct Column(&'static str, &'static str, u8);

const fn text_column(name: &'static str) -> Column {
    Column(name, "string", 0)
}

const fn number_column(name: &'static str) -> Column {
    Column(name, "integer", 0)
}

const fn date_column(name: &'static str) -> Column {
    Column(name, "date", 0)
}

const fn wide_column(name: &'static str) -> Column {
    Column(name, "string", 1)
}

/// A kind's columns after the name (or, for events, with it), and its cells.
type Printer = (&'static [Column], fn(&Value, Timestamp) -> Cells);

macro_rules! columns {
    ($($kind:ident $name:literal),* $(,)?) => { const { &[$($kind($name)),*] } };
}

fn printer(wanted: &Resource) -> Printer {
    use {date_column as date, number_column as number, text_column as text, wide_column as wide};
    let kinds: &[(&Resource, Printer)] = &[
        (&resource::CONFIG_MAPS, (columns![text "Name", text "Data", text "Age"], rest::config_map)),
        (&resource::ENDPOINTS, (columns![text "Name", text "Endpoints", text "Age"], rest::endpoints)),
        (
            &resource::EVENTS,
            (
                columns![text "Last Seen", text "Type", text "Reason", text "Object", wide "Subobject", wide "Source",
                    text "Message", wide "First Seen", wide "Count", wide "Name"],
                rest::event,
            ),
        ),
        (&resource::NAMESPACES, (columns![text "Name", text "Status", text "Age"], rest::namespace)),
        (
            &resource::NODES,
            (
                columns![text "Name", text "Status", text "Roles", text "Age", text "Version", wide "Internal-IP",
                    wide "External-IP", wide "OS-Image", wide "Kernel-Version", wide "Container-Runtime"],
                rest::node,
            ),
        ),
        (
            &resource::PODS,
            (
                columns![text "Name", text "Ready", text "Status", text "Restarts", text "Age", wide "IP", wide "Node",
                    wide "Nominated Node", wide "Readiness Gates"],
                pods::cells,
            ),
        ),
        (&resource::SECRETS, (columns![text "Name", text "Type", text "Data", text "Age"], rest::secret)),
        (&resource::SERVICE_ACCOUNTS, (columns![text "Name", text "Secrets", text "Age"], rest::service_account)),
        (
            &resource::SERVICES,
            (
                columns![text "Name", text "Type", text "Cluster-IP", text "External-IP", text "Port(s)", text "Age",
                    wide "Selector"],
                rest::service,
            ),
        ),
        (&resource::CUSTOM_RESOURCE_DEFINITIONS, (columns![text "Name", date "Created At"], rest::created_at)),
        (
            &resource::CONTROLLER_REVISIONS,
            (columns![text "Name", text "Controller", text "Revision", text "Age"], workloads::controller_revision),
        ),
        (
            &resource::DAEMON_SETS,
            (
                columns![text "Name", number "Desired", number "Current", number "Ready", number "Up-to-date",
                    number "Available", text "Node Selector", text "Age", wide "Containers", wide "Images",
                    wide "Selector"],
                workloads::daemon_set,
            ),
        ),
        (
            &resource::DEPLOYMENTS,
            (
                columns![text "Name", text "Ready", text "Up-to-date", text "Available", text "Age",
                    wide "Containers", wide "Images", wide "Selector"],
                workloads::deployment,
            ),
        ),
        (
            &resource::REPLICA_SETS,
            (
                columns![text "Name", number "Desired", number "Current", number "Ready", text "Age",
                    wide "Containers", wide "Images", wide "Selector"],
                workloads::replica_set,
            ),
        ),
        (
            &resource::STATEFUL_SETS,
            (
                columns![text "Name", text "Ready", text "Age", wide "Containers", wide "Images"],
                workloads::stateful_set,
            ),
        ),
        (
            &resource::HORIZONTAL_POD_AUTOSCALERS,
            (
                columns![text "Name", text "Reference", text "Targets", text "MinPods", text "MaxPods",
                    text "Replicas", text "Age"],
                workloads::autoscaler,
            ),
        ),
        (
            &resource::JOBS,
            (
                columns![text "Name", text "Status", text "Completions", text "Duration", text "Age",
                    wide "Containers", wide "Images", wide "Selector"],
                workloads::job,
            ),
        ),
        (&resource::LEASES, (columns![text "Name", text "Holder", text "Age"], rest::lease)),
        (
            &resource::ENDPOINT_SLICES,
            (
                columns![text "Name", text "AddressType", text "Ports", text "Endpoints", text "Age"],
                rest::endpoint_slice,
            ),
        ),
        (&resource::NETWORK_POLICIES, (columns![text "Name", text "Pod-Selector", text "Age"], rest::network_policy)),
        (
            &resource::POD_DISRUPTION_BUDGETS,
            (
                columns![text "Name", text "Min Available", text "Max Unavailable", number "Allowed Disruptions",
                    text "Age"],
                workloads::disruption_budget,
            ),
        ),
        (&resource::CLUSTER_ROLE_BINDINGS, (BINDING, rest::binding)),
        (&resource::ROLE_BINDINGS, (BINDING, rest::binding)),
        (&resource::CLUSTER_ROLES, (columns![text "Name", date "Created At"], rest::created_at)),
        (&resource::ROLES, (columns![text "Name", date "Created At"], rest::created_at)),
    ];
    let known = kinds.iter().find(|(kind, _)| kind.is(wanted));
    known.map_or((columns![text "Name", text "Age"], rest::plain), |(_, printer)| *printer)
}

const BINDING: &[Column] = &[
    text_column("Name"),
    text_column("Role"),
    text_column("Age"),
    wide_column("Users"),
    wide_column("Groups"),
    wide_column("ServiceAccounts"),
];

/// Makes the tables of one kind.
pub(super) struct Printing {
    printer: Printer,
    custom: Option<Vec<custom::Printed>>,
    pods: bool,
}

impl Printing {
    /// For a kind; `definition` is the CustomResourceDefinition of a custom one.
    pub(super) fn of(resource: &Resource, definition: Option<&Value>) -> Self {
        let custom = resource.custom.then(|| custom::columns(definition, resource.version));
        Self { printer: printer(resource), custom, pods: resource.is(&resource::PODS) }
    }

    /// For the scale of any kind.
    pub(super) fn of_scale() -> Self {
        use {number_column as number, text_column as text};
        let columns = columns![text "Name", number "Desired", number "Available", text "Age"];
        Self { printer: (columns, workloads::scale), custom: None, pods: false }
    }

    pub(super) fn columns(&self) -> Value {
        if let Some(custom) = &self.custom {
            let declared = custom.iter().map(|column| column.definition.clone());
            return std::iter::once(custom::name_column()).chain(declared).collect();
        }
        let column = |Column(name, kind, priority): &Column| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({"name": name, "type": kind, "format": format, "description": describe(name), "priority": priority})
        };
        self.printer.0.iter().map(column).collect()
    }

    /// The row of one object. `version` is that of `meta.k8s.io`.
    pub(super) fn row(&self, object: &Value, carried: Carried, version: &str, now: Timestamp) -> Value {
        let cells = match &self.custom {
            Some(columns) => custom::cells(columns, object, now),
            None => (self.printer.1)(object, now),
        };
        let object_of_row = match carried {
            Carried::None => Value::Null,
            Carried::Metadata => partial(object, version),
            Carried::Object => object.clone(),
        };
        let mut row = json!({"cells": cells, "object": object_of_row});
        if self.pods
            && let Some(conditions) = pods::conditions(object)
        {
            row["conditions"] = conditions;
        }
        row
    }
}

/// An object's metadata and nothing else.
pub(super) fn partial(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": object["metadata"],
    })
}

/// What a column means.
fn describe(column: &str) -> &'static str {
    match column {
        "Name" => "The object's name, unique among those of its kind in its namespace.",
        "Age" | "Created At" => "When the object was created.",
        "Status" => "The state that a person would call the object's.",
        "Ready" => "How many are ready, of how many there should be.",
        "Restarts" => "How often its containers were started again, and when last.",
        "Containers" => "The names of the template's containers.",
        "Images" => "The images of the template's containers.",
        "Selector" | "Pod-Selector" => "Which pods are meant, by their labels.",
        "Message" => "What happened, for people.",
        "Data" => "How many keys it holds.",
        "Desired" => "How many there should be.",
        "Current" => "How many there are.",
        "Up-to-date" => "How many are of the newest template.",
        "Available" => "How many have been ready for long enough.",
        _ => "",
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn name(object: &Value) -> Value {
    json!(text(&object["metadata"]["name"]))
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

fn none_if_empty(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}

/// `a=b,c=d`; `<none>` for no labels.
fn labels(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    none_if_empty(pairs.map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(","))
}

/// A label selector in one line, its requirements by their keys: `a=b,c in (d,e),!f`. Empty for one that takes all.
fn selector(selector: &Value) -> String {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut parts: Vec<(&str, String)> =
        equal.map(|(key, value)| (key.as_str(), format!("{key}={}", text(value)))).collect();
    for expression in list(&selector["matchExpressions"]) {
        let key = text(&expression["key"]);
        let mut values: Vec<&str> = list(&expression["values"]).iter().map(text).collect();
        values.sort_unstable();
        let values = values.join(",");
        let part = match text(&expression["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return "<error>".to_owned(),
        };
        parts.push((key, part));
    }
    parts.sort_by(|a, b| a.0.cmp(b.0));
    parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::resource::ALL;

    #[test]
    fn every_kind_has_as_many_cells_as_columns() {
        let now = Timestamp::from_second(0).expect("a valid instant");
        for resource in ALL {
            let printing = Printing::of(resource, None);
            let row = printing.row(&json!({"metadata": {"name": "x"}}), Carried::None, "v1", now);
            let (cells, columns) = (list(&row["cells"]).len(), list(&printing.columns()).len());
            assert_eq!(cells, columns, "{}", resource.kind);
        }
    }

    #[test]
    fn selectors_are_sorted_by_key() {
        let expressions = json!([{"key": "b", "operator": "In", "values": ["y", "x"]}, {"key": "a", "operator": "Exists"},
            {"key": "d", "operator": "DoesNotExist"}]);
        let all = json!({"matchLabels": {"c": "1"}, "matchExpressions": expressions});
        assert_eq!(selector(&all), "a,b in (x,y),c=1,!d");
        assert_eq!(selector(&json!({})), "");
    }
}
