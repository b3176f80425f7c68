//! Where a fault acts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a run holds for itself while its faults are on: no two runs put faults into one place at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A namespace, by name.
    Namespace(String),
    /// A node, by name.
    Node(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(name) => write!(f, "namespace {name}"),
            Self::Node(name) => write!(f, "node {name}"),
        }
    }
}
