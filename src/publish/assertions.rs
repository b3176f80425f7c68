//! What a test asserts of a journal. A test that fails prints the summary, and one that passes prints nothing.

use std::panic::Location;

use super::github::assertion_failed;
use super::note_assertion;
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
        if self.recovered != Verdict::Met {
            self.fail(&format!("expected recovery, which is {}", self.recovered));
        }
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
        let what = format!("expected the verdict {expected}");
        if self.verdict != expected {
            self.fail(&what);
        }
        note_assertion(self, &what, true);
    }

    #[track_caller]
    fn assert_as_before(&self) {
        if !self.not_undone().is_empty() {
            self.fail("rollback failed, a fault may be left");
        }
        if !self.not_back().is_empty() {
            self.fail("everything is undone, but not back as it was");
        }
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        note_assertion(self, what, false);
        assertion_failed(&self.experiment, &format!("{what}: it is {}", self.verdict), Location::caller());
        panic!("{what}:\n{}", self.summary());
    }
}
