//! Label selectors.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value, json};

/// A label selector: requirements that must all hold. An empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// A text or object that is no label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "malformed selector {selector:?} at {piece:?}: {why}; write `key=value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key` or `!key`, joined by commas"
)]
pub struct SelectorError {
    selector: String,
    piece: String,
    why: String,
}

impl SelectorError {
    /// The whole text.
    #[must_use]
    pub fn selector(&self) -> &str {
        &self.selector
    }
}

impl Selector {
    /// Whether labels match; `None` stands for an object without any.
    #[must_use]
    pub fn matches_map(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.matches_by(|key| labels?.get(key).map(String::as_str))
    }

    /// Whether the `labels` of a JSON object match; anything else than an object has none.
    #[must_use]
    pub fn matches(&self, labels: &Value) -> bool {
        self.matches_by(|key| labels.get(key)?.as_str())
    }

    fn matches_by<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = label(&requirement.key);
            let listed = value.is_some_and(|value| requirement.values.iter().any(|v| v == value));
            match requirement.operator {
                Operator::In => listed,
                // As in Kubernetes, objects without the label match.
                Operator::NotIn => !listed,
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }

    /// From the API's `LabelSelector`.
    ///
    /// # Errors
    /// An operator that is unknown, or values that do not fit it.
    pub fn from_json(selector: &Value) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            let values = vec![value.as_str().unwrap_or_default().to_owned()];
            requirements.push(Requirement { key: key.clone(), operator: Operator::In, values });
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let bad = |why: &str| SelectorError {
                selector: selector.to_string(),
                piece: expression.to_string(),
                why: why.to_owned(),
            };
            let key = expression["key"].as_str().ok_or_else(|| bad("it has no key"))?.to_owned();
            let values: Vec<String> = expression["values"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect();
            let operator = match expression["operator"].as_str() {
                Some("In") => Operator::In,
                Some("NotIn") => Operator::NotIn,
                Some("Exists") => Operator::Exists,
                Some("DoesNotExist") => Operator::DoesNotExist,
                _ => return Err(bad("its operator is not In, NotIn, Exists or DoesNotExist")),
            };
            if matches!(operator, Operator::In | Operator::NotIn) == values.is_empty() {
                return Err(bad("its values do not fit its operator"));
            }
            requirements.push(Requirement { key, operator, values });
        }
        Ok(Self { requirements })
    }

    /// The API's `LabelSelector`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (mut labels, mut expressions) = (Map::new(), Vec::new());
        for Requirement { key, operator, values } in &self.requirements {
            match (operator, values.as_slice()) {
                (Operator::In, [value]) if !labels.contains_key(key) => {
                    labels.insert(key.clone(), json!(value));
                }
                (Operator::In, _) => expressions.push(json!({"key": key, "operator": "In", "values": values})),
                (Operator::NotIn, _) => expressions.push(json!({"key": key, "operator": "NotIn", "values": values})),
                (Operator::Exists, _) => expressions.push(json!({"key": key, "operator": "Exists"})),
                (Operator::DoesNotExist, _) => expressions.push(json!({"key": key, "operator": "DoesNotExist"})),
            }
        }
        let mut selector = json!({});
        if !labels.is_empty() {
            selector["matchLabels"] = Value::Object(labels);
        }
        if !expressions.is_empty() {
            selector["matchExpressions"] = json!(expressions);
        }
        selector
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Requirement { key, operator, values }) in self.requirements.iter().enumerate() {
            if number > 0 {
                f.write_str(",")?;
            }
            match (operator, values.as_slice()) {
                (Operator::In, [value]) => write!(f, "{key}={value}")?,
                (Operator::NotIn, [value]) => write!(f, "{key}!={value}")?,
                (Operator::In, values) => write!(f, "{key} in ({})", values.join(","))?,
                (Operator::NotIn, values) => write!(f, "{key} notin ({})", values.join(","))?,
                (Operator::Exists, _) => f.write_str(key)?,
                (Operator::DoesNotExist, _) => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for piece in pieces(text) {
            let bad =
                |why: &str| SelectorError { selector: text.to_owned(), piece: piece.to_owned(), why: why.to_owned() };
            if piece.is_empty() {
                if text.trim().is_empty() {
                    break;
                }
                return Err(bad("there is nothing between two commas"));
            }
            let requirement = requirement(piece).map_err(bad)?;
            requirements.push(requirement);
        }
        Ok(Self { requirements })
    }
}

/// The pieces between commas that stand in no parentheses.
fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                pieces.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(text[start..].trim());
    pieces
}

