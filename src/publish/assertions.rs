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
            let what = format!("expected recovery, which is {}", self.recovered);
            self.fail(&what, &what);
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
            self.fail(&what, &format!("{what}: it is {}", self.verdict));
        }
        note_assertion(self, &what, true);
    }

    #[track_caller]
    fn assert_as_before(&self) {
        if !self.not_undone().is_empty() {
            let what = "rollback failed, a fault may be left";
            self.fail(what, &format!("{what}: {}", self.not_undone().join("; ")));
        }
        if !self.not_back().is_empty() {
            let what = "everything is undone, but not back as it was";
            self.fail(what, &format!("{what}: {}", self.not_back().join("; ")));
        }
    }

    /// `told` is `what` with what was found instead.
    #[track_caller]
    fn fail(&self, what: &str, told: &str) -> ! {
        note_assertion(self, what, false);
        assertion_failed(&self.experiment, told, Location::caller());
        panic!("{what}:\n{}", self.summary());
    }
}
