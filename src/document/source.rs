//! The text of a document as a value with its marks: from a file, from a URL, from bytes. JSON as JSON, YAML as
//! YAML 1.1 with the types of PyYAML's safe loader.
//!
//! A text is at most 16 MiB, nested at most 100 deep, and no more than a million values; its anchors and aliases copy at
//! most 100,000 values and 16 MiB of text: what passes here can be copied and walked without care.

mod json;
#[cfg(test)]
mod tests;
mod typing;
mod yaml;

use super::invalid::Invalid;
use super::marks::{Below, Entry, Mark, Marks, Path};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

const BYTES: u64 = 16 << 20;
const DEPTH: usize = 100;
const VALUES: usize = 1_000_000;
const COPIED_VALUES: usize = 100_000;
const COPIED_TEXT: usize = 16 << 20;
const NO_JSON_NUMBER: &str = "; NaN and Infinity are no JSON: write null, or a text";

/// The environment variable whose bearer token goes with the request for a document.
pub(crate) const TOKEN: &str = "CHAOSTOOLKIT_LOADER_AUTH_BEARER_TOKEN";

/// A document as it was read: the value, where everything stands, and what it is called in errors.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) value: Value,
    pub(crate) marks: Marks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
}

impl Format {
    /// The format that a file's name says; the original is strict about case.
    pub(crate) fn of_name(name: &str) -> Option<Format> {
        match name.rsplit_once('.')?.1 {
            "json" => Some(Format::Json),
            "yaml" | "yml" => Some(Format::Yaml),
            _ => None,
        }
    }
}

impl Source {
    /// Reads a file, whose name says the format.
    pub(crate) fn read(path: &std::path::Path) -> Result<Source, Invalid> {
        let name = path.display().to_string();
        let failed = |message: String| Invalid::of(&*name, message);
        let mut file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Invalid::of("", format!("Path \"{name}\" does not exist.")));
            }
            Err(error) => return Err(failed(format!("failed to read: {error}"))),
        };
        let format = Format::of_name(&name).ok_or_else(|| {
            failed("only files with json, yaml or yml extensions are supported, in lower case: rename it".into())
        })?;
        let mut bytes = Vec::new();
        file.by_ref()
            .take(BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(format!("failed to read: {error}")))?;
        Source::parse(&name, &bytes, format)
    }

    /// The document in `bytes`; `name` is what errors call it.
    pub(crate) fn parse(name: &str, bytes: &[u8], format: Format) -> Result<Source, Invalid> {
        let parsed = decode(bytes).and_then(|text| match format {
            Format::Json => json::parse(text),
            Format::Yaml => yaml::parse(text),
        });
        match parsed {
            Ok(Node { value, marks }) => Ok(Source { name: name.into(), value, marks }),
            Err(Failure { mark: Mark { line, column }, message }) => {
                Err(Invalid { message, file: name.into(), line, column, path: String::new() })
            }
        }
    }

    /// The document in the answer of a server, whose content type says the format.
    pub(crate) fn of_answer(url: &str, status: u16, content_type: &str, body: &[u8]) -> Result<Source, Invalid> {
        if status != 200 {
            let body: String = String::from_utf8_lossy(body).chars().take(500).collect();
            return Err(Invalid::of(url, format!("Failed to fetch the experiment: {body} (status {status})")));
        }
        let has = |kind: &str| content_type.contains(kind);
        if has("application/json") {
            Source::parse(url, body, Format::Json)
        } else if has("application/x-yaml") || has("text/yaml") {
            Source::parse(url, body, Format::Yaml)
        } else if has("text/plain") {
            // What is JSON but for its NaN is no YAML either: there it would be a text.
            Source::parse(url, body, Format::Json).or_else(|error| match error.message.ends_with(NO_JSON_NUMBER) {
                true => Err(error),
                false => Source::parse(url, body, Format::Yaml),
            })
        } else {
            Err(Invalid::of(
                url,
                format!(
                    "only files with json, yaml or yml extensions are supported: the server says `{content_type}`, \
                     not application/json, application/x-yaml, text/yaml or text/plain"
                ),
            ))
        }
    }

    /// The document at an `http(s)://` URL. `authorization` is the value of that header; the whole
    /// takes at most a minute.
    pub(crate) async fn fetch(
        client: &reqwest::Client,
        url: &str,
        authorization: Option<&str>,
    ) -> Result<Source, Invalid> {
        let shown = without_user(url);
        let failed = |error: reqwest::Error| {
            // The URL in it may hold a password.
            let error = error.without_url();
            let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
            let message = causes.fold(format!("failed to fetch: {error}"), |all, cause| format!("{all}: {cause}"));
            Invalid::of(&*shown, message)
        };
        let mut request = client
            .get(url)
            .timeout(Duration::from_secs(60))
            .header(reqwest::header::ACCEPT, "application/json, application/x-yaml");
        if let Some(authorization) = authorization {
            request = request.header(reqwest::header::AUTHORIZATION, authorization);
        }
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let kind = answer.headers().get(reqwest::header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        let mut body = Vec::new();
        while body.len() as u64 <= BYTES {
            let Some(chunk) = answer.chunk().await.map_err(failed)? else { break };
            body.extend_from_slice(&chunk);
        }
        Source::of_answer(&shown, status, &kind, &body)
    }

    /// The error (or warning) `message` at `path`.
    pub(crate) fn invalid(&self, path: &Path, message: impl Into<String>) -> Invalid {
        let Mark { line, column } = self.marks.nearest(path);
        Invalid { message: message.into(), file: self.name.clone(), line, column, path: path.to_string() }
    }

    /// The keys of the mapping at `path`, in the order of the text.
    pub(crate) fn keys(&self, path: &Path) -> Vec<&str> {
        self.marks.get(path).map(|marks| marks.keys().collect()).unwrap_or_default()
    }
}

