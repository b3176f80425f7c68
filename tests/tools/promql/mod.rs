//! The lab's Prometheus beside a real one of version 2.42: the same samples in both, the same questions to both.
//!
//! `STEADFAST_EXPRESSIONS` says how many expressions are made, `STEADFAST_SEED` which.

mod answers;
mod grammar;
mod real;
mod requests;
mod samples;

use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;
use steadfast::clock::{Seed, Stopwatch};

use self::answers::{Answer, Asked, has_data, same};
use self::grammar::{Grammar, Question, When};
use self::real::{Programs, Real};
use self::samples::{FIRST, SPAN, Series};
use super::{Needs, Outcome};

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much is written at once, in milliseconds: a database's head takes nothing that is much older than its newest.
const PIECE: i64 = 600_000;

/// How many expressions are made unless it is said.
const EXPRESSIONS: usize = 2000;

pub fn trials() -> (Needs, Vec<Trial>) {
    let needs = Needs::new("prometheus", real::found());
    let trials = vec![
        needs.trial("promql::expressions", expressions),
        needs.trial("promql::staleness", staleness),
        needs.trial("promql::requests", requests),
    ];
    (needs, trials)
}

/// Whether the real one is known to answer otherwise; each is told in `docs/differences.md`.
fn stays(question: &Question) -> bool {
    let has = |part: &str| question.expr.contains(part);
    let steps = matches!(question.when, When::Steps { .. });
    let (fixed, subqueries) = (has(" @ "), question.expr.matches(")[").count());
    // It loses sight of what an offset moves.
    let timestamp = fixed && has("timestamp(") && has(" offset ");
    // It takes the time of the first step for all of them.
    let predicted = fixed && has("predict_linear(") && (steps || subqueries > 0);
    // Of what `@` fixes, it makes a point although no step lies in the window; and where the window begins with the
    // query, or with the window around it, it takes the offset twice.
    let subquery = fixed && subqueries > 0 && (question.raw || subqueries > 1 || has(" offset -"));
    // The series of a range come in an order of chance, and so do the terms of a sum; of large numbers little is left.
    let spread = has("stddev") || has("stdvar");
    let sorted = steps && spread && ["sort", "time()", "timestamp(", "big_total"].iter().any(|large| has(large));
    // The last digits are another library's, and then all that is left of a difference or a remainder.
    let digits = ["atan2", " ^ ", "exp(", "ln(", "log"].iter().any(|of| has(of)) && (spread || has(" % "));
    timestamp || predicted || subquery || sorted || digits
}

/// As many expressions as `count`, every other one as a range; and how many were left out.
fn questions(seed: Seed, purpose: &str, count: usize) -> (Vec<Question>, usize) {
    let mut grammar = Grammar::new(seed.rng(purpose));
    let (mut questions, mut left_out) = (Vec::new(), 0);
    while questions.len() < count {
        let question = if questions.len().is_multiple_of(2) { grammar.instant() } else { grammar.steps() };
        if stays(&question) {
            left_out += 1;
        } else {
            questions.push(question);
        }
    }
    (questions, left_out)
}

/// Compares all answers, and says what it saw.
fn compare(seed: Seed, questions: &[Question], theirs: &[Answer], ours: &[Answer], took: [Duration; 2]) -> Outcome {
    let (mut wrong, mut data, mut errors) = (Vec::new(), 0, 0);
    for ((question, theirs), ours) in questions.iter().zip(theirs).zip(ours) {
        data += usize::from(has_data(theirs));
        errors += usize::from(theirs.status != 200);
        let ordered = matches!(question.when, When::At(_)) && question.expr.starts_with("sort");
        if !same(theirs, ours, ordered) {
            wrong.push(format!("{question:?}\n  real: {}\n  lab:  {}", shown(theirs), shown(ours)));
        }
    }
    println!(
        "seed {}: {} expressions, {data} with data, {errors} errors, {} differ; real {:.1?}, lab {:.1?}",
        seed.0,
        questions.len(),
        wrong.len(),
        took[0],
        took[1]
    );
    if !wrong.is_empty() {
        let count = wrong.len();
        wrong.truncate(20);
        return Err(format!("STEADFAST_SEED={}: {count} answers differ:\n{}", seed.0, wrong.join("\n")).into());
    }
    // A comparison of nothing with nothing proves nothing.
    if data * 10 < questions.len() * 6 || errors * 10 > questions.len() * 2 {
        return Err(format!("too few of {} have data: {data}, and {errors} are errors", questions.len()).into());
    }
    Ok(())
}

