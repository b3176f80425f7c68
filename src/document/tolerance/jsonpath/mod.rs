//! The JSON paths of Chaos Toolkit documents, which are those of jsonpath2 and of no RFC.
//!
//! Called by the tolerance `jsonpath`. A path is read (`lex.rs`, `parse.rs`) and then applied to a value (`evaluate.rs`,
//! `function.rs`). What is particular to the dialect: a filter tests the node itself and not its children, `=` is
//! equality, `or` binds closer than `and`, functions are subscripts (`$.items.length()`), and escapes in quoted names
//! are taken as they are written. Promises: no path and no value overflows the stack or runs on; what would take too
//! many steps is an error.

mod evaluate;
mod function;
mod lex;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;

use super::ordered::Ordered;

/// A path, read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Path(Vec<parse::Step>);

/// Why a path is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathError {
    /// The character at which it goes wrong, from 1.
    pub(crate) column: usize,
    pub(crate) why: String,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.why)
    }
}

impl Path {
    /// # Errors
    /// [`PathError`], with the column.
    pub(crate) fn parse(path: &str) -> Result<Self, PathError> {
        parse::parse(path).map(Self)
    }

    /// The values that it finds, in order. Members of an object come in the order of the text, where `value` knows it,
    /// and else by name.
    ///
    /// # Errors
    /// Where there are too many, where finding them takes too long, and where jsonpath2 dies of it (a slice whose step
    /// is 0).
    pub(crate) fn find(&self, value: &Ordered) -> Result<Vec<Value>, String> {
        evaluate::find(&self.0, value)
    }
}
