//! The API server's `Status` answers.
//!
//! Texts and details are those of Kubernetes 1.34: clients show them to people, and some read them.

use serde_json::{Value, json};

use super::resource::Resource;

/// A failure as the API server reports it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message} ({reason}, {code})")]
pub struct Status {
    /// The HTTP status code.
    pub code: u16,
    /// One word for programs: `NotFound`. Empty where the real server gives none.
    pub reason: &'static str,
    /// The text for people.
    pub message: String,
    /// What it is about.
    pub details: Option<Value>,
    /// With an expired continue token, one that goes on without a consistent list.
    pub go_on: Option<String>,
}

/// One fault of many: its reason, its field, and what is wrong.
pub type Cause<'a> = (&'a str, &'a str, String);

impl Status {
    /// A failure without details.
    #[must_use]
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, go_on: None }
    }

    /// The body of the answer.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message,
        });
        if let Some(token) = &self.go_on {
            body["metadata"]["continue"] = json!(token);
        }
        if !self.reason.is_empty() {
            body["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            body["details"] = details.clone();
        }
        body["code"] = json!(self.code);
        body
    }

    /// `pods "x" not found`.
    #[must_use]
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", resource.qualified_plural())).about(
            resource,
            resource.plural,
            name,
        )
    }

    /// `pods "x" already exists`.
    #[must_use]
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", resource.qualified_plural())).about(
            resource,
            resource.plural,
            name,
        )
    }

    /// A write based on an older version of the object.
    #[must_use]
    pub fn conflict(resource: &Resource, name: &str) -> Self {
        let what = resource.qualified_plural();
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {what} {name:?}: {why}")).about(
            resource,
            resource.plural,
            name,
        )
    }

    /// A delete whose precondition on uid or version does not hold.
    #[must_use]
    pub fn precondition(resource: &Resource, name: &str, why: &str) -> Self {
        let what = resource.qualified_kind();
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {what} {name:?}: {why}")).about(
            resource,
            resource.kind,
            name,
        )
    }

    /// An object that is not valid; `field` and `why` name the place and the fault.
    #[must_use]
    pub fn invalid(resource: &Resource, name: &str, field: &str, why: &str) -> Self {
        let what = resource.qualified_kind();
        let mut status = Self::new(422, "Invalid", format!("{what} {name:?} is invalid: {field}: {why}")).about(
            resource,
            resource.kind,
            name,
        );
        if let Some(details) = &mut status.details {
            details["causes"] = json!([{"reason": "FieldValueInvalid", "message": why, "field": field}]);
        }
        status
    }

    /// `pods "x" is forbidden: why`.
    #[must_use]
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let what = resource.qualified_plural();
        let message = format!("{what} {name:?} is forbidden: {why}");
        Self::new(403, "Forbidden", message).about(resource, resource.plural, name)
    }

    /// Options of a request that are not valid; `kind` is `ListOptions` and the like.
    #[must_use]
    pub fn bad_options(kind: &str, causes: &[Cause<'_>]) -> Self {
        Self::faulty("meta.k8s.io", kind, "", causes)
    }

    /// What is not valid in several ways.
    #[must_use]
    pub fn faulty(group: &str, kind: &str, name: &str, causes: &[Cause<'_>]) -> Self {
        let what = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let told: Vec<String> = causes.iter().map(|(_, field, why)| format!("{field}: {why}")).collect();
        let told = if told.len() == 1 { told.concat() } else { format!("[{}]", told.join(", ")) };
        let mut details = json!({});
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                details[key] = json!(value);
            }
        }
        let cause = |(reason, field, why): &Cause<'_>| json!({"reason": reason, "message": why, "field": field});
        details["causes"] = causes.iter().map(cause).collect();
        let message = format!("{what} {name:?} is invalid: {told}");
        Self { details: Some(details), ..Self::new(422, "Invalid", message) }
    }

    /// A request that cannot be read.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    fn about(mut self, resource: &Resource, kind: &str, name: &str) -> Self {
        let mut details = json!({"name": name});
        if !resource.group.is_empty() {
            details["group"] = json!(resource.group);
        }
        details["kind"] = json!(kind);
        self.details = Some(details);
        self
    }
}
