//! Queries as texts: what Prometheus 2.42 takes, and the trees of what it takes.

mod check;
mod functions;
mod lex;
mod literals;
#[cfg(test)]
mod tests;

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::token::T_EQL_REGEX;
use promql_parser::parser::{Expr, VectorSelector};
use regex::Regex;

pub(super) use functions::Type;
pub(super) use literals::milliseconds;

use super::labels::NAME;
use check::Wrong;
use lex::quoted;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refusal {
    /// The request is wrong: 400.
    BadData(String),
    /// The query is right, but cannot be answered: 422.
    Execution(String),
    /// It took too long: 503.
    Timeout(String),
}

/// A query that can be evaluated.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) expr: Expr,
    pub(super) of: Type,
}

fn refused(wrong: Wrong) -> Refusal {
    match wrong {
        Wrong::Parse(why) => Refusal::BadData(why),
        Wrong::Later(name) => Refusal::Execution(format!(
            "the lab does not evaluate the function {}: it answers as Prometheus 2.42, and later versions brought it",
            quoted(&name)
        )),
        Wrong::TooDeep => Refusal::Execution("the query is nested deeper than the lab evaluates".into()),
    }
}

/// Reads a query. The text of the error has no prefix: `1:6: parse error: …`.
pub(super) fn parse(text: &str) -> Result<Query, Refusal> {
    let (of, normal) = check::query(text).map_err(refused)?;
    let expr = promql_parser::parser::parse(&normal)
        .map_err(|why| Refusal::Execution(format!("the lab cannot read this query: {why}")))?;
    Ok(Query { expr, of })
}

/// Reads a selector: its matchers, the name's among them.
pub(super) fn selector(text: &str) -> Result<Vec<Matcher>, Refusal> {
    let normal = check::selector(text).map_err(refused)?;
    match promql_parser::parser::parse(&normal) {
        Ok(Expr::VectorSelector(selector)) => Ok(matchers(&selector)),
        // The parser refuses what may match anything. The caller sees that no matcher asks for anything.
        _ => Ok(vec![]),
    }
}

/// The matchers of a selector, the name's among them.
pub(super) fn matchers(selector: &VectorSelector) -> Vec<Matcher> {
    let name = selector.name.iter().map(|name| Matcher::new(MatchOp::Equal, NAME, name));
    name.chain(selector.matchers.matchers.iter().cloned()).collect()
}

/// A regular expression as matchers and `label_replace` use it: it must match the whole text.
pub(super) fn regular(text: &str) -> Result<Regex, String> {
    if let Some(twice) = nested_repetition(text) {
        return Err(format!("invalid nested repetition operator: `{twice}`"));
    }
    // Read as the parser reads those of matchers: a lone brace is itself, as in Go.
    let read = Matcher::new_matcher(T_EQL_REGEX, String::new(), text.to_owned());
    if let Ok(Matcher { op: MatchOp::Re(regex), .. }) = read {
        return Ok(regex);
    }
    Regex::new(&format!("^(?:{text})$")).map_err(|_| {
        let whole = format!("^(?:{text})$");
        let first = text.chars().next().unwrap_or_default();
        if let Some(at) = ["(?=", "(?!", "(?<"].iter().find(|look| text.contains(*look)) {
            return format!("invalid or unsupported Perl syntax: `{at}`");
        }
        if let Some(digit) = text.split('\\').nth(1).and_then(|rest| rest.chars().next()).filter(char::is_ascii_digit) {
            return format!("invalid escape sequence: `\\{digit}`");
        }
        if matches!(first, '*' | '+' | '?') {
            return format!("missing argument to repetition operator: `{first}`");
        }
        let unescaped = |letter: char| {
            let mut escaped = false;
            let mut count = 0;
            for found in text.chars() {
                count += usize::from(found == letter && !escaped);
                escaped = found == '\\' && !escaped;
            }
            count
        };
        if unescaped('(') > unescaped(')') {
            return format!("missing closing ): `{whole}`");
        }
        if unescaped('(') < unescaped(')') {
            return format!("unexpected ): `{whole}`");
        }
        if unescaped('[') > unescaped(']') {
            return format!("missing closing ]: `{}`", &whole[whole.find('[').unwrap_or(0)..]);
        }
        format!("invalid or unsupported Perl syntax: `{text}`")
    })
}

/// `**` and its like, which Go refuses and Rust does not.
fn nested_repetition(text: &str) -> Option<&str> {
    let (mut escaped, mut in_class, mut run) = (false, false, 0);
    for (at, letter) in text.char_indices() {
        let repeats = !escaped && !in_class && matches!(letter, '*' | '+' | '?');
        if repeats {
            run += 1;
            let lazy = run == 2 && letter == '?';
            if run > 2 || (run == 2 && !lazy) {
                return text.get(at + 1 - run..=at);
            }
        } else {
            run = 0;
        }
        match letter {
            '[' if !escaped => in_class = true,
            ']' if !escaped => in_class = false,
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
    }
    None
}

/// A query in its usual form.
pub(super) fn formatted(query: &Query) -> String {
    query.expr.prettify().replace("double_exponential_smoothing", "holt_winters")
}

/// `parse error` texts quote as Go does.
pub(super) fn go_quoted(text: &str) -> String {
    quoted(text)
}
