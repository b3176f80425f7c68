//! The faults of an object, with their places, as one answer.

use std::fmt;

use serde_json::{Value, json};

use crate::lab::resource::Resource;
use crate::lab::status::Status;

/// A place in an object. It is a list on the stack, so that nothing is formatted where nothing is wrong.
#[derive(Clone, Copy, Debug)]
pub(in crate::lab::store) enum Path<'a> {
    /// The object itself.
    Root,
    /// A field of it.
    Field(&'a Path<'a>, &'a str),
    /// An item of a list.
    Item(&'a Path<'a>, usize),
    /// An entry of a map with free keys.
    Key(&'a Path<'a>, &'a str),
}

impl<'a> Path<'a> {
    pub(in crate::lab::store) fn at(&'a self, field: &'a str) -> Self {
        Self::Field(self, field)
    }

    pub(in crate::lab::store) fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }

    pub(in crate::lab::store) fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Path::Root, field) => f.write_str(field),
            Self::Field(parent, field) => write!(f, "{parent}.{field}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Key(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

#[derive(Debug)]
struct Cause {
    reason: &'static str,
    message: String,
    field: String,
}

/// What is wrong with an object so far.
#[derive(Debug, Default)]
pub(in crate::lab::store) struct Errors {
    causes: Vec<Cause>,
}

impl Errors {
    pub(in crate::lab::store) fn add(&mut self, reason: &'static str, field: impl fmt::Display, message: String) {
        self.causes.push(Cause { reason, message, field: field.to_string() });
    }

    /// `Invalid value: 3: why`; `shown` is the value as it is to be read, in JSON.
    pub(in crate::lab::store) fn invalid(&mut self, path: &Path<'_>, shown: impl fmt::Display, why: &str) {
        self.add("FieldValueInvalid", path, format!("Invalid value: {shown}: {why}"));
    }

    /// The same of a text.
    pub(in crate::lab::store) fn invalid_text(&mut self, path: &Path<'_>, text: &str, why: &str) {
        self.invalid(path, json!(text), why);
    }

    /// One fault of a text for each reason.
    pub(in crate::lab::store) fn each(&mut self, path: &Path<'_>, text: &str, reasons: Vec<String>) {
        for why in reasons {
            self.invalid_text(path, text, &why);
        }
    }

    pub(in crate::lab::store) fn required(&mut self, path: &Path<'_>, why: &str) {
        let colon = if why.is_empty() { "" } else { ": " };
        self.add("FieldValueRequired", path, format!("Required value{colon}{why}"));
    }

    pub(in crate::lab::store) fn forbidden(&mut self, path: &Path<'_>, why: &str) {
        self.add("FieldValueForbidden", path, format!("Forbidden: {why}"));
    }

    /// `Unsupported value: "X": supported values: "A", "B"`.
    pub(in crate::lab::store) fn not_supported(&mut self, path: &Path<'_>, shown: impl fmt::Display, known: &[&str]) {
        let known: Vec<String> = known.iter().map(|known| format!("{known:?}")).collect();
        let message = format!("Unsupported value: {shown}: supported values: {}", known.join(", "));
        self.add("FieldValueNotSupported", path, message);
    }

    pub(in crate::lab::store) fn duplicate(&mut self, path: &Path<'_>, shown: impl fmt::Display) {
        self.add("FieldValueDuplicate", path, format!("Duplicate value: {shown}"));
    }

    pub(in crate::lab::store) fn not_found(&mut self, path: &Path<'_>, text: &str) {
        self.add("FieldValueNotFound", path, format!("Not found: {}", json!(text)));
    }

    pub(in crate::lab::store) fn too_long(&mut self, path: &Path<'_>, bytes: usize) {
        self.add("FieldValueTooLong", path, format!("Too long: may not be more than {bytes} bytes"));
    }

    /// One of `known`, where there is a value.
    pub(super) fn one_of(&mut self, path: &Path<'_>, value: &Value, known: &[&str]) {
        if let Some(text) = value.as_str()
            && !known.contains(&text)
        {
            self.not_supported(path, json!(text), known);
        }
    }

    /// At least `least`, where there is a value.
    pub(super) fn at_least(&mut self, path: &Path<'_>, value: &Value, least: i64) {
        if let Some(number) = value.as_i64()
            && number < least
        {
            self.invalid(path, number, &format!("must be greater than or equal to {least}"));
        }
    }

    /// A port, where there is a value.
    pub(super) fn port(&mut self, path: &Path<'_>, value: &Value) {
        if let Some(number) = value.as_i64() {
            self.between(path, number, 1, 65_535);
        }
    }

    pub(super) fn between(&mut self, path: &Path<'_>, number: i64, least: i64, most: i64) {
        if !(least..=most).contains(&number) {
            self.invalid(path, number, &format!("must be between {least} and {most}, inclusive"));
        }
    }

    /// Takes over what was found elsewhere, as found below `path`.
    pub(in crate::lab::store) fn take_under(&mut self, path: &Path<'_>, found: Self) {
        for Cause { reason, message, field } in found.causes {
            let dot = if field.is_empty() || field.starts_with('[') { "" } else { "." };
            self.causes.push(Cause { reason, message, field: format!("{path}{dot}{field}") });
        }
    }

    pub(in crate::lab::store) fn is_empty(&self) -> bool {
        self.causes.is_empty()
    }

    /// The answer.
    ///
    /// # Errors
    /// 422 that names every fault, if there are any.
    pub(in crate::lab::store) fn finish(self, resource: &Resource, name: &str) -> Result<(), Status> {
        let Some(first) = self.causes.first() else { return Ok(()) };
        let mut status = Status::invalid(resource, name, &first.field, &first.message);
        let mut texts: Vec<String> = Vec::new();
        let mut causes = Vec::new();
        for Cause { reason, message, field } in self.causes {
            let text = format!("{field}: {message}");
            if !texts.contains(&text) {
                texts.push(text);
            }
            causes.push(json!({"reason": reason, "message": message, "field": field}));
        }
        let texts = if texts.len() == 1 { texts.remove(0) } else { format!("[{}]", texts.join(", ")) };
        status.message = format!("{} {} is invalid: {texts}", resource.qualified_kind(), json!(name));
        if let Some(details) = status.details.as_mut().and_then(Value::as_object_mut) {
            details.insert("causes".to_owned(), Value::Array(causes));
            if name.is_empty() {
                details.remove("name");
            }
        }
        Err(status)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Errors, Path};
    use crate::lab::resource::DEPLOYMENTS;

    #[test]
    fn one_answer_names_every_fault() {
        let spec = Path::Root.at("spec");
        let mut errors = Errors::default();
        errors.required(&spec.at("selector"), "");
        errors.invalid(&spec.at("ports").item(1).at("port"), 0, "must be between 1 and 65535, inclusive");
        let status = errors.finish(&DEPLOYMENTS, "web").unwrap_err();
        let second = "Invalid value: 0: must be between 1 and 65535, inclusive";
        let wanted = format!(
            "Deployment.apps \"web\" is invalid: [spec.selector: Required value, spec.ports[1].port: {second}]"
        );
        assert_eq!((status.code, status.message), (422, wanted));
        let causes = json!([
            {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.selector"},
            {"reason": "FieldValueInvalid", "message": second, "field": "spec.ports[1].port"},
        ]);
        assert_eq!(
            status.details,
            Some(json!({"name": "web", "group": "apps", "kind": "Deployment", "causes": causes}))
        );
        assert_eq!(Errors::default().finish(&DEPLOYMENTS, "web"), Ok(()));
    }

    #[test]
    fn a_fault_that_comes_twice_is_told_once() {
        let mut errors = Errors::default();
        errors.forbidden(&Path::Root.at("data"), "no");
        errors.forbidden(&Path::Root.at("data"), "no");
        let status = errors.finish(&DEPLOYMENTS, "web").unwrap_err();
        assert_eq!(status.message, "Deployment.apps \"web\" is invalid: data: Forbidden: no");
        assert_eq!(status.details.unwrap()["causes"].as_array().unwrap().len(), 2);
    }
}
