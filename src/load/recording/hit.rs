//! One request, and how it ended.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Class {
    /// No connection: refused, no route, no endpoint.
    Connect,
    /// The name has no address.
    Name,
    /// The TLS handshake failed.
    Tls,
    /// No complete answer in time.
    TimeOut,
    /// The connection was cut before the answer was complete.
    Reset,
    /// What came is no HTTP, or led in a circle.
    Protocol,
}

impl Class {
    /// `connect`, `name`, `tls`, `time-out`, `reset`, `protocol`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Name => "name",
            Self::Tls => "tls",
            Self::TimeOut => "time-out",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
        }
    }
}

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// With a status.
    Status(u16),
    /// Without an answer.
    NoAnswer(Class),
}

impl Outcome {
    /// Whether it is a status below 400.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Self::Status(status) if status < 400)
    }

    /// `200`, `time-out`.
    #[must_use]
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::Status(status) => status.to_string().into(),
            Self::NoAnswer(class) => class.name().into(),
        }
    }
}

/// One request. Times are counted from the load's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// Its number, from 0.
    pub number: u64,
    /// When it was to be sent.
    pub intended: Duration,
    /// When it was sent: written to an open connection, or the opening of its own connection begun.
    pub sent: Duration,
    /// When the first byte of its answer came; the end if none came.
    pub first_byte: Duration,
    /// When its answer was complete, or given up.
    pub done: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// The length of the answer's body.
    pub bytes: u64,
    /// The length of the request's body.
    pub bytes_out: u64,
}

impl Hit {
    /// From the intended instant to the end: what a user waits who came on schedule.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.done.saturating_sub(self.intended)
    }

    /// From the sending to the end: what the system took once it was asked.
    #[must_use]
    pub fn service(&self) -> Duration {
        self.done.saturating_sub(self.sent)
    }

    /// From the intended instant to the sending: the generator's own fault, and the wait for a connection.
    #[must_use]
    pub fn lateness(&self) -> Duration {
        self.sent.saturating_sub(self.intended)
    }
}
