//! Amounts of CPU, memory and the like: reading, comparing, and the canonical form that the server answers with.

/// What the server says of a text that is no quantity.
pub(super) const MALFORMED: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

const DECIMAL: [(&str, i32); 9] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

enum Form {
    Binary,
    Decimal,
    Exponent,
}

/// The amount in billionths, and how it is written.
fn read(text: &str) -> Option<(i128, Form)> {
    let unsigned = text.trim_start_matches(['+', '-']);
    if text.len() - unsigned.len() > 1 {
        return None;
    }
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || whole.len() + fraction.len() == 0 || whole.len() + fraction.len() > 24 {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = i32::try_from(fraction.len()).ok()?;
    let (value, form) = if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        let scaled = digits.checked_mul(1 << shift)?.checked_mul(1_000_000_000)?;
        (divide_up(scaled, 10_i128.checked_pow(fraction.len().try_into().ok()?)?), Form::Binary)
    } else {
        let (exponent, form) = match DECIMAL.iter().chain([&("E", 18)]).find(|(name, _)| *name == suffix) {
            Some((_, exponent)) => (*exponent, Form::Decimal),
            None => (suffix.strip_prefix(['e', 'E'])?.parse().ok()?, Form::Exponent),
        };
        let power = exponent.checked_add(9)?.checked_sub(places)?;
        let scale = |power: i32| 10_i128.checked_pow(power.unsigned_abs());
        let value = if power >= 0 {
            digits.checked_mul(scale(power)?)?
        } else {
            divide_up(digits, scale(power).unwrap_or(i128::MAX))
        };
        (value, form)
    };
    Some((if text.starts_with('-') { -value } else { value }, form))
}

fn divide_up(value: i128, by: i128) -> i128 {
    value / by + i128::from(value % by != 0)
}

/// The amount in billionths of the unit.
pub(in crate::lab) fn nanos(text: &str) -> Option<i128> {
    read(text.trim()).map(|(value, _)| value)
}

/// `0.5` is `500m`, `1024Mi` is `1Gi`: the suffix as large as possible without a fraction.
pub(super) fn canonical(text: &str) -> Option<String> {
    let (nanos, form) = read(text.trim())?;
    if nanos == 0 {
        return Some("0".to_owned());
    }
    let whole = nanos / 1_000_000_000;
    if matches!(form, Form::Binary) && nanos % 1_000_000_000 == 0 && whole.abs() >= 1024 {
        let fits = BINARY.iter().rev().find(|(_, shift)| whole % (1_i128 << shift) == 0);
        return Some(fits.map_or_else(|| whole.to_string(), |(name, shift)| format!("{}{name}", whole >> shift)));
    }
    let mut exponent: i32 = -9;
    let mut mantissa = nanos;
    while mantissa % 1000 == 0 && exponent < 18 {
        mantissa /= 1000;
        exponent += 3;
    }
    if matches!(form, Form::Exponent) {
        return Some(if exponent == 0 { mantissa.to_string() } else { format!("{mantissa}e{exponent}") });
    }
    let suffix = DECIMAL.iter().chain([&("E", 18)]).find(|(_, power)| *power == exponent).map_or("", |(name, _)| name);
    Some(format!("{mantissa}{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::{canonical, nanos};

    #[test]
    fn the_canonical_form_has_the_largest_suffix() {
        let cases = [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("100Mi", "100Mi"),
            ("1", "1"),
            ("0", "0"),
            ("1e3", "1e3"),
            ("1000", "1k"),
            ("128974848", "128974848"),
            ("0.1m", "100u"),
            ("12E", "12E"),
            ("-2", "-2"),
            ("512", "512"),
            ("1023Ki", "1023Ki"),
            ("0.5Ki", "512"),
        ];
        for (text, wanted) in cases {
            assert_eq!(canonical(text).as_deref(), Some(wanted), "{text}");
        }
        for text in ["", "x", "1x", "1.2.3", "--1", "1 Gi", "Gi", "1Gii"] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_compare_across_suffixes() {
        assert_eq!(nanos("1Gi"), nanos("1024Mi"));
        assert!(nanos("1G") < nanos("1Gi"));
        assert!(nanos("100m") < nanos("1"));
    }
}
