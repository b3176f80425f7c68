//! Flags within a pattern.

use super::PatternError;
use super::source::{Source, Token, invalid};

#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) ascii: bool,
    pub(super) fold: bool,
    pub(super) multiline: bool,
    pub(super) newline: bool,
    pub(super) verbose: bool,
}

impl Flags {
    fn set(&mut self, letter: char, on: bool) {
        match letter {
            'a' => self.ascii = on,
            'u' => self.ascii = !on,
            'i' => self.fold = on,
            'm' => self.multiline = on,
            's' => self.newline = on,
            _ => self.verbose = on,
        }
    }
}

/// Flags as they are written: `(?i)` for the whole, `(?i-s:` for a group.
pub(super) struct Change {
    on: String,
    off: String,
    pub(super) is_of_whole: bool,
}

impl Change {
    /// Reads on after the first letter.
    pub(super) fn read(source: &mut Source, first: char) -> Result<Self, PatternError> {
        let (mut on, mut off) = (String::new(), String::new());
        let mut end = first;
        while !matches!(end, '-' | ':' | ')') {
            if end == 'L' {
                return invalid("bad inline flags: cannot use 'L' flag with a str pattern");
            }
            on.push(end);
            if on.contains('a') && on.contains('u') {
                return invalid("bad inline flags: flags 'a', 'u' and 'L' are incompatible");
            }
            end = flag(source, "missing -, : or )", &['-', ':', ')'])?;
        }
        if end == '-' {
            end = flag(source, "missing flag", &[])?;
            while end != ':' {
                if matches!(end, 'a' | 'u' | 'L') {
                    return invalid("bad inline flags: cannot turn off flags 'a', 'u' and 'L'");
                }
                off.push(end);
                end = flag(source, "missing :", &[':'])?;
            }
        }
        if on.chars().any(|flag| off.contains(flag)) {
            return invalid("bad inline flags: flag turned on and off");
        }
        Ok(Self { on, off, is_of_whole: end == ')' })
    }

    pub(super) fn apply(&self, flags: &mut Flags) {
        self.on.chars().for_each(|flag| flags.set(flag, true));
        self.off.chars().for_each(|flag| flags.set(flag, false));
    }
}

fn flag(source: &mut Source, missing: &str, ends: &[char]) -> Result<char, PatternError> {
    match source.next() {
        Some(Token::Plain(c)) if matches!(c, 'i' | 'L' | 'm' | 's' | 'x' | 'a' | 'u') || ends.contains(&c) => Ok(c),
        Some(Token::Plain(c)) if c.is_alphabetic() => invalid("unknown flag"),
        _ => invalid(missing),
    }
}