fn requirement(piece: &str) -> Result<Requirement, &'static str> {
    let one = |key: &str, operator, value: &str| -> Result<Requirement, &'static str> {
        Ok(Requirement { key: label_key(key)?, operator, values: vec![label_value(value)?] })
    };
    if let Some(rest) = piece.strip_prefix('!') {
        return Ok(Requirement { key: label_key(rest)?, operator: Operator::DoesNotExist, values: Vec::new() });
    }
    if let Some((key, value)) = piece.split_once("!=") {
        return one(key, Operator::NotIn, value);
    }
    if let Some((key, value)) = piece.split_once("==").or_else(|| piece.split_once('=')) {
        return one(key, Operator::In, value);
    }
    let mut words = piece.splitn(2, char::is_whitespace);
    let key = label_key(words.next().unwrap_or_default())?;
    let Some(rest) = words.next().map(str::trim) else {
        return Ok(Requirement { key, operator: Operator::Exists, values: Vec::new() });
    };
    let (operator, list) = match (rest.strip_prefix("in"), rest.strip_prefix("notin")) {
        (Some(list), _) => (Operator::In, list),
        (None, Some(list)) => (Operator::NotIn, list),
        (None, None) => return Err("behind a key comes `in`, `notin`, `=`, `!=` or nothing"),
    };
    let list = list.trim().strip_prefix('(').and_then(|list| list.strip_suffix(')'));
    let list = list.ok_or("behind `in` and `notin` come values in parentheses")?;
    let values = list.split(',').map(label_value).collect::<Result<Vec<_>, _>>()?;
    Ok(Requirement { key, operator, values })
}

fn label_key(key: &str) -> Result<String, &'static str> {
    let key = key.trim();
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_fits = prefix.is_none_or(|p| {
        !p.is_empty()
            && p.len() <= 253
            && p.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'))
    });
    if name.is_empty() || !is_label_text(name) || !prefix_fits {
        return Err("its key is no label name");
    }
    Ok(key.to_owned())
}

fn label_value(value: &str) -> Result<String, &'static str> {
    let value = value.trim();
    if value.is_empty() || is_label_text(value) { Ok(value.to_owned()) } else { Err("its value is no label value") }
}

/// At most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
fn is_label_text(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= 63
        && text.chars().all(inner)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_form_selects_what_kubernetes_does() {
        let labels = json!({"app": "back", "tier": "data"});
        for (selector, matches) in [
            ("", true),
            ("app=back", true),
            ("app==back,tier=data", true),
            ("app!=back", false),
            ("color!=red", true),
            ("app in (front, back)", true),
            ("app notin (front)", true),
            ("color notin (red)", true),
            ("tier", true),
            ("!tier", false),
            ("!color", true),
        ] {
            assert_eq!(selector.parse::<Selector>().unwrap().matches(&labels), matches, "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_names_the_piece() {
        for (selector, piece) in [
            ("app=back,", ""),
            ("app=back,tier=a b", "tier=a b"),
            ("=x", "=x"),
            ("app in front", "app in front"),
            ("app is back", "app is back"),
            ("app=-x", "app=-x"),
            ("!", "!"),
        ] {
            let error = selector.parse::<Selector>().unwrap_err();
            assert_eq!(error.piece, piece, "{error}");
        }
        let error = Selector::from_json(&json!({"matchExpressions": [{"key": "a", "operator": "In"}]})).unwrap_err();
        assert!(error.to_string().contains("values do not fit"), "{error}");
    }

    proptest! {
        #[test]
        fn a_selector_survives_text_and_json(
            parts in proptest::collection::vec(("[a-z]{1,5}", 0..4_usize, proptest::collection::vec("[a-z0-9]{1,4}", 1..3)), 0..4)
        ) {
            let operators = [Operator::In, Operator::NotIn, Operator::Exists, Operator::DoesNotExist];
            let requirements = parts.into_iter().map(|(key, operator, values)| {
                let operator = operators[operator];
                let values = if matches!(operator, Operator::In | Operator::NotIn) { values } else { Vec::new() };
                Requirement { key, operator, values }
            }).collect();
            let selector = Selector { requirements };
            prop_assert_eq!(&selector.to_string().parse::<Selector>().unwrap(), &selector);
            let through_json = Selector::from_json(&selector.to_json()).unwrap();
            for labels in [json!({}), json!({"a": "a"}), json!({"ab": "1", "b": "x"})] {
                prop_assert_eq!(through_json.matches(&labels), selector.matches(&labels));
            }
        }
    }
}
