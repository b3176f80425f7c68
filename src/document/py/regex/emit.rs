//! A pattern in the syntax of `fancy-regex`.

use std::fmt::Write as _;

use super::class::{Category, Item};
use super::parse::{Greed, Look, Node};

pub(super) fn emit(pattern: &Node) -> String {
    let mut out = String::new();
    match pattern {
        // At the very end a look ahead can as well be a step ahead, which is found in linear time.
        Node::Sequence(nodes) if nodes.last() == Some(&Node::End { multiline: false }) => {
            nodes.iter().take(nodes.len() - 1).for_each(|node| write(&mut out, node));
            out.push_str(r"\n?\z");
        }
        _ => write(&mut out, pattern),
    }
    out
}

/// A character that means itself, wherever it stands.
fn plain(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || c == '_' {
        out.push(c);
    } else {
        // Writing to a text does not fail.
        let _ = write!(out, r"\x{{{:X}}}", u32::from(c));
    }
}

fn folded(out: &mut String, fold: bool, inner: impl FnOnce(&mut String)) {
    if fold {
        out.push_str("(?i:");
        inner(out);
        out.push(')');
    } else {
        inner(out);
    }
}

/// A kind of characters, as the inside of a set.
fn category(out: &mut String, Category { letter, negated, ascii }: Category) {
    let positive = match (letter, ascii) {
        ('d', true) => "0-9",
        ('d', false) => r"\p{Nd}",
        ('s', true) => r"\t-\r\x20",
        ('s', false) => r"\s\x1c-\x1f",
        (_, true) => "0-9A-Za-z_",
        (_, false) => r"\p{L}\p{N}_",
    };
    if negated {
        let _ = write!(out, "[^{positive}]");
    } else {
        out.push_str(positive);
    }
}

fn set(out: &mut String, negated: bool, items: &[Item]) {
    out.push_str(if negated { "[^" } else { "[" });
    for item in items {
        match item {
            Item::Char(c) => plain(out, *c),
            Item::Range(low, high) => {
                plain(out, *low);
                out.push('-');
                plain(out, *high);
            }
            Item::Category(it) => category(out, *it),
        }
    }
    out.push(']');
}

fn group(out: &mut String, open: &str, inner: &Node) {
    out.push_str(open);
    write(out, inner);
    out.push(')');
}

fn write(out: &mut String, node: &Node) {
    match node {
        Node::Char { c, fold } => folded(out, *fold, |out| plain(out, *c)),
        Node::Any { newline: true } => out.push_str("(?s:.)"),
        Node::Any { newline: false } => out.push_str(r"[^\n]"),
        Node::Set { negated, items, fold } => folded(out, *fold, |out| set(out, *negated, items)),
        Node::Start { multiline: true } => out.push_str("(?m:^)"),
        Node::Start { multiline: false } => out.push_str(r"\A"),
        Node::End { multiline: true } => out.push_str("(?m:$)"),
        // Also before a newline that ends the text.
        Node::End { multiline: false } => out.push_str(r"(?=\n?\z)"),
        Node::VeryEnd => out.push_str(r"\z"),
        Node::Boundary { negated, ascii: false } => out.push_str(if *negated { r"\B" } else { r"\b" }),
        Node::Boundary { negated, ascii: true } => {
            let (before, after) = ("(?<=[0-9A-Za-z_])", "(?=[0-9A-Za-z_])");
            let (not_before, not_after) = ("(?<![0-9A-Za-z_])", "(?![0-9A-Za-z_])");
            let _ = if *negated {
                write!(out, "(?:{before}{after}|{not_before}{not_after})")
            } else {
                write!(out, "(?:{before}{not_after}|{not_before}{after})")
            };
        }
        Node::Sequence(nodes) => nodes.iter().for_each(|node| write(out, node)),
        Node::Either(branches) => {
            for (index, branch) in branches.iter().enumerate() {
                out.push_str(if index == 0 { "(?:" } else { "|" });
                write(out, branch);
            }
            out.push(')');
        }
        Node::Repeat { node, least, most, greed } => {
            out.push_str(if *greed == Greed::Possessive { "(?>" } else { "(?:" });
            group(out, "(?:", node);
            let _ = match most {
                Some(most) => write!(out, "{{{least},{most}}}"),
                None => write!(out, "{{{least},}}"),
            };
            out.push_str(if *greed == Greed::Lazy { "?)" } else { ")" });
        }
        Node::Group { number: Some(_), inner } => group(out, "(", inner),
        Node::Group { number: None, inner } => group(out, "(?:", inner),
        Node::Atomic(inner) => group(out, "(?>", inner),
        Node::Look(look, inner) => group(
            out,
            match look {
                Look { behind: false, negated: false } => "(?=",
                Look { behind: false, negated: true } => "(?!",
                Look { behind: true, negated: false } => "(?<=",
                Look { behind: true, negated: true } => "(?<!",
            },
            inner,
        ),
        Node::Back { group, fold } => folded(out, *fold, |out| {
            let _ = write!(out, r"(?:\{group})");
        }),
        Node::If { group: number, yes, no } => {
            let _ = write!(out, "(?({number})");
            group(out, "(?:", yes);
            if let Some(no) = no {
                out.push('|');
                group(out, "(?:", no);
            }
            out.push(')');
        }
    }
}
