//! An attack as an activity of an experiment: in this process, over the experiment's own way to the system under test, and
//! on its clock.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::plan;
use super::send::fill;
use crate::cli::vegeta::{Output, Verb};
use crate::document::export::Described;
use crate::experiment::{Background, Scene};
use crate::load::vegeta::{Encoder, Encoding, Record};

/// Runs `vegeta attack …`, and returns what a process would have. `None` if the words are another command of vegeta's.
///
/// # Errors
/// A flag is wrong, the targets cannot be read, or the results not written.
pub(in crate::cli) fn attack(words: Vec<String>, scene: Scene) -> BoxFuture<'static, Result<Option<Value>, String>> {
    Box::pin(async move {
        let options = match crate::cli::vegeta::parsed(&words)? {
            Verb::Attack(options) => options,
            _ => return Ok(None),
        };
        let plan = plan::plan(&options, None)?;
        if plan.output == "stdout" {
            return Err(
                "vegeta attack: results on standard output would fill the journal; give -output=FILE".to_owned()
            );
        }
        let output = Output::create(&plan.output)?;
        let (load, records) = plan.load.records();
        Background::validate(&load).map_err(|error| error.to_string())?;
        let (targets, name, path) = (plan.targets, plan.name, plan.output);
        // A thread, since results come while time stands still.
        let writer = std::thread::spawn(move || {
            let mut encoder = Encoder::new(Encoding::Gob, output);
            let mut record = Record { attack: name, ..Record::default() };
            for batch in records {
                for sent in batch {
                    fill(&mut record, sent, &targets);
                    encoder.write(&record)?;
                }
            }
            encoder.flush()
        });
        let (described, measured) = (Background::describe(&load), scene.measured.clone());
        let done = Background::run(&load, scene).await;
        // Its end lets the writer end.
        drop(load);
        let written = writer.join().map_err(|_| "the results could not be written".to_owned())?;
        let figures = done.map_err(|error| format!("vegeta attack: {error}"))?;
        measured.figures(&described, figures);
        written.map_err(|error| format!("vegeta attack: failed to write {path}: {error}"))?;
        Ok(Some(json!({"status": 0, "stdout": "", "stderr": ""})))
    })
}

/// What `vegeta attack …` would send; `None` if the words are another command of vegeta's.
///
/// # Errors
/// A flag is wrong or has nothing like it in a [`Load`](crate::load::Load), or the targets cannot be read.
pub(crate) fn described(words: &[String]) -> Result<Option<Described>, String> {
    let options = match crate::cli::vegeta::parsed(words)? {
        Verb::Attack(options) => options,
        _ => return Ok(None),
    };
    let plan = plan::plan(&options, None)?;
    let others = [
        ("-lazy", options.lazy),
        ("-cert", options.cert.is_some()),
        ("-root-certs", !options.root_certs.is_empty()),
        ("-insecure", options.insecure),
        ("-h2c", options.h2c),
        ("-unix-socket", options.unix_socket.is_some()),
        ("-laddr", !options.laddr.is_unspecified()),
        ("-connect-to", !options.connect_to.is_empty()),
    ];
    if let Some((flag, _)) = others.iter().find(|(_, given)| *given) {
        return Err(format!("{flag} is given"));
    }
    let mut chain = Vec::new();
    if options.keepalive {
        chain.push("keep_alive()".to_owned());
    }
    chain.extend(options.max_workers.map(|most| format!("in_flight({most})")));
    if options.max_connections > 0 {
        chain.push(format!("connections({})", options.max_connections));
    }
    let per_second = options.rate.per_second().ok_or("the rate has no limit")?;
    let (duration, timeout) = (options.duration, options.timeout);
    if duration.is_zero() {
        return Err("it has no end: give -duration".to_owned());
    }
    Ok(Some(Described { per_second, duration, timeout, targets: plan.targets, output: plan.output, chain }))
}
