//! The functions of Prometheus 2.42, with what they take.

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lab::prometheus) enum Type {
    Scalar,
    Vector,
    Matrix,
    String,
}

impl Type {
    /// As errors name it.
    pub(in crate::lab::prometheus) fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::String => "string",
        }
    }

    /// As the answer to a query names it.
    pub(in crate::lab::prometheus) fn short(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::String => "string",
        }
    }
}

/// How many arguments there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arity {
    Exact,
    /// The last may be absent.
    Optional,
    /// The last may be there any number of times.
    Many,
}

/// The arguments, their number, and what comes out.
pub(super) fn signature(name: &str) -> Option<(&'static [Type], Arity, Type)> {
    use Arity::{Exact, Many, Optional};
    use Type::{Matrix, Scalar, String, Vector};
    let (arguments, arity): (&[Type], Arity) = match name {
        "pi" | "time" => return Some((&[], Exact, Scalar)),
        "scalar" => return Some((&[Vector], Exact, Scalar)),
        "vector" => (&[Scalar], Exact),
        "abs" | "absent" | "acos" | "acosh" | "asin" | "asinh" | "atan" | "atanh" | "ceil" | "cos" | "cosh" | "deg"
        | "exp" | "floor" | "histogram_count" | "histogram_sum" | "ln" | "log10" | "log2" | "rad" | "sgn" | "sin"
        | "sinh" | "sort" | "sort_desc" | "sqrt" | "tan" | "tanh" | "timestamp" => (&[Vector], Exact),
        "days_in_month" | "day_of_month" | "day_of_week" | "day_of_year" | "hour" | "minute" | "month" | "year" => {
            (&[Vector], Optional)
        }
        "absent_over_time" | "avg_over_time" | "changes" | "count_over_time" | "delta" | "deriv" | "idelta"
        | "increase" | "irate" | "last_over_time" | "max_over_time" | "min_over_time" | "present_over_time"
        | "rate" | "resets" | "stddev_over_time" | "stdvar_over_time" | "sum_over_time" => (&[Matrix], Exact),
        "clamp" => (&[Vector, Scalar, Scalar], Exact),
        "clamp_max" | "clamp_min" => (&[Vector, Scalar], Exact),
        "histogram_fraction" => (&[Scalar, Scalar, Vector], Exact),
        "histogram_quantile" => (&[Scalar, Vector], Exact),
        "holt_winters" => (&[Matrix, Scalar, Scalar], Exact),
        "label_join" => (&[Vector, String, String, String], Many),
        "label_replace" => (&[Vector, String, String, String, String], Exact),
        "predict_linear" => (&[Matrix, Scalar], Exact),
        "quantile_over_time" => (&[Scalar, Matrix], Exact),
        "round" => (&[Vector, Scalar], Optional),
        _ => return None,
    };
    Some((arguments, arity, Vector))
}

/// Whether it is a function that came after 2.42, also under a feature flag.
pub(super) fn is_of_later_version(name: &str) -> bool {
    matches!(
        name,
        "double_exponential_smoothing"
            | "first_over_time"
            | "histogram_avg"
            | "histogram_quantiles"
            | "histogram_stddev"
            | "histogram_stdvar"
            | "info"
            | "limit_ratio"
            | "limitk"
            | "mad_over_time"
            | "sort_by_label"
            | "sort_by_label_desc"
            | "ts_of_first_over_time"
            | "ts_of_last_over_time"
            | "ts_of_max_over_time"
            | "ts_of_min_over_time"
    )
}
