//! The tokens of a query, as Prometheus 2.42 divides it.

use std::fmt::Write;

/// What kind of token this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    End,
    /// The token's text is what is wrong.
    Error,
    Identifier,
    /// With a colon in it.
    MetricIdentifier,
    Number,
    Duration,
    String,
    /// Any of `( ) { } [ ] , : = @`, and the operators.
    Punctuation,
    /// `and`, `or`, `unless`, `atan2`.
    WordOperator,
    Aggregator,
    /// `by`, `offset`, `bool`, …
    Keyword,
    /// `start`, `end`.
    Preprocessor,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Where it begins, in bytes.
    pub(super) at: usize,
    pub(super) text: String,
}

impl Token {
    pub(super) fn is(&self, punctuation: &str) -> bool {
        self.kind == Kind::Punctuation && self.text == punctuation
    }

    /// Keywords are the same in any case.
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.kind, Kind::WordOperator | Kind::Aggregator | Kind::Keyword | Kind::Preprocessor)
            && self.text.eq_ignore_ascii_case(word)
    }

    /// As an error names it.
    pub(super) fn described(&self) -> String {
        let quoted = || quoted(&self.text);
        match self.kind {
            Kind::End => "end of input".into(),
            Kind::Error => self.text.clone(),
            Kind::Identifier => format!("identifier {}", quoted()),
            Kind::MetricIdentifier => format!("metric identifier {}", quoted()),
            Kind::Number => format!("number {}", shortened(&self.text)),
            Kind::Duration => format!("duration {}", shortened(&self.text)),
            Kind::String => format!("string {}", shortened(&self.text)),
            Kind::Keyword | Kind::Preprocessor => format!("<{}>", self.text),
            Kind::WordOperator => format!("<op:{}>", self.text),
            Kind::Aggregator => format!("<aggr:{}>", self.text),
            Kind::Punctuation if "(){}[],:=".contains(&self.text) => quoted(),
            // The one operator that the real one has no name for; this is its number there.
            Kind::Punctuation if self.text == "@" => "\"<Item 57385>\" <op:@>".into(),
            Kind::Punctuation => format!("<op:{}>", self.text),
        }
    }
}

/// As Go's `%q` writes it.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            letter if (letter as u32) < 0x20 || letter as u32 == 0x7f => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\x{:02x}", letter as u32);
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

fn shortened(text: &str) -> String {
    if text.chars().count() > 10 {
        format!("{}...", quoted(&text.chars().take(10).collect::<String>()))
    } else {
        quoted(text)
    }
}

pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    open_parentheses: usize,
    in_braces: bool,
    in_brackets: bool,
    after_bracket: bool,
    got_colon: bool,
}

