//! `/query`, `/query_range`, and what else takes a query.

use std::fmt::Write;

use super::parameters::Parameters;
use super::{Api, Wrong, bad, bad_parameter, in_parameter};
use crate::lab::prometheus::eval::{self, Answer, Cost, Steps, TIMEOUT, Terms};
use crate::lab::prometheus::numbers::{plain, write_time, write_value};
use crate::lab::prometheus::promql::{self, Type};
use crate::lab::prometheus::tsdb::Labels;

/// The most points of a series that a range query may ask for.
const MOST_POINTS: i64 = 11_000;

pub(super) fn instant(api: &Api, parameters: &Parameters) -> Result<String, Wrong> {
    let at = parameters.time_or("time", api.clock.now().as_millisecond())?;
    let terms = terms(parameters)?;
    let query = promql::parse(parameters.get("query")).map_err(in_parameter("query"))?;
    in_time(terms)?;
    let (answer, cost) = eval::instant(&api.tsdb, &query, at, terms)?;
    let mut out = begun(query.of);
    match answer {
        Answer::Scalar(value) => pair(&mut out, at, &plain(value)),
        Answer::String(text) => pair(&mut out, at, &text),
        Answer::Vector(vector) => list(&mut out, vector, |out, (labels, value)| {
            metric(out, &labels);
            out.push_str(",\"value\":");
            point(out, at, value);
            out.push('}');
        }),
        Answer::Matrix(matrix) => list(&mut out, matrix, |out, (labels, samples)| {
            metric(out, &labels);
            out.push_str(",\"values\":");
            list(out, samples, |out, (at, value)| point(out, at, value));
            out.push('}');
        }),
    }
    ended(&mut out, parameters, cost);
    Ok(out)
}

pub(super) fn range(api: &Api, parameters: &Parameters) -> Result<String, Wrong> {
    let start = parameters.time("start")?;
    let end = parameters.time("end")?;
    if end < start {
        return Err(bad_parameter("end", "end timestamp must not be before start time"));
    }
    let step = parameters.duration("step")?;
    if step <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(bad_parameter("step", why));
    }
    if i128::from(end - start) * 1_000_000 / i128::from(step) > i128::from(MOST_POINTS) {
        let why = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)";
        return Err(bad(why));
    }
    let terms = terms(parameters)?;
    let query = promql::parse(parameters.get("query"))?;
    if let Type::Matrix | Type::String = query.of {
        let of = query.of.documented();
        let why = format!("invalid expression type \"{of}\" for range query, must be Scalar or instant Vector");
        return Err(bad(why));
    }
    in_time(terms)?;
    let step = step / 1_000_000;
    if step == 0 {
        // Below a millisecond the real one divides by zero, and says so.
        return Err(Wrong(422, "execution", "unexpected error: runtime error: integer divide by zero".into()));
    }
    let count = usize::try_from((end - start) / step + 1).unwrap_or(0);
    let steps = Steps { first: start, step, count };
    let (series, cost) = eval::range(&api.tsdb, &query, steps, end, terms)?;
    let mut out = begun(Type::Matrix);
    list(&mut out, series, |out, series| {
        metric(out, &series.labels);
        out.push_str(",\"values\":");
        list(out, series.points, |out, (n, value)| point(out, start + step * i64::from(n), value));
        out.push('}');
    });
    ended(&mut out, parameters, cost);
    Ok(out)
}

/// No target's exemplars are kept, as in a server without that feature.
pub(super) fn exemplars(parameters: &Parameters) -> Result<String, Wrong> {
    let start = parameters.time_or("start", i64::MIN)?;
    let end = parameters.time_or("end", i64::MAX)?;
    if end < start {
        return Err(bad("end timestamp must not be before start timestamp"));
    }
    promql::parse(parameters.get("query"))?;
    Ok("[]".into())
}

pub(super) fn formatted(parameters: &Parameters) -> Result<String, Wrong> {
    let query = promql::parse(parameters.get("query")).map_err(in_parameter("query"))?;
    Ok(serde_json::Value::from(promql::formatted(&query)).to_string())
}

fn terms(parameters: &Parameters) -> Result<Terms, Wrong> {
    let terms = Terms::of(parameters.timeout(TIMEOUT)?);
    Ok(Terms { lookback: parameters.lookback()?.unwrap_or(terms.lookback), ..terms })
}

fn in_time(terms: Terms) -> Result<(), Wrong> {
    if terms.timeout.as_micros() == 0 || terms.since.elapsed() > terms.timeout {
        return Err(Wrong(503, "timeout", "query timed out in query queue".into()));
    }
    Ok(())
}

fn begun(of: Type) -> String {
    format!("{{\"resultType\":\"{}\",\"result\":", of.short())
}

fn ended(out: &mut String, parameters: &Parameters, cost: Cost) {
    if !parameters.get("stats").is_empty() {
        let samples = cost.samples;
        // Writing to a string does not fail. Evaluation takes no time of the lab's.
        let _ = write!(
            out,
            ",\"stats\":{{\"timings\":{{\"evalTotalTime\":0,\"resultSortTime\":0,\"queryPreparationTime\":0,\
             \"innerEvalTime\":0,\"execQueueTime\":0,\"execTotalTime\":0}},\
             \"samples\":{{\"totalQueryableSamples\":{samples},\"peakSamples\":{samples}}}}}"
        );
    }
    out.push('}');
}

fn list<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut String, T)) {
    out.push('[');
    for (n, item) in items.into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

/// `{"metric":{…}`, which is to be closed.
fn metric(out: &mut String, labels: &Labels) {
    out.push_str("{\"metric\":");
    out.push_str(&super::object(labels).to_string());
}

/// `[seconds,"text"]`.
fn pair(out: &mut String, at: i64, text: &str) {
    out.push('[');
    write_time(out, at);
    out.push(',');
    out.push_str(&serde_json::Value::from(text).to_string());
    out.push(']');
}

/// `[seconds,"value"]`.
fn point(out: &mut String, at: i64, value: f64) {
    out.push('[');
    write_time(out, at);
    out.push_str(",\"");
    write_value(out, value);
    out.push_str("\"]");
}
