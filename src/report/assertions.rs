//! What a test asserts of a journal. A test that fails prints the summary, and one that passes prints nothing.

use std::panic::Location;

use super::github::assertion_failed;
use crate::journal::{Journal, Verdict};

impl Journal {
    /// Fails the test unless the hypothesis held again after the rollback, with evidence.
    ///
    /// On GitHub the failure is annotated at the line of the caller.
    ///
    /// # Panics
    /// It did not, nothing shows that it did, or it was not judged again; a rollback failed.
    #[track_caller]
    pub fn assert_recovered(&self) {
        self.assert_as_before();
        let recovered = self.recovered;
        self.assert_that(recovered == Verdict::Met, &format!("expected recovery, which is {recovered}"));
    }

    /// Fails the test unless the verdict is `expected`, with a summary of what happened.
    /// It fails always when something was not undone.
    ///
    /// On GitHub the failure is annotated at the line of the caller.
    ///
    /// # Panics
    /// The verdict is another one, a rollback failed, or the system did not come back from it.
    #[track_caller]
    pub fn assert_verdict(&self, expected: Verdict) {
        self.assert_as_before();
        self.assert_that(self.verdict == expected, &format!("expected the verdict {expected}"));
    }

    #[track_caller]
    fn assert_as_before(&self) {
        self.assert_that(self.not_undone().is_empty(), "rollback failed, a fault may be left");
        self.assert_that(self.not_back().is_empty(), "everything is undone, but not back as it was");
    }

    #[track_caller]
    fn assert_that(&self, holds: bool, what: &str) {
        if holds {
            return;
        }
        assertion_failed(&self.experiment, &format!("{what}: it is {}", self.verdict), Location::caller());
        panic!("{what}:\n{}", self.summary());
    }
}
