//! What is wrong with a document, and where: the one error of loading and validating it.

use std::fmt;

/// An error (or a warning) about a place of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invalid {
    /// What is wrong, and what to do about it; Chaos Toolkit's own sentence where it has one.
    pub(crate) message: String,
    /// The file, the URL, or the option that it came from; empty where a value has no source.
    pub(crate) file: String,
    /// The line, from 1; 0 where none is known.
    pub(crate) line: usize,
    /// The column in characters, from 1; 0 where none is known.
    pub(crate) column: usize,
    /// The place as a JSON path, such as `$.method[0].provider`; empty where the text is not even a document.
    pub(crate) path: String,
}

impl Invalid {
    /// An error of the whole of `file`, without a place in it.
    pub(crate) fn of(file: impl Into<String>, message: impl Into<String>) -> Self {
        Invalid { message: message.into(), file: file.into(), line: 0, column: 0, path: String::new() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(out, "{}:", self.file)?;
            if self.line > 0 {
                write!(out, "{}:{}:", self.line, self.column)?;
            }
            out.write_str(" ")?;
        }
        out.write_str(&self.message)?;
        if !self.path.is_empty() {
            write!(out, " (at {})", self.path)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}