fn shown(answer: &Answer) -> String {
    let text = format!("{} {}", answer.status, answer.body);
    if text.len() > 1500 { text.chars().take(1500).chain("…".chars()).collect() } else { text }
}

fn timed<T>(of: impl FnOnce() -> Result<T, String>) -> Result<(T, Duration), String> {
    let since = Stopwatch::start();
    of().map(|value| (value, since.elapsed()))
}

fn count() -> Result<usize, String> {
    match std::env::var("STEADFAST_EXPRESSIONS") {
        Ok(text) => text.parse().map_err(|_| format!("STEADFAST_EXPRESSIONS={text:?} is not a whole number")),
        Err(_) => Ok(EXPRESSIONS),
    }
}

/// A real one with these samples. It reads blocks that its own tool has made; without that, or if `ends` are among the
/// samples, which no tool imports, they are written as another server would.
fn serving(series: &mut [Series], ends: bool) -> Result<(Programs, Real), String> {
    let programs = Programs::new()?;
    if !ends && programs.import(&samples::open_metrics(series))? {
        let server = programs.start()?;
        return Ok((programs, server));
    }
    // Series stand in the order of their making, and sums are of that order.
    series.sort_by_key(|one| one.samples.first().map(|(at, _)| (at - FIRST) / PIECE));
    let server = programs.start()?;
    for first in (FIRST..FIRST + SPAN).step_by(usize::try_from(PIECE).expect("a small number")) {
        answers::write(&server, samples::remote_write(series, first, first + PIECE))?;
    }
    Ok((programs, server))
}

/// Asks both, and compares.
fn asked(seed: Seed, mut series: Vec<Series>, ends: bool, (questions, left_out): (Vec<Question>, usize)) -> Outcome {
    println!("seed {}: {left_out} expressions are left out, for what is known to differ", seed.0);
    let (_programs, server) = serving(&mut series, ends)?;
    let asked: Vec<Asked> = questions.iter().map(Question::asked).collect();
    let (theirs, real_took) = timed(|| answers::real(&server, &asked))?;
    let (ours, lab_took) = timed(|| answers::lab(&series, &asked))?;
    compare(seed, &questions, &theirs, &ours, [real_took, lab_took])
}

/// Samples of an hour.
fn expressions() -> Outcome {
    let seed = Seed::from_env().map_err(|error| error.to_string())?;
    let series = samples::made(&mut seed.rng("promql samples"));
    asked(seed, series, false, questions(seed, "promql expressions", count()?))
}

/// Series that end, some of them to come back.
fn staleness() -> Outcome {
    let seed = Seed::from_env().map_err(|error| error.to_string())?;
    let series = samples::made(&mut seed.rng("promql samples"));
    let series = samples::with_ends(series, &mut seed.rng("promql ends"));
    asked(seed, series, true, questions(seed, "promql ends", count()? / 4))
}

/// What the API refuses, and how, to the letter; and what it makes of odd parameters.
fn requests() -> Outcome {
    let mut series = samples::made(&mut Seed(0).rng("promql samples"));
    let (_programs, server) = serving(&mut series, false)?;
    let asked = requests::all();
    let theirs = answers::real(&server, &asked)?;
    let ours = answers::lab(&series, &asked)?;
    let text = |answer: &Answer| match &answer.body {
        Value::String(text) => Some(text.clone()),
        // Whether a query is late in the queue or after it is left to chance.
        body if body["errorType"] == "timeout" => None,
        body => body["error"].as_str().map(str::to_owned),
    };
    let mut wrong = Vec::new();
    for ((asked, theirs), ours) in asked.iter().zip(&theirs).zip(&ours) {
        if text(theirs) != text(ours) || !same(theirs, ours, false) {
            let (theirs, ours) = (shown(theirs), shown(ours));
            wrong.push(format!("{} {} {}\n  real: {theirs}\n  lab:  {ours}", asked.method, asked.path, asked.form));
        }
    }
    let refused = theirs.iter().filter(|answer| answer.status >= 400).count();
    println!("{} requests, {refused} refused, {} differ", asked.len(), wrong.len());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}
