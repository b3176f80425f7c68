//! Target files, in vegeta's two formats.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use hyper::body::Bytes;
use serde::Deserialize;

/// How targets are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `METHOD URL`, headers, `@FILE` for the body, an empty line.
    Http,
    /// One object a line: `method`, `url`, `header`, `body` in base64.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "http" => Ok(Self::Http),
            "json" => Ok(Self::Json),
            _ => Err(format!("unknown target format {text:?}; give http or json")),
        }
    }
}

/// One request to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its method, in capitals.
    pub method: String,
    /// Its URL as it was written.
    pub url: String,
    /// The same with everything escaped that a request's line cannot hold.
    pub uri: Uri,
    /// Its headers in their order, their names' case as it was written.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
}

/// What every target gets.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// Headers, before a target's own.
    pub headers: Vec<(String, String)>,
    /// The body of a target without one.
    pub body: Bytes,
}

/// Why targets could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Reading itself failed.
    #[error("failed to read the targets after line {line}: {source}")]
    Read {
        /// The last line that was read.
        line: u64,
        /// The system's error.
        source: io::Error,
    },
    /// A line is not what it must be.
    #[error("targets, line {line}: {why}")]
    Malformed {
        /// Its number, from 1.
        line: u64,
        /// What was expected and what was found.
        why: String,
    },
    /// A body file cannot be read.
    #[error("targets, line {line}: failed to read the body file {path}: {source}")]
    Body {
        /// The line that names it, from 1.
        line: u64,
        /// The file.
        path: String,
        /// The system's error.
        source: io::Error,
    },
}

/// Reads a `-header`: `Name: value`, the name's case kept.
///
/// # Errors
/// If either is missing.
pub fn parse_header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':').map(|(name, value)| (name.trim(), value.trim())) {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("bad header {text:?}; write it as `Name: value`")),
    }
}

/// Reads targets one by one: an iterator, so that they can be read as they are needed or all at once.
pub struct Targets<R, F> {
    lines: R,
    format: Format,
    defaults: Defaults,
    body_file: F,
    line: u64,
    /// A line that was read and belongs to the next target.
    ahead: Option<String>,
    /// After an error nothing more is read: what follows would be guessed at.
    ended: bool,
}

impl<R: BufRead, F: FnMut(&Path) -> io::Result<Vec<u8>>> Targets<R, F> {
    /// Reads targets; `body_file` is called with each body file's path.
    pub fn new(lines: R, format: Format, defaults: Defaults, body_file: F) -> Self {
        Self { lines, format, defaults, body_file, line: 0, ahead: None, ended: false }
    }

    /// The next line without what surrounds it, or none at the end.
    fn line(&mut self) -> Result<Option<String>, TargetError> {
        if let Some(line) = self.ahead.take() {
            return Ok(Some(line));
        }
        let mut text = Vec::new();
        let read = self.lines.read_until(b'\n', &mut text);
        read.map_err(|source| TargetError::Read { line: self.line, source })?;
        if text.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        let text = str::from_utf8(&text).map_err(|_| self.malformed("it is not UTF-8"))?;
        Ok(Some(text.trim().to_owned()))
    }

    fn malformed(&self, why: impl Into<String>) -> TargetError {
        TargetError::Malformed { line: self.line, why: why.into() }
    }

    fn http(&mut self) -> Result<Option<Target>, TargetError> {
        let first = loop {
            match self.line()? {
                None => return Ok(None),
                Some(line) if line.is_empty() || line.starts_with('#') => {}
                Some(line) => break line,
            }
        };
        let Some((method, url)) = first.split_once(char::is_whitespace) else {
            return Err(self.malformed(format!("bad target {first:?}; write it as `GET http://HOST/PATH`")));
        };
        if !is_method(method) {
            return Err(
                self.malformed(format!("bad method {method:?}; write it in capitals, as `GET http://HOST/PATH`"))
            );
        }
        let mut target = self.target(method, url.trim())?;
        while let Some(line) = self.line()? {
            if line.is_empty() {
                break;
            }
            if let Some(path) = line.strip_prefix('@') {
                let body = (self.body_file)(Path::new(path));
                let path = path.to_owned();
                target.body = body.map_err(|source| TargetError::Body { line: self.line, path, source })?.into();
                break;
            }
            if line.split_once(char::is_whitespace).is_some_and(|(method, _)| is_method(method)) {
                self.ahead = Some(line);
                break;
            }
            if !line.starts_with('#') {
                target.headers.push(parse_header(&line).map_err(|why| self.malformed(why))?);
            }
        }
        Ok(Some(target))
    }

    fn json(&mut self) -> Result<Option<Target>, TargetError> {
        let line = loop {
            match self.line()? {
                None => return Ok(None),
                Some(line) if line.is_empty() => {}
                Some(line) => break line,
            }
        };
        let read: Line<'_> = serde_json::from_str(&line).map_err(|error| {
            let text = error.to_string();
            let why = text.split(" at line ").next().unwrap_or_default();
            self.malformed(format!("bad target: {why}, at column {}", error.column()))
        })?;
        if read.method.is_empty() {
            return Err(self.malformed("required method is missing"));
        }
        if read.url.is_empty() {
            return Err(self.malformed("required url is missing"));
        }
        let mut target = self.target(&read.method, &read.url)?;
        for (name, values) in read.header.unwrap_or_default() {
            target.headers.extend(values.into_iter().map(|value| (name.clone(), value)));
        }
        if let Some(body) = read.body.filter(|body| !body.is_empty()) {
            let decoded = STANDARD.decode(body.as_bytes());
            target.body = decoded.map_err(|error| self.malformed(format!("its body is no base64: {error}")))?.into();
        }
        Ok(Some(target))
    }

    /// A target with the defaults.
    fn target(&self, method: &str, url: &str) -> Result<Target, TargetError> {
        let bad = |why: &str| self.malformed(format!("bad URL {url:?}: {why}; write it as http://HOST[:PORT]/PATH"));
        let uri: Uri = escaped(url).parse().map_err(|error: http::uri::InvalidUri| bad(&error.to_string()))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(bad("it begins with neither http:// nor https://"));
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(bad("it has no host"));
        }
        let Defaults { headers, body } = self.defaults.clone();
        Ok(Target { method: method.to_owned(), url: url.to_owned(), uri, headers, body })
    }
}

