//! gob's primitives and type definitions.

use std::collections::BTreeMap;

use crate::load::vegeta::ResultsError;

/// Types that need no definition, by their numbers.
pub(super) const BOOL: i64 = 1;
pub(super) const INT: i64 = 2;
pub(super) const UINT: i64 = 3;
pub(super) const FLOAT: i64 = 4;
pub(super) const BYTES: i64 = 5;
pub(super) const STRING: i64 = 6;
pub(super) const COMPLEX: i64 = 7;
pub(super) const INTERFACE: i64 = 8;

/// How deep types may nest in what is skipped.
const DEEPEST: usize = 32;

/// A message, read from front to back.
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the message begins in the stream.
    begin: u64,
}

impl<'a> Message<'a> {
    pub fn new(bytes: &'a [u8], begin: u64) -> Self {
        Self { bytes, at: 0, begin }
    }

    pub fn malformed(&self, why: impl Into<String>) -> ResultsError {
        ResultsError::Malformed { offset: self.begin + self.at as u64, why: why.into() }
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], ResultsError> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(count).ok().and_then(|count| rest.get(..count)).ok_or_else(|| {
            self.malformed(format!("{count} bytes are announced, and {} are left of the gob message", rest.len()))
        })?;
        self.at += taken.len();
        Ok(taken)
    }

    #[inline]
    pub fn uint(&mut self) -> Result<u64, ResultsError> {
        match self.bytes.get(self.at) {
            Some(byte) if *byte <= 0x7f => {
                self.at += 1;
                Ok((*byte).into())
            }
            Some(byte) => {
                let length = usize::from(byte.wrapping_neg());
                if length > 8 {
                    return Err(self.malformed(format!("an integer of {length} bytes; gob has at most 8")));
                }
                self.at += 1;
                let bytes = self.take(length as u64)?;
                Ok(bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)))
            }
            None => Err(self.malformed("the gob message ends in the middle of a value")),
        }
    }

    #[inline]
    pub fn int(&mut self) -> Result<i64, ResultsError> {
        Ok(signed(self.uint()?))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], ResultsError> {
        let length = self.uint()?;
        self.take(length)
    }

    /// A number of elements, each of which takes at least a byte.
    pub fn count(&mut self) -> Result<u64, ResultsError> {
        let count = self.uint()?;
        if count > self.remaining() as u64 {
            return Err(self.malformed(format!("{count} elements in the {} bytes left", self.remaining())));
        }
        Ok(count)
    }

    /// Reads a struct's fields: `read` is given the index of each, until the last.
    pub fn fields(
        &mut self,
        mut read: impl FnMut(&mut Self, usize) -> Result<(), ResultsError>,
    ) -> Result<(), ResultsError> {
        let mut next = 0;
        loop {
            let delta = self.uint()?;
            if delta == 0 {
                return Ok(());
            }
            let index = usize::try_from(delta).ok().and_then(|delta| delta.checked_add(next)).unwrap_or(usize::MAX);
            if index == usize::MAX {
                return Err(self.malformed("a field's number is too large"));
            }
            read(self, index - 1)?;
            next = index;
        }
    }

    /// Passes over a value.
    pub fn skip(&mut self, types: &Types, of: i64) -> Result<(), ResultsError> {
        self.skip_nested(types, of, 0)
    }

    fn skip_nested(&mut self, types: &Types, of: i64, depth: usize) -> Result<(), ResultsError> {
        if depth > DEEPEST {
            return Err(self.malformed(format!("types nest deeper than {DEEPEST}")));
        }
        match of {
            BOOL | INT | UINT | FLOAT => drop(self.uint()?),
            BYTES | STRING => drop(self.bytes()?),
            COMPLEX => {
                self.uint()?;
                self.uint()?;
            }
            INTERFACE => {
                // The name of the concrete type, nothing if it is nil; its number, the length, the value.
                if !self.bytes()?.is_empty() {
                    self.int()?;
                    self.bytes()?;
                }
            }
            _ => match types.get(self, of)? {
                Type::Struct(_, fields) => self.fields(|message, index| match fields.get(index) {
                    Some((_, of)) => message.skip_nested(types, *of, depth + 1),
                    None => Err(message.malformed(format!("field {index} of a struct of {}", fields.len()))),
                })?,
                Type::List(element) => {
                    for _ in 0..self.count()? {
                        self.skip_nested(types, *element, depth + 1)?;
                    }
                }
                Type::Map(key, value) => {
                    for _ in 0..self.count()? {
                        self.skip_nested(types, *key, depth + 1)?;
                        self.skip_nested(types, *value, depth + 1)?;
                    }
                }
                Type::Opaque => drop(self.bytes()?),
            },
        }
        Ok(())
    }
}

