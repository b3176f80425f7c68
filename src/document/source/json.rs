//! JSON: `serde_json` says what it means, a walk over the text where it stands.

use super::{Builder, Failure, Node};
use serde_json::{Number, Value};

/// The value of a JSON text, with its marks.
pub(super) fn parse(text: &str) -> Result<Node, Failure> {
    if text.starts_with('\u{feff}') {
        return Err(Failure::at(1, 1, "the text begins with a byte-order mark, which JSON has not: save it without"));
    }
    // Its errors are what we want of it: values are built below, with their places.
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| Failure::of_json(text, &error))?;
    Walk { text, at: 0, line: 1, begun: 0, counted: (0, 1), builder: Builder::default() }.document()
}

/// A walk over a text that is known to be JSON.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    /// Where the line begins.
    begun: usize,
    /// Up to where the columns of the line are counted, and the column there: a document may be one long line.
    counted: (usize, usize),
    builder: Builder,
}

impl Walk<'_> {
    fn document(mut self) -> Result<Node, Failure> {
        self.blanks();
        self.value(0)
    }

    fn value(&mut self, depth: usize) -> Result<Node, Failure> {
        let (line, column) = self.mark();
        self.builder.count(line, column, depth)?;
        match self.peek() {
            b'{' => {
                let mut entries = Vec::new();
                self.step();
                while self.peek() != b'}' {
                    let mark = self.mark();
                    let key = self.string()?;
                    self.step(); // the colon
                    self.blanks();
                    entries.push((key, mark, self.value(depth + 1)?));
                    self.comma();
                }
                self.step();
                Ok(Node::map(line, column, entries))
            }
            b'[' => {
                let mut items = Vec::new();
                self.step();
                while self.peek() != b']' {
                    items.push(self.value(depth + 1)?);
                    self.comma();
                }
                self.step();
                Ok(Node::list(line, column, items))
            }
            b'"' => Ok(Node::leaf(line, column, Value::String(self.string()?))),
            _ => {
                let rest = &self.text.as_bytes()[self.at..];
                let long = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
                let word = &self.text[self.at..self.at + long];
                self.at += long;
                self.blanks();
                let value = scalar(word).map_err(|why| Failure::at(line, column, &why))?;
                Ok(Node::leaf(line, column, value))
            }
        }
    }

    fn string(&mut self) -> Result<String, Failure> {
        let (line, column) = self.mark();
        let bytes = self.text.as_bytes();
        let mut end = self.at + 1;
        while bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let quoted = &self.text[self.at..=end];
        self.at = end + 1;
        self.blanks();
        // All that is wrong with a text by now is half of a surrogate pair.
        serde_json::from_str(quoted)
            .map_err(|_| Failure::at(line, column, "the text is not JSON: half of a surrogate pair is no character"))
    }

    fn comma(&mut self) {
        if self.peek() == b',' {
            self.step();
        }
    }

    /// Over one byte and the blanks after it.
    fn step(&mut self) {
        self.at += 1;
        self.blanks();
    }

    fn blanks(&mut self) {
        while let Some(byte) = self.text.as_bytes().get(self.at).filter(|byte| b" \t\r\n".contains(byte)) {
            self.at += 1;
            if *byte == b'\n' {
                (self.line, self.begun) = (self.line + 1, self.at);
            }
        }
    }

    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or_default()
    }

    fn mark(&mut self) -> (usize, usize) {
        if self.counted.0 < self.begun {
            self.counted = (self.begun, 1);
        }
        self.counted = (self.at, self.counted.1 + self.text[self.counted.0..self.at].chars().count());
        (self.line, self.counted.1)
    }
}

/// A number or a word.
fn scalar(word: &str) -> Result<Value, String> {
    if word.contains(['.', 'e', 'E']) && word.starts_with(|one: char| one == '-' || one.is_ascii_digit()) {
        let float = word.parse().ok().and_then(Number::from_f64);
        return float.map(Value::Number).ok_or_else(|| format!("the number {word} is too large: write it as a text"));
    }
    match serde_json::from_str(if word == "-0" { "0" } else { word }) {
        Ok(value @ Value::Number(_)) if value.is_f64() => Err(super::too_long(word)),
        Ok(value) => Ok(value),
        Err(error) => Err(error.to_string()),
    }
}
