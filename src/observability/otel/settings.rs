//! What OpenTelemetry's variables say.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::spans::text;
use crate::journal::SpanId;
use crate::transport::Address;

/// How long a trace is waited for, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where to and how traces are sent.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) endpoint: Address,
    pub(super) headers: HeaderMap,
    /// Rather than protobuf.
    pub(super) json: bool,
    pub(super) timeout: Duration,
    /// Certificates that vouch for the endpoint.
    pub(super) roots: Option<PathBuf>,
    /// Of the environment, in its order.
    attributes: Vec<(String, String)>,
    pub(super) parent: Option<Parent>,
}

/// Who started this process, if that is part of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace: String,
    pub(super) span: SpanId,
    pub(super) sampled: bool,
}

impl Settings {
    /// What the variables say; `None` where they want no traces. An error names the variable and the remedy.
    pub(super) fn of(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let is = |name: &str, word: &str| variable(name).is_some_and(|text| text.trim().eq_ignore_ascii_case(word));
        // A list, of which this one speaks but one.
        let others = |list: String| !list.split(',').any(|exporter| exporter.trim().eq_ignore_ascii_case("otlp"));
        if is("OTEL_SDK_DISABLED", "true") || variable("OTEL_TRACES_EXPORTER").is_some_and(others) {
            return Ok(None);
        }
        let Some((endpoint, name)) = endpoint(variable) else { return Ok(None) };
        let endpoint = Address::from(endpoint.as_str());
        endpoint.checked().map_err(|error| format!("{name}: {error}"))?;
        // What is said of traces goes before what is said of all.
        let either = |what: &str| {
            let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")];
            names.into_iter().find_map(|name| Some((variable(&name)?, name)))
        };
        let mut headers = HeaderMap::new();
        if let Some((listed, name)) = either("HEADERS") {
            // Their values are secrets.
            let wrong = || format!("{name} is no list of headers; write it as name=value,name=value, percent-encoded");
            for (key, value) in pairs(&listed).ok_or_else(wrong)? {
                let key: HeaderName = key.parse().map_err(|_| wrong())?;
                let mut value: HeaderValue = value.parse().map_err(|_| wrong())?;
                value.set_sensitive(true);
                headers.append(key, value);
            }
        }
        let json = match either("PROTOCOL") {
            None => false,
            Some((protocol, name)) => match protocol.trim() {
                "http/protobuf" => false,
                "http/json" => true,
                "grpc" => {
                    return Err(format!(
                        "{name}=grpc is not spoken here; set it to http/protobuf and the endpoint to the collector's port for HTTP, which is 4318 by default"
                    ));
                }
                other => return Err(format!("{name}={other:?} is unknown; set it to http/protobuf or http/json")),
            },
        };
        let timeout = match either("TIMEOUT") {
            None => TIMEOUT,
            Some((millis, name)) => {
                let millis = millis.trim().parse();
                let wrong = |_| format!("{name} is no number of milliseconds, such as 10000");
                Duration::from_millis(millis.map_err(wrong)?)
            }
        };
        let mut attributes = Vec::new();
        if let Some(listed) = variable("OTEL_RESOURCE_ATTRIBUTES") {
            let wrong = "OTEL_RESOURCE_ATTRIBUTES is no list; write it as key=value,key=value, percent-encoded";
            attributes = pairs(&listed).ok_or(wrong)?;
        }
        if let Some(service) = variable("OTEL_SERVICE_NAME") {
            attributes.push(("service.name".to_owned(), service));
        }
        let roots = either("CERTIFICATE").map(|(path, _)| path.into());
        let parent = variable("TRACEPARENT").as_deref().and_then(parent);
        Ok(Some(Self { endpoint, headers, json, timeout, roots, attributes, parent }))
    }

    /// The endpoint without what may be secret in it.
    pub(super) fn shown(&self) -> String {
        let shown = self.endpoint.to_string();
        shown.split('?').next().unwrap_or_default().to_owned()
    }

    /// What the spans come from; what the environment says goes before what is known here.
    pub(super) fn resource(&self, cluster: &str) -> Vec<KeyValue> {
        let version = env!("CARGO_PKG_VERSION");
        let mut all: Vec<(&str, &str)> = vec![
            ("service.name", env!("CARGO_PKG_NAME")),
            ("service.version", version),
            ("telemetry.sdk.name", env!("CARGO_PKG_NAME")),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.version", version),
            ("k8s.cluster.name", cluster),
        ];
        for (key, value) in &self.attributes {
            match all.iter_mut().find(|(known, _)| known == key) {
                Some(known) => known.1 = value,
                None => all.push((key, value)),
            }
        }
        all.into_iter().map(|(key, value)| text(key, value)).collect()
    }
}

/// The endpoint for traces, and the variable that names it.
fn endpoint(variable: &dyn Fn(&str) -> Option<String>) -> Option<(String, &'static str)> {
    const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    if let Some(exact) = variable(TRACES) {
        return Some((exact.trim().to_owned(), TRACES));
    }
    let base = variable(ALL)?;
    let base = base.trim();
    let (path, query) = base.split_once('?').map_or((base, String::new()), |(path, query)| (path, format!("?{query}")));
    Some((format!("{}/v1/traces{query}", path.trim_end_matches('/')), ALL))
}