type Lexed = Result<(Kind, usize), String>;

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            open_parentheses: 0,
            in_braces: false,
            in_brackets: false,
            after_bracket: false,
            got_colon: false,
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') || self.in_braces {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    pub(super) fn next(&mut self) -> Token {
        self.skip_blank();
        let begin = self.at;
        let lexed = if self.in_braces {
            self.inside_braces()
        } else if std::mem::take(&mut self.after_bracket) {
            self.duration()
        } else {
            self.statement()
        };
        match lexed {
            Ok((kind, len)) => {
                self.at = begin + len;
                let text = self.text[begin..self.at].to_owned();
                if text == ")" && kind == Kind::Punctuation {
                    match self.open_parentheses.checked_sub(1) {
                        Some(open) => self.open_parentheses = open,
                        None => return self.error(self.at, "unexpected right parenthesis ')'".into()),
                    }
                }
                Token { kind, at: begin, text }
            }
            Err(why) => self.error(begin, why),
        }
    }

    fn error(&mut self, at: usize, text: String) -> Token {
        self.at = self.text.len();
        Token { kind: Kind::Error, at, text }
    }

    fn statement(&mut self) -> Lexed {
        let rest = self.rest();
        let mut letters = rest.chars();
        let Some(first) = letters.next() else {
            return match (self.open_parentheses, self.in_brackets) {
                (0, false) => Ok((Kind::End, 0)),
                (0, true) => Err("unclosed left bracket".into()),
                _ => Err("unclosed left parenthesis".into()),
            };
        };
        let second = letters.next();
        let one = Ok((Kind::Punctuation, 1));
        match (first, second) {
            ('=' | '<' | '>' | '!', Some('=')) => Ok((Kind::Punctuation, 2)),
            ('=', Some('~')) => Err("unexpected character after '=': '~'".into()),
            ('!', second) => {
                Err(format!("unexpected character after '!': '{}'", second.unwrap_or(char::REPLACEMENT_CHARACTER)))
            }
            (',' | '*' | '/' | '%' | '+' | '-' | '^' | '=' | '<' | '>' | '@' | ')', _) => one,
            ('0'..='9', _) | ('.', Some('0'..='9')) => number_or_duration(rest),
            ('"' | '\'', _) => string(rest),
            ('`', _) => raw_string(rest),
            ('(', _) => {
                self.open_parentheses += 1;
                one
            }
            ('{', _) => {
                self.in_braces = true;
                one
            }
            ('[', _) if self.in_brackets => Err("unexpected left bracket '['".into()),
            ('[', _) => {
                (self.in_brackets, self.after_bracket, self.got_colon) = (true, true, false);
                one
            }
            (']', _) if !self.in_brackets => Err("unexpected right bracket ']'".into()),
            (']', _) => {
                self.in_brackets = false;
                one
            }
            (letter, _) if letter == ':' || letter == '_' || letter.is_ascii_alphabetic() => {
                if !self.in_brackets {
                    return Ok(word(rest));
                }
                if self.got_colon {
                    return Err(format!("unexpected colon '{letter}'"));
                }
                self.got_colon = true;
                // Any letter passes for a colon in there; what follows gives it away.
                one
            }
            (letter, _) => Err(format!("unexpected character: '{letter}'")),
        }
    }

    fn inside_braces(&mut self) -> Lexed {
        let rest = self.rest();
        let mut letters = rest.chars();
        match (letters.next(), letters.next()) {
            (None, _) => Err("unexpected end of input inside braces".into()),
            (Some(letter), _) if letter == '_' || letter.is_ascii_alphabetic() => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                Ok((Kind::Identifier, end))
            }
            (Some('"' | '\''), _) => string(rest),
            (Some('`'), _) => raw_string(rest),
            (Some('='), Some('~')) | (Some('!'), Some('~' | '=')) => Ok((Kind::Punctuation, 2)),
            (Some(',' | '='), _) => Ok((Kind::Punctuation, 1)),
            (Some('!'), after) => Err(format!(
                "unexpected character after '!' inside braces: '{}'",
                after.unwrap_or(char::REPLACEMENT_CHARACTER)
            )),
            (Some('{'), _) => Err("unexpected left brace '{'".into()),
            (Some('}'), _) => {
                self.in_braces = false;
                Ok((Kind::Punctuation, 1))
            }
            (Some(letter), _) => Err(format!("unexpected character inside braces: '{letter}'")),
        }
    }

    /// What must follow an opening bracket.
    fn duration(&mut self) -> Lexed {
        let rest = self.rest();
        match scan_number(rest) {
            (_, true) => Err("missing unit character in duration".into()),
            (len, false) => match scan_units(rest, len) {
                Ok(len) => Ok((Kind::Duration, len)),
                Err(len) => Err(format!("bad duration syntax: {}", quoted(&rest[..len]))),
            },
        }
    }
}

fn run(text: &str, from: usize, accepted: impl Fn(u8) -> bool) -> usize {
    from + text.as_bytes()[from..].iter().take_while(|letter| accepted(**letter)).count()
}

fn is_alphanumeric(letter: Option<&u8>) -> bool {
    letter.is_some_and(|letter| letter.is_ascii_alphanumeric() || *letter == b'_')
}

