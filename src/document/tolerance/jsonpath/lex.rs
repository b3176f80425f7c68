//! Words of a path.

use super::PathError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// `$ @ . .. * = != < <= > >= [ ] { } ( ) : , ?`
    Sign(&'static str),
    /// A name, or one of `and or not true false null`.
    Name(String),
    /// A quoted text, as it is written between its quotes.
    Quoted(String),
    /// A number, as it is written.
    Number(String),
    /// The end of the path.
    End,
}

/// A word and its column, from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) word: Word,
    pub(super) column: usize,
}

/// The longer ones before what they begin with.
const SIGNS: [&str; 20] =
    ["..", "!=", "<=", ">=", "$", "@", ".", "*", "=", "<", ">", "[", "]", "{", "}", "(", ")", ":", ",", "?"];

pub(super) fn lex(path: &str) -> Result<Vec<Placed>, PathError> {
    let chars: Vec<char> = path.chars().collect();
    let (mut words, mut at) = (Vec::new(), 0);
    while let Some(c) = chars.get(at) {
        let column = at + 1;
        let rest = chars.get(at..).unwrap_or_default();
        let (length, word) = match c {
            ' ' | '\t' | '\n' | '\r' => {
                at += 1;
                continue;
            }
            '_' | 'a'..='z' | 'A'..='Z' => {
                let name: String = rest.iter().take_while(|c| **c == '_' || c.is_ascii_alphanumeric()).collect();
                (name.len(), Word::Name(name))
            }
            '"' => quoted(rest).map_err(|(after, why)| PathError { column: column + after, why: why.to_owned() })?,
            _ => match number(rest) {
                Some(length) => (length, Word::Number(rest.iter().take(length).collect())),
                None => sign(rest).ok_or_else(|| unknown(column, *c))?,
            },
        };
        words.push(Placed { word, column });
        at += length;
    }
    words.push(Placed { word: Word::End, column: chars.len() + 1 });
    Ok(words)
}

fn unknown(column: usize, c: char) -> PathError {
    let remedy = match c {
        '\'' => "; quote names and texts by \"",
        '-' => "; a name with a dash is written [\"a-b\"]",
        '&' | '|' | '!' => "; write `and`, `or`, `not`",
        _ => "",
    };
    PathError { column, why: format!("{c:?} means nothing here{remedy}") }
}

fn sign(rest: &[char]) -> Option<(usize, Word)> {
    let sign = SIGNS.into_iter().find(|sign| rest.iter().copied().take(sign.len()).eq(sign.chars()))?;
    Some((sign.len(), Word::Sign(sign)))
}

fn quoted(rest: &[char]) -> Result<(usize, Word), (usize, &'static str)> {
    let mut at = 1;
    loop {
        match rest.get(at) {
            None => return Err((0, "the text has no closing \"")),
            Some('"') => return Ok((at + 1, Word::Quoted(rest.iter().take(at).skip(1).collect()))),
            Some('\\') => match rest.get(at + 1) {
                Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => at += 2,
                Some('u') if (2..6).all(|digit| rest.get(at + digit).is_some_and(char::is_ascii_hexdigit)) => at += 6,
                _ => return Err((at, "there is no such escape in JSON")),
            },
            Some('\0'..='\u{1f}') => return Err((at, "a control character in a text")),
            Some(_) => at += 1,
        }
    }
}

/// The length of a number of JSON, if one begins here.
fn number(rest: &[char]) -> Option<usize> {
    let digits = |from: usize| rest.iter().skip(from).take_while(|c| c.is_ascii_digit()).count();
    // No leading zeros: `01` is two numbers.
    let whole = |from: usize| if rest.get(from) == Some(&'0') { 1 } else { digits(from) };
    let sign = usize::from(rest.first() == Some(&'-'));
    let mut end = sign + Some(whole(sign)).filter(|length| *length > 0)?;
    if rest.get(end) == Some(&'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    if matches!(rest.get(end), Some('e' | 'E')) {
        let from = end + 1 + usize::from(matches!(rest.get(end + 1), Some('+' | '-')));
        if whole(from) > 0 {
            end = from + whole(from);
        }
    }
    Some(end)
}
