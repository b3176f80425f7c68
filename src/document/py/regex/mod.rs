//! Regular expressions of Python's `re`, for texts.
//!
//! A pattern is read by Python's rules and refused in its words (`parse.rs`), then written in the syntax of the
//! `fancy-regex` crate (`emit.rs`), which has look-around and back-references. Known differences: `\b` takes marks and
//! joiners as parts of words, `(?i)` folds as Unicode says, `\N{…}` is not supported, and a search that takes too long
//! ends with an error instead of running on.

mod class;
mod emit;
mod flags;
mod parse;
mod source;
#[cfg(test)]
mod tests;
mod width;

use std::fmt;

/// How many steps a search may take back.
const BACKTRACKS: usize = 1_000_000;

/// A pattern, ready to search with.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    compiled: fancy_regex::Regex,
}

/// Why a pattern is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PatternError {
    /// Python refuses it with these words.
    Invalid(String),
    /// Python takes it, and we do not.
    Unsupported(String),
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => f.write_str(why),
            Self::Unsupported(what) => write!(f, "{what} is not supported; write it in another way"),
        }
    }
}

impl Pattern {
    /// `re.compile(pattern)`, without flags.
    ///
    /// # Errors
    /// [`PatternError`]; in Python's words where Python would refuse it too.
    pub(crate) fn compile(pattern: &str) -> Result<Self, PatternError> {
        let parsed = parse::parse(pattern)?;
        let mut builder = fancy_regex::RegexBuilder::new(&emit::emit(&parsed));
        let compiled = builder.backtrack_limit(BACKTRACKS).build();
        let compiled = compiled.map_err(|error| PatternError::Unsupported(format!("this pattern ({error})")))?;
        Ok(Self { compiled })
    }

    /// `re.search(pattern, text) is not None`.
    ///
    /// # Errors
    /// Where the search was given up.
    pub(crate) fn found_in(&self, text: &str) -> Result<bool, String> {
        self.compiled.is_match(text).map_err(|error| format!("the search was given up: {error}"))
    }
}
