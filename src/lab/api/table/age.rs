//! Ages and durations as people read them in a table.

use jiff::SignedDuration;
use serde_json::Value;

use crate::clock::Timestamp;

/// A duration in at most two units, the finer one only while it matters: `119s`, `2m3s`, `10m`, `3h4m`, `2d`, `3y9d`.
/// The steps are those of the real server. Up to 2 s into the future is `0s`, further is `<invalid>`.
pub(super) fn human(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let two = |large: i64, unit: &str, small: i64, rest: &str| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{rest}") }
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 3 * 60 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 8 * 24 => two(days, "d", hours % 24, "h"),
        _ if days < 2 * 365 => format!("{days}d"),
        _ if days < 8 * 365 => two(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}

/// How long ago a stamp was; `<unknown>` if there is none.
pub(super) fn since(stamp: &Value, now: Timestamp) -> String {
    match stamp.as_str().filter(|text| !text.is_empty()) {
        None => "<unknown>".to_owned(),
        Some(text) => {
            text.parse::<Timestamp>().map_or_else(|_| "<invalid>".to_owned(), |then| human(now.duration_since(then)))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_finer_unit_goes_when_it_no_longer_matters() {
        let (minute, hour, day) = (60, 3600, 86_400);
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (2 * minute, "2m"),
            (2 * minute + 3, "2m3s"),
            (9 * minute + 59, "9m59s"),
            (10 * minute + 30, "10m"),
            (179 * minute, "179m"),
            (3 * hour + 4 * minute, "3h4m"),
            (7 * hour, "7h"),
            (8 * hour + 30 * minute, "8h"),
            (47 * hour, "47h"),
            (2 * day, "2d"),
            (2 * day + 5 * hour, "2d5h"),
            (8 * day + hour, "8d"),
            (729 * day, "729d"),
            (730 * day, "2y"),
            (739 * day, "2y9d"),
            (8 * 365 * day + day, "8y"),
        ] {
            assert_eq!(human(SignedDuration::from_secs(seconds)), text, "{seconds} s");
        }
        assert_eq!(human(SignedDuration::from_millis(5999)), "5s", "cut, not rounded");
    }

    #[test]
    fn a_missing_or_broken_stamp_is_said() {
        let now = Timestamp::from_second(1000).expect("a valid instant");
        assert_eq!(since(&Value::Null, now), "<unknown>");
        assert_eq!(since(&json!("yesterday"), now), "<invalid>");
        assert_eq!(since(&json!("1970-01-01T00:16:00Z"), now), "40s");
        assert_eq!(since(&json!("1970-01-01T00:16:00.500000Z"), now), "39s");
    }
}
