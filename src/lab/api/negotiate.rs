//! In which form a client wants its answer.
//!
//! Clients say so in `Accept`: JSON or YAML; an object whole, as rows of a table, or its metadata alone. The rules are
//! the real server's: alternatives by their `q`, the first that can be served wins, and what cannot be served at all is 406.

use serde_json::{Value, json};

use super::table::{self, Carried, Printing};
use super::{Answer, ApiService, Call, Place, yaml};
use crate::lab::resource::{CUSTOM_RESOURCE_DEFINITIONS, Resource};
use crate::lab::status::Status;

/// What the server can write, as it says so itself.
const WRITES: &str = "application/json, application/yaml";
const STREAMS: &str = "application/json;stream=watch";

/// How an answer's bytes are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) yaml: bool,
    /// Indented, for people.
    pub(super) pretty: bool,
}

/// Which part of an object is told; with the version of `meta.k8s.io`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Whole,
    Table(String),
    Metadata(String),
    MetadataList(String),
}

/// One alternative of an `Accept` header.
struct Clause {
    kind: String,
    quality: f32,
    params: Vec<(String, String)>,
}

impl Clause {
    fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    fn yaml(&self) -> bool {
        self.kind == "application/yaml"
    }

    /// Whether it names a form that the lab writes.
    fn known(&self) -> bool {
        matches!(self.kind.as_str(), "application/json" | "application/yaml" | "application/*" | "*/*")
    }

    fn form(&self) -> Option<Form> {
        let version = self.param("v").to_owned();
        let meta = self.param("g") == "meta.k8s.io" && ["v1", "v1beta1"].contains(&version.as_str());
        match self.param("as") {
            "" => Some(Form::Whole),
            "Table" if meta => Some(Form::Table(version)),
            "PartialObjectMetadata" if meta => Some(Form::Metadata(version)),
            "PartialObjectMetadataList" if meta => Some(Form::MetadataList(version)),
            _ => None,
        }
    }
}

