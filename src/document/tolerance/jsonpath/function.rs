//! Functions of paths.

use serde_json::Value;

/// A function; each applies to what it stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    CharAt,
    Entries,
    Keys,
    Length,
    Substring,
    Values,
}

const ALL: [(&str, Function); 6] = [
    ("charAt", Function::CharAt),
    ("entries", Function::Entries),
    ("keys", Function::Keys),
    ("length", Function::Length),
    ("substring", Function::Substring),
    ("values", Function::Values),
];

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|(known, _)| *known == name).map(|(_, function)| function)
    }

    pub(super) fn names() -> String {
        ALL.map(|(name, _)| name).join(", ")
    }

    /// What it makes of a value; nothing for a type that it does not know, or for other arguments than it has.
    /// `members` are those of an object, in their order.
    pub(super) fn apply(self, value: &Value, members: &[&str], arguments: &[&Value]) -> Option<Value> {
        match (self, value, arguments) {
            (Self::Length, Value::Array(items), []) => Some(items.len().into()),
            (Self::Length, Value::String(text), []) => Some(text.chars().count().into()),
            (Self::Keys, Value::Object(_), []) => Some(members.iter().copied().collect()),
            (Self::Keys, Value::Array(items), []) => Some((0..items.len()).collect()),
            (Self::Values, Value::Object(object), []) => {
                Some(members.iter().filter_map(|name| object.get(*name).cloned()).collect())
            }
            // Of a list they are the list itself, which the caller has.
            (Self::Entries, Value::Object(object), []) => {
                let entry = |name: &&str| object.get(*name).map(|it| Value::Array(vec![(*name).into(), it.clone()]));
                Some(members.iter().filter_map(entry).collect())
            }
            (Self::Entries, Value::Array(items), []) => {
                Some(items.iter().enumerate().map(|(at, it)| Value::Array(vec![at.into(), it.clone()])).collect())
            }
            (Self::CharAt, Value::String(text), [at]) => {
                let length = i64::try_from(text.chars().count()).ok()?;
                let at = whole(at)?;
                let at = if at < 0 { at.checked_add(length)? } else { at };
                text.chars().nth(usize::try_from(at).ok()?).map(|c| c.to_string().into())
            }
            (Self::Substring, Value::String(text), [from]) => Some(substring(text, whole(from)?, i64::MAX).into()),
            (Self::Substring, Value::String(text), [from, to]) => {
                Some(substring(text, whole(from)?, whole(to)?).into())
            }
            _ => None,
        }
    }
}

/// A whole number; a boolean is one.
pub(super) fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(it) => Some(i64::from(*it)),
        Value::Number(number) => number.as_i64().or_else(|| number.as_u64().map(|_| i64::MAX)),
        _ => None,
    }
}

/// `text[from:to]`, by characters; negative ones count from the end.
fn substring(text: &str, from: i64, to: i64) -> String {
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let place = |at: i64| {
        let at = if at < 0 { at.saturating_add(length).max(0) } else { at.min(length) };
        usize::try_from(at).unwrap_or(0)
    };
    let (from, to) = (place(from), place(to));
    text.chars().skip(from).take(to.saturating_sub(from)).collect()
}
