//! Rates as vegeta's `-rate` has them: `50`, `50/s`, `300/5m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{duration_text, parse_duration};

/// How many hits in how much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// As many as the workers manage.
    Unlimited,
    /// So many in each such time.
    Of {
        /// At least one.
        hits: u64,
        /// More than nothing.
        per: Duration,
    },
}

/// Why a text is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no rate: {why}; give a whole number of hits, with or without a time, such as 50, 50/s or 300/5m")]
pub struct RateError {
    text: String,
    why: String,
}

impl Rate {
    /// Hits a second; none if there is no limit.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 hits there is no difference")]
    pub fn per_second(self) -> Option<f64> {
        match self {
            Self::Unlimited => None,
            Self::Of { hits, per } => Some(hits as f64 / per.as_secs_f64()),
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let wrong = |why: String| RateError { text: text.to_owned(), why };
        // vegeta's help promises this word, and sends 50 a second.
        if text == "infinity" {
            return Ok(Self::Unlimited);
        }
        let (hits, per) = text.split_once('/').unwrap_or((text, "1s"));
        let hits: u64 = hits.parse().map_err(|_| {
            let whole = if hits.parse::<f64>().is_ok_and(|hits| hits > 0.0) {
                "not whole; 0.5/s is 1/2s"
            } else {
                "no number of hits"
            };
            wrong(format!("{hits:?} is {whole}"))
        })?;
        // A unit by itself is one of it.
        let per = if per.starts_with(|c: char| c.is_alphabetic()) { format!("1{per}") } else { per.to_owned() };
        let per = parse_duration(&per).map_err(|_| wrong(format!("{per:?} is no duration")))?;
        match (hits, per) {
            (0, _) => Ok(Self::Unlimited),
            (_, Duration::ZERO) => Err(wrong("it has no time".to_owned())),
            (hits, per) => Ok(Self::Of { hits, per }),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("infinity"),
            Self::Of { hits, per } => write!(f, "{hits}/{}", duration_text(*per)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        for (text, hits, seconds) in [
            ("50", 50, 1.0),
            ("50/s", 50, 1.0),
            ("50/1s", 50, 1.0),
            ("300/5m", 300, 300.0),
            ("7/m", 7, 60.0),
            ("1/2s", 1, 2.0),
            ("10/1.5s", 10, 1.5),
            ("3/ms", 3, 0.001),
            ("2000000000/1s", 2_000_000_000, 1.0),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate, Rate::Of { hits, per: Duration::from_secs_f64(seconds) }, "{text}");
            assert_eq!(rate.to_string().parse(), Ok(rate), "{text}");
        }
        for unlimited in ["0", "0/s", "0/5m", "infinity"] {
            assert_eq!(unlimited.parse(), Ok(Rate::Unlimited), "{unlimited}");
        }
        assert_eq!("300/5m".parse::<Rate>().unwrap().per_second(), Some(1.0));
    }

    #[test]
    fn what_is_no_rate_is_named() {
        for (wrong, why) in [
            ("", "no number of hits"),
            ("x", "no number of hits"),
            ("-5", "no number of hits"),
            ("1.5", "1/2s"),
            ("5/", "no duration"),
            ("5/x", "no duration"),
            ("5/2s/3", "no duration"),
            ("5/0s", "no time"),
            ("5/-1s", "no duration"),
        ] {
            let error = wrong.parse::<Rate>().expect_err(wrong).to_string();
            assert!(error.contains(why) && error.contains(&format!("{wrong:?}")), "{error}");
        }
    }
}
