//! What the environment says: the one place that reads it.
//!
//! Called by all other modules. It promises that a variable that is set and empty counts as one that is not set, so
//! that a script can pass one on that it may not have; what is no text is passed on as far as it is, so that whoever
//! reads it says that it is unknown. README.md has the table of all variables.

use std::path::PathBuf;

/// What the variable says, if it is set and not empty.
pub(crate) fn text(name: &str) -> Option<String> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().into_owned())
}

/// The path that the variable names, if it is set and not empty.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