/// gob's signed integers: the sign is the lowest bit.
#[inline]
pub(super) fn signed(bits: u64) -> i64 {
    let value = (bits >> 1).cast_signed();
    if bits & 1 == 1 { !value } else { value }
}

/// A type that the stream defines.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// Its name, and its fields with the numbers of their types.
    Struct(String, Vec<(String, i64)>),
    /// A slice or an array.
    List(i64),
    Map(i64, i64),
    /// Bytes that the type itself made.
    Opaque,
}

/// The types defined so far.
#[derive(Debug, Default)]
pub(super) struct Types(BTreeMap<i64, Type>);

/// No stream of results defines more.
const MOST_TYPES: usize = 1000;

impl Types {
    pub fn find(&self, number: i64) -> Option<&Type> {
        self.0.get(&number)
    }

    pub fn get(&self, message: &Message<'_>, number: i64) -> Result<&Type, ResultsError> {
        self.find(number).ok_or_else(|| message.malformed(format!("type {number} is used and not defined")))
    }

    /// Reads a definition. One of a known number replaces it: files may follow one another.
    pub fn define(&mut self, number: i64, message: &mut Message<'_>) -> Result<(), ResultsError> {
        let mut defined = None;
        message.fields(|message, kind| {
            defined = Some(match kind {
                ARRAY | SLICE => Type::List(list(message)?),
                STRUCT => structure(message)?,
                MAP => map(message)?,
                GOB_ENCODER | BINARY_MARSHALER | TEXT_MARSHALER => {
                    message.fields(common)?;
                    Type::Opaque
                }
                _ => return Err(message.malformed(format!("a type of kind {kind}, which gob does not have"))),
            });
            Ok(())
        })?;
        let defined = defined.ok_or_else(|| message.malformed(format!("type {number} is defined as nothing")))?;
        if self.0.len() >= MOST_TYPES {
            return Err(message.malformed(format!("more than {MOST_TYPES} types")));
        }
        self.0.insert(number, defined);
        Ok(())
    }
}

// The fields of gob's own `wireType`, of which a definition has one.
const ARRAY: usize = 0;
const SLICE: usize = 1;
const STRUCT: usize = 2;
const MAP: usize = 3;
const GOB_ENCODER: usize = 4;
const BINARY_MARSHALER: usize = 5;
const TEXT_MARSHALER: usize = 6;

/// The first field of each kind of definition: a name and a number, neither of which is needed.
fn common(message: &mut Message<'_>, index: usize) -> Result<(), ResultsError> {
    match index {
        0 => named(message).map(drop),
        _ => Err(message.malformed(format!("field {index} of a type that has one"))),
    }
}

fn named(message: &mut Message<'_>) -> Result<String, ResultsError> {
    let mut name = String::new();
    message.fields(|message, index| {
        match index {
            0 => name = String::from_utf8_lossy(message.bytes()?).into_owned(),
            1 => drop(message.int()?),
            _ => return Err(message.malformed(format!("field {index} of a type's name"))),
        }
        Ok(())
    })?;
    Ok(name)
}

/// The type of a slice's or an array's elements.
fn list(message: &mut Message<'_>) -> Result<i64, ResultsError> {
    let mut element = 0;
    message.fields(|message, index| {
        match index {
            1 => element = message.int()?,
            2 => drop(message.int()?),
            _ => common(message, index)?,
        }
        Ok(())
    })?;
    Ok(element)
}

fn map(message: &mut Message<'_>) -> Result<Type, ResultsError> {
    let (mut key, mut value) = (0, 0);
    message.fields(|message, index| {
        match index {
            1 => key = message.int()?,
            2 => value = message.int()?,
            _ => common(message, index)?,
        }
        Ok(())
    })?;
    Ok(Type::Map(key, value))
}

fn structure(message: &mut Message<'_>) -> Result<Type, ResultsError> {
    let (mut name, mut fields) = (String::new(), Vec::new());
    message.fields(|message, index| {
        match index {
            0 => name = named(message)?,
            1 => {
                for _ in 0..message.count()? {
                    let (mut name, mut of) = (String::new(), 0);
                    message.fields(|message, index| {
                        match index {
                            0 => name = String::from_utf8_lossy(message.bytes()?).into_owned(),
                            1 => of = message.int()?,
                            _ => return Err(message.malformed(format!("field {index} of a field's definition"))),
                        }
                        Ok(())
                    })?;
                    fields.push((name, of));
                }
            }
            _ => return Err(message.malformed(format!("field {index} of a struct's definition"))),
        }
        Ok(())
    })?;
    Ok(Type::Struct(name, fields))
}
