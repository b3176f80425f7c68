//! Result files, several of them read in turn as vegeta does.

use std::fs::File;
use std::io::{self, Read, Write};

use super::Output;
use crate::load::vegeta::{Decoder, Record};

/// What a command reads by default.
pub(super) const STDIN: &str = "stdin";

/// The results of several files, one of each in turn.
pub(super) struct Inputs {
    open: Vec<Input>,
    next: usize,
    figures_only: bool,
    /// What could not be read, each with its file's name.
    pub(super) failures: Vec<String>,
}

struct Input {
    name: String,
    state: State,
}

enum State {
    /// Its encoding is not known before there is something to read.
    Fresh(Box<dyn Read + Send>),
    Reading(Decoder<Box<dyn Read + Send>>),
    Ended,
}

/// Flushes what was written before it waits for more to read.
struct Flushing(Box<dyn Read + Send>, Output);

impl Read for Flushing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.1.flush()?;
        self.0.read(into)
    }
}

impl Inputs {
    /// Opens all of them.
    pub(super) fn open(names: &[String], figures_only: bool) -> Result<Self, String> {
        let mut open = Vec::new();
        for name in names {
            let source: Box<dyn Read + Send> = match name.as_str() {
                STDIN => Box::new(io::stdin()),
                _ => Box::new(File::open(name).map_err(|error| format!("failed to open {name}: {error}"))?),
            };
            open.push(Input { name: name.clone(), state: State::Fresh(source) });
        }
        Ok(Self { open, next: 0, figures_only, failures: Vec::new() })
    }

    /// Flushes an output whenever more must be read. Before anything is read.
    pub(super) fn flushing(mut self, output: &Output) -> Self {
        for input in &mut self.open {
            input.state = match std::mem::replace(&mut input.state, State::Ended) {
                State::Fresh(source) => State::Fresh(Box::new(Flushing(source, output.clone()))),
                other => other,
            };
        }
        self
    }

    /// Replaces `record` by the next one; false when all have ended.
    pub(super) fn read(&mut self, record: &mut Record) -> bool {
        while !self.open.is_empty() {
            let turn = self.next % self.open.len();
            let input = &mut self.open[turn];
            match input.read(record, self.figures_only) {
                Ok(true) => {
                    self.next = turn + 1;
                    return true;
                }
                Ok(false) => {}
                Err(why) => self.failures.push(format!("{}: {why}", input.name)),
            }
            // The next one has moved to its place.
            self.open.remove(turn);
            self.next = turn;
        }
        false
    }
}

impl Input {
    fn read(&mut self, record: &mut Record, figures_only: bool) -> Result<bool, String> {
        if let State::Fresh(_) = self.state
            && let State::Fresh(source) = std::mem::replace(&mut self.state, State::Ended)
        {
            let decoder = Decoder::detect(source).map_err(|error| error.to_string())?;
            self.state = State::Reading(if figures_only { decoder.figures_only() } else { decoder });
        }
        match &mut self.state {
            State::Reading(decoder) => decoder.read(record).map_err(|error| error.to_string()),
            State::Fresh(_) | State::Ended => Ok(false),
        }
    }
}