impl<R: BufRead, F: FnMut(&Path) -> io::Result<Vec<u8>>> Iterator for Targets<R, F> {
    type Item = Result<Target, TargetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = match self.format {
            Format::Http => self.http(),
            Format::Json => self.json(),
        };
        self.ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow, default)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    url: Cow<'a, str>,
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    header: Option<BTreeMap<String, Vec<String>>>,
}

fn is_method(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// What a request's line cannot hold is written in percents, as Go's client does.
fn escaped(url: &str) -> String {
    let mut escaped = String::with_capacity(url.len());
    for byte in url.bytes() {
        match byte {
            0..=b' ' | 0x7f.. | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                escaped.push_str(&format!("%{byte:02X}"));
            }
            _ => escaped.push(byte.into()),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: Format, text: &str) -> Result<Vec<Target>, TargetError> {
        let defaults = Defaults { headers: vec![("X-All".into(), "1".into())], body: "all".into() };
        let body_file = |path: &Path| match path.to_str() {
            Some("body.txt") => Ok(b"a body".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        Targets::new(text.as_bytes(), format, defaults, body_file).collect()
    }

    fn names(target: &Target) -> Vec<String> {
        target.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn http_targets_with_all_that_they_may_have() {
        let text = "# a comment\n\nGET http://a/1\nGET http://a/2?x=<y>\n\n  POST   http://a/3  \r\nx-Lower: v:w \n# in \
                    between\nX-Two:2\n@body.txt\nPURGE http://a/4\nX-One: 1\nGET http://a/5";
        let targets = read(Format::Http, text).unwrap();
        let urls: Vec<_> = targets.iter().map(|target| (target.method.as_str(), target.url.as_str())).collect();
        assert_eq!(
            urls,
            [
                ("GET", "http://a/1"),
                ("GET", "http://a/2?x=<y>"),
                ("POST", "http://a/3"),
                ("PURGE", "http://a/4"),
                ("GET", "http://a/5")
            ]
        );
        assert_eq!(targets[1].uri, "http://a/2?x=%3Cy%3E");
        assert_eq!(names(&targets[2]), ["X-All: 1", "x-Lower: v:w", "X-Two: 2"]);
        assert_eq!((&targets[2].body[..], &targets[3].body[..]), (&b"a body"[..], &b"all"[..]));
    }

    #[test]
    fn json_targets_with_all_that_they_may_have() {
        let text = "\n{\"method\":\"GET\",\"url\":\"http://a/\"}\n\n{\"method\":\"POST\",\"url\":\"http://a/\",\
                    \"body\":\"YSBib2R5\",\"header\":{\"X-All\":[\"2\",\"3\"],\"b\":[\"c\"]}}";
        let targets = read(Format::Json, text).unwrap();
        assert_eq!(names(&targets[0]), ["X-All: 1"]);
        assert_eq!(names(&targets[1]), ["X-All: 1", "X-All: 2", "X-All: 3", "b: c"]);
        assert_eq!((&targets[0].body[..], &targets[1].body[..]), (&b"all"[..], &b"a body"[..]));
    }

    #[test]
    fn a_broken_target_names_its_line() {
        for (format, text, line, why) in [
            (Format::Http, "GET http://a/\n\nnonsense", 3, "bad target \"nonsense\""),
            (Format::Http, "\nget http://a/", 2, "bad method \"get\""),
            (Format::Http, "GET foo", 1, "bad URL \"foo\""),
            (Format::Http, "GET ftp://a/", 1, "neither http:// nor https://"),
            (Format::Http, "GET http:///x", 1, "bad URL"),
            (Format::Http, "GET http://a/\nX-One", 2, "bad header \"X-One\""),
            (Format::Http, "GET http://a/\n# c\n: v", 3, "bad header"),
            (Format::Http, "GET http://a/\n@gone.txt", 2, "gone.txt"),
            (Format::Json, "{\"method\":\"GET\",\"url\":\"http://a/\"}\n{}", 2, "required method is missing"),
            (Format::Json, "{\"method\":\"GET\"}", 1, "required url is missing"),
            (Format::Json, "\n{\"method\":", 2, "EOF"),
            (Format::Json, "{\"method\":\"GET\",\"url\":\"http://a/\",\"headers\":{}}", 1, "unknown field `headers`"),
            (Format::Json, "{\"method\":\"GET\",\"url\":\"http://a/\",\"body\":\"%\"}", 1, "no base64"),
        ] {
            let error = read(format, text).expect_err(text).to_string();
            assert!(error.contains(&format!("line {line}:")) && error.contains(why), "{error}");
        }
    }

    #[test]
    fn targets_are_read_as_they_are_needed() {
        let text = "GET http://a/1\n\nGET http://a/2\n\nbroken";
        let mut targets = Targets::new(text.as_bytes(), Format::Http, Defaults::default(), |_: &Path| Ok(Vec::new()));
        assert!(targets.next().unwrap().is_ok() && targets.next().unwrap().is_ok());
        assert!(targets.next().unwrap().is_err() && targets.next().is_none(), "an error ends them");
    }
}
