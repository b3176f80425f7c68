//! Tests that need another cluster than the embedded one.
//!
//! libtest decides when it is compiled what is ignored, so `needs = "kind"` is a static ignore with that reason. What the
//! attribute makes of it calls this module, so that such a test is never green on a cluster that it was not meant for,
//! nor left out where `STEADFAST_REQUIRE` has what it needs.

use super::{ClusterError, Target};
use crate::variables;

/// The variable that says what must not be left out: `kind`, or several with commas.
const REQUIRE: &str = "STEADFAST_REQUIRE";

/// The variable by which the user of nextest says that ignored tests are run too: `run`.
const IGNORED: &str = "STEADFAST_IGNORED";

impl Target {
    /// What `STEADFAST_CLUSTER` says, if that is the kind of cluster that a test needs.
    ///
    /// # Errors
    /// It says something else, or nothing.
    #[doc(hidden)]
    pub fn needed(what: &'static str) -> Result<Self, ClusterError> {
        match Self::from_env()? {
            target if target.is(what) => Ok(target),
            target => Err(ClusterError::OtherNeeded { what, is: target.to_string() }),
        }
    }

    fn is(&self, what: &str) -> bool {
        match self {
            Self::Embedded => what == "embedded",
            Self::Kind(_) => what == "kind",
            Self::Context(_) | Self::InCluster => false,
        }
    }
}

/// Fails where `STEADFAST_REQUIRE` has what `test` needs, and this process leaves it out.
///
/// # Errors
/// It is left out.
#[doc(hidden)]
pub fn not_left_out(what: &'static str, test: &'static str) -> Result<(), ClusterError> {
    let required = variables::text(REQUIRE).is_some_and(|all| all.split(',').any(|one| one.trim() == what));
    if !required {
        return Ok(());
    }
    Target::needed(what)?;
    // nextest starts a process for each test, and does not tell which others it starts: there its user says so.
    let run = std::env::args().any(|argument| argument == "--ignored" || argument == "--include-ignored")
        || variables::text(IGNORED).is_some_and(|said| said == "run");
    if run { Ok(()) } else { Err(ClusterError::LeftOut { what, test }) }
}
