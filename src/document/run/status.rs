//! What a run comes to: Chaos Toolkit's status, our verdict, and the exit code.

use crate::journal::Verdict;

/// Chaos Toolkit's word for how a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Completed,
    Failed,
    Aborted,
    Interrupted,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Interrupted => "interrupted",
        }
    }
}

/// How a run ended, in all that its exit code depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// As the original has it.
    pub(crate) status: Status,
    pub(crate) deviated: bool,
    pub(crate) gate_missed: bool,
    pub(crate) verdict: Verdict,
    /// A rollback of the document failed, or a fault may be left.
    pub(crate) not_rolled_back: bool,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
}

impl End {
    /// 0 met, or nothing to judge; 1 deviated; 3 inconclusive; 4 failed; 5 not rolled back; 128 and the signal.
    pub(crate) fn code(&self) -> u8 {
        match self.signal {
            _ if self.not_rolled_back => 5,
            Some(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            None if self.status == Status::Interrupted => 130,
            None if self.status == Status::Aborted => 4,
            None if self.deviated || self.verdict == Verdict::Deviated => 1,
            None if self.gate_missed || self.verdict == Verdict::Inconclusive => 3,
            None if self.status == Status::Failed => 4,
            None => 0,
        }
    }

    /// The code that Chaos Toolkit ends with.
    pub(crate) fn original_code(&self) -> u8 {
        u8::from(self.status != Status::Completed || self.deviated)
    }

    /// The status in the journal: a missed gate is not "completed", whoever reads it.
    pub(crate) fn journal_status(&self) -> Status {
        if self.gate_missed && self.status == Status::Completed { Status::Failed } else { self.status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        let met = End {
            status: Status::Completed,
            deviated: false,
            gate_missed: false,
            verdict: Verdict::Met,
            not_rolled_back: false,
            signal: None,
        };
        let cases = [
            (met, 0, 0),
            (End { verdict: Verdict::NotJudged, ..met }, 0, 0),
            (End { deviated: true, verdict: Verdict::Deviated, ..met }, 1, 1),
            (End { gate_missed: true, verdict: Verdict::Inconclusive, ..met }, 3, 0),
            (End { verdict: Verdict::Inconclusive, ..met }, 3, 0),
            (End { status: Status::Aborted, verdict: Verdict::Inconclusive, ..met }, 4, 1),
            (End { status: Status::Interrupted, signal: Some(15), ..met }, 143, 1),
            (End { status: Status::Interrupted, signal: Some(15), not_rolled_back: true, ..met }, 5, 1),
            (End { not_rolled_back: true, ..met }, 5, 0),
        ];
        for (end, ours, original) in cases {
            assert_eq!((end.code(), end.original_code()), (ours, original), "{end:?}");
        }
    }
}
