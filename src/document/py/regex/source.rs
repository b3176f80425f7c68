//! The characters of a pattern, a backslash taken together with what follows it.

use super::PatternError;

/// One character, or a backslash with the one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Plain(char),
    Escaped(char),
}

impl Token {
    /// As it stands in the pattern.
    pub(super) fn shown(self) -> String {
        match self {
            Self::Plain(c) => c.to_string(),
            Self::Escaped(c) => format!("\\{c}"),
        }
    }
}

pub(super) struct Source {
    chars: Vec<char>,
    at: usize,
}

pub(super) fn invalid<T>(why: impl Into<String>) -> Result<T, PatternError> {
    Err(PatternError::Invalid(why.into()))
}

impl Source {
    /// # Errors
    /// A backslash at the very end.
    pub(super) fn new(pattern: &str) -> Result<Self, PatternError> {
        let chars: Vec<char> = pattern.chars().collect();
        let slashes = chars.iter().rev().take_while(|c| **c == '\\').count();
        if slashes % 2 == 1 { invalid("bad escape (end of pattern)") } else { Ok(Self { chars, at: 0 }) }
    }

    pub(super) fn peek(&self) -> Option<Token> {
        let first = *self.chars.get(self.at)?;
        Some(match self.chars.get(self.at + 1) {
            Some(next) if first == '\\' => Token::Escaped(*next),
            _ => Token::Plain(first),
        })
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.peek()?;
        self.at += if matches!(token, Token::Escaped(_)) { 2 } else { 1 };
        Some(token)
    }

    /// Takes `c` if it comes next.
    pub(super) fn take(&mut self, c: char) -> bool {
        let is_next = self.peek() == Some(Token::Plain(c));
        self.at += usize::from(is_next);
        is_next
    }

    /// Takes characters while they fit, and no more than `most`.
    pub(super) fn while_fits(&mut self, most: usize, fits: fn(char) -> bool) -> String {
        let taken: String =
            self.chars.get(self.at..).unwrap_or_default().iter().take(most).take_while(|c| fits(**c)).collect();
        self.at += taken.chars().count();
        taken
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    /// What stands before `end`, which is taken too.
    pub(super) fn until(&mut self, end: char, what: &str) -> Result<String, PatternError> {
        let mut text = String::new();
        loop {
            match self.next() {
                None if text.is_empty() => return invalid(format!("missing {what}")),
                None => return invalid(format!("missing {end}, unterminated name")),
                Some(Token::Plain(c)) if c == end => break,
                Some(token) => text.push_str(&token.shown()),
            }
        }
        if text.is_empty() { invalid(format!("missing {what}")) } else { Ok(text) }
    }
}
