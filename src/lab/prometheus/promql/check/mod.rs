//! Whether Prometheus 2.42 would take a query, and what it says if not.
//!
//! The tree that is evaluated is `promql-parser`'s. That one follows the grammar of later versions, tells no
//! positions, and panics on some texts; so each query passes here first, and only what 2.42 takes goes on.

mod calls;
mod operators;
mod selectors;

use super::functions::Type;
use super::lex::{Kind, Lexer, Token, quoted};
use super::literals::unquoted;

/// How deep expressions may be nested in each other: each level costs stack.
const DEEPEST: usize = 100;

/// Why a query is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lab::prometheus) enum Wrong {
    /// `1:6: parse error: …`
    Parse(String),
    /// Right, but more than the lab does.
    TooDeep,
    /// A function that later versions have.
    Later(String),
}

/// The place in bytes, and the text.
type Complaint = (usize, String);

/// An expression, as far as what stands around it must know.
#[derive(Clone, Copy)]
struct Checked {
    at: usize,
    of: Type,
    form: Form,
    depth: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// A selector with or without a range, or a subquery; whether it has an offset and an `@`.
    Shiftable {
        instant: bool,
        offset: bool,
        at: bool,
    },
    Other,
}

struct Checker<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    token: Token,
    /// The first error of the grammar: they come before errors of types.
    complaint: Option<Complaint>,
    ill_typed: Option<Complaint>,
    /// The first function that is of a later version.
    later: Option<String>,
    too_deep: bool,
    level: usize,
    /// What the parser is to read in place of a token: the token's place and length, and the text.
    rewritten: Vec<(usize, usize, String)>,
}

/// Checks a query. Returns its type, and the query in the words that `promql-parser` knows.
pub(in crate::lab::prometheus) fn query(text: &str) -> Result<(Type, String), Wrong> {
    let mut checker = Checker::new(text);
    let checked = checker.whole();
    let checked = checker.verdict(checked)?;
    Ok((checked.of, checker.normal()))
}

/// Checks a text that is to be a selector and nothing more. Returns it as [`query`] does.
pub(in crate::lab::prometheus) fn selector(text: &str) -> Result<String, Wrong> {
    let mut checker = Checker::new(text);
    let checked = checker.only_selector();
    // Whether a matcher is there that is not empty is for the caller to say; and a second name is one more to match.
    checker.ill_typed = None;
    checker.verdict(checked)?;
    Ok(checker.normal())
}

impl<'a> Checker<'a> {
    fn new(text: &'a str) -> Self {
        let mut lexer = Lexer::new(text);
        let token = lexer.next();
        Self {
            text,
            lexer,
            token,
            complaint: None,
            ill_typed: None,
            later: None,
            too_deep: false,
            level: 0,
            rewritten: Vec::new(),
        }
    }

    fn verdict(&self, checked: Result<Checked, Complaint>) -> Result<Checked, Wrong> {
        let parse = |(at, why): &Complaint| {
            let before = &self.text.as_bytes()[..(*at).min(self.text.len())];
            let line = 1 + before.iter().filter(|letter| **letter == b'\n').count();
            let column = 1 + before.iter().rev().take_while(|letter| **letter != b'\n').count();
            Wrong::Parse(format!("{line}:{column}: parse error: {why}"))
        };
        if self.too_deep {
            return Err(Wrong::TooDeep);
        }
        if let Some(complaint) = &self.complaint {
            return Err(parse(complaint));
        }
        let checked = checked.map_err(|complaint| parse(&complaint))?;
        if let Some(later) = &self.later {
            return Err(Wrong::Later(later.clone()));
        }
        self.ill_typed.as_ref().map_or(Ok(checked), |complaint| Err(parse(complaint)))
    }

    fn normal(&self) -> String {
        let mut normal = self.text.to_owned();
        let mut rewritten = self.rewritten.clone();
        rewritten.sort_unstable();
        for (at, len, text) in rewritten.into_iter().rev() {
            normal.replace_range(at..at + len, &text);
        }
        normal
    }

    /// Reads a string. Its escapes are written anew, for the parser does not know them all.
    fn string(&mut self) -> String {
        let token = self.advance();
        let value = unquoted(&token.text);
        if token.text.contains('\\') {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            self.rewritten.push((token.at, token.text.len(), format!("\"{escaped}\"")));
        }
        value
    }

    fn advance(&mut self) -> Token {
        let next = self.lexer.next();
        std::mem::replace(&mut self.token, next)
    }

    /// An error that does not end the reading.
    fn complain(&mut self, at: usize, why: String) {
        self.complaint.get_or_insert((at, why));
    }

    fn ill_typed(&mut self, at: usize, why: impl Into<String>) {
        self.ill_typed.get_or_insert((at, why.into()));
    }

    fn unexpected<T>(&self, context: &str, expected: &str) -> Result<T, Complaint> {
        if self.token.kind == Kind::Error {
            return Err((self.token.at, self.token.text.clone()));
        }
        let mut why = format!("unexpected {}", self.token.described());
        if !context.is_empty() {
            why = format!("{why} in {context}");
        }
        if !expected.is_empty() {
            why = format!("{why}, expected {expected}");
        }
        Err((self.token.at, why))
    }

    fn whole(&mut self) -> Result<Checked, Complaint> {
        if self.token.kind == Kind::End {
            return Err((0, "no expression found in input".into()));
        }
        let checked = self.expression(0)?;
        if self.token.kind == Kind::End { Ok(checked) } else { self.unexpected("", "") }
    }

    fn only_selector(&mut self) -> Result<Checked, Complaint> {
        let named = self.is_metric_name();
        if !named && !self.token.is("{") {
            return self.unexpected("", "");
        }
        let checked = self.vector_selector(true)?;
        if self.token.kind == Kind::End { Ok(checked) } else { self.unexpected("", "") }
    }

    /// The type of `checked` must be `wanted`.
    fn expect(&mut self, checked: Checked, wanted: Type, context: &str) {
        if checked.of != wanted {
            let (wanted, got) = (wanted.documented(), checked.of.documented());
            self.ill_typed(checked.at, format!("expected type {wanted} in {context}, got {got}"));
        }
    }

    fn number(&mut self, token: &Token) -> f64 {
        let text = token.text.to_ascii_lowercase();
        let whole = match text.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16).ok(),
            None if text.starts_with('0') => i64::from_str_radix(&text, 8).ok(),
            None => None,
        };
        #[expect(clippy::cast_precision_loss, reason = "as the real one reads it")]
        if let Some(whole) = whole {
            return whole as f64;
        }
        let failed =
            |what: &str| format!("error parsing number: strconv.ParseFloat: parsing {}: {what}", quoted(&token.text));
        match text.parse::<f64>() {
            Ok(value) if value.is_infinite() && text != "inf" => {
                self.complain(token.at, failed("value out of range"));
                value
            }
            Ok(value) => value,
            Err(_) => {
                self.complain(token.at, failed("invalid syntax"));
                0.0
            }
        }
    }
}
