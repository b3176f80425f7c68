//! Durations and strings as queries write them.

use super::lex::quoted;

/// The milliseconds of a duration such as `1h30m`; the units stand in order, each once.
pub(in crate::lab::prometheus) fn milliseconds(text: &str) -> Result<i64, String> {
    const UNITS: [(&str, i64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    if text == "0" {
        return Ok(0);
    }
    if text.is_empty() {
        return Err("empty duration string".into());
    }
    let invalid = || format!("not a valid duration string: {}", quoted(text));
    let (mut rest, mut next, mut sum) = (text, 0, 0_i64);
    while !rest.is_empty() {
        let digits = run_of_digits(rest);
        let (number, behind) = rest.split_at(digits);
        let unit = &behind[..behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len())];
        let place = UNITS[next..].iter().position(|(name, _)| *name == unit).ok_or_else(invalid)?;
        if digits == 0 {
            return Err(invalid());
        }
        let out_of_range = || "duration out of range".to_owned();
        let number: i64 = number.parse().map_err(|_| out_of_range())?;
        sum = number.checked_mul(UNITS[next + place].1).and_then(|n| sum.checked_add(n)).ok_or_else(out_of_range)?;
        if sum > i64::MAX / 1_000_000 {
            return Err(out_of_range());
        }
        next += place + 1;
        rest = &behind[unit.len()..];
    }
    Ok(sum)
}

fn run_of_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// The value of a string literal that the lexer took; bytes that are no text are replaced.
pub(super) fn unquoted(literal: &str) -> String {
    let inner = &literal[1..literal.len() - 1];
    if literal.starts_with('`') || !inner.contains('\\') {
        return inner.to_owned();
    }
    let mut bytes = Vec::new();
    let mut rest = inner;
    while let Some((before, behind)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let (digits, base, skipped) = match behind.chars().next() {
            Some('x') => (2, 16, 1),
            Some('u') => (4, 16, 1),
            Some('U') => (8, 16, 1),
            Some('0'..='7') => (3, 8, 0),
            Some(plain) => {
                bytes.push(match plain {
                    'a' => 7,
                    'b' => 8,
                    'f' => 12,
                    'n' => b'\n',
                    'r' => b'\r',
                    't' => b'\t',
                    'v' => 11,
                    '\'' => b'\'',
                    '"' => b'"',
                    _ => b'\\',
                });
                rest = &behind[plain.len_utf8()..];
                continue;
            }
            None => break,
        };
        let end = skipped + digits;
        let code = behind.get(skipped..end).and_then(|digits| u32::from_str_radix(digits, base).ok()).unwrap_or(0);
        match u8::try_from(code) {
            Ok(byte) if digits < 4 => bytes.push(byte),
            _ => {
                let letter = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        rest = behind.get(end..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}
