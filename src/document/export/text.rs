//! Texts and names of Rust.

use std::collections::BTreeSet;
use std::time::Duration;

/// A text as Rust writes it.
pub(super) fn literal(text: &str) -> String {
    format!("{text:?}")
}

/// A duration, by the functions of the prelude.
pub(super) fn duration(duration: Duration) -> String {
    match duration.subsec_nanos() {
        0 => format!("secs({})", duration.as_secs()),
        nanos if nanos.is_multiple_of(1_000_000) => format!("millis({})", duration.as_millis()),
        _ => format!("std::time::Duration::from_nanos({})", duration.as_nanos()),
    }
}

/// A number as a literal of type `f64`.
pub(super) fn float(number: f64) -> String {
    format!("{number:?}")
}

/// The words that are no names.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// A name out of any text: its letters and digits in lower case, joined by `_`. `otherwise` where it has none.
pub(super) fn identifier(text: &str, otherwise: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_");
    match name.as_bytes().first() {
        None => otherwise.to_owned(),
        Some(first) if first.is_ascii_digit() => format!("{otherwise}_{name}"),
        Some(_) if KEYWORDS.contains(&name.as_str()) => format!("{name}_"),
        Some(_) => name,
    }
}

/// Names of which each is given once.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// These are taken.
    pub(super) fn without(taken: &[&str]) -> Self {
        Self(taken.iter().map(|name| (*name).to_owned()).collect())
    }

    /// A new one.
    pub(super) fn new_name(&mut self, text: &str, otherwise: &str) -> String {
        let wanted = identifier(text, otherwise);
        let numbered = (2..).map(|number| format!("{wanted}_{number}"));
        let mut all = std::iter::once(wanted.clone()).chain(numbered);
        let name = all.find(|name| !self.0.contains(name)).unwrap_or(wanted);
        self.0.insert(name.clone());
        name
    }
}

/// A text of one line, for a comment: nothing of it ends the comment.
pub(super) fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_rust_s() {
        for (text, name) in [
            ("We stay up!", "we_stay_up"),
            ("", "test"),
            ("¿?", "test"),
            ("3 replicas", "test_3_replicas"),
            ("match", "match_"),
            ("a\"; fn evil() {}", "a_fn_evil"),
        ] {
            assert_eq!(identifier(text, "test"), name);
        }
        let mut names = Names::without(&["cluster"]);
        let made = [names.new_name("cluster", "x"), names.new_name("Cluster", "x"), names.new_name("a", "x")];
        assert_eq!(made, ["cluster_2", "cluster_3", "a"]);
    }

    #[test]
    fn texts_stay_within_their_quotes() {
        assert_eq!(literal("a\"b\\c\n{x}"), r#""a\"b\\c\n{x}""#);
        assert_eq!(comment("a\nlet evil = 1;\r\u{2028}b"), "a let evil = 1;  b");
        assert_eq!(duration(Duration::from_millis(1500)), "millis(1500)");
        assert_eq!(duration(Duration::from_secs(2)), "secs(2)");
    }
}
