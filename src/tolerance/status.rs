//! HTTP status codes.

use super::{Judgement, Tolerance};

/// Something with an HTTP status.
#[diagnostic::on_unimplemented(
    message = "`status(..)` cannot judge what this probe returns (`{Self}`)",
    label = "this probe returns no HTTP status",
    note = "a tolerance is picked by the probe's output: `status(..)` for HTTP responses, `at_most(..)`, `at_least(..)` and `between(..)` for numbers, `contains(..)` and `matches(..)` for text, `json_path(..)` for JSON"
)]
pub trait AsStatus {
    /// The status code.
    fn status(&self) -> u16;
}

/// Expects one HTTP status. See [`status`].
#[derive(Clone, Copy, Debug)]
pub struct Status(u16);

/// Expects the HTTP status `code`.
#[must_use]
pub fn status(code: u16) -> Status {
    Status(code)
}

impl<T: AsStatus> Tolerance<T> for Status {
    fn judge(&self, observed: &T) -> Judgement {
        let code = observed.status();
        Judgement::of(code == self.0, code, &Tolerance::<T>::expected(self), ("equal", "another status"))
    }

    fn expected(&self) -> String {
        format!("status {}", self.0)
    }
}
