//! What is wrong with a query that does not parse.

use promql_parser::parser::{lexer, parse};

/// What the parser says of anything that its grammar does not know.
const INVALID: &str = "invalid promql query";

/// What may stand where an operand, an argument or a matcher is missing.
const MISSING: &[&str] = &["", "x", "1", "5m", "\"\"", "=\"\"", "x=\"\"", "(x)", "(1,x)", "x[5m]", "[5m]", "bool x"];

/// Why a query does not parse, with the place where that is certain.
pub(super) fn why(query: &str, error: &str) -> String {
    if error == INVALID {
        return unknown_to_the_grammar(query);
    }
    // What the lexer stumbles over it stumbles over in every longer text too; what only is not closed, an end may close.
    if !error.starts_with("unexpected ") || error.starts_with("unexpected end") {
        return error.to_owned();
    }
    let same = |end: usize| parse(&query[..end]).is_err_and(|other| other == error);
    let ends: Vec<usize> = query.char_indices().map(|(at, letter)| at + letter.len_utf8()).collect();
    let fine = ends.iter().rposition(|end| !same(*end));
    match fine.map_or(Some(0), |fine| Some(fine + 1)).filter(|first| *first < ends.len()) {
        Some(first) => format!("{error} (column {})", first + 1),
        None => error.to_owned(),
    }
}

fn unknown_to_the_grammar(query: &str) -> String {
    let tokens = tokens(query);
    let begins = |count: usize| tokens.get(count.wrapping_sub(1)).map_or("", |(at, token)| &query[..at + token.len()]);
    // The longest beginning for which there is an end.
    let fine = (0..=tokens.len()).rev().find(|count| *count == 0 || may_go_on(begins(*count))).unwrap_or_default();
    match tokens.get(fine) {
        None => "it is not complete: something is missing at its end".to_owned(),
        Some((at, token)) => {
            let column = query[..*at].chars().count() + 1;
            let before = begins(fine);
            if before.is_empty() {
                format!("no query begins with {token:?} (column {column})")
            } else {
                format!("it goes wrong after {before:?}, where {token:?} stands (column {column})")
            }
        }
    }
}

/// Whether something may follow that makes it a query, as far as the grammar goes.
fn may_go_on(beginning: &str) -> bool {
    let mut open = Vec::new();
    for (_, token) in tokens(beginning) {
        match token {
            "(" => open.push(")"),
            "{" => open.push("}"),
            "[" => open.push("]"),
            ")" | "}" | "]" => drop(open.pop()),
            _ => {}
        }
    }
    let closing: String = open.into_iter().rev().collect();
    let ends = MISSING.iter().flat_map(|missing| ["", " x", "(x)"].map(|after| format!(" {missing}{closing}{after}")));
    ends.into_iter().map(|end| format!("{beginning}{end}")).any(|whole| {
        // Types and arguments are looked at once the grammar is content.
        lexer(&whole).is_ok() && parse(&whole).err().is_none_or(|error| error != INVALID)
    })
}

/// Words, texts and signs, with where each begins.
fn tokens(query: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    let mut rest = query.char_indices().peekable();
    while let Some((at, letter)) = rest.next() {
        if letter.is_whitespace() {
            continue;
        }
        let word = |letter: char| letter.is_alphanumeric() || "_:.".contains(letter);
        let mut end = at + letter.len_utf8();
        let (mut escaped, mut closed) = (false, false);
        while let Some((next, other)) = rest.peek().copied() {
            let goes_on = match letter {
                '"' | '\'' | '`' => {
                    let inside = !closed;
                    closed = closed || (other == letter && !escaped);
                    escaped = other == '\\' && letter != '`' && !escaped;
                    inside
                }
                _ if word(letter) => word(other),
                '=' | '!' | '<' | '>' => end == at + 1 && "=~".contains(other),
                _ => false,
            };
            if !goes_on {
                break;
            }
            end = next + other.len_utf8();
            rest.next();
        }
        tokens.push((at, &query[at..end]));
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_named_where_it_is_certain() {
        for (query, told) in [
            ("rate(x[1m]) +", "it is not complete: something is missing at its end"),
            ("sum by (a", "unclosed left parenthesis"),
            ("x + * y", "it goes wrong after \"x +\", where \"*\" stands (column 5)"),
            ("sum(x) sum(y)", "it goes wrong after \"sum(x)\", where \"sum\" stands (column 8)"),
            ("* x", "no query begins with \"*\" (column 1)"),
            ("x{a=\"b\" c=\"d\"}", "it goes wrong after \"x{a=\\\"b\\\"\", where \"c\" stands (column 9)"),
            ("x $ y", "unexpected character: '$' (column 3)"),
            ("é", "unexpected character: 'é' (column 1)"),
            ("sum(x))", "unexpected right parenthesis ')' (column 7)"),
            ("x{a=\"b", "unterminated quoted string \""),
        ] {
            let error = parse(query).expect_err(query);
            assert_eq!(why(query, &error), told, "{query}: {error}");
        }
    }

    #[test]
    fn what_parses_may_go_on_and_so_may_its_beginnings() {
        for query in
            ["sum by (a, b) (rate(x{a=\"b\",c!~\"d.*\"}[5m] offset 1h)) > bool 3", "x and on (a) y", "-x", "'a\\'b'"]
        {
            assert!(parse(query).is_ok(), "{query}");
            for (at, token) in tokens(query) {
                assert!(may_go_on(&query[..at + token.len()]), "{}", &query[..at + token.len()]);
            }
        }
    }
}
