//! What is sent, in turn.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::str::FromStr;

use http::Uri;

use super::Options;
use crate::load::vegeta::{Defaults, Target, Targets};

/// The most targets of one attack.
pub(super) const MOST: usize = 100_000;

/// A `-connect-to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Detour {
    from: (String, u16),
    to: (String, u16),
}

impl FromStr for Detour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no detour; write it as SRCHOST:SRCPORT:DSTHOST:DSTPORT");
        let parts: Vec<&str> = text.split(':').collect();
        let [from, from_port, to, to_port] = parts[..] else { return Err(wrong()) };
        let port = |port: &str| port.parse::<u16>().map_err(|_| wrong());
        if from.is_empty() || to.is_empty() {
            return Err(wrong());
        }
        Ok(Self { from: (from.to_owned(), port(from_port)?), to: (to.to_owned(), port(to_port)?) })
    }
}

/// Reads the targets, `most` at most, and says whether there are more.
pub(super) fn read(options: &Options, most: usize) -> Result<(Vec<Target>, bool), String> {
    let body = match &options.body {
        None => Vec::new(),
        Some(path) => {
            fs::read(path).map_err(|error| format!("failed to read the body file {}: {error}", path.display()))?
        }
    };
    let source: Box<dyn BufRead> = match options.targets.as_str() {
        "stdin" => Box::new(io::stdin().lock()),
        path => Box::new(BufReader::new(File::open(path).map_err(|error| format!("failed to open {path}: {error}"))?)),
    };
    let defaults = Defaults { headers: options.header.clone(), body: body.into() };
    let mut read = Targets::new(source, options.format, defaults, |path| fs::read(path));
    let mut targets = Vec::new();
    while targets.len() < most {
        match read.next() {
            None => return Ok((targets, false)),
            Some(target) => targets.push(target.map_err(|error| format!("{}: {error}", options.targets))?),
        }
    }
    // Of an endless stream no more is read than is sent.
    let more = most >= MOST && read.next().is_some();
    Ok((targets, more))
}

/// Sends targets by their detours: each is written out once for each place that it goes to in turn.
pub(super) fn detoured(targets: Vec<Target>, detours: &[Detour]) -> Result<Vec<(Target, Uri)>, String> {
    let mut ways = Vec::new();
    for target in &targets {
        let secure = target.uri.scheme_str() == Some("https");
        let host = target.uri.host().unwrap_or_default();
        let from = (host, target.uri.port_u16().unwrap_or(if secure { 443 } else { 80 }));
        let places: Vec<_> = detours.iter().filter(|way| (way.from.0.as_str(), way.from.1) == from).collect();
        if secure && !places.is_empty() {
            return Err(format!("-connect-to is supported for http:// targets alone, not for {}", target.url));
        }
        ways.push(places);
    }
    let turns = ways.iter().map(|places| places.len().max(1)).fold(1, least_common_multiple);
    if turns.saturating_mul(targets.len()) > MOST {
        return Err(format!("the detours of {} targets take turns for more than {MOST} requests", targets.len()));
    }
    let mut all = Vec::new();
    for turn in 0..turns {
        for (target, places) in targets.iter().zip(&ways) {
            let mut target = target.clone();
            let uri = match places.get(turn % places.len().max(1)) {
                None => target.uri.clone(),
                Some(Detour { to: (host, port), .. }) => {
                    let path = target.uri.path_and_query().map_or("/", |path| path.as_str());
                    let own = target.uri.authority().map_or_else(String::new, ToString::to_string);
                    if !target.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
                        target.headers.push(("Host".to_owned(), own));
                    }
                    let uri = format!("http://{host}:{port}{path}");
                    uri.parse().map_err(|error| format!("-connect-to {host}:{port}: {error}"))?
                }
            };
            all.push((target, uri));
        }
    }
    Ok(all)
}

fn least_common_multiple(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x).saturating_mul(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        let targets = Targets::new(url.as_bytes(), crate::load::vegeta::Format::Http, Defaults::default(), |_| {
            Err(io::ErrorKind::NotFound.into())
        });
        targets.into_iter().next().unwrap().unwrap()
    }

    #[test]
    fn detours_take_turns_and_keep_the_host() {
        let detours: Vec<Detour> =
            ["a:80:b:1", "a:80:c:2", "d:81:e:3"].iter().map(|text| text.parse().unwrap()).collect();
        let sent = detoured(vec![target("GET http://a/x?y"), target("GET http://f/")], &detours).unwrap();
        let uris: Vec<_> = sent.iter().map(|(target, uri)| (target.url.as_str(), uri.to_string())).collect();
        let expected = [
            ("http://a/x?y", "http://b:1/x?y".to_owned()),
            ("http://f/", "http://f/".to_owned()),
            ("http://a/x?y", "http://c:2/x?y".to_owned()),
            ("http://f/", "http://f/".to_owned()),
        ];
        assert_eq!(uris, expected);
        assert_eq!(sent[0].0.headers, [("Host".to_owned(), "a".to_owned())]);
        assert!(detoured(vec![target("GET https://a:80/")], &detours).unwrap_err().contains("http:// targets alone"));
        for wrong in ["a:80:b", "a:80:b:x", ":80:b:1", "a:80:b:1:2"] {
            assert!(wrong.parse::<Detour>().is_err(), "{wrong}");
        }
    }
}
