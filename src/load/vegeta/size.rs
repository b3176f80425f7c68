//! Sizes of data as vegeta's `-max-body` has them: `10 MB`, `1tB`, `28 kilobytes`.

/// Reads a size into bytes; a kilobyte is 1024. `-1` is no limit.
///
/// # Errors
/// If it is none.
pub fn parse_size(text: &str) -> Result<Option<u64>, String> {
    if text.trim() == "-1" {
        return Ok(None);
    }
    let wrong = || format!("{text:?} is no size; give -1 for no limit, or bytes such as 1024, 10KB or 2 MB");
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let number: u64 = trimmed[..end].parse().map_err(|_| wrong())?;
    let power = match trimmed[end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" | "byte" | "bytes" => 0,
        "k" | "kb" | "kilobyte" | "kilobytes" => 1,
        "m" | "mb" | "megabyte" | "megabytes" => 2,
        "g" | "gb" | "gigabyte" | "gigabytes" => 3,
        "t" | "tb" | "terabyte" | "terabytes" => 4,
        "p" | "pb" | "petabyte" | "petabytes" => 5,
        "e" | "eb" | "exabyte" | "exabytes" => 6,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << (10 * power)).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("-1", None),
            ("0", Some(0)),
            ("12", Some(12)),
            ("10 MB", Some(10 << 20)),
            ("1tB", Some(1 << 40)),
            ("28 kilobytes", Some(28 << 10)),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "-2", "x", "1 potato", "1.5.5", "99999999EB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
