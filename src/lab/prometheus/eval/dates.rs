//! Parts of dates, of seconds since 1970 in UTC.

/// A function that takes such a part.
pub(super) fn part(function: &str) -> Option<fn(f64) -> f64> {
    Some(match function {
        "minute" => |at| float(second(at).rem_euclid(3600) / 60),
        "hour" => |at| float(second(at).rem_euclid(86_400) / 3600),
        // 1970 began on a Thursday.
        "day_of_week" => |at| float((day(at) + 4).rem_euclid(7)),
        "day_of_month" => |at| float(date(day(at)).2),
        "day_of_year" => |at| float(day(at) - day_of(date(day(at)).0, 1, 1) + 1),
        "days_in_month" => |at| {
            let (year, month, _) = date(day(at));
            let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            float(day_of(next_year, next_month, 1) - day_of(year, month, 1))
        },
        "month" => |at| float(date(day(at)).1),
        "year" => |at| float(date(day(at)).0),
        _ => return None,
    })
}

#[expect(clippy::cast_precision_loss, reason = "parts of dates are small")]
fn float(part: i64) -> f64 {
    part as f64
}

/// Whole seconds; what is no such number counts as the last second there is, as the real one has it.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the range is checked")]
fn second(at: f64) -> i64 {
    if (i64::MIN as f64..i64::MAX as f64).contains(&at) { at as i64 } else { i64::MAX }
}

fn day(at: f64) -> i64 {
    second(at).div_euclid(86_400)
}

/// Year, month and day of a day since 1970, in the Gregorian calendar: years are counted from March, so that the leap
/// day is the last of one.
fn date(day: i64) -> (i64, i64, i64) {
    let since = day + 719_468;
    let era = since.div_euclid(146_097);
    let of_era = since.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * from_march + 2) / 5 + 1)
}

/// The day since 1970 of a date.
fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_known_dates() {
        let parts = |at: f64| {
            ["year", "month", "day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute"]
                .map(|name| part(name).unwrap()(at))
        };
        assert_eq!(parts(0.0), [1970.0, 1.0, 1.0, 4.0, 1.0, 31.0, 0.0, 0.0]);
        // 2024-02-29T13:37:59Z, a Thursday.
        assert_eq!(parts(1_709_213_879.9), [2024.0, 2.0, 29.0, 4.0, 60.0, 29.0, 13.0, 37.0]);
        // 2100 is no leap year: 2100-03-01T00:00:00Z, a Monday.
        assert_eq!(parts(4_107_542_400.0), [2100.0, 3.0, 1.0, 1.0, 60.0, 31.0, 0.0, 0.0]);
        assert_eq!(parts(f64::NAN), [292_277_026_596.0, 12.0, 4.0, 0.0, 339.0, 31.0, 15.0, 30.0]);
        // 1969-12-31T23:59:59Z, a Wednesday.
        assert_eq!(parts(-1.0), [1969.0, 12.0, 31.0, 3.0, 365.0, 31.0, 23.0, 59.0]);
    }

    #[test]
    fn dates_and_days_are_inverse() {
        for day in (-800_000..800_000).step_by(97) {
            let (year, month, of_month) = date(day);
            assert_eq!(day_of(year, month, of_month), day);
        }
    }
}
