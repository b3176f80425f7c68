//! The JSON of a body, with the keys that came twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::lab::resource::Resource;
use crate::lab::status::Status;

/// Reads a body. Of a key that comes twice the last counts; the paths of such keys are returned.
///
/// # Errors
/// 400 for what is no JSON object.
pub(crate) fn parse(resource: &Resource, body: &[u8]) -> Result<(Value, Vec<String>), Status> {
    let refuse = |why: String| {
        let text = String::from_utf8_lossy(body);
        let shown = match body {
            [] => "<empty>".to_owned(),
            [b'{', ..] => text.into_owned(),
            other => other.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let kind = resource.kind;
        Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {why} ({shown})"
        )))
    };
    let mut twice = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = Reader { path: String::new(), twice: &mut twice }.deserialize(&mut reader);
    let read = read.and_then(|value| reader.end().map(|()| value));
    let found = match read {
        Ok(value @ Value::Object(_)) => return Ok((value, twice)),
        Ok(Value::Null) => return Ok((Value::Object(Map::new()), twice)),
        Ok(Value::Bool(_)) => "bool",
        Ok(Value::Number(_)) => "number",
        Ok(Value::String(_)) => "string",
        Ok(Value::Array(_)) => "array",
        Err(error) if error.is_eof() => return refuse("unexpected end of JSON input".to_owned()),
        Err(error) => {
            let at = body.split(|byte| *byte == b'\n').take(error.line().saturating_sub(1)).map(|line| line.len() + 1);
            let at = at.sum::<usize>() + error.column().saturating_sub(1);
            let found = body.get(at).map_or('?', |byte| char::from(*byte));
            let place = if error.to_string().starts_with("trailing characters") {
                "after top-level value"
            } else {
                "looking for beginning of value"
            };
            return refuse(format!("invalid character {found:?} {place}"));
        }
    };
    refuse(format!(
        "json: cannot unmarshal {found} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
    ))
}

struct Reader<'a> {
    path: String,
    twice: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, list.len());
            let Some(item) = items.next_element_seed(Reader { path, twice: &mut *self.twice })? else { break };
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let again = map.contains_key(&key);
            if again {
                self.twice.push(path.clone());
            }
            let value = entries.next_value_seed(Reader { path, twice: &mut *self.twice })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::parse;
    use crate::lab::resource::CONFIG_MAPS;

    #[test]
    fn a_key_that_comes_twice_is_named_and_the_last_counts() {
        let (value, twice) = parse(&CONFIG_MAPS, br#"{"a":{"b":1,"b":[{"c":1,"c":2}]},"a":{"d":1}}"#).unwrap();
        assert_eq!(value, json!({"a": {"d": 1}}));
        assert_eq!(twice, ["a.b", "a.b[0].c", "a"]);
    }

    #[test]
    fn what_is_no_object_is_refused_in_the_words_of_the_server() {
        let cases: [(&[u8], &str); 4] = [
            (b"{", "unexpected end of JSON input ({)"),
            (b"", "unexpected end of JSON input (<empty>)"),
            (br#"{"a":1} x"#, r#"invalid character 'x' after top-level value ({"a":1} x)"#),
            (b"[1]", "(5b315d)"),
        ];
        for (body, end) in cases {
            let status = parse(&CONFIG_MAPS, body).unwrap_err();
            assert_eq!(status.code, 400);
            assert!(status.message.ends_with(end), "{}", status.message);
        }
    }
}
