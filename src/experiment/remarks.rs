//! What sources of evidence say beside their answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Check, Finding, Scene};
use crate::BoxError;
use crate::journal::Reason;
use crate::tolerance::{Judgement, Outcome, shortened};

/// How many of a kind are kept: a source that is asked often says the same, or much.
const MOST: usize = 20;

/// What sources of evidence said beside their answers while one check or step looked; the journal keeps it. Clones are
/// the same list.
///
/// A probe whose source says that its answer is not to be believed as it stands says so with
/// [`distrust`](Self::distrust): whatever was seen is then no evidence.
#[derive(Clone, Debug, Default)]
pub struct Remarks(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    warnings: Vec<String>,
    infos: Vec<String>,
    distrust: Option<Reason>,
}

impl Remarks {
    /// The source warns.
    pub fn warn(&self, text: &str) {
        keep(&mut self.said().warnings, text);
    }

    /// The source has something to say that changes nothing.
    pub fn inform(&self, text: &str) {
        keep(&mut self.said().infos, text);
    }

    /// What was seen is no evidence, and why. The first reason stands.
    pub fn distrust(&self, reason: Reason) {
        self.said().distrust.get_or_insert(reason);
    }

    /// The warnings so far.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.said().warnings.clone()
    }

    /// The infos so far.
    #[must_use]
    pub fn infos(&self) -> Vec<String> {
        self.said().infos.clone()
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each once, in the order in which they came.
fn keep(list: &mut Vec<String>, text: &str) {
    let text = shortened(text);
    if list.len() < MOST && !list.contains(&text) {
        list.push(text);
    }
}

/// One look of a check, with what its sources said. What they say is no evidence is neither met nor not met.
pub(super) async fn look(check: &dyn Check, scene: &Scene) -> Result<(Finding, Remarks), BoxError> {
    let remarks = Remarks::default();
    let scene = Scene { remarks: remarks.clone(), ..scene.clone() };
    let mut finding = check.check(&scene).await?;
    let distrust = remarks.said().distrust.clone();
    if let (Outcome::Met | Outcome::NotMet, Some(reason)) = (&finding.judgement.outcome, distrust) {
        finding.judgement = Judgement::inconclusive(reason, &finding.judgement.expected);
    }
    Ok((finding, remarks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_kept_once_and_not_too_many() {
        let remarks = Remarks::default();
        for number in 0..100 {
            remarks.warn(&format!("warning {}", number / 2));
        }
        remarks.inform(&"long ".repeat(1000));
        assert_eq!(remarks.warnings().len(), MOST);
        assert_eq!(remarks.warnings()[1], "warning 1");
        assert!(remarks.infos()[0].len() < 300);
    }
}