/// How long a number is, and whether it ends there.
fn scan_number(text: &str) -> (usize, bool) {
    let bytes = text.as_bytes();
    let hexadecimal = bytes.first() == Some(&b'0') && matches!(bytes.get(1), Some(b'x' | b'X'));
    let digit = |letter: u8| if hexadecimal { letter.is_ascii_hexdigit() } else { letter.is_ascii_digit() };
    let mut at = run(text, if hexadecimal { 2 } else { 0 }, digit);
    if bytes.get(at) == Some(&b'.') {
        at = run(text, at + 1, digit);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(bytes.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        at = run(text, at, |letter| letter.is_ascii_digit());
    }
    (at, !is_alphanumeric(bytes.get(at)))
}

/// How long a duration is whose first number ends at `at`; or how far it could be read.
fn scan_units(text: &str, mut at: usize) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let mut units: &[u8] = b"smhdwy";
    loop {
        if !bytes.get(at).is_some_and(|unit| units.contains(unit)) {
            return Err(at);
        }
        at += 1;
        if bytes.get(at) == Some(&b's') {
            at += 1;
        }
        let digits = run(text, at, |letter| letter.is_ascii_digit());
        if digits == at {
            break;
        }
        (at, units) = (digits, b"smhdw");
    }
    if is_alphanumeric(bytes.get(at)) { Err(at + 1) } else { Ok(at) }
}

fn number_or_duration(rest: &str) -> Lexed {
    match scan_number(rest) {
        (len, true) => Ok((Kind::Number, len)),
        (len, false) => match scan_units(rest, len) {
            Ok(len) => Ok((Kind::Duration, len)),
            Err(len) => Err(format!("bad number or duration syntax: {}", quoted(&rest[..len]))),
        },
    }
}

fn word(rest: &str) -> (Kind, usize) {
    let end = run(rest, 0, |letter| letter.is_ascii_alphanumeric() || letter == b'_' || letter == b':');
    let kind = match rest[..end].to_ascii_lowercase().as_str() {
        "and" | "or" | "unless" | "atan2" => Kind::WordOperator,
        "sum" | "avg" | "count" | "min" | "max" | "group" | "stddev" | "stdvar" | "topk" | "bottomk"
        | "count_values" | "quantile" => Kind::Aggregator,
        "offset" | "by" | "without" | "on" | "ignoring" | "group_left" | "group_right" | "bool" => Kind::Keyword,
        "start" | "end" => Kind::Preprocessor,
        "inf" | "nan" => Kind::Number,
        word if word.contains(':') => Kind::MetricIdentifier,
        _ => Kind::Identifier,
    };
    (kind, end)
}

fn raw_string(rest: &str) -> Lexed {
    let end = rest[1..].find('`').ok_or("unterminated raw string")?;
    Ok((Kind::String, end + 2))
}

fn string(rest: &str) -> Lexed {
    let mut letters = rest.char_indices();
    let quote = letters.next().map_or('"', |(_, quote)| quote);
    loop {
        match letters.next() {
            None | Some((_, '\n')) => return Err("unterminated quoted string".into()),
            Some((at, letter)) if letter == quote => return Ok((Kind::String, at + 1)),
            Some((_, '\\')) => escape(quote, &mut letters)?,
            Some(_) => {}
        }
    }
}

fn escape(quote: char, letters: &mut std::str::CharIndices<'_>) -> Result<(), String> {
    let not_ended = || "escape sequence not terminated".to_owned();
    let first = letters.next().ok_or_else(not_ended)?.1;
    let (digits, base, most) = match first {
        'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
        first if first == quote => return Ok(()),
        '0'..='7' => (3, 8, 255),
        'x' => (2, 16, 255),
        'u' => (4, 16, 0x0010_ffff),
        'U' => (8, 16, 0x0010_ffff),
        other => return Err(format!("unknown escape sequence U+{:04X} '{other}'", other as u32)),
    };
    let mut value = 0_u64;
    for n in 0..digits {
        let letter = if n == 0 && base == 8 { first } else { letters.next().ok_or_else(not_ended)?.1 };
        let Some(digit) = letter.to_digit(base) else {
            return Err(format!("illegal character U+{:04X} '{letter}' in escape sequence", letter as u32));
        };
        value = value * u64::from(base) + u64::from(digit);
    }
    if value > most || (0xd800..0xe000).contains(&value) {
        return Err("escape sequence is an invalid Unicode code point".into());
    }
    Ok(())
}
