//! Pages of HTML that read nothing from a network: their frame and policy, escapes, axes and charts.
//!
//! Called by the load's plot and by reports. It promises: what is escaped is text and nothing else, wherever it stands;
//! a browser runs and shows the page's own style and script alone, and asks no network for anything.

pub(crate) mod chart;
pub(crate) mod scale;

use std::fmt::{Result, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Everything before the body's content: the title is escaped here, style and script must be our own.
pub(crate) fn begin(out: &mut String, title: &str, style: &str, script: &str) -> Result {
    let title = escaped(title);
    write!(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")?;
    write!(out, "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ")?;
    write!(out, "style-src 'sha256-{}'; script-src 'sha256-{}'; ", hash(style), hash(script))?;
    write!(out, "base-uri 'none'; form-action 'none'\">")?;
    write!(out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
    writeln!(out, "<title>{title}</title><style>{style}</style></head>\n<body>")
}

/// The end of a page that began with this script.
pub(crate) fn end(out: &mut String, script: &str) -> Result {
    writeln!(out, "<script>{script}</script></body></html>")
}

/// Data for the script, as JSON that cannot end its element.
pub(crate) fn data(value: &serde_json::Value) -> String {
    value.to_string().replace('<', "\\u003c")
}

/// The hash by which the page's policy knows its own style and script.
fn hash(text: &str) -> String {
    base64(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

/// Bytes in an address of scheme `data:`.
pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Text that is safe in HTML, in attributes too.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
