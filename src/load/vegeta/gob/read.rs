//! Results out of a gob stream.

use std::io::Read;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::Offset;

use super::UNIX_FROM_YEAR_ONE;
use super::types::{BYTES, INT, Message, STRING, Type, Types, UINT, signed};
use crate::load::vegeta::results::{Input, MOST_BYTES};
use crate::load::vegeta::{Record, ResultsError};

pub(in crate::load::vegeta) struct Decoder<R> {
    input: Input<R>,
    types: Types,
    plan: Option<Plan>,
    scratch: Vec<u8>,
    /// Where the latest definition begins, as long as no value has come after it.
    defined: Option<u64>,
}

/// What to do with the fields of the struct that the values are of.
struct Plan {
    of: i64,
    slots: Vec<Slot>,
    /// From here on no field is a figure.
    figures_end: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Attack,
    Seq(Integer),
    Code(Integer),
    Timestamp,
    Latency(Integer),
    BytesOut(Integer),
    BytesIn(Integer),
    Error,
    Body,
    Method,
    Url,
    Headers,
    /// A field that is not known, of this type.
    Other(i64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Integer {
    Signed,
    Unsigned,
}

impl<R: Read> Decoder<R> {
    pub fn new(input: Input<R>) -> Self {
        Self { input, types: Types::default(), plan: None, scratch: Vec::new(), defined: None }
    }

    pub fn read(&mut self, into: &mut Record, figures_only: bool) -> Result<bool, ResultsError> {
        loop {
            let begin = self.input.offset;
            let Some(length) = self.length()? else {
                // Types are defined for the sake of a value that is written with them.
                return match self.defined {
                    Some(begin) => Err(ResultsError::Cut { offset: self.input.offset, begin, what: "a result" }),
                    None => Ok(false),
                };
            };
            if length > MOST_BYTES {
                let why = format!("a gob message of {length} bytes; at most {MOST_BYTES} are read");
                return Err(ResultsError::Malformed { offset: begin, why });
            }
            let first = self.input.offset;
            self.input.message(length, &mut self.scratch)?;
            if (self.scratch.len() as u64) < length {
                return Err(ResultsError::Cut { offset: self.input.offset, begin, what: "a gob message" });
            }
            let mut message = Message::new(&self.scratch, first);
            if length == 0 {
                continue;
            }
            let number = message.int()?;
            if number < 0 {
                let Some(number) = number.checked_neg() else {
                    return Err(message.malformed("a type's number is too large"));
                };
                self.types.define(number, &mut message)?;
                self.plan = None;
                self.defined = Some(begin);
                continue;
            }
            let plan = match &mut self.plan {
                Some(plan) if plan.of == number => plan,
                plan => plan.insert(Plan::new(&self.types, number, &message)?),
            };
            plan.decode(&self.types, &mut message, into, figures_only)?;
            self.defined = None;
            return Ok(true);
        }
    }

    /// A message's length, or none at the end of the stream.
    fn length(&mut self) -> Result<Option<u64>, ResultsError> {
        let begin = self.input.offset;
        let Some(first) = self.input.byte()? else { return Ok(None) };
        if first <= 0x7f {
            return Ok(Some(first.into()));
        }
        let bytes = first.wrapping_neg();
        if bytes > 8 {
            let why = format!("a length of {bytes} bytes; gob has at most 8");
            return Err(ResultsError::Malformed { offset: begin, why });
        }
        let mut length = 0;
        for _ in 0..bytes {
            let cut = ResultsError::Cut { offset: self.input.offset, begin, what: "a gob message" };
            length = length << 8 | u64::from(self.input.byte()?.ok_or(cut)?);
        }
        Ok(Some(length))
    }
}

impl Plan {
    fn new(types: &Types, of: i64, message: &Message<'_>) -> Result<Self, ResultsError> {
        let Type::Struct(name, fields) = types.get(message, of)? else {
            return Err(message.malformed("a value that is no struct, where a result was expected"));
        };
        let mut slots = Vec::with_capacity(fields.len());
        for (field, of) in fields {
            slots.push(Slot::new(types, field, *of).ok_or_else(|| {
                message.malformed(format!("field {field} of {name} is of type {of}, which a result's is not"))
            })?);
        }
        for (needed, is_there) in [
            ("Timestamp", slots.contains(&Slot::Timestamp)),
            ("Latency", slots.iter().any(|slot| matches!(slot, Slot::Latency(_)))),
        ] {
            if !is_there {
                return Err(message.malformed(format!("the values are of {name}, which has no {needed}: no results")));
            }
        }
        let figures_end = slots.iter().rposition(Slot::is_figure).map_or(0, |last| last + 1);
        Ok(Self { of, slots, figures_end })
    }

    fn decode(
        &self,
        types: &Types,
        message: &mut Message<'_>,
        into: &mut Record,
        figures_only: bool,
    ) -> Result<(), ResultsError> {
        let mut next = 0;
        loop {
            let delta = message.uint()?;
            if delta == 0 {
                break;
            }
            let index = usize::try_from(delta).ok().and_then(|delta| delta.checked_add(next)).unwrap_or(usize::MAX);
            if figures_only && index > self.figures_end && index <= self.slots.len() {
                // The message is known to be whole; what is left of it is passed over at once.
                return Ok(());
            }
            let Some(slot) = self.slots.get(index.wrapping_sub(1)) else {
                return Err(message.malformed(format!("field {index} of a result of {}", self.slots.len())));
            };
            slot.decode(types, message, into, figures_only)?;
            next = index;
        }
        match message.remaining() {
            0 => Ok(()),
            more => Err(message.malformed(format!("{more} bytes after a result"))),
        }
    }
}

impl Slot {
    /// None if the field is known, and of a type that it cannot have.
    fn new(types: &Types, field: &str, of: i64) -> Option<Self> {
        let integer = match of {
            INT => Some(Integer::Signed),
            UINT => Some(Integer::Unsigned),
            _ => None,
        };
        let text = |slot| [STRING, BYTES].contains(&of).then_some(slot);
        match field {
            "Attack" => text(Self::Attack),
            "Seq" => integer.map(Self::Seq),
            "Code" => integer.map(Self::Code),
            "Timestamp" => (types.find(of) == Some(&Type::Opaque)).then_some(Self::Timestamp),
            "Latency" => integer.map(Self::Latency),
            "BytesOut" => integer.map(Self::BytesOut),
            "BytesIn" => integer.map(Self::BytesIn),
            "Error" => text(Self::Error),
            "Body" => text(Self::Body),
            "Method" => text(Self::Method),
            "URL" => text(Self::Url),
            "Headers" => match types.find(of) {
                Some(Type::Map(STRING, values)) if types.find(*values) == Some(&Type::List(STRING)) => {
                    Some(Self::Headers)
                }
                _ => None,
            },
            _ => Some(Self::Other(of)),
        }
    }

    fn is_figure(&self) -> bool {
        !matches!(
            self,
            Self::Attack | Self::Seq(_) | Self::Body | Self::Method | Self::Url | Self::Headers | Self::Other(_)
        )
    }

    #[inline]
    fn decode(
        self,
        types: &Types,
        message: &mut Message<'_>,
        into: &mut Record,
        figures_only: bool,
    ) -> Result<(), ResultsError> {
        match self {
            Self::Attack | Self::Body | Self::Method | Self::Url if figures_only => drop(message.bytes()?),
            Self::Seq(_) if figures_only => drop(message.uint()?),
            Self::Attack => text(message, &mut into.attack)?,
            Self::Seq(integer) => into.seq = integer.unsigned(message)?,
            Self::Code(integer) => {
                let code = integer.unsigned(message)?;
                into.code = u16::try_from(code).map_err(|_| message.malformed(format!("a status of {code}")))?;
            }
            Self::Timestamp => (into.timestamp, into.zone) = time(message)?,
            Self::Latency(integer) => into.latency = Duration::from_nanos(integer.unsigned(message)?),
            Self::BytesOut(integer) => into.bytes_out = integer.unsigned(message)?,
            Self::BytesIn(integer) => into.bytes_in = integer.unsigned(message)?,
            Self::Error => text(message, &mut into.error)?,
            Self::Body => into.body.extend_from_slice(message.bytes()?),
            Self::Method => text(message, &mut into.method)?,
            Self::Url => text(message, &mut into.url)?,
            Self::Headers => {
                for _ in 0..message.count()? {
                    let name = String::from_utf8_lossy(message.bytes()?).into_owned();
                    let values = into.headers.entry(name).or_default();
                    for _ in 0..message.count()? {
                        values.push(String::from_utf8_lossy(message.bytes()?).into_owned());
                    }
                }
            }
            Self::Other(of) => message.skip(types, of)?,
        }
        Ok(())
    }
}

impl Integer {
    #[inline]
    fn unsigned(self, message: &mut Message<'_>) -> Result<u64, ResultsError> {
        let bits = message.uint()?;
        match self {
            Self::Unsigned => Ok(bits),
            Self::Signed => u64::try_from(signed(bits))
                .map_err(|_| message.malformed(format!("{} where no negative number can be", signed(bits)))),
        }
    }
}

fn text(message: &mut Message<'_>, into: &mut String) -> Result<(), ResultsError> {
    into.push_str(&String::from_utf8_lossy(message.bytes()?));
    Ok(())
}

/// Go's binary time: a version, seconds since year 1, nanoseconds, the zone in minutes or -1 for UTC; from version 2
/// on the zone's seconds.
fn time(message: &mut Message<'_>) -> Result<(Timestamp, Offset), ResultsError> {
    let bytes = message.bytes()?;
    let (first, seconds_of_zone) = match bytes {
        [1, first @ ..] => (first, 0),
        [2, first @ .., seconds] => (first, i32::from(seconds.cast_signed())),
        _ => (bytes, 0),
    };
    let Some(&[s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, z0, z1]) =
        first.first_chunk().filter(|_| first.len() == 14)
    else {
        return Err(message.malformed(format!("{} is no time of Go's", bytes.escape_ascii())));
    };
    let seconds = i64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]).checked_sub(UNIX_FROM_YEAR_ONE);
    let nanoseconds = i32::from_be_bytes([n0, n1, n2, n3]);
    let zone = match i16::from_be_bytes([z0, z1]) {
        -1 => Some(Offset::UTC),
        minutes => Offset::from_seconds(i32::from(minutes) * 60 + seconds_of_zone).ok(),
    };
    let at = seconds.and_then(|seconds| Timestamp::new(seconds, nanoseconds).ok());
    at.zip(zone).ok_or_else(|| message.malformed(format!("{} is a time that cannot be", bytes.escape_ascii())))
}
