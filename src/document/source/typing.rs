//! What a YAML 1.1 scalar means, as PyYAML's safe loader has it: `yes` is true, `010` is 8, `1:30` is 90, a day is
//! a day. A date or time becomes its ISO text, since JSON has neither; infinities and NaN are refused.

use jiff::civil;
use regex::Regex;
use serde_json::{Number, Value};
use std::sync::LazyLock;

static FLOAT: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)$",
    )
});
static ENDLESS: LazyLock<Regex> = LazyLock::new(|| regex(r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"));
static WHOLE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?:[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$",
    )
});
static TIME: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(\d{4})-(\d\d?)-(\d\d?)(?:(?:[Tt]|[ \t]+)(\d\d?):(\d\d):(\d\d)(?:\.(\d*))?(?:[ \t]*(Z|([-+])(\d\d?)(?::?(\d\d))?))?)?$",
    )
});

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of ours compiles")
}

/// The type that a plain scalar has without a tag; the reason where it has one that JSON cannot hold.
pub(super) fn plain(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        _ => {}
    }
    if let Some(value) = truth(text) {
        return Ok(Value::Bool(value));
    }
    // Most scalars are names: only what begins like a number is looked at.
    if !text.starts_with(|one: char| one.is_ascii_digit() || "+-.".contains(one)) {
        return Ok(Value::String(text.into()));
    }
    if ENDLESS.is_match(text) {
        return Err(format!("{text} is no number of JSON's: write null, or quote it as a text"));
    }
    if FLOAT.is_match(text) {
        return float(text);
    }
    if WHOLE.is_match(text) {
        return whole(text);
    }
    // A day by itself has two digits each for month and day.
    let time_like = text.len() == 10 || text.contains(':');
    if time_like && let Some(value) = time(text)? {
        return Ok(value);
    }
    Ok(Value::String(text.into()))
}

pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

pub(super) fn whole(text: &str) -> Result<Value, String> {
    let bare = text.replace('_', "");
    let (negative, digits) = match bare.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, bare.strip_prefix('+').unwrap_or(&bare)),
    };
    let magnitude = if digits == "0" {
        Ok(0)
    } else if let Some(bits) = digits.strip_prefix("0b") {
        u128::from_str_radix(bits, 2).map_err(|_| ())
    } else if let Some(hexadecimal) = digits.strip_prefix("0x") {
        u128::from_str_radix(hexadecimal, 16).map_err(|_| ())
    } else if digits.starts_with('0') {
        u128::from_str_radix(digits, 8).map_err(|_| ())
    } else {
        digits.split(':').try_fold(0_u128, |sum, part| {
            let part: u128 = part.parse().map_err(|_| ())?;
            sum.checked_mul(60).and_then(|sum| sum.checked_add(part)).ok_or(())
        })
    };
    let magnitude = magnitude.map_err(|()| super::too_long(text))?;
    let number = if negative {
        i128::try_from(magnitude).ok().and_then(|whole| i64::try_from(-whole).ok()).map(Number::from)
    } else {
        u64::try_from(magnitude).ok().map(Number::from)
    };
    number.map(Value::Number).ok_or_else(|| super::too_long(text))
}

pub(super) fn float(text: &str) -> Result<Value, String> {
    let bare = text.replace('_', "").to_lowercase();
    let (sign, digits) = match bare.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, bare.strip_prefix('+').unwrap_or(&bare)),
    };
    let value = digits.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?));
    let number = value.and_then(|value| Number::from_f64(sign * value));
    number.map(Value::Number).ok_or_else(|| format!("{text} is no number of JSON's: write null, or quote it as a text"))
}

/// The ISO text of a date or time; none where it is not one.
pub(super) fn time(text: &str) -> Result<Option<Value>, String> {
    let Some(found) = TIME.captures(text) else { return Ok(None) };
    let number = |group: usize| found.get(group).and_then(|part| part.as_str().parse::<i16>().ok()).unwrap_or_default();
    let small = |group: usize| i8::try_from(number(group)).unwrap_or(i8::MAX);
    let wrong = |_| format!("{text} looks like a time, but there is no such day or hour: quote it if it is a text");
    let day = civil::Date::new(number(1), small(2), small(3)).map_err(wrong)?;
    if found.get(4).is_none() {
        return Ok(Some(Value::String(day.to_string())));
    }
    let fraction: String =
        found.get(7).map_or("", |part| part.as_str()).chars().chain("000000".chars()).take(6).collect();
    let micros: i32 = fraction.parse().unwrap_or_default();
    let time = civil::Time::new(small(4), small(5), small(6), micros * 1000).map_err(wrong)?;
    let mut iso = format!("{day}T{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
    if micros != 0 {
        iso.push_str(&format!(".{fraction}"));
    }
    if let Some(zone) = found.get(8) {
        match found.get(9) {
            Some(sign) => iso.push_str(&format!("{}{:02}:{:02}", sign.as_str(), number(10), number(11))),
            None => iso.push_str(if zone.as_str() == "Z" { "+00:00" } else { "" }),
        }
    }
    Ok(Some(Value::String(iso)))
}
