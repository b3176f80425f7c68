//! Escapes, and sets of characters.

use super::PatternError;
use super::source::{Source, Token, invalid};

/// A kind of characters: `\d`, `\w`, `\s` and their opposites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Category {
    /// The letter in lower case.
    pub(super) letter: char,
    pub(super) negated: bool,
    pub(super) ascii: bool,
}

impl Category {
    pub(super) fn of(c: char, ascii: bool) -> Option<Self> {
        let letter = c.to_ascii_lowercase();
        matches!(letter, 'd' | 's' | 'w').then_some(Self { letter, negated: c != letter, ascii })
    }
}

/// A part of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Char(char),
    Range(char, char),
    Category(Category),
}

/// A set after its opening bracket.
pub(super) fn set(source: &mut Source, ascii: bool) -> Result<(bool, Vec<Item>), PatternError> {
    let unterminated = || PatternError::Invalid("unterminated character set".into());
    let negated = source.take('^');
    let mut items = Vec::new();
    loop {
        let this = source.next().ok_or_else(unterminated)?;
        if this == Token::Plain(']') && !items.is_empty() {
            break;
        }
        let low = item(source, this, ascii)?;
        if !source.take('-') {
            items.push(low);
            continue;
        }
        let that = source.next().ok_or_else(unterminated)?;
        if that == Token::Plain(']') {
            items.extend([low, Item::Char('-')]);
            break;
        }
        let high = item(source, that, ascii)?;
        match (low, high) {
            (Item::Char(low), Item::Char(high)) if low <= high => items.push(Item::Range(low, high)),
            _ => return invalid(format!("bad character range {}-{}", this.shown(), that.shown())),
        }
    }
    Ok((negated, items))
}

fn item(source: &mut Source, token: Token, ascii: bool) -> Result<Item, PatternError> {
    let c = match token {
        Token::Plain(c) => return Ok(Item::Char(c)),
        Token::Escaped(c) => c,
    };
    if let Some(category) = Category::of(c, ascii) {
        return Ok(Item::Category(category));
    }
    match c {
        'b' => Ok(Item::Char('\u{8}')),
        '0'..='7' => octal(format!("{c}{}", source.while_fits(2, is_octal))).map(Item::Char),
        _ => literal(source, c).map(Item::Char),
    }
}

pub(super) fn is_octal(c: char) -> bool {
    matches!(c, '0'..='7')
}

pub(super) fn octal(digits: String) -> Result<char, PatternError> {
    match u8::from_str_radix(&digits, 8) {
        Ok(code) => Ok(char::from(code)),
        Err(_) => invalid(format!("octal escape value \\{digits} outside of range 0-0o377")),
    }
}

/// The character that an escape stands for, inside of sets and outside.
pub(super) fn literal(source: &mut Source, c: char) -> Result<char, PatternError> {
    match c {
        'a' => Ok('\u{7}'),
        'f' => Ok('\u{c}'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'v' => Ok('\u{b}'),
        'x' => code(source, c, 2),
        'u' => code(source, c, 4),
        'U' => code(source, c, 8),
        'N' => Err(PatternError::Unsupported("\\N{…}, a character by its name,".into())),
        '0'..='9' | 'A'..='Z' | 'a'..='z' => invalid(format!("bad escape \\{c}")),
        _ => Ok(c),
    }
}

fn code(source: &mut Source, c: char, length: usize) -> Result<char, PatternError> {
    let digits = source.while_fits(length, |c| c.is_ascii_hexdigit());
    if digits.len() < length {
        return invalid(format!("incomplete escape \\{c}{digits}"));
    }
    match u32::from_str_radix(&digits, 16).ok().map(|code| (code, char::from_u32(code))) {
        Some((_, Some(it))) => Ok(it),
        // No text of ours holds half a pair.
        Some((0xD800..=0xDFFF, _)) => Err(PatternError::Unsupported("half of a surrogate pair".into())),
        _ => invalid(format!("bad escape \\{c}{digits}")),
    }
}