/// Whether a source is a URL to fetch, and not a file.
pub(crate) fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// The host of a URL with its port, as the settings name it.
pub(crate) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// A URL as it may be shown: without user and password.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let user = rest[..authority].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[user..])
}

fn decode(bytes: &[u8]) -> Result<&str, Failure> {
    if bytes.len() as u64 > BYTES {
        return Err(Failure::at(0, 0, "the text is longer than 16 MiB"));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let (line, column) =
            (before.matches('\n').count() + 1, before.chars().rev().take_while(|one| *one != '\n').count() + 1);
        Failure::at(line, column, "the text is not UTF-8: save it as UTF-8")
    })
}

/// What is wrong with a text.
#[derive(Debug)]
struct Failure {
    mark: Mark,
    message: String,
}

impl Failure {
    fn at(line: usize, column: usize, message: &str) -> Self {
        Failure { mark: Mark { line, column }, message: message.into() }
    }

    /// `serde_json` counts columns in bytes.
    fn of_json(text: &str, error: &serde_json::Error) -> Self {
        let (line, bytes) = (error.line(), error.column());
        let whole = text.split('\n').nth(line.saturating_sub(1)).unwrap_or_default();
        let column = whole.char_indices().take_while(|(at, _)| *at < bytes).count().max(1);
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        let hint = if whole.contains("NaN") || whole.contains("Infinity") { NO_JSON_NUMBER } else { "" };
        Failure::at(line, column, &format!("the text is not JSON: {message}{hint}"))
    }
}

fn too_long(number: &str) -> String {
    format!("the whole number {number} does not fit into 64 bits: write it as a text")
}

/// A value while it is built.
#[derive(Debug, Clone)]
struct Node {
    value: Value,
    marks: Marks,
}

impl Node {
    fn leaf(line: usize, column: usize, value: Value) -> Node {
        Node { value, marks: Marks { mark: Mark { line, column }, below: Below::Leaf } }
    }

    fn list(line: usize, column: usize, items: Vec<Node>) -> Node {
        let (values, marks) = items.into_iter().map(|item| (item.value, item.marks)).unzip();
        Node { value: Value::Array(values), marks: Marks { mark: Mark { line, column }, below: Below::List(marks) } }
    }

    /// Of a key that is written twice the last value holds, at the place of the first: as a Python dict does it.
    fn map(line: usize, column: usize, entries: Vec<(String, (usize, usize), Node)>) -> Node {
        let mut places = BTreeMap::new();
        let mut values = Map::new();
        let mut order: Vec<Entry> = Vec::with_capacity(entries.len());
        for (key, (line, column), node) in entries {
            let entry = Entry { key: key.clone(), mark: Mark { line, column }, value: node.marks };
            match places.get(&key) {
                Some(at) => order[*at] = entry,
                None => {
                    places.insert(key.clone(), order.len());
                    order.push(entry);
                }
            }
            values.insert(key, node.value);
        }
        Node { value: Value::Object(values), marks: Marks { mark: Mark { line, column }, below: Below::Map(order) } }
    }
}

/// How many values a value is, and how much text.
fn size(value: &Value) -> (usize, usize) {
    match value {
        Value::Array(items) => items.iter().map(size).fold((1, 0), add),
        Value::Object(entries) => entries.iter().map(|(key, value)| add(size(value), (0, key.len()))).fold((1, 0), add),
        Value::String(text) => (1, text.len()),
        _ => (1, 0),
    }
}

/// How deep the values below a value stand.
fn height(value: &Value) -> usize {
    let below = |height: usize| height + 1;
    match value {
        Value::Array(items) => items.iter().map(height).max().map_or(0, below),
        Value::Object(entries) => entries.values().map(height).max().map_or(0, below),
        _ => 0,
    }
}

fn add(one: (usize, usize), other: (usize, usize)) -> (usize, usize) {
    (one.0 + other.0, one.1 + other.1)
}

/// Keeps what is built within the limits.
#[derive(Debug, Default)]
struct Builder {
    values: usize,
    /// Values and text.
    copied: (usize, usize),
}

impl Builder {
    /// One more value, `depth` deep.
    fn count(&mut self, line: usize, column: usize, depth: usize) -> Result<(), Failure> {
        self.values += 1;
        if self.values > VALUES {
            return Err(Failure::at(line, column, &format!("the text holds more than {VALUES} values")));
        }
        self.deep(line, column, depth)
    }

    fn deep(&self, line: usize, column: usize, depth: usize) -> Result<(), Failure> {
        if depth > DEPTH {
            return Err(Failure::at(line, column, &format!("the text is nested deeper than {DEPTH}")));
        }
        Ok(())
    }

    /// A value that an anchor keeps, or an alias repeats.
    fn copy(&mut self, line: usize, column: usize, value: &Value) -> Result<(), Failure> {
        self.copied = add(self.copied, size(value));
        if self.copied.0 > COPIED_VALUES || self.copied.1 > COPIED_TEXT {
            let message = format!(
                "anchors and aliases copy more than {COPIED_VALUES} values or {} MiB of text: write fewer aliases",
                COPIED_TEXT >> 20
            );
            return Err(Failure::at(line, column, &message));
        }
        Ok(())
    }
}
