//! Times in objects.

use jiff::Timestamp;

/// The text as the server writes it back, in UTC: whole seconds, or exactly six digits for a micro time.
///
/// # Errors
/// The words of Go's `time.Parse`.
pub(super) fn read(text: &str, micro: bool) -> Result<String, String> {
    let layout = if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
    let refuse = |rest: &str, element: &str| {
        Err(format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}"))
    };
    let bytes = text.as_bytes();
    let mut at = 0;
    for element in ["2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05"] {
        let end = at + element.len();
        let digits = element.len() > 1;
        let fits = bytes
            .get(at..end)
            .is_some_and(|part| if digits { part.iter().all(u8::is_ascii_digit) } else { part == element.as_bytes() });
        if !fits {
            return refuse(text.get(at..).unwrap_or_default(), element);
        }
        at = end;
    }
    let rest = &text[at..];
    let fraction = rest.strip_prefix('.').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    if micro && fraction != 6 {
        return refuse(rest, ".000000");
    }
    let zone = if fraction > 0 { &rest[fraction + 1..] } else { rest };
    let offset = zone.len() == 6 && zone.starts_with(['+', '-']) && zone.as_bytes()[3] == b':';
    if zone != "Z" && !offset {
        return refuse(zone, "Z07:00");
    }
    let Ok(time) = text.parse::<Timestamp>() else {
        return Err(format!("parsing time {text:?}: day out of range"));
    };
    Ok(time.strftime(if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" }).to_string())
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_micro_time_has_six_digits() {
        assert_eq!(read("2026-01-02T03:04:05.678901Z", true).as_deref(), Ok("2026-01-02T03:04:05.678901Z"));
        assert_eq!(
            read("2026-01-02T03:04:05Z", true),
            Err("parsing time \"2026-01-02T03:04:05Z\" as \"2006-01-02T15:04:05.000000Z07:00\": \
                 cannot parse \"Z\" as \".000000\""
                .to_owned())
        );
        assert_eq!(read("2026-01-02T03:04:05.000006+02:00", true).as_deref(), Ok("2026-01-02T01:04:05.000006Z"));
    }

    #[test]
    fn a_time_is_whole_seconds_of_utc() {
        assert_eq!(read("2026-01-02T03:04:05.9+01:00", false).as_deref(), Ok("2026-01-02T02:04:05Z"));
        let why = read("soon", false).unwrap_err();
        assert_eq!(why, "parsing time \"soon\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"soon\" as \"2006\"");
        assert!(read("2026-02-31T00:00:00Z", false).unwrap_err().ends_with("day out of range"));
    }
}