fn accept(call: &Call) -> &str {
    call.headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The alternatives, the preferred ones first.
fn clauses(accept: &str) -> Vec<Clause> {
    let one = |text: &str| {
        let mut pieces = text.split(';').map(str::trim);
        let kind = pieces.next().unwrap_or_default().to_lowercase();
        let params: Vec<(String, String)> = pieces
            .filter_map(|piece| piece.split_once('='))
            .map(|(key, value)| (key.trim().to_lowercase(), value.trim().trim_matches('"').to_owned()))
            .collect();
        let clause = Clause { kind, quality: 1.0, params };
        let quality = clause.param("q").parse().unwrap_or(1.0);
        Clause { quality, ..clause }
    };
    let mut all: Vec<Clause> = accept.split(',').filter(|piece| !piece.trim().is_empty()).map(one).collect();
    if all.is_empty() {
        all.push(one("*/*"));
    }
    let stars = |clause: &Clause| clause.kind.matches('*').count();
    all.sort_by(|a, b| b.quality.total_cmp(&a.quality).then(stars(a).cmp(&stars(b))));
    all
}

/// How to write the answer to this call, whatever it is.
pub(super) fn encoding(call: &Call) -> Encoding {
    let clauses = clauses(accept(call));
    let chosen = clauses.iter().find(|clause| clause.known());
    let agent = call.headers.get("user-agent").and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let pretty = match call.get("pretty") {
        Some(stated) => matches!(stated, "1" | "t" | "T" | "true" | "TRUE" | "True"),
        // People read what these print.
        None => ["curl", "Wget", "Mozilla/"].iter().any(|tool| agent.starts_with(tool)),
    };
    Encoding { yaml: chosen.is_some_and(Clause::yaml), pretty }
}

/// Refuses a client that takes neither JSON nor YAML.
pub(super) fn acceptable(call: &Call) -> Result<(), Status> {
    let takes = |piece: &str| {
        matches!(piece.split(';').next().unwrap_or_default().trim(), "application/json" | "application/yaml" | "*/*")
    };
    let accept = accept(call);
    if accept.trim().is_empty() || accept.split(',').any(takes) {
        return Ok(());
    }
    let message = format!("406: Not Acceptable\n\nAvailable representations: {WRITES}, {STREAMS}");
    Err(Status { details: Some(json!({})), ..Status::new(406, "NotAcceptable", message) })
}

/// The alternative of these kinds and versions that a client prefers to plain JSON, if it does.
pub(super) fn prefers(call: &Call, group: &str, kind: &str, version: &str) -> bool {
    let clauses = clauses(accept(call));
    let known = clauses.iter().find(|c| c.known() && !c.yaml() && (c.param("as").is_empty() || c.param("g") == group));
    let served = |c: &&Clause| c.param("as") == kind && c.param("g") == group && c.param("v") == version;
    let plain = clauses.iter().position(|c| c.known() && c.param("as").is_empty()).unwrap_or(usize::MAX);
    known.is_some() && clauses.iter().position(|c| served(&c)).is_some_and(|at| at < plain)
}

/// What a client sees of objects of one kind.
pub(super) struct View {
    form: Form,
    carried: Carried,
    printing: Printing,
    resource: &'static Resource,
    clock: crate::clock::Clock,
    columns_told: bool,
}

impl View {
    /// What this call asks for.
    ///
    /// # Errors
    /// 406 if none of its alternatives can be served, 400 for a table with parts that do not exist.
    pub(super) fn of(api: &ApiService, place: &Place, call: &Call) -> Result<Self, Status> {
        if place.subresource.as_deref() != Some("log") {
            acceptable(call)?;
        }
        let stream = place.name.is_none() && call.method == "GET" && call.flag("watch");
        let clauses = clauses(accept(call));
        let served = clauses.iter().filter(|clause| clause.known() && !(stream && clause.yaml()));
        let Some(form) = served.filter_map(Clause::form).next() else {
            let these = if stream { STREAMS } else { WRITES };
            let message = format!("only the following media types are accepted: {these}");
            return Err(Status::new(406, "NotAcceptable", message));
        };
        let carried = match call.get("includeObject").unwrap_or_default() {
            "None" => Carried::None,
            "Object" => Carried::Object,
            "" | "Metadata" => Carried::Metadata,
            other if matches!(form, Form::Table(_)) => {
                let why =
                    format!("includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty");
                return Err(Status::bad_request(format!("Unable to convert to Table as requested: {why}")));
            }
            _ => Carried::Metadata,
        };
        let resource = place.resource;
        let printing = if place.subresource.as_deref() == Some("scale") {
            Printing::of_scale()
        } else {
            let declared = resource.custom && matches!(form, Form::Table(_));
            let definition = declared
                .then(|| api.store.find(&CUSTOM_RESOURCE_DEFINITIONS, "", &resource.qualified_plural()))
                .flatten();
            Printing::of(resource, definition.as_deref())
        };
        Ok(Self { form, carried, printing, resource, clock: api.clock.clone(), columns_told: false })
    }

    /// An answer in the form that was asked for. Failures and other `Status` bodies stay as they are.
    ///
    /// # Errors
    /// 406 for the metadata of one where the answer is a list, and the other way round.
    pub(super) fn show(mut self, answer: Answer) -> Result<Answer, Status> {
        if self.form == Form::Whole {
            return Ok(answer);
        }
        match answer.into_json() {
            Ok((code, body)) if body["kind"] != "Status" => Ok(Answer::Json(code, self.body(body)?)),
            Ok((code, body)) => Ok(Answer::Json(code, body)),
            Err(other) => Ok(other),
        }
    }

    fn body(&mut self, body: Value) -> Result<Value, Status> {
        let wanted = |kind: &str, is: &str| {
            let what = format!("you requested {kind}, but the requested object is {is} ({})", self.go_type(&body));
            Err(Status::new(406, "NotAcceptable", what))
        };
        let items = body["items"].as_array().filter(|_| body["kind"].as_str().is_some_and(|k| k.ends_with("List")));
        match (&self.form, items) {
            (Form::Whole, _) => Ok(body),
            (Form::Table(version), items) => {
                let metadata = match items {
                    Some(_) => body["metadata"].clone(),
                    None => json!({"resourceVersion": body["metadata"]["resourceVersion"]}),
                };
                let one = std::slice::from_ref(&body);
                Ok(self.table(items.map_or(one, Vec::as_slice), &metadata, version, true))
            }
            (Form::Metadata(version), None) => Ok(table::partial(&body, version)),
            (Form::MetadataList(version), Some(items)) => Ok(json!({
                "kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": body["metadata"],
                "items": items.iter().map(|item| table::partial(item, version)).collect::<Vec<_>>(),
            })),
            (Form::Metadata(_), Some(_)) => wanted("PartialObjectMetadata", "a list"),
            (Form::MetadataList(_), None) => wanted("PartialObjectMetadataList", "not a list"),
        }
    }

    fn table(&self, objects: &[Value], metadata: &Value, version: &str, columns: bool) -> Value {
        let now = self.clock.now();
        let row = |object: &Value| {
            let mut row = self.printing.row(object, self.carried, version, now);
            if self.carried == Carried::Object {
                // Items of a list do not say what they are, a row must.
                row["object"]["kind"] = json!(self.resource.kind);
                row["object"]["apiVersion"] = json!(self.resource.api_version());
            }
            row
        };
        json!({
            "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata,
            "columnDefinitions": if columns { self.printing.columns() } else { Value::Null },
            "rows": objects.iter().map(row).collect::<Vec<_>>(),
        })
    }

    /// Whether objects are told whole.
    pub(super) fn is_whole(&self) -> bool {
        self.form == Form::Whole
    }

    /// An event of a watch. The first table of a watch has the column definitions, the later ones need not repeat them.
    pub(super) fn event(&mut self, mut event: Value) -> Value {
        if self.form == Form::Whole || event["type"] == "ERROR" {
            return event;
        }
        let object = event["object"].take();
        event["object"] = match &self.form {
            Form::Table(version) => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                self.table(std::slice::from_ref(&object), &metadata, version, !self.columns_told)
            }
            Form::Metadata(version) | Form::MetadataList(version) => table::partial(&object, version),
            Form::Whole => object,
        };
        self.columns_told = true;
        event
    }

    /// The real server's own word for the type of a body: `*core.ConfigMapList`.
    fn go_type(&self, body: &Value) -> String {
        let kind = body["kind"].as_str().unwrap_or_default();
        if self.resource.custom {
            let list = if kind.ends_with("List") { "List" } else { "" };
            return format!("*unstructured.Unstructured{list}");
        }
        let package = self.resource.group.split('.').next().filter(|package| !package.is_empty()).unwrap_or("core");
        format!("*{package}.{kind}")
    }
}