/// `key=value,key=value` with values that are percent-encoded; `None` if it is something else.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |part: &str| {
        let (key, value) = part.split_once('=')?;
        let decoded = |text: &str| {
            let text = percent_encoding::percent_decode_str(text.trim()).decode_utf8().ok()?;
            Some(text.into_owned())
        };
        let key = decoded(key).filter(|key| !key.is_empty())?;
        Some((key, decoded(value)?))
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

/// What a `traceparent` says; as the standard wants it, one that is none counts for nothing.
fn parent(text: &str) -> Option<Parent> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let known = hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    let is = known && hex(trace, 32) && trace.bytes().any(|byte| byte != b'0') && hex(span, 16) && hex(flags, 2);
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    is.then_some(Parent { trace: trace.to_owned(), span: SpanId::parse(span)?, sampled })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        Settings::of(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    fn some(variables: &[(&str, &str)]) -> Settings {
        of(variables).unwrap().unwrap()
    }

    const AT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    #[test]
    fn without_an_endpoint_or_switched_off_there_is_none() {
        for variables in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "x"), ("TRACEPARENT", "x")],
            &[AT, ("OTEL_SDK_DISABLED", "True")],
            &[AT, ("OTEL_TRACES_EXPORTER", "none")],
            &[AT, ("OTEL_TRACES_EXPORTER", "console,zipkin")],
            // Whatever else is wrong.
            &[AT, ("OTEL_SDK_DISABLED", "true"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
        ] {
            assert!(of(variables).unwrap().is_none(), "{variables:?}");
        }
        for exporter in ["otlp", "console, OTLP"] {
            assert!(of(&[AT, ("OTEL_SDK_DISABLED", "false"), ("OTEL_TRACES_EXPORTER", exporter)]).unwrap().is_some());
        }
    }

    #[test]
    fn the_path_is_appended_to_the_base_alone() {
        let of_base = |base: &str| some(&[("OTEL_EXPORTER_OTLP_ENDPOINT", base)]).endpoint.to_string();
        assert_eq!(of_base("http://collector:4318"), "http://collector:4318/v1/traces");
        assert_eq!(of_base("https://host/otlp/"), "https://host/otlp/v1/traces");
        assert_eq!(of_base("https://host/otlp?key=a"), "https://host/otlp/v1/traces?key=a");
        let exact = some(&[AT, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces/in")]);
        assert_eq!(exact.endpoint.to_string(), "http://traces/in");
        let error = of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")]).unwrap_err();
        assert!(error.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT: malformed URL"), "{error}");
        assert_eq!(some(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://a/b?key=c")]).shown(), "http://a/b");
    }

    #[test]
    fn what_is_said_of_traces_goes_first() {
        let settings = some(&[
            AT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=x%20y, Second = 2"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2500"),
        ]);
        assert_eq!(settings.headers.len(), 2);
        assert_eq!(
            (settings.headers["api-key"].as_bytes(), &settings.headers["second"]),
            (&b"x y"[..], &"2".parse().unwrap())
        );
        assert!(settings.json && settings.timeout == Duration::from_millis(2500));
        assert!(!format!("{settings:?}").contains("x y"), "{settings:?}");
        let plain = some(&[AT]);
        assert!(!plain.json && plain.timeout == TIMEOUT && plain.headers.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_remedy_and_without_secrets() {
        for (name, value, part) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "set it to http/protobuf and the endpoint"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "udp", "\"udp\" is unknown"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret", "no list of headers"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0A", "no list of headers"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "no number of milliseconds"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a", "no list"),
        ] {
            let error = of(&[AT, (name, value)]).unwrap_err();
            assert!(error.contains(part) && error.contains(name) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_environment_says_what_the_spans_come_from() {
        let told = [("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb,service.name=other"), ("OTEL_SERVICE_NAME", "orders")];
        let resource = some(&[AT, told[0], told[1]]).resource("the lab");
        let value = |key: &str| resource.iter().filter(|pair| pair.key == key).cloned().collect::<Vec<_>>();
        assert_eq!(value("service.name"), [text("service.name", "orders")]);
        assert_eq!(value("team"), [text("team", "a,b")]);
        assert_eq!(value("k8s.cluster.name"), [text("k8s.cluster.name", "the lab")]);
        assert_eq!(some(&[AT, told[0]]).resource("")[0], text("service.name", "other"));
        assert_eq!(some(&[AT]).resource("")[0], text("service.name", "steadfast"));
    }

    #[test]
    fn a_parent_is_read_as_the_standard_says() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let is = |sampled| Some(Parent { trace: trace.into(), span: SpanId::parse(span).unwrap(), sampled });
        for (text, expected) in [
            (format!("00-{trace}-{span}-01"), is(true)),
            (format!("00-{trace}-{span}-00"), is(false)),
            (format!(" 00-{trace}-{span}-03 "), is(true)),
            (format!("cc-{trace}-{span}-01-what-comes-later"), is(true)),
            (format!("00-{trace}-{span}-01-more"), None),
            (format!("ff-{trace}-{span}-01"), None),
            (format!("00-{}-{span}-01", "0".repeat(32)), None),
            (format!("00-{trace}-{}-01", "0".repeat(16)), None),
            (format!("00-{}-{span}-01", trace.to_uppercase()), None),
            (format!("00-{trace}-{span}"), None),
            (String::new(), None),
        ] {
            assert_eq!(parent(&text), expected, "{text}");
        }
    }
}
