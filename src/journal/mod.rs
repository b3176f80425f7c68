//! The journal.
mod verdict;
mod window;

pub use verdict::{Reason, Verdict};
pub use window::FaultWindow;