/// The text of a body and its content type.
pub(super) fn encode(value: &Value, encoding: Encoding) -> (&'static str, String) {
    if encoding.yaml {
        return ("application/yaml", yaml::text(value));
    }
    let mut text = if encoding.pretty { format!("{value:#}") } else { value.to_string() };
    text.push('\n');
    ("application/json", text)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};
    use hyper::body::Bytes;

    use super::*;

    fn call(accept: &'static str) -> Call {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert("accept", HeaderValue::from_static(accept));
        }
        Call {
            method: Method::GET,
            query: Vec::new(),
            headers,
            body: Bytes::new(),
            user: crate::lab::access::User::own(),
        }
    }

    fn form(accept: &'static str) -> Option<Form> {
        clauses(accept).iter().filter(|clause| clause.known()).find_map(Clause::form)
    }

    #[test]
    fn the_first_form_that_can_be_served_wins() {
        let table = || Some(Form::Table("v1".to_owned()));
        assert_eq!(form(""), Some(Form::Whole));
        assert_eq!(form("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), table());
        assert_eq!(form("application/json;q=0.5, application/json;as=Table;g=meta.k8s.io;v=v1"), table());
        assert_eq!(form("application/json;as=Table;v=v2;g=meta.k8s.io,application/json"), Some(Form::Whole));
        assert_eq!(form("application/json;as=Nothing;v=v1;g=meta.k8s.io"), None);
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,\
            application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
        assert_eq!(form(metadata), Some(Form::Metadata("v1".to_owned())));
    }

    #[test]
    fn yaml_by_quality_and_pretty_by_choice_or_by_tool() {
        assert!(encoding(&call("application/json;q=0.1,application/yaml")).yaml);
        assert!(!encoding(&call("application/json,application/yaml")).yaml);
        assert!(!encoding(&call("application/vnd.kubernetes.protobuf,application/json")).yaml);
        assert!(!encoding(&call("*/*")).pretty);
        let mut pretty = call("*/*");
        pretty.headers.insert("user-agent", HeaderValue::from_static("curl/8.0"));
        assert!(encoding(&pretty).pretty);
        pretty.query.push(("pretty".to_owned(), "false".to_owned()));
        assert!(!encoding(&pretty).pretty);
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        for good in ["", "*/*", "text/html, */*;q=0.5", "application/json; charset=utf-8", "application/yaml"] {
            assert!(acceptable(&call(good)).is_ok(), "{good}");
        }
        for bad in ["application/xml", "text/plain", "application/*", "application/vnd.kubernetes.protobuf"] {
            assert_eq!(acceptable(&call(bad)).map_err(|status| status.code), Err(406), "{bad}");
        }
    }

    #[test]
    fn aggregated_discovery_is_chosen_where_it_comes_before_plain_json() {
        let wants = |accept| prefers(&call(accept), "apidiscovery.k8s.io", "APIGroupDiscoveryList", "v2");
        assert!(wants("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"));
        assert!(wants(
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,\
             application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        ));
        assert!(!wants("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"));
        assert!(!wants("application/json,application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"));
        assert!(!wants("*/*"));
    }
}
